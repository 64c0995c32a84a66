//! The hub's clock: wall time at the start, moved on by the monotonic clock.
//!
//! So a step of the system's clock neither fires nor delays a deadline, and times of one run of
//! the hub are in order.

use proto::Timestamp;
use tokio::time::Instant;

/// A clock; copies tell the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that is set by the system's.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
        let now = std::time::SystemTime::now();
        let since_1970 = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self { wall: Timestamp::default().plus(since_1970), started: Instant::now() }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.wall.plus(self.started.elapsed())
    }

    /// When `at` will be, for a sleep; at once if it has passed.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + at.since(self.now())
    }
}
