//! Events to append, with as little said as a test needs.

use proto::{Data, Domain, Eid, EventId, EventName, NewEvent, Pid, ServiceName, Timestamp};

/// A name of any kind, from text that the test knows to be right.
///
/// # Panics
/// If the text cannot be such a name.
#[must_use]
pub fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A time that looks like one: this many milliseconds into 2026.
#[must_use]
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000 + millis).unwrap()
}

/// A service to publish as.
#[must_use]
pub fn shop() -> ServiceName {
    name("shop")
}

/// A new event of `domain`/`pid` with an id of its own.
#[must_use]
pub fn event(domain: &str, pid: &str, what: &str) -> NewEvent {
    with_id(&uuid::Uuid::now_v7().to_string(), domain, pid, what)
}

/// A new event with the id `id`.
#[must_use]
pub fn with_id(id: &str, domain: &str, pid: &str, what: &str) -> NewEvent {
    NewEvent::new(name(id), name(domain), name(pid), name(what))
}

/// `event` with `json` as its data.
#[must_use]
pub fn with_data(event: NewEvent, json: &str) -> NewEvent {
    NewEvent { data: Data::parse(json.to_owned()).unwrap(), ..event }
}

/// `event` with the entities `eids`.
#[must_use]
pub fn with_eids(event: NewEvent, eids: &[&str]) -> NewEvent {
    NewEvent { eids: eids.iter().map(|eid| name::<Eid>(eid)).collect(), ..event }
}

/// `event` with the child processes `cpids`, as (domain, pid).
#[must_use]
pub fn with_cpids(event: NewEvent, cpids: &[(&str, &str)]) -> NewEvent {
    let cpids = cpids.iter().map(|(domain, pid)| proto::Cpid { domain: name(domain), pid: name(pid) });
    NewEvent { cpids: cpids.collect(), ..event }
}

/// `event` as happened `millis` into 2026.
#[must_use]
pub fn happened(event: NewEvent, millis: i64) -> NewEvent {
    NewEvent { timestamp: Some(at(millis)), ..event }
}

/// An eventlog's two names.
#[must_use]
pub fn eventlog(domain: &str, pid: &str) -> (Domain, Pid) {
    (name(domain), name(pid))
}

/// An event's id and name, for short comparisons.
#[must_use]
pub fn id(text: &str) -> EventId {
    name(text)
}

/// An event name.
#[must_use]
pub fn called(text: &str) -> EventName {
    name(text)
}
