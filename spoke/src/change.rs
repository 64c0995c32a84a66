//! Changing and examining what is stored: links, deletes, groups, the story of an event.

use proto::message::{Link as LinkChange, Reply, Request};
use proto::report::{EventStory, GroupReport, OutboxStory};
use proto::{Domain, EventId, GroupName, Pid};

use crate::error::RequestError;
use crate::link::Weight;
use crate::spoke::{Spoke, unexpected};

impl Spoke {
    /// Adds or removes a link of an event. Gives how many links changed: 0 if it was so already.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such event.
    pub async fn link(&self, change: LinkChange) -> Result<u64, RequestError> {
        self.change(Request::Link(change)).await
    }

    /// Empties an event: its data, name and links go, its position, id and version stay taken.
    /// Gives how many events were emptied: 0 if it was so already.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such event.
    pub async fn delete_event(&self, id: &EventId) -> Result<u64, RequestError> {
        self.change(Request::DeleteEvent(id.clone())).await
    }

    /// Empties all events of an eventlog. Gives how many there were.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such eventlog.
    pub async fn delete_eventlog(&self, domain: &Domain, pid: &Pid) -> Result<u64, RequestError> {
        self.change(Request::DeleteEventlog { domain: domain.clone(), pid: pid.clone() }).await
    }

    /// A page of the groups, by name, after the last of the page before. An empty page is the end.
    ///
    /// # Errors
    /// [`RequestError`] if they could not be read.
    pub async fn groups(&self, after: Option<&GroupName>) -> Result<Vec<GroupReport>, RequestError> {
        match self.link.ask(Weight::Question, Request::Groups { after: after.cloned() }).await? {
            Reply::Groups(groups) => Ok(groups),
            reply => Err(unexpected(reply).into()),
        }
    }

    /// One group: a report for each domain that it consumes.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such group.
    pub async fn group(&self, group: &GroupName) -> Result<Vec<GroupReport>, RequestError> {
        match self.link.ask(Weight::Question, Request::Group(group.clone())).await? {
            Reply::Groups(groups) => Ok(groups),
            reply => Err(unexpected(reply).into()),
        }
    }

    /// Everything that is known of an event: itself, its deliveries, and what it waits for.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such event.
    pub async fn story(&self, id: &EventId) -> Result<EventStory, RequestError> {
        match self.link.ask(Weight::Question, Request::Story(id.clone())).await? {
            Reply::Story(story) => Ok(*story),
            reply => Err(unexpected(reply).into()),
        }
    }

    /// Whether an event that a service has handed over is still in the outbox: the first row that has
    /// it. A hub looks through the first 100,000 rows.
    ///
    /// # Errors
    /// [`RequestError`]; asking again is safe.
    pub async fn outbox(&self, id: &EventId) -> Result<Option<OutboxStory>, RequestError> {
        match self.link.ask(Weight::Question, Request::Outbox(id.clone())).await? {
            Reply::Outbox(row) => Ok(row.map(|row| *row)),
            reply => Err(unexpected(reply).into()),
        }
    }

    async fn change(&self, request: Request) -> Result<u64, RequestError> {
        match self.link.ask(Weight::Question, request).await? {
            Reply::Changed(changed) => Ok(changed),
            reply => Err(unexpected(reply).into()),
        }
    }
}
