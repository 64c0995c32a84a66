//! What people ask for about groups: how they stand, other settings, pauses, removal.

use db::{GroupAct, GroupChange};
use proto::group::{GroupCommand, GroupPart, GroupStatus, MembersFate};
use proto::limits::GROUP_STATUSES_PER_PAGE;
use proto::message::Reply;
use proto::{Domain, GroupName, Pid, Refusal};

use super::{Caller, Commands};
use crate::dispatch::{Effort, GroupPage, Standing, oldest};

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
                let page = GroupPage { group, after, limit: GROUP_STATUSES_PER_PAGE };
                let standings = self.dispatcher.standings(page).await?;
                return Ok(Reply::GroupStatus(self.statuses(standings).await?));
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
        let mut standings = self.dispatcher.change(change, members).await?;
        standings.truncate(GROUP_STATUSES_PER_PAGE);
        Ok(Reply::GroupStatus(self.statuses(standings).await?))
    }

    /// Adds what only the tables know.
    async fn statuses(&self, standings: Vec<Standing>) -> Result<Vec<GroupStatus>, Refusal> {
        let mut statuses = Vec::with_capacity(standings.len());
        for standing in standings {
            let Standing { status, topic, read_through, .. } = &standing;
            let mut unread = 0;
            if *read_through < status.report.head {
                let counted = self.reader.count_published(topic, *read_through, status.report.head).await;
                unread = counted.map_err(crate::refuse::read)?;
            }
            let oldest = oldest(&self.reader, &standing, Effort::Whatever, self.clock.now()).await;
            let oldest = oldest.map_err(crate::refuse::read)?;
            let mut status = standing.status;
            status.report.pending += unread;
            self.count_parked(&mut status.report).await?;
            status.oldest = oldest;
            statuses.push(status);
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
