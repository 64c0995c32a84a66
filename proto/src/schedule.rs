//! Schedules on the wire: events that are to be published later, once or again and again.
//!
//! All of it travels in one request and one reply of [`crate::message`], so that both vocabularies
//! stay small. What the hub promises about schedules is in `docs/schedules.md`.

use crate::event::{Data, NewEvent};
use crate::message::Stored;
use crate::name::{Domain, EventId, EventName, Pid, ScheduleKey, ServiceName};
use crate::number::{Position, Timestamp};
use crate::recurrence::Recurrence;

/// What may be asked about schedules. Answered by the [`ScheduleReply`] of the same place.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ScheduleRequest {
    /// Stores a schedule. Answered by [`ScheduleReply::Added`].
    Add(Box<ScheduleWish>),
    /// Changes a schedule. Answered by [`ScheduleReply::Changed`].
    Change {
        /// Which one.
        which: Which,
        /// What is to be done.
        change: ScheduleChange,
    },
    /// One schedule. Answered by [`ScheduleReply::Shown`].
    Show(Which),
    /// A page of schedules, by time and id. Answered by [`ScheduleReply::Listed`].
    List(ScheduleQuery),
}

/// An event that is to be published in the caller's name, and when.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ScheduleWish {
    /// The event. Its id is the schedule's.
    pub event: NewEvent,
    /// When it is to be published.
    pub when: When,
    /// What it can be cancelled and replaced by: of all schedules with the same key one is pending.
    pub key: Option<ScheduleKey>,
}

/// When a schedule is due.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum When {
    /// Once. A time that has passed means at once.
    At(Timestamp),
    /// Again and again: at every occurrence its event is published with an id of its own,
    /// [`occurrence_id`].
    Recurring(Box<Recurring>),
}

/// When a series occurs. Its JSON form is what the log keeps.
#[derive(
    Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize,
)]
pub struct Recurring {
    /// Nothing occurs before it, and intervals are counted from it.
    pub start: Timestamp,
    /// The rule, and what happens when it cannot be kept.
    pub recurrence: Recurrence,
}

/// Which schedule is meant.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Which {
    /// The one that was stored with this event id. An occurrence that is still to come stands for its
    /// series.
    Id(EventId),
    /// The newest one with this key.
    Key(ScheduleKey),
}

/// What is to be done with a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ScheduleChange {
    /// It is never to be fired. A series ends.
    Cancel,
    /// It is not to be fired before it is resumed.
    Pause,
    /// It is fired when it is due; if that has passed, at once. Of a series the misfire policy decides
    /// about what was missed.
    Resume,
}

/// Which schedules to list.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ScheduleQuery {
    /// Of which state.
    pub scope: ScheduleScope,
    /// Only events of this domain.
    pub domain: Option<Domain>,
    /// The last one of the page before; `None` starts.
    pub after: Option<ScheduleCursor>,
    /// At most so many, cut to [`crate::limits::SCHEDULES_PER_PAGE_MAX`].
    pub limit: u32,
}

/// Which states of schedules are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ScheduleScope {
    /// What is to be fired, of a series its next occurrence. Paused ones are not among them.
    Pending,
    /// All that ever were.
    All,
}

/// The place of a schedule in a list.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ScheduleCursor {
    /// When it is, or was, due.
    pub due: Timestamp,
    /// Its id.
    pub id: EventId,
}

/// What came of a [`ScheduleRequest`].
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ScheduleReply {
    /// It is durable.
    Added(Scheduled),
    /// How the schedule stands now.
    Changed(Standing),
    /// The schedule; missing is [`crate::Refusal::NotFound`].
    Shown(Box<ScheduleReport>),
    /// A page; only an empty one is the end.
    Listed(Vec<ScheduleReport>),
}

/// A schedule that is stored.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Scheduled {
    /// Whether this wish stored it or an earlier one with the same id and content had.
    pub stored: Stored,
    /// When it is, or was, due; of a series, its first occurrence.
    pub due: Timestamp,
    /// Whether that is still to come.
    pub timing: Timing,
    /// The schedule of the same key that was pending until this one took its place.
    pub replaced: Option<EventId>,
}

/// Whether a time is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Timing {
    /// It is.
    Ahead,
    /// It has passed: the schedule is fired at once, unless it was before.
    Passed,
}

/// How a schedule stands after it was to be changed. It is never more than what is in the tables.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    /// It will be fired.
    Pending {
        /// When; of a series, the next occurrence.
        due: Timestamp,
    },
    /// It will not be fired before it is resumed.
    Paused,
    /// It was too late: the event is in the log.
    Fired {
        /// Where it is.
        position: Position,
    },
    /// Its event will not be appended (any more), by this request or by an earlier one.
    Cancelled,
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

/// What has become of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ScheduleState {
    /// It waits for its time.
    Pending,
    /// It waits to be resumed.
    Paused {
        /// Since when.
        since: Timestamp,
    },
    /// Its event is in the log.
    Fired {
        /// When it was fired.
        at: Timestamp,
        /// Where the event is.
        position: Position,
    },
    /// It was cancelled, replaced, or skipped as its series' policy says.
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
    Recurring {
        /// When it is fired next.
        next: Timestamp,
        /// The id of the event that is published then.
        occurrence: EventId,
        /// Where the last event of it is.
        last: Option<Position>,
    },
    /// A series that has come to its end.
    Ended {
        /// When.
        at: Timestamp,
        /// Where the last event of it is.
        last: Option<Position>,
    },
}

/// One schedule, as the hub sees it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct ScheduleReport {
    /// The id of its event; of a series, the id that it was stored with.
    pub id: EventId,
    /// Its key.
    pub key: Option<ScheduleKey>,
    /// When it is, or was, due; of a series, its first occurrence.
    pub due: Timestamp,
    /// Its event's domain.
    pub domain: Domain,
    /// Its event's process.
    pub pid: Pid,
    /// Its event's name.
    pub name: EventName,
    /// The service in whose name it is published.
    pub publisher: ServiceName,
    /// When it was asked for.
    pub created: Timestamp,
    /// What has become of it.
    #[serde(flatten)]
    pub state: ScheduleState,
    /// The series that it is an occurrence of.
    pub series: Option<EventId>,
    /// What a series recurs by; of an occurrence, what its series does.
    pub recurring: Option<Recurring>,
    /// Its event's data; lists leave it out.
    pub data: Option<Data>,
}

/// The id of the event that the series `series` publishes for its occurrence at `at`: the same on every
/// hub and at every try, so that it is stored once.
///
/// Rows and events hold it, so it must never change. It starts with the time, because databases store
/// ids that grow with time several times faster than random ones.
#[must_use]
pub fn occurrence_id(series: &EventId, at: Timestamp) -> EventId {
    use sha2::Digest;
    let mut hash = sha2::Sha256::new();
    hash.update(b"eventflow occurrence\0");
    hash.update(series.as_str().as_bytes());
    hash.update([0]);
    hash.update(at.millis().to_be_bytes());
    // 48 bits of milliseconds last until the year 10889. Version and variant overwrite six bits.
    let time = at.millis().max(0).to_be_bytes().into_iter().skip(2);
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(time.chain(hash.finalize())).for_each(|(to, from)| *to = from);
    EventId::from_uuid(uuid::Uuid::new_v8(bytes))
}

impl From<EventId> for Which {
    fn from(id: EventId) -> Self {
        Self::Id(id)
    }
}

impl From<ScheduleKey> for Which {
    fn from(key: ScheduleKey) -> Self {
        Self::Key(key)
    }
}

impl ScheduleReport {
    /// Bytes that it holds, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 1_024;
        FIXED + self.data.as_ref().map_or(0, |data| data.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_occurrence_never_changes() {
        let series = EventId::parse("nightly").unwrap();
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let id = occurrence_id(&series, at("2026-03-29T01:00:00Z"));
        assert_eq!(id.as_str(), AS_RECORDED);
        let next = occurrence_id(&series, at("2026-03-30T00:30:00Z"));
        assert!(next > id, "ids of later occurrences are larger");
        assert_ne!(occurrence_id(&EventId::parse("other").unwrap(), at("2026-03-29T01:00:00Z")), id);
    }
    const AS_RECORDED: &str = "019d371a-da80-8a68-9d56-7a070802e4d4";
}
