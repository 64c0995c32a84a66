//! Data of events that are in hand without it: those far behind in their process, and replayed ones.
//!
//! It is read again when they are about to go out, a few reads at a time, so that no more of it is in
//! memory than goes out soon.

use std::sync::Arc;

use proto::{Event, Position};

use super::{Group, State};

/// Reads of data of one group at a time. At it what needs another one waits.
pub(super) const FETCHES_MAX: usize = 16;

impl Group {
    /// The data of events that were in hand without it has been read again.
    pub(in crate::dispatch) fn fetched(&mut self, asked: Position, events: &[Arc<Event>]) {
        self.fetching = self.fetching.saturating_sub(1);
        for event in events {
            let Some(entry) = self.in_hand.get_mut(&event.position) else { continue };
            if entry.event.is_none() {
                self.bytes += event.weight();
                entry.event = Some(Arc::clone(event));
                entry.priority = event.metadata.priority();
            }
            if entry.state == State::Fetching && !self.is_held(event.position) {
                self.hand_out_first(event.position);
            }
        }
        // What the log no longer has was deleted.
        if self.in_hand.get(&asked).is_some_and(|entry| entry.event.is_none()) {
            self.forget(asked);
        }
    }
}
