//! What comes next: takes commands from the queue into the next batch, once it is its turn.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::statement::FINE_STEP;
use crate::write::batch::Batch;
use crate::write::writer::Command;

/// What the writer does next.
pub(crate) enum Next {
    /// All of this in one transaction, and its turn.
    Batch(Box<Batch>, Option<OwnedSemaphorePermit>),
    /// This, which has a transaction of its own.
    Change(Command),
}

/// The queue, and what was taken from it.
pub(crate) struct Intake {
    queue: mpsc::Receiver<Command>,
    stop: CancellationToken,
    /// Turns to commit a batch. One is given back when those who asked are told.
    turns: Arc<Semaphore>,
    /// What was taken from the queue and did not fit the batch before.
    held: Option<Command>,
    /// Requests of which a batch takes a multiple, if that many have queued.
    stride: usize,
}

impl Intake {
    pub(crate) fn new(
        queue: mpsc::Receiver<Command>,
        stop: CancellationToken,
        turns: Arc<Semaphore>,
        engine: Engine,
    ) -> Self {
        // On a server each statement is a trip, and a statement has a multiple of this many rows. The
        // few that are left over go with the next batch.
        let stride = if engine == Engine::Sqlite { 1 } else { FINE_STEP };
        Self { queue, stop, turns, held: None, stride }
    }

    /// Waits for something to do. `None` once the writer is told to stop and the queue is empty, or
    /// nobody can ask any more.
    pub(crate) async fn next(&mut self) -> Option<Next> {
        let command = self.command().await?;
        let mut batch = Box::new(Batch::default());
        if let Some(change) = batch.take(command) {
            return Some(Next::Change(change));
        }
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        for _ in 0..further(self.queue.len(), self.stride) {
            let Ok(command) = self.queue.try_recv() else { break };
            self.held = batch.take(command);
            if self.held.is_some() {
                break;
            }
        }
        Some(Next::Batch(batch, turn))
    }

    async fn command(&mut self) -> Option<Command> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        if self.stop.is_cancelled() {
            self.queue.close();
        }
        if !self.queue.is_closed() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => self.queue.close(),
                command = self.queue.recv() => return command,
            }
        }
        // A closed queue still hands out what it holds.
        self.queue.recv().await
    }
}

/// How many of `queued` requests go with one that was taken: all, or so many that together they are a
/// multiple of `stride`.
fn further(queued: usize, stride: usize) -> usize {
    let all = queued + 1;
    if all < stride { queued } else { all - all % stride - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_multiple_of_the_stride_or_everything() {
        let batches = |stride| [0, 1, 30, 31, 32, 62, 63, 450].map(|queued| 1 + further(queued, stride));
        assert_eq!(batches(1), [1, 2, 31, 32, 33, 63, 64, 451]);
        assert_eq!(batches(32), [1, 2, 31, 32, 32, 32, 64, 448]);
    }
}
