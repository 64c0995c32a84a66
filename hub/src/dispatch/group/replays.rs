//! Parked events that were asked to be delivered again: far behind the cursor, and in hand all the same.
//!
//! They are not in the slots' lines: those go over them since they were parked. The tables hold a
//! mark for each until it has an outcome again, so a hub that starts finds them. Of their process
//! they go first, in the order of the log, but behind what is with a member right now.

use std::collections::BTreeSet;
use std::sync::Arc;

use db::{Replay, Retry, Run};
use proto::{Order, Pid, Position, Priority, Timestamp};

use super::{Group, InHand, Origin, State};

/// Replayed events of one group without an outcome. At it further ones are not taken up.
pub(super) const REPLAYS_MAX: usize = 8_192;

/// Replayed events of one group.
#[derive(Debug, Default)]
pub(super) struct Replays {
    /// Those in hand, and those whose outcome is not recorded yet.
    pending: BTreeSet<Position>,
    /// Outcomes that are not handed to the writer yet.
    settled: Vec<Run>,
    /// Those whose outcomes the writer has.
    flushing: Vec<Position>,
}

impl Replays {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The first of them in the log.
    pub(super) fn first(&self) -> Option<Position> {
        self.pending.first().copied()
    }

    /// Outcomes that wait to be handed to the writer.
    pub(super) fn unflushed(&self) -> usize {
        self.settled.len()
    }

    pub(super) fn settle(&mut self, run: Run) {
        self.settled.push(run);
    }

    /// It was deleted and needs no outcome.
    pub(super) fn forget(&mut self, position: Position) {
        self.pending.remove(&position);
    }

    /// Hands the outcomes out.
    pub(super) fn flush(&mut self) -> Vec<Run> {
        let runs = std::mem::take(&mut self.settled);
        self.flushing.extend(runs.iter().map(|run| run.first));
        runs
    }

    /// What was handed out is recorded.
    pub(super) fn flushed(&mut self) {
        for position in self.flushing.drain(..) {
            self.pending.remove(&position);
        }
    }
}

impl Group {
    /// Takes events in hand that are to be delivered again; those that are in hand so stay.
    pub(super) fn admit(&mut self, replays: Vec<Replay>, now: Timestamp) {
        for replay in replays {
            if !self.replays.pending.insert(replay.position) {
                continue;
            }
            let remembered = self.remembered.remove(&replay.position);
            let entry = InHand {
                event: None,
                slot: proto::slot(&self.topic.domain, &replay.pid),
                pid: replay.pid.clone(),
                state: State::Behind,
                priority: Priority::default(),
                failed_by: None,
                origin: Origin::Replay,
                not_before: remembered.as_ref().map(|retry| retry.retry_at),
                // Numbers go on where they were, so that an answer from before it was parked is stale.
                deliveries: replay
                    .attempts
                    .0
                    .saturating_add(remembered.as_ref().map_or(0, Retry::deliveries)),
                failures: remembered.as_ref().map_or(0, |retry| retry.attempts.0),
                losses: remembered.as_ref().map_or(0, |retry| retry.losses),
                consumer: remembered.as_ref().map(|retry| Arc::clone(&retry.consumer)),
                reason: remembered.map(|retry| retry.reason),
                deleted: false,
            };
            self.in_hand.insert(replay.position, entry);
            self.line_up(&replay.pid, replay.position);
            if self.suspects.was_out(replay.position) {
                self.was_lost(replay.position, now);
            }
        }
    }

    /// Puts an event where it belongs among the others of its process.
    pub(super) fn line_up(&mut self, pid: &Pid, position: Position) {
        if self.order == Order::None {
            return self.advance(position);
        }
        let in_hand = &self.in_hand;
        let is_out = |position: &Position| {
            let with_a_member = |state| matches!(state, State::Out { .. } | State::Committing { .. });
            in_hand.get(position).is_some_and(|entry| with_a_member(entry.state))
        };
        let queue = self.pids.entry(pid.clone()).or_default();
        let held = usize::from(queue.front().is_some_and(is_out));
        let earlier = queue.iter().skip(held).take_while(|queued| **queued < position).count();
        let displaced = queue.front().copied();
        queue.insert(held + earlier, position);
        if held + earlier > 0 {
            return;
        }
        if let Some(displaced) = displaced {
            self.step_back(displaced);
        }
        self.advance(position);
    }

    /// Another event of its process goes first now.
    fn step_back(&mut self, position: Position) {
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        match entry.state {
            State::RetryAt(at) => {
                self.retries.remove(&(at, position));
                entry.not_before = Some(at);
            }
            State::Held => self.pauses.forget(&entry.pid, position),
            State::Behind | State::Ready | State::Fetching => {}
            State::Out { .. } | State::Committing { .. } => return,
        }
        entry.state = State::Behind;
    }

    /// Whether an event is the one that its process waits for. Else it goes back to its place, and the
    /// one before it is made next: a replayed event that had to wait while this one was out.
    pub(super) fn may_go(&mut self, position: Position, not_before: Option<Timestamp>) -> bool {
        if self.is_held(position) {
            return false;
        }
        let Some(entry) = self.in_hand.get_mut(&position) else { return false };
        let Some(queue) = self.pids.get_mut(&entry.pid).filter(|_| self.order == Order::ByPid) else {
            return true;
        };
        if self.strays.has(&entry.pid) {
            entry.state = State::Behind;
            entry.not_before = not_before;
            return false;
        }
        let is_first = queue.front() == Some(&position);
        let earlier = queue.iter().skip(1).take_while(|queued| **queued < position).count();
        if is_first && earlier == 0 {
            return true;
        }
        entry.state = State::Behind;
        entry.not_before = not_before;
        if is_first {
            queue.pop_front();
            queue.insert(earlier, position);
            if let Some(first) = queue.front().copied() {
                self.advance(first);
            }
        }
        false
    }

    /// Makes an event the next of its process, when its own wait is over.
    pub(super) fn advance(&mut self, position: Position) {
        let not_before = self.in_hand.get_mut(&position).and_then(|entry| entry.not_before.take());
        self.make_next(position, not_before);
    }
}
