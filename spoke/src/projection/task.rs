//! The task of a running projection: reads, applies, tries again, and says how far it is.
//!
//! It holds at most one batch of events that are not applied. Stopping waits for the transaction that is
//! under way; dropping the task rolls it back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proto::{Event, Position, Refusal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::applier::{Applier, Outcome, Place, causes};
use super::error::{Ended, ProjectionError};
use super::progress::{Phase, Reporter};
use super::projector::Projector;
use super::source::{Source, may_retry};
use super::store::{ProjectionStore, Switched};
use crate::error::ListenError;
use crate::link::Backoff;
use crate::subscription::Told;

/// Bytes of data after which a batch is full.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long who has lost a page to somebody else leaves the checkpoint alone.
const STAND_BY: Duration = Duration::from_secs(1);

/// How often a projection that catches up asks where the log ends.
const HEAD_EVERY: Duration = Duration::from_secs(5);

/// How often a switch is tried that had to wait.
const SWITCH_EVERY: Duration = Duration::from_millis(100);

/// Who waits for a switch.
pub(super) type Switching = oneshot::Sender<Result<(), ProjectionError>>;

/// What a projection was told to keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) batch_events: usize,
    pub(super) attempts_max: u32,
    /// How long a place without an event of its own may stay unrecorded.
    pub(super) mark_every: Duration,
}

/// What follows from a step.
#[derive(Debug, PartialEq, Eq)]
enum Flow {
    On,
    /// The checkpoint went back: what comes after it must be read again.
    Reopen,
    End(Ended),
}

pub(super) struct Task<S, P> {
    pub(super) source: Source,
    pub(super) applier: Applier<S, P>,
    pub(super) rules: Rules,
    pub(super) reporter: Reporter,
    pub(super) stop: CancellationToken,
    pub(super) switches: mpsc::Receiver<Switching>,
    /// The checkpoint, as far as this task knows.
    pub(super) at: Position,
    /// Everything up to here was read: it is applied, or pending.
    pub(super) through: Position,
    pub(super) memory: Memory,
}

/// What the task remembers from one step to the next.
#[derive(Default)]
pub(super) struct Memory {
    /// Read and not applied, by position.
    pending: VecDeque<Arc<Event>>,
    pending_bytes: usize,
    /// So many events go into the next transaction, and no more.
    careful: Option<usize>,
    /// The event that failed last, and how often it has.
    failing: Option<(Position, u32)>,
    backoff: Backoff,
    live: Option<Live>,
    switching: Option<Switching>,
    marked_at: Option<Instant>,
    head_at: Option<Instant>,
}

/// It has caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Live;

impl<S: ProjectionStore, P: Projector<S::Transaction>> Task<S, P> {
    /// Goes on until it is stopped or cannot go on.
    pub(super) async fn run(mut self) -> Result<Ended, ProjectionError> {
        // Its start has just asked.
        self.memory.head_at = Some(Instant::now());
        let outcome = loop {
            match self.turn().await {
                Ok(Flow::On) => {}
                Ok(Flow::Reopen) => {
                    if let Err(error) = self.reopen().await {
                        break Err(error);
                    }
                }
                Ok(Flow::End(ended)) => break Ok(ended),
                Err(error) => break Err(error),
            }
        };
        match &outcome {
            Ok(ended) => info!(?ended, at = %self.at, "the projection has ended"),
            Err(error) => warn!(%error, at = %self.at, "the projection has ended"),
        }
        outcome
    }

    async fn turn(&mut self) -> Result<Flow, ProjectionError> {
        let due = self.due();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return self.finish().await,
            Some(switching) = self.switches.recv() => self.memory.switching = Some(switching),
            told = self.source.next() => {
                if let Err(error) = self.take_all(told) {
                    return self.lost(error).await;
                }
            }
            () = tokio::time::sleep_until(due) => {}
        }
        self.work().await
    }

    /// When there is something to do although nothing comes.
    fn due(&self) -> Instant {
        let now = Instant::now();
        if self.memory.switching.is_some() {
            return now + SWITCH_EVERY;
        }
        if self.through > self.at {
            return self.memory.marked_at.unwrap_or(now) + self.rules.mark_every;
        }
        now + HEAD_EVERY
    }

    // ---- reading

    /// Takes `told` and what has come with it, up to one batch.
    fn take_all(&mut self, told: Result<Told, ListenError>) -> Result<(), ListenError> {
        self.take(told?);
        while self.memory.pending.len() < self.rules.batch_events
            && self.memory.pending_bytes < BATCH_BYTES_MAX
            && let Some(told) = self.source.try_next()
        {
            self.take(told?);
        }
        Ok(())
    }

    fn take(&mut self, told: Told) {
        match told {
            // Another runner of this projection may be further than what is read here.
            Told::Event(event) if event.position <= self.through => {}
            Told::Event(event) => {
                self.through = event.position;
                self.reporter.head(event.position);
                self.memory.pending_bytes += event.data.as_str().len();
                self.memory.pending.push_back(event);
            }
            Told::CaughtUp { position } => {
                self.through = self.through.max(position);
                self.reporter.head(position);
                self.memory.live = Some(Live);
            }
            Told::Lagged { behind } => {
                self.reporter.head(Position(self.through.0.saturating_add(behind)));
                self.memory.live = None;
            }
        }
    }

    /// The subscription has ended.
    async fn lost(&mut self, error: ListenError) -> Result<Flow, ProjectionError> {
        self.check_log()?;
        if !may_retry(&error) {
            return Err(self.over(error));
        }
        self.retry(error.to_string()).await;
        Ok(Flow::Reopen)
    }

    /// Subscribes again after what was read.
    async fn reopen(&mut self) -> Result<(), ProjectionError> {
        self.memory.live = None;
        // Who is stopped does not wait for a hub.
        while let Some(opened) = self.stop.run_until_cancelled(self.source.open(self.through)).await {
            match opened {
                Ok(()) => {
                    self.memory.backoff.reset();
                    self.reporter.phase(Phase::CatchingUp);
                    return self.check_log();
                }
                Err(error) if may_retry(&error) => self.retry(error.to_string()).await,
                Err(error) => return Err(self.over(error)),
            }
        }
        Ok(())
    }

    /// What a subscription that cannot be opened again means.
    fn over(&self, error: ListenError) -> ProjectionError {
        let (head, build) = (self.source.head_at_connect(), self.applier.build.clone());
        match error {
            // A hub does not start where its log does not reach.
            ListenError::Refused(Refusal::Invalid { .. }) if head < self.at => {
                ProjectionError::AheadOfLog { build, position: self.at, head }
            }
            error => error.into(),
        }
    }

    fn check_log(&self) -> Result<(), ProjectionError> {
        let (kept, found) = (self.applier.incarnation, self.source.incarnation());
        if kept == found {
            return Ok(());
        }
        let build = self.applier.build.clone();
        Err(ProjectionError::OtherLog { build, position: self.at, kept, found })
    }

    // ---- applying

    /// Applies what was read, and does what is due.
    async fn work(&mut self) -> Result<Flow, ProjectionError> {
        while !self.memory.pending.is_empty() && !self.stop.is_cancelled() {
            let flow = self.apply_batch().await?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        if !self.memory.pending.is_empty() {
            return Ok(Flow::On);
        }
        self.reporter.applied(self.through.max(self.at), 0);
        self.reporter.goes_on(self.reading());
        if self.memory.live.is_none() && self.memory.head_at.is_none_or(|asked| asked.elapsed() >= HEAD_EVERY)
        {
            self.memory.head_at = Some(Instant::now());
            // It is for people, and asked for again.
            if let Some(Ok(head)) = self.stop.run_until_cancelled(self.source.head()).await {
                self.reporter.head(head);
            }
        }
        let flow = self.mark(self.rules.mark_every).await?;
        if flow != Flow::On {
            return Ok(flow);
        }
        self.try_switch().await
    }

    async fn apply_batch(&mut self) -> Result<Flow, ProjectionError> {
        let room = self.memory.careful.unwrap_or(self.memory.pending.len());
        let batch: Vec<_> = self.memory.pending.iter().take(room).cloned().collect();
        let Some(last) = batch.last() else { return Ok(Flow::On) };
        let to = last.position;
        match self.applier.apply(self.at, to, &batch).await {
            Outcome::Committed => {
                self.moved(to);
                self.memory.careful = None;
                self.memory.failing = None;
                self.memory.backoff.reset();
                self.reporter.applied(to, batch.len());
                self.reporter.phase(self.reading());
                Ok(Flow::On)
            }
            Outcome::Taken => self.stand_by().await,
            Outcome::Away(reason) => self.away(reason).await,
            Outcome::Failed { index, reason } => match batch.get(index) {
                Some(event) => self.failed(event, index, reason).await,
                None => Ok(Flow::On),
            },
            Outcome::Panicked { index, reason } => {
                let event = batch.get(index).unwrap_or(last);
                let (build, position) = (self.applier.build.clone(), event.position);
                Err(ProjectionError::Panicked { build, event: event.id.clone(), position, reason })
            }
        }
    }

    /// An event could not be applied: those before it are, and then it is tried alone.
    async fn failed(&mut self, event: &Event, index: usize, reason: String) -> Result<Flow, ProjectionError> {
        // A store that has gone away is not the event's fault.
        let place = self.applier.place().await?;
        if let Place::Away(reason) = place {
            return self.away(reason).await;
        }
        let position = event.position;
        let before = self.memory.failing.filter(|(failing, _)| *failing == position);
        let attempts = before.map_or(0, |(_, attempts)| attempts).saturating_add(1);
        self.memory.failing = Some((position, attempts));
        self.memory.careful = Some(index.max(1));
        debug!(%position, attempts, %reason, "an event could not be applied");
        if index > 0 {
            return Ok(self.placed(place));
        }
        if attempts >= self.rules.attempts_max {
            let (build, id, name) = (self.applier.build.clone(), event.id.clone(), event.name.clone());
            return Err(ProjectionError::Poison { build, event: id, name, position, attempts, reason });
        }
        self.retry(format!("event {} at position {position}: {reason}", event.id)).await;
        Ok(self.placed(place))
    }

    /// The store failed, maybe after it had committed: its checkpoint says.
    async fn away(&mut self, reason: String) -> Result<Flow, ProjectionError> {
        self.retry(reason).await;
        match self.applier.place().await? {
            // The next transaction finds out whether it is still away.
            Place::Away(_) => Ok(Flow::On),
            place => Ok(self.placed(place)),
        }
    }

    /// Somebody else moves the checkpoint: leaves it alone while that goes on.
    async fn stand_by(&mut self) -> Result<Flow, ProjectionError> {
        loop {
            let before = self.at;
            match self.applier.place().await? {
                Place::Away(reason) => return self.away(reason).await,
                place => match self.placed(place) {
                    Flow::On if self.at == before => return Ok(Flow::On),
                    Flow::On => {}
                    flow => return Ok(flow),
                },
            }
            info!(at = %self.at, "somebody else runs this projection; standing by");
            self.reporter.phase(Phase::StandingBy);
            self.pause(STAND_BY).await;
            if self.stop.is_cancelled() {
                return Ok(Flow::On);
            }
        }
    }

    /// Goes on from where the store says that the checkpoint is.
    fn placed(&mut self, place: Place) -> Flow {
        match place {
            Place::At(position) if position < self.at => {
                warn!(at = %self.at, %position, "the checkpoint went back; reading again from there");
                self.memory = Memory { switching: self.memory.switching.take(), ..Memory::default() };
                (self.at, self.through) = (position, position);
                self.reporter.back_to(position);
                Flow::Reopen
            }
            Place::At(position) => {
                self.moved(position);
                Flow::On
            }
            Place::Retired => Flow::End(Ended::Replaced),
            Place::Away(_) => Flow::On,
        }
    }

    /// The checkpoint is at `position`: what is not after it needs nothing more.
    fn moved(&mut self, position: Position) {
        self.at = position;
        self.through = self.through.max(position);
        self.reporter.applied(position, 0);
        self.memory.marked_at = Some(Instant::now());
        self.memory.pending.retain(|event| event.position > position);
        self.memory.pending_bytes = self.memory.pending.iter().map(|event| event.data.as_str().len()).sum();
    }

    // ---- what comes now and then

    /// Records how far was read although nothing matched, if that was not done for so long.
    async fn mark(&mut self, every: Duration) -> Result<Flow, ProjectionError> {
        let recent = self.memory.marked_at.is_some_and(|marked| marked.elapsed() < every);
        if self.through <= self.at || recent {
            return Ok(Flow::On);
        }
        self.memory.marked_at = Some(Instant::now());
        match self.applier.apply(self.at, self.through, &[]).await {
            Outcome::Committed => {
                self.moved(self.through);
                self.reporter.phase(self.reading());
                Ok(Flow::On)
            }
            Outcome::Taken => match self.applier.place().await? {
                Place::Away(_) => Ok(Flow::On),
                place => Ok(self.placed(place)),
            },
            // It is tried again the next time.
            Outcome::Away(reason) => {
                debug!(%reason, "the place could not be recorded");
                Ok(Flow::On)
            }
            Outcome::Failed { .. } | Outcome::Panicked { .. } => Ok(Flow::On),
        }
    }

    /// Lets this build be read, if somebody waits for that and it is as far as the one that is.
    async fn try_switch(&mut self) -> Result<Flow, ProjectionError> {
        let given_up = |waiting: &mut Switching| waiting.is_closed();
        self.memory.switching.take_if(given_up);
        if self.memory.switching.is_none() || self.memory.live.is_none() {
            return Ok(Flow::On);
        }
        let flow = self.mark(Duration::ZERO).await?;
        if flow != Flow::On {
            return Ok(flow);
        }
        let answer = match self.applier.switch(self.at).await {
            Ok(Switched::Done) => Ok(()),
            Err(Ok(error)) => Err(error),
            Ok(Switched::Behind | Switched::Changed) => return Ok(Flow::On),
            Err(Err(error)) => {
                debug!(reason = causes(&error), "the switch is tried again");
                return Ok(Flow::On);
            }
        };
        if let Some(waiting) = self.memory.switching.take() {
            // Who waited may have given up; the switch stands.
            let _ = waiting.send(answer);
        }
        Ok(Flow::On)
    }

    /// Applies nothing more, and leaves the checkpoint as far on as it may be.
    async fn finish(&mut self) -> Result<Flow, ProjectionError> {
        if self.memory.pending.is_empty() {
            self.mark(Duration::ZERO).await?;
        }
        Ok(Flow::End(Ended::Stopped))
    }

    /// Says what is wrong and waits before the next try.
    async fn retry(&mut self, reason: String) {
        let wait = self.memory.backoff.wait(Duration::ZERO, rand::random_range);
        warn!(%reason, ?wait, "the projection cannot go on; trying again");
        self.reporter.phase(Phase::Retrying { reason });
        self.pause(wait).await;
    }

    async fn pause(&mut self, wait: Duration) {
        // Either way there is something to do next.
        let _ = tokio::time::timeout(wait, self.stop.cancelled()).await;
    }

    fn reading(&self) -> Phase {
        if self.memory.live.is_some() { Phase::Live } else { Phase::CatchingUp }
    }
}
