//! The members of a group, and which of them gets the next event.

use std::collections::HashMap;
use std::sync::Arc;

use proto::limits::CREDIT_EVENTS_MAX;
use proto::{Event, ListenerId};

use super::super::connection::{ConnectionId, Rooms};

/// One consumer of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemberKey {
    pub(crate) connection: ConnectionId,
    pub(crate) listener: ListenerId,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: MemberKey,
    /// Service and instance, for the record.
    pub(super) label: Arc<str>,
    credit: u32,
    pub(super) in_flight: u32,
}

impl Member {
    /// Events that may be in flight to it, in a group that allows so many.
    pub(super) fn allowed(&self, credit_max: u32) -> u32 {
        self.credit.min(credit_max)
    }

    fn has_credit(&self, credit_max: u32) -> bool {
        self.in_flight < self.allowed(credit_max)
    }
}

/// A group's members, in the order in which their slots are dealt out.
#[derive(Debug)]
pub(super) struct Members {
    /// Events that any one of them may have in flight, whatever it allows.
    pub(super) credit_max: u32,
    list: Vec<Member>,
    index: HashMap<MemberKey, usize>,
}

impl Members {
    pub(super) fn new(credit_max: u32) -> Self {
        Self { credit_max, list: Vec::new(), index: HashMap::new() }
    }

    /// All of them, in the order in which they joined.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.list.iter()
    }

    pub(super) fn join(&mut self, key: MemberKey, label: Arc<str>, credit: u32) {
        self.list.push(Member { key, label, credit: credit.clamp(1, CREDIT_EVENTS_MAX), in_flight: 0 });
        self.reindex();
    }

    /// Takes a member out; false if there was none.
    pub(super) fn leave(&mut self, key: MemberKey) -> bool {
        let before = self.list.len();
        self.list.retain(|member| member.key != key);
        self.reindex();
        self.list.len() < before
    }

    fn reindex(&mut self) {
        self.index = self.list.iter().enumerate().map(|(index, member)| (member.key, index)).collect();
    }

    pub(super) fn get(&mut self, key: MemberKey) -> Option<&mut Member> {
        self.index.get(&key).and_then(|&index| self.list.get_mut(index))
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn on(&self, connection: ConnectionId) -> Vec<MemberKey> {
        self.list.iter().map(|member| member.key).filter(|key| key.connection == connection).collect()
    }

    /// Allows more to be in flight to a member.
    pub(super) fn credit(&mut self, key: MemberKey, events: u32) {
        if let Some(member) = self.get(key) {
            member.credit = member.credit.saturating_add(events).min(CREDIT_EVENTS_MAX);
        }
    }

    /// Nothing more goes to a member.
    pub(super) fn enough(&mut self, key: MemberKey) {
        if let Some(member) = self.get(key) {
            member.credit = 0;
        }
    }

    /// Whether a delivery may leave for a member that has `staying` in flight which have not left, this one
    /// among them.
    pub(super) fn may_have_one_more(&mut self, key: MemberKey, staying: u32) -> bool {
        let credit_max = self.credit_max;
        self.get(key)
            .is_some_and(|member| member.in_flight.saturating_sub(staying) < member.allowed(credit_max))
    }

    pub(super) fn have_credit(&self) -> bool {
        self.list.iter().any(|member| member.has_credit(self.credit_max))
    }

    /// Whether some member could have `event` now.
    pub(super) fn could_take(&self, event: &Event, rooms: &Rooms) -> bool {
        let could = |member: &Member| {
            member.has_credit(self.credit_max) && rooms.has_room(member.key.connection, event)
        };
        self.list.iter().any(could)
    }

    /// The member for an event of `slot`: the one that the slot is dealt to, or the next with credit;
    /// the one that it has `failed_by` only if there is no other.
    ///
    /// Staying with one member keeps its caches warm and lets its settlements share rows.
    pub(super) fn choose(
        &mut self,
        slot: u16,
        failed_by: Option<MemberKey>,
        event: &Event,
        rooms: &Rooms,
    ) -> Option<&mut Member> {
        let count = self.list.len();
        let preferred = usize::from(slot).checked_rem(count)?;
        let mut can = (preferred..count).chain(0..preferred).filter(|&index| {
            self.list.get(index).is_some_and(|member| {
                member.has_credit(self.credit_max) && rooms.has_room(member.key.connection, event)
            })
        });
        let first = can.next()?;
        let is_it = |index: usize| self.list.get(index).map(|member| member.key) == failed_by;
        let index = match failed_by {
            Some(_) if is_it(first) => can.next().unwrap_or(first),
            Some(_) | None => first,
        };
        self.list.get_mut(index)
    }
}
