//! What members answer, and how outcomes get to the tables.

use std::sync::Arc;
use std::time::Duration;

use db::{Outcome, Retry, Settlements};
use proto::message::{Answer, Verdict};
use proto::{Attempt, Position, Timestamp};

use super::line::Settled;
use super::{FLUSH_EVENTS, FLUSH_LINGER, Group, InHand, MemberKey, SWEEP_EVERY, State};
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
        self.returned(member);
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
            Verdict::Park { reason } => {
                self.settle(position, Outcome::Parked { reason }, now);
                Ended::Parked
            }
            Verdict::Fail { reason, after_ms } => {
                let after = after_ms.map(|millis| Duration::from_millis(millis.into()));
                self.failed(position, reason, after, now)
            }
        }
    }

    /// A delivery has ended: its member has credit again.
    pub(super) fn returned(&mut self, member: MemberKey) {
        self.out -= 1;
        self.credited(member);
    }

    pub(super) fn credited(&mut self, member: MemberKey) {
        if let Some(member) = self.members.get(member) {
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    fn release(&mut self, position: Position) {
        if self.stray_back(position, None) {
            return;
        }
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
        let Some(entry) = self.in_hand.get_mut(&position) else { return Ended::Stale };
        entry.failures += 1;
        if let State::Out { member, .. } = entry.state {
            entry.failed_by = Some(member);
        }
        entry.reason = Some(reason.clone());
        if entry.failures >= self.rules.attempts_max {
            self.settle(position, Outcome::Parked { reason }, now);
            return Ended::Parked;
        }
        let retry_at = self.rules.retry_at(position, entry.failures, after, now);
        let retry = Retry {
            position,
            attempts: Attempt(entry.failures),
            retry_at,
            reason,
            consumer: entry.consumer.clone().unwrap_or_else(|| Arc::from("")),
        };
        self.fresh_retries.insert(position, retry);
        self.unflushed_since.get_or_insert(now);
        if !self.stray_back(position, Some(retry_at)) {
            self.make_next(position, Some(retry_at));
        }
        Ended::Failed
    }

    fn settle(&mut self, position: Position, outcome: Outcome, now: Timestamp) {
        let Some(entry) = self.remove(position) else { return };
        let InHand { slot, state, deliveries, consumer, .. } = entry;
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
        if let Some(line) = self.lines.get_mut(usize::from(slot)) {
            line.settle(position, how);
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
            self.overdue.insert((member, position, attempt));
            let reason = format!("no answer within {:?}", self.rules.deadline);
            self.failed(position, reason, None, now);
        }
        count
    }

    /// Gives back everything that a member has.
    pub(super) fn release_all(&mut self, member: MemberKey) {
        let mut held: Vec<_> = self
            .in_hand
            .iter()
            .filter(|(_, entry)| matches!(entry.state, State::Out { member: holder, .. } if holder == member))
            .map(|(&position, _)| position)
            .collect();
        // The last goes to the front first, so that they are handed out again in order.
        held.sort_unstable_by(|a, b| b.cmp(a));
        for position in held {
            self.returned(member);
            self.release(position);
        }
    }

    /// A member leaves: what it has not answered goes to others. It has left when what it did
    /// answer is recorded, which [`Effect::Left`] says.
    pub(in crate::dispatch) fn leave(&mut self, member: MemberKey, effects: &mut Vec<Effect>) {
        self.release_all(member);
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
            self.begin_flush(effects);
        } else if self.unflushed_since.is_none() && now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.sweep(effects);
        }
    }

    /// When the next flush is due.
    pub(in crate::dispatch) fn flush_at(&self) -> Option<Timestamp> {
        let since = self.unflushed_since.filter(|_| self.flushing.is_none())?;
        let many = !self.leaving.is_empty()
            || self.lines.iter().map(super::line::Line::unflushed).sum::<usize>() >= FLUSH_EVENTS;
        Some(if many { since } else { since.plus(FLUSH_LINGER) })
    }

    /// When something of this group is due by time alone.
    pub(in crate::dispatch) fn wake_at(&self) -> Option<Timestamp> {
        let retry = self.retries.first().map(|&(at, _)| at);
        self.flush_at().into_iter().chain(retry).min()
    }

    fn begin_flush(&mut self, effects: &mut Vec<Effect>) {
        let mut flush =
            Settlements { group: self.id, runs: Vec::new(), retries: Vec::new(), moves: Vec::new() };
        flush.retries.extend(std::mem::take(&mut self.fresh_retries).into_values());
        let retry_slots: Vec<u16> = flush
            .retries
            .iter()
            .filter_map(|retry| self.in_hand.get(&retry.position).map(|entry| entry.slot))
            .collect();
        for (slot, line) in (0..).zip(&mut self.lines) {
            if line.unflushed() > 0 {
                let (runs, moved) = line.flush(self.read_through);
                flush.runs.extend(runs);
                flush.moves.push(moved);
            } else if retry_slots.contains(&slot) {
                flush.moves.push(line.fence(self.read_through));
            }
        }
        self.unflushed_since = None;
        self.flushes_begun += 1;
        self.flushing = Some(flush.moves.clone());
        effects.push(Effect::Settle(flush));
    }

    /// Moves the cursors of idle slots on, so that a restart does not read what is long settled.
    pub(in crate::dispatch) fn sweep(&mut self, effects: &mut Vec<Effect>) {
        let idle = self.lines.iter().filter(|line| line.is_idle() && line.cursor() < self.read_through);
        let moves: Vec<_> = idle.map(|line| line.fence(self.read_through)).collect();
        if moves.is_empty() || self.flushing.is_some() {
            return;
        }
        let flush = Settlements { group: self.id, runs: Vec::new(), retries: Vec::new(), moves };
        self.flushes_begun += 1;
        self.flushing = Some(flush.moves.clone());
        effects.push(Effect::Settle(flush));
    }

    /// The writer has recorded the flush.
    pub(in crate::dispatch) fn flushed(&mut self, effects: &mut Vec<Effect>) {
        let Some(moves) = self.flushing.take() else { return };
        self.flushes_done += 1;
        for moved in &moves {
            if let Some(line) = self.lines.get_mut(usize::from(moved.slot)) {
                line.flushed(moved);
            }
        }
        self.say_left(effects);
    }
}
