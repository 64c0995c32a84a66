//! What happens to a delivery that is started: a handler runs, or it is given out.

use std::collections::HashMap;
use std::sync::Arc;

use proto::{Attempt, Event, GroupName, Position};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::chain::Collected;
use super::delivery::{Delivery, Dropped, Said, Word};
use super::handlers::{Handlers, broken_off, handle};

/// How the deliveries of one consumer are worked on.
pub(super) enum Work {
    /// Handlers run, so many at once.
    Handlers(Running),
    /// They are given out; `None` after the end.
    Stream(Option<mpsc::Sender<Delivery>>),
}

/// What the work has to say.
pub(super) enum Step {
    /// A handler has come to its end.
    Finished(Position, Word),
    /// A handler that was given up on is gone: there is room for another.
    Gone,
    /// One delivery may be given out, with room for it and for its answer.
    Room(OwnedPermit<Delivery>, OwnedPermit<Said>),
    /// Nobody takes deliveries any more.
    Closed,
}

impl Work {
    pub(super) fn handlers(handlers: Handlers, concurrency: usize, group: GroupName) -> Self {
        let (tasks, positions) = (JoinSet::new(), HashMap::new());
        Self::Handlers(Running { handlers, concurrency, tasks, group, positions })
    }

    pub(super) fn stream(out: mpsc::Sender<Delivery>) -> Self {
        Self::Stream(Some(out))
    }

    /// Waits for the next thing to do. `waiting` says whether there is something to give out.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self, waiting: bool, seats: &mpsc::Sender<Said>) -> Step {
        match self {
            Self::Handlers(running) => running.finished().await,
            Self::Stream(Some(out)) if waiting => {
                // The end of the stream is noticed even while every seat is taken.
                let (out, closed) = (out.clone(), out.clone());
                let room =
                    async { (out.reserve_owned().await.ok(), seats.clone().reserve_owned().await.ok()) };
                tokio::select! {
                    biased;
                    () = closed.closed() => Step::Closed,
                    room = room => match room {
                        (Some(out), Some(seat)) => Step::Room(out, seat),
                        (None, _) | (_, None) => Step::Closed,
                    },
                }
            }
            Self::Stream(Some(out)) => {
                out.closed().await;
                Step::Closed
            }
            Self::Stream(None) => std::future::pending().await,
        }
    }

    /// Gives up on what works on the event at `position`: its handler's future is dropped as soon as it
    /// lets go of its thread, and what it says is not heard.
    pub(super) fn give_up(&mut self, position: Position) {
        match self {
            Self::Handlers(running) => running.give_up(position),
            // Whoever has it may go on; its answer is late.
            Self::Stream(_) => {}
        }
    }

    /// Takes nothing more.
    pub(super) fn stop(&mut self) {
        match self {
            Self::Handlers(running) => running.concurrency = 0,
            Self::Stream(out) => *out = None,
        }
    }

    /// Whether nothing is going on that would be lost.
    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::Handlers(running) => running.tasks.is_empty(),
            Self::Stream(_) => true,
        }
    }
}

/// The handlers that run.
pub(super) struct Running {
    handlers: Handlers,
    concurrency: usize,
    tasks: JoinSet<Word>,
    group: GroupName,
    positions: HashMap<Id, (Position, AbortHandle)>,
}

impl Running {
    pub(super) fn has_room(&self) -> bool {
        self.tasks.len() < self.concurrency
    }

    pub(super) fn start(&mut self, event: Arc<Event>, attempt: Attempt, seat: Option<OwnedPermit<Said>>) {
        let (handler, position) = (self.handlers.of(&event.name), event.position);
        let (collected, collecting) = Collected::of_handler(self.group.clone());
        let delivery = Delivery::new(event, attempt, seat, Dropped::SaysNothing, collected);
        let task = self.tasks.spawn(handle(handler, delivery, collecting));
        self.positions.insert(task.id(), (position, task));
    }

    fn give_up(&mut self, given_up: Position) {
        self.positions.retain(|_, (position, task)| {
            if *position == given_up {
                task.abort();
            }
            *position != given_up
        });
    }

    /// A handler that has come to its end meanwhile.
    pub(super) fn try_finished(&mut self) -> Option<(Position, Word)> {
        let outcome = self.tasks.try_join_next_with_id()?;
        self.word(outcome)
    }

    /// Waits for a handler to come to its end; for ever if none runs.
    async fn finished(&mut self) -> Step {
        let Some(outcome) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        match self.word(outcome) {
            Some((position, word)) => Step::Finished(position, word),
            None => Step::Gone,
        }
    }

    fn word(&mut self, outcome: Result<(Id, Word), JoinError>) -> Option<(Position, Word)> {
        let (id, word) = match outcome {
            Ok(finished) => finished,
            Err(error) => (error.id(), broken_off(error).into()),
        };
        let (position, _) = self.positions.remove(&id)?;
        Some((position, word))
    }
}
