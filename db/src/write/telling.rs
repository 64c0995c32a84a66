//! Tells who asked, and whoever passes events on, what was committed.
//!
//! It is a task of its own, on the runtime of those who asked, so that waking them costs the writer's
//! thread nothing. The writer takes its next batch when the one before is told: under load more of what
//! callers ask for then shares a commit, and nobody waits for a timer.

use std::sync::Arc;

use proto::{Event, Position};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::error::WriteError;
use crate::write::batch::Batch;
use crate::write::commits::Teller;
use crate::write::decide::Decision;
use crate::write::log::new_events;

/// Batches that are being committed or told. At it the writer starts no further one. (Two and three
/// were measured, too: more commits, each with fewer events, and less throughput.)
const BATCHES_UNTOLD_MAX: usize = 1;

/// What may wait to be told: batches, and now and then a word between them.
const QUEUED_MAX: usize = 8;

/// A committed batch whose askers do not know yet.
pub(crate) struct Finished {
    pub(crate) batch: Box<Batch>,
    pub(crate) decision: Decision,
    pub(crate) head: Position,
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

enum News {
    Finished(Finished),
    /// Events that were committed by themselves, and where the log ends after them.
    Fired(Vec<Arc<Event>>, Position),
    /// Where the log ends, whoever wrote it.
    Head(Position),
    /// Events that were emptied.
    Deleted(Vec<Position>),
    /// Whether everything before was told and there is room for a deletion.
    Room(oneshot::Sender<bool>),
}

/// The writer's end.
pub(crate) struct Telling {
    queue: mpsc::Sender<News>,
}

/// The end that tells. [`Teller`] passes events on.
pub(crate) struct Told {
    queue: mpsc::Receiver<News>,
    teller: Teller,
}

/// Both ends, and the turns of batches: each holds one from before its commit until it is told.
pub(crate) fn channel(teller: Teller) -> (Telling, Told, Arc<Semaphore>) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    (Telling { queue: sender }, Told { queue, teller }, Arc::new(Semaphore::new(BATCHES_UNTOLD_MAX)))
}

impl Telling {
    /// Hands over what was committed.
    pub(crate) async fn finished(&self, finished: Finished) {
        self.say(News::Finished(finished)).await;
    }

    /// Passes on events that were committed with nobody to answer, and ended at `head`.
    pub(crate) async fn fired(&self, events: Vec<Arc<Event>>, head: Position) {
        self.say(News::Fired(events, head)).await;
    }

    /// Says where the log ends.
    pub(crate) async fn head(&self, head: Position) {
        self.say(News::Head(head)).await;
    }

    /// Whether a deletion that is made now can be told. Everything before it has been.
    pub(crate) async fn has_room(&self) -> bool {
        let (reply, room) = oneshot::channel();
        self.say(News::Room(reply)).await;
        room.await.unwrap_or(true)
    }

    /// Passes on what was emptied, after [`Telling::has_room`].
    pub(crate) async fn deleted(&self, positions: Vec<Position>) {
        self.say(News::Deleted(positions)).await;
    }

    /// Without the end that tells there is nobody left who would want to know.
    async fn say(&self, news: News) {
        let _ = self.queue.send(news).await;
    }
}

impl Told {
    /// Tells until the writer has ended and everything is told.
    pub(crate) async fn run(self) {
        let Self { mut queue, teller } = self;
        while let Some(news) = queue.recv().await {
            match news {
                News::Finished(finished) => tell(finished, &teller),
                News::Fired(events, head) => teller.events(events, head),
                News::Head(head) => teller.head(head),
                News::Deleted(positions) => teller.deleted(positions),
                News::Room(reply) => drop(reply.send(teller.has_room())),
            }
        }
    }
}

/// Answers whoever asked, then passes the events on.
fn tell(finished: Finished, teller: &Teller) {
    let Finished { mut batch, mut decision, head, turn: _turn } = finished;
    let events = new_events(&mut batch, &decision);
    let mut outcomes = decision.outcomes.drain(..);
    for (asked, outcome) in batch.appends.drain(..).zip(outcomes.by_ref()) {
        asked.answer(outcome.map_err(WriteError::Refused));
    }
    for (asked, outcome) in batch.chains.drain(..).zip(outcomes) {
        asked.answer(outcome.map_err(WriteError::Refused));
    }
    batch.settlements.drain(..).for_each(|asked| asked.answer(Ok(())));
    batch.orphans.drain(..).for_each(|asked| asked.answer(Ok(())));
    for (asked, outcome) in batch.schedules.drain(..).zip(decision.plan.outcomes.drain(..)) {
        asked.answer(outcome.map_err(WriteError::Refused));
    }
    teller.events(events, head);
}
