//! Acks with effects, as they are on the wire.

use eventflow_proto::chain::{Chain, Chained, Effect, Later};
use eventflow_proto::message::{Appended, Link, Reply, Request, Stored};
use eventflow_proto::report::DeliveryState;
use eventflow_proto::schedule::Which;
use eventflow_proto::{
    Attempt, Domain, Eid, EventId, EventName, Expectation, Expected, ListenerId, NewEvent, Pid, Position,
    ScheduleKey, Timestamp, Version,
};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    let later = Later { event: event(), due: time(1_760_000_000_123), key: Some(key()) };
    let appended = Appended { position: Position(8), version: Version(1), stored: Stored::Now };
    vec![
        golden("Request/Chain", Request::Chain(Box::new(chain()))),
        golden("Effect/Publish", Effect::Publish(event())),
        golden("Effect/Persist", Effect::Persist(event())),
        golden("Effect/Schedule", Effect::Schedule(later)),
        golden("Effect/Cancel", Effect::Cancel(Which::Id(id()))),
        golden("Effect/Link", Effect::Link(Link::AddEid(id(), Eid::parse("k").unwrap()))),
        golden("Which/Id", Which::Id(id())),
        golden("Which/Key", Which::Key(key())),
        golden("Reply/Chained", Reply::Chained(Chained::Committed(vec![appended]))),
        golden("Chained/Committed", Chained::Committed(Vec::new())),
        golden("Chained/Stale", Chained::Stale),
        golden("DeliveryState/Committing", DeliveryState::Committing { since: time(5) }),
    ]
}

fn chain() -> Chain {
    let expectation = Expectation { domain: domain(), pid: pid(), expected: Expected::Exists };
    Chain {
        listener: ListenerId(3),
        position: Position(1_000_000),
        attempt: Attempt(2),
        effects: vec![Effect::Publish(event()), Effect::Cancel(Which::Key(key()))],
        expectations: vec![expectation],
    }
}

fn event() -> NewEvent {
    NewEvent::new(id(), domain(), pid(), EventName::parse("billed").unwrap())
}

fn id() -> EventId {
    EventId::parse("0199c2f0-0000-8000-8000-000000000001").unwrap()
}

fn domain() -> Domain {
    Domain::parse("bill").unwrap()
}

fn pid() -> Pid {
    Pid::parse("4711").unwrap()
}

fn key() -> ScheduleKey {
    ScheduleKey::parse("remind 4711").unwrap()
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}
