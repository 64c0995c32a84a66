//! What the dispatcher wants done: the only way in which its state reaches the world.

use std::sync::Arc;

use db::{GroupId, OrphanRun, Settlements, Unpark, Wanted};
use proto::{Attempt, Event, ListenerId, Pid, Position};

use super::connection::ConnectionId;
use super::group::MemberKey;
use super::handle::Outgoing;

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

/// Whoever carries effects out: the dispatcher's task, and the hub of the simulation.
pub(super) trait Hands {
    /// Gives a connection something to send on.
    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing);
    /// Tells a member that it has left.
    fn left(&mut self, member: MemberKey);
    /// Reads a page; [`super::desk::Desk::loaded`] takes it.
    fn load(&mut self, reader: LoadFor, wanted: Wanted, after: Position, limit: u32);
    /// Reads one process's events; [`super::desk::Desk::fetched`] takes them.
    fn fetch(&mut self, group: GroupId, pid: Pid, position: Position);
    /// Records outcomes; [`super::desk::Desk::flushed`] is told.
    fn settle(&mut self, settlements: Settlements);
    /// Records orphans; [`super::desk::Desk::orphans_flushed`] is told.
    fn orphans(&mut self, runs: Vec<OrphanRun>);
    /// Takes parked events up; [`super::desk::Desk::unparked`] is told.
    fn unpark(&mut self, ticket: u64, unpark: Unpark);
}

impl Effect {
    /// Has it carried out.
    pub(super) fn carry_out(self, hands: &mut impl Hands) {
        match self {
            Self::Deliver { connection, listener, attempt, event } => {
                hands.send(connection, Outgoing::Deliver { listener, attempt, event });
            }
            Self::Push { connection, listener, event } => {
                hands.send(connection, Outgoing::Push { listener, event });
            }
            Self::Lagged { connection, listener, behind } => {
                hands.send(connection, Outgoing::Lagged { listener, behind });
            }
            Self::CaughtUp { connection, listener, position } => {
                hands.send(connection, Outgoing::CaughtUp { listener, position });
            }
            Self::Left { connection, listener } => hands.left(MemberKey { connection, listener }),
            Self::Load { reader, wanted, after, limit } => hands.load(reader, wanted, after, limit),
            Self::Fetch { group, pid, position } => hands.fetch(group, pid, position),
            Self::Settle(settlements) => hands.settle(settlements),
            Self::Orphans(runs) => hands.orphans(runs),
            Self::Unpark { ticket, unpark } => hands.unpark(ticket, unpark),
        }
    }
}
