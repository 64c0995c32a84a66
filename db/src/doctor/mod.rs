//! Whether a database can be trusted with a log: tried out, not believed.
//!
//! The log's promises rest on a few things that an engine has to do: keep a second writer out of the
//! head's row until COMMIT, count matched rows truly, hide what is not committed, keep names apart
//! byte by byte. Two connections try each of them on a table of their own, which is gone afterwards.

mod mysql;
mod sqlite;
mod trials;

use std::path::Path;
use std::time::Duration;

use proto::Timestamp;
use tokio::time::Instant;

use crate::database::Database;
use crate::error::{MigrateError, OpenError};
use crate::read::ReadError;
use crate::statement::Statement;
use crate::url::{DatabaseUrl, Place};

const NOW: Statement = Statement::each(
    include_str!("../../../sql/sqlite/engine/now.sql"),
    include_str!("../../../sql/mysql/engine/now.sql"),
);

/// How far the clocks of hub and database may be apart before it is worth a word.
const CLOCK_OFFSET_MAX: Duration = Duration::from_secs(2);

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// What to think of it.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty if it is good.
    pub advice: String,
}

/// What to think of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, but should be looked at.
    Warning,
    /// Events could be lost, or the hub would not start.
    Refused,
}

impl Finding {
    fn good(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
    }

    fn refused(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Refused, found: found.into(), advice: advice.into() }
    }
}

/// Examines the database at `url`. `now` is the time of this machine, which the database's is
/// compared with.
///
/// Nothing is left behind: what is tried out is tried on tables that are made for it, and a file
/// that does not exist is not made. Dropping the future may leave the table `eventflow_doctor`.
pub async fn examine(url: &DatabaseUrl, now: Timestamp) -> Vec<Finding> {
    match &url.place {
        Place::Sqlite { path } if !path.exists() => examine_missing_file(path, now).await,
        Place::Sqlite { .. } | Place::MySql { .. } => examine_at(url, now).await,
    }
}

/// Tries out a file in the same folder in place of the missing one.
async fn examine_missing_file(path: &Path, now: Timestamp) -> Vec<Finding> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let standing_in = folder.join(format!(".eventflow-doctor.{}", std::process::id()));
    let findings = examine_at(&DatabaseUrl::sqlite(&standing_in), now).await;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = standing_in.clone().into_os_string();
        name.push(suffix);
        // What was never made need not be removed.
        let _ = tokio::fs::remove_file(name).await;
    }
    findings
}

async fn examine_at(url: &DatabaseUrl, now: Timestamp) -> Vec<Finding> {
    let started = Instant::now();
    let database = match Database::open(url).await {
        Ok(database) => database,
        Err(error) => return vec![not_opened(&error)],
    };
    let info = database.engine();
    let settings: Vec<_> = info.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let mut findings = vec![
        Finding::good("connection", url.to_string()),
        Finding::good("version", format!("{} {}", info.engine, info.version)),
        Finding::good("durability", settings.join(", ")),
        schema(database.check_schema().await),
        clock(&database, now, started).await,
    ];
    findings.extend(match &url.place {
        Place::Sqlite { .. } => sqlite::examine(&database).await,
        Place::MySql { .. } => mysql::examine(&database).await,
    });
    database.close().await;
    findings
}

fn not_opened(error: &OpenError) -> Finding {
    let check = match error {
        OpenError::Unreachable { .. } | OpenError::Failed { .. } => "connection",
        OpenError::Unsupported { .. } => "version",
        OpenError::Lax { .. } => "durability",
        OpenError::Schema(_) => "schema",
    };
    Finding::refused(check, error.to_string(), "put that right and examine again; the rest was not looked at")
}

fn schema(checked: Result<(), MigrateError>) -> Finding {
    match checked {
        Ok(()) => Finding::good("schema", "the tables are at this program's version"),
        Err(error @ MigrateError::Older { found: 0, .. }) => Finding::warning(
            "schema",
            error.to_string(),
            "run `eventflow migrate`, or start the hub, which does it",
        ),
        Err(error @ MigrateError::Older { .. }) => {
            Finding::warning("schema", error.to_string(), "make a backup, then run `eventflow migrate`")
        }
        Err(error) => Finding::refused("schema", error.to_string(), "the hub would not start on it"),
    }
}

async fn clock(database: &Database, now: Timestamp, started: Instant) -> Finding {
    let asked = async {
        let rows = database.reading().rows(&NOW, &[]).await?;
        rows.first().map(|row| row.integer(0)).transpose().map_err(ReadError::from)
    };
    let theirs = match asked.await {
        Ok(Some(theirs)) => theirs,
        // Without its database there is no pooled connection, and the tables come first anyway.
        Ok(None) | Err(_) if !database.existed() => {
            return Finding::warning(
                "clock",
                "not compared: the database does not exist yet",
                "run `eventflow migrate`, then examine again",
            );
        }
        Ok(None) => return Finding::refused("clock", "the database has no time", "see the server's log"),
        Err(error) => return Finding::refused("clock", error.to_string(), "see the server's log"),
    };
    let passed = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let offset = theirs - now.millis().saturating_add(passed);
    let found = format!(
        "the database's clock is {} ms {} this machine's",
        offset.abs(),
        if offset < 0 { "behind" } else { "ahead of" }
    );
    if u128::from(offset.unsigned_abs()) <= CLOCK_OFFSET_MAX.as_millis() {
        Finding::good("clock", found)
    } else {
        Finding::warning(
            "clock",
            found,
            "let both machines set their clocks by NTP; leases use the database's clock, certificates and events this machine's",
        )
    }
}
