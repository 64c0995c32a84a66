//! How long to wait before the next try: full jitter under a ceiling that doubles.
//!
//! Full jitter spreads a thousand spokes that lost the same hub evenly over the wait, so the
//! restarted hub does not meet them all at once. The source of randomness is an argument.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The ceiling of the first wait.
const FIRST: Duration = Duration::from_millis(50);

/// The ceiling that is never passed.
const CAP: Duration = Duration::from_secs(5);

/// The waits between tries since the last success.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure: evenly between nothing and the ceiling, but not less
    /// than `at_least`, which the hub may have asked for.
    pub(crate) fn wait(
        &mut self,
        at_least: Duration,
        random: impl FnOnce(RangeInclusive<u64>) -> u64,
    ) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        let ceiling_ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        at_least + Duration::from_millis(random(0..=ceiling_ms))
    }

    /// Starts over, because a hub has said Welcome.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceilings(backoff: &mut Backoff, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.wait(Duration::ZERO, |range| *range.end()).as_millis()).collect()
    }

    #[test]
    fn the_ceiling_doubles_up_to_five_seconds_and_stays_there() {
        let mut backoff = Backoff::default();
        assert_eq!(ceilings(&mut backoff, 9), [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(ceilings(&mut backoff, 100).last(), Some(&5000));
    }

    #[test]
    fn a_wait_may_be_anything_from_nothing_on() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(Duration::ZERO, |range| *range.start()), Duration::ZERO);
    }

    #[test]
    fn a_welcome_starts_it_over() {
        let mut backoff = Backoff::default();
        ceilings(&mut backoff, 5);
        backoff.reset();
        assert_eq!(ceilings(&mut backoff, 2), [50, 100]);
    }

    #[test]
    fn what_the_hub_asked_for_comes_on_top() {
        let mut backoff = Backoff::default();
        let wait = backoff.wait(Duration::from_secs(2), |range| *range.end());
        assert_eq!(wait, Duration::from_millis(2050));
    }
}
