//! What of a group is paused, and the events that wait for the end of that.
//!
//! A paused group hands out nothing and reads no further. Of a paused process, an event that comes up
//! is held aside until the process goes on, so that it is in nobody's way.

use std::collections::{BTreeMap, BTreeSet};

use db::GroupPause;
use proto::group::{Pause, PausedPid};
use proto::{Event, Order, Pid, Position};

use super::{Group, KEPT_PER_PID, State};

/// Pauses of one group.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    whole: Option<Pause>,
    pids: BTreeMap<Pid, Pause>,
    /// Events of paused processes that came up meanwhile.
    held: BTreeMap<Pid, BTreeSet<Position>>,
}

impl Pauses {
    pub(super) fn new(pauses: Vec<GroupPause>) -> Self {
        let mut new = Self::default();
        for GroupPause { pid, since, by } in pauses {
            let pause = Pause { since, by };
            match pid {
                Some(pid) => drop(new.pids.insert(pid, pause)),
                None => new.whole = Some(pause),
            }
        }
        new
    }

    /// Whether the whole group is paused.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.is_some()
    }

    pub(super) fn has(&self, pid: &Pid) -> bool {
        // Nearly all groups have none, and this is asked for every delivery.
        !self.pids.is_empty() && self.pids.contains_key(pid)
    }

    /// The pause that keeps `event` from going out.
    pub(super) fn of(&self, event: &Event) -> Option<&Pause> {
        self.whole.as_ref().or_else(|| self.pids.get(&event.pid))
    }

    pub(super) fn whole(&self) -> Option<&Pause> {
        self.whole.as_ref()
    }

    pub(super) fn pids(&self) -> impl ExactSizeIterator<Item = PausedPid> {
        self.pids.iter().map(|(pid, pause)| PausedPid { pid: pid.clone(), pause: pause.clone() })
    }

    pub(super) fn holds(&self, pid: &Pid, position: Position) -> bool {
        self.held.get(pid).is_some_and(|held| held.contains(&position))
    }

    /// An event is not in hand any more.
    pub(super) fn forget(&mut self, pid: &Pid, position: Position) {
        if let Some(held) = self.held.get_mut(pid) {
            held.remove(&position);
            if held.is_empty() {
                self.held.remove(pid);
            }
        }
    }

    /// Holds nothing any more; what was held is queued anew by the caller.
    pub(super) fn let_go(&mut self) {
        self.held.clear();
    }
}

impl Group {
    /// Puts the event at `position` aside: its process is paused.
    pub(super) fn hold(&mut self, position: Position) {
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        entry.state = State::Held;
        let held = self.pauses.held.entry(entry.pid.clone()).or_default();
        held.insert(position);
        // However many there are, few are kept with their data.
        if held.len() > KEPT_PER_PID
            && let Some(event) = entry.event.take()
        {
            self.bytes -= event.weight();
        }
    }

    /// Takes other pauses; what they do not hold any more comes up again.
    pub(super) fn set_pauses(&mut self, pauses: Vec<GroupPause>) {
        let before = std::mem::replace(&mut self.pauses, Pauses::new(pauses));
        for (pid, held) in before.held {
            if self.pauses.has(&pid) {
                self.pauses.held.insert(pid, held);
            } else {
                held.into_iter().for_each(|position| self.bring_back(&pid, position));
            }
        }
    }

    /// Brings up an event that was held. In an unordered group one without data queues behind the
    /// others of its process, so that they are read again a page at a time.
    fn bring_back(&mut self, pid: &Pid, position: Position) {
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        let has_data = entry.event.is_some();
        let is_queued = self.pids.get(pid).is_some_and(|queue| queue.contains(&position));
        if has_data || is_queued || self.order == Order::ByPid {
            self.make_next(position, None);
            return;
        }
        entry.state = State::Behind;
        let queue = self.pids.entry(pid.clone()).or_default();
        queue.push_back(position);
        if queue.len() == 1 {
            self.make_next(position, None);
        }
    }
}
