//! What a hub reports about groups and events, for people and their tools.

use crate::event::Event;
use crate::filter::{NameFilter, Order};
use crate::name::{Domain, EventId, EventName, GroupName};
use crate::number::{Attempt, Position, Timestamp};

/// One group, as the hub sees it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct GroupReport {
    /// Its name.
    pub group: GroupName,
    /// The domain that it consumes.
    pub domain: Domain,
    /// The names that it consumes; empty means all.
    pub names: Vec<EventName>,
    /// Whether a process's events come one by one.
    pub ordered: bool,
    /// It gets what comes after this position.
    pub start_after: Position,
    /// Connected members.
    pub members: u64,
    /// Events settled as success.
    pub succeeded: u64,
    /// Events settled as failed and parked.
    pub parked: u64,
    /// Events discarded: settled as failed, not parked.
    pub discarded: u64,
    /// Events that it is still to get an outcome for, in flight included.
    pub pending: u64,
    /// Of these, how many are with a member now.
    pub in_flight: u64,
    /// Of these, how many wait for their next try.
    pub retrying: u64,
    /// All events up to here are settled.
    pub settled_through: Position,
    /// The last position of the log.
    pub head: Position,
}

impl GroupReport {
    /// The names as a filter.
    #[must_use]
    pub fn filter(&self) -> NameFilter {
        if self.names.is_empty() { NameFilter::All } else { NameFilter::Only(self.names.clone()) }
    }

    /// The order as a type.
    #[must_use]
    pub fn order(&self) -> Order {
        if self.ordered { Order::ByPid } else { Order::None }
    }
}

/// Everything that is known of one event.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct EventStory {
    /// The event; `None` if it was deleted.
    pub event: Option<Event>,
    /// Its position, also if it was deleted.
    pub position: Position,
    /// When it was published; `None` if it was only persisted.
    pub published: Option<Timestamp>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
    /// Whether nobody wanted it when it was published.
    pub orphan: bool,
    /// What became of it in each group that wants it, by group name.
    pub deliveries: Vec<DeliveryStory>,
}

/// What became of one event in one group.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct DeliveryStory {
    /// The group.
    pub group: GroupName,
    /// Where it stands.
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: Attempt,
    /// Who had it last: the service and instance of the member.
    pub consumer: Option<String>,
    /// When it was settled.
    pub settled: Option<Timestamp>,
    /// Why the last try failed, if it did.
    pub reason: Option<String>,
}

/// Where a delivery stands: for an unsettled one, the reason why it is not further.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeliveryState {
    /// Handled.
    Succeeded,
    /// Given up on and kept aside.
    Parked,
    /// Given up on.
    Discarded,
    /// With a member.
    InFlight {
        /// Since when.
        since: Timestamp,
        /// When it counts as failed if no answer and no progress comes.
        deadline: Timestamp,
    },
    /// It failed and waits for its next try.
    RetryAt {
        /// When that is.
        at: Timestamp,
    },
    /// An earlier event of the same process comes first.
    BlockedBy {
        /// That event.
        id: EventId,
        /// Its position.
        position: Position,
    },
    /// No member is connected.
    NoMember,
    /// No member has credit.
    NoCredit {
        /// How many members there are.
        members: u64,
    },
    /// The hub has not read so far yet: there are so many positions before it.
    NotRead {
        /// How many.
        before: u64,
    },
    /// The group started after it.
    BeforeStart,
    /// It is about to be pushed.
    Ready,
    /// Its handler is done: its ack and what follows from it are being committed.
    Committing {
        /// Since when.
        since: Timestamp,
    },
    /// Its group or its process is paused.
    Paused {
        /// Since when.
        since: Timestamp,
        /// The service and instance that asked for it.
        by: String,
    },
}

/// A row of the outbox: an event that a service has handed over and that is not in the log, or not by
/// this row.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct OutboxStory {
    /// Its number.
    pub row: i64,
    /// When it was inserted, by the database's clock or as the service says.
    pub since: Timestamp,
    /// Where it stands.
    pub state: OutboxState,
}

/// Where a row of the outbox stands.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OutboxState {
    /// A hub is to append it.
    Waiting,
    /// It could not be appended.
    Failed {
        /// When that was found out.
        at: Timestamp,
        /// Why.
        reason: String,
    },
}
