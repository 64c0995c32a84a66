//! Drains the outbox: appends the events of its rows and deletes the rows, in one transaction.
//!
//! Rows are read and checked before the head is locked. They are locked first, without waiting: whoever
//! holds one of them must hold up neither the log nor this hub. An event that is in the log already is
//! not appended again, its id is the key. A row that cannot be appended is marked, and is in nobody's way.

use std::sync::Arc;

use proto::limits::REASON_CHARS_MAX;
use proto::{EventId, Position, Timestamp, Version};
use sqlx::Error;
use tracing::warn;

use crate::error::WriteError;
use crate::failure::{Failure, number};
use crate::outbox::{Drained, Handed, OUTBOX_ROW_BYTES_MAX, WaitingRow, handed};
use crate::statement::{Statement, TEMPLATE_ROWS_MAX, Template, Value};
use crate::write::append::Prepared;
use crate::write::change::{Change, Moment, Undone};
use crate::write::decide::Eventlog;
use crate::write::fire::place;
use crate::write::log::{Log, Trouble};
use crate::write::session::Session;
use crate::write::task::Task;
use crate::write::versions::Map;

/// Bytes of the rows of one transaction, unless a single one has more.
const DRAIN_BYTES_MAX: usize = 4 << 20;

/// SQLite lets one transaction write at a time, so reading is as good as locking.
static LOCK: Template = Template::each(
    &[include_str!("../../../sql/event_outbox/of_rows.sql")],
    include_str!("../../../sql/mysql/event_outbox/lock_rows.sql"),
);
static DELETE: Template = Template::same(&[include_str!("../../../sql/event_outbox/delete.sql")]);
const FAIL: Statement = Statement::same(include_str!("../../../sql/event_outbox/fail.sql"));

/// As many rows as fit one transaction.
struct Drain<'a> {
    rows: &'a [WaitingRow],
    now: Timestamp,
}

/// A row that the engine does not take.
struct Refused {
    row: i64,
    reason: String,
    now: Timestamp,
}

/// What a transaction did.
enum Outcome {
    /// Nothing: somebody else holds a row.
    Blocked,
    Done(Done),
}

struct Done {
    new: Vec<Prepared>,
    head: Position,
    versions: Map<Eventlog, Version>,
    repeated: usize,
    failed: Vec<(i64, String)>,
}

impl Task {
    /// Drains `waiting`, in this order, and tells of the events.
    pub(crate) async fn drain(
        &mut self,
        waiting: &[WaitingRow],
        now: Timestamp,
    ) -> Result<Drained, WriteError> {
        let mut drained = Drained::default();
        let (mut rest, mut together) = (waiting, waiting.len());
        while !rest.is_empty() {
            let (part, others) = rest.split_at(fitting(rest).min(together));
            match self.make(&Drain { rows: part, now }).await {
                Ok(Outcome::Done(done)) => {
                    drained.appended += done.new.len();
                    drained.repeated += done.repeated;
                    drained.failed += done.failed.len();
                    self.drained(done).await;
                }
                Ok(Outcome::Blocked) => {
                    drained.blocked = rest.len();
                    break;
                }
                // Each in a transaction of its own, so that only the bad one fails.
                Err(Undone::Engine(Failure::Refused, _)) if part.len() > 1 => {
                    together = 1;
                    continue;
                }
                Err(Undone::Engine(Failure::Refused, reason)) => {
                    let reason = format!("the database does not take the event: {reason}");
                    for row in part {
                        let refused = Refused { row: row.row, reason: reason.clone(), now };
                        drained.failed += self.make(&refused).await?;
                        tell_failed(row.row, &reason);
                    }
                }
                Err(undone) => return Err(undone.into()),
            }
            rest = others;
        }
        Ok(drained)
    }

    /// Takes note of what was committed, and tells it.
    async fn drained(&mut self, done: Done) {
        let Done { new, head, versions, repeated: _, failed } = done;
        failed.iter().for_each(|(row, reason)| tell_failed(*row, reason));
        if new.is_empty() {
            return;
        }
        self.log.moved(head, versions);
        let events = new.into_iter().map(|prepared| Arc::new(prepared.event)).collect();
        self.telling.fired(events, head).await;
    }
}

fn tell_failed(row: i64, reason: &str) {
    warn!(row, reason, "a row of the outbox has failed; see eventflow outbox ls --failed");
}

/// How many of `rows` fit one transaction, at least one.
fn fitting(rows: &[WaitingRow]) -> usize {
    let mut bytes = 0_usize;
    let fits = rows.iter().take_while(|row| {
        bytes = bytes.saturating_add(row.bytes);
        bytes <= DRAIN_BYTES_MAX
    });
    fits.count().max(1)
}

impl Change for Refused {
    type Done = usize;
    async fn make(&self, session: &mut Session, _: &mut Log, _: Moment) -> Result<usize, Trouble> {
        Ok(session.fail_row(self.row, self.now, &self.reason).await?)
    }
}

impl Change for Drain<'_> {
    type Done = Outcome;
    async fn make(&self, session: &mut Session, log: &mut Log, _: Moment) -> Result<Outcome, Trouble> {
        let mut sorted = Sorted::default();
        let (readable, oversized): (Vec<&WaitingRow>, Vec<&WaitingRow>) =
            self.rows.iter().partition(|row| row.bytes <= OUTBOX_ROW_BYTES_MAX);
        sorted.failed.extend(oversized.iter().map(|row| {
            let found = row.bytes;
            let reason = format!("the row has {found} bytes; at most {OUTBOX_ROW_BYTES_MAX} are allowed");
            (row.row, reason)
        }));
        let Some(rows) = session.lock_rows(&readable).await? else { return Ok(Outcome::Blocked) };
        sorted.prepare(rows, self.now);
        sorted.compare(session, log).await?;
        let mut done = Done {
            new: Vec::new(),
            head: log.end(),
            versions: Map::default(),
            repeated: sorted.repeated,
            failed: Vec::new(),
        };
        if !sorted.new.is_empty() {
            done.versions = place(session, &mut sorted.new, log.end()).await?;
            done.head = sorted.new.last().map_or(done.head, |new| new.event.position);
            if !session.claim(log.place(), done.head, self.now).await? {
                return Err(Trouble::HeadMoved);
            }
            let new: Vec<&Prepared> = sorted.new.iter().collect();
            session.insert_events(&new).await?;
            session.insert_links(&new).await?;
        }
        // They are locked since they were read; if one is not there any more, look again.
        if session.delete_rows(&sorted.settled).await? != sorted.settled.len() as u64 {
            return Err(Trouble::HeadMoved);
        }
        for (row, reason) in sorted.failed {
            // It may have been marked, or withdrawn, since it was looked for.
            if session.fail_row(row, self.now, &reason).await? > 0 {
                done.failed.push((row, reason));
            }
        }
        done.new = sorted.new;
        Ok(Outcome::Done(done))
    }
}

/// Rows by what is to be done about them.
#[derive(Default)]
struct Sorted {
    /// Rows whose events may be appended, in order.
    candidates: Vec<(i64, Prepared)>,
    /// Events to append, in order.
    new: Vec<Prepared>,
    /// Rows to delete.
    settled: Vec<i64>,
    /// How many of them have events that are in the log already.
    repeated: usize,
    /// Rows that cannot be appended, and why.
    failed: Vec<(i64, String)>,
}

impl Sorted {
    /// Checks what the rows say.
    fn prepare(&mut self, mut rows: Vec<Handed>, now: Timestamp) {
        rows.sort_unstable_by_key(|handed| handed.row);
        for Handed { row, event } in rows {
            match event {
                Ok((event, publisher)) => {
                    self.candidates.push((row, Prepared::new(event, Some(publisher), now)));
                }
                Err(reason) => self.failed.push((row, reason)),
            }
        }
    }

    /// Takes the head's lock and tells events that are new from those that the log has.
    async fn compare(&mut self, session: &mut Session, log: &mut Log) -> Result<(), Trouble> {
        let candidates = std::mem::take(&mut self.candidates);
        if candidates.is_empty() {
            return Ok(());
        }
        session.lock_head().await?;
        log.refresh(session).await?;
        let ids: Vec<&EventId> = candidates.iter().map(|(_, candidate)| &candidate.event.id).collect();
        let taken = session.taken(&ids).await?;
        // An emptied event takes every repetition, as it does for appends.
        let mut digests: Map<EventId, Option<[u8; 16]>> =
            taken.into_iter().map(|(id, taken)| (id, taken.digest)).collect();
        for (row, candidate) in candidates {
            let id = &candidate.event.id;
            match digests.get(id) {
                None => {
                    digests.insert(id.clone(), Some(candidate.digest));
                    self.new.push(candidate);
                    self.settled.push(row);
                }
                Some(digest) if digest.is_none_or(|digest| digest == candidate.digest) => {
                    self.repeated += 1;
                    self.settled.push(row);
                }
                Some(_) => {
                    let reason =
                        format!("event {id} is stored already with other content; insert it with another id");
                    self.failed.push((row, reason));
                }
            }
        }
        Ok(())
    }
}

impl Session {
    /// Those of `rows` that are still to be drained, locked until the transaction ends. `None` if somebody
    /// else holds one of them.
    async fn lock_rows(&mut self, rows: &[&WaitingRow]) -> Result<Option<Vec<Handed>>, Error> {
        let mut found = Vec::with_capacity(rows.len());
        let numbers: Vec<i64> = rows.iter().map(|row| row.row).collect();
        for part in numbers.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, values) = listed(&LOCK, part);
            match self.rows(&statement, &values).await {
                Ok(rows) => found.extend(rows.iter().map(handed).collect::<Result<Vec<_>, _>>()?),
                Err(error) if is_held(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(found))
    }

    async fn delete_rows(&mut self, rows: &[i64]) -> Result<u64, Error> {
        let mut deleted = 0;
        for part in rows.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, values) = listed(&DELETE, part);
            deleted += self.execute(&statement, &values).await?;
        }
        Ok(deleted)
    }

    /// Marks a row as one that cannot be appended, and counts it if it was not marked already.
    async fn fail_row(&mut self, row: i64, now: Timestamp, reason: &str) -> Result<usize, Error> {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let values = [Value::Integer(now.millis()), Value::Text(&reason), Value::Integer(row)];
        Ok(usize::from(self.execute(&FAIL, &values).await? > 0))
    }
}

/// One statement for all of `rows`: repeating the last one fills up the next larger size.
fn listed(template: &Template, rows: &[i64]) -> (Statement, Vec<Value<'static>>) {
    let (statement, size) = template.for_at_least(rows.len());
    let mut values: Vec<_> = rows.iter().map(|row| Value::Integer(*row)).collect();
    values.resize(size, values.last().copied().unwrap_or(Value::Null));
    (statement, values)
}

/// What MariaDB and MySQL say when a lock is not to be had at once.
fn is_held(error: &Error) -> bool {
    matches!(number(error), Some(1205 | 3572))
}
