//! The newest events of the log, kept so that whoever keeps up need not read the tables.

use std::collections::VecDeque;
use std::sync::Arc;

use proto::{Event, Position};

/// Events that the ring keeps. What is older is read from the tables.
const RING_EVENTS_MAX: usize = 8_192;

/// Bytes of events that the ring keeps. What is older is read from the tables.
const RING_BYTES_MAX: usize = 8 << 20;

/// The newest events: consecutive positions, the last of which is the head.
#[derive(Debug)]
pub(super) struct Ring {
    head: Position,
    bytes: usize,
    /// `None` stands for an event that was deleted.
    events: VecDeque<Option<Arc<Event>>>,
}

impl Ring {
    /// An empty ring for a log that ends at `head`.
    pub(super) fn new(head: Position) -> Self {
        Self { head, bytes: 0, events: VecDeque::new() }
    }

    /// The last position of the log, as far as it is known.
    pub(super) fn head(&self) -> Position {
        self.head
    }

    /// Takes what was just committed: consecutive positions.
    pub(super) fn push(&mut self, events: Vec<Arc<Event>>) {
        for event in events {
            if event.position <= self.head {
                continue;
            }
            if event.position != self.head.next() {
                self.missed(event.position.previous());
            }
            self.head = event.position;
            self.bytes += event.weight();
            self.events.push_back(Some(event));
        }
        while self.events.len() > RING_EVENTS_MAX || self.bytes > RING_BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.map_or(0, |event| event.weight());
        }
    }

    /// The log goes on to `head` without this ring having seen how.
    pub(super) fn missed(&mut self, head: Position) {
        if head > self.head {
            *self = Self::new(head);
        }
    }

    /// Forgets events that were deleted.
    pub(super) fn deleted(&mut self, positions: &[Position]) {
        for position in positions {
            let Some(index) = self.index_after(position.previous()) else { continue };
            if let Some(event) = self.events.get_mut(index).and_then(Option::take) {
                self.bytes -= event.weight();
            }
        }
    }

    /// Whether everything after `position` is in the ring.
    pub(super) fn covers(&self, position: Position) -> bool {
        self.index_after(position).is_some()
    }

    /// The events after `position`, each with its position; those deleted come as `None`.
    pub(super) fn after(&self, position: Position) -> impl Iterator<Item = (Position, Option<&Arc<Event>>)> {
        let index = self.index_after(position).unwrap_or(self.events.len());
        (position.0 + 1..).map(Position).zip(self.events.range(index..).map(Option::as_ref))
    }

    fn index_after(&self, position: Position) -> Option<usize> {
        let kept = u64::try_from(self.events.len()).ok()?;
        let before_first = self.head.0.checked_sub(kept)?;
        let index = position.0.checked_sub(before_first)?;
        usize::try_from(index).ok().filter(|_| position <= self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::example::event;

    fn seen(ring: &Ring, after: u64) -> Vec<u64> {
        ring.after(Position(after)).filter_map(|(_, event)| event.map(|event| event.position.0)).collect()
    }

    #[test]
    fn a_ring_hands_out_what_comes_after_a_position() {
        let mut ring = Ring::new(Position(10));
        assert!(ring.covers(Position(10)) && !ring.covers(Position(9)));
        ring.push(vec![event(11, "a"), event(12, "b")]);
        assert_eq!(seen(&ring, 10), [11, 12]);
        assert_eq!(seen(&ring, 11), [12]);
        assert!(ring.covers(Position(12)) && seen(&ring, 12).is_empty());
    }

    #[test]
    fn what_the_ring_has_not_seen_it_does_not_cover() {
        let mut ring = Ring::new(Position(10));
        ring.push(vec![event(11, "a")]);
        ring.missed(Position(20));
        assert!(!ring.covers(Position(11)) && ring.covers(Position(20)));
        ring.push(vec![event(25, "a")]);
        assert!(!ring.covers(Position(20)) && ring.covers(Position(24)));
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_the_deleted() {
        let mut ring = Ring::new(Position(0));
        ring.push((1..=RING_EVENTS_MAX as u64 + 5).map(|position| event(position, "a")).collect());
        assert!(!ring.covers(Position(4)) && ring.covers(Position(5)));
        ring.deleted(&[Position(1), Position(6), Position(7)]);
        assert_eq!(seen(&ring, 5).first(), Some(&8));
    }
}
