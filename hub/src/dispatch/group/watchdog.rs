//! Whether everything that a group has in hand has a reason to be where it is (promise 5).
//!
//! It looks at the whole group and trusts none of the queues, so it finds what was dropped from one.
//! What it finds is a fault of the dispatcher; the cure is to restart the hub, the tables tell
//! everything.

use std::collections::HashSet;
use std::time::Duration;

use proto::{GroupName, Position, Timestamp};

use super::super::connection::Rooms;
use super::super::ring::Ring;
use super::{Group, State};

/// How long something may be due before it counts as forgotten: the task looks each half second.
const SLACK: Duration = Duration::from_secs(2);

/// Something that could go on and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stall {
    /// The group.
    pub(crate) group: GroupName,
    /// What is stuck: an event, or where reading stands.
    pub(crate) position: Position,
    /// What is wrong with it.
    pub(crate) fault: Fault,
}

/// In which way something is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A member with credit and room could have it.
    Undelivered,
    /// It is next of its process and in no queue.
    Unqueued,
    /// It is behind an event of its process that is not in hand.
    BehindNothing,
    /// Its retry is over.
    RetryForgotten,
    /// Its deadline is over.
    DeadlineForgotten,
    /// There is more in the log, room for it, and nobody reads.
    Unread,
}

impl Group {
    /// The first thing that is stuck, if there is any. To be asked right after a turn.
    pub(in crate::dispatch) fn stall(&self, ring: &Ring, rooms: &Rooms, now: Timestamp) -> Option<Stall> {
        let stall = |position, fault| Stall { group: self.name.clone(), position, fault };
        if let Some(after) = self.reads_after().filter(|&after| after < ring.head()) {
            return Some(stall(after, Fault::Unread));
        }
        let queued: HashSet<_> = self.ready.positions().chain(self.suspects.waiting()).collect();
        for (&position, entry) in &self.in_hand {
            let fault = match entry.state {
                State::Ready if !queued.contains(&position) => Fault::Unqueued,
                State::Behind
                    if !self.is_behind(position)
                        && !self.strays.has(&entry.pid)
                        && !self.is_about_to_park(position) =>
                {
                    Fault::BehindNothing
                }
                State::Held if !self.pauses.holds(&entry.pid, position) => Fault::Unqueued,
                State::RetryAt(at) if at.plus(SLACK) < now || !self.retries.contains(&(at, position)) => {
                    Fault::RetryForgotten
                }
                State::Out { deadline, .. } if deadline.plus(SLACK) < now => Fault::DeadlineForgotten,
                State::Ready
                | State::Behind
                | State::RetryAt(_)
                | State::Out { .. }
                | State::Fetching
                | State::Committing { .. }
                | State::Held => continue,
            };
            return Some(stall(position, fault));
        }
        let first = self.ready.next().filter(|_| !self.pauses.is_whole())?;
        let entry = self.in_hand.get(&first)?;
        let deliverable = self.members.could_take(entry.event.as_ref()?, rooms);
        deliverable.then(|| stall(first, Fault::Undelivered))
    }

    /// Whether an event is parked behind another one as soon as the writer has room for that.
    fn is_about_to_park(&self, position: Position) -> bool {
        let entry = self.in_hand.get(&position);
        entry.is_some_and(|entry| self.parked.is_about_to_park(&entry.pid, position))
            && (self.unparks.is_busy() || self.flushing.is_some() || self.unflushed() > 0)
    }

    /// The member that has an event now.
    #[cfg(any(test, feature = "simulation"))]
    pub(in crate::dispatch) fn holder(&self, position: Position) -> Option<super::MemberKey> {
        match self.in_hand.get(&position)?.state {
            State::Out { member, .. } => Some(member),
            State::Behind
            | State::Ready
            | State::Fetching
            | State::RetryAt(_)
            | State::Held
            | State::Committing { .. } => None,
        }
    }

    /// Whether an event that is in hand comes before `position` in its process.
    fn is_behind(&self, position: Position) -> bool {
        let queue = self.in_hand.get(&position).and_then(|entry| self.pids.get(&entry.pid));
        let front = queue.and_then(|queue| queue.front());
        front.is_some_and(|front| *front != position && self.in_hand.contains_key(front))
    }
}
