//! What members answer, and how outcomes get to the tables.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use db::{Aside, GroupId, Outcome, Settlements};
use proto::message::{Answer, Verdict};
use proto::{Attempt, Position, Timestamp};

use super::line::{Line, Settled, run_of};
use super::{FLUSH_EVENTS, FLUSH_LINGER, Group, InHand, MemberKey, Origin, SWEEP_EVERY, State};
use crate::dispatch::connection::Rooms;
use crate::dispatch::effect::Effect;

/// How one delivery ended, for counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The answer was for an earlier delivery or somebody else's: nothing has changed.
    Stale,
    /// Handled.
    Succeeded,
    /// To be tried again.
    Failed,
    /// Given back.
    Released,
    /// Given up on.
    Parked,
    /// Still being handled.
    Progressing,
}

impl Ended {
    /// Its name in the metrics.
    pub(in crate::dispatch) fn label(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::Parked => "parked",
            Self::Progressing => "progressing",
        }
    }
}

impl Group {
    /// Takes a member's answer.
    pub(in crate::dispatch) fn answered(
        &mut self,
        member: MemberKey,
        answer: Answer,
        now: Timestamp,
    ) -> Ended {
        let position = answer.position;
        let deadline = now.plus(self.rules.deadline);
        if answer.verdict != Verdict::Progress && self.overdue.remove(&(member, position, answer.attempt)) {
            self.credited(member);
            return Ended::Stale;
        }
        let Some(entry) = self.in_hand.get_mut(&position) else { return Ended::Stale };
        match &mut entry.state {
            State::Out { member: holder, deadline: ends, .. }
                if *holder == member && answer.attempt.0 == entry.deliveries =>
            {
                if answer.verdict == Verdict::Progress {
                    *ends = deadline;
                    return Ended::Progressing;
                }
            }
            _ => return Ended::Stale,
        }
        self.returned(member, position);
        match answer.verdict {
            Verdict::Progress => Ended::Progressing,
            Verdict::Ack => {
                self.settle(position, Outcome::Success, now);
                Ended::Succeeded
            }
            Verdict::Release => {
                self.release(position);
                Ended::Released
            }
            Verdict::Park { reason } => self.give_up(position, reason, now),
            Verdict::Fail { reason, after_ms } => {
                let after = after_ms.map(|millis| Duration::from_millis(millis.into()));
                self.failed(position, reason, after, now)
            }
        }
    }

    /// A delivery has ended: its member has credit again.
    pub(super) fn returned(&mut self, member: MemberKey, position: Position) {
        self.out -= 1;
        self.came_back(position);
        self.credited(member);
    }

    fn came_back(&mut self, position: Position) {
        if let Some(entry) = self.in_hand.get(&position) {
            self.suspects.came_back(entry.slot, position);
        }
    }

    pub(super) fn credited(&mut self, member: MemberKey) {
        if let Some(member) = self.members.get(member) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    pub(super) fn release(&mut self, position: Position) {
        if self.is_gone(position) || self.stray_back(position, None) {
            return;
        }
        if self.may_go(position, None) {
            self.hand_out_first(position);
        }
    }

    /// Makes an event that has its data the first to go out.
    pub(super) fn hand_out_first(&mut self, position: Position) {
        if let Some(entry) = self.in_hand.get_mut(&position) {
            entry.state = State::Ready;
            self.ready.push_front(entry.priority, position);
        }
    }

    pub(super) fn failed(
        &mut self,
        position: Position,
        reason: String,
        after: Option<Duration>,
        now: Timestamp,
    ) -> Ended {
        if self.is_gone(position) {
            return Ended::Failed;
        }
        let Some(entry) = self.in_hand.get_mut(&position) else { return Ended::Stale };
        entry.failures += 1;
        if let State::Out { member, .. } = entry.state {
            entry.failed_by = Some(member);
        }
        if entry.failures >= self.rules.attempts_max {
            return self.give_up(position, reason, now);
        }
        let retry_at = self.rules.retry_at(position, entry.failures, after, now);
        self.retry(position, reason, retry_at, now)
    }

    /// Notes that an event has failed and when it is tried again.
    pub(super) fn retry(
        &mut self,
        position: Position,
        reason: String,
        retry_at: Timestamp,
        now: Timestamp,
    ) -> Ended {
        let Some(entry) = self.in_hand.get_mut(&position) else { return Ended::Stale };
        entry.reason = Some(reason.clone());
        let Some(retry) = self.retry_row(position, retry_at, reason) else { return Ended::Stale };
        self.fresh_retries.insert(position, retry);
        self.unflushed_since.get_or_insert(now);
        if !self.stray_back(position, Some(retry_at)) {
            self.make_next(position, Some(retry_at));
        }
        Ended::Failed
    }

    pub(super) fn settle(&mut self, position: Position, outcome: Outcome, now: Timestamp) {
        if let Some(entry) = self.remove(position) {
            self.settle_entry(position, entry, outcome, now);
        }
    }

    /// Notes the outcome of what was in hand.
    pub(super) fn settle_entry(
        &mut self,
        position: Position,
        entry: InHand,
        outcome: Outcome,
        now: Timestamp,
    ) {
        let InHand { slot, state, origin, deliveries, consumer, .. } = entry;
        let since = match state {
            State::Out { since, .. } | State::Committing { since } => since,
            State::Behind | State::Ready | State::Fetching | State::RetryAt(_) | State::Held => now,
        };
        let how = Settled {
            consumer: consumer.unwrap_or_else(|| Arc::from("")),
            attempts: Attempt(deliveries),
            consumed_hub: since,
            consumed_spoke: now,
            settled: now,
            outcome,
        };
        match (origin, self.lines.get_mut(usize::from(slot))) {
            (Origin::Log, Some(line)) => line.settle(position, how),
            (Origin::Log, None) => {}
            (Origin::Replay, _) => self.replays.settle(run_of(slot, position, &how)),
        }
        self.unflushed_since.get_or_insert(now);
    }

    /// Fails what was not answered in time. Its member is still at it, so that it has its credit back
    /// only when it answers after all.
    pub(in crate::dispatch) fn expire(&mut self, now: Timestamp) -> usize {
        let mut late: Vec<_> = self
            .in_hand
            .iter()
            .filter_map(|(&position, entry)| match entry.state {
                State::Out { member, deadline, .. } if deadline <= now => {
                    Some((position, member, Attempt(entry.deliveries)))
                }
                _ => None,
            })
            .collect();
        // Those that wait the longest come first, as in everything else.
        late.sort_unstable_by_key(|&(position, ..)| position);
        let count = late.len();
        for (position, member, attempt) in late {
            self.out -= 1;
            self.came_back(position);
            self.overdue.insert((member, position, attempt));
            let reason = format!("no answer within {:?}", self.rules.deadline);
            self.failed(position, reason, None, now);
        }
        count
    }

    /// Takes back everything that a member has: the last first, so that what is put to the front one by
    /// one is handed out again in order.
    pub(super) fn take_back(&mut self, member: MemberKey) -> Vec<Position> {
        let mut held: Vec<_> = self
            .in_hand
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Out { member: holder, .. } if holder == member))
            .map(|(&position, _)| position)
            .collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        for position in &held {
            self.returned(member, *position);
        }
        held
    }

    /// A member leaves: what it has not answered goes to others. It has left when what it did
    /// answer is recorded, which [`Effect::Left`] says.
    pub(in crate::dispatch) fn leave(&mut self, member: MemberKey, effects: &mut Vec<Effect>) {
        for position in self.take_back(member) {
            self.release(position);
        }
        self.dismiss(member);
        let unflushed = self.unflushed_since.is_some();
        let begun = self.flushes_begun + u64::from(unflushed);
        self.leaving.push((member, begun));
        self.say_left(effects);
    }

    /// Takes a member out, with what it is still at.
    pub(super) fn dismiss(&mut self, member: MemberKey) {
        self.members.leave(member);
        self.overdue.retain(|(holder, ..)| *holder != member);
    }

    pub(super) fn say_left(&mut self, effects: &mut Vec<Effect>) {
        let (done, chains) = (self.flushes_done, &self.chains);
        self.leaving.retain(|&(member, needs)| {
            if needs > done || chains.has(member) {
                return true;
            }
            effects.push(Effect::Left { connection: member.connection, listener: member.listener });
            false
        });
    }

    /// Hands settled events to the writer, if there are enough or they have waited enough.
    pub(in crate::dispatch) fn flush(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.flushing.is_some() {
            return;
        }
        let due = self.flush_at().is_some_and(|at| at <= now);
        if due {
            self.begin_flush(now, effects);
        } else if self.unflushed_since.is_none() && now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.sweep(effects);
        }
    }

    /// When the next flush is due.
    pub(in crate::dispatch) fn flush_at(&self) -> Option<Timestamp> {
        if self.flushing.is_some() {
            return None;
        }
        let waited_for = !self.leaving.is_empty() || self.unparks.is_busy();
        let many = waited_for || self.unflushed() >= FLUSH_EVENTS;
        let outcomes = self.unflushed_since.map(|since| if many { since } else { since.plus(FLUSH_LINGER) });
        outcomes.into_iter().chain(self.suspects.note_at()).min()
    }

    /// When something of this group is due by time alone.
    pub(in crate::dispatch) fn wake_at(&self) -> Option<Timestamp> {
        let retry = self.retries.first().map(|&(at, _)| at);
        self.flush_at().into_iter().chain(retry).min()
    }

    /// Outcomes that are not handed to the writer yet.
    pub(super) fn unflushed(&self) -> usize {
        self.lines.iter().map(Line::unflushed).sum::<usize>() + self.replays.unflushed()
    }

    fn begin_flush(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let mut flush = nothing_of(self.id);
        let replayed = self.replays.flush();
        (flush.aside.blocking, flush.aside.pids) = self.parked.flush();
        flush.aside.replayed.extend(replayed.iter().map(|run| run.first));
        flush.retries.extend(std::mem::take(&mut self.fresh_retries).into_values());
        let in_hand = flush.retries.iter().filter_map(|retry| self.in_hand.get(&retry.position));
        let mut others: HashSet<u16> =
            in_hand.map(|entry| entry.slot).chain(replayed.iter().map(|run| run.slot)).collect();
        others.extend(self.suspects.due(now));
        for (slot, line) in (0..).zip(&mut self.lines) {
            replayed.iter().filter(|run| run.slot == slot).for_each(|run| line.count(&run.outcome));
            if line.unflushed() > 0 {
                let (runs, moved) = line.flush(self.read_through);
                flush.runs.extend(runs);
                flush.moves.push(moved);
            } else if others.contains(&slot) {
                flush.moves.push(line.fence(self.read_through));
            }
        }
        flush.runs.extend(replayed);
        flush.aside.outs = self.suspects.notes(flush.moves.iter().map(|moved| moved.slot));
        self.unflushed_since = None;
        self.flushes_begun += 1;
        self.flushing = Some(flush.moves.clone());
        effects.push(Effect::Settle(flush));
    }

    /// Moves the cursors of idle slots on, so that a restart does not read what is long settled.
    fn sweep(&mut self, effects: &mut Vec<Effect>) {
        if self.flushing.is_some() {
            return;
        }
        let stale = self.suspects.stale();
        let moves: Vec<_> = (0..)
            .zip(&self.lines)
            .filter(|(slot, line)| {
                line.is_idle() && line.cursor() < self.read_through || stale.contains(slot)
            })
            .map(|(_, line)| line.fence(self.read_through))
            .collect();
        if moves.is_empty() {
            return;
        }
        let mut flush = Settlements { moves, ..nothing_of(self.id) };
        flush.aside.outs = self.suspects.notes(flush.moves.iter().map(|moved| moved.slot));
        self.flushes_begun += 1;
        self.flushing = Some(flush.moves.clone());
        effects.push(Effect::Settle(flush));
    }

    /// The hub stops: whoever still has something is not suspected of having ended it.
    pub(in crate::dispatch) fn last_sweep(&mut self, effects: &mut Vec<Effect>) {
        self.suspects.forget_outs();
        self.sweep(effects);
    }

    /// The writer has recorded the flush.
    pub(in crate::dispatch) fn flushed(&mut self, rooms: &mut Rooms, effects: &mut Vec<Effect>) {
        let Some(moves) = self.flushing.take() else { return };
        self.flushes_done += 1;
        for moved in &moves {
            if let Some(line) = self.lines.get_mut(usize::from(moved.slot)) {
                line.flushed(moved);
            }
        }
        self.replays.flushed();
        self.noted(rooms, effects);
        self.say_left(effects);
    }
}

fn nothing_of(group: GroupId) -> Settlements {
    Settlements { group, runs: Vec::new(), retries: Vec::new(), moves: Vec::new(), aside: Aside::default() }
}
