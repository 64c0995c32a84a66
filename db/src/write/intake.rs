//! What comes next: takes commands from the queue into the next batch, once it is its turn.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

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
}

impl Intake {
    pub(crate) fn new(
        queue: mpsc::Receiver<Command>,
        stop: CancellationToken,
        turns: Arc<Semaphore>,
    ) -> Self {
        Self { queue, stop, turns, held: None }
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
        while self.held.is_none() {
            let Ok(command) = self.queue.try_recv() else { break };
            self.held = batch.take(command);
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
