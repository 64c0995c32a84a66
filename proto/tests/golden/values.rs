//! One value for every variant that can be on the wire, and the messages around them.

use std::sync::Arc;

use eventflow_proto::admin::{AdminReply, AdminRequest};
use eventflow_proto::chain::{Chained, Effect};
use eventflow_proto::enrol::{EnrolReply, EnrolRequest, Enrolled};
use eventflow_proto::group::{GroupCommand, GroupPart, MembersFate};
use eventflow_proto::message::{
    Answer, Appended, Consume, Expulsion, Hello, HubMessage, Link, Offer, Reply, Request, Scope,
    SpokeMessage, Stored, Subscribe, Verdict, Wait, Welcome,
};
use eventflow_proto::parked::{ParkedAct, ParkedReply, ParkedRequest, UnparkMode, Unparked};
use eventflow_proto::read::{More, Page, Query, Window};
use eventflow_proto::recurrence::{DoubledTime, Misfire, Rule, SkippedTime};
use eventflow_proto::report::{
    DeliveryState, DeliveryStory, EventStory, GroupReport, OutboxState, OutboxStory,
};
use eventflow_proto::schedule::Which;
use eventflow_proto::{
    Attempt, Cpid, Data, Domain, Eid, Event, EventId, EventName, Expectation, Expected, GroupName, HubId,
    ListenerId, Metadata, NameFilter, NewEvent, Order, ParkPolicy, Pid, Position, Refusal, RequestId,
    ServiceName, Start, Timestamp, Topic, Version, access, certs, rotation, schedule, token, wire,
};

use super::{Golden, admin, golden, groups, parked};

#[path = "schedules.rs"]
mod schedules;

/// Everything, by type.
pub(crate) fn all() -> Vec<Golden> {
    [
        spoke_messages(),
        requests(),
        wishes(),
        queries(),
        hub_messages(),
        replies(),
        refusals(),
        reports(),
        enrolment(),
        super::chains::values(),
        groups::all(),
        schedules::all(),
        parked::values(),
        admin::values(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether an enum refuses a variant number.
type Refuses = fn(u8) -> bool;

/// Every enum of the wire.
pub(crate) fn enums() -> Vec<(&'static str, Refuses)> {
    fn refuses<T: for<'frame> bincode::BorrowDecode<'frame, ()>>(number: u8) -> bool {
        let Err(error) = wire::decode::<T>(&[number]) else { return false };
        error.to_string().contains("UnexpectedVariant")
    }
    vec![
        ("SpokeMessage", refuses::<SpokeMessage>),
        ("Request", refuses::<Request>),
        ("Offer", refuses::<Offer>),
        ("Scope", refuses::<Scope>),
        ("Link", refuses::<Link>),
        ("Verdict", refuses::<Verdict>),
        ("Start", refuses::<Start>),
        ("Order", refuses::<Order>),
        ("NameFilter", refuses::<NameFilter>),
        ("Expected", refuses::<Expected>),
        ("Query", refuses::<Query>),
        ("HubMessage", refuses::<HubMessage>),
        ("Reply", refuses::<Reply>),
        ("Stored", refuses::<Stored>),
        ("Page", refuses::<Page>),
        ("More", refuses::<More>),
        ("Refusal", refuses::<Refusal>),
        ("DeliveryState", refuses::<DeliveryState>),
        ("OutboxState", refuses::<OutboxState>),
        ("EnrolReply", refuses::<EnrolReply>),
        ("Effect", refuses::<Effect>),
        ("Which", refuses::<Which>),
        ("Chained", refuses::<Chained>),
        ("GroupCommand", refuses::<GroupCommand>),
        ("GroupPart", refuses::<GroupPart>),
        ("MembersFate", refuses::<MembersFate>),
        ("ParkPolicy", refuses::<ParkPolicy>),
        ("ScheduleRequest", refuses::<schedule::ScheduleRequest>),
        ("ScheduleReply", refuses::<schedule::ScheduleReply>),
        ("When", refuses::<schedule::When>),
        ("ScheduleChange", refuses::<schedule::ScheduleChange>),
        ("ScheduleScope", refuses::<schedule::ScheduleScope>),
        ("Timing", refuses::<schedule::Timing>),
        ("Standing", refuses::<schedule::Standing>),
        ("ScheduleState", refuses::<schedule::ScheduleState>),
        ("Rule", refuses::<Rule>),
        ("Misfire", refuses::<Misfire>),
        ("SkippedTime", refuses::<SkippedTime>),
        ("DoubledTime", refuses::<DoubledTime>),
        ("ParkedRequest", refuses::<ParkedRequest>),
        ("ParkedAct", refuses::<ParkedAct>),
        ("UnparkMode", refuses::<UnparkMode>),
        ("ParkedReply", refuses::<ParkedReply>),
        ("Unparked", refuses::<Unparked>),
        ("Expulsion", refuses::<Expulsion>),
        ("AdminRequest", refuses::<AdminRequest>),
        ("AdminReply", refuses::<AdminReply>),
        ("GrantRequest", refuses::<access::GrantRequest>),
        ("GrantReply", refuses::<access::GrantReply>),
        ("Subject", refuses::<access::Subject>),
        ("Action", refuses::<access::Action>),
        ("InForce", refuses::<access::InForce>),
        ("TokenRequest", refuses::<token::TokenRequest>),
        ("TokenReply", refuses::<token::TokenReply>),
        ("CertsRequest", refuses::<certs::CertsRequest>),
        ("CertsReply", refuses::<certs::CertsReply>),
        ("Holder", refuses::<certs::Holder>),
        ("RotationKind", refuses::<rotation::RotationKind>),
        ("Pace", refuses::<rotation::Pace>),
        ("RotationStep", refuses::<rotation::RotationStep>),
        ("Begun", refuses::<rotation::Begun>),
        ("AuthorityState", refuses::<rotation::AuthorityState>),
        ("KeyPlace", refuses::<rotation::KeyPlace>),
        ("WaitsFor", refuses::<rotation::WaitsFor>),
    ]
}

fn spoke_messages() -> Vec<Golden> {
    let answer = Answer {
        listener: ListenerId(3),
        position: Position(1_000_000),
        attempt: Attempt(2),
        verdict: Verdict::Fail { reason: "no route".into(), after_ms: Some(1_500) },
    };
    let hello = Hello { protocol_min: 1, protocol_max: 1, software: "eventflow 0.1.0".into() };
    vec![
        golden("SpokeMessage/Hello", SpokeMessage::Hello(hello)),
        golden("SpokeMessage/Request", SpokeMessage::Request { id: RequestId(300), body: append() }),
        golden("SpokeMessage/Answers", SpokeMessage::Answers(vec![answer])),
        golden("SpokeMessage/Credit", SpokeMessage::Credit { listener: ListenerId(3), events: 70_000 }),
        golden("SpokeMessage/Ping", SpokeMessage::Ping(u64::MAX)),
        golden("SpokeMessage/Pong", SpokeMessage::Pong(0)),
        golden("SpokeMessage/Goodbye", SpokeMessage::Goodbye),
        golden("SpokeMessage/TrustKept", SpokeMessage::TrustKept(3)),
        golden("SpokeMessage/Enough", SpokeMessage::Enough(ListenerId(3))),
    ]
}

fn requests() -> Vec<Golden> {
    let consume = Consume {
        listener: ListenerId(1),
        group: group(),
        topic: topic(),
        start: Start::Beginning,
        order: Order::ByPid,
        credit: 32,
    };
    let subscribe = Subscribe {
        listener: ListenerId(2),
        topic: None,
        scope: Scope::Stored,
        start: Start::At(Position(17)),
        credit: 4_096,
    };
    let names =
        NameFilter::Only(vec![EventName::parse("failed").unwrap(), EventName::parse("success").unwrap()]);
    let wait = Wait { domain: domain(), pid: pid(), names, after: Position(300), within_ms: 10_000 };
    vec![
        golden("Request/Append", append()),
        golden("Request/Consume", Request::Consume(consume)),
        golden("Request/Subscribe", Request::Subscribe(subscribe)),
        golden("Request/Leave", Request::Leave(ListenerId(251))),
        golden("Request/Read", Request::Read(Query::ById(id()))),
        golden("Request/Link", Request::Link(Link::AddEid(id(), eid()))),
        golden("Request/DeleteEvent", Request::DeleteEvent(id())),
        golden("Request/DeleteEventlog", Request::DeleteEventlog { domain: domain(), pid: pid() }),
        golden("Request/Groups", Request::Groups { after: Some(group()) }),
        golden("Request/Group", Request::Group(group())),
        golden("Request/Story", Request::Story(id())),
        golden("Request/Wait", Request::Wait(wait)),
        golden("Request/Manage", Request::Manage(groups::command())),
        golden("Request/Parked", Request::Parked(Box::new(parked::history()))),
        golden("Request/Admin", Request::Admin(Box::new(AdminRequest::Audit(admin::audit())))),
        golden("Request/Renew", Request::Renew { csr: vec![0x30, 0] }),
        golden("Request/Outbox", Request::Outbox(id())),
    ]
}

fn wishes() -> Vec<Golden> {
    let fail = Verdict::Fail { reason: String::new(), after_ms: None };
    vec![
        golden("Offer/Publish", Offer::Publish),
        golden("Offer/Persist", Offer::Persist),
        golden("Offer/Restore", Offer::Restore(vec![Some(service()), None])),
        golden("Scope/Published", Scope::Published),
        golden("Scope/Stored", Scope::Stored),
        golden("Link/AddEid", Link::AddEid(id(), eid())),
        golden("Link/RemoveEid", Link::RemoveEid(id(), eid())),
        golden("Link/AddCpid", Link::AddCpid(id(), cpid())),
        golden("Link/RemoveCpid", Link::RemoveCpid(id(), cpid())),
        golden("Verdict/Ack", Verdict::Ack),
        golden("Verdict/Fail", fail),
        golden("Verdict/Release", Verdict::Release),
        golden("Verdict/Park", Verdict::Park { reason: "ü".into() }),
        golden("Verdict/Progress", Verdict::Progress),
        golden("Start/Beginning", Start::Beginning),
        golden("Start/Now", Start::Now),
        golden("Start/At", Start::At(Position(1 << 40))),
        golden("Order/ByPid", Order::ByPid),
        golden("Order/None", Order::None),
        golden("NameFilter/All", NameFilter::All),
        golden("NameFilter/Only", NameFilter::Only(vec![name()])),
        golden("Expected/Any", Expected::Any),
        golden("Expected/None", Expected::None),
        golden("Expected/Exists", Expected::Exists),
        golden("Expected/Exactly", Expected::Exactly(Version(70_000))),
    ]
}

fn queries() -> Vec<Golden> {
    let (after, limit) = (Position(5), 1_000);
    let window = Window { from: Some(time(-1)), until: None };
    let eventlog =
        Query::Eventlog { domain: domain(), pid: pid(), names: NameFilter::All, window, after, limit };
    vec![
        golden("Query/ById", Query::ById(id())),
        golden("Query/Log", Query::Log { after, limit }),
        golden("Query/Eventlog", eventlog),
        golden("Query/ByCpid", Query::ByCpid { domain: domain(), pid: pid(), after, limit }),
        golden("Query/ByEid", Query::ByEid { domain: None, eid: eid(), after, limit }),
        golden("Query/Pids", Query::Pids { domain: domain(), after: Some(pid()), limit }),
        golden("Query/Domains", Query::Domains { after: Some(domain()), limit }),
    ]
}

fn hub_messages() -> Vec<Golden> {
    let welcome = Welcome {
        protocol: 1,
        hub: HubId::parse("01J9.hub-a").unwrap(),
        service: service(),
        incarnation: 7,
        head: Position(123_456_789),
        now: time(1_760_000_000_123),
        keep_alive_ms: 10_000,
    };
    let (listener, event) = (ListenerId(9), Arc::new(event()));
    let refused = HubMessage::Reply { id: RequestId(1), outcome: Err(Refusal::Stopping) };
    vec![
        golden("HubMessage/Welcome", HubMessage::Welcome(welcome)),
        golden("HubMessage/Reply", HubMessage::Reply { id: RequestId(1), outcome: Ok(Reply::Left) }),
        golden("HubMessage/Reply/refused", refused),
        golden(
            "HubMessage/Deliver",
            HubMessage::Deliver { listener, attempt: Attempt(1), event: event.clone() },
        ),
        golden("HubMessage/Push", HubMessage::Push { listener, event }),
        golden("HubMessage/Lagged", HubMessage::Lagged { listener, behind: 10_000 }),
        golden("HubMessage/CaughtUp", HubMessage::CaughtUp { listener, position: Position(250) }),
        golden("HubMessage/Dropped", HubMessage::Dropped { listener, refusal: Refusal::Stopping }),
        golden("HubMessage/Ping", HubMessage::Ping(1)),
        golden("HubMessage/Pong", HubMessage::Pong(251)),
        golden("HubMessage/GoAway", HubMessage::GoAway { reason: "update".into(), retry_after_ms: 65_536 }),
        golden("HubMessage/Deadline", HubMessage::Deadline { listener, within_ms: 60_000 }),
        golden("HubMessage/Enough", HubMessage::Enough(listener)),
        golden("HubMessage/Trust", HubMessage::Trust(admin::trust())),
        golden("Expulsion/Unknown", Expulsion::Unknown),
        golden("Expulsion/Ended", Expulsion::Ended),
        golden("Expulsion/Revoked", Expulsion::Revoked),
        golden("HubMessage/Renew", HubMessage::Renew { within_ms: 30_000 }),
        golden(
            "HubMessage/Expelled",
            HubMessage::Expelled { cause: Expulsion::Revoked, reason: "key stolen".into() },
        ),
    ]
}

fn replies() -> Vec<Golden> {
    let appended = |stored| Appended { position: Position(8), version: Version(1), stored };
    let events = Page::Events { events: vec![event()], through: Position(40), more: More::Maybe };
    vec![
        golden("Reply/Appended", Reply::Appended(vec![appended(Stored::Now), appended(Stored::Before)])),
        golden("Reply/Listening", Reply::Listening { after: Position(41) }),
        golden("Reply/Left", Reply::Left),
        golden("Reply/Page", Reply::Page(events.clone())),
        golden("Reply/Changed", Reply::Changed(2)),
        golden("Reply/Groups", Reply::Groups(vec![group_report()])),
        golden("Reply/Story", Reply::Story(Box::new(story()))),
        golden("Reply/Waited", Reply::Waited(Some(Arc::new(event())))),
        golden("Reply/GroupStatus", Reply::GroupStatus(vec![groups::status()])),
        golden("Reply/Parked", Reply::Parked(parked::page())),
        golden("Reply/Admin", Reply::Admin(Box::new(AdminReply::Audit(admin::lines())))),
        golden("Reply/Renewed", Reply::Renewed(Box::new(enrolled()))),
        golden("Reply/Outbox", Reply::Outbox(Some(Box::new(handed_over())))),
        golden("Stored/Now", Stored::Now),
        golden("Stored/Before", Stored::Before),
        golden("Page/Events", events),
        golden("Page/Pids", Page::Pids { pids: vec![pid()], more: More::No }),
        golden("Page/Domains", Page::Domains { domains: vec![domain()], more: More::No }),
        golden("More/No", More::No),
        golden("More/Maybe", More::Maybe),
    ]
}

fn refusals() -> Vec<Golden> {
    let wrong_version = Refusal::WrongVersion {
        domain: domain(),
        pid: pid(),
        expected: Expected::Exactly(Version(3)),
        actual: Version(4),
    };
    let regressed = Refusal::LogRegressed { head: Position(10), answered: Position(20) };
    vec![
        golden("Refusal/Conflict", Refusal::Conflict { id: id(), position: Position(6) }),
        golden("Refusal/WrongVersion", wrong_version),
        golden("Refusal/Invalid", Refusal::Invalid { reason: "no such thing".into() }),
        golden("Refusal/NotFound", Refusal::NotFound { what: "event e1".into() }),
        golden("Refusal/Denied", Refusal::Denied { reason: "publish order".into() }),
        golden("Refusal/Unavailable", Refusal::Unavailable { reason: "timed out".into() }),
        golden("Refusal/LogRegressed", regressed),
        golden("Refusal/Stopping", Refusal::Stopping),
    ]
}

fn reports() -> Vec<Golden> {
    let (since, deadline) = (time(1), time(2));
    vec![
        golden("DeliveryState/Succeeded", DeliveryState::Succeeded),
        golden("DeliveryState/Parked", DeliveryState::Parked),
        golden("DeliveryState/Discarded", DeliveryState::Discarded),
        golden("DeliveryState/InFlight", DeliveryState::InFlight { since, deadline }),
        golden("DeliveryState/RetryAt", DeliveryState::RetryAt { at: since }),
        golden("DeliveryState/BlockedBy", DeliveryState::BlockedBy { id: id(), position: Position(3) }),
        golden("DeliveryState/NoMember", DeliveryState::NoMember),
        golden("DeliveryState/NoCredit", DeliveryState::NoCredit { members: 2 }),
        golden("DeliveryState/NotRead", DeliveryState::NotRead { before: 500 }),
        golden("DeliveryState/BeforeStart", DeliveryState::BeforeStart),
        golden("DeliveryState/Ready", DeliveryState::Ready),
        golden("DeliveryState/Paused", DeliveryState::Paused { since, by: "eventflow-cli/1".into() }),
        golden("OutboxState/Waiting", OutboxState::Waiting),
        golden("OutboxState/Failed", handed_over().state),
    ]
}

fn enrolled() -> Enrolled {
    Enrolled {
        chain: vec![vec![0x30, 1], vec![0x30, 2]],
        roots: vec![vec![0x30, 3]],
        hubs: vec!["localhost:4713".into()],
        not_after_ms: 1_760_000_000_000,
    }
}

fn enrolment() -> Vec<Golden> {
    vec![
        golden("EnrolRequest", EnrolRequest { service: service(), csr: vec![0x30, 0] }),
        golden("EnrolReply/Issued", EnrolReply::Issued(enrolled())),
        golden("EnrolReply/Refused", EnrolReply::Refused(Refusal::Stopping)),
    ]
}

fn append() -> Request {
    let mut event = NewEvent::new(id(), domain(), pid(), name());
    event.timestamp = Some(time(-62_167_219_200_000));
    event.rid = Some(EventId::parse("before").unwrap());
    event.metadata = metadata();
    event.data = Data::parse("{\"total\": 12.50}").unwrap();
    event.eids = vec![eid()];
    event.cpids = vec![cpid()];
    let expectation = Expectation { domain: domain(), pid: pid(), expected: Expected::None };
    Request::Append { events: vec![event], offer: Offer::Publish, expectations: vec![expectation] }
}

fn event() -> Event {
    Event {
        position: Position(250),
        id: id(),
        timestamp: time(1_318_333_540_276),
        domain: domain(),
        pid: pid(),
        version: Version(251),
        name: name(),
        rid: None,
        publisher: Some(service()),
        metadata: metadata(),
        data: Data::empty(),
        eids: vec![eid()],
        cpids: vec![cpid()],
    }
}

pub(crate) fn group_report() -> GroupReport {
    GroupReport {
        group: group(),
        domain: domain(),
        names: vec![name()],
        ordered: true,
        start_after: Position(1),
        members: 2,
        succeeded: 3,
        parked: 4,
        discarded: 5,
        pending: 6,
        in_flight: 7,
        retrying: 8,
        settled_through: Position(9),
        head: Position(10),
    }
}

fn story() -> EventStory {
    let delivery = DeliveryStory {
        group: group(),
        state: DeliveryState::Ready,
        attempts: Attempt(1),
        consumer: Some("billing/1".into()),
        settled: None,
        reason: Some("late".into()),
    };
    EventStory {
        event: Some(event()),
        position: Position(250),
        published: Some(time(5)),
        deleted: None,
        orphan: false,
        deliveries: vec![delivery],
    }
}

fn handed_over() -> OutboxStory {
    let state = OutboxState::Failed { at: time(9), reason: "the domain is empty".into() };
    OutboxStory { row: 17, since: time(8), state }
}

fn metadata() -> Metadata {
    Metadata([("actor".to_owned(), "mo".to_owned()), ("trace".to_owned(), "00-ab".to_owned())].into())
}

fn topic() -> Topic {
    Topic { domain: domain(), names: NameFilter::Only(vec![name()]) }
}

fn id() -> EventId {
    EventId::parse("0199c2f0-0000-7000-8000-000000000001").unwrap()
}

pub(crate) fn domain() -> Domain {
    Domain::parse("order").unwrap()
}

pub(crate) fn pid() -> Pid {
    Pid::parse("4711").unwrap()
}

fn name() -> EventName {
    EventName::parse("order placed").unwrap()
}

fn eid() -> Eid {
    Eid::parse("kunde/ö").unwrap()
}

fn cpid() -> Cpid {
    Cpid { domain: Domain::parse("invoice").unwrap(), pid: Pid::parse("9").unwrap() }
}

fn service() -> ServiceName {
    ServiceName::parse("billing").unwrap()
}

pub(crate) fn group() -> GroupName {
    GroupName::parse("billing").unwrap()
}

pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}
