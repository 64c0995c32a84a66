//! The log table: connects, disconnects and errors, for people. It is not the event log.
//!
//! Old entries are moved to an archive of the same shape and keep their numbers.

use proto::Timestamp;
use proto::audit::AuditLine;
use proto::limits::PAGE_EVENTS_MAX;

use crate::database::Database;
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

/// Longest agent, in characters. Longer is cut.
const AGENT_CHARS_MAX: usize = 128;

/// Longest message, in characters. Longer is cut: four bytes each still fit the column.
const MESSAGE_CHARS_MAX: usize = 16_000;

const INSERT: Statement = Statement::each(
    include_str!("../../sql/sqlite/log/insert_all.sql"),
    include_str!("../../sql/mysql/log/insert_all.sql"),
);
const PAGE: Statement = Statement::same(include_str!("../../sql/log/page.sql"));
const AUDIT: Statement = Statement::same(include_str!("../../sql/log/page_audit.sql"));
const ARCHIVED: Statement = Statement::same(include_str!("../../sql/log_archive/page.sql"));
const BOUND: Statement = Statement::same(include_str!("../../sql/log/archive_bound.sql"));
const COPY: Statement = Statement::same(include_str!("../../sql/log_archive/insert.sql"));
const DELETE: Statement = Statement::same(include_str!("../../sql/log/delete_archived.sql"));

/// What an entry is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalNote {
    /// Who says it.
    pub agent: String,
    /// What happened.
    pub message: String,
    /// Details of an error, as JSON.
    pub error: Option<String>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its number; later entries have larger ones.
    pub id: u64,
    /// When it was written, by the database's clock.
    pub timestamp: Timestamp,
    /// Who wrote it.
    pub agent: String,
    /// What happened.
    pub message: String,
    /// Details of an error, as JSON.
    pub error: Option<String>,
}

/// The journal of a database.
#[derive(Debug, Clone)]
pub struct Journal {
    database: Database,
}

impl Database {
    /// The journal, for people.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal { database: self.clone() }
    }
}

impl Journal {
    /// Writes an entry. `error` is JSON text or nothing.
    ///
    /// # Errors
    /// As [`Self::write_all`].
    pub async fn write(&self, agent: &str, message: &str, error: Option<&str>) -> Result<(), RecordError> {
        let error = error.map(str::to_owned);
        self.write_all(&[JournalNote { agent: agent.to_owned(), message: message.to_owned(), error }]).await
    }

    /// Writes an entry for each of `notes`, in their order, with one commit.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; written again, they may be there twice.
    pub async fn write_all(&self, notes: &[JournalNote]) -> Result<(), RecordError> {
        let rows: Vec<_> = notes
            .iter()
            .map(|note| {
                let agent = cut(&note.agent, AGENT_CHARS_MAX);
                (agent, cut(&note.message, MESSAGE_CHARS_MAX), note.error.as_deref())
            })
            .collect();
        // Texts are always JSON.
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        let mut transaction = self.database.side().await?;
        transaction.execute(&INSERT, &[Value::Text(&rows)]).await?;
        Ok(transaction.commit().await?)
    }

    /// Entries after one, by number; at most [`PAGE_EVENTS_MAX`]. None: there are no more.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn page(&self, after: u64, limit: u32) -> Result<Vec<JournalEntry>, RecordError> {
        self.entries(&PAGE, after, limit).await
    }

    /// Lines that say who did what, after one, by number; at most [`PAGE_EVENTS_MAX`]. None: there are no
    /// more. `act` is how their acts begin; empty takes all.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn audit(
        &self,
        after: u64,
        since: Option<Timestamp>,
        act: &str,
        limit: u32,
    ) -> Result<Vec<AuditLine>, RecordError> {
        let values = [
            Value::Integer(i64::try_from(after).unwrap_or(i64::MAX)),
            Value::Integer(since.map_or(0, |since| since.millis())),
            Value::Text(act),
            Value::Text(act),
            Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX))),
        ];
        let rows = self.database.reading().rows(&AUDIT, &values).await?;
        Ok(rows.iter().map(audit_line).collect::<Result<_, _>>()?)
    }

    /// The same of the archive.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn archived(&self, after: u64, limit: u32) -> Result<Vec<JournalEntry>, RecordError> {
        self.entries(&ARCHIVED, after, limit).await
    }

    /// Moves the entries from before a time into the archive and says how many they were. It goes
    /// in batches, so a call that fails halfway has moved some; calling again moves the rest.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn archive(&self, before: Timestamp) -> Result<u64, RecordError> {
        let before = Value::Integer(before.millis());
        let mut moved = 0;
        loop {
            let mut transaction = self.database.side().await?;
            let rows = transaction.rows(&BOUND, &[before]).await?;
            let Some(bound) = rows.first().map(|row| row.integer_or_null(0)).transpose()?.flatten() else {
                return Ok(moved);
            };
            let batch = [Value::Integer(bound), before];
            transaction.execute(&COPY, &batch).await?;
            moved += transaction.execute(&DELETE, &batch).await?;
            transaction.commit().await?;
        }
    }

    async fn entries(
        &self,
        statement: &Statement,
        after: u64,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, RecordError> {
        let after = Value::Integer(i64::try_from(after).unwrap_or(i64::MAX));
        let limit = Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)));
        let rows = self.database.reading().rows(statement, &[after, limit]).await?;
        Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
    }
}

fn audit_line(row: &Row) -> Result<AuditLine, RowError> {
    Ok(AuditLine {
        id: row.number(0)?,
        at: row.timestamp(1)?,
        agent: row.text(2)?,
        act: row.text(3)?,
        subject: row.text_or_null(4)?.unwrap_or_default(),
        detail: row.text(5)?,
    })
}

fn entry(row: &Row) -> Result<JournalEntry, RowError> {
    Ok(JournalEntry {
        id: row.number(0)?,
        timestamp: row.timestamp(1)?,
        agent: row.text(2)?,
        message: row.text(3)?,
        error: row.text_or_null(4)?,
    })
}

fn cut(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
