//! Finds parked events that are selected, group by group, a bounded number of rows at a time.

use std::collections::HashSet;

use db::ParkedRow;
use proto::limits::{PAGE_BYTES_MAX, UNPARK_EVENTS_MAX};
use proto::parked::{ParkedAct, ParkedCursor, ParkedSelection};
use proto::{ParkPolicy, Pid, Position, Refusal};

use super::parked::Owner;
use crate::access::Permit;
use crate::store::Store;

/// Parked events that one request looks at. What is further takes another one.
const ROWS_PER_REQUEST: usize = 8_192;

/// Parked events of one read.
const ROWS_PER_READ: u32 = 512;

/// What is selected, of which groups.
pub(super) struct Search<'a> {
    pub(super) store: &'a Store,
    pub(super) permit: &'a Permit,
    pub(super) selection: &'a ParkedSelection,
    /// By number.
    pub(super) owners: Vec<Owner>,
    /// Where the one event is that is selected.
    pub(super) only: Option<Position>,
}

/// What is to be taken at once: parked events of one group.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) owner: Option<Owner>,
    /// By position.
    pub(super) rows: Vec<ParkedRow>,
    pub(super) next: Option<ParkedCursor>,
}

/// Matching rows with their groups, and how to go on.
type Found = (Vec<(Owner, ParkedRow)>, Option<ParkedCursor>);

impl Search<'_> {
    /// What matches after `after`, at most `limit`. Nothing and a cursor mean that it looked at as
    /// much as it may.
    pub(super) async fn page(&self, after: Option<ParkedCursor>, limit: usize) -> Result<Found, Refusal> {
        let (mut found, mut looked) = (Vec::new(), 0);
        let (first, mut position) = after.map_or((0, Position(0)), |after| (after.group, after.after));
        for owner in self.owners.iter().filter(|owner| owner.id.0 >= first) {
            if owner.id.0 > first {
                position = Position(0);
            }
            if let Some(only) = self.only {
                position = position.max(only.previous());
            }
            loop {
                let pid = self.selection.pid.as_ref();
                let rows = self.store.parked(self.permit, owner.id, pid, position, ROWS_PER_READ).await?;
                let is_last = rows.len() < ROWS_PER_READ as usize;
                for row in rows {
                    if self.only.is_some_and(|only| row.position > only) {
                        break;
                    }
                    position = row.position;
                    looked += 1;
                    if self.matches(&row) {
                        found.push((owner.clone(), row));
                    }
                    if found.len() >= limit || looked >= ROWS_PER_REQUEST {
                        let next = ParkedCursor { group: owner.id.0, after: position, rest: None };
                        return Ok((found, Some(next)));
                    }
                }
                if is_last || self.only.is_some() {
                    break;
                }
            }
        }
        Ok((found, None))
    }

    fn matches(&self, row: &ParkedRow) -> bool {
        let ParkedSelection { id, pid, name, reason, window, group: _, domain: _ } = self.selection;
        id.as_ref().is_none_or(|id| row.id == *id)
            && pid.as_ref().is_none_or(|pid| row.pid == *pid)
            && name.as_ref().is_none_or(|name| row.name == *name)
            && reason.as_ref().is_none_or(|reason| row.reason.contains(reason))
            && window.from.is_none_or(|from| row.parked >= from)
            && window.until.is_none_or(|until| row.parked <= until)
    }

    /// What `act` takes next: of one group, and with a replay all that is parked of a process which is
    /// parked as a whole, from its first event on.
    pub(super) async fn batch(&self, after: Option<ParkedCursor>, act: &ParkedAct) -> Result<Batch, Refusal> {
        if let Some(ParkedCursor { group, after: scanned, rest: Some((pid, last)) }) = after {
            let Some(owner) = self.owners.iter().find(|owner| owner.id.0 == group).cloned() else {
                return Ok(Batch::default());
            };
            let mut batch = Batch { owner: Some(owner), ..Batch::default() };
            let rest = self.fill(&mut batch, &pid, last).await?;
            batch.next = Some(ParkedCursor { group, after: scanned, rest: rest.map(|last| (pid, last)) });
            return Ok(batch);
        }
        let (found, next) = self.page(after, UNPARK_EVENTS_MAX).await?;
        let mut batch = Batch { next, ..Batch::default() };
        let mut led = HashSet::new();
        for (owner, row) in found {
            let at = |rest| Some(ParkedCursor { group: owner.id.0, after: row.position.previous(), rest });
            if batch.owner.as_ref().is_some_and(|other| other.id != owner.id) {
                batch.next = at(None);
                break;
            }
            if batch.rows.iter().any(|taken| taken.position == row.position) {
                continue;
            }
            if batch.is_full() {
                batch.next = at(None);
                break;
            }
            batch.owner = Some(owner.clone());
            if *act != ParkedAct::Replay || row.policy == ParkPolicy::Event {
                batch.rows.push(row);
                continue;
            }
            if !self.leads(&owner, &row, &mut led).await? {
                continue;
            }
            // Nothing of a parked process is delivered before what was parked before it.
            let pid = row.pid.clone();
            if let Some(last) = self.fill(&mut batch, &pid, Position(0)).await? {
                batch.next =
                    Some(ParkedCursor { group: owner.id.0, after: row.position, rest: Some((pid, last)) });
                break;
            }
        }
        batch.rows.sort_by_key(|row| row.position);
        Ok(batch)
    }

    /// Whether `row` is the first of its process that matches: all of the process came with that one.
    async fn leads(&self, owner: &Owner, row: &ParkedRow, led: &mut HashSet<Pid>) -> Result<bool, Refusal> {
        if !led.insert(row.pid.clone()) {
            return Ok(false);
        }
        let mut after = Position(0);
        loop {
            let pid = Some(&row.pid);
            let rows = self.store.parked(self.permit, owner.id, pid, after, ROWS_PER_READ).await?;
            if let Some(first) = rows.iter().find(|parked| self.matches(parked)) {
                return Ok(first.position >= row.position);
            }
            match rows.last() {
                Some(last) if last.position < row.position => after = last.position,
                Some(_) | None => return Ok(true),
            }
        }
    }

    /// Adds what is parked of `pid` after `last`, as far as there is room: the last that was looked at
    /// if there may be more.
    async fn fill(
        &self,
        batch: &mut Batch,
        pid: &Pid,
        mut last: Position,
    ) -> Result<Option<Position>, Refusal> {
        let Some(owner) = &batch.owner else { return Ok(None) };
        let id = owner.id;
        loop {
            let rows = self.store.parked(self.permit, id, Some(pid), last, ROWS_PER_READ).await?;
            let is_last = rows.len() < ROWS_PER_READ as usize;
            for row in rows {
                if batch.is_full() {
                    return Ok(Some(last));
                }
                last = row.position;
                if batch.rows.iter().all(|taken| taken.position != row.position) {
                    batch.rows.push(row);
                }
            }
            if is_last {
                return Ok(None);
            }
        }
    }
}

impl Batch {
    fn is_full(&self) -> bool {
        const FIXED: usize = 512;
        let bytes: usize = self.rows.iter().map(|row| FIXED + row.reason.len() + row.consumer.len()).sum();
        self.rows.len() >= UNPARK_EVENTS_MAX || bytes >= PAGE_BYTES_MAX
    }
}
