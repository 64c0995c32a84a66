//! A group changes between ordered and unordered while events of it are in hand.
//!
//! To ordered: everything of a process that is not out queues by position. Where more than the first of
//! them is out, these are *strays*: nothing new of the process goes out until the last has come back.
//!
//! To unordered: whatever is in hand with its data goes out at once. A process with so much in hand
//! that some of it has no data gives that out in order still, so that it is read again a page at a
//! time; its later events do not wait for that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proto::{Order, Pid, Position, Timestamp};

use super::{Group, State};

/// Deliveries that were out when their group became ordered, by process.
#[derive(Debug, Default)]
pub(super) struct Strays(BTreeMap<Pid, BTreeSet<Position>>);

/// What the end of a delivery means for its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// It was none of the strays, and there are none.
    Ordinary,
    /// Others are out still: nothing of the process may go out.
    Waiting,
    /// It was the last: the first of the process may go out.
    Last,
}

impl Strays {
    pub(super) fn has(&self, pid: &Pid) -> bool {
        !self.0.is_empty() && self.0.contains_key(pid)
    }

    /// Notes that a delivery has ended.
    pub(super) fn back(&mut self, pid: &Pid, position: Position) -> Back {
        let Some(strays) = self.0.get_mut(pid) else { return Back::Ordinary };
        strays.remove(&position);
        if !strays.is_empty() {
            return Back::Waiting;
        }
        self.0.remove(pid);
        Back::Last
    }
}

impl Group {
    /// Makes the group ordered or unordered. What is out stays out.
    pub(super) fn reorder(&mut self, order: Order) {
        if order == self.order {
            return;
        }
        self.order = order;
        match order {
            Order::ByPid => self.queue_all(),
            Order::None => self.queue_none(),
        }
    }

    fn queue_all(&mut self) {
        self.ready.clear();
        self.retries.clear();
        self.pauses.let_go();
        self.strays = Strays::default();
        let mut pids: BTreeMap<Pid, BTreeMap<Position, Option<Timestamp>>> = BTreeMap::new();
        let mut out: BTreeMap<Pid, BTreeSet<Position>> = BTreeMap::new();
        for (&position, entry) in &mut self.in_hand {
            let mut not_before = None;
            match entry.state {
                State::Out { .. } | State::Committing { .. } => {
                    out.entry(entry.pid.clone()).or_default().insert(position);
                }
                State::RetryAt(at) => not_before = Some(at),
                State::Behind | State::Ready | State::Fetching | State::Held => {}
            }
            if !matches!(entry.state, State::Out { .. } | State::Committing { .. }) {
                entry.state = State::Behind;
            }
            pids.entry(entry.pid.clone()).or_default().insert(position, not_before);
        }
        self.pids = pids.iter().map(|(pid, queue)| (pid.clone(), queue.keys().copied().collect())).collect();
        for (pid, queue) in pids {
            let Some((&first, &not_before)) = queue.first_key_value() else { continue };
            match out.remove(&pid) {
                None => self.make_next(first, not_before),
                Some(out) if out.len() == 1 && out.contains(&first) => {}
                Some(out) => drop(self.strays.0.insert(pid, out)),
            }
        }
    }

    fn queue_none(&mut self) {
        self.strays = Strays::default();
        let mut pids: Vec<_> = std::mem::take(&mut self.pids).into_iter().collect();
        pids.sort_unstable();
        for (pid, queue) in pids {
            let is_behind = |position: &Position| {
                self.in_hand.get(position).is_some_and(|entry| entry.state == State::Behind)
            };
            let has_data =
                |position: &Position| self.in_hand.get(position).is_some_and(|entry| entry.event.is_some());
            let behind: VecDeque<Position> = queue.into_iter().filter(is_behind).collect();
            if behind.iter().all(has_data) {
                behind.into_iter().for_each(|position| self.make_next(position, None));
            } else if let Some(&first) = behind.front() {
                self.pids.insert(pid, behind);
                self.make_next(first, None);
            }
        }
    }

    /// The delivery at `position` came back without an outcome, as one of its process's strays: it
    /// queues. Whether it was one.
    pub(super) fn stray_back(&mut self, position: Position, not_before: Option<Timestamp>) -> bool {
        let Some(entry) = self.in_hand.get_mut(&position) else { return false };
        let pid = entry.pid.clone();
        let back = self.strays.back(&pid, position);
        if back != Back::Ordinary {
            entry.state = State::Behind;
        }
        if back == Back::Last
            && let Some(first) = self.pids.get(&pid).and_then(VecDeque::front).copied()
        {
            self.make_next(first, not_before.filter(|_| first == position));
        }
        back != Back::Ordinary
    }
}
