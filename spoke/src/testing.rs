//! What this crate's own tests share.

use proto::{
    Data, Domain, Event, EventId, EventName, GroupName, Metadata, Pid, Position, Timestamp, Version,
};

/// The group `billing`.
pub(crate) fn group() -> GroupName {
    GroupName::parse("billing").unwrap()
}

/// An event at `position`, of the process `order/1`.
pub(crate) fn event(position: u64) -> Event {
    Event {
        position: Position(position),
        id: EventId::parse(&format!("e{position}")).unwrap(),
        timestamp: Timestamp::from_millis(0).unwrap(),
        domain: Domain::parse("order").unwrap(),
        pid: Pid::parse("1").unwrap(),
        version: Version(position),
        name: EventName::parse("order placed").unwrap(),
        rid: None,
        publisher: None,
        metadata: Metadata::default(),
        data: Data::empty(),
        eids: Vec::new(),
        cpids: Vec::new(),
    }
}
