//! Processes that are parked as a whole: an event was given up, and nothing after it is delivered.
//!
//! Later events of such a process are parked behind it as they are read, so memory holds its name and
//! nothing else of it. It is parked from the first of its parked events on: what is replayed from
//! before that is delivered, in order.

use std::collections::{BTreeSet, HashMap, HashSet};

use db::{Outcome, Unparked};
use proto::{Order, ParkPolicy, Pid, Position, Timestamp};

use super::{FLUSH_EVENTS, Group, State};
use crate::dispatch::group::answers::Ended;

/// Processes of one group that are parked as a whole. At it an event that should be parked with its
/// process is tried again instead, at the longest back-off: its process waits, in order, and no other.
const PARKED_PIDS_MAX: usize = 100_000;

/// The parked processes of one group.
#[derive(Debug, Default)]
pub(super) struct ParkedPids {
    /// From where on each is parked.
    from: HashMap<Pid, Position>,
    /// Those that have events in hand which are to be parked behind.
    waiting: BTreeSet<Pid>,
    /// Parked events that the tables do not know to park their processes.
    blocking: Vec<Position>,
    /// Processes that the tables do not know to be parked.
    fresh: Vec<Pid>,
    /// What was parked since an act on parked events was asked for that is not done yet.
    since: Vec<(Pid, Position)>,
}

impl ParkedPids {
    /// As the tables have it.
    pub(super) fn new(pids: impl IntoIterator<Item = (Pid, Position)>) -> Self {
        Self { from: pids.into_iter().collect(), ..Self::default() }
    }

    /// Whether the event at `position` is not to be delivered, because its process is parked.
    fn holds(&self, pid: &Pid, position: Position) -> bool {
        self.from.get(pid).is_some_and(|from| position > *from)
    }

    /// Whether the event at `position` is to be parked, and waits for it.
    pub(super) fn is_about_to_park(&self, pid: &Pid, position: Position) -> bool {
        self.waiting.contains(pid) && self.holds(pid, position)
    }

    /// Hands out what the tables do not know.
    pub(super) fn flush(&mut self) -> (Vec<Position>, Vec<Pid>) {
        (std::mem::take(&mut self.blocking), std::mem::take(&mut self.fresh))
    }

    /// An event was deleted, and its row with it: an act on the rest of its process sets that free.
    pub(super) fn forget(&mut self, position: Position) {
        self.blocking.retain(|parked| *parked != position);
        self.since.retain(|(_, parked)| *parked != position);
    }

    fn park(&mut self, pid: &Pid, position: Position) {
        let from = self.from.entry(pid.clone()).or_insert(position);
        *from = position.min(*from);
        self.blocking.push(position);
        self.fresh.push(pid.clone());
        self.since.push((pid.clone(), position));
    }

    /// An act on parked events is done, and `waits` says whether there is another to come.
    fn unparked(&mut self, unparked: &Unparked, waits: bool) {
        let taken: HashSet<_> = unparked.taken.iter().map(|replay| replay.position).collect();
        self.since.retain(|(_, position)| !taken.contains(position));
        for (pid, first) in &unparked.pids {
            let since = self.since.iter().filter(|(parked, _)| parked == pid).map(|(_, position)| *position);
            match since.chain(*first).min() {
                Some(from) => self.from.insert(pid.clone(), from),
                None => self.from.remove(pid),
            };
        }
        if !waits {
            self.since.clear();
        }
    }
}

impl Group {
    /// Whether the event at `position` stays where it is, because its process is parked.
    pub(super) fn is_held(&mut self, position: Position) -> bool {
        let Some(entry) = self.in_hand.get_mut(&position) else { return false };
        if self.order == Order::None || !self.parked.holds(&entry.pid, position) {
            return false;
        }
        entry.state = State::Behind;
        self.parked.waiting.insert(entry.pid.clone());
        true
    }

    /// Parks an event, with its process if that is the group's policy and there is room for another.
    pub(super) fn give_up(&mut self, position: Position, reason: String, now: Timestamp) -> Ended {
        if self.is_gone(position) {
            return Ended::Failed;
        }
        if self.order == Order::ByPid && self.rules.park == ParkPolicy::Pid {
            let Some(entry) = self.in_hand.get(&position) else { return Ended::Stale };
            let is_new = !self.parked.from.contains_key(&entry.pid);
            if is_new && self.parked.from.len() >= PARKED_PIDS_MAX {
                let reason = format!(
                    "{reason} (not parked: the group has {PARKED_PIDS_MAX} parked processes; replay or discard some)"
                );
                return self.retry(position, reason, now.plus(self.rules.backoff_max), now);
            }
            let pid = entry.pid.clone();
            // Before the next of its process is made ready.
            self.parked.park(&pid, position);
        }
        self.settle(position, Outcome::Parked { reason }, now);
        Ended::Parked
    }

    /// Parks what is in hand of parked processes, as much as one flush takes. While an act on parked
    /// events is under way all of it waits, so that the tables show that act whole processes.
    pub(super) fn park_behind(&mut self, now: Timestamp) {
        if self.parked.waiting.is_empty() || self.unparks.is_busy() {
            return;
        }
        let mut room = FLUSH_EVENTS.saturating_sub(self.unflushed());
        while room > 0
            && let Some(pid) = self.parked.waiting.first().cloned()
        {
            let behind = self.behind(&pid, room);
            if behind.len() < room {
                self.parked.waiting.remove(&pid);
            }
            room -= behind.len();
            let from = self.parked.from.get(&pid).copied().unwrap_or_default();
            for position in behind {
                let Some(entry) = self.in_hand.remove(&position) else { continue };
                if let Some(event) = &entry.event {
                    self.bytes -= event.weight();
                }
                self.fresh_retries.remove(&position);
                self.parked.blocking.push(position);
                let reason = format!("behind parked event {from}");
                self.settle_entry(position, entry, Outcome::Parked { reason }, now);
            }
            self.go_on(&pid);
        }
    }

    /// What is first of a process now goes, if nothing but what was before it has kept it: an event from before
    /// its process was parked, which was replayed and stood behind one that is parked.
    fn go_on(&mut self, pid: &Pid) {
        let first = self.pids.get(pid).and_then(|queue| queue.front().copied());
        let Some(first) = first else { return };
        let is_behind = self.in_hand.get(&first).is_some_and(|entry| entry.state == State::Behind);
        if is_behind && !self.parked.holds(pid, first) {
            self.advance(first);
        }
    }

    /// Takes up to `limit` events of a parked process out of its queue that are to be parked.
    fn behind(&mut self, pid: &Pid, limit: usize) -> Vec<Position> {
        let Some(queue) = self.pids.get_mut(pid) else { return Vec::new() };
        let (in_hand, parked) = (&self.in_hand, &self.parked);
        let waits = |position: &Position| {
            parked.holds(pid, *position)
                && in_hand.get(position).is_some_and(|entry| entry.state == State::Behind)
        };
        let behind: Vec<Position> = queue.iter().copied().filter(waits).take(limit).collect();
        let taken: HashSet<_> = behind.iter().collect();
        queue.retain(|position| !taken.contains(position));
        if queue.is_empty() {
            self.pids.remove(pid);
        }
        behind
    }

    /// An act on parked events is done: events of processes that it set free go on.
    pub(super) fn freed(&mut self, unparked: &Unparked) {
        self.parked.unparked(unparked, self.unparks.is_busy());
        for (pid, _) in &unparked.pids {
            let first = self.pids.get(pid).and_then(|queue| queue.front().copied());
            let Some(first) = first else { continue };
            if self.in_hand.get(&first).is_some_and(|entry| entry.state == State::Behind) {
                self.advance(first);
            }
        }
    }
}
