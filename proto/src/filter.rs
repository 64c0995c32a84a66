//! Which events a listener wants, and from where on.

use crate::event::Event;
use crate::limits::NAMES_PER_FILTER_MAX;
use crate::name::{Domain, EventName, Pid};
use crate::number::{Position, Version};

/// Which names of a domain: all of them, or those of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode)]
pub enum NameFilter {
    /// The wildcard, `*`.
    All,
    /// Those listed; 1 to [`NAMES_PER_FILTER_MAX`], sorted, each once.
    Only(Vec<EventName>),
}

impl NameFilter {
    /// A filter for `names`; none at all means every name.
    ///
    /// # Errors
    /// The number of names, if there are more than [`NAMES_PER_FILTER_MAX`].
    pub fn of(names: impl IntoIterator<Item = EventName>) -> Result<Self, usize> {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        match names.len() {
            0 => Ok(Self::All),
            found if found > NAMES_PER_FILTER_MAX => Err(found),
            _ => Ok(Self::Only(names)),
        }
    }

    /// Whether `name` passes.
    #[must_use]
    pub fn matches(&self, name: &EventName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// Which published events a group or a live subscription gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode)]
pub struct Topic {
    /// The domain.
    pub domain: Domain,
    /// Which of its names.
    pub names: NameFilter,
}

impl Topic {
    /// Whether this topic wants `event`, published or not.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.domain == event.domain && self.names.matches(&event.name)
    }
}

/// Where a group or a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Start {
    /// With the first event of the log.
    Beginning,
    /// With the first event committed after the hub has taken the request.
    Now,
    /// With this position.
    At(Position),
}

/// Whether one process's events are delivered one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// One event of a process at a time, in the order of the log.
    ByPid,
    /// Any number at a time, in no particular order.
    None,
}

/// What an append expects of one eventlog before it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Expectation {
    /// The eventlog's domain.
    pub domain: Domain,
    /// The eventlog's pid.
    pub pid: Pid,
    /// What is expected of it.
    pub expected: Expected,
}

/// What may be expected of an eventlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Expected {
    /// Anything.
    Any,
    /// No event yet.
    None,
    /// At least one event.
    Exists,
    /// That its last event has this version.
    Exactly(Version),
}

impl Expected {
    /// Whether an eventlog whose last version is `actual` is as expected.
    #[must_use]
    pub fn holds(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::None => actual.0 == 0,
            Self::Exists => actual.0 > 0,
            Self::Exactly(version) => actual == version,
        }
    }
}
