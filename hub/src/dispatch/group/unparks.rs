//! Acts on parked events of one group, one after the other: replays and discards.
//!
//! An act reads and changes rows of `event_parked`, so it waits until the tables have all that was
//! parked before it was asked for, and nothing is parked behind another event until it is done.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use db::{Act, SlotMove, Unpark, Unparked};
use proto::{Position, Refusal, Timestamp};

use super::Group;
use super::replays::REPLAYS_MAX;
use crate::dispatch::effect::Effect;

/// Acts of one group that may wait. At it a further one is refused.
const UNPARKS_WAITING_MAX: usize = 64;

/// What somebody wants done about parked events.
#[derive(Debug)]
pub(crate) struct UnparkWish {
    /// The number under which the asker waits.
    pub(crate) ticket: u64,
    /// The events, each with its slot.
    pub(crate) events: Vec<(Position, u16)>,
    /// What to do.
    pub(crate) act: Act,
    /// Who wants it.
    pub(crate) agent: String,
}

#[derive(Debug)]
struct Waiting {
    wish: UnparkWish,
    /// The flush that must be recorded before.
    after_flush: u64,
}

#[derive(Debug)]
struct UnderWay {
    ticket: u64,
    slots: BTreeMap<Position, u16>,
    act: Act,
}

/// The acts that a group has to do.
#[derive(Debug, Default)]
pub(super) struct Unparks {
    waiting: VecDeque<Waiting>,
    under_way: Option<UnderWay>,
    /// When the last one was begun: each has a time of its own.
    last: Timestamp,
}

impl Unparks {
    /// None, and what is done next has a later time than the last act.
    pub(super) fn new(last: Timestamp) -> Self {
        Self { last, ..Self::default() }
    }

    /// Whether there is one to be done.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some() || !self.waiting.is_empty()
    }
}

impl Group {
    /// Takes a wish, to be begun when the tables have all that was parked before it.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if there is no room; nothing was done then.
    pub(in crate::dispatch) fn wish_unpark(&mut self, wish: UnparkWish) -> Result<(), Refusal> {
        if self.unparks.waiting.len() >= UNPARKS_WAITING_MAX {
            let reason = format!("{UNPARKS_WAITING_MAX} acts on parked events of group {} wait", self.name);
            return Err(Refusal::Unavailable { reason });
        }
        if wish.act == Act::Replay && self.replays.len() + wish.events.len() > REPLAYS_MAX {
            let reason = format!(
                "group {} has {} replayed events to deliver, of {REPLAYS_MAX} at most",
                self.name,
                self.replays.len()
            );
            return Err(Refusal::Unavailable { reason });
        }
        let after_flush = self.flushes_begun + u64::from(self.unflushed_since.is_some());
        self.unparks.waiting.push_back(Waiting { wish, after_flush });
        Ok(())
    }

    /// Begins the next act, if it is time for it.
    pub(in crate::dispatch) fn begin_unpark(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let done = self.flushes_done;
        let is_due = self.unparks.under_way.is_none()
            && self.unparks.waiting.front().is_some_and(|next| next.after_flush <= done);
        let Some(Waiting { wish, .. }) = (if is_due { self.unparks.waiting.pop_front() } else { None })
        else {
            return;
        };
        let at = now.max(self.unparks.last.plus(Duration::from_millis(1)));
        self.unparks.last = at;
        let UnparkWish { ticket, events, act, agent } = wish;
        let slots: BTreeMap<_, _> = events.iter().copied().collect();
        let concerned = self.lines.iter().map(super::line::Line::stands);
        let moves: Vec<SlotMove> =
            concerned.filter(|moved| slots.values().any(|slot| *slot == moved.slot)).collect();
        let of = format!("group {} of {}", self.name, self.topic.domain);
        self.unparks.under_way = Some(UnderWay { ticket, slots, act: act.clone() });
        effects.push(Effect::Unpark {
            ticket,
            unpark: Unpark { group: self.id, of, events, act, at, agent, moves },
        });
    }

    /// An act was done, or not.
    pub(in crate::dispatch) fn unparked(&mut self, ticket: u64, unparked: Option<&Unparked>, now: Timestamp) {
        let is_it = self.unparks.under_way.as_ref().is_some_and(|act| act.ticket == ticket);
        // One that was begun before this hub lost the group: its rows were read when it came back.
        let Some(UnderWay { slots, act, .. }) = (if is_it { self.unparks.under_way.take() } else { None })
        else {
            return;
        };
        let Some(unparked) = unparked else { return };
        for replay in &unparked.taken {
            let line = slots.get(&replay.position).and_then(|slot| self.lines.get_mut(usize::from(*slot)));
            if let Some(line) = line {
                line.unpark(&act);
            }
        }
        // What is replayed lines up before that which was held.
        if act == Act::Replay {
            self.admit(unparked.taken.clone(), now);
        }
        self.freed(unparked);
    }

    /// The wishes that end with the group.
    pub(in crate::dispatch) fn tickets(&self) -> impl Iterator<Item = u64> + use<> {
        let waiting = self.unparks.waiting.iter().map(|waiting| waiting.wish.ticket);
        let tickets: Vec<_> = waiting.chain(self.unparks.under_way.as_ref().map(|act| act.ticket)).collect();
        tickets.into_iter()
    }
}
