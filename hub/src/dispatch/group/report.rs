//! What a group tells people: counts, and why an event is not further.

use proto::report::{DeliveryState, DeliveryStory, GroupReport};
use proto::{Attempt, Event, NameFilter, Order, Position};

use super::{Group, State};

impl Group {
    /// The group's counts. `pending` counts what was read; what was not comes on top.
    pub(in crate::dispatch) fn report(&self, head: Position) -> GroupReport {
        let count = |of: fn(&super::line::Line) -> u64| self.lines.iter().map(of).sum::<u64>();
        let names = match &self.topic.names {
            NameFilter::All => Vec::new(),
            NameFilter::Only(names) => names.clone(),
        };
        let retrying = self.in_hand.values().filter(|entry| matches!(entry.state, State::RetryAt(_))).count();
        GroupReport {
            group: self.name.clone(),
            domain: self.topic.domain.clone(),
            names,
            ordered: self.order == Order::ByPid,
            start_after: self.start_after,
            members: as_u64(self.members.len()),
            succeeded: count(|line| line.succeeded),
            parked: count(|line| line.parked),
            discarded: count(|line| line.discarded),
            pending: as_u64(self.in_hand.len() + self.unflushed()),
            in_flight: as_u64(self.out),
            retrying: as_u64(retrying),
            settled_through: self.settled_through(),
            head,
        }
    }

    /// All events up to here are settled.
    pub(in crate::dispatch) fn settled_through(&self) -> Position {
        let cursors = self.lines.iter().map(|line| line.fence(self.read_through).cursor);
        cursors.min().unwrap_or(self.start_after)
    }

    /// How far the group has read.
    pub(in crate::dispatch) fn read_through(&self) -> Position {
        self.read_through
    }

    /// Why `event`, which has no outcome in the tables, is not further in this group; `None` if the
    /// group does not want it.
    pub(in crate::dispatch) fn story(&self, event: &Event) -> Option<DeliveryStory> {
        if event.publisher.is_none() || !self.topic.matches(event) {
            return None;
        }
        let entry = self.in_hand.get(&event.position);
        Some(DeliveryStory {
            group: self.name.clone(),
            state: self.state_of(event),
            attempts: Attempt(entry.map_or(0, |entry| entry.deliveries)),
            consumer: entry.and_then(|entry| entry.consumer.as_deref().map(str::to_owned)),
            settled: None,
            reason: entry.and_then(|entry| entry.reason.clone()),
        })
    }

    fn state_of(&self, event: &Event) -> DeliveryState {
        if event.position <= self.start_after {
            return DeliveryState::BeforeStart;
        }
        let entry = self.in_hand.get(&event.position);
        let is_out = entry.is_some_and(|entry| matches!(entry.state, State::Out { .. }));
        let is_open = entry.is_some() || event.position > self.read_through;
        if let Some(pause) = self.pauses.of(event).filter(|_| is_open && !is_out) {
            return DeliveryState::Paused { since: pause.since, by: pause.by.clone() };
        }
        let Some(entry) = entry else {
            return match (event.position > self.read_through, self.members.is_empty()) {
                (true, true) => DeliveryState::NoMember,
                (true, false) => {
                    DeliveryState::NotRead { before: event.position.0 - self.read_through.0 - 1 }
                }
                // Settled, and about to be recorded.
                (false, _) => DeliveryState::Succeeded,
            };
        };
        match entry.state {
            State::Out { since, deadline, .. } => DeliveryState::InFlight { since, deadline },
            State::RetryAt(at) => DeliveryState::RetryAt { at },
            State::Committing { since } => DeliveryState::Committing { since },
            State::Behind => {
                let first = self.pids.get(&entry.pid).and_then(|queue| queue.front());
                match first.and_then(|first| self.in_hand.get(first)?.event.clone()) {
                    Some(first) => {
                        DeliveryState::BlockedBy { id: first.id.clone(), position: first.position }
                    }
                    None => DeliveryState::Ready,
                }
            }
            // Its process goes on with the next turn.
            State::Held => DeliveryState::Ready,
            State::Ready | State::Fetching if self.members.is_empty() => DeliveryState::NoMember,
            State::Ready | State::Fetching if !self.members.have_credit() => {
                DeliveryState::NoCredit { members: as_u64(self.members.len()) }
            }
            State::Ready | State::Fetching => DeliveryState::Ready,
        }
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
