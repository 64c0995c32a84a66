//! Groups as those see them who manage them.

use db::{ChangedGroup, GroupId};
use proto::{Domain, GroupName, GroupSettings};

use super::super::group::{MemberKey, Standing};
use super::{Desk, Group};

impl Desk {
    /// The groups of this name, all or that of one domain.
    pub(in crate::dispatch) fn named(&self, name: &GroupName, domain: Option<&Domain>) -> Vec<GroupId> {
        let is_meant =
            |group: &&Group| group.name == *name && domain.is_none_or(|domain| *domain == group.topic.domain);
        self.groups.values().filter(is_meant).map(|group| group.id).collect()
    }

    /// Whether the group is here.
    pub(in crate::dispatch) fn has_group(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    /// The rules of a group.
    pub(in crate::dispatch) fn settings(&self, group: GroupId) -> Option<&GroupSettings> {
        self.groups.get(&group).map(Group::settings)
    }

    /// The members of a group.
    pub(in crate::dispatch) fn members(&self, group: GroupId) -> Vec<MemberKey> {
        self.groups.get(&group).map(|group| group.members().collect()).unwrap_or_default()
    }

    /// Members of a group that have left and wait until their answers are recorded.
    pub(in crate::dispatch) fn leaving(&self, group: GroupId) -> Vec<MemberKey> {
        self.groups.get(&group).map(|group| group.leaving().collect()).unwrap_or_default()
    }

    /// Follows what was recorded of a group.
    pub(in crate::dispatch) fn change(&mut self, changed: ChangedGroup) {
        let defaults = self.rules;
        if let Some(group) = self.groups.get_mut(&changed.group.id) {
            group.change(changed, defaults);
        }
    }

    /// How these groups stand, by name and domain.
    pub(in crate::dispatch) fn standings(&self, groups: impl IntoIterator<Item = GroupId>) -> Vec<Standing> {
        let groups = groups.into_iter().filter_map(|id| self.groups.get(&id));
        let mut standings: Vec<_> = groups.map(|group| group.standing(self.head())).collect();
        standings.sort_by(|a, b| key(a).cmp(&key(b)));
        standings
    }

    /// The first `limit` groups after a (name, domain), by these.
    pub(in crate::dispatch) fn after(
        &self,
        name: Option<&GroupName>,
        after: Option<&(GroupName, Domain)>,
        limit: usize,
    ) -> Vec<GroupId> {
        let place = |group: &Group| (group.name.clone(), group.topic.domain.clone());
        let mut groups: Vec<_> = self
            .groups
            .values()
            .filter(|group| name.is_none_or(|name| group.name == *name))
            .map(|group| (place(group), group.id))
            .filter(|(place, _)| after.is_none_or(|after| place > after))
            .collect();
        groups.sort_unstable();
        groups.into_iter().take(limit).map(|(_, id)| id).collect()
    }
}

fn key(standing: &Standing) -> (&GroupName, &Domain) {
    (&standing.status.report.group, &standing.status.report.domain)
}
