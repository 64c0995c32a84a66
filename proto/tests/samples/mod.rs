//! Small valid things to say, and both ends with an open connection.

// Every test file uses a part of it.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use eventflow_proto::message::{
    Answer, Consume, Hello, HubMessage, Offer, Reply, Request, Scope, SpokeMessage, Subscribe, Verdict,
    Welcome,
};
use eventflow_proto::session::{
    FromHub, FromSpoke, HubSession, HubSessionConfig, Listen, SpokeSession, SpokeSessionConfig, Violation,
};
use eventflow_proto::{
    Attempt, Data, Domain, Event, EventId, EventName, GroupName, HubId, ListenerId, Metadata, NameFilter,
    NewEvent, Order, Pid, Position, Refusal, RequestId, ServiceName, Start, Timestamp, Topic, Version, wire,
};

pub(crate) const START: Duration = Duration::from_secs(100);
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(10);
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(5);

pub(crate) const HUB: HubSessionConfig =
    HubSessionConfig { keep_alive: KEEP_ALIVE, hello_within: HELLO_WITHIN };

pub(crate) fn spoke() -> SpokeSessionConfig {
    SpokeSessionConfig { software: "test".into(), welcome_within: HELLO_WITHIN }
}

pub(crate) fn hello() -> SpokeMessage {
    SpokeMessage::Hello(Hello { protocol_min: 1, protocol_max: 1, software: "test".into() })
}

pub(crate) fn welcome(incarnation: u64) -> Welcome {
    Welcome {
        protocol: 1,
        hub: HubId::parse("h.a").unwrap(),
        service: ServiceName::parse("s").unwrap(),
        incarnation,
        head: Position(0),
        now: Timestamp::from_millis(0).unwrap(),
        keep_alive_ms: u32::try_from(KEEP_ALIVE.as_millis()).unwrap(),
    }
}

pub(crate) fn bytes<M: bincode::Encode>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes).unwrap();
    bytes
}

/// A hub that has said Welcome, and nothing to send.
pub(crate) fn open_hub() -> HubSession {
    let mut hub = HubSession::new(HUB, START);
    assert!(matches!(say(&mut hub, &hello()), Ok(Some(FromSpoke::Hello(_)))));
    hub.welcome(welcome(1), START);
    assert!(matches!(sent(&mut hub)[..], [HubMessage::Welcome(_)]));
    hub
}

pub(crate) fn say(hub: &mut HubSession, message: &SpokeMessage) -> Result<Option<FromSpoke>, Violation> {
    hub.handle_frame(&bytes(message), START)
}

pub(crate) fn ask(hub: &mut HubSession, id: u64, body: Request) -> Result<Option<FromSpoke>, Violation> {
    say(hub, &SpokeMessage::Request { id: RequestId(id), body })
}

/// All that the hub has to say now.
pub(crate) fn sent(hub: &mut HubSession) -> Vec<HubMessage> {
    let mut messages = Vec::new();
    let mut buffer = Vec::new();
    while hub.poll_frame(&mut buffer) {
        messages.push(wire::decode(&buffer).unwrap());
        buffer.clear();
    }
    messages
}

/// A spoke that has got Welcome, and nothing to send.
pub(crate) fn open_spoke() -> SpokeSession {
    let mut spoke = SpokeSession::new(spoke());
    connect(&mut spoke, 1);
    spoke
}

/// A new link up to its Welcome.
pub(crate) fn connect(spoke: &mut SpokeSession, incarnation: u64) {
    spoke.connected(START);
    assert_eq!(said(spoke), [hello()]);
    tell(spoke, &HubMessage::Welcome(welcome(incarnation))).unwrap();
    assert!(spoke.is_open());
}

pub(crate) fn tell(spoke: &mut SpokeSession, message: &HubMessage) -> Result<(), Violation> {
    spoke.handle_frame(&bytes(message), START)
}

/// All that the spoke has to say now.
pub(crate) fn said(spoke: &mut SpokeSession) -> Vec<SpokeMessage> {
    let mut messages = Vec::new();
    let mut buffer = Vec::new();
    while spoke.poll_frame(&mut buffer) {
        messages.push(wire::decode(&buffer).unwrap());
        buffer.clear();
    }
    messages
}

/// The numbers of the requests among `messages`.
pub(crate) fn ids(messages: &[SpokeMessage]) -> Vec<RequestId> {
    let id = |message: &SpokeMessage| match message {
        SpokeMessage::Request { id, .. } => Some(*id),
        _ => None,
    };
    messages.iter().filter_map(id).collect()
}

pub(crate) fn domain() -> Domain {
    Domain::parse("order").unwrap()
}

pub(crate) fn topic() -> Topic {
    Topic { domain: domain(), names: NameFilter::All }
}

pub(crate) fn new_event(id: &str) -> NewEvent {
    let (id, pid) = (EventId::parse(id).unwrap(), Pid::parse("1").unwrap());
    NewEvent::new(id, domain(), pid, EventName::parse("order placed").unwrap())
}

pub(crate) fn append(events: Vec<NewEvent>) -> Request {
    Request::Append { events, offer: Offer::Publish, expectations: Vec::new() }
}

pub(crate) fn event(position: u64) -> Arc<Event> {
    recorded(position, new_event(&format!("e{position}")))
}

pub(crate) fn recorded(position: u64, event: NewEvent) -> Arc<Event> {
    Arc::new(Event {
        position: Position(position),
        id: event.id,
        timestamp: Timestamp::from_millis(0).unwrap(),
        domain: event.domain,
        pid: event.pid,
        version: Version(position),
        name: event.name,
        rid: None,
        publisher: None,
        metadata: Metadata::default(),
        data: Data::empty(),
        eids: Vec::new(),
        cpids: Vec::new(),
    })
}

pub(crate) fn consume(listener: u32, credit: u32) -> Request {
    Request::Consume(Consume {
        listener: ListenerId(listener),
        group: GroupName::parse("g").unwrap(),
        topic: topic(),
        start: Start::Beginning,
        order: Order::ByPid,
        credit,
    })
}

pub(crate) fn subscribe(listener: u32, start: Start, credit: u32) -> Request {
    let listener = ListenerId(listener);
    Request::Subscribe(Subscribe { listener, topic: None, scope: Scope::Published, start, credit })
}

pub(crate) fn consumer(credit: u32) -> Listen {
    let group = GroupName::parse("g").unwrap();
    Listen::Consume { group, topic: topic(), start: Start::Beginning, order: Order::ByPid, credit }
}

pub(crate) fn subscription(start: Start, credit: u32) -> Listen {
    Listen::Subscribe { topic: None, scope: Scope::Published, start, credit }
}

pub(crate) fn ack(listener: u32, position: u64) -> Answer {
    Answer {
        listener: ListenerId(listener),
        position: Position(position),
        attempt: Attempt(1),
        verdict: Verdict::Ack,
    }
}

pub(crate) const LISTENER: ListenerId = ListenerId(1);

pub(crate) fn groups() -> Request {
    Request::Groups { after: None }
}

pub(crate) fn events(spoke: &mut SpokeSession) -> Vec<FromHub> {
    std::iter::from_fn(|| spoke.poll_event()).collect()
}

pub(crate) fn reply(
    spoke: &mut SpokeSession,
    id: RequestId,
    outcome: Result<Reply, Refusal>,
) -> Result<(), Violation> {
    tell(spoke, &HubMessage::Reply { id, outcome })
}

/// A spoke with one listener that is open after position 10.
pub(crate) fn listening(listen: Listen) -> SpokeSession {
    let mut spoke = open_spoke();
    spoke.listen(listen).unwrap();
    let id = ids(&said(&mut spoke))[0];
    reply(&mut spoke, id, Ok(Reply::Listening { after: Position(10) })).unwrap();
    events(&mut spoke);
    spoke
}

pub(crate) fn deliver(position: u64) -> HubMessage {
    HubMessage::Deliver { listener: LISTENER, attempt: Attempt(1), event: event(position) }
}

pub(crate) fn push(position: u64) -> HubMessage {
    HubMessage::Push { listener: LISTENER, event: event(position) }
}

/// What the next link says first.
pub(crate) fn said_again(spoke: &mut SpokeSession) -> Vec<SpokeMessage> {
    spoke.disconnected();
    connect(spoke, 1);
    events(spoke);
    said(spoke)
}
