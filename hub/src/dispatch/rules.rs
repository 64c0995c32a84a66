//! How often and when a failing delivery is tried again.

use std::time::Duration;

use proto::{ParkPolicy, Position, Timestamp};

/// The rules that every group follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Failures after which an event is parked; at least 1.
    pub attempts_max: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// How long a member may keep a delivery without an answer or a sign of progress.
    pub deadline: Duration,
    /// What is parked when an event is given up.
    pub park: ParkPolicy,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            deadline: Duration::from_secs(60),
            park: ParkPolicy::Event,
        }
    }
}

/// The longest wait that a handler may ask for.
const AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl Rules {
    /// When an event that has failed `failures` times is tried again.
    ///
    /// The wait doubles with each failure and is shortened by up to a quarter, so that events which
    /// failed together do not come back together. The same event and failure give the same wait.
    pub(super) fn retry_at(
        &self,
        position: Position,
        failures: u32,
        after: Option<Duration>,
        now: Timestamp,
    ) -> Timestamp {
        if let Some(after) = after {
            return now.plus(after.min(AFTER_MAX));
        }
        let doublings = failures.saturating_sub(1).min(20);
        let wait = self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_max);
        let quarter = u64::try_from(wait.as_millis() / 4).unwrap_or(u64::MAX);
        let less = scramble(position.0 ^ (u64::from(failures) << 56)).checked_rem(quarter).unwrap_or(0);
        now.plus(wait.saturating_sub(Duration::from_millis(less)))
    }
}

/// The finaliser of SplitMix64: spreads neighbouring numbers over the whole range.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(failures: u32, after: Option<Duration>) -> Duration {
        let now = Timestamp::default();
        Rules::default().retry_at(Position(7), failures, after, now).since(now)
    }

    #[test]
    fn the_wait_doubles_within_a_quarter_and_has_an_upper_end() {
        for (failures, longest) in [(1, 500), (2, 1_000), (3, 2_000), (8, 60_000), (4_000_000, 60_000)] {
            let longest = Duration::from_millis(longest);
            let wait = wait(failures, None);
            assert!(wait <= longest && wait >= longest * 3 / 4, "{failures}: {wait:?}");
        }
    }

    #[test]
    fn a_wait_that_the_handler_names_is_kept_up_to_a_day() {
        assert_eq!(wait(1, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(wait(1, Some(Duration::from_secs(1_000_000))), AFTER_MAX);
    }
}
