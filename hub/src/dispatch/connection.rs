//! Connections as the dispatcher sees them: how much more may be on its way to each.
//!
//! A connection says how much it has written; the dispatcher never has more on the way than the
//! connection's queue holds, so handing over cannot fail for lack of room.

use std::collections::HashMap;

use proto::Event;

/// Pushes on their way to one connection: what its queue holds. At it the events stay where they are.
pub(crate) const PUSHES_MAX: usize = 4_096;

/// Places in a connection's queue beside those of its pushes, for what its members are told of their
/// deadlines. At it they are told later.
pub(crate) const DEADLINES_MAX: usize = 256;

/// Bytes of events on their way to one connection. At it the events stay where they are.
const PUSH_BYTES_MAX: usize = 8 << 20;

/// A connection of this hub's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

#[derive(Debug, Default, Clone, Copy)]
struct Underway {
    events: usize,
    bytes: usize,
}

/// What is on its way to whom.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    underway: HashMap<ConnectionId, Underway>,
}

impl Rooms {
    pub(super) fn open(&mut self, connection: ConnectionId) {
        self.underway.insert(connection, Underway::default());
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.underway.remove(&connection);
    }

    pub(super) fn is_open(&self, connection: ConnectionId) -> bool {
        self.underway.contains_key(&connection)
    }

    pub(super) fn has_room(&self, connection: ConnectionId, event: &Event) -> bool {
        self.underway.get(&connection).is_some_and(|underway| {
            // An event of any size may go when nothing else is under way.
            underway.events == 0
                || (underway.events < PUSHES_MAX && underway.bytes + event.weight() <= PUSH_BYTES_MAX)
        })
    }

    pub(super) fn sent(&mut self, connection: ConnectionId, event: &Event) {
        if let Some(underway) = self.underway.get_mut(&connection) {
            underway.events += 1;
            underway.bytes += event.weight();
        }
    }

    /// The connection has written so much of what it was sent.
    pub(super) fn written(&mut self, connection: ConnectionId, events: usize, bytes: usize) {
        if let Some(underway) = self.underway.get_mut(&connection) {
            underway.events = underway.events.saturating_sub(events);
            underway.bytes = underway.bytes.saturating_sub(bytes);
        }
    }
}
