//! What can be read from the log, a page at a time.

use crate::event::Event;
use crate::filter::NameFilter;
use crate::name::{Domain, Eid, EventId, Pid};
use crate::number::{Position, Timestamp};

/// One page that is asked for. `after` fields are cursors: what the page before ended with.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Query {
    /// One event. Missing is [`crate::Refusal::NotFound`].
    ById(EventId),
    /// Events of the whole log, by position.
    Log {
        /// Only positions above it.
        after: Position,
        /// At most so many.
        limit: u32,
    },
    /// Events of one eventlog, by version.
    Eventlog {
        /// The eventlog's domain.
        domain: Domain,
        /// The eventlog's pid.
        pid: Pid,
        /// Only these names.
        names: NameFilter,
        /// Only these times.
        window: Window,
        /// Only positions above it.
        after: Position,
        /// At most so many.
        limit: u32,
    },
    /// Events that started a process, by position.
    ByCpid {
        /// The child's domain.
        domain: Domain,
        /// The child's pid.
        pid: Pid,
        /// Only positions above it.
        after: Position,
        /// At most so many.
        limit: u32,
    },
    /// Events that concern an entity, by position.
    ByEid {
        /// Only this domain; `None` is every domain.
        domain: Option<Domain>,
        /// The entity.
        eid: Eid,
        /// Only positions above it.
        after: Position,
        /// At most so many.
        limit: u32,
    },
    /// The distinct pids of a domain, sorted by bytes.
    Pids {
        /// The domain.
        domain: Domain,
        /// Only pids after it.
        after: Option<Pid>,
        /// At most so many.
        limit: u32,
    },
    /// The distinct domains, sorted by bytes.
    Domains {
        /// Only domains after it.
        after: Option<Domain>,
        /// At most so many.
        limit: u32,
    },
}

/// A stretch of time: `from` and `until` both belong to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Window {
    /// Not before it.
    pub from: Option<Timestamp>,
    /// Not after it.
    pub until: Option<Timestamp>,
}

/// What a query answered.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Page {
    /// Events.
    Events {
        /// In the order that the query names.
        events: Vec<Event>,
        /// Everything up to it has been looked at: ask again after it.
        through: Position,
        /// Whether there may be more after it.
        more: More,
    },
    /// Pids.
    Pids {
        /// Sorted by bytes.
        pids: Vec<Pid>,
        /// Whether there may be more after the last.
        more: More,
    },
    /// Domains.
    Domains {
        /// Sorted by bytes.
        domains: Vec<Domain>,
        /// Whether there may be more after the last.
        more: More,
    },
}

/// Whether a page was the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum More {
    /// It was the last.
    No,
    /// There may be more.
    Maybe,
}
