//! What groups have parked, as simple as can be: rows of parked events, of processes that are parked as a
//! whole, and of what was done about them.
//!
//! A position has one outcome or one mark that it is to be delivered again, never both and never two.

use std::collections::BTreeSet;

use db::{Act, Outcome, Replay, Run, Settlements, Unpark, Unparked};
use proto::{Attempt, Pid, Position, Timestamp};

use super::super::broken::{Broken, rule};
use super::{GroupRows, Tables};

/// A parked event.
#[derive(Debug, Clone)]
pub(in super::super) struct ParkedRow {
    pub(in super::super) pid: Pid,
    attempts: Attempt,
    /// Whether its process is parked with it.
    pub(in super::super) blocks: bool,
}

/// What was done about a parked event, and whether it is to be delivered again still.
#[derive(Debug, Clone)]
pub(super) struct UnparkedRow {
    replay: Replay,
    pub(super) is_pending: bool,
}

impl GroupRows {
    /// Events that are to be delivered again.
    pub(super) fn replays(&self) -> Vec<Replay> {
        self.unparked.values().filter(|row| row.is_pending).map(|row| row.replay.clone()).collect()
    }

    /// The processes that are parked as a whole, and from where on.
    pub(super) fn pids_parked(&self) -> Vec<(Pid, Position)> {
        self.parked_pids.iter().filter_map(|pid| Some((pid.clone(), self.first_blocking(pid)?))).collect()
    }

    /// Parked events about which something was done.
    pub(in super::super) fn acts(&self) -> usize {
        self.unparked.len()
    }

    /// When something was done about a parked event last.
    pub(super) fn last_act(&self) -> Timestamp {
        self.unparked.keys().map(|(_, at)| *at).max().unwrap_or_default()
    }

    fn first_blocking(&self, pid: &Pid) -> Option<Position> {
        let mut parked = self.parked.iter();
        parked.find(|(_, row)| row.blocks && row.pid == *pid).map(|(&position, _)| position)
    }

    /// Whether an event of this process before `position` is parked with its process.
    pub(in super::super) fn blocks(&self, pid: &Pid, position: Position) -> bool {
        self.first_blocking(pid).is_some_and(|first| first < position)
    }

    /// Whether the event at `position` is to be delivered again.
    pub(in super::super) fn is_replayed(&self, position: Position) -> bool {
        self.unparked.iter().any(|((of, _), row)| *of == position && row.is_pending)
    }

    /// An event is deleted, and with it what is known of it.
    pub(super) fn forget_parked(&mut self, position: Position) {
        self.retries.remove(&position);
        self.unparked.retain(|(of, _), _| *of != position);
        if let Some(row) = self.parked.remove(&position).filter(|row| row.blocks) {
            self.blocked_by_deleted.insert(row.pid);
        }
    }

    /// Takes what settlements say beside outcomes, before these are recorded.
    pub(super) fn set_aside(&mut self, settlements: &Settlements) {
        self.outs.extend(settlements.aside.outs.iter().cloned());
        self.parked_pids.extend(settlements.aside.pids.iter().cloned());
        let replayed: BTreeSet<_> = settlements.aside.replayed.iter().copied().collect();
        for ((position, _), row) in &mut self.unparked {
            row.is_pending &= !replayed.contains(position);
        }
    }

    /// An event is parked.
    pub(super) fn park(&mut self, position: Position, pid: Pid, run: &Run, blocks: bool) {
        self.parked.insert(position, ParkedRow { pid, attempts: run.attempts, blocks });
    }

    /// Changes the outcome of a parked event.
    fn take_up(&mut self, position: Position, row: &ParkedRow, unpark: &Unpark) -> Result<(), Broken> {
        let before = self.settled.remove(&position);
        rule(matches!(before, Some(Outcome::Parked { .. })), "what is parked has that outcome", || {
            format!("{position}: {before:?}, {unpark:?}")
        })?;
        let run = self.runs.remove(&position);
        let slot = proto::slot(&self.group.topic.domain, &row.pid);
        let slot = self.group.slots.get_mut(usize::from(slot)).expect("a process has a slot");
        slot.parked -= 1;
        let is_pending = match &unpark.act {
            Act::Replay => true,
            Act::Discard { reason } => {
                slot.discarded += 1;
                let outcome = Outcome::Discarded { reason: reason.clone() };
                self.settled.insert(position, outcome.clone());
                self.runs.extend(run.map(|run| (position, Run { outcome, ..run })));
                false
            }
        };
        let replay = Replay { position, pid: row.pid.clone(), attempts: row.attempts };
        self.unparked.insert((position, unpark.at), UnparkedRow { replay, is_pending });
        Ok(())
    }
}

impl Tables {
    /// Takes parked events up: all of it, or `None` if a slot is another hub's.
    pub(in super::super) fn unpark(&mut self, unpark: &Unpark) -> Result<Option<Unparked>, Broken> {
        let Some(rows) = self.groups.get_mut(&unpark.group.0) else { return Ok(None) };
        let found: Vec<_> = unpark
            .events
            .iter()
            .filter_map(|(position, _)| Some((*position, rows.parked.get(position)?.clone())))
            .collect();
        if !found.is_empty() && !rows.holds_moves(&unpark.moves) {
            return Ok(None);
        }
        // A try that was not answered may have done it.
        let done =
            unpark.events.iter().filter_map(|(position, _)| rows.unparked.get(&(*position, unpark.at)));
        let mut taken: Vec<_> = done.map(|row| row.replay.clone()).collect();
        for (position, row) in found {
            rows.take_up(position, &row, unpark)?;
            rows.parked.remove(&position);
            taken.push(Replay { position, pid: row.pid, attempts: row.attempts });
        }
        taken.sort_by_key(|replay| replay.position);
        let pids: BTreeSet<_> = taken.iter().map(|replay| replay.pid.clone()).collect();
        let pids: Vec<_> = pids.into_iter().map(|pid| (pid.clone(), rows.first_blocking(&pid))).collect();
        for (pid, _) in pids.iter().filter(|(_, first)| first.is_none()) {
            rows.parked_pids.remove(pid);
        }
        Ok(Some(Unparked { taken, pids }))
    }
}
