//! How far a projection is, for people and for readers that wait.

use std::time::Duration;

use proto::Position;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::ReachError;
use super::store::Generation;

/// The shortest time that a rate is taken over.
const RATE_OVER: Duration = Duration::from_secs(1);

/// What a projection is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It reads what is in the log.
    CatchingUp,
    /// It has caught up and applies what comes.
    Live,
    /// Somebody else moves the checkpoint; this one looks now and then whether that goes on.
    StandingBy,
    /// It cannot go on now and tries again: the store is away, or an event fails.
    Retrying {
        /// What happened the last time.
        reason: String,
    },
}

/// How far a projection is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Which build.
    pub generation: Generation,
    /// Every event up to here that it wants has had its effect, committed.
    pub applied: Position,
    /// The end of the log, as far as this spoke was told.
    pub head: Position,
    /// What it is at.
    pub phase: Phase,
    /// Events that this run has applied.
    pub events: u64,
    /// Events that it applies in a second, of late.
    pub events_per_second: f64,
}

impl Progress {
    /// Positions between it and the end of the log, those that it does not want included.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.head.0.saturating_sub(self.applied.0)
    }

    /// Whether it has seen everything that this spoke knows of.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.phase == Phase::Live && self.lag() == 0
    }
}

/// The task's end: it says what has changed.
pub(super) struct Reporter {
    progress: watch::Sender<Progress>,
    since: Instant,
    counted: u64,
}

impl Reporter {
    pub(super) fn new(generation: Generation, applied: Position, head: Position) -> Self {
        let progress = Progress {
            generation,
            applied,
            head: head.max(applied),
            phase: Phase::CatchingUp,
            events: 0,
            events_per_second: 0.0,
        };
        Self { progress: watch::Sender::new(progress), since: Instant::now(), counted: 0 }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.progress.send_if_modified(|progress| {
            let changed = progress.phase != phase;
            progress.phase = phase;
            changed
        });
    }

    /// The log goes on to here at least.
    pub(super) fn head(&self, head: Position) {
        self.progress.send_if_modified(|progress| {
            let further = head > progress.head;
            progress.head = progress.head.max(head);
            further
        });
    }

    /// Nothing is left to do now. Who stands by does so until a step of its own is committed.
    pub(super) fn goes_on(&self, phase: Phase) {
        let standing_by = self.progress.borrow().phase == Phase::StandingBy;
        if !standing_by {
            self.phase(phase);
        }
    }

    /// The store was restored: what came after this place is to be applied again.
    pub(super) fn back_to(&self, position: Position) {
        self.progress.send_modify(|progress| {
            progress.applied = position;
            progress.phase = Phase::CatchingUp;
        });
    }

    /// So many events more are applied, and nothing is missing up to `position`.
    #[expect(clippy::cast_precision_loss, reason = "a rate is for people")]
    pub(super) fn applied(&mut self, position: Position, events: usize) {
        let elapsed = self.since.elapsed();
        let rated = elapsed >= RATE_OVER;
        let counted = self.counted;
        self.progress.send_modify(|progress| {
            progress.applied = progress.applied.max(position);
            progress.head = progress.head.max(position);
            progress.events = progress.events.saturating_add(u64::try_from(events).unwrap_or(u64::MAX));
            if rated {
                progress.events_per_second =
                    progress.events.saturating_sub(counted) as f64 / elapsed.as_secs_f64();
            }
        });
        if rated {
            self.since = Instant::now();
            self.counted = self.progress.borrow().events;
        }
    }
}

/// Waits until `progress` is at `position`.
///
/// Cancel safe.
pub(super) async fn reach(
    mut progress: watch::Receiver<Progress>,
    position: Position,
    within: Duration,
) -> Result<(), ReachError> {
    let reached = async { progress.wait_for(|progress| progress.applied >= position).await.map(drop) };
    let reached = tokio::time::timeout(within, reached).await;
    let applied = progress.borrow().applied;
    match reached {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_ended)) => Err(ReachError::Ended { position, applied }),
        Err(_elapsed) => Err(ReachError::TimedOut { position, applied, waited: within }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_taken_over_a_second_at_least() {
        let mut reporter = Reporter::new(Generation(1), Position(0), Position(10));
        let progress = reporter.watch();
        reporter.applied(Position(3), 3);
        assert_eq!((progress.borrow().events_per_second, progress.borrow().lag()), (0.0, 7));
        tokio::time::advance(Duration::from_secs(2)).await;
        reporter.applied(Position(9), 5);
        assert_eq!((progress.borrow().events_per_second, progress.borrow().events), (4.0, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_position_gets_it_or_is_told_where_the_projection_is() {
        let mut reporter = Reporter::new(Generation(1), Position(4), Position(4));
        let progress = reporter.watch();
        let second = Duration::from_secs(1);
        assert_eq!(reach(progress.clone(), Position(4), second).await, Ok(()));
        let late = reach(progress.clone(), Position(5), second).await;
        let (position, applied) = (Position(5), Position(4));
        assert_eq!(late, Err(ReachError::TimedOut { position, applied, waited: second }));
        let (reached, ()) =
            tokio::join!(reach(progress.clone(), position, second), async { reporter.applied(position, 1) });
        assert_eq!(reached, Ok(()));
        drop(reporter);
        let over = reach(progress, Position(6), second).await;
        assert_eq!(over, Err(ReachError::Ended { position: Position(6), applied: Position(5) }));
    }
}
