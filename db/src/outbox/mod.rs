//! The outbox: events that services which share the database hand over in their own transactions.
//!
//! A service inserts rows into `event_outbox` and commits them with its own tables. The hub looks for
//! them ([`Outbox::waiting`]) and has the writer append them ([`crate::Writer::drain`]), which deletes
//! each row in the transaction that appends its event. A row that cannot be appended stays with the
//! reason until a person lets it be tried again or discards it. Services are told how in
//! `docs/outbox.md`.

mod row;

use proto::Timestamp;
use proto::limits::{FRAME_BYTES_MAX, PAGE_EVENTS_MAX};

use crate::database::Database;
use crate::read::ReadError;
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Template, Value};

pub(crate) use row::{Handed, handed};

/// Rows that are looked for at a time, and so the most that one call drains.
pub const OUTBOX_ROWS_MAX: u32 = 500;

/// Bytes of a row's texts together. A larger row fails without being read.
pub const OUTBOX_ROW_BYTES_MAX: usize = FRAME_BYTES_MAX;

const WAITING: Statement = Statement::same(include_str!("../../../sql/event_outbox/waiting.sql"));
pub(crate) const PAGE: Statement = Statement::same(include_str!("../../../sql/event_outbox/page.sql"));
static RETRY: Template = Template::same(&[include_str!("../../../sql/event_outbox/retry.sql")]);
static DISCARD: Template = Template::same(&[include_str!("../../../sql/event_outbox/discard.sql")]);

/// A row that is to be drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingRow {
    /// Its number, usually from 1 on.
    pub row: i64,
    /// Bytes of its texts together.
    pub bytes: usize,
    /// When it was inserted, by the database's clock or as the service says. `None` if that is no time.
    pub since: Option<Timestamp>,
}

/// What became of rows that were to be drained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Rows whose events were appended now.
    pub appended: usize,
    /// Rows whose events were in the log already, with the same content. They are deleted, too.
    pub repeated: usize,
    /// Rows that failed and stay, with their reasons.
    pub failed: usize,
    /// Rows that were left alone, because somebody else holds one of them locked.
    pub blocked: usize,
}

/// Which rows to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxRows {
    /// All of them.
    All,
    /// Those that failed.
    Failed,
}

/// A row for people. Its texts are as somebody wrote them: nothing says that they are names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Its number, usually from 1 on.
    pub row: i64,
    /// The id of its event.
    pub id: String,
    /// In whose name the event is to be published.
    pub publisher: String,
    /// The event's domain.
    pub domain: String,
    /// The event's pid.
    pub pid: String,
    /// The event's name.
    pub name: String,
    /// Bytes of its data, metadata and links.
    pub bytes: u64,
    /// When it was inserted.
    pub created: Timestamp,
    /// When it failed, and why. `None` if it waits.
    pub failed: Option<(Timestamp, String)>,
}

/// The outbox of a database.
#[derive(Debug, Clone)]
pub struct Outbox {
    database: Database,
}

impl Database {
    /// The outbox. It only ever holds what is still to be appended, and what cannot be.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox { database: self.clone() }
    }
}

impl Outbox {
    /// The first rows that are to be drained, in the order of their numbers: at most
    /// [`OUTBOX_ROWS_MAX`]. It waits for nobody: rows of open transactions are not there yet.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn waiting(&self) -> Result<Vec<WaitingRow>, ReadError> {
        let limit = [Value::Integer(i64::from(OUTBOX_ROWS_MAX))];
        let rows = self.database.reading().rows(&WAITING, &limit).await?;
        Ok(rows.iter().map(waiting).collect::<Result<_, _>>()?)
    }

    /// Rows after one, or from the first on, by number; at most [`PAGE_EVENTS_MAX`]. None: there are no more.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn page(
        &self,
        rows: OutboxRows,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, RecordError> {
        let failed_only = Value::Integer(i64::from(rows == OutboxRows::Failed));
        let limit = Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)));
        let values = [Value::Integer(after.unwrap_or(i64::MIN)), failed_only, limit];
        let rows = self.database.reading().rows(&PAGE, &values).await?;
        Ok(rows.iter().map(listed).collect::<Result<_, _>>()?)
    }

    /// Lets failed rows be tried again, and says how many of `rows` had failed.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn retry(&self, rows: &[i64]) -> Result<u64, RecordError> {
        self.change(&RETRY, rows).await
    }

    /// Takes failed rows away for good, and says how many of `rows` had failed.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn discard(&self, rows: &[i64]) -> Result<u64, RecordError> {
        self.change(&DISCARD, rows).await
    }

    async fn change(&self, template: &Template, rows: &[i64]) -> Result<u64, RecordError> {
        let mut changed = 0;
        let mut rest = rows;
        while !rest.is_empty() {
            let (statement, size) = template.for_at_most(rest.len());
            let (part, others) = rest.split_at(size.min(rest.len()));
            let values: Vec<_> = part.iter().map(|row| Value::Integer(*row)).collect();
            let mut transaction = self.database.side().await?;
            changed += transaction.execute(&statement, &values).await?;
            transaction.commit().await?;
            rest = others;
        }
        Ok(changed)
    }
}

fn waiting(row: &Row) -> Result<WaitingRow, RowError> {
    // Its time is only for people: a row is drained whatever a service has put there.
    Ok(WaitingRow { row: row.integer(0)?, bytes: row.small(2)?, since: row.timestamp(1).ok() })
}

/// A row may hold anything, and a person must be able to see and discard it.
pub(crate) fn listed(row: &Row) -> Result<OutboxRow, RowError> {
    let text = |column| row.text(column).unwrap_or_else(|_| "(not UTF-8)".to_owned());
    let failed = row.integer_or_null(7)?.map(|at| Timestamp::from_millis(at).unwrap_or_default());
    let reason = row.text_or_null(8)?.unwrap_or_default();
    Ok(OutboxRow {
        row: row.integer(0)?,
        id: text(1),
        publisher: text(2),
        domain: text(3),
        pid: text(4),
        name: text(5),
        created: row.timestamp(6).unwrap_or_default(),
        failed: failed.map(|at| (at, reason)),
        bytes: row.number(9)?,
    })
}
