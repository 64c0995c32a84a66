//! Events for the tests of this module.

use std::sync::Arc;

use proto::{
    Data, Domain, Event, EventId, EventName, Metadata, Pid, Position, ServiceName, Timestamp, Version,
};

/// A published event of the domain `order`.
pub(crate) fn event(position: u64, pid: &str) -> Arc<Event> {
    Arc::new(Event {
        position: Position(position),
        id: EventId::parse(&format!("e{position}")).unwrap(),
        timestamp: Timestamp::default(),
        domain: Domain::parse("order").unwrap(),
        pid: Pid::parse(pid).unwrap(),
        version: Version(1),
        name: EventName::parse("placed").unwrap(),
        rid: None,
        publisher: Some(ServiceName::parse("shop").unwrap()),
        metadata: Metadata::default(),
        data: Data::empty(),
        eids: Vec::new(),
        cpids: Vec::new(),
    })
}
