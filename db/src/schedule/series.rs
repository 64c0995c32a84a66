//! Series: schedules that recur, as they are asked for and as they go on.
//!
//! What a recurrence means is the hub's to know; here it is a text. A series is a row beside its
//! occurrences, of which one is pending at a time; `sql/*/migrations/0005_series.sql` has the columns.

use proto::{EventId, Position, Timestamp};

use super::ScheduleWish;

/// One time at which a series occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// When it is by the rule. With the series' id it makes the id of the event.
    pub at: Timestamp,
    /// When it is due.
    pub due: Timestamp,
}

/// A schedule that recurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesWish {
    /// The event of every occurrence, with the series' id in place of theirs; due is that of the first.
    pub wish: ScheduleWish,
    /// What it recurs by, for whoever decides about the next occurrence.
    pub recurrence: String,
    /// The first occurrence by the rule.
    pub first: Timestamp,
}

/// What a series is besides a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesState {
    /// What it recurs by.
    pub recurrence: String,
    /// Which occurrence is pending, or was when the series ended.
    pub occurrence: Timestamp,
    /// Where the last event of it is.
    pub last: Option<Position>,
}

/// How a series goes on from one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesStep {
    /// The series.
    pub series: EventId,
    /// The occurrence that must be pending; else nothing is done.
    pub pending: Timestamp,
    /// What becomes of it.
    pub turn: Turn,
}

/// What becomes of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    On {
        /// What is fired now, the oldest first. Where the pending one is not among them it is passed over.
        fire: Vec<Occurrence>,
        /// What is pending then; without it the series ends.
        next: Option<Occurrence>,
    },
    /// It cannot go on, for this reason.
    Fail(String),
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stepped {
    /// It was made.
    Made {
        /// Where the events are that were fired.
        fired: Vec<Position>,
    },
    /// Another occurrence is pending by now, or none: by an earlier try of this very step, by another hub,
    /// or because the series was paused or cancelled.
    Moved,
    /// The series has failed.
    Failed,
    /// The database refuses it. Everything is as before.
    Refused,
}
