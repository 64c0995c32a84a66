//! Managing consumer groups: how they stand, their settings, pauses, removal.

use proto::group::{GroupCommand, GroupPart, GroupStatus, MembersFate, SettingsChange};
use proto::message::{Reply, Request};
use proto::{Domain, GroupName};

use crate::error::RequestError;
use crate::link::Weight;
use crate::spoke::{Spoke, unexpected};

impl Spoke {
    /// How groups stand, by name and domain: all of them, or those of one name.
    ///
    /// # Errors
    /// [`RequestError`] if they could not be read.
    pub async fn group_statuses(&self, group: Option<&GroupName>) -> Result<Vec<GroupStatus>, RequestError> {
        let (mut statuses, mut after): (Vec<GroupStatus>, _) = (Vec::new(), None);
        loop {
            let page = self.manage(GroupCommand::List { group: group.cloned(), after }).await?;
            let Some(last) = page.last() else { return Ok(statuses) };
            after = Some((last.report.group.clone(), last.report.domain.clone()));
            statuses.extend(page);
        }
    }

    /// Changes settings of the group of one domain, or of all groups of that name. When it returns, they
    /// are durable and in force: new deliveries follow them.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such group, [`RequestError::Refused`] if a setting is
    /// out of range.
    pub async fn set_group(
        &self,
        group: &GroupName,
        domain: Option<&Domain>,
        change: SettingsChange,
    ) -> Result<Vec<GroupStatus>, RequestError> {
        self.manage(GroupCommand::Set { group: group.clone(), domain: domain.cloned(), change }).await
    }

    /// Pauses a group or a part of it, over restarts: nothing new is delivered, what is out is finished.
    /// Pausing what is paused changes nothing.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such group, [`RequestError::Refused`] if as many
    /// processes of it are paused as may be.
    pub async fn pause_group(
        &self,
        group: &GroupName,
        part: GroupPart,
    ) -> Result<Vec<GroupStatus>, RequestError> {
        self.manage(GroupCommand::Pause { group: group.clone(), part }).await
    }

    /// Goes on with what was paused. A process that was paused by itself is resumed by itself.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such group.
    pub async fn resume_group(
        &self,
        group: &GroupName,
        part: GroupPart,
    ) -> Result<Vec<GroupStatus>, RequestError> {
        self.manage(GroupCommand::Resume { group: group.clone(), part }).await
    }

    /// Removes the group of one domain, or all groups of that name, with everything that is recorded of
    /// their deliveries; events stay. Gives how they stood. Consuming in that name makes a new group.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such group, [`RequestError::Refused`] if it has members
    /// that are not to be sent away.
    pub async fn remove_group(
        &self,
        group: &GroupName,
        domain: Option<&Domain>,
        members: MembersFate,
    ) -> Result<Vec<GroupStatus>, RequestError> {
        self.manage(GroupCommand::Remove { group: group.clone(), domain: domain.cloned(), members }).await
    }

    async fn manage(&self, command: GroupCommand) -> Result<Vec<GroupStatus>, RequestError> {
        match self.link.ask(Weight::Question, Request::Manage(command)).await? {
            Reply::GroupStatus(statuses) => Ok(statuses),
            reply => Err(unexpected(reply).into()),
        }
    }
}
