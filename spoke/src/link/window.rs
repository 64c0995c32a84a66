//! How much may be unanswered at once: where a caller waits when the hub is slower than it.
//!
//! An entry is given back when the reply is here, not when the caller stops waiting for it, so that
//! callers who give up and come again cannot fill the memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Questions (everything but appends) that may be unanswered. At it, callers wait.
const QUESTIONS_MAX: usize = 128;

/// Waits that may go on at once. At it, callers wait to wait.
const WAITS_MAX: usize = proto::limits::WAITS_PER_CONNECTION_MAX;

/// How much room a request takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weight {
    /// An append of so many events with so many bytes.
    Append { events: usize, bytes: usize },
    /// A wait for an event.
    Wait,
    /// Anything else.
    Question,
}

/// The room that one request takes, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Entry {
    _room: [Option<OwnedSemaphorePermit>; 2],
}

/// The room for requests.
#[derive(Debug)]
pub(super) struct Window {
    events: Room,
    bytes: Room,
    questions: Room,
    waits: Room,
}

impl Window {
    pub(super) fn new(events: usize, bytes: usize) -> Self {
        Self {
            events: Room::new(events),
            bytes: Room::new(bytes),
            questions: Room::new(QUESTIONS_MAX),
            waits: Room::new(WAITS_MAX),
        }
    }

    /// Waits until there is room. A request larger than the window waits until the window is empty.
    ///
    /// Cancel safe: dropping the future gives up the place in the queue.
    pub(super) async fn enter(&self, weight: Weight) -> Entry {
        let _room = match weight {
            // Always in this order, so that two callers cannot wait for each other.
            Weight::Append { events, bytes } => {
                [self.events.enter(events).await, self.bytes.enter(bytes).await]
            }
            Weight::Wait => [self.waits.enter(1).await, None],
            Weight::Question => [self.questions.enter(1).await, None],
        };
        Entry { _room }
    }
}

#[derive(Debug)]
struct Room {
    size: usize,
    free: Arc<Semaphore>,
}

impl Room {
    fn new(size: usize) -> Self {
        Self { size, free: Arc::new(Semaphore::new(size)) }
    }

    async fn enter(&self, wanted: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(wanted.min(self.size)).unwrap_or(u32::MAX);
        // It fails only if the semaphore is closed, and nobody closes it.
        Arc::clone(&self.free).acquire_many_owned(wanted).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const ONE: Weight = Weight::Append { events: 1, bytes: 10 };

    #[test]
    fn an_append_waits_for_events_and_for_bytes() {
        let window = Window::new(2, 100);
        let first = window.enter(ONE).now_or_never().unwrap();
        let _second = window.enter(ONE).now_or_never().unwrap();
        assert!(window.enter(ONE).now_or_never().is_none());
        drop(first);
        assert!(window.enter(Weight::Append { events: 1, bytes: 95 }).now_or_never().is_none());
        assert!(window.enter(ONE).now_or_never().is_some());
    }

    #[test]
    fn an_append_larger_than_the_window_waits_until_it_is_empty() {
        let window = Window::new(2, 100);
        let huge = Weight::Append { events: 1_000, bytes: 1 << 20 };
        let first = window.enter(ONE).now_or_never().unwrap();
        assert!(window.enter(huge).now_or_never().is_none());
        drop(first);
        assert!(window.enter(huge).now_or_never().is_some());
    }

    #[test]
    fn questions_do_not_wait_behind_appends() {
        let window = Window::new(1, 100);
        let _append = window.enter(ONE).now_or_never().unwrap();
        assert!(window.enter(Weight::Question).now_or_never().is_some());
    }
}
