//! Waiting for the outcome of a process: an event of one of some names, whether it comes before, during
//! or after the call.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use eventflow_spoke::{Domain, EventName, NewEvent, Pid, Spoke, WaitError};
//! # async fn example(spoke: Spoke, order: Domain, pid: Pid, placed: NewEvent) -> Result<(), WaitError> {
//! // `success` or `failed`, within 10 s.
//! let outcome = spoke.wait(&order, &pid).await?;
//!
//! let paid = EventName::parse("order paid")?;
//! let payment = spoke.wait(&order, &pid).names([paid]).within(Duration::from_secs(60)).await?;
//! # let _ = (outcome, payment); Ok(()) }
//! ```

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use proto::filter::NameFilter;
use proto::limits::{NAMES_PER_FILTER_MAX, WAIT_MS_MAX};
use proto::message::{Offer, Reply, Request};
use proto::name::NameError;
use proto::{Domain, Event, EventName, NewEvent, Pid, Position, Refusal};

use crate::error::{AskError, ClosedReason, PublishError};
use crate::link::{Link, Weight};
use crate::spoke::{Spoke, unexpected};

/// How long is waited if nothing else is said.
const WITHIN: Duration = Duration::from_secs(10);

/// The names that are waited for if none are said.
const NAMES: [&str; 2] = ["failed", "success"];

/// Why there is no event.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// None came in time.
    #[error("process {domain}/{pid} had no event named {names} within {waited:?}")]
    TimedOut {
        /// The process's domain.
        domain: Domain,
        /// The process.
        pid: Pid,
        /// What was waited for.
        names: String,
        /// How long.
        waited: Duration,
    },
    /// More names were given than a filter may hold.
    #[error("{found} event names were given; at most {max} are allowed: use any_name()")]
    TooManyNames {
        /// How many.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A name that was to be waited for is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A wait may last a day.
    #[error("a wait may last {max:?}, not {found:?}; wait again when it is over")]
    TooLong {
        /// How long it was to be.
        found: Duration,
        /// How long it may be.
        max: Duration,
    },
    /// What was to be waited for was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The hub said no.
    #[error(transparent)]
    Refused(Refusal),
    /// The spoke is closed.
    #[error("the spoke is closed ({reason}); connect and wait again")]
    Closed {
        /// Why it is closed.
        reason: ClosedReason,
    },
}

/// A wait that starts when it is awaited: [`Spoke::wait`].
#[derive(Clone)]
#[must_use = "nothing is waited for before it is awaited"]
pub struct Wait {
    link: Link,
    domain: Domain,
    pid: Pid,
    names: Option<Vec<EventName>>,
    within: Duration,
    since: Position,
}

impl Spoke {
    /// Waits for the first event of the process `domain`/`pid` that is named `success` or `failed`, for at
    /// most 10 s. It counts whether it has happened already or comes later, stored by anybody, published or
    /// only persisted, and the wait goes on over reconnects.
    ///
    /// Dropping the future ends the wait.
    pub fn wait(&self, domain: &Domain, pid: &Pid) -> Wait {
        let (domain, pid) = (domain.clone(), pid.clone());
        Wait { link: self.link.clone(), domain, pid, names: None, within: WITHIN, since: Position(0) }
    }

    /// Publishes `event` and waits for what follows it in its process: see [`Spoke::wait`]. `event` itself
    /// does not count, and neither does what was stored before it.
    ///
    /// Published again with the same id it waits for what followed the first time.
    pub fn publish_and_wait(&self, event: NewEvent) -> PublishAndWait {
        PublishAndWait { wait: self.wait(&event.domain, &event.pid), event }
    }
}

impl Wait {
    /// Any of these names, in place of `success` and `failed`. At most 64.
    pub fn names(self, names: impl IntoIterator<Item = EventName>) -> Self {
        Self { names: Some(names.into_iter().collect()), ..self }
    }

    /// Any event.
    pub fn any_name(self) -> Self {
        self.names([])
    }

    /// At most so long, up to a day.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Only events after this position.
    pub fn since(self, since: Position) -> Self {
        Self { since, ..self }
    }

    async fn run(self) -> Result<Event, WaitError> {
        let names = match self.names {
            Some(names) => names,
            None => NAMES.iter().map(|name| EventName::parse(name)).collect::<Result<_, _>>()?,
        };
        let said = if names.is_empty() { "anything".to_owned() } else { listed(&names) };
        let names = match names.is_empty() {
            true => NameFilter::All,
            false => NameFilter::of(names)
                .map_err(|found| WaitError::TooManyNames { found, max: NAMES_PER_FILTER_MAX })?,
        };
        let max = Duration::from_millis(u64::from(WAIT_MS_MAX));
        let within_ms = u32::try_from(self.within.as_millis()).unwrap_or(u32::MAX);
        if self.within > max {
            return Err(WaitError::TooLong { found: self.within, max });
        }
        let (domain, pid) = (self.domain.clone(), self.pid.clone());
        let wish = proto::message::Wait { domain, pid, names, after: self.since, within_ms };
        let answer = self.link.ask_within(self.within, Weight::Wait, Request::Wait(wish)).await;
        match answer {
            Some(Ok(Reply::Waited(Some(event)))) => {
                Ok(Arc::try_unwrap(event).unwrap_or_else(|shared| (*shared).clone()))
            }
            None | Some(Ok(Reply::Waited(None))) => Err(WaitError::TimedOut {
                domain: self.domain,
                pid: self.pid,
                names: said,
                waited: self.within,
            }),
            Some(Ok(other)) => Err(unexpected(other).into()),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

impl IntoFuture for Wait {
    type Output = Result<Event, WaitError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Publishes, then waits, when it is awaited: [`Spoke::publish_and_wait`].
#[derive(Clone)]
#[must_use = "nothing is published before it is awaited"]
pub struct PublishAndWait {
    wait: Wait,
    event: NewEvent,
}

impl PublishAndWait {
    /// As [`Wait::names`].
    pub fn names(self, names: impl IntoIterator<Item = EventName>) -> Self {
        Self { wait: self.wait.names(names), ..self }
    }

    /// As [`Wait::any_name`].
    pub fn any_name(self) -> Self {
        Self { wait: self.wait.any_name(), ..self }
    }

    /// As [`Wait::within`]. The time begins when the event is stored.
    pub fn within(self, within: Duration) -> Self {
        Self { wait: self.wait.within(within), ..self }
    }
}

impl IntoFuture for PublishAndWait {
    type Output = Result<Event, WaitError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let stored =
                crate::append::append(&self.wait.link, vec![self.event], Offer::Publish, Vec::new()).await?;
            let position = stored.first().map_or(Position(0), |appended| appended.position);
            self.wait.since(position).run().await
        })
    }
}

impl From<AskError> for WaitError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => Self::Refused(refusal),
            AskError::Closed(reason) => Self::Closed { reason },
            // A wait has no other time than its own.
            AskError::Unavailable { waited } => {
                Self::Refused(Refusal::Unavailable { reason: format!("no answer within {waited:?}") })
            }
        }
    }
}

fn listed(names: &[EventName]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" or ")
}
