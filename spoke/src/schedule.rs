//! Scheduling: events that are published later, once or again and again, and what can still be done about
//! them.
//!
//! ```no_run
//! # use eventflow_spoke::schedule::{Recurrence, Rule, ScheduleError, ScheduleKey, Standing};
//! # use eventflow_spoke::{CronText, NewEvent, Spoke, Timestamp, ZoneName};
//! # async fn example(
//! #     spoke: Spoke, tomorrow: Timestamp, reminder: NewEvent, report: NewEvent,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! // With the same key it takes the place of the reminder that was scheduled before.
//! let key = ScheduleKey::parse("remind/4711")?;
//! spoke.schedule(tomorrow, reminder).key(key.clone()).await?;
//!
//! // The answer says what is true: it may have been too late.
//! match spoke.cancel_schedule(key).await? {
//!     Standing::Cancelled => {}
//!     Standing::Fired { position } => println!("it was published at position {position}"),
//!     other => println!("{other:?}"),
//! }
//!
//! // At half past two on weekdays, from tomorrow on; every occurrence is an event with an id of its own.
//! let expression = CronText::parse("30 2 * * MON-FRI")?;
//! let rule = Rule::Cron { expression, zone: ZoneName::parse("Europe/Stockholm")? };
//! spoke.schedule(tomorrow, report).recurring(Recurrence::new(rule)).await?;
//! # Ok(()) }
//! ```

use std::future::IntoFuture;
use std::time::Duration;

use futures::future::BoxFuture;
use proto::limits::SCHEDULES_PER_PAGE_MAX;
use proto::message::{Reply, Request};
use proto::schedule::{
    ScheduleChange, ScheduleCursor, ScheduleQuery, ScheduleReply, ScheduleRequest, ScheduleWish, When,
};
use proto::{Domain, EventError, EventId, NewEvent, Refusal, Timestamp};

use crate::error::{AskError, ClosedReason, RequestError};
use crate::link::{Link, Weight};
use crate::listing::Listing;
use crate::spoke::{Spoke, unexpected};

pub use proto::ScheduleKey;
pub use proto::recurrence::{DoubledTime, Misfire, PolicyError, Recurrence, Rule, SkippedTime};
pub use proto::schedule::{
    Recurring, ScheduleReport, ScheduleScope, ScheduleState, Scheduled, Standing, Timing, Which,
    occurrence_id,
};

/// Why an event was not scheduled, or why that is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The event cannot be taken by any hub. Nothing was sent.
    #[error("event {id}: {source}")]
    Event {
        /// Its id.
        id: EventId,
        /// What is wrong with it.
        source: EventError,
    },
    /// The hub said no: nothing was stored.
    #[error(transparent)]
    Refused(Refusal),
    /// No answer came in time: whether it was stored is not known, and asking again tells.
    #[error(
        "schedule {id} was not answered within {waited:?}; ask again with the same id, that is safe: it is stored once"
    )]
    Unavailable {
        /// The event's id.
        id: EventId,
        /// How long was waited.
        waited: Duration,
    },
    /// The spoke is closed. Whether it was stored is not known if it was under way.
    #[error("the spoke is closed ({reason}); connect again and schedule event {id} again, that is safe")]
    Closed {
        /// The event's id.
        id: EventId,
        /// Why it is closed.
        reason: ClosedReason,
    },
}

impl ScheduleError {
    /// Whether the same may succeed later as it is.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Event { .. } => false,
            Self::Refused(refusal) => matches!(refusal, Refusal::Unavailable { .. } | Refusal::Stopping),
            Self::Unavailable { .. } | Self::Closed { .. } => true,
        }
    }
}

/// A schedule that is stored when it is awaited: [`Spoke::schedule`].
#[derive(Clone)]
#[must_use = "nothing is scheduled before it is awaited"]
pub struct Schedule {
    link: Link,
    at: Timestamp,
    event: NewEvent,
    key: Option<ScheduleKey>,
    recurrence: Option<Recurrence>,
}

impl Spoke {
    /// Has `event` published at `at`, in this service's name; at once if that has passed, which the answer
    /// says. Awaiting it returns once the schedule is durable: then it is fired exactly once, whatever
    /// crashes.
    ///
    /// Its id is the schedule's. Scheduling it again, with the same content, time and key, changes nothing.
    pub fn schedule(&self, at: Timestamp, event: NewEvent) -> Schedule {
        Schedule { link: self.link.clone(), at, event, key: None, recurrence: None }
    }

    /// Cancels a schedule, or says why it is too late for that. A series ends.
    ///
    /// # Errors
    /// [`RequestError`] if it is not known whether it was cancelled; ask again.
    pub async fn cancel_schedule(&self, which: impl Into<Which>) -> Result<Standing, RequestError> {
        self.change_schedule(which.into(), ScheduleChange::Cancel).await
    }

    /// Keeps a schedule from being fired until it is resumed.
    ///
    /// # Errors
    /// [`RequestError`] if it is not known whether it was paused; ask again.
    pub async fn pause_schedule(&self, which: impl Into<Which>) -> Result<Standing, RequestError> {
        self.change_schedule(which.into(), ScheduleChange::Pause).await
    }

    /// Takes a pause back. What has become due meanwhile is fired at once; of a series the misfire policy
    /// decides.
    ///
    /// # Errors
    /// [`RequestError`] if it is not known whether it was resumed; ask again.
    pub async fn resume_schedule(&self, which: impl Into<Which>) -> Result<Standing, RequestError> {
        self.change_schedule(which.into(), ScheduleChange::Resume).await
    }

    /// One schedule and what has become of it.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] if there is no such schedule.
    pub async fn show_schedule(&self, which: impl Into<Which>) -> Result<ScheduleReport, RequestError> {
        match ask(&self.link, ScheduleRequest::Show(which.into())).await? {
            ScheduleReply::Shown(report) => Ok(*report),
            other => Err(unexpected(Reply::Schedule(other)).into()),
        }
    }

    /// Schedules by time, of one domain or of all, without their events' data.
    pub fn schedules(&self, scope: ScheduleScope, domain: Option<&Domain>) -> Listing<ScheduleReport> {
        let (link, domain) = (self.link.clone(), domain.cloned());
        let pages = futures::stream::try_unfold(None, move |after: Option<ScheduleCursor>| {
            let (link, domain) = (link.clone(), domain.clone());
            async move {
                let query = ScheduleQuery { scope, domain, after, limit: SCHEDULES_PER_PAGE_MAX };
                let page = match ask(&link, ScheduleRequest::List(query)).await? {
                    ScheduleReply::Listed(page) => page,
                    other => return Err(unexpected(Reply::Schedule(other)).into()),
                };
                let last = page.last().map(|last| ScheduleCursor { due: last.due, id: last.id.clone() });
                Ok(last.map(|last| (page, Some(last))))
            }
        });
        Listing::of_pages(pages)
    }

    async fn change_schedule(&self, which: Which, change: ScheduleChange) -> Result<Standing, RequestError> {
        match ask(&self.link, ScheduleRequest::Change { which, change }).await? {
            ScheduleReply::Changed(standing) => Ok(standing),
            other => Err(unexpected(Reply::Schedule(other)).into()),
        }
    }
}

async fn ask(link: &Link, request: ScheduleRequest) -> Result<ScheduleReply, RequestError> {
    match link.ask(Weight::Question, Request::Schedule(request)).await? {
        Reply::Schedule(reply) => Ok(reply),
        reply => Err(unexpected(reply).into()),
    }
}

impl Schedule {
    /// What it can be cancelled by. A schedule with the same key that is still to be fired is cancelled by
    /// the same write.
    pub fn key(self, key: ScheduleKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// It recurs, from the given time on: each occurrence is published as an event with an id of its own
    /// ([`occurrence_id`]), and the given one names the series.
    pub fn recurring(self, recurrence: Recurrence) -> Self {
        Self { recurrence: Some(recurrence), ..self }
    }

    async fn run(self) -> Result<Scheduled, ScheduleError> {
        let Self { link, at, event, key, recurrence } = self;
        let id = event.id.clone();
        event.check().map_err(|source| ScheduleError::Event { id: id.clone(), source })?;
        let weight = Weight::Append { events: 1, bytes: event.weight() };
        let when = match recurrence {
            Some(recurrence) => When::Recurring(Box::new(Recurring { start: at, recurrence })),
            None => When::At(at),
        };
        let request = ScheduleRequest::Add(Box::new(ScheduleWish { event, when, key }));
        let error = match link.ask(weight, Request::Schedule(request)).await {
            Ok(Reply::Schedule(ScheduleReply::Added(scheduled))) => return Ok(scheduled),
            Ok(other) => unexpected(other),
            Err(error) => error,
        };
        Err(match error {
            AskError::Refused(refusal) => ScheduleError::Refused(refusal),
            AskError::Unavailable { waited } => ScheduleError::Unavailable { id, waited },
            AskError::Closed(reason) => ScheduleError::Closed { id, reason },
        })
    }
}

impl IntoFuture for Schedule {
    type Output = Result<Scheduled, ScheduleError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
