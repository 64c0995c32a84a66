//! What people ask for about groups: how they stand, other settings, pauses, removal.

use db::{GroupAct, GroupChange};
use proto::access::Action;
use proto::group::{GroupCommand, GroupPart, GroupStatus, MembersFate};
use proto::limits::GROUP_STATUSES_PER_PAGE;
use proto::message::Reply;
use proto::{Domain, GroupName, Pid, Refusal};

use super::{Caller, Commands};
use crate::access::{Permit, Target};
use crate::dispatch::{GroupPage, Standing};

impl Commands {
    pub(super) async fn manage(&self, caller: &Caller, command: GroupCommand) -> Result<Reply, Refusal> {
        let by = |group: GroupName, domain: Option<Domain>, act: GroupAct| GroupChange {
            group,
            domain,
            agent: caller.label.to_string(),
            act,
        };
        let (change, members) = match command {
            GroupCommand::List { group, after } => {
                return self.list_statuses(caller, group, after).await.map(Reply::GroupStatus);
            }
            GroupCommand::Set { group, domain, change } => {
                (by(group, domain, GroupAct::Set(change)), MembersFate::Respected)
            }
            GroupCommand::Pause { group, part } => {
                let (domain, pid) = divided(part);
                (by(group, domain, GroupAct::Pause(pid)), MembersFate::Respected)
            }
            GroupCommand::Resume { group, part } => {
                let (domain, pid) = divided(part);
                (by(group, domain, GroupAct::Resume(pid)), MembersFate::Respected)
            }
            GroupCommand::Remove { group, domain, members } => (by(group, domain, GroupAct::Remove), members),
        };
        let permit = self.permit_admin(caller)?;
        let mut standings = self.store.change(&permit, change, members).await?;
        standings.truncate(GROUP_STATUSES_PER_PAGE);
        Ok(Reply::GroupStatus(self.statuses(&permit, standings).await?))
    }

    /// A page of the groups of domains that `caller` may read; none are the end.
    async fn list_statuses(
        &self,
        caller: &Caller,
        group: Option<GroupName>,
        mut after: Option<(GroupName, Domain)>,
    ) -> Result<Vec<GroupStatus>, Refusal> {
        let reach = self.reach(caller, Action::Read);
        let permit = reach.permit(Target::Something)?;
        loop {
            let page = GroupPage { group: group.clone(), after, limit: GROUP_STATUSES_PER_PAGE };
            let mut standings = self.store.standings(&permit, page).await?;
            let last = standings.last().map(|last| &last.status.report);
            let last = last.map(|report| (report.group.clone(), report.domain.clone()));
            standings.retain(|standing| reach.covers(Target::Domain(&standing.status.report.domain)));
            if last.is_none() || !standings.is_empty() {
                return self.statuses(&permit, standings).await;
            }
            after = last;
        }
    }

    /// Adds what only the tables know.
    async fn statuses(&self, permit: &Permit, standings: Vec<Standing>) -> Result<Vec<GroupStatus>, Refusal> {
        let mut statuses = Vec::with_capacity(standings.len());
        for standing in standings {
            statuses.push(self.store.complete(permit, standing, self.clock.now()).await?);
        }
        Ok(statuses)
    }
}

/// Domain and process of a part.
fn divided(part: GroupPart) -> (Option<Domain>, Option<Pid>) {
    match part {
        GroupPart::Whole => (None, None),
        GroupPart::Domain(domain) => (Some(domain), None),
        GroupPart::Pid(domain, pid) => (Some(domain), Some(pid)),
    }
}
