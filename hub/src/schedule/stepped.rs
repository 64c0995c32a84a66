//! The wheel on a real log in simulated time, for tests: they say what time it is, and years pass at once.

use std::time::Duration;

use db::{PendingNews, PendingSchedules, Reader, Writer};
use proto::Timestamp;

use super::task::{Firing, fire};
use super::wheel::{Step, Wheel};

/// What fires schedules, one thing after the other.
pub struct SteppedSchedules {
    wheel: Wheel,
    firing: Firing,
    news: PendingSchedules,
}

impl std::fmt::Debug for SteppedSchedules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteppedSchedules").field("wheel", &self.wheel).finish_non_exhaustive()
    }
}

impl SteppedSchedules {
    /// One that starts at `now`, as a hub does.
    #[must_use]
    pub fn new(
        writer: Writer,
        reader: Reader,
        news: PendingSchedules,
        grace: Duration,
        now: Timestamp,
    ) -> Self {
        Self { wheel: Wheel::new(now), firing: Firing { writer, reader, grace }, news }
    }

    /// Does all that there is to do at `now`, and says when there is more.
    ///
    /// # Errors
    /// What the database said.
    pub async fn turn(&mut self, now: Timestamp) -> Result<Timestamp, String> {
        loop {
            while let Some(news) = self.news.try_next() {
                match news {
                    PendingNews::Pending(due) => self.wheel.pending(due),
                    PendingNews::Missed => self.wheel.missed(now),
                }
            }
            match self.wheel.poll(now) {
                Step::Read { after, until, limit } => {
                    let page = self.firing.reader.due(after.as_ref(), until, limit).await;
                    self.wheel.read(page.map_err(|error| error.to_string())?, now);
                }
                Step::Fire(batch) => {
                    let outcome = fire(&self.firing, batch, now).await;
                    self.wheel.fired(outcome.verdict(), now);
                    if let Some(error) = outcome.error {
                        return Err(error);
                    }
                }
                Step::Wait(until) => return Ok(until),
            }
        }
    }
}
