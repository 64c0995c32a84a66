//! What the hub keeps over connections: the log, and what one group has done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use eventflow_proto::message::{Appended, Stored};
use eventflow_proto::{Event, EventId, NewEvent, Position, Version};

use crate::samples::recorded;

#[derive(Default)]
pub(crate) struct Log {
    events: Vec<Arc<Event>>,
    by_id: BTreeMap<EventId, Position>,
    /// Positions that the group is still to handle and nobody has.
    pub(crate) open: BTreeSet<Position>,
    pub(crate) handled: BTreeSet<Position>,
    /// Every delivery has a number of its own, so that an answer fits one only.
    attempts: u32,
}

impl Log {
    pub(crate) fn head(&self) -> Position {
        Position(self.events.len() as u64)
    }

    pub(crate) fn at(&self, position: Position) -> Option<Arc<Event>> {
        let index = usize::try_from(position.0).ok()?.checked_sub(1)?;
        self.events.get(index).cloned()
    }

    pub(crate) fn holds(&self, id: &EventId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(crate) fn append(&mut self, event: NewEvent) -> Appended {
        if let Some(&position) = self.by_id.get(&event.id) {
            return Appended { position, version: Version(position.0), stored: Stored::Before };
        }
        let position = self.head().next();
        self.by_id.insert(event.id.clone(), position);
        self.events.push(recorded(position.0, event));
        self.open.insert(position);
        Appended { position, version: Version(position.0), stored: Stored::Now }
    }

    pub(crate) fn next_attempt(&mut self) -> u32 {
        self.attempts += 1;
        self.attempts
    }
}
