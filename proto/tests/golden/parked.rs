//! Parked events on the wire: a value for every variant.

use eventflow_proto::parked::{
    ParkedAct, ParkedChange, ParkedCursor, ParkedEvent, ParkedPage, ParkedReply, ParkedRequest,
    ParkedSelection, UnparkMode, Unparked,
};
use eventflow_proto::read::Window;
use eventflow_proto::{
    Attempt, Domain, EventId, EventName, GroupName, ParkPolicy, Pid, Position, Timestamp, Version,
};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    let list = ParkedRequest::List { selection: selection(), after: None, limit: 100 };
    let unpark = ParkedRequest::Unpark {
        selection: ParkedSelection::default(),
        after: Some(cursor()),
        act: ParkedAct::Replay,
        mode: UnparkMode::Look,
    };
    vec![
        golden("ParkedRequest/List", list),
        golden("ParkedRequest/Unpark", unpark),
        golden("ParkedRequest/History", history()),
        golden("ParkedAct/Replay", ParkedAct::Replay),
        golden("ParkedAct/Discard", ParkedAct::Discard { reason: "a test".into() }),
        golden("UnparkMode/Take", UnparkMode::Take),
        golden("UnparkMode/Look", UnparkMode::Look),
        golden("ParkedReply/Page", page()),
        golden("ParkedReply/History", ParkedReply::History(vec![change()])),
        golden("Unparked/Replaying", Unparked::Replaying),
        golden("Unparked/Replayed", Unparked::Replayed),
        golden("Unparked/Discarded", Unparked::Discarded { why: "a test".into() }),
    ]
}

pub(crate) fn history() -> ParkedRequest {
    ParkedRequest::History(id())
}

pub(crate) fn page() -> ParkedReply {
    let event = ParkedEvent {
        group: group(),
        domain: domain(),
        id: id(),
        position: Position(250),
        pid: pid(),
        version: Version(3),
        name: EventName::parse("order placed").unwrap(),
        timestamp: time(1),
        parked: time(1_760_000_000_123),
        attempts: Attempt(5),
        reason: "no stock".into(),
        consumer: "billing/1".into(),
        policy: ParkPolicy::Pid,
    };
    ParkedReply::Page(ParkedPage { events: vec![event], next: Some(cursor()) })
}

fn selection() -> ParkedSelection {
    ParkedSelection {
        group: Some(group()),
        domain: Some(domain()),
        id: Some(id()),
        pid: Some(pid()),
        name: Some(EventName::parse("order placed").unwrap()),
        reason: Some("stock".into()),
        window: Window { from: Some(time(5)), until: None },
    }
}

fn cursor() -> ParkedCursor {
    ParkedCursor { group: 7, after: Position(300), rest: Some((pid(), Position(299))) }
}

fn change() -> ParkedChange {
    ParkedChange {
        group: group(),
        domain: domain(),
        done: Unparked::Replayed,
        at: time(9),
        by: "shop/1".into(),
        parked: time(8),
        attempts: Attempt(5),
        reason: "no stock".into(),
        consumer: "billing/1".into(),
    }
}

fn id() -> EventId {
    EventId::parse("0199c2f0-0000-7000-8000-000000000001").unwrap()
}

fn domain() -> Domain {
    Domain::parse("order").unwrap()
}

fn pid() -> Pid {
    Pid::parse("4711").unwrap()
}

fn group() -> GroupName {
    GroupName::parse("billing").unwrap()
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}
