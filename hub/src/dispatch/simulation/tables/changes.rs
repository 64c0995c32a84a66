//! Settings and pauses of groups, as the writer changes them in one transaction.

use db::{ChangedGroup, Group, GroupAct, GroupChange, GroupPause};
use proto::{Refusal, Timestamp};

use super::{GroupRows, Tables};

impl Tables {
    /// Changes the groups of a name.
    pub(in super::super) fn change(
        &mut self,
        change: &GroupChange,
        now: Timestamp,
    ) -> Result<Vec<ChangedGroup>, Refusal> {
        let is_meant = |rows: &&mut GroupRows| {
            rows.group.name == change.group
                && change.domain.as_ref().is_none_or(|domain| *domain == rows.group.topic.domain)
        };
        let meant = self.groups.values_mut().filter(is_meant);
        let changed: Vec<_> = meant.map(|rows| rows.change(change, now)).collect();
        if changed.is_empty() {
            return Err(Refusal::NotFound { what: format!("group {}", change.group) });
        }
        Ok(changed)
    }
}

impl GroupRows {
    fn change(&mut self, change: &GroupChange, now: Timestamp) -> ChangedGroup {
        match &change.act {
            GroupAct::Set(settings) => {
                self.group.settings = self.group.settings.and(settings);
                self.group.order = settings.order.unwrap_or(self.group.order);
            }
            GroupAct::Pause(pid) => {
                if self.pauses.iter().all(|pause| pause.pid != *pid) {
                    let by = change.agent.clone();
                    self.pauses.push(GroupPause { pid: pid.clone(), since: now, by });
                }
            }
            GroupAct::Resume(pid) => self.pauses.retain(|pause| pause.pid != *pid),
            // Nobody removes groups here.
            GroupAct::Remove => {}
        }
        ChangedGroup { group: Group { slots: Vec::new(), ..self.group.clone() }, pauses: self.pauses.clone() }
    }
}
