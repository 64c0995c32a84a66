//! What is to be done about occurrences that nobody fired in time.

use std::time::Duration;

use proto::Timestamp;
use proto::recurrence::Misfire;

use super::{Occurrence, Series};

/// Occurrences that are fired at most when a series is caught up with. Of more, the latest are fired, and
/// the older ones are skipped, as they are by every other policy.
pub const CATCH_UP_MAX: usize = 1_000;

/// How a series goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUp {
    /// What is to be fired now, the oldest first. At most [`CATCH_UP_MAX`].
    pub fire: Vec<Occurrence>,
    /// How many occurrences are due and are not fired; `None` if they are too many to count.
    pub skipped: Option<usize>,
    /// The first occurrence that is not due yet; `None` when the series has ended.
    pub next: Option<Occurrence>,
}

impl Series {
    /// Decides about all that is due at `now`, of which `pending` is the first: the time of the oldest
    /// occurrence that has neither been fired nor skipped. It counts as an occurrence even if the rule,
    /// with the zones of a newer binary, would not have it any more.
    ///
    /// An occurrence is missed when the one after it is due as well, or when it was due more than `grace`
    /// ago. One that is not missed is fired whatever the policy. Asking again after some have been
    /// fired decides the same about the others.
    #[must_use]
    pub fn catch_up(&self, pending: Timestamp, now: Timestamp, grace: Duration) -> CatchUp {
        let pending = self.occurrence(pending);
        if pending.due > now {
            return CatchUp { fire: Vec::new(), skipped: Some(0), next: Some(pending) };
        }
        let due = std::iter::successors(Some(pending), |last| self.next(last.at));
        let due: Vec<_> = due.take_while(|next| next.due <= now).take(CATCH_UP_MAX + 1).collect();
        let too_many = due.len() > CATCH_UP_MAX;
        let mut due = if too_many { self.latest_due(now) } else { due };

        let next = due.last().and_then(|last| self.next(last.at));
        let in_time = due.last().is_some_and(|last| now.since(last.due) <= grace);
        let fired = match self.misfire {
            Misfire::FireEach => due.len(),
            Misfire::FireOnceNow => 1,
            Misfire::Skip => usize::from(in_time),
        };
        let skipped = due.len().saturating_sub(fired);
        let fire = due.split_off(skipped);
        CatchUp { fire, skipped: (!too_many).then_some(skipped), next }
    }

    /// The last [`CATCH_UP_MAX`] occurrences that are due at `now`, the oldest first.
    fn latest_due(&self, now: Timestamp) -> Vec<Occurrence> {
        let later = now.plus(Duration::from_millis(1));
        let backwards = std::iter::successors(self.before(later), |at| self.before(*at));
        let due = backwards.map(|at| self.occurrence(at)).filter(|occurrence| occurrence.due <= now);
        let mut latest: Vec<_> = due.take(CATCH_UP_MAX).collect();
        latest.reverse();
        latest
    }

    /// The last occurrence before `before`.
    fn before(&self, before: Timestamp) -> Option<Timestamp> {
        let in_time = |from: i64| {
            let from = Timestamp::from_millis(from).unwrap_or(self.start);
            self.at_or_after(from).filter(|at| *at < before)
        };
        // Further back by twice as much each time, until there is one in between.
        let mut none_from = before.millis();
        let mut back = 1_000_i64;
        let mut found = loop {
            let from = none_from.saturating_sub(back);
            match in_time(from) {
                Some(found) => break found,
                None if from <= self.start.millis() => return None,
                None => (none_from, back) = (from, back.saturating_mul(2)),
            }
        };
        // Then halfway between it and what is known to have none, until there is no later one.
        while let Some(later) = in_time(found.millis().saturating_add(1)) {
            let halfway = found.millis().midpoint(none_from);
            match in_time(halfway) {
                Some(at) => found = at.max(later),
                None => (none_from, found) = (halfway, later),
            }
        }
        Some(found)
    }
}
