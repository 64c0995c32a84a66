//! The right to write to an SQLite file, which the tasks of a process hand each other in the order of asking.
//!
//! SQLite's own lock is polled, so a writer that is always busy would starve all others; other processes
//! have only that one. And a queue alone would let a crowd of others starve the writer, which everybody who
//! publishes waits for: of all others only one stands in it at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where one waits for the right to write.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    queue: Arc<Semaphore>,
    /// The place in the queue of those who are not the writer.
    aside: Arc<Semaphore>,
}

/// The right to write, until it is dropped, and the place that goes with it.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held")]
pub(crate) struct Held(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

impl Turn {
    pub(crate) fn new() -> Self {
        Self { queue: one(), aside: one() }
    }

    /// For the writer, for what the hub lives by, and for whoever writes before there is a writer. Cancel safe.
    pub(crate) async fn take(&self) -> Held {
        Held(acquire(&self.queue).await, None)
    }

    /// For all others: each of them waits for those before it, and for a commit of the writer's after each.
    /// Cancel safe, but for the place in the queue.
    pub(crate) async fn take_aside(&self) -> Held {
        let place = acquire(&self.aside).await;
        Held(acquire(&self.queue).await, Some(place))
    }
}

fn one() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_owned().await.expect("this semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::join_all;

    use super::*;

    #[test]
    fn the_writer_waits_for_one_of_a_crowd_at_most() {
        let turn = Turn::new();
        let mut first = Box::pin(turn.take_aside()).now_or_never();
        let mut crowd: Vec<_> = (0..9).map(|_| Box::pin(turn.take_aside())).collect();
        assert!(join_all(&mut crowd).now_or_never().is_none());
        let mut writer = Box::pin(turn.take());
        assert!((&mut writer).now_or_never().is_none());
        drop(first.take().expect("nobody was before it"));
        assert!((&mut writer).now_or_never().is_some(), "it is the writer's turn, whoever else came before");
        let done = crowd.into_iter().filter_map(|one| one.now_or_never()).count();
        assert_eq!(done, 9, "the others get theirs one after the other");
    }
}
