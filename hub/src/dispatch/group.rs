//! One consumer group: what is in hand, who has it, and what it waits for.
//!
//! An event is in hand from when it was read until its outcome is recorded. Of one process one
//! event is out at a time; the others queue behind it. Nothing here asks a clock or a table: time
//! and events come in, deliveries and settlements come out.

mod answers;
mod chains;
mod deletions;
mod fetching;
mod lanes;
mod line;
mod members;
mod parked;
mod pauses;
mod reorder;
mod replays;
mod report;
mod settings;
mod suspects;
mod unparks;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use db::{GroupId, GroupPause, Replay, Retry, SettledRun, SlotMove};
use proto::{Attempt, Event, GroupName, GroupSettings, Order, Pid, Position, Priority, Timestamp, Topic};

pub(super) use self::answers::Ended;
use self::chains::Chains;
pub(super) use self::chains::Committed;
use self::fetching::FETCHES_MAX;
use self::lanes::Lanes;
#[cfg(test)]
pub(super) use self::lanes::PICKS_PER_ROUND;
use self::line::Line;
pub(crate) use self::members::MemberKey;
use self::members::Members;
use self::parked::ParkedPids;
use self::pauses::Pauses;
use self::reorder::{Back, Strays};
use self::replays::Replays;
pub(crate) use self::settings::Standing;
pub(crate) use self::suspects::Caution;
use self::suspects::Suspects;
pub(crate) use self::unparks::UnparkWish;
use self::unparks::Unparks;
pub(super) use self::watchdog::Stall;
use super::connection::{ConnectionId, Rooms};
use super::desk::Generation;
use super::effect::Effect;
use super::rules::Rules;

/// Events of one group in hand, delivered or not. At it the group reads no further until some are settled.
const IN_HAND_MAX: usize = 65_536;

/// Events of one group that are ready or out. At it the group reads no further.
const READY_MAX: usize = 8_192;

/// Bytes of events of one group in hand. At it the group reads no further.
const IN_HAND_BYTES_MAX: usize = 16 << 20;

/// Events of one process that are kept with their data. Those behind them are read again in time.
const KEPT_PER_PID: usize = 16;

/// Events of one process that are read again at once.
pub(super) const KEPT_PER_PID_PAGE: u32 = 16;

/// Settled events after which a group's outcomes are handed to the writer at once.
const FLUSH_EVENTS: usize = 2_048;

/// How long an outcome may wait for company. It is not what anybody waits for.
const FLUSH_LINGER: Duration = Duration::from_millis(15);

/// How often cursors of idle slots are moved on.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Where an event in hand stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Behind another event of its process.
    Behind,
    /// Next of its process, for any member.
    Ready,
    /// Next of its process, its data being read again.
    Fetching,
    /// With a member.
    Out { member: MemberKey, since: Timestamp, deadline: Timestamp },
    /// Next of its process, after a failure.
    RetryAt(Timestamp),
    /// Answered with effects, which are being committed together with its outcome.
    Committing { since: Timestamp },
    /// Next of its process, which is paused.
    Held,
}

/// Where an event in hand came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It was read in its turn, and its slot's line waits for its outcome.
    Log,
    /// It was parked and is delivered again.
    Replay,
}

#[derive(Debug)]
struct InHand {
    event: Option<Arc<Event>>,
    pid: Pid,
    slot: u16,
    priority: Priority,
    state: State,
    /// Who failed it last: another member gets it next, if one can.
    failed_by: Option<MemberKey>,
    origin: Origin,
    /// When it may be tried again, while others of its process go before it.
    not_before: Option<Timestamp>,
    /// How often it went out; the number of the delivery.
    deliveries: u32,
    /// How often it failed; what `attempts_max` bounds.
    failures: u32,
    /// How often it was with somebody who was lost.
    losses: u32,
    consumer: Option<Arc<str>>,
    reason: Option<String>,
    /// Its event was deleted while a member had it: when it comes back it goes to nobody any more.
    deleted: bool,
}

/// One group with everything that this hub holds of it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) id: GroupId,
    pub(super) generation: Generation,
    pub(super) name: GroupName,
    pub(super) topic: Topic,
    pub(super) order: Order,
    start_after: Position,
    /// Everything up to here that the group wants is settled or in hand.
    read_through: Position,
    pub(super) loading: bool,
    lines: Vec<Line>,
    in_hand: HashMap<Position, InHand>,
    bytes: usize,
    pids: HashMap<Pid, VecDeque<Position>>,
    strays: Strays,
    ready: Lanes,
    pauses: Pauses,
    out: usize,
    retries: BTreeSet<(Timestamp, Position)>,
    /// Deliveries that were not answered in time, with members that are still at them.
    overdue: BTreeSet<(MemberKey, Position, Attempt)>,
    /// Failures from before the hub started, until their events are read.
    remembered: HashMap<Position, Retry>,
    /// Failures that the tables do not know yet.
    fresh_retries: BTreeMap<Position, Retry>,
    replays: Replays,
    parked: ParkedPids,
    unparks: Unparks,
    suspects: Suspects,
    members: Members,
    unflushed_since: Option<Timestamp>,
    /// The fences of the flush that the writer has.
    flushing: Option<Vec<SlotMove>>,
    swept: Timestamp,
    /// Flushes begun and done, so that a leaving member can wait for its own.
    flushes_begun: u64,
    flushes_done: u64,
    leaving: Vec<(MemberKey, u64)>,
    chains: Chains,
    /// Reads of data under way.
    fetching: usize,
    settings: GroupSettings,
    /// What the settings make.
    rules: Rules,
}

/// A group as the tables have it.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The group and its slots.
    pub(crate) group: db::Group,
    /// What is settled beyond the slots' cursors.
    pub(crate) runs: Vec<SettledRun>,
    /// What has failed and is not settled.
    pub(crate) retries: Vec<Retry>,
    /// What of it is paused.
    pub(crate) pauses: Vec<GroupPause>,
    /// What was parked and is to be delivered again.
    pub(crate) replays: Vec<Replay>,
    /// The processes that are parked as a whole, and from where on.
    pub(crate) parked_pids: Vec<(Pid, Position)>,
    /// What members had, if the hub before did not stop in order.
    pub(crate) outs: Vec<Position>,
    /// When something was done about its parked events last.
    pub(crate) last_act: Timestamp,
}

impl Group {
    /// A group as it was left by the hub that had it before, or a new one.
    ///
    /// What people have not chosen for it is as `defaults` say.
    pub(super) fn new(recovered: Recovered, generation: Generation, defaults: Rules, now: Timestamp) -> Self {
        let Recovered { group, mut runs, retries, pauses, replays, parked_pids, outs, last_act } = recovered;
        let settings = settings::settings(defaults, &group.settings, group.order);
        let mut lines: Vec<_> = group.slots.iter().map(Line::new).collect();
        // A replayed event comes by itself; when the log is read, it is passed over.
        runs.extend(replays.iter().map(|replay| SettledRun {
            slot: proto::slot(&group.topic.domain, &replay.pid),
            first: replay.position,
            last: replay.position,
        }));
        runs.sort_by_key(|run| run.first);
        for run in runs {
            if let Some(line) = lines.get_mut(usize::from(run.slot)) {
                line.recover(run.first, run.last);
            }
        }
        let read_through = group.slots.iter().map(|slot| slot.cursor).min().unwrap_or(group.start_after);
        let mut group = Self {
            id: group.id,
            generation,
            name: group.name,
            topic: group.topic,
            order: group.order,
            start_after: group.start_after,
            read_through: read_through.max(group.start_after),
            loading: false,
            lines,
            in_hand: HashMap::new(),
            bytes: 0,
            pids: HashMap::new(),
            strays: Strays::default(),
            ready: Lanes::default(),
            pauses: Pauses::new(pauses),
            out: 0,
            retries: BTreeSet::new(),
            overdue: BTreeSet::new(),
            remembered: retries.into_iter().map(|retry| (retry.position, retry)).collect(),
            fresh_retries: BTreeMap::new(),
            replays: Replays::default(),
            parked: ParkedPids::new(parked_pids),
            unparks: Unparks::new(last_act),
            suspects: Suspects::new(outs),
            members: Members::new(settings.credit_max),
            unflushed_since: None,
            flushing: None,
            swept: now,
            flushes_begun: 0,
            flushes_done: 0,
            leaving: Vec::new(),
            chains: Chains::default(),
            fetching: 0,
            rules: settings::rules(&settings),
            settings,
        };
        group.admit(replays, now);
        group
    }

    /// Whether the group is to have `event`, delivered already or not.
    pub(super) fn wants(&self, event: &Event) -> bool {
        event.position > self.start_after && event.publisher.is_some() && self.topic.matches(event)
    }

    /// Where the group reads on, if it has members and room for more.
    pub(super) fn reads_after(&self) -> Option<Position> {
        let room = self.in_hand.len() < IN_HAND_MAX
            && self.ready.len() + self.out < READY_MAX
            && self.bytes < IN_HAND_BYTES_MAX;
        let reads = room && !self.members.is_empty() && !self.pauses.is_whole() && !self.loading;
        reads.then_some(self.read_through)
    }

    /// Takes the next event that was read; events come in the order of the log.
    pub(super) fn take(&mut self, event: &Arc<Event>, now: Timestamp) {
        self.read_through = self.read_through.max(event.position);
        if !self.wants(event) {
            return;
        }
        let slot = event.slot();
        let fresh = self.lines.get_mut(usize::from(slot)).is_some_and(|line| line.take(event.position));
        if !fresh {
            return;
        }
        let remembered = self.remembered.remove(&event.position);
        let mut entry = InHand {
            event: Some(Arc::clone(event)),
            pid: event.pid.clone(),
            slot,
            priority: event.metadata.priority(),
            state: State::Behind,
            failed_by: None,
            origin: Origin::Log,
            not_before: remembered.as_ref().map(|retry| retry.retry_at).filter(|&at| at > now),
            deliveries: remembered.as_ref().map_or(0, Retry::deliveries),
            failures: remembered.as_ref().map_or(0, |retry| retry.attempts.0),
            losses: remembered.as_ref().map_or(0, |retry| retry.losses),
            consumer: remembered.as_ref().map(|retry| Arc::clone(&retry.consumer)),
            reason: remembered.map(|retry| retry.reason),
            deleted: false,
        };
        let overtakes = self.overtakes(event);
        let queued = if overtakes { KEPT_PER_PID } else { self.queue(event) };
        if queued > KEPT_PER_PID {
            entry.event = None;
        } else {
            self.bytes += event.weight();
        }
        self.in_hand.insert(event.position, entry);
        if overtakes {
            self.line_up(&event.pid, event.position);
        }
        if self.suspects.was_out(event.position) {
            self.was_lost(event.position, now);
        } else if queued == 1 {
            self.advance(event.position);
        } else if !overtakes {
            self.is_held(event.position);
        }
    }

    /// Whether a later event of its process is in hand already: one that was parked while the group was
    /// unordered, and is replayed.
    fn overtakes(&self, event: &Event) -> bool {
        let queue = self.pids.get(&event.pid).filter(|_| self.order == Order::ByPid);
        queue.and_then(|queue| queue.back()).is_some_and(|last| *last > event.position)
    }

    /// Queues an event behind the others of its process; how many there are now.
    fn queue(&mut self, event: &Event) -> usize {
        match self.order {
            Order::None => 1,
            Order::ByPid => {
                let queue = self.pids.entry(event.pid.clone()).or_default();
                queue.push_back(event.position);
                queue.len()
            }
        }
    }

    /// Everything up to `position` was read.
    pub(super) fn read_to(&mut self, position: Position) {
        self.read_through = self.read_through.max(position);
    }

    /// Makes an event the next of its process, not before `not_before`.
    fn make_next(&mut self, position: Position, not_before: Option<Timestamp>) {
        if !self.may_go(position, not_before) {
            return;
        }
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        match not_before {
            Some(at) => {
                entry.state = State::RetryAt(at);
                self.retries.insert((at, position));
            }
            None => {
                entry.state = if entry.event.is_some() { State::Ready } else { State::Fetching };
                self.ready.push(entry.priority, position);
            }
        }
    }

    /// Hands out what can go, as effects.
    pub(super) fn pump(&mut self, now: Timestamp, rooms: &mut Rooms, effects: &mut Vec<Effect>) {
        self.park_behind(now);
        self.judge(now);
        self.wake_retries(now);
        if self.pauses.is_whole() {
            return;
        }
        while let Some(position) = self.ready.next() {
            let Some(entry) = self.in_hand.get_mut(&position) else {
                self.ready.drop_next();
                continue;
            };
            if !matches!(entry.state, State::Ready | State::Fetching) {
                self.ready.drop_next();
                continue;
            }
            if self.pauses.has(&entry.pid) {
                self.ready.drop_next();
                self.hold(position);
                continue;
            }
            let Some(event) = entry.event.clone() else {
                // Its data was not kept; it comes back through `fetched`.
                if self.fetching >= FETCHES_MAX || !self.members.have_credit() {
                    return;
                }
                self.ready.drop_next();
                if entry.state == State::Fetching {
                    self.fetching += 1;
                    effects.push(Effect::Fetch { group: self.id, pid: entry.pid.clone(), position });
                }
                continue;
            };
            if self.suspects.holds(position, entry.losses) {
                self.ready.drop_next();
                continue;
            }
            let Some(member) = self.members.choose(entry.slot, entry.failed_by, &event, rooms) else {
                return;
            };
            self.ready.take();
            member.in_flight += 1;
            self.out += 1;
            entry.deliveries += 1;
            entry.consumer = Some(Arc::clone(&member.label));
            entry.state =
                State::Out { member: member.key, since: now, deadline: now.plus(self.rules.deadline) };
            rooms.sent(member.key.connection, &event);
            let delivery = Effect::Deliver {
                connection: member.key.connection,
                listener: member.key.listener,
                attempt: Attempt(entry.deliveries),
                event,
            };
            self.suspects.hand_out(entry.slot, entry.losses, (position, delivery), now, effects);
        }
    }

    fn wake_retries(&mut self, now: Timestamp) {
        while let Some(&(at, position)) = self.retries.first() {
            if at > now {
                return;
            }
            self.retries.pop_first();
            if self.in_hand.get(&position).is_some_and(|entry| entry.state == State::RetryAt(at)) {
                self.make_next(position, None);
            }
        }
    }

    /// Takes an event out of hand and makes the next of its process ready.
    fn remove(&mut self, position: Position) -> Option<InHand> {
        let entry = self.in_hand.remove(&position)?;
        if let Some(event) = &entry.event {
            self.bytes -= event.weight();
        }
        self.fresh_retries.remove(&position);
        self.pauses.forget(&entry.pid, position);
        let mut next = None;
        if let Some(queue) = self.pids.get_mut(&entry.pid) {
            let was_next = queue.front() == Some(&position);
            queue.retain(|&queued| queued != position);
            next = match self.strays.back(&entry.pid, position) {
                Back::Ordinary => queue.front().copied().filter(|_| was_next),
                Back::Waiting => None,
                Back::Last => queue.front().copied(),
            };
            if queue.is_empty() {
                self.pids.remove(&entry.pid);
            }
        }
        if let Some(next) = next {
            self.advance(next);
        }
        Some(entry)
    }

    pub(super) fn join(&mut self, key: MemberKey, label: Arc<str>, credit: u32) {
        self.members.join(key, label, credit);
    }

    pub(super) fn credit(&mut self, key: MemberKey, events: u32) {
        self.members.credit(key, events);
    }

    pub(super) fn enough(&mut self, key: MemberKey) {
        self.members.enough(key);
    }

    /// A connection is gone: what its members had comes to others at once.
    pub(super) fn gone(&mut self, connection: ConnectionId) {
        for key in self.members.on(connection) {
            for position in self.take_back(key) {
                self.lose(position);
            }
            self.dismiss(key);
        }
        self.leaving.retain(|(key, _)| key.connection != connection);
    }

    /// Whether nothing of this group is under way or unrecorded.
    pub(super) fn is_quiet(&self) -> bool {
        self.out == 0 && self.flushing.is_none() && self.unflushed() == 0
    }

    /// Events with members now.
    pub(super) fn out(&self) -> usize {
        self.out
    }
}
