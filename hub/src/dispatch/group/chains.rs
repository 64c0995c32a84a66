//! Acks that bring effects with them, from the answer until the database has said what came of it.
//!
//! Meanwhile the event is nobody's to give out, and its deadline rests: only the writer knows how it ends.
//! Its member may go; the credit comes back when the commit is over, so that a member never has more
//! chains under way than it has credit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use db::{Aside, Outcome, Run, Settlements, SlotMove};
use proto::{Attempt, Position, Timestamp};

use super::{Ended, Group, MemberKey, Origin, State};
use crate::dispatch::effect::Effect;

/// How long an event waits whose chain the hub could not commit, through no fault of its handler.
const PUT_OFF: Duration = Duration::from_secs(5);

/// Chains that the writer has, by the position of their events.
#[derive(Debug, Default)]
pub(super) struct Chains {
    under_way: HashMap<Position, UnderWay>,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    member: MemberKey,
    moved: SlotMove,
}

impl Chains {
    /// Whether one of this member is under way.
    pub(super) fn has(&self, member: MemberKey) -> bool {
        self.under_way.values().any(|chain| chain.member == member)
    }
}

/// How a chain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It is in the tables, with its settlement.
    Yes,
    /// It was refused for this reason, which is one for its handler.
    Refused(String),
    /// It was not done for this reason, which has nothing to do with its handler.
    PutOff(String),
}

impl Group {
    /// Takes a member's ack with effects: what is to be settled together with them, or `None` if the
    /// delivery is not this member's.
    pub(in crate::dispatch) fn chain(
        &mut self,
        member: MemberKey,
        position: Position,
        attempt: Attempt,
        now: Timestamp,
    ) -> Option<Settlements> {
        if self.overdue.remove(&(member, position, attempt)) {
            self.credited(member);
            return None;
        }
        let entry = self.in_hand.get_mut(&position)?;
        let since = match entry.state {
            State::Out { member: holder, since, .. } if holder == member && attempt.0 == entry.deliveries => {
                since
            }
            _ => return None,
        };
        let line = self.lines.get_mut(usize::from(entry.slot))?;
        entry.state = State::Committing { since };
        let mut aside = Aside::default();
        let moved = match entry.origin {
            Origin::Log => line.move_with(position, self.read_through),
            Origin::Replay => {
                aside.replayed.push(position);
                line.stands()
            }
        };
        let run = Run {
            slot: entry.slot,
            first: position,
            last: position,
            events: 1,
            consumer: entry.consumer.clone().unwrap_or_else(|| Arc::from("")),
            attempts: attempt,
            consumed_hub: since,
            consumed_spoke: now,
            settled: now,
            outcome: Outcome::Success,
        };
        // The settlement takes the retry row away; one that is not written yet is not to come after it.
        self.fresh_retries.remove(&position);
        self.chains.under_way.insert(position, UnderWay { member, moved });
        Some(Settlements { group: self.id, runs: vec![run], retries: Vec::new(), moves: vec![moved], aside })
    }

    /// The writer is done with a chain.
    pub(in crate::dispatch) fn chained(
        &mut self,
        position: Position,
        committed: Committed,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Ended {
        let Some(UnderWay { member, moved }) = self.chains.under_way.remove(&position) else {
            return Ended::Stale;
        };
        self.returned(member, position);
        let ended = match committed {
            Committed::Yes => {
                let entry = self.remove(position).map(|entry| (entry.origin, usize::from(entry.slot)));
                match entry.and_then(|(origin, slot)| Some((origin, self.lines.get_mut(slot)?))) {
                    Some((Origin::Log, line)) => line.recorded(position, &moved),
                    Some((Origin::Replay, line)) => {
                        line.count(&Outcome::Success);
                        self.replays.forget(position);
                    }
                    None => {}
                }
                Ended::Succeeded
            }
            Committed::Refused(reason) => self.failed(position, reason, None, now),
            Committed::PutOff(_) if self.is_gone(position) => Ended::Released,
            Committed::PutOff(reason) => {
                if let Some(entry) = self.in_hand.get_mut(&position) {
                    entry.reason = Some(reason);
                }
                let again_at = Some(now.plus(PUT_OFF));
                if !self.stray_back(position, again_at) {
                    self.make_next(position, again_at);
                }
                Ended::Released
            }
        };
        self.say_left(effects);
        ended
    }
}
