//! Why a projection does not run, and what to do about it.

use std::time::Duration;

use proto::{EventId, EventName, Position, ProjectionName};

use super::store::{Build, Generation};
use crate::error::ListenError;

/// Why a projection did not start, or ended. Whatever it was, the checkpoint and the effect still agree.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// The hub does not tell it of events.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store failed while the projection started. Afterwards it is tried again without end.
    #[error("the store of {name} failed to {doing}: {reason}; nothing was changed, start it again")]
    Store {
        /// The projection.
        name: ProjectionName,
        /// What was to be done.
        doing: &'static str,
        /// What the store said.
        reason: String,
    },
    /// The projector could not make room for its generation.
    #[error("the projector of {build} could not open it: {reason}")]
    Open {
        /// Which build.
        build: Build,
        /// What it said.
        reason: String,
    },
    /// The checkpoint is of another log than the hub's: its position means nothing there.
    #[error(
        "{build} is at position {position} of log {kept}, but the hub has log {found}; check that it is the right hub, then rebuild the projection"
    )]
    OtherLog {
        /// Which build.
        build: Build,
        /// Where it is.
        position: Position,
        /// The incarnation of the log that it was made from.
        kept: u64,
        /// The incarnation of the hub's log.
        found: u64,
    },
    /// The log ends before the checkpoint: it has lost its end, or was restored from an older copy.
    #[error(
        "{build} has applied everything up to position {position}, but the log ends at {head}: the log has lost events; restore the projection's store to the same time, or rebuild the projection"
    )]
    AheadOfLog {
        /// Which build.
        build: Build,
        /// Where it is.
        position: Position,
        /// The end of the log.
        head: Position,
    },
    /// An event cannot be applied, however often it is tried. Everything before it has been.
    #[error(
        "{build} cannot apply event {event} ({name}) at position {position}, tried {attempts} times: {reason}; mend the projector, or let it pass over this event with skip({position})"
    )]
    Poison {
        /// Which build.
        build: Build,
        /// The event's id.
        event: EventId,
        /// The event's name.
        name: EventName,
        /// The event's position.
        position: Position,
        /// How often it was tried.
        attempts: u32,
        /// What the projector said the last time.
        reason: String,
    },
    /// The projector panicked. Nothing of that event was kept, everything before it has been applied.
    #[error("the projector of {build} panicked at event {event}, position {position}: {reason}")]
    Panicked {
        /// Which build.
        build: Build,
        /// The event's id.
        event: EventId,
        /// The event's position.
        position: Position,
        /// What the panic said.
        reason: String,
    },
    /// Somebody has removed its checkpoint.
    #[error("the checkpoint of {build} is gone; start the projection again to build a new one")]
    Gone {
        /// Which build.
        build: Build,
    },
    /// Another build was to take the place of one that is not read any more.
    #[error("{build} cannot take the place of generation {found}, which took over meanwhile and is newer")]
    Overtaken {
        /// Which build.
        build: Build,
        /// The one that is read now.
        found: Generation,
    },
    /// The build that is read now is still ahead.
    #[error("{build} has not caught up within {waited:?}; it goes on, switch again later")]
    NotCaughtUp {
        /// Which build.
        build: Build,
        /// How long was waited.
        waited: Duration,
    },
    /// Its task has ended before.
    #[error("{build} is not running any more")]
    Over {
        /// Which build.
        build: Build,
    },
}

/// Why a projection has not been seen to reach a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// It did not come so far in time. It goes on.
    #[error("the projection is at {applied}, not at {position}, after {waited:?}")]
    TimedOut {
        /// What was waited for.
        position: Position,
        /// Where it is.
        applied: Position,
        /// How long was waited.
        waited: Duration,
    },
    /// It has ended before it came so far.
    #[error("the projection has ended at {applied}, before {position}; it must be started again")]
    Ended {
        /// What was waited for.
        position: Position,
        /// Where it is.
        applied: Position,
    },
}

/// How a projection came to its end without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to.
    Stopped,
    /// Another build is read in its place.
    Replaced,
}
