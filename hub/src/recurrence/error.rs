//! Why a recurrence is not taken.

use proto::{CronText, Timestamp, ZoneName};

use super::{EVERY_MS_MAX, EVERY_MS_MIN};

/// What is wrong with a recurrence, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecurrenceError {
    /// There is no such time zone.
    #[error(
        "there is no time zone {:?}; {}", zone.as_str(),
        if near.is_empty() { "use an IANA name, for example Europe/Stockholm or UTC".to_owned() }
        else { format!("did you mean {}", near.join(" or ")) }
    )]
    UnknownZone {
        /// The name that was given.
        zone: ZoneName,
        /// Zones with names like it, the nearest first.
        near: Vec<String>,
    },
    /// The text is no cron expression.
    #[error(
        "{:?} is no cron expression: {reason}; write minute, hour, day of month, month and day of week, with seconds in front if they matter, for example '30 2 * * MON-FRI'",
        expression.as_str()
    )]
    NotCron {
        /// The text.
        expression: CronText,
        /// What is wrong with it.
        reason: String,
    },
    /// No day has such a time.
    #[error(
        "{:?} in {} never comes: no date that is still ahead matches it; see its day of month and its month",
        expression.as_str(), zone
    )]
    Never {
        /// The expression.
        expression: CronText,
        /// Its zone.
        zone: ZoneName,
    },
    /// The end is before the first occurrence.
    #[error("nothing would occur: the first time would be {first}, after the end, {end}; choose a later end")]
    NothingBeforeEnd {
        /// The first occurrence if there was no end.
        first: Timestamp,
        /// The end.
        end: Timestamp,
    },
    /// The end is before the start.
    #[error("it would end at {end}, before it starts at {start}; choose a later end")]
    EndBeforeStart {
        /// The start.
        start: Timestamp,
        /// The end.
        end: Timestamp,
    },
    /// The interval is nothing, too short or too long.
    #[error(
        "an interval of {millis} ms is not possible; choose one from {EVERY_MS_MIN} ms to {EVERY_MS_MAX} ms"
    )]
    Interval {
        /// The interval.
        millis: u64,
    },
    /// The jitter is longer than a day, or than the time between two occurrences.
    #[error("a jitter of {jitter_ms} ms is too much for this rule; it must be at most {most} ms")]
    JitterTooLarge {
        /// The jitter.
        jitter_ms: u32,
        /// The most that this rule allows.
        most: u32,
    },
}
