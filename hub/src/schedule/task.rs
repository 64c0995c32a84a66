//! The task that owns the wheel: it feeds it and carries out what it asks for.

use std::time::Duration;

use db::{Due, PendingNews, PendingSchedules, ReadError, Reader, Shot, WriteError, Writer};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use proto::Timestamp;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::series::{self, AdvanceError, Advanced};
use super::wheel::{Fired, Step, Wheel};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// News that is taken before the wheel is asked again.
const NEWS_PER_TURN: usize = 1_024;

/// The longest sleep: the runtime's timers do not reach to the end of time.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What the task was doing, done.
enum Done {
    Read(Result<Vec<Due>, ReadError>),
    Fired(Outcome),
}

/// What came of a batch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// When those were due that were fired.
    fired: Vec<Timestamp>,
    failed: usize,
    is_some_left: bool,
    pub(super) error: Option<String>,
}

/// What firing needs.
#[derive(Clone)]
pub(crate) struct Firing {
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    /// The lateness from which an occurrence of a series counts as missed.
    pub(crate) grace: Duration,
}

/// What the task needs.
pub(crate) struct Parts {
    pub(crate) firing: Firing,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
}

/// The task that fires schedules. [`start`] makes it.
pub(crate) struct ScheduleTask {
    wheel: Wheel,
    parts: Parts,
    news: PendingSchedules,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    started: Timestamp,
}

/// Makes the task.
pub(crate) fn start(parts: Parts, news: PendingSchedules) -> ScheduleTask {
    let started = parts.clock.now();
    ScheduleTask { wheel: Wheel::new(started), parts, news, work: FuturesUnordered::new(), started }
}

impl ScheduleTask {
    /// Fires schedules until `stop`, and returns when what was begun is done.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let now = self.parts.clock.now();
            let wake = self.turn(now).min(now.plus(SLEEP_MAX));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.work.next() => self.done(done),
                Some(news) = self.news.next() => self.news(news),
                () = sleep_until(self.parts.clock.instant(wake)) => {}
            }
        }
        while let Some(done) = self.work.next().await {
            self.done(done);
        }
    }

    /// Starts all that is to be done now, and says when there is more.
    fn turn(&mut self, now: Timestamp) -> Timestamp {
        let wake = loop {
            match self.wheel.poll(now) {
                Step::Read { after, until, limit } => {
                    let reader = self.parts.firing.reader.clone();
                    self.parts.metrics.schedules_read();
                    self.work.push(Box::pin(async move {
                        Done::Read(reader.due(after.as_ref(), until, limit).await)
                    }));
                }
                Step::Fire(batch) => {
                    let firing = self.parts.firing.clone();
                    self.work.push(Box::pin(async move { Done::Fired(fire(&firing, batch, now).await) }));
                }
                Step::Wait(until) => break until,
            }
        };
        self.parts.metrics.set_schedules_held(self.wheel.len());
        wake
    }

    fn news(&mut self, news: PendingNews) {
        let now = self.parts.clock.now();
        let mut next = Some(news);
        for _ in 0..NEWS_PER_TURN {
            match next {
                Some(PendingNews::Pending(due)) => self.wheel.pending(due),
                Some(PendingNews::Missed) => self.wheel.missed(now),
                None => return,
            }
            next = self.news.try_next();
        }
        // What was taken last has its turn, too.
        if let Some(PendingNews::Pending(due)) = next {
            self.wheel.pending(due);
        } else if next.is_some() {
            self.wheel.missed(now);
        }
    }

    fn done(&mut self, done: Done) {
        let now = self.parts.clock.now();
        match done {
            Done::Read(Ok(page)) => self.wheel.read(page, now),
            Done::Read(Err(error)) => {
                warn!(%error, "what is due could not be read; trying again");
                self.wheel.read_failed(now);
            }
            Done::Fired(outcome) => self.fired(&outcome, now),
        }
    }

    fn fired(&mut self, outcome: &Outcome, now: Timestamp) {
        let metrics = &self.parts.metrics;
        for due in &outcome.fired {
            // What was due before this hub started is late by no fault of its own.
            metrics.schedule_fired(now.since((*due).max(self.started)));
        }
        metrics.schedules_failed(outcome.failed);
        if let Some(error) = &outcome.error {
            warn!(error, "schedules that are due were not all fired; trying again");
        }
        self.wheel.fired(outcome.verdict(), now);
    }
}

impl Outcome {
    /// Nobody knows what was done, for this reason.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn unknown(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Takes note of what came of a batch, and says what of it has to go on as series.
    pub(crate) fn shot(&mut self, batch: Vec<Due>, shots: Vec<Shot>) -> Vec<Due> {
        let mut recurring = Vec::new();
        for (due, shot) in batch.into_iter().zip(shots) {
            match shot {
                Shot::Fired { .. } => self.fired.push(due.at),
                Shot::Recurring => recurring.push(due),
                Shot::Failed => self.failed += 1,
                Shot::Refused => self.is_some_left = true,
                Shot::Gone => {}
            }
        }
        recurring
    }

    /// Takes note of what came of its series.
    pub(crate) fn advanced(&mut self, advanced: Advanced) {
        self.fired.extend(advanced.fired);
        self.failed += advanced.failed;
        self.is_some_left |= advanced.is_some_left;
    }

    /// What the wheel is told of it.
    pub(crate) fn verdict(&self) -> Fired {
        match self.error {
            Some(_) => Fired::Unknown,
            None if self.is_some_left => Fired::SomeLeft,
            None => Fired::All,
        }
    }
}

/// Fires what is due at `now`, series too.
pub(super) async fn fire(firing: &Firing, batch: Vec<Due>, now: Timestamp) -> Outcome {
    let mut outcome = Outcome::default();
    let ids = batch.iter().map(|due| due.id.clone()).collect();
    let shots = match firing.writer.fire(ids, now).await {
        Ok(shots) => shots,
        Err(error) => return Outcome { error: Some(error.to_string()), ..outcome },
    };
    let recurring = outcome.shot(batch, shots);
    if recurring.is_empty() {
        return outcome;
    }
    match series::advance(firing, &recurring, now).await {
        Ok(advanced) => outcome.advanced(advanced),
        Err(AdvanceError::Write(WriteError::Stopped)) => info!("the writer has stopped"),
        Err(error) => outcome.error = Some(error.to_string()),
    }
    outcome
}
