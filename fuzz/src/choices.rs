//! Turns bytes into decisions, and decisions into things of the protocol. When the bytes are used
//! up, every decision is the first.

use std::sync::Arc;

use eventflow_proto::chain::{Chain, Effect, Later};
use eventflow_proto::message::{Answer, Link, Offer, Request, Scope, Verdict, Wait};
use eventflow_proto::parked::{ParkedAct, ParkedCursor, ParkedRequest, ParkedSelection, UnparkMode};
use eventflow_proto::read::{Query, Window};
use eventflow_proto::recurrence::{Recurrence, Rule};
use eventflow_proto::schedule::{
    Recurring, ScheduleChange, ScheduleCursor, ScheduleQuery, ScheduleRequest, ScheduleScope, ScheduleWish,
    When, Which,
};
use eventflow_proto::{
    Attempt, Cpid, CronText, Data, Domain, Eid, Event, EventId, EventName, Expectation, Expected, GroupName,
    ListenerId, Metadata, NameFilter, NewEvent, Order, Pid, Position, Refusal, ScheduleKey, ServiceName,
    Start, Timestamp, Topic, Version, ZoneName,
};

/// Decisions that are still to be made.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All that `bytes` can decide.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there is nothing left to decide.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// One of `ends` ways.
    pub fn way(&mut self, ends: u8) -> u8 {
        self.byte() % ends
    }

    /// Yes or no.
    pub fn yes(&mut self) -> bool {
        self.way(2) == 1
    }

    /// A number, often small, sometimes at an end.
    pub fn number(&mut self) -> u64 {
        match self.way(8) {
            0..=4 => u64::from(self.byte()),
            5 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            6 => u64::MAX - u64::from(self.byte()),
            _ => 1 << self.way(64),
        }
    }

    /// A smaller number of the same kind.
    pub fn small(&mut self) -> u32 {
        u32::try_from(self.number() & u64::from(u32::MAX)).unwrap_or(0)
    }

    /// The next few bytes as they are.
    pub fn bytes(&mut self) -> &'a [u8] {
        let wish = usize::from(self.byte());
        let (bytes, rest) = self.0.split_at(wish.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// A short text, with a character of several bytes in some.
    pub fn text(&mut self) -> String {
        let length = match self.way(16) {
            15 => 128,
            short => usize::from(short),
        };
        let letters = ['a', 'b', 'ö', '0', ' ', '漢'];
        (0..length).map(|_| letters[usize::from(self.byte()) % letters.len()]).collect()
    }

    /// A name: a text that is one, or `x`.
    fn name<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> T {
        let text = self.text();
        parse(&text).or_else(|| parse("x")).expect("x is every kind of name")
    }

    /// A list of a few.
    pub fn some<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.way(4)).map(|_| one(self)).collect()
    }

    /// One or none.
    pub fn maybe<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| one(self))
    }

    /// A domain.
    pub fn domain(&mut self) -> Domain {
        self.name(|text| Domain::parse(text).ok())
    }

    /// A pid.
    pub fn pid(&mut self) -> Pid {
        self.name(|text| Pid::parse(text).ok())
    }

    /// A group.
    pub fn group(&mut self) -> GroupName {
        self.name(|text| GroupName::parse(text).ok())
    }

    /// A service.
    pub fn service(&mut self) -> ServiceName {
        self.name(|text| ServiceName::parse(text).ok())
    }

    /// An event id.
    pub fn event_id(&mut self) -> EventId {
        self.name(|text| EventId::parse(text).ok())
    }

    fn event_name(&mut self) -> EventName {
        self.name(|text| EventName::parse(text).ok())
    }

    fn eid(&mut self) -> Eid {
        self.name(|text| Eid::parse(text).ok())
    }

    fn cpid(&mut self) -> Cpid {
        Cpid { domain: self.domain(), pid: self.pid() }
    }

    /// A time.
    pub fn time(&mut self) -> Timestamp {
        let millis = i64::from_le_bytes(self.number().to_le_bytes());
        Timestamp::from_millis(millis).unwrap_or_default()
    }

    /// A position.
    pub fn position(&mut self) -> Position {
        Position(self.number())
    }

    fn metadata(&mut self) -> Metadata {
        Metadata(self.some(|choices| (choices.text(), choices.text())).into_iter().collect())
    }

    fn data(&mut self) -> Data {
        match self.way(16) {
            0 => Data::empty(),
            1 => Data::from_stored("x".repeat(usize::from(self.byte()) * 4_000)),
            _ => Data::from_stored(self.text()),
        }
    }

    /// An event to append.
    pub fn new_event(&mut self) -> NewEvent {
        NewEvent {
            id: self.event_id(),
            timestamp: self.maybe(Self::time),
            domain: self.domain(),
            pid: self.pid(),
            name: self.event_name(),
            rid: self.maybe(Self::event_id),
            metadata: self.metadata(),
            data: self.data(),
            eids: self.some(Self::eid),
            cpids: self.some(Self::cpid),
        }
    }

    /// A recorded event.
    pub fn event(&mut self) -> Arc<Event> {
        let event = self.new_event();
        Arc::new(Event {
            position: self.position(),
            id: event.id,
            timestamp: self.time(),
            domain: event.domain,
            pid: event.pid,
            version: Version(self.number()),
            name: event.name,
            rid: event.rid,
            publisher: self.maybe(Self::service),
            metadata: event.metadata,
            data: event.data,
            eids: event.eids,
            cpids: event.cpids,
        })
    }

    fn names(&mut self) -> NameFilter {
        match self.way(3) {
            0 => NameFilter::All,
            1 => NameFilter::of(self.some(Self::event_name)).unwrap_or(NameFilter::All),
            _ => NameFilter::Only(self.some(Self::event_name)),
        }
    }

    /// A topic.
    pub fn topic(&mut self) -> Topic {
        Topic { domain: self.domain(), names: self.names() }
    }

    /// A start.
    pub fn start(&mut self) -> Start {
        match self.way(3) {
            0 => Start::Beginning,
            1 => Start::Now,
            _ => Start::At(self.position()),
        }
    }

    /// An order.
    pub fn order(&mut self) -> Order {
        if self.yes() { Order::ByPid } else { Order::None }
    }

    /// A scope.
    pub fn scope(&mut self) -> Scope {
        if self.yes() { Scope::Published } else { Scope::Stored }
    }

    fn expected(&mut self) -> Expected {
        match self.way(4) {
            0 => Expected::Any,
            1 => Expected::None,
            2 => Expected::Exists,
            _ => Expected::Exactly(Version(self.number())),
        }
    }

    fn append(&mut self) -> Request {
        let events = match self.way(32) {
            31 => vec![self.new_event(); usize::from(self.byte()) * 5],
            _ => self.some(Self::new_event),
        };
        let offer = match self.way(3) {
            0 => Offer::Publish,
            1 => Offer::Persist,
            _ => Offer::Restore(events.iter().map(|_| self.maybe(Self::service)).collect()),
        };
        let expectations = self.expectations();
        Request::Append { events, offer, expectations }
    }

    fn expectations(&mut self) -> Vec<Expectation> {
        self.some(|choices| Expectation {
            domain: choices.domain(),
            pid: choices.pid(),
            expected: choices.expected(),
        })
    }

    fn query(&mut self) -> Query {
        let (after, limit) = (self.position(), self.small());
        match self.way(7) {
            0 => Query::ById(self.event_id()),
            1 => Query::Log { after, limit },
            2 => Query::Eventlog {
                domain: self.domain(),
                pid: self.pid(),
                names: self.names(),
                window: Window { from: self.maybe(Self::time), until: self.maybe(Self::time) },
                after,
                limit,
            },
            3 => Query::ByCpid { domain: self.domain(), pid: self.pid(), after, limit },
            4 => Query::ByEid { domain: self.maybe(Self::domain), eid: self.eid(), after, limit },
            5 => Query::Pids { domain: self.domain(), after: self.maybe(Self::pid), limit },
            _ => Query::Domains { after: self.maybe(Self::domain), limit },
        }
    }

    fn link(&mut self) -> Link {
        let id = self.event_id();
        match self.way(4) {
            0 => Link::AddEid(id, self.eid()),
            1 => Link::RemoveEid(id, self.eid()),
            2 => Link::AddCpid(id, self.cpid()),
            _ => Link::RemoveCpid(id, self.cpid()),
        }
    }

    /// A request that is not about listeners.
    pub fn request(&mut self) -> Request {
        match self.way(14) {
            0..=2 => self.append(),
            3 => Request::Read(self.query()),
            4 => Request::Link(self.link()),
            5 => Request::DeleteEvent(self.event_id()),
            6 => Request::DeleteEventlog { domain: self.domain(), pid: self.pid() },
            7 => Request::Groups { after: self.maybe(Self::group) },
            8 => Request::Group(self.group()),
            9 => Request::Wait(self.wait()),
            10 => Request::Manage(self.group_command()),
            11 => Request::Schedule(self.schedule()),
            12 => Request::Parked(Box::new(self.parked())),
            _ => Request::Story(self.event_id()),
        }
    }

    fn which(&mut self) -> Which {
        if self.yes() { Which::Id(self.event_id()) } else { Which::Key(self.schedule_key()) }
    }

    fn schedule_key(&mut self) -> ScheduleKey {
        self.name(|text| ScheduleKey::parse(text).ok())
    }

    fn recurring(&mut self) -> Recurring {
        let rule = match self.way(2) {
            0 => Rule::Every { millis: self.number() },
            _ => Rule::Cron {
                expression: CronText::parse("0 3 * * *").expect("it is a text"),
                zone: ZoneName::parse("UTC").expect("it is a name"),
            },
        };
        let (end, jitter_ms) = (self.maybe(Self::time), self.small());
        let recurrence = Recurrence { end, jitter_ms, ..Recurrence::new(rule) };
        Recurring { start: self.time(), recurrence }
    }

    fn schedule(&mut self) -> ScheduleRequest {
        match self.way(4) {
            0 => {
                let when = match self.way(2) {
                    0 => When::At(self.time()),
                    _ => When::Recurring(Box::new(self.recurring())),
                };
                let (event, key) = (self.new_event(), self.maybe(Self::schedule_key));
                ScheduleRequest::Add(Box::new(ScheduleWish { event, when, key }))
            }
            1 => {
                let change = match self.way(3) {
                    0 => ScheduleChange::Cancel,
                    1 => ScheduleChange::Pause,
                    _ => ScheduleChange::Resume,
                };
                ScheduleRequest::Change { which: self.which(), change }
            }
            2 => ScheduleRequest::Show(self.which()),
            _ => ScheduleRequest::List(ScheduleQuery {
                scope: if self.yes() { ScheduleScope::Pending } else { ScheduleScope::All },
                domain: self.maybe(Self::domain),
                after: self.maybe(|choices| ScheduleCursor { due: choices.time(), id: choices.event_id() }),
                limit: self.small(),
            }),
        }
    }

    fn parked(&mut self) -> ParkedRequest {
        let selection = ParkedSelection {
            group: self.maybe(Self::group),
            domain: self.maybe(Self::domain),
            id: self.maybe(Self::event_id),
            pid: self.maybe(Self::pid),
            name: self.maybe(Self::event_name),
            reason: self.maybe(Self::reason),
            window: Window { from: self.maybe(Self::time), until: self.maybe(Self::time) },
        };
        let after = self.maybe(|choices| ParkedCursor {
            group: choices.small(),
            after: choices.position(),
            rest: choices.maybe(|choices| (choices.pid(), choices.position())),
        });
        match self.way(3) {
            0 => ParkedRequest::List { selection, after, limit: self.small() },
            1 => ParkedRequest::History(self.event_id()),
            _ => ParkedRequest::Unpark {
                selection,
                after,
                act: match self.maybe(Self::reason) {
                    Some(reason) => ParkedAct::Discard { reason },
                    None => ParkedAct::Replay,
                },
                mode: if self.yes() { UnparkMode::Take } else { UnparkMode::Look },
            },
        }
    }

    /// A wait.
    pub fn wait(&mut self) -> Wait {
        Wait {
            domain: self.domain(),
            pid: self.pid(),
            names: self.names(),
            after: Position(u64::from(self.small())),
            within_ms: self.small(),
        }
    }

    /// A listener's number.
    pub fn listener(&mut self) -> ListenerId {
        ListenerId(if self.way(16) == 0 { self.small() } else { u32::from(self.way(6)) })
    }

    fn reason(&mut self) -> String {
        match self.way(16) {
            0 => "ö".repeat(usize::from(self.byte()) * 4),
            _ => self.text(),
        }
    }

    /// An answer to a delivery.
    pub fn answer(&mut self) -> Answer {
        let verdict = match self.way(5) {
            0 => Verdict::Ack,
            1 => Verdict::Fail { reason: self.reason(), after_ms: self.maybe(Self::small) },
            2 => Verdict::Release,
            3 => Verdict::Park { reason: self.reason() },
            _ => Verdict::Progress,
        };
        let (listener, position) = (self.listener(), Position(u64::from(self.way(8))));
        Answer { listener, position, attempt: Attempt(u32::from(self.way(4))), verdict }
    }

    /// An ack with effects.
    pub fn chain(&mut self) -> Box<Chain> {
        let Answer { listener, position, attempt, .. } = self.answer();
        let effects = self.some(Self::effect);
        let expectations = self.expectations();
        Box::new(Chain { listener, position, attempt, effects, expectations })
    }

    fn effect(&mut self) -> Effect {
        match self.way(5) {
            0 => Effect::Publish(self.new_event()),
            1 => Effect::Persist(self.new_event()),
            2 => Effect::Schedule(Later {
                event: self.new_event(),
                due: self.time(),
                key: self.maybe(Self::key),
            }),
            3 => Effect::Cancel(if self.yes() { Which::Id(self.event_id()) } else { Which::Key(self.key()) }),
            _ => Effect::Link(self.link()),
        }
    }

    fn key(&mut self) -> ScheduleKey {
        ScheduleKey::parse(self.event_id().as_str()).expect("an id is a key, too")
    }

    /// A refusal.
    pub fn refusal(&mut self) -> Refusal {
        match self.way(8) {
            0 => Refusal::Stopping,
            1 => Refusal::Conflict { id: self.event_id(), position: self.position() },
            2 => Refusal::WrongVersion {
                domain: self.domain(),
                pid: self.pid(),
                expected: self.expected(),
                actual: Version(self.number()),
            },
            3 => Refusal::Invalid { reason: self.reason() },
            4 => Refusal::NotFound { what: self.reason() },
            5 => Refusal::Denied { reason: self.reason() },
            6 => Refusal::Unavailable { reason: self.reason() },
            _ => Refusal::LogRegressed { head: self.position(), answered: self.position() },
        }
    }
}
