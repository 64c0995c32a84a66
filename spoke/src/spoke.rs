//! The handle that an application holds: publish, subscribe, consume, read.
//!
//! A `Spoke` is cheap to clone and every clone shares one connection. What it says survives the
//! connection: a reconnect says again what was not answered, with the same ids, and every listener.

use std::time::Duration;

use proto::message::{Appended, Offer, Reply, Welcome};
use proto::{Domain, EventId, NewEvent, Pid, ServiceName};

use crate::append::AppendBuilder;
use crate::consumer::ConsumerBuilder;
use crate::error::{AskError, ConnectError, ListenError, PublishError};
use crate::link::Link;
use crate::options::SpokeOptions;
use crate::subscription::{EventStream, Subscription};

/// Requests had no reply when the spoke was closed. Whether they were done is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{unanswered} requests were not answered within {waited:?}; after the next connect publish their events again with the same ids, that is safe"
)]
pub struct CloseError {
    /// How many.
    pub unanswered: usize,
    /// How long was waited.
    pub waited: Duration,
}

/// A member of the hub: one service, one connection, any number of clones of this handle.
///
/// The connection ends when the last clone, consumer and stream is gone, or with [`Spoke::close`]. Its
/// certificate is renewed at half of its life, over a second connection that takes the place of the first
/// one; nobody who uses the handle notices.
#[derive(Clone)]
pub struct Spoke {
    pub(crate) link: Link,
    service: ServiceName,
}

impl Spoke {
    /// Connects to the hub. If there is no valid identity in the data folder yet, it enrols first: at the
    /// socket of a hub that has the same folder, else with a token if there is one.
    ///
    /// Returns once the hub has said Welcome. Tries for the connect time-out while there should be a
    /// hub but none answers; afterwards a lost connection is taken up again without a word.
    ///
    /// # Errors
    /// [`ConnectError`], at once if no hub was ever started in the data folder.
    pub async fn connect(options: SpokeOptions) -> Result<Self, ConnectError> {
        let service = options.service.clone();
        let link = Link::open(options).await?;
        Ok(Self { link, service })
    }

    /// The service that this spoke is a member of.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// What the hub said when it opened the newest connection.
    #[must_use]
    pub fn welcome(&self) -> Welcome {
        self.link.welcome()
    }

    /// Stores `event`, offers it to consumers, and returns once it is durable.
    ///
    /// Waits while the window is full, so that a publisher cannot outrun the database. Dropping the
    /// future does not undo the write: it may still commit.
    ///
    /// # Errors
    /// [`PublishError`]; after `Unavailable`, publish the same event again, with the same id.
    pub async fn publish(&self, event: NewEvent) -> Result<Appended, PublishError> {
        self.append_one(event, Offer::Publish).await
    }

    /// Stores `event` without offering it to consumers.
    ///
    /// # Errors
    /// As [`Spoke::publish`].
    pub async fn persist(&self, event: NewEvent) -> Result<Appended, PublishError> {
        self.append_one(event, Offer::Persist).await
    }

    /// Stores all of `events` in one transaction, or none, and offers them to consumers.
    ///
    /// # Errors
    /// As [`Spoke::publish`], and [`PublishError::TooLarge`] for more than one append may hold.
    pub async fn publish_all(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, PublishError> {
        crate::append::append(&self.link, events, Offer::Publish, Vec::new()).await
    }

    /// Stores what another log held, each event in the name of its publisher, or without offering it
    /// where there is none. Needs the right to administer.
    ///
    /// # Errors
    /// As [`Spoke::publish_all`].
    pub async fn restore(
        &self,
        events: Vec<(NewEvent, Option<ServiceName>)>,
    ) -> Result<Vec<Appended>, PublishError> {
        let (events, publishers) = events.into_iter().unzip();
        crate::append::append(&self.link, events, Offer::Restore(publishers), Vec::new()).await
    }

    /// Starts an append of several events, over any eventlogs, with expectations.
    pub fn append(&self) -> AppendBuilder {
        AppendBuilder::new(self.link.clone())
    }

    /// Starts being told of events. Everyone who subscribes is told of all of them.
    ///
    /// # Errors
    /// [`ListenError`] says why the hub did not open it.
    pub async fn subscribe(&self, subscription: Subscription) -> Result<EventStream, ListenError> {
        subscription.open(&self.link).await
    }

    /// Starts consuming the events of `domain`: within a group, one member gets each of them.
    pub fn consumer(&self, domain: Domain) -> ConsumerBuilder {
        ConsumerBuilder::new(self.link.clone(), &self.service, domain)
    }

    /// A pid for a process that is about to start: [`crate::generate_pid`].
    #[must_use]
    pub fn generate_pid(&self) -> Pid {
        crate::ids::generate_pid()
    }

    /// An id for an event that is about to be published: [`crate::generate_id`].
    #[must_use]
    pub fn generate_id() -> EventId {
        crate::ids::generate_id()
    }

    /// Waits until everything that was asked is answered, and closes the connection.
    ///
    /// Streams end and consumers stop without waiting for their handlers: stop them before, with
    /// [`crate::Consumer::stop`]. Other clones of this spoke are closed, too.
    ///
    /// # Errors
    /// [`CloseError`] if answers were missing after the request time-out.
    pub async fn close(self) -> Result<(), CloseError> {
        let waited = self.link.request_timeout();
        match self.link.close().await {
            0 => Ok(()),
            unanswered => Err(CloseError { unanswered, waited }),
        }
    }

    async fn append_one(&self, event: NewEvent, offer: Offer) -> Result<Appended, PublishError> {
        let id = event.id.clone();
        let appended = crate::append::append(&self.link, vec![event], offer, Vec::new()).await?;
        match appended.first() {
            Some(appended) => Ok(*appended),
            None => Err(unexpected(Reply::Appended(appended)).of_publication(id)),
        }
    }
}

impl std::fmt::Debug for Spoke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spoke").field("service", &self.service).finish_non_exhaustive()
    }
}

/// The hub answered something else than what was asked.
pub(crate) fn unexpected(reply: Reply) -> AskError {
    let kind = match reply {
        Reply::Appended(_) => "Appended",
        Reply::Listening { .. } => "Listening",
        Reply::Left => "Left",
        Reply::Page(_) => "Page",
        Reply::Changed(_) => "Changed",
        Reply::Groups(_) => "Groups",
        Reply::Story(_) => "Story",
        Reply::Waited(_) => "Waited",
        Reply::Chained(_) => "Chained",
        Reply::GroupStatus(_) => "GroupStatus",
        Reply::Schedule(_) => "Schedule",
        Reply::Parked(_) => "Parked",
        Reply::Admin(_) => "Admin",
        Reply::Renewed(_) => "Renewed",
        Reply::Outbox(_) => "Outbox",
    };
    AskError::Refused(proto::Refusal::Invalid {
        reason: format!(
            "the hub answered {kind}, which does not fit what was asked; update the older of the two"
        ),
    })
}
