//! Schedules: events that are to be appended later, as they are asked for and as they are found.
//!
//! A schedule is a row until it is due. Firing it appends its event and changes the row in one
//! transaction, so that it is appended once, whatever crashes and whoever else tries. The hub decides
//! when that is; [`crate::Writer`] does it.

mod row;
mod series;

use proto::message::Stored;
use proto::{EventId, NewEvent, Position, ScheduleKey, ServiceName, Timestamp};

pub use proto::schedule::Which;
pub(crate) use row::ScheduleRow;
pub use series::{Occurrence, SeriesState, SeriesStep, SeriesWish, Stepped, Turn};

/// An event that is to be published later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleWish {
    /// The event. The caller has called [`NewEvent::check`] on it.
    pub event: NewEvent,
    /// The service that it is published in the name of.
    pub publisher: ServiceName,
    /// When it is to be published.
    pub due: Timestamp,
    /// What it can be cancelled and replaced by.
    pub key: Option<ScheduleKey>,
    /// The time of asking.
    pub now: Timestamp,
}

/// A schedule that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// Whether this wish stored it or an earlier one with the same id and content had.
    pub stored: Stored,
    /// When it is, or was, due.
    pub due: Timestamp,
    /// The schedule of the same key that was pending until this one took its place.
    pub replaced: Option<EventId>,
}

/// What became of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// Its event will not be appended, by this cancellation or by an earlier one.
    Cancelled,
    /// It was too late: the event is in the log.
    Fired {
        /// Where it is.
        position: Position,
    },
    /// The schedule had failed before.
    Failed {
        /// Why.
        reason: String,
    },
    /// The series had come to its end before.
    Ended,
    /// There is no such schedule.
    Unknown,
}

/// What came of one schedule that was to be fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shot {
    /// Its event is in the log.
    Fired {
        /// Where.
        position: Position,
    },
    /// It is an occurrence of a series: it is pending until [`crate::Writer::step`] fires it.
    Recurring,
    /// It was not pending (any more): it was fired before, cancelled, paused, or never was.
    Gone,
    /// It cannot be fired, now or later, and is marked so.
    Failed,
    /// The database refuses its event. It stays pending and is in nobody's way.
    Refused,
}

impl Shot {
    /// Where the event is, if it is in the log.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Fired { position } => Some(*position),
            Self::Recurring | Self::Gone | Self::Failed | Self::Refused => None,
        }
    }
}

/// What has become of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleState {
    /// It waits for its time.
    Pending,
    /// Its event is in the log.
    Fired {
        /// When it was fired.
        at: Timestamp,
        /// Where the event is.
        position: Position,
    },
    /// It waits to be resumed.
    Paused {
        /// Since when.
        at: Timestamp,
    },
    /// It was cancelled, replaced, or passed over as its series' policy says.
    Cancelled {
        /// When.
        at: Timestamp,
        /// Why, where that was recorded.
        reason: Option<String>,
    },
    /// Its event cannot be appended.
    Failed {
        /// When that was found out.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// A series that goes on.
    Recurring,
    /// A series that has come to its end.
    Ended {
        /// When.
        at: Timestamp,
    },
}

/// A schedule as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The id of its event.
    pub id: EventId,
    /// Its key.
    pub key: Option<ScheduleKey>,
    /// When it is, or was, due.
    pub due: Timestamp,
    /// Its event, links sorted and each once.
    pub event: NewEvent,
    /// The service in whose name it is published.
    pub publisher: ServiceName,
    /// When it was asked for. Schedules of one key differ in it: a later one of the same millisecond
    /// is one millisecond later.
    pub created: Timestamp,
    /// What has become of it.
    pub state: ScheduleState,
    /// The series that it is an occurrence of.
    pub series: Option<EventId>,
    /// What it recurs by, if it is a series itself.
    pub recurring: Option<SeriesState>,
}

/// When a schedule is due; ordered by time, then id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// The id of its event.
    pub id: EventId,
}
