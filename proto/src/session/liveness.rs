//! Notices that the other end is gone although the connection looks alive.
//!
//! After an interval of silence a ping is due; after another one the connection counts as dead. A
//! driver that was held up itself still gives the other end a whole interval to answer.

use std::time::Duration;

use super::Violation;

/// The shortest interval: a peer's wish for less would only make noise.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Liveness {
    interval: Duration,
    heard: Duration,
    pinged: Option<Duration>,
    pings: u64,
}

impl Liveness {
    pub(super) fn new(interval: Duration, now: Duration) -> Self {
        Self { interval: interval.max(INTERVAL_MIN), heard: now, pinged: None, pings: 0 }
    }

    /// The other end is there.
    pub(super) fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.pinged = None;
    }

    /// When [`Liveness::tick`] has something to do.
    pub(super) fn due(&self) -> Duration {
        self.pinged.unwrap_or(self.heard).saturating_add(self.interval)
    }

    /// The number of the ping that is to be sent now, if one is.
    pub(super) fn tick(&mut self, now: Duration) -> Result<Option<u64>, Violation> {
        if now < self.due() {
            return Ok(None);
        }
        if self.pinged.is_some() {
            return Err(Violation::Silent { silent: now.saturating_sub(self.heard) });
        }
        self.pinged = Some(now);
        self.pings += 1;
        Ok(Some(self.pings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_asks_once_and_then_ends_the_connection() {
        let mut liveness = Liveness::new(SECOND, Duration::ZERO);
        assert_eq!(liveness.tick(SECOND / 2), Ok(None));
        assert_eq!(liveness.tick(SECOND), Ok(Some(1)));
        assert_eq!(liveness.tick(SECOND), Ok(None));
        assert_eq!(liveness.tick(2 * SECOND), Err(Violation::Silent { silent: 2 * SECOND }));
    }

    #[test]
    fn a_driver_that_was_held_up_still_lets_the_other_end_answer() {
        let mut liveness = Liveness::new(SECOND, Duration::ZERO);
        assert_eq!(liveness.tick(60 * SECOND), Ok(Some(1)));
        assert_eq!(liveness.due(), 61 * SECOND);
        liveness.heard(60 * SECOND);
        assert_eq!(liveness.tick(61 * SECOND), Ok(Some(2)));
    }
}
