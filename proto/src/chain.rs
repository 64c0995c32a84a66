//! What a handler wants done together with its ack: in one transaction, or not at all.
//!
//! Ids of events that follow from another are made from that event's id, the group and a number, so a
//! handler that runs again asks for the same events, and none is stored twice.

use sha2::Digest;

use crate::event::{Event, NewEvent};
use crate::filter::Expectation;
use crate::message::{Appended, Link};
use crate::name::{EventId, GroupName, ScheduleKey};
use crate::number::{Attempt, ListenerId, Position, Timestamp};

/// The ack of one delivery, and what takes effect with it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Chain {
    /// To which listener the delivery went.
    pub listener: ListenerId,
    /// Which event.
    pub position: Position,
    /// Which try.
    pub attempt: Attempt,
    /// In this order; at most [`crate::limits::EFFECTS_PER_CHAIN_MAX`].
    pub effects: Vec<Effect>,
    /// What must be true of eventlogs before; as many at most.
    pub expectations: Vec<Expectation>,
}

/// One thing that takes effect with an ack.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Effect {
    /// Stores an event and offers it, in the name of the caller.
    Publish(NewEvent),
    /// Stores an event only.
    Persist(NewEvent),
    /// Publishes an event later.
    Schedule(Later),
    /// Cancels a schedule, if it is pending.
    Cancel(Which),
    /// Changes an event's links.
    Link(Link),
}

/// An event that is to be published later.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Later {
    /// The event. Its id is the schedule's id.
    pub event: NewEvent,
    /// When; in the past is at once.
    pub due: Timestamp,
    /// What it can be cancelled by, and what it takes the place of.
    pub key: Option<ScheduleKey>,
}

/// Which schedule is meant.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Which {
    /// The one of the event with this id.
    Id(EventId),
    /// The newest one with this key.
    Key(ScheduleKey),
}

/// What came of a chain that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Chained {
    /// All of it is durable: the event is settled. One entry for each published or persisted event.
    Committed(Vec<Appended>),
    /// The delivery is not this member's any more: nothing of it was done.
    Stale,
}

impl Chain {
    /// Events that are appended with it.
    #[must_use]
    pub fn appends(&self) -> usize {
        let appends = |effect: &&Effect| matches!(effect, Effect::Publish(_) | Effect::Persist(_));
        self.effects.iter().filter(appends).count()
    }
}

impl Effect {
    /// The event in it, if there is one.
    #[must_use]
    pub fn event(&self) -> Option<&NewEvent> {
        match self {
            Self::Publish(event) | Self::Persist(event) => Some(event),
            Self::Schedule(later) => Some(&later.event),
            Self::Cancel(_) | Self::Link(_) => None,
        }
    }
}

/// The id of the event that a handler of `group` makes as its `ordinal`th (from 0) from `parent`.
///
/// It is a UUID of version 8: 48 bits of the parent's time in milliseconds, so that ids sort about as
/// their parents do, which spares the database random index pages; then bits of the SHA-256 of the
/// parent's id, the group and the ordinal.
#[must_use]
pub fn child_id(parent: &Event, group: &GroupName, ordinal: u32) -> EventId {
    let mut hash = sha2::Sha256::new();
    for part in ["eventflow child", parent.id.as_str(), group.as_str()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(ordinal.to_le_bytes());
    let millis = parent.timestamp.millis().max(0).to_be_bytes();
    let mut bytes = [0; 16];
    let derived = millis.into_iter().skip(2).chain(hash.finalize());
    bytes.iter_mut().zip(derived).for_each(|(to, from)| *to = from);
    EventId::from_uuid(uuid::Uuid::new_v8(bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Data, Domain, EventName, Metadata, Pid, Version};

    fn parent(id: &str, millis: i64) -> Event {
        Event {
            position: Position(7),
            id: EventId::parse(id).unwrap(),
            timestamp: Timestamp::from_millis(millis).unwrap(),
            domain: Domain::parse("order").unwrap(),
            pid: Pid::parse("1").unwrap(),
            version: Version(1),
            name: EventName::parse("placed").unwrap(),
            rid: None,
            publisher: None,
            metadata: Metadata::default(),
            data: Data::empty(),
            eids: Vec::new(),
            cpids: Vec::new(),
        }
    }

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    #[test]
    fn a_child_has_the_same_id_whenever_it_is_made() {
        let id = child_id(&parent("e1", 1_767_225_600_000), &group("billing"), 0);
        // Whoever ran before an update must meet its own children again after it.
        assert_eq!(id.as_str(), "019b76da-a800-8113-b087-de0a6d6146c4");
        let mut elsewhere = parent("e1", 1_767_225_600_000);
        elsewhere.position = Position(99);
        assert_eq!(child_id(&elsewhere, &group("billing"), 0), id, "also in a copy of the log");
    }

    #[test]
    fn parent_group_and_ordinal_each_make_another_child() {
        let ids: BTreeSet<_> =
            [("e1", "a", 0), ("e2", "a", 0), ("e1", "b", 0), ("e1", "a", 1), ("e", "1a", 0)]
                .map(|(id, name, ordinal)| child_id(&parent(id, 5), &group(name), ordinal))
                .into();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn children_of_later_events_sort_after_those_of_earlier_ones() {
        let early = child_id(&parent("z", 1_000), &group("a"), 9);
        let late = child_id(&parent("a", 1_001), &group("a"), 0);
        assert!(early < late);
    }
}
