//! Which hubs there are: each holds a lease, in the time of the database.
//!
//! Clocks of hubs are never compared. A lease that has run out is not renewed, because another hub
//! may have taken the place; its hub registers again, which looks at the others first.

use std::time::Duration;

use proto::HubId;

use crate::connection::Transaction;
use crate::database::{Database, reason};
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

/// The lease that a registration gives. The hub renews it well before it ends.
pub const FIRST_LEASE: Duration = Duration::from_secs(10);

const LOCK: Statement = Statement::same(include_str!("../../sql/hub/lock.sql"));
const NOW: Statement = Statement::each(
    include_str!("../../sql/sqlite/engine/now.sql"),
    include_str!("../../sql/mysql/engine/now.sql"),
);
const ALIVE_OTHER: Statement = Statement::same(include_str!("../../sql/hub/alive_other.sql"));
const UPDATE: Statement = Statement::same(include_str!("../../sql/hub/update.sql"));
const INSERT: Statement = Statement::same(include_str!("../../sql/hub/insert.sql"));
const QUIT_AT: Statement = Statement::same(include_str!("../../sql/hub/quit_at.sql"));
const RENEW: Statement = Statement::each(
    include_str!("../../sql/sqlite/hub/renew.sql"),
    include_str!("../../sql/mysql/hub/renew.sql"),
);
const QUIT: Statement = Statement::each(
    include_str!("../../sql/sqlite/hub/quit.sql"),
    include_str!("../../sql/mysql/hub/quit.sql"),
);
const ONLINE: Statement = Statement::each(
    include_str!("../../sql/sqlite/hub/online.sql"),
    include_str!("../../sql/mysql/hub/online.sql"),
);

/// One hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRow {
    /// Its id.
    pub id: HubId,
    /// Host and port for other hubs.
    pub internal: (String, u16),
    /// Host and port for spokes.
    pub external: (String, u16),
    /// Its software and version.
    pub version: String,
}

/// Why a hub was not registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another hub works on this database.
    #[error(
        "hub {hub} works on this database, for at least {for_ms} ms more; stop it, or wait until its lease has run out"
    )]
    Alive {
        /// The other hub.
        hub: HubId,
        /// Milliseconds until its lease runs out if it is not renewed.
        for_ms: u64,
    },
    /// The database has no log yet.
    #[error("the database holds no log; run `eventflow migrate`")]
    NoLog,
    /// The hub could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The hubs of a database.
#[derive(Debug, Clone)]
pub struct Hubs {
    database: Database,
}

impl Database {
    /// Who takes part.
    #[must_use]
    pub fn hubs(&self) -> Hubs {
        Hubs { database: self.clone() }
    }
}

impl Hubs {
    /// Records that a hub works from now on, with a lease of [`FIRST_LEASE`]. The same id takes
    /// over at once, also from a lease that runs: one data folder has one id and one process.
    ///
    /// # Errors
    /// [`RegisterError::Alive`] while another hub has a lease and has not quit.
    pub async fn register(&self, hub: &HubRow) -> Result<(), RegisterError> {
        let mut transaction = self.database.side_ahead().await.map_err(RecordError::from)?;
        register(&mut transaction, hub).await?;
        transaction.commit().await.map_err(RecordError::from)?;
        Ok(())
    }

    /// Extends the hub's lease to `lease` from now. `false`: it had run out or the hub has quit, so
    /// it must stop dispatching and register again.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; the lease may or may not be extended then.
    pub async fn renew(&self, hub: &HubId, lease: Duration) -> Result<bool, RecordError> {
        Ok(self.execute(&RENEW, &[Value::Integer(millis(lease)), Value::Text(hub.as_str())]).await? == 1)
    }

    /// Records that a hub has stopped; again changes nothing. `false`: it had quit already or was
    /// never registered.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn quit(&self, hub: &HubId) -> Result<bool, RecordError> {
        Ok(self.execute(&QUIT, &[Value::Text(hub.as_str())]).await? == 1)
    }

    /// The hubs with a lease that have not quit, by id.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn online(&self) -> Result<Vec<HubRow>, RecordError> {
        let rows = self.database.reading().rows(&ONLINE, &[]).await?;
        Ok(rows.iter().map(hub_row).collect::<Result<_, _>>()?)
    }

    /// Whether a hub has quit. One that died without a word has not.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] if it was never registered.
    pub async fn has_quit(&self, hub: &HubId) -> Result<bool, RecordError> {
        let rows = self.database.reading().rows(&QUIT_AT, &[Value::Text(hub.as_str())]).await?;
        let row = rows.first().ok_or_else(|| RecordError::NotFound { what: format!("hub {hub}") })?;
        Ok(row.integer_or_null(0)?.is_some())
    }

    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, RecordError> {
        let mut transaction = self.database.side_ahead().await?;
        let matched = transaction.execute(statement, values).await?;
        transaction.commit().await?;
        Ok(matched)
    }
}

async fn register(transaction: &mut Transaction, hub: &HubRow) -> Result<(), RegisterError> {
    let record = |error: sqlx::Error| RecordError::Unavailable { reason: reason(&error) };
    if transaction.execute(&LOCK, &[]).await.map_err(record)? != 1 {
        return Err(RegisterError::NoLog);
    }
    let now = transaction.rows(&NOW, &[]).await.map_err(record)?;
    let now =
        now.first().ok_or_else(|| RecordError::Corrupt { reason: "the database has no time".to_owned() })?;
    let now = now.integer(0).map_err(RecordError::from)?;
    let id = Value::Text(hub.id.as_str());
    let others = transaction.rows(&ALIVE_OTHER, &[id, Value::Integer(now)]).await.map_err(record)?;
    if let Some(other) = others.first() {
        let until = other.integer(1).map_err(RecordError::from)?;
        return Err(RegisterError::Alive {
            hub: other.name(0, HubId::parse).map_err(RecordError::from)?,
            for_ms: u64::try_from(until - now).unwrap_or_default(),
        });
    }
    let values = [
        Value::Integer(now),
        Value::Text(&hub.internal.0),
        Value::Integer(i64::from(hub.internal.1)),
        Value::Text(&hub.external.0),
        Value::Integer(i64::from(hub.external.1)),
        Value::Integer(now + millis(FIRST_LEASE)),
        Value::Text(&hub.version),
        id,
    ];
    if transaction.execute(&UPDATE, &values).await.map_err(record)? == 0 {
        transaction.execute(&INSERT, &values).await.map_err(record)?;
    }
    Ok(())
}

fn millis(lease: Duration) -> i64 {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    // A longer lease would keep others out for longer than anybody waits.
    i64::try_from(lease.as_millis()).unwrap_or(DAY_MS).min(DAY_MS)
}

fn hub_row(row: &Row) -> Result<HubRow, RowError> {
    Ok(HubRow {
        id: row.name(0, HubId::parse)?,
        internal: (row.text(1)?, row.small(2)?),
        external: (row.text(3)?, row.small(4)?),
        version: row.text(5)?,
    })
}
