//! One life of a hub: the real desk, waits and sessions, and in place of sockets, tables and tasks
//! queues that the world empties in whatever order it likes.
//!
//! It carries out effects as the dispatcher task and the connection tasks do. What it holds is lost
//! when the hub crashes.

mod chains;
mod database;
mod operator;
mod schedules;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use db::{
    ChangedGroup, Committed, Due, GroupChange, GroupId, OrphanRun, Settlements, Unpark, Unparked, Wanted,
};
use proto::message::{
    Appended, Consume, Offer, PROTOCOL_VERSION, Reply, Request, Subscribe, Verdict, Wait, Welcome,
};
use proto::schedule::ScheduleRequest;
use proto::session::{FromSpoke, HubSession, HubSessionConfig};
use proto::{Event, HubId, NewEvent, Pid, Position, Refusal, RequestId, ServiceName, Start, Timestamp};

use self::chains::UnderWay;
use self::operator::Asked;
pub(super) use self::operator::{change_of, pause, setting};
pub(super) use self::schedules::{Fault, GRACE, fire_elsewhere};
use self::schedules::{Firing, Schedules};
use super::super::connection::ConnectionId;
use super::super::desk::{Desk, key};
use super::super::effect::{Effect, Hands, LoadFor};
use super::super::feed::Feed;
use super::super::group::{Ended, MemberKey, Recovered};
use super::super::handle::Outgoing;
use super::super::waits::Waits;
use super::broken::{Broken, rule};
use super::random::Random;
use super::tables::Tables;
use super::watch::Watch;
use super::{KEEP_ALIVE, RULES, SERVICE};

pub(super) const SESSIONS: HubSessionConfig =
    HubSessionConfig { keep_alive: KEEP_ALIVE, hello_within: Duration::from_secs(5) };

/// Events that a batch has stored and nobody was told of.
type New = Vec<Arc<Event>>;

/// The hub's end of one connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) session: HubSession,
    /// What the dispatcher has for it and the connection task has not taken.
    pub(super) outbox: VecDeque<Outgoing>,
    /// Events and bytes that were taken and are not said to be written.
    pub(super) underway: (usize, usize),
}

/// What waits for the writer, in this order.
#[derive(Debug)]
pub(super) enum Job {
    Append { connection: ConnectionId, id: RequestId, events: Vec<NewEvent>, offer: Offer },
    Settle(Settlements),
    Orphans(Vec<OrphanRun>),
    Group { id: RequestId, wish: Box<Consume>, member: MemberKey, read: u64 },
    Delete { connection: ConnectionId, id: RequestId, position: Position },
    Chain(Box<UnderWay>),
    Schedule { connection: ConnectionId, id: RequestId, request: ScheduleRequest },
    Fire(Box<Firing>),
    Step(Box<Firing>),
    Unpark { ticket: u64, unpark: Unpark },
    Change(GroupChange),
}

/// What goes on outside the dispatcher and ends in any order.
#[derive(Debug)]
pub(super) enum Work {
    Load {
        reader: LoadFor,
        wanted: Wanted,
        after: Position,
        limit: u32,
    },
    Fetch {
        group: GroupId,
        pid: Pid,
        position: Position,
    },
    Settled {
        group: GroupId,
        held: bool,
    },
    OrphansDone,
    Group {
        id: RequestId,
        wish: Box<Consume>,
        member: MemberKey,
        group: Box<Result<Recovered, Refusal>>,
        read: u64,
    },
    Reply {
        connection: ConnectionId,
        id: RequestId,
        outcome: Result<Reply, Refusal>,
    },
    Look {
        connection: ConnectionId,
        id: RequestId,
        wait: Box<Wait>,
    },
    Told {
        connection: ConnectionId,
        id: RequestId,
        event: Arc<Event>,
    },
    Chained(Box<UnderWay>, Option<Result<Vec<Appended>, Refusal>>),
    Due {
        after: Option<Due>,
        until: Timestamp,
        limit: u32,
        page: Option<Vec<Due>>,
    },
    Fired(Box<Firing>),
    Unparked {
        group: GroupId,
        ticket: u64,
        unparked: Option<Unparked>,
    },
    Changed(Result<Vec<ChangedGroup>, Refusal>),
}

/// A wait that goes on, and what it was told before it had looked.
#[derive(Debug)]
struct Waiting {
    wait: Wait,
    looked: bool,
    told: Option<Arc<Event>>,
}

/// One life of a hub.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) life: u64,
    pub(super) desk: Desk,
    pub(super) ends: BTreeMap<ConnectionId, End>,
    pub(super) queue: VecDeque<Job>,
    pub(super) work: Vec<Work>,
    pub(super) commits: VecDeque<Committed>,
    pub(super) watch: Watch,
    pub(super) closing: bool,
    pub(super) schedules: Schedules,
    pub(super) asked: Asked,
    /// When the wheel wants to be asked again.
    wheel_at: Timestamp,
    waits: Waits<(ConnectionId, RequestId)>,
    waiting: BTreeMap<(ConnectionId, RequestId), Waiting>,
    consumers: BTreeMap<MemberKey, Option<GroupId>>,
    leaving: BTreeMap<MemberKey, RequestId>,
    effects: Vec<Effect>,
    /// The wall clock when the world's time was 0; each life has its own.
    clock: Timestamp,
}

impl Hub {
    pub(super) fn start(
        life: u64,
        tables: &mut Tables,
        clock: Timestamp,
        random: &mut Random,
        now: Duration,
    ) -> Self {
        let at = clock.plus(now);
        let mut desk = Desk::new(RULES, tables.head(), at);
        let mut watch = Watch::default();
        for group in tables.take_groups(life) {
            watch.learns(&group.group, &group.pauses);
            desk.add_group(group, at);
        }
        Self {
            life,
            desk,
            ends: BTreeMap::new(),
            queue: VecDeque::new(),
            work: Vec::new(),
            commits: VecDeque::new(),
            watch,
            closing: false,
            schedules: Schedules::start(random, at),
            asked: Asked::default(),
            wheel_at: at,
            waits: Waits::default(),
            waiting: BTreeMap::new(),
            consumers: BTreeMap::new(),
            leaving: BTreeMap::new(),
            effects: Vec::new(),
            clock,
        }
    }

    pub(super) fn at(&self, now: Duration) -> Timestamp {
        self.clock.plus(now)
    }

    /// When the dispatcher is to be pumped again, as the world's time.
    pub(super) fn wake_at(&self, now: Duration) -> Duration {
        self.desk.wake_at(self.at(now)).min(self.wheel_at).since(self.clock)
    }

    /// The members of a group, as the dispatcher task knows them.
    pub(super) fn members_of(&self, group: GroupId) -> usize {
        self.consumers.values().filter(|of| **of == Some(group)).count()
    }

    pub(super) fn connected(&mut self, connection: ConnectionId, now: Duration) {
        let session = HubSession::new(SESSIONS, now);
        self.ends.insert(connection, End { session, outbox: VecDeque::new(), underway: (0, 0) });
        self.desk.connected(connection);
    }

    pub(super) fn gone(&mut self, connection: ConnectionId, tables: &Tables) -> Result<(), Broken> {
        self.ends.remove(&connection);
        self.consumers.retain(|key, _| key.connection != connection);
        self.leaving.retain(|key, _| key.connection != connection);
        self.waiting.retain(|(of, _), _| *of != connection);
        self.desk.gone(connection);
        self.watch.gone(&self.desk, tables, connection)
    }

    // ---- what a connection hears

    /// Takes one frame; `false` if the connection has to be closed.
    pub(super) fn hear(
        &mut self,
        connection: ConnectionId,
        frame: &[u8],
        tables: &Tables,
        now: Duration,
    ) -> Result<bool, Broken> {
        let Some(end) = self.ends.get_mut(&connection) else { return Ok(false) };
        let said = match end.session.handle_frame(frame, now) {
            Ok(said) => said,
            Err(violation) => {
                return Err(Broken { rule: "a spoke keeps the protocol", seen: violation.to_string() });
            }
        };
        match said {
            Some(FromSpoke::Hello(_)) => {
                let welcome = welcome(self.life, tables.head(), self.at(now));
                if let Some(end) = self.ends.get_mut(&connection) {
                    end.session.welcome(welcome, now);
                }
            }
            Some(FromSpoke::Request { id, body: Request::Chain(chain) }) => {
                self.chain(connection, id, *chain, now);
            }
            Some(FromSpoke::Request { id, body }) => self.asked(connection, id, body),
            Some(FromSpoke::Answers(answers)) => {
                for answer in answers {
                    let member = key(connection, answer.listener);
                    let Some(group) = self.consumers.get(&member).copied().flatten() else { continue };
                    let given = (answer.position, answer.attempt);
                    let is_final = answer.verdict != Verdict::Progress;
                    let ended = self.desk.answered(group, connection, answer, self.at(now));
                    if ended != Ended::Stale {
                        self.watch.answered(tables, group, member, given, ended)?;
                    }
                    if is_final {
                        self.watch.back(member, given);
                    }
                }
            }
            Some(FromSpoke::Credit { listener, events }) => {
                let member = key(connection, listener);
                let group = self.consumers.get(&member).copied().flatten();
                self.desk.credit(member, group, events);
            }
            Some(FromSpoke::Enough(listener)) => {
                let member = key(connection, listener);
                if let Some(group) = self.consumers.get(&member).copied().flatten() {
                    self.desk.enough(member, group);
                }
            }
            Some(FromSpoke::Goodbye | FromSpoke::TrustKept(_)) | None => {}
        }
        Ok(true)
    }

    fn asked(&mut self, connection: ConnectionId, id: RequestId, body: Request) {
        match body {
            Request::Append { events, offer, .. } => {
                self.queue.push_back(Job::Append { connection, id, events, offer });
            }
            Request::Consume(wish) => {
                let member = key(connection, wish.listener);
                self.consumers.insert(member, None);
                let read = self.asked.changed;
                self.queue.push_back(Job::Group { id, wish: Box::new(wish), member, read });
            }
            Request::Subscribe(wish) => {
                let outcome = self.subscribe(connection, wish);
                self.reply(connection, id, outcome);
            }
            Request::Leave(listener) => {
                let member = key(connection, listener);
                let group = self.consumers.remove(&member).flatten();
                self.leaving.insert(member, id);
                self.watch.sent_away(member);
                self.desk.leave(member, group, &mut self.effects);
            }
            Request::Schedule(request) => self.asked_schedule(connection, id, request),
            Request::Wait(wait) => {
                // As the command does: put down first, then looked for.
                let _full = self.waits.add(wait.clone(), (connection, id));
                let waiting = Waiting { wait: wait.clone(), looked: false, told: None };
                self.waiting.insert((connection, id), waiting);
                self.work.push(Work::Look { connection, id, wait: Box::new(wait) });
            }
            Request::DeleteEvent(event) => {
                let position = event.as_str().rsplit('-').next().and_then(|text| text.parse().ok());
                let position = Position(position.unwrap_or(0));
                self.queue.push_back(Job::Delete { connection, id, position });
            }
            _ => {}
        }
    }

    fn subscribe(&mut self, connection: ConnectionId, wish: Subscribe) -> Result<Reply, Refusal> {
        let after = match wish.start {
            Start::Beginning => Position(0),
            Start::Now => self.desk.head(),
            Start::At(position) if position <= self.desk.head().next() => position.previous(),
            Start::At(position) => {
                return Err(Refusal::Invalid { reason: format!("there is no position {position} yet") });
            }
        };
        let feed = Feed::new(connection, wish.listener, wish.topic, wish.scope, after, wish.credit);
        if self.desk.subscribe(feed) { Ok(Reply::Listening { after }) } else { Err(Refusal::Stopping) }
    }

    fn reply(&mut self, connection: ConnectionId, id: RequestId, outcome: Result<Reply, Refusal>) {
        if let Some(end) = self.ends.get_mut(&connection) {
            end.session.reply(id, outcome);
        }
    }

    // ---- what the dispatcher wants

    /// One turn of the dispatcher and of the wheel, and everything that they want done.
    pub(super) fn turn(&mut self, tables: &Tables, now: Duration) -> Result<(), Broken> {
        let at = self.at(now);
        self.desk.pump(at, &mut self.effects);
        self.carry_out(tables)?;
        let stall = self.desk.stall(at);
        rule(stall.is_none(), "nothing that could be delivered is left lying", || format!("{stall:?}"))?;
        if !self.desk.is_closing() {
            self.wheel_at = self.schedules.turn(at, &mut self.queue, &mut self.work, tables)?;
        }
        Ok(())
    }

    /// Moves cursors as far as they go, as the last thing that a hub does.
    pub(super) fn sweep(&mut self, tables: &Tables) -> Result<(), Broken> {
        self.desk.sweep(&mut self.effects);
        self.carry_out(tables)
    }

    fn carry_out(&mut self, tables: &Tables) -> Result<(), Broken> {
        let effects = std::mem::take(&mut self.effects);
        let mut carrying = Carrying { hub: self, tables, seen: Ok(()) };
        effects.into_iter().for_each(|effect| effect.carry_out(&mut carrying));
        carrying.seen
    }

    fn deliver(
        &mut self,
        connection: ConnectionId,
        outgoing: &Outgoing,
        tables: &Tables,
    ) -> Result<(), Broken> {
        let Outgoing::Deliver { listener, attempt, event } = outgoing else { return Ok(()) };
        let member = key(connection, *listener);
        let group = self.consumers.get(&member).copied().flatten();
        let Some(group) = group else {
            let seen = format!("{member:?} gets {}", event.position);
            return Err(Broken { rule: "deliveries go to members only", seen });
        };
        self.watch.delivered(&self.desk, tables, group, member, *attempt, event)
    }

    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        if let Some(end) = self.ends.get_mut(&connection) {
            end.outbox.push_back(outgoing);
        }
    }

    // ---- what a connection says

    /// Takes what the dispatcher has for a connection.
    pub(super) fn take_pushes(&mut self, connection: ConnectionId) {
        let Some(end) = self.ends.get_mut(&connection) else { return };
        for push in end.outbox.drain(..) {
            match push {
                Outgoing::Deliver { listener, attempt, event } => {
                    end.underway = (end.underway.0 + 1, end.underway.1 + event.weight());
                    end.session.deliver(listener, attempt, event);
                }
                Outgoing::Push { listener, event } => {
                    end.underway = (end.underway.0 + 1, end.underway.1 + event.weight());
                    end.session.push(listener, event);
                }
                Outgoing::Lagged { listener, behind } => end.session.lagged(listener, behind),
                Outgoing::CaughtUp { listener, position } => end.session.caught_up(listener, position),
                Outgoing::Dropped { listener, refusal } => end.session.dropped(listener, refusal),
                Outgoing::Deadline { listener, within } => end.session.deadline(listener, within),
                Outgoing::Enough { listener } => end.session.enough(listener),
            }
        }
    }

    /// Says that everything which was taken is written, if it is.
    pub(super) fn give_back(&mut self, connection: ConnectionId) {
        let Some(end) = self.ends.get_mut(&connection) else { return };
        if end.underway.0 > 0 && end.session.unsent_messages() == 0 {
            let (events, bytes) = std::mem::take(&mut end.underway);
            self.desk.written(connection, events, bytes);
        }
    }
}

/// A hub that carries out effects, and what was seen of it.
struct Carrying<'a> {
    hub: &'a mut Hub,
    tables: &'a Tables,
    seen: Result<(), Broken>,
}

impl Hands for Carrying<'_> {
    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        if self.seen.is_ok() {
            self.seen = self.hub.deliver(connection, &outgoing, self.tables);
        }
        self.hub.send(connection, outgoing);
    }

    fn left(&mut self, member: MemberKey) {
        if self.seen.is_ok() {
            self.seen = self.hub.watch.left(member, self.tables);
        }
        if let Some(id) = self.hub.leaving.remove(&member) {
            let connection = member.connection;
            self.hub.work.push(Work::Reply { connection, id, outcome: Ok(Reply::Left) });
        }
    }

    fn load(&mut self, reader: LoadFor, wanted: Wanted, after: Position, limit: u32) {
        self.hub.work.push(Work::Load { reader, wanted, after, limit });
    }

    fn fetch(&mut self, group: GroupId, pid: Pid, position: Position) {
        self.hub.work.push(Work::Fetch { group, pid, position });
    }

    fn settle(&mut self, settlements: Settlements) {
        self.hub.queue.push_back(Job::Settle(settlements));
    }

    fn orphans(&mut self, runs: Vec<OrphanRun>) {
        self.hub.queue.push_back(Job::Orphans(runs));
    }

    fn unpark(&mut self, ticket: u64, unpark: Unpark) {
        let begun = self.hub.begin_unpark(ticket, unpark);
        self.seen = std::mem::replace(&mut self.seen, Ok(())).and(begun);
    }
}

fn welcome(life: u64, head: Position, now: Timestamp) -> Welcome {
    Welcome {
        protocol: PROTOCOL_VERSION,
        hub: HubId::parse(&format!("hub.{life}")).expect("a dot and digits make a name"),
        service: ServiceName::parse(SERVICE).expect("a constant"),
        incarnation: 1,
        head,
        now,
        keep_alive_ms: u32::try_from(KEEP_ALIVE.as_millis()).unwrap_or(u32::MAX),
    }
}
