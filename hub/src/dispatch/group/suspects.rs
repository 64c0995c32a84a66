//! Events that were with somebody who was lost: a consumer whose connection broke, or a hub that died.
//!
//! An event that kills whoever has it gives no answer, so it would go round for ever. Its first loss is
//! free: connections break, and that says nothing about what was on them. From the second on the event is
//! a *suspect*: each loss counts as a try, the count is recorded before the event goes out again, and of
//! the suspects of a group one is out at a time, so that the one that kills is alone when it does, and the
//! others are cleared by being handled.
//!
//! What members have is noted in the tables with the outcomes of its slot, at the latest a moment after it
//! was handed out. A hub that starts after one that died finds it there, and counts a loss for each. Until
//! its own first note is recorded it hands nothing out, so that an event which kills it at once is found too.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use db::{OUTS_PER_SLOT_MAX, Retry};
use proto::{Attempt, Order, Pid, Position, Timestamp};

use super::answers::Ended;
use super::{Group, MemberKey, State};
use crate::dispatch::connection::Rooms;
use crate::dispatch::effect::Effect;

/// Losses from which on an event is a suspect.
const SUSPECT_FROM: u32 = 2;

/// How long what was handed out may go without a note in the tables.
const NOTE_AFTER: Duration = Duration::from_millis(200);

/// Whether the hub before this one died, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Caution {
    /// It stopped in order.
    #[default]
    Calm,
    /// It died: what is handed out is noted before.
    Wary,
}

/// What a group knows of losses.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    caution: Caution,
    /// What members had when the hub before died, until it is read.
    recovered: HashSet<Position>,
    /// What members have, by slot.
    outs: BTreeMap<u16, BTreeSet<Position>>,
    /// What the tables have of that.
    noted: BTreeMap<u16, Vec<Position>>,
    unnoted_since: Option<Timestamp>,
    /// The suspect that is out.
    out: Option<Position>,
    /// Suspects that are ready and wait for it.
    waiting: VecDeque<Position>,
    /// Lost, and not judged yet.
    lost: Vec<Position>,
    /// Deliveries that wait for their note, and those whose note the writer has.
    withheld: Vec<Effect>,
    noting: Vec<Effect>,
}

impl Suspects {
    /// What the tables say that members had.
    pub(super) fn new(outs: Vec<Position>) -> Self {
        let caution = if outs.is_empty() { Caution::Calm } else { Caution::Wary };
        Self { caution, recovered: outs.into_iter().collect(), ..Self::default() }
    }

    /// Notes that an event goes out, and sends it when it may.
    pub(super) fn hand_out(
        &mut self,
        slot: u16,
        losses: u32,
        delivery: (Position, Effect),
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        let (position, effect) = delivery;
        self.outs.entry(slot).or_default().insert(position);
        self.unnoted_since.get_or_insert(now);
        if losses >= SUSPECT_FROM {
            self.out = Some(position);
        }
        match self.caution {
            Caution::Calm => effects.push(effect),
            Caution::Wary => self.withheld.push(effect),
        }
    }

    /// Whether an event must wait until another suspect is back. Then it is remembered.
    pub(super) fn holds(&mut self, position: Position, losses: u32) -> bool {
        let holds = losses >= SUSPECT_FROM && self.out.is_some();
        if holds {
            self.waiting.push_back(position);
        }
        holds
    }

    /// Those that are ready and wait until another one is back.
    pub(super) fn waiting(&self) -> impl Iterator<Item = Position> {
        self.waiting.iter().copied()
    }

    /// Whether the event at `position` was out when the hub before died.
    pub(super) fn was_out(&mut self, position: Position) -> bool {
        !self.recovered.is_empty() && self.recovered.remove(&position)
    }

    /// An event is not with its member any more.
    pub(super) fn came_back(&mut self, slot: u16, position: Position) {
        if let Some(outs) = self.outs.get_mut(&slot) {
            outs.remove(&position);
        }
        if self.out == Some(position) {
            self.out = None;
        }
    }

    /// When the tables must know what is out.
    pub(super) fn note_at(&self) -> Option<Timestamp> {
        let since = self.unnoted_since?;
        Some(if self.withheld.is_empty() { since.plus(NOTE_AFTER) } else { since })
    }

    /// Slots whose note is due because of time.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<u16> {
        if self.note_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.unnoted_since = None;
        self.noting.append(&mut self.withheld);
        self.stale()
    }

    /// Slots of which the tables do not have what is out.
    pub(super) fn stale(&self) -> Vec<u16> {
        let slots: BTreeSet<u16> = self.outs.keys().chain(self.noted.keys()).copied().collect();
        let is_stale = |slot: &u16| self.noted.get(slot).is_none_or(|noted| *noted != self.now_out(*slot));
        slots.into_iter().filter(is_stale).collect()
    }

    /// The notes for those of `slots` that need one.
    pub(super) fn notes(&mut self, slots: impl Iterator<Item = u16>) -> Vec<(u16, Vec<Position>)> {
        let mut notes = Vec::new();
        for slot in slots {
            let out = self.now_out(slot);
            if self.noted.get(&slot).map_or(&[][..], Vec::as_slice) != out {
                self.noted.insert(slot, out.clone());
                notes.push((slot, out));
            }
        }
        notes
    }

    fn now_out(&self, slot: u16) -> Vec<Position> {
        self.outs
            .get(&slot)
            .map_or_else(Vec::new, |outs| outs.iter().take(OUTS_PER_SLOT_MAX).copied().collect())
    }

    /// The writer has recorded a flush: what waited for it may go out.
    fn flushed(&mut self) -> Vec<Effect> {
        if self.noting.is_empty() {
            return Vec::new();
        }
        self.caution = Caution::Calm;
        let mut noted = std::mem::take(&mut self.noting);
        noted.append(&mut self.withheld);
        noted
    }

    /// The hub stops in order: who still has something is no suspect for that.
    pub(super) fn forget_outs(&mut self) {
        self.outs.clear();
    }
}

impl Group {
    /// The hub before this one died without a word.
    pub(in crate::dispatch) fn beware(&mut self) {
        self.suspects.caution = Caution::Wary;
    }

    /// A flush is recorded: deliveries that waited for their note go out to members that still have them,
    /// unless something has come between that they have to wait for, or their member may have less by now.
    pub(super) fn noted(&mut self, rooms: &mut Rooms, effects: &mut Vec<Effect>) {
        let waited = self.suspects.flushed();
        // Those that have not left count as in flight, too.
        let mut staying: HashMap<MemberKey, u32> = HashMap::new();
        for waits in waited.iter().filter_map(delivery) {
            if self.is_out(waits) || self.overdue.contains(&waits) {
                *staying.entry(waits.0).or_default() += 1;
            }
        }
        for effect in waited {
            let Some(waits @ (key, position, _)) = delivery(&effect) else { continue };
            let Effect::Deliver { event, .. } = &effect else { continue };
            let is_out = self.is_out(waits);
            let stay = staying.get(&key).copied().unwrap_or_default();
            let goes = is_out
                && self.members.may_have_one_more(key, stay)
                && self.pauses.of(event).is_none()
                && !self.is_preceded(&event.pid, position);
            // It has run out of time before it left, so its member will never answer it.
            let is_overdue = self.overdue.remove(&waits);
            if is_out || is_overdue {
                staying.insert(key, stay.saturating_sub(1));
            }
            if is_overdue {
                self.credited(key);
            }
            if goes {
                effects.push(effect);
                continue;
            }
            rooms.written(key.connection, 1, event.weight());
            if is_out {
                self.returned(key, position);
                self.release(position);
            }
        }
    }

    /// Whether it is this very delivery that is out.
    fn is_out(&self, (key, position, attempt): (MemberKey, Position, Attempt)) -> bool {
        self.in_hand.get(&position).is_some_and(|entry| {
            matches!(entry.state, State::Out { member, .. } if member == key) && entry.deliveries == attempt.0
        })
    }

    /// Whether an earlier event of its process is in hand: one that was taken up since it was handed out.
    fn is_preceded(&self, pid: &Pid, position: Position) -> bool {
        let queue = self.pids.get(pid).filter(|_| self.order == Order::ByPid);
        queue.is_some_and(|queue| queue.iter().any(|queued| *queued < position))
    }

    /// A member was lost with this event.
    pub(super) fn lose(&mut self, position: Position) {
        if self.is_gone(position) {
            return;
        }
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        entry.losses = entry.losses.saturating_add(1);
        if entry.losses < SUSPECT_FROM {
            self.release(position);
        } else {
            entry.state = State::Behind;
            self.suspects.lost.push(position);
        }
    }

    /// Judges what was lost since, and lets the next suspect go when none is out.
    pub(super) fn judge(&mut self, now: Timestamp) {
        for position in std::mem::take(&mut self.suspects.lost) {
            self.suspect(position, now);
        }
        while self.suspects.out.is_none()
            && let Some(position) = self.suspects.waiting.pop_front()
        {
            if let Some(entry) = self.in_hand.get(&position).filter(|entry| entry.state == State::Ready) {
                self.ready.push_front(entry.priority, position);
                return;
            }
        }
    }

    /// The hub before this one died while a member had this event.
    pub(super) fn was_lost(&mut self, position: Position, now: Timestamp) {
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        entry.losses = entry.losses.saturating_add(1);
        entry.deliveries = entry.deliveries.saturating_add(1);
        if entry.losses >= SUSPECT_FROM {
            self.suspect(position, now);
            return;
        }
        let reason = reason(entry.losses);
        self.retry(position, reason, now, now);
    }

    /// Counts a loss as a failed try.
    fn suspect(&mut self, position: Position, now: Timestamp) -> Ended {
        let losses = self.in_hand.get(&position).map_or(0, |entry| entry.losses);
        self.failed(position, reason(losses), None, now)
    }

    /// A failed try as the tables keep it.
    pub(super) fn retry_row(&self, position: Position, retry_at: Timestamp, reason: String) -> Option<Retry> {
        let entry = self.in_hand.get(&position)?;
        Some(Retry {
            position,
            attempts: Attempt(entry.failures),
            retry_at,
            reason,
            consumer: entry.consumer.clone().unwrap_or_else(|| "".into()),
            losses: entry.losses,
        })
    }
}

/// Whose delivery of what an effect is, and which one.
fn delivery(effect: &Effect) -> Option<(MemberKey, Position, Attempt)> {
    let Effect::Deliver { connection, listener, attempt, event } = effect else { return None };
    Some((MemberKey { connection: *connection, listener: *listener }, event.position, *attempt))
}

fn reason(losses: u32) -> String {
    format!("suspect: its consumer, or the hub, was lost while it had the event, {losses} times in all")
}
