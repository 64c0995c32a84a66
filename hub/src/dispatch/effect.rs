//! What the dispatcher wants done: the only way in which its state reaches the world.

use std::sync::Arc;

use db::{GroupId, OrphanRun, Settlements, Unpark, Wanted};
use proto::{Attempt, Event, ListenerId, Pid, Position};

use super::connection::ConnectionId;

/// One thing to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Give an event to a member.
    Deliver { connection: ConnectionId, listener: ListenerId, attempt: Attempt, event: Arc<Event> },
    /// Tell a subscription of an event.
    Push { connection: ConnectionId, listener: ListenerId, event: Arc<Event> },
    /// Tell a subscription that it is read on from the log.
    Lagged { connection: ConnectionId, listener: ListenerId, behind: u64 },
    /// Tell a subscription that it has seen everything up to a position.
    CaughtUp { connection: ConnectionId, listener: ListenerId, position: Position },
    /// Read a page for a group or a subscription.
    Load { reader: LoadFor, wanted: Wanted, after: Position, limit: u32 },
    /// Read the data of one process's events again, from a position on.
    Fetch { group: GroupId, pid: Pid, position: Position },
    /// Record outcomes.
    Settle(Settlements),
    /// Record that nobody wanted these.
    Orphans(Vec<OrphanRun>),
    /// Take parked events up again.
    Unpark { ticket: u64, unpark: Unpark },
    /// A member has left and all its answers are recorded.
    Left { connection: ConnectionId, listener: ListenerId },
}

/// Whom a page is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadFor {
    /// A group.
    Group(GroupId),
    /// A subscription.
    Feed(ConnectionId, ListenerId),
}
