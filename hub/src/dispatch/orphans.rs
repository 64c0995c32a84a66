//! Published events that nobody wanted, gathered into runs for the tables.

use std::time::Duration;

use db::OrphanRun;
use proto::{Position, Timestamp};

/// Runs after which orphans are handed to the writer at once.
const RUNS_MAX: usize = 256;

/// How long an orphan may wait for company.
const LINGER: Duration = Duration::from_millis(100);

/// Orphans that the tables do not know yet.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    runs: Vec<OrphanRun>,
    flushing: bool,
}

impl Orphans {
    pub(super) fn add(&mut self, position: Position, now: Timestamp) {
        match self.runs.last_mut() {
            Some(run) if run.last.next() == position => run.last = position,
            _ => self.runs.push(OrphanRun { first: position, last: position, at: now }),
        }
    }

    /// When they are due to be handed to the writer.
    pub(super) fn due_at(&self) -> Option<Timestamp> {
        let first = self.runs.first().filter(|_| !self.flushing)?;
        Some(if self.runs.len() >= RUNS_MAX { first.at } else { first.at.plus(LINGER) })
    }

    /// Hands them out, if they are due.
    pub(super) fn flush(&mut self, now: Timestamp) -> Option<Vec<OrphanRun>> {
        if self.due_at()? > now {
            return None;
        }
        self.flushing = true;
        Some(std::mem::take(&mut self.runs))
    }

    /// They are recorded.
    pub(super) fn flushed(&mut self) {
        self.flushing = false;
    }

    /// Whether nothing waits to be recorded.
    pub(super) fn is_quiet(&self) -> bool {
        self.runs.is_empty() && !self.flushing
    }
}
