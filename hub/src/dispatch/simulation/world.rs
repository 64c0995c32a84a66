//! The world around the hub: spokes, wires, time and everything that goes wrong, one random step
//! after the other, then a calm in which everything that is owed has to come.

mod bustle;
mod calm;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use db::{Act, Committed, GroupAct, GroupChange, GroupId};
use proto::{Position, Timestamp};

use super::super::connection::ConnectionId;
use super::broken::Broken;
use super::hub::{Fault, Hub, change_of, fire_elsewhere, pause, setting};
use super::random::Random;
use super::spoke::{Spoke, Temper};
use super::tables::Tables;
use super::wire::Wire;
use super::{Failure, Figures};

/// Spokes of a world.
const SPOKES: usize = 4;

/// Rounds in which everything flows, and goes wrong.
const BUSTLE_ROUNDS: usize = 300;

/// Steps that a failure tells of.
const TRAIL: usize = 80;

/// Everything there is.
pub(super) struct World {
    random: Random,
    now: Duration,
    tables: Tables,
    hub: Option<Hub>,
    spokes: Vec<Spoke>,
    wires: BTreeMap<ConnectionId, Wire>,
    lives: u64,
    links: u64,
    next_event: u64,
    trail: VecDeque<String>,
    figures: Figures,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            now: Duration::from_secs(1_000),
            tables: Tables::default(),
            hub: None,
            spokes: (0..SPOKES).map(|_| Spoke::new()).collect(),
            wires: BTreeMap::new(),
            lives: 0,
            links: 0,
            next_event: 0,
            trail: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    /// Runs `steps` random steps, then the calm.
    pub(super) fn run(mut self, seed: u64, steps: usize) -> Result<Figures, Box<Failure>> {
        for step in 0..steps {
            if let Err(broken) = self.step() {
                return Err(self.failure(seed, step, broken));
            }
        }
        for round in 0..BUSTLE_ROUNDS {
            if let Err(broken) = self.bustle() {
                return Err(self.failure(seed, steps + round, broken));
            }
        }
        match self.calm() {
            Ok(()) => {
                self.figures.steps = steps + BUSTLE_ROUNDS;
                self.figures.events = self.tables.events().count();
                self.figures.fired = self.tables.fired();
                Ok(self.figures)
            }
            Err(broken) => Err(self.failure(seed, steps, broken)),
        }
    }

    fn failure(self, seed: u64, step: usize, broken: Broken) -> Box<Failure> {
        Box::new(Failure { seed, step, broken, trail: self.trail.into() })
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.trail.len() == TRAIL {
            self.trail.pop_front();
        }
        self.trail.push_back(format!("{:?} {}", self.now, what()));
    }

    /// One random thing.
    fn step(&mut self) -> Result<(), Broken> {
        self.trouble()?;
        let which = self.random.below(SPOKES);
        match self.random.below(22) {
            0 | 1 => self.with_spoke(which, |spoke, world| {
                spoke.publish(&mut world.random, &mut world.next_event, &world.tables);
            }),
            2 => self.with_spoke(which, |spoke, world| spoke.consume(&mut world.random)),
            3 if self.random.once_in(2) => {
                self.with_spoke(which, |spoke, world| spoke.subscribe(&mut world.random));
            }
            4 if self.random.once_in(3) => self.schedule(which),
            4 if self.random.once_in(2) => {
                self.with_spoke(which, |spoke, world| spoke.wait(&mut world.random, &world.tables));
            }
            5..=7 => self.with_spoke(which, |spoke, world| spoke.answer(&mut world.random, Temper::Moody)),
            8 => self.with_spoke(which, |spoke, world| spoke.give_back(&mut world.random, Temper::Moody)),
            9..=11 => self.talk(which)?,
            12 | 13 => self.hear(which)?,
            14 | 15 => self.write()?,
            16 | 17 => self.finish()?,
            18 => {
                let (now, news) = (self.now, self.random.below(4));
                if let Some(hub) = &mut self.hub {
                    hub.tell_commit(now);
                    hub.schedules.tell_news(news, hub.at(now));
                }
            }
            19 => self.time_passes()?,
            _ => self.push(which),
        }
        self.turn()
    }

    fn with_spoke(&mut self, which: usize, act: impl FnOnce(&mut Spoke, &mut Self)) {
        let Some(spoke) = self.spokes.get_mut(which) else { return };
        let mut taken = std::mem::replace(spoke, Spoke::new());
        act(&mut taken, self);
        if let Some(spoke) = self.spokes.get_mut(which) {
            *spoke = taken;
        }
    }

    fn schedule(&mut self, which: usize) {
        let Some(hub) = &self.hub else { return };
        let times = (hub.at(self.now), hub.schedules.edge);
        self.with_spoke(which, |spoke, world| {
            spoke.schedule(&mut world.random, &mut world.next_event, times, &world.tables);
        });
    }

    fn turn(&mut self) -> Result<(), Broken> {
        let Some(hub) = &mut self.hub else { return Ok(()) };
        hub.turn(&self.tables, self.now)
    }

    // ---- what goes wrong

    fn trouble(&mut self) -> Result<(), Broken> {
        if self.hub.is_none() {
            if self.random.once_in(20) {
                self.start_hub();
            }
            return Ok(());
        }
        let which = self.random.below(SPOKES);
        match self.random.below(1_200) {
            0 | 1 => self.crash(),
            2 => self.stop()?,
            3..=12 => self.cut(which),
            13..=15 => self.spoke_dies(which),
            16..=19 => {
                self.with_spoke(which, |spoke, world| spoke.leave(&mut world.random));
            }
            20 | 21 => {
                let tables = &self.tables;
                if let Some(hub) = &mut self.hub {
                    hub.miss_commits(tables);
                }
                self.note(|| "commits are missed".to_owned());
            }
            22 => {
                self.note(|| "another hub takes the groups".to_owned());
                self.lives += 1;
                self.tables.take_groups(self.lives);
            }
            23 | 24 => {
                self.with_spoke(which, |spoke, world| spoke.delete(&mut world.random, &world.tables));
            }
            25 => {
                let far = if self.random.once_in(3) { 40 } else { 7 };
                self.now += Duration::from_secs(far);
                self.note(|| format!("the clock jumps by {far} s"));
            }
            26..=29 => self.fault(),
            30 => {
                if let Some(hub) = &mut self.hub {
                    hub.schedules.miss_news();
                }
                self.note(|| "news of schedules is missed".to_owned());
            }
            31 | 32 => self.fire_elsewhere()?,
            33..=44 => self.unpark(),
            45..=56 => self.change_groups(),
            _ => {
                if self.random.once_in(10) {
                    self.connect(which);
                }
            }
        }
        Ok(())
    }

    /// The database will not answer once, for those who fire schedules.
    fn fault(&mut self) {
        let fault = if self.random.once_in(2) { Fault::Lost } else { Fault::Unheard };
        if let Some(hub) = &mut self.hub {
            hub.schedules.fault = Some(fault);
        }
        self.note(|| format!("the database will not answer: {fault:?}"));
    }

    /// Another hub, whose clock is not the same, fires what is due.
    fn fire_elsewhere(&mut self) -> Result<(), Broken> {
        self.note(|| "another hub fires schedules".to_owned());
        let Some(hub) = &mut self.hub else { return Ok(()) };
        hub.schedules.outdone = true;
        let ahead = Duration::from_millis(u64::try_from(self.random.below(3_000)).unwrap_or(0));
        let at = hub.at(self.now + ahead);
        fire_elsewhere(&mut self.tables, at)?;
        hub.commits.push_back(Committed::Missed { head: self.tables.head() });
        Ok(())
    }

    /// Somebody replays or discards parked events of a group, or finds that others were quicker.
    fn unpark(&mut self) {
        let groups: Vec<_> = self.tables.groups.keys().copied().collect();
        let Some(group) = self.random.pick(&groups) else { return };
        let Some((events, act)) = choose_parked(&mut self.random, &self.tables, group) else { return };
        self.note(|| format!("{act:?} {events:?} of group {group}"));
        if let Some(hub) = &mut self.hub {
            hub.asked.act_twice = self.random.once_in(8);
            hub.unpark(GroupId(group), events, act);
        }
    }

    /// Somebody sets, pauses or resumes the groups of a name, or those of one domain.
    fn change_groups(&mut self) {
        let names: Vec<_> = self.tables.groups.values().map(|rows| rows.group.clone()).collect();
        let Some(group) = self.random.pick(&names) else { return };
        let random = &mut self.random;
        let act = if random.once_in(2) { GroupAct::Set(setting(random)) } else { pause(random) };
        let domain = random.once_in(2).then_some(group.topic.domain);
        let change = GroupChange { domain, ..change_of(group.name, act) };
        self.note(|| format!("{change:?}"));
        if let Some(hub) = &mut self.hub {
            hub.change(change);
        }
    }

    fn start_hub(&mut self) {
        self.lives += 1;
        self.figures.lives += 1;
        // A new process reads the wall clock anew, and it may have been set back.
        let skew = Duration::from_millis(u64::try_from(self.random.below(60_000)).unwrap_or(0));
        let clock = Timestamp::default().plus(Duration::from_secs(1_000_000)).plus(skew);
        self.hub = Some(Hub::start(self.lives, &mut self.tables, clock, &mut self.random, self.now));
        let life = self.lives;
        self.note(|| format!("hub {life} starts"));
    }

    fn crash(&mut self) {
        self.note(|| "the hub crashes".to_owned());
        self.hub = None;
        self.wires.values_mut().for_each(|wire| wire.cut = true);
    }

    /// A stop in order: what is acked is recorded, cursors are moved on.
    fn stop(&mut self) -> Result<(), Broken> {
        self.note(|| "the hub stops".to_owned());
        let Some(mut hub) = self.hub.take() else { return Ok(()) };
        hub.desk.close();
        for end in hub.ends.values_mut() {
            end.session.go_away("the hub is stopping".to_owned(), Duration::ZERO);
        }
        // Nothing more arrives; what did is settled. The flush may linger.
        for _ in 0..8 {
            self.now += Duration::from_millis(20);
            hub.turn(&self.tables, self.now)?;
            hub.write(usize::MAX, &mut self.tables, self.now)?;
            for work in std::mem::take(&mut hub.work) {
                hub.finish(work, 100, &self.tables, self.now)?;
            }
        }
        hub.sweep(&self.tables)?;
        hub.write(usize::MAX, &mut self.tables, self.now)?;
        hub.watch.stopped(&self.tables)?;
        self.wires.values_mut().for_each(|wire| wire.cut = true);
        Ok(())
    }

    fn cut(&mut self, which: usize) {
        if let Some(wire) = self.spokes.get(which).and_then(|spoke| self.wires.get_mut(&spoke.link?)) {
            wire.cut = true;
            self.figures.cuts += 1;
            self.note(|| format!("the link of spoke {which} is cut"));
        }
    }

    fn spoke_dies(&mut self, which: usize) {
        self.cut(which);
        self.note(|| format!("spoke {which} dies"));
        if let Some(spoke) = self.spokes.get_mut(which) {
            *spoke = Spoke::new();
        }
    }

    fn connect(&mut self, which: usize) {
        let (Some(spoke), Some(hub)) = (self.spokes.get_mut(which), &mut self.hub) else { return };
        if spoke.link.is_some() || hub.closing {
            return;
        }
        self.links += 1;
        let connection = ConnectionId(self.links);
        spoke.link = Some(connection);
        spoke.session.connected(self.now);
        hub.connected(connection, self.now);
        self.wires.insert(connection, Wire::default());
        self.note(|| format!("spoke {which} connects as {}", connection.0));
    }

    // ---- what passes between spokes and hub

    /// Both ends say something, and some of it arrives.
    fn talk(&mut self, which: usize) -> Result<(), Broken> {
        let Some(spoke) = self.spokes.get_mut(which) else { return Ok(()) };
        let Some(connection) = spoke.link else { return Ok(()) };
        let Some(wire) = self.wires.get_mut(&connection) else { return Ok(()) };
        if wire.cut {
            return self.notice(which, connection);
        }
        let mut payload = Vec::new();
        for _ in 0..4 {
            payload.clear();
            if spoke.session.poll_frame(&mut payload) {
                wire.to_hub.send(&payload);
            }
        }
        if let Some(hub) = &mut self.hub
            && let Some(end) = hub.ends.get_mut(&connection)
            // A slow reader's socket takes no more.
            && wire.to_spoke.unread() < 4_096
        {
            for _ in 0..4 {
                payload.clear();
                if end.session.poll_frame(&mut payload) {
                    wire.to_spoke.send(&payload);
                }
            }
            hub.give_back(connection);
        }
        wire.to_hub.flow(&mut self.random);
        wire.to_spoke.flow(&mut self.random);
        Ok(())
    }

    /// One end or the other finds out that the link is gone.
    fn notice(&mut self, which: usize, connection: ConnectionId) -> Result<(), Broken> {
        if self.random.once_in(2) {
            if let Some(hub) = &mut self.hub {
                hub.gone(connection, &self.tables)?;
            }
            self.note(|| format!("the hub sees that connection {} is gone", connection.0));
        } else {
            self.disconnect(which);
        }
        Ok(())
    }

    fn disconnect(&mut self, which: usize) {
        let Some(spoke) = self.spokes.get_mut(which) else { return };
        spoke.session.disconnected();
        if let Some(connection) = spoke.link.take()
            && let Some(wire) = self.wires.get_mut(&connection)
        {
            wire.cut = true;
        }
        self.note(|| format!("spoke {which} sees that its link is gone"));
    }

    /// Both ends take a frame that has arrived.
    fn hear(&mut self, which: usize) -> Result<(), Broken> {
        let Some(spoke) = self.spokes.get_mut(which) else { return Ok(()) };
        let Some(connection) = spoke.link else { return Ok(()) };
        let Some(wire) = self.wires.get_mut(&connection) else { return Ok(()) };
        while let Some(frame) = wire.to_spoke.frame() {
            if let Err(violation) = spoke.session.handle_frame(&frame, self.now) {
                return Err(Broken { rule: "a hub keeps the protocol", seen: violation.to_string() });
            }
        }
        spoke.listen(&self.tables)?;
        for _ in 0..4 {
            let Some(hub) = &mut self.hub else { break };
            let may_read = hub.ends.get(&connection).is_some_and(|end| end.session.may_read());
            let Some(frame) =
                self.wires.get_mut(&connection).filter(|_| may_read).and_then(|wire| wire.to_hub.frame())
            else {
                break;
            };
            hub.hear(connection, &frame, &self.tables, self.now)?;
            hub.turn(&self.tables, self.now)?;
        }
        Ok(())
    }

    /// A connection task takes what the dispatcher has for it.
    fn push(&mut self, which: usize) {
        let connection = self.spokes.get(which).and_then(|spoke| spoke.link);
        if let (Some(hub), Some(connection)) = (&mut self.hub, connection) {
            hub.take_pushes(connection);
        }
    }

    // ---- the database and time

    fn write(&mut self) -> Result<(), Broken> {
        let jobs = 1 + self.random.below(6);
        match &mut self.hub {
            Some(hub) => hub.write(jobs, &mut self.tables, self.now),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), Broken> {
        let Some(hub) = &mut self.hub else { return Ok(()) };
        let Some(work) = self.random.take(&mut hub.work) else { return Ok(()) };
        let page = 1 + self.random.below(40);
        hub.finish(work, page, &self.tables, self.now)
    }

    fn time_passes(&mut self) -> Result<(), Broken> {
        let millis = if self.random.once_in(12) { 1_500 } else { 30 };
        self.now += Duration::from_millis(u64::try_from(self.random.below(millis)).unwrap_or(0));
        self.timers()
    }

    /// Sessions do what is due.
    fn timers(&mut self) -> Result<(), Broken> {
        for which in 0..SPOKES {
            let late = self
                .spokes
                .get_mut(which)
                .is_some_and(|spoke| spoke.link.is_some() && spoke.session.handle_timeout(self.now).is_err());
            if late {
                self.disconnect(which);
            }
        }
        let Some(hub) = &mut self.hub else { return Ok(()) };
        let now = self.now;
        let late = |end: &mut super::hub::End| end.session.handle_timeout(now).is_err();
        let gone: Vec<_> = hub.ends.iter_mut().filter_map(|(id, end)| late(end).then_some(*id)).collect();
        for connection in gone {
            hub.gone(connection, &self.tables)?;
            if let Some(wire) = self.wires.get_mut(&connection) {
                wire.cut = true;
            }
        }
        Ok(())
    }
}

/// Parked events of a group, as a selection would find them: one, or a process from its first one on.
fn choose_parked(random: &mut Random, tables: &Tables, group: u32) -> Option<(Vec<(Position, u16)>, Act)> {
    let rows = tables.groups.get(&group)?;
    let positions: Vec<_> = rows.parked.keys().copied().collect();
    let chosen = random.pick(&positions)?;
    let row = rows.parked.get(&chosen)?;
    let slot = proto::slot(&rows.group.topic.domain, &row.pid);
    let whole = random.once_in(3);
    if random.once_in(4) && !whole {
        return Some((vec![(chosen, slot)], Act::Discard { reason: "never mind".to_owned() }));
    }
    if !row.blocks && !whole {
        return Some((vec![(chosen, slot)], Act::Replay));
    }
    let of_pid = rows.parked.iter().filter(|(_, other)| other.pid == row.pid);
    let mut events: Vec<_> = of_pid.map(|(&position, _)| (position, slot)).collect();
    events.truncate(1 + random.below(events.len()));
    Some((events, Act::Replay))
}
