//! When a schedule recurs: pure, from the rule and moments to moments.
//!
//! [`Series::compile`] understands a rule once, with errors that say what to do. Then [`Series::next`] says
//! what comes after a moment, and [`Series::catch_up`] what is to be fired after a time in which nobody
//! did. Everything follows from the rule, the series' id, its start and the zones in this binary, so every
//! hub of the same version gives the same answers. `docs/schedules.md` has the table of what happens
//! when clocks change; a test reads it.

mod cron;
mod error;
mod jitter;
mod misfire;
mod zone;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod specs;

use proto::Timestamp;
use proto::recurrence::{Misfire, Recurrence, Rule};

use cron::Cron;
use jitter::Jitter;
use zone::Zone;

pub use error::RecurrenceError;
pub use misfire::{CATCH_UP_MAX, CatchUp};

/// Shortest interval, in milliseconds. A shorter one is refused: what comes faster is not a schedule.
pub const EVERY_MS_MIN: u64 = 1_000;

/// Longest interval, in milliseconds: ten years of 365.25 days. A longer one is refused.
pub const EVERY_MS_MAX: u64 = 10 * 31_557_600_000;

/// Most jitter, in milliseconds: a day. More is refused.
pub const JITTER_MS_MAX: u32 = 24 * 60 * 60 * 1_000;

/// Occurrences that are looked at for two that are no further apart than the jitter. Should later ones
/// be closer, the jitter is cut for them so that none is fired after the next.
const OCCURRENCES_COMPARED: usize = 64;

/// One time at which a series occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence {
    /// When it is by the rule. It names the occurrence.
    pub at: Timestamp,
    /// When it is to be fired: `at` and its share of the jitter. It is before the next occurrence and
    /// not after the end of the series.
    pub due: Timestamp,
}

/// A recurrence that was understood, from its start on.
#[derive(Debug, Clone)]
pub struct Series {
    times: Times,
    start: Timestamp,
    end: Option<Timestamp>,
    misfire: Misfire,
    jitter: Jitter,
}

/// Where occurrences are, without start and end.
#[derive(Debug, Clone)]
enum Times {
    Local { cron: Box<Cron>, zone: Zone },
    Every { millis: i64 },
}

impl Series {
    /// Understands `recurrence` for the series `id`, which starts at `start`: nothing occurs before it,
    /// and intervals are counted from it.
    ///
    /// # Errors
    /// [`RecurrenceError`] says what is wrong with it and what to do.
    pub fn compile(recurrence: &Recurrence, id: &str, start: Timestamp) -> Result<Self, RecurrenceError> {
        if let Some(end) = recurrence.end.filter(|end| *end < start) {
            return Err(RecurrenceError::EndBeforeStart { start, end });
        }
        let times = match &recurrence.rule {
            Rule::Cron { expression, zone } => {
                let cron = Box::new(Cron::parse(expression)?);
                let hours = cron.hours();
                let zone = Zone::find(zone, recurrence.skipped, recurrence.doubled, hours)?;
                Times::Local { cron, zone }
            }
            Rule::Every { millis } => Times::Every { millis: interval(*millis)? },
        };
        let jitter = Jitter::new(id, recurrence.jitter_ms);
        let series = Self { times, start, end: recurrence.end, misfire: recurrence.misfire, jitter };
        series.check(recurrence)?;
        Ok(series)
    }

    /// The first occurrence, which may be at the start itself.
    #[must_use]
    pub fn first(&self) -> Option<Occurrence> {
        self.at_or_after(self.start).map(|at| self.occurrence(at))
    }

    /// The occurrence after `after`, the time of which is strictly later by the rule; `None` when the
    /// series has ended.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Occurrence> {
        self.after(after).map(|at| self.occurrence(at))
    }

    fn occurrence(&self, at: Timestamp) -> Occurrence {
        let Some(late) = self.jitter.of(at) else { return Occurrence { at, due: at } };
        let mut due = at.plus(late);
        if let Some(next) = self.after(at) {
            due = due.min(earlier(next).unwrap_or(at));
        }
        Occurrence { at, due: self.end.map_or(due, |end| due.min(end)) }
    }

    fn after(&self, after: Timestamp) -> Option<Timestamp> {
        self.at_or_after(Timestamp::from_millis(after.millis().checked_add(1)?).ok()?)
    }

    fn at_or_after(&self, from: Timestamp) -> Option<Timestamp> {
        let from = from.max(self.start);
        let at = match &self.times {
            Times::Local { cron, zone } => zone.at_or_after(cron, from)?,
            Times::Every { millis } => {
                let start = self.start.millis();
                let passed = from.millis().checked_sub(start)?;
                let times = passed.div_euclid(*millis) + i64::from(passed.rem_euclid(*millis) != 0);
                Timestamp::from_millis(start.checked_add(times.checked_mul(*millis)?)?).ok()?
            }
        };
        self.end.is_none_or(|end| at <= end).then_some(at)
    }

    /// Whether it occurs at all, and seldom enough for its jitter.
    fn check(&self, recurrence: &Recurrence) -> Result<(), RecurrenceError> {
        let first = self.at_or_after(self.start);
        match (first, self.end, &recurrence.rule) {
            (None, None, Rule::Cron { expression, zone }) => {
                return Err(RecurrenceError::Never { expression: expression.clone(), zone: zone.clone() });
            }
            (None, Some(end), Rule::Cron { .. }) => {
                let open = Self { end: None, ..self.clone() };
                return match open.at_or_after(self.start) {
                    Some(first) => Err(RecurrenceError::NothingBeforeEnd { first, end }),
                    None => open.check(recurrence),
                };
            }
            (Some(_), _, _) | (None, _, Rule::Every { .. }) => {}
        }
        let jitter_ms = recurrence.jitter_ms;
        if jitter_ms > JITTER_MS_MAX {
            return Err(RecurrenceError::JitterTooLarge { jitter_ms, most: JITTER_MS_MAX });
        }
        if jitter_ms > 0
            && let Some(closest) = self.closest()
            && i64::from(jitter_ms) >= closest
        {
            let most = u32::try_from(closest - 1).unwrap_or(u32::MAX);
            return Err(RecurrenceError::JitterTooLarge { jitter_ms, most });
        }
        Ok(())
    }

    /// The least milliseconds between two neighbours among the first occurrences.
    fn closest(&self) -> Option<i64> {
        let times = std::iter::successors(self.at_or_after(self.start), |at| self.after(*at));
        let mut last = None;
        let mut closest = None::<i64>;
        for at in times.take(OCCURRENCES_COMPARED) {
            if let Some(last) = last.replace(at) {
                let apart = at.millis() - last.millis();
                closest = Some(closest.map_or(apart, |closest| closest.min(apart)));
            }
        }
        closest
    }
}

fn earlier(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_millis(at.millis().checked_sub(1)?).ok()
}

fn interval(millis: u64) -> Result<i64, RecurrenceError> {
    if (EVERY_MS_MIN..=EVERY_MS_MAX).contains(&millis) {
        i64::try_from(millis).map_err(|_| RecurrenceError::Interval { millis })
    } else {
        Err(RecurrenceError::Interval { millis })
    }
}
