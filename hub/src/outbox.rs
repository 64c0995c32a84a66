//! Looks for events that services have put into the outbox, and has them appended.
//!
//! Nobody can tell the hub of a row that is inserted past it, so it asks: often while something comes, and
//! seldom while nothing does. What a row is and what becomes of it is `db`'s business.

use std::time::Duration;

use db::{OUTBOX_ROWS_MAX, Outbox, WriteError, Writer};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::metrics::Metrics;

/// The pause after rows were found: more may be on their way.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The longest pause after the database did not do it, or while somebody holds a row locked.
const TROUBLE_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Drains the outbox until it is told to stop.
pub(crate) struct OutboxTask {
    pub(crate) outbox: Outbox,
    pub(crate) writer: Writer,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// The longest pause while nothing comes.
    pub(crate) poll: Duration,
}

/// What a look at the outbox brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// As many rows as are looked for at a time: there may be more.
    Full,
    /// Some rows.
    Some,
    /// No rows.
    Nothing,
    /// The database did not answer, or rows cannot be had now.
    Trouble,
}

/// How long to wait before the next look.
#[derive(Debug)]
struct Pace {
    poll: Duration,
    pause: Duration,
}

impl Pace {
    fn new(poll: Duration) -> Self {
        Self { poll, pause: PAUSE_MIN }
    }

    /// The pause after this was found.
    fn after(&mut self, found: Found) -> Duration {
        let pause = match found {
            Found::Full => Duration::ZERO,
            Found::Some => PAUSE_MIN.min(self.poll),
            Found::Nothing => self.doubled().min(self.poll),
            Found::Trouble => self.doubled().min(TROUBLE_PAUSE_MAX),
        };
        self.pause = pause;
        pause
    }

    fn doubled(&self) -> Duration {
        self.pause.saturating_mul(2).max(PAUSE_MIN)
    }
}

impl OutboxTask {
    /// Drains until `stop`; what is under way then is still done.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pace = Pace::new(self.poll);
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match self.look().await {
                Ok(found) => pause = pace.after(found),
                Err(WriteError::Stopped) => return,
                Err(error) => {
                    warn!(%error, "the outbox was not drained; trying again");
                    pause = pace.after(Found::Trouble);
                }
            }
        }
    }

    /// Drains what is there now, one page of it.
    async fn look(&self) -> Result<Found, WriteError> {
        let waiting = match self.outbox.waiting().await {
            Ok(waiting) => waiting,
            Err(error) => {
                warn!(%error, "the outbox was not looked at; trying again");
                return Ok(Found::Trouble);
            }
        };
        let now = self.clock.now();
        let oldest = waiting.iter().filter_map(|row| row.since).min();
        self.metrics.set_outbox_waited(oldest.map_or(Duration::ZERO, |since| now.since(since)));
        let rows = waiting.len();
        if rows == 0 {
            return Ok(Found::Nothing);
        }
        let drained = self.writer.drain(waiting, now).await?;
        debug!(?drained, "outbox drained");
        self.metrics.appended(drained.appended, drained.repeated);
        self.metrics.outbox_drained(drained.appended + drained.repeated, drained.failed);
        if drained.blocked > 0 {
            warn!(
                rows = drained.blocked,
                "somebody holds a row of the outbox locked; services are only to insert rows, see docs/outbox.md"
            );
            return Ok(Found::Trouble);
        }
        let full = u32::try_from(rows).is_ok_and(|rows| rows >= OUTBOX_ROWS_MAX);
        Ok(if full { Found::Full } else { Found::Some })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outbox_is_looked_at_often_while_something_comes_and_seldom_while_nothing_does() {
        let mut pace = Pace::new(Duration::from_millis(500));
        assert_eq!(pace.after(Found::Full), Duration::ZERO);
        assert_eq!(pace.after(Found::Some).as_millis(), 20);
        let idle: Vec<_> = (0..6).map(|_| pace.after(Found::Nothing).as_millis()).collect();
        assert_eq!(idle, [40, 80, 160, 320, 500, 500]);
        assert_eq!(pace.after(Found::Some).as_millis(), 20);
    }

    #[test]
    fn trouble_is_met_with_longer_pauses_up_to_a_bound() {
        let mut pace = Pace::new(Duration::from_millis(500));
        let pauses: Vec<_> = (0..10).map(|_| pace.after(Found::Trouble)).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(pauses.last(), Some(&TROUBLE_PAUSE_MAX));
        assert_eq!(pace.after(Found::Nothing).as_millis(), 500);
    }
}
