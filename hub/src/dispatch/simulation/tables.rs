//! The tables, as simple as can be: what the writer does in one transaction is one call here, and
//! everything that it must never do ends the simulation.
//!
//! It is the model that the real dispatcher is compared with. What survives a crash of the hub is
//! here and nowhere else.

mod changes;
mod parked;
mod schedules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use db::{
    Group, GroupId, GroupPause, GroupWish, Matching, OrphanRun, Outcome, Retry, Run, Schedule, SettledRun,
    Settlements, Slot, SlotMove, Wanted,
};
use proto::limits::SLOTS_PER_GROUP;
use proto::message::{Appended, Scope, Stored, Wait};
use proto::{
    Domain, Event, EventId, NewEvent, Pid, Position, Refusal, ServiceName, SettingsChange, Start, Timestamp,
    Version,
};

use self::parked::{ParkedRow, UnparkedRow};
use super::super::group::Recovered;
use super::broken::{Broken, rule};

/// One group in the tables.
#[derive(Debug)]
pub(super) struct GroupRows {
    pub(super) group: Group,
    /// Which life of a hub has its slots.
    owner: u64,
    pub(super) runs: BTreeMap<Position, Run>,
    pub(super) settled: BTreeMap<Position, Outcome>,
    pub(super) retries: BTreeMap<Position, Retry>,
    /// What members had when a slot was last written.
    pub(super) outs: BTreeMap<u16, Vec<Position>>,
    pub(super) pauses: Vec<GroupPause>,
    pub(super) parked: BTreeMap<Position, ParkedRow>,
    /// What was done about parked events, by event and time.
    unparked: BTreeMap<(Position, Timestamp), UnparkedRow>,
    /// Processes that are parked as a whole.
    parked_pids: BTreeSet<Pid>,
    /// Processes of which an event was deleted with which they were parked: the hub finds out when it starts.
    pub(super) blocked_by_deleted: BTreeSet<Pid>,
}

impl GroupRows {
    /// Whether every slot is in the epoch that is said.
    fn holds(&self, settlements: &Settlements) -> bool {
        self.holds_moves(&settlements.moves)
    }

    fn holds_moves(&self, moves: &[SlotMove]) -> bool {
        moves.iter().all(|moved| {
            self.group.slots.get(usize::from(moved.slot)).is_some_and(|slot| slot.epoch == moved.epoch)
        })
    }

    fn taken_by(&mut self, hub: u64) {
        self.owner = hub;
        self.group.slots.iter_mut().for_each(|slot| slot.epoch += 1);
    }

    /// Whether the group is to have `event`.
    pub(super) fn wants(&self, event: &Event) -> bool {
        event.position > self.group.start_after
            && event.publisher.is_some()
            && self.group.topic.matches(event)
    }
}

/// What became of a chain.
#[derive(Debug)]
pub(super) enum Written {
    /// A slot is somebody else's by now.
    Fenced,
    /// The events cannot be stored.
    Refused(Refusal),
    /// What is answered, and the events that are new.
    Stored(Vec<Appended>, Vec<Arc<Event>>),
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    events: Vec<Option<Arc<Event>>>,
    ids: BTreeMap<EventId, (Position, Version, [u8; 16])>,
    versions: BTreeMap<(Domain, Pid), Version>,
    pub(super) deleted: BTreeSet<Position>,
    /// The processes of what was deleted.
    pub(super) deleted_pids: BTreeMap<Position, Pid>,
    orphans: BTreeSet<Position>,
    pub(super) groups: BTreeMap<u32, GroupRows>,
    pub(super) schedules: BTreeMap<EventId, Schedule>,
    /// Schedules that were asked for so far.
    scheduled: u64,
}

impl Tables {
    pub(super) fn head(&self) -> Position {
        Position(u64::try_from(self.events.len()).unwrap_or(u64::MAX))
    }

    /// All events that are not deleted, in the order of the log.
    pub(super) fn events(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.iter().flatten()
    }

    pub(super) fn event(&self, position: Position) -> Option<&Arc<Event>> {
        event_at(&self.events, position)
    }

    /// Appends events, all or none.
    pub(super) fn append(
        &mut self,
        events: &[NewEvent],
        publisher: Option<&ServiceName>,
        now: Timestamp,
    ) -> Result<(Vec<Appended>, Vec<Arc<Event>>), Refusal> {
        for event in events {
            if let Some((position, _, digest)) = self.ids.get(&event.id)
                && *digest != event.digest()
            {
                return Err(Refusal::Conflict { id: event.id.clone(), position: *position });
            }
        }
        let (mut answers, mut new) = (Vec::new(), Vec::new());
        for event in events {
            if let Some(&(position, version, _)) = self.ids.get(&event.id) {
                answers.push(Appended { position, version, stored: Stored::Before });
                continue;
            }
            let stored = Arc::new(self.store(event, publisher, now));
            answers.push(Appended {
                position: stored.position,
                version: stored.version,
                stored: Stored::Now,
            });
            self.events.push(Some(Arc::clone(&stored)));
            new.push(stored);
        }
        Ok((answers, new))
    }

    fn store(&mut self, event: &NewEvent, publisher: Option<&ServiceName>, now: Timestamp) -> Event {
        let position = self.head().next();
        let version = self.versions.entry((event.domain.clone(), event.pid.clone())).or_default();
        version.0 += 1;
        self.ids.insert(event.id.clone(), (position, *version, event.digest()));
        Event {
            position,
            id: event.id.clone(),
            timestamp: event.timestamp.unwrap_or(now),
            domain: event.domain.clone(),
            pid: event.pid.clone(),
            version: *version,
            name: event.name.clone(),
            rid: event.rid.clone(),
            publisher: publisher.cloned(),
            metadata: event.metadata.clone(),
            data: event.data.clone(),
            eids: event.eids.clone(),
            cpids: event.cpids.clone(),
        }
    }

    /// Empties an event.
    pub(super) fn delete(&mut self, position: Position) {
        let index = position.0.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        if let Some(event) = index.and_then(|index| self.events.get_mut(index)) {
            let pid = event.take().map(|event| event.pid.clone());
            self.deleted_pids.extend(pid.map(|pid| (position, pid)));
            self.deleted.insert(position);
            for rows in self.groups.values_mut() {
                rows.forget_parked(position);
            }
        }
    }

    /// Makes a group or finds it, and takes its slots if another has them.
    pub(super) fn group(&mut self, wish: &GroupWish, hub: u64) -> Result<Recovered, Refusal> {
        let known = |rows: &&mut GroupRows| {
            rows.group.name == wish.name && rows.group.topic.domain == wish.topic.domain
        };
        if let Some(rows) = self.groups.values_mut().find(known) {
            if rows.owner != hub {
                rows.taken_by(hub);
            }
            let id = rows.group.id;
            return self.recover(id).ok_or(Refusal::Stopping);
        }
        let id = GroupId(u32::try_from(self.groups.len() + 1).unwrap_or(u32::MAX));
        let start_after = match wish.start {
            Start::Beginning => Position(0),
            Start::Now => self.head(),
            Start::At(position) => position.previous(),
        };
        let slot = |slot| Slot { slot, epoch: 1, cursor: start_after, succeeded: 0, parked: 0, discarded: 0 };
        let group = Group {
            id,
            name: wish.name.clone(),
            topic: wish.topic.clone(),
            order: wish.order,
            settings: SettingsChange::default(),
            start_after,
            slots: (0..SLOTS_PER_GROUP).map(slot).collect(),
        };
        let rows = GroupRows {
            group,
            owner: hub,
            runs: BTreeMap::new(),
            settled: BTreeMap::new(),
            retries: BTreeMap::new(),
            outs: BTreeMap::new(),
            pauses: Vec::new(),
            parked: BTreeMap::new(),
            unparked: BTreeMap::new(),
            parked_pids: BTreeSet::new(),
            blocked_by_deleted: BTreeSet::new(),
        };
        self.groups.insert(id.0, rows);
        self.recover(id).ok_or(Refusal::Stopping)
    }

    /// What a hub that starts finds: every slot is its own now, in a new epoch.
    pub(super) fn take_groups(&mut self, hub: u64) -> Vec<Recovered> {
        self.groups.values_mut().for_each(|rows| rows.taken_by(hub));
        let ids: Vec<_> = self.groups.values().map(|rows| rows.group.id).collect();
        ids.into_iter().filter_map(|id| self.recover(id)).collect()
    }

    fn recover(&self, id: GroupId) -> Option<Recovered> {
        let rows = self.groups.get(&id.0)?;
        let run = |run: &Run| SettledRun { slot: run.slot, first: run.first, last: run.last };
        Some(Recovered {
            group: rows.group.clone(),
            runs: rows.runs.values().map(run).collect(),
            retries: rows.retries.values().cloned().collect(),
            pauses: rows.pauses.clone(),
            replays: rows.replays(),
            parked_pids: rows.pids_parked(),
            outs: rows.outs.values().flatten().copied().collect(),
            last_act: rows.last_act(),
        })
    }

    /// A page of what is wanted after a position. Its size is whatever `limit` says.
    pub(super) fn matching(&self, wanted: &Wanted, after: Position, limit: usize) -> Matching {
        let fits = |event: &&Arc<Event>| {
            event.position > after
                && (wanted.scope == Scope::Stored || event.publisher.is_some())
                && wanted.topic.as_ref().is_none_or(|topic| topic.matches(event))
                && wanted.pid.as_ref().is_none_or(|pid| *pid == event.pid)
        };
        let events: Vec<_> = self.events().filter(fits).take(limit).cloned().collect();
        let full = events.len() == limit;
        let last = events.last().map(|event| event.position).filter(|_| full);
        Matching { events, through: last.unwrap_or_else(|| self.head()) }
    }

    /// The first event that a wait is for.
    pub(super) fn first(&self, wait: &Wait) -> Option<&Arc<Event>> {
        self.events().find(|event| {
            event.domain == wait.domain
                && event.pid == wait.pid
                && event.position > wait.after
                && wait.names.matches(&event.name)
        })
    }

    /// Records events that nobody wanted.
    pub(super) fn orphans(&mut self, runs: &[OrphanRun]) -> Result<(), Broken> {
        for position in runs.iter().flat_map(|run| run.first.0..=run.last.0).map(Position) {
            let new = self.orphans.insert(position);
            rule(new && position <= self.head(), "an event is an orphan once", || format!("{position}"))?;
        }
        Ok(())
    }

    /// Whether these would be recorded.
    pub(super) fn holds(&self, settlements: &Settlements) -> bool {
        self.groups.get(&settlements.group.0).is_some_and(|rows| rows.holds(settlements))
    }

    /// Appends events and settles the one that they follow from: all of it, or nothing.
    pub(super) fn chain(
        &mut self,
        events: &[NewEvent],
        publisher: Option<&ServiceName>,
        now: Timestamp,
        settlements: &Settlements,
    ) -> Result<Written, Broken> {
        if !self.holds(settlements) {
            return Ok(Written::Fenced);
        }
        let (appended, new) = match self.append(events, publisher, now) {
            Ok(stored) => stored,
            Err(refusal) => return Ok(Written::Refused(refusal)),
        };
        let held = self.settle(settlements)?;
        rule(held, "a chain is settled or not stored", || format!("{settlements:?}"))?;
        Ok(Written::Stored(appended, new))
    }

    /// Records outcomes, all or none; `Ok(false)` if a slot is not the writer's in its epoch.
    pub(super) fn settle(&mut self, settlements: &Settlements) -> Result<bool, Broken> {
        let Self { events, groups, deleted, deleted_pids, .. } = self;
        let Some(rows) = groups.get_mut(&settlements.group.0) else { return Ok(false) };
        if !rows.holds(settlements) {
            return Ok(false);
        }
        let fenced: BTreeSet<_> = settlements.moves.iter().map(|moved| moved.slot).collect();
        rows.set_aside(settlements);
        // Its event was deleted while it was parked.
        let blocking = settlements.aside.blocking.iter();
        rows.blocked_by_deleted.extend(blocking.filter_map(|position| deleted_pids.get(position)).cloned());
        for run in &settlements.runs {
            rule(fenced.contains(&run.slot), "every run is fenced by its slot", || format!("{run:?}"))?;
            record(rows, events, deleted, run, &settlements.aside.blocking)?;
        }
        for retry in &settlements.retries {
            rule(!rows.settled.contains_key(&retry.position), "what is settled is not tried again", || {
                format!("{retry:?}")
            })?;
            rows.retries.insert(retry.position, retry.clone());
        }
        for moved in &settlements.moves {
            move_cursor(rows, events, moved)?;
        }
        Ok(true)
    }
}

fn event_at(log: &[Option<Arc<Event>>], position: Position) -> Option<&Arc<Event>> {
    let index = usize::try_from(position.0.checked_sub(1)?).ok()?;
    log.get(index)?.as_ref()
}

/// Records one run: each of its events once, and only what the group is to have.
fn record(
    rows: &mut GroupRows,
    log: &[Option<Arc<Event>>],
    deleted: &BTreeSet<Position>,
    run: &Run,
    blocking: &[Position],
) -> Result<(), Broken> {
    let within = |position: Position| run.first <= position && position <= run.last;
    let covered: Vec<_> = log
        .iter()
        .flatten()
        .filter(|event| within(event.position) && event.slot() == run.slot && rows.wants(event))
        .map(|event| event.position)
        .collect();
    let gone = deleted.iter().filter(|&&position| within(position)).count();
    let events = usize::try_from(run.events).unwrap_or(usize::MAX);
    rule(
        covered.len() <= events && events <= covered.len() + gone,
        "a run has as many events as it says",
        || format!("{run:?} covers {covered:?} and {gone} deleted ones"),
    )?;
    for position in covered {
        let before = rows.settled.insert(position, run.outcome.clone());
        rule(before.is_none(), "one settlement for each group and event", || {
            format!("position {position} is settled as {before:?} and again by {run:?}")
        })?;
        rule(!rows.is_replayed(position), "what has an outcome is not to be delivered again", || {
            format!("position {position} is settled by {run:?} and still marked")
        })?;
        let pid = event_at(log, position).map(|event| event.pid.clone());
        if let (Outcome::Parked { .. }, Some(pid)) = (&run.outcome, pid) {
            rows.park(position, pid, run, blocking.contains(&position));
        }
        rows.retries.remove(&position);
    }
    rows.retries.remove(&run.first);
    let before = rows.runs.insert(run.first, run.clone());
    rule(before.is_none(), "no two runs begin at one position", || format!("{before:?}, {run:?}"))?;
    let Some(slot) = rows.group.slots.get_mut(usize::from(run.slot)) else { return Ok(()) };
    match run.outcome {
        Outcome::Success => slot.succeeded += u64::from(run.events),
        Outcome::Parked { .. } => slot.parked += u64::from(run.events),
        Outcome::Discarded { .. } => slot.discarded += u64::from(run.events),
    }
    Ok(())
}

/// Moves a slot's cursor on, over what is settled and nothing else.
fn move_cursor(rows: &mut GroupRows, events: &[Option<Arc<Event>>], moved: &SlotMove) -> Result<(), Broken> {
    let passed = events.iter().flatten().find(|event| {
        event.position <= moved.cursor
            && event.slot() == moved.slot
            && rows.wants(event)
            && !rows.settled.contains_key(&event.position)
            && !rows.is_replayed(event.position)
    });
    rule(passed.is_none(), "a cursor passes only what is settled", || {
        format!("{moved:?} passes {:?}", passed.map(|event| event.position))
    })?;
    let Some(slot) = rows.group.slots.get_mut(usize::from(moved.slot)) else { return Ok(()) };
    // The statement keeps the larger one.
    slot.cursor = slot.cursor.max(moved.cursor);
    Ok(())
}
