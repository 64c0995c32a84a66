//! Makes and checks the tables: forward only, each migration once, two hubs never at the same time.
//!
//! A server commits every change of a table by itself, so a migration there is written such that
//! it can be run again after a crash in between; SQLite runs it in one transaction.

use sha2::{Digest, Sha256};
use sqlx::Error;

use crate::connection::Connection;
use crate::database::{Database, reason};
use crate::error::MigrateError;
use crate::failure;
use crate::statement::{Statement, Value, create_database};
use crate::url::Place;

/// How long another program's migration is waited for, in seconds.
const LOCK_WITHIN_S: u32 = 60;

struct Migration {
    version: u32,
    name: &'static str,
    text: Statement,
}

/// All of them, by version. The text of one that was released never changes.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_log",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0001_log.sql"),
            include_str!("../../sql/mysql/migrations/0001_log.sql"),
        ),
    },
    Migration {
        version: 2,
        name: "0002_schedule",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0002_schedule.sql"),
            include_str!("../../sql/mysql/migrations/0002_schedule.sql"),
        ),
    },
    Migration {
        version: 3,
        name: "0003_group",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0003_group.sql"),
            include_str!("../../sql/mysql/migrations/0003_group.sql"),
        ),
    },
    Migration {
        version: 4,
        name: "0004_outbox",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0004_outbox.sql"),
            include_str!("../../sql/mysql/migrations/0004_outbox.sql"),
        ),
    },
    Migration {
        version: 5,
        name: "0005_series",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0005_series.sql"),
            include_str!("../../sql/mysql/migrations/0005_series.sql"),
        ),
    },
    Migration {
        version: 6,
        name: "0006_parked",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0006_parked.sql"),
            include_str!("../../sql/mysql/migrations/0006_parked.sql"),
        ),
    },
    Migration {
        version: 7,
        name: "0007_access",
        text: Statement::each(
            include_str!("../../sql/sqlite/migrations/0007_access.sql"),
            include_str!("../../sql/mysql/migrations/0007_access.sql"),
        ),
    },
];

const CREATE: Statement = Statement::each(
    include_str!("../../sql/sqlite/schema_migration/create.sql"),
    include_str!("../../sql/mysql/schema_migration/create.sql"),
);
const TABLES: Statement = Statement::each(
    include_str!("../../sql/sqlite/schema_migration/tables.sql"),
    include_str!("../../sql/mysql/schema_migration/tables.sql"),
);
const LIST: Statement = Statement::same(include_str!("../../sql/schema_migration/list.sql"));
const INSERT: Statement = Statement::same(include_str!("../../sql/schema_migration/insert.sql"));
const NOW: Statement = Statement::each(
    include_str!("../../sql/sqlite/engine/now.sql"),
    include_str!("../../sql/mysql/engine/now.sql"),
);
const READ_HEAD: Statement = Statement::same(include_str!("../../sql/log_head/read.sql"));
const INSERT_HEAD: Statement = Statement::same(include_str!("../../sql/log_head/insert.sql"));
const LOCK: Statement = Statement::each("", include_str!("../../sql/mysql/engine/lock.sql"));
const UNLOCK: Statement = Statement::each("", include_str!("../../sql/mysql/engine/unlock.sql"));
const BEGIN: Statement = Statement::each("BEGIN IMMEDIATE", "");
const COMMIT: Statement = Statement::same("COMMIT");
const ROLLBACK: Statement = Statement::same("ROLLBACK");

/// What [`Database::migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The migrations that were run now, in order.
    pub applied: Vec<&'static str>,
    /// The version that the tables are at.
    pub version: u32,
}

impl Database {
    /// Brings the tables to this program's version. Doing it again, or twice at once, changes
    /// nothing more.
    ///
    /// # Errors
    /// [`MigrateError`] says why the tables were left as they are.
    pub async fn migrate(&self) -> Result<Migrated, MigrateError> {
        match &self.url().place {
            Place::Sqlite { .. } => self.migrate_sqlite().await,
            Place::MySql { database, .. } => self.migrate_mysql(database).await,
        }
    }

    /// Checks that the tables are at this program's version.
    ///
    /// # Errors
    /// [`MigrateError`] says what they are instead, and what to do.
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        let needed = newest();
        let mut connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) if failure::number(&error) == Some(NO_SUCH_DATABASE) => {
                return Err(MigrateError::Older { found: 0, needed });
            }
            Err(error) => return Err(unavailable(&error)),
        };
        let recorded = recorded(&mut connection).await;
        connection.close().await;
        let recorded = recorded?;
        let pending = pending(&recorded, self.is_sqlite())?;
        match pending.first() {
            None => Ok(()),
            Some(_) => {
                Err(MigrateError::Older { found: recorded.last().map_or(0, |(version, _)| *version), needed })
            }
        }
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.url().place, Place::Sqlite { .. })
    }

    async fn migrate_sqlite(&self) -> Result<Migrated, MigrateError> {
        let _turn = self.turn().take().await;
        let mut connection = self.connect().await.map_err(|error| unavailable(&error))?;
        connection.run(&BEGIN).await.map_err(|error| match failure::classify(&error) {
            failure::Failure::Contention => MigrateError::Locked { waited_s: 10 },
            _ => unavailable(&error),
        })?;
        let mut outcome = apply(&mut connection, true).await;
        if outcome.is_ok()
            && let Err(error) = connection.run(&COMMIT).await
        {
            outcome = Err(unavailable(&error));
        }
        if outcome.is_err() {
            // The connection is closed next, which rolls back as well.
            let _ = connection.run(&ROLLBACK).await;
        }
        connection.close().await;
        outcome
    }

    async fn migrate_mysql(&self, database: &str) -> Result<Migrated, MigrateError> {
        if !self.existed() {
            self.create_database(database).await?;
        }
        let mut connection = self.connect().await.map_err(|error| unavailable(&error))?;
        // Locks are the server's, not a database's, and their names are short.
        let lock = format!("eventflow.migrate.{}", &hash(database)[..32]);
        let outcome = match lock_mysql(&mut connection, &lock).await {
            Ok(()) => {
                let outcome = apply(&mut connection, false).await;
                // Closing the connection releases it as well.
                let _ = connection.rows(&UNLOCK, &[Value::Text(&lock)]).await;
                outcome
            }
            Err(error) => Err(error),
        };
        connection.close().await;
        outcome
    }

    async fn create_database(&self, database: &str) -> Result<(), MigrateError> {
        let mut connection = self.connect_server().await.map_err(|error| unavailable(&error))?;
        let outcome = match &mut connection {
            Connection::MySql(connection) => {
                sqlx::raw_sql(create_database(database)).execute(&mut **connection).await.map(drop)
            }
            Connection::Sqlite(_) => Ok(()),
        };
        connection.close().await;
        outcome.map_err(|error| MigrateError::Refused {
            version: 0,
            reason: reason(&error),
            advice: format!(
                "let an administrator run CREATE DATABASE `{database}` and grant this user all rights on it"
            ),
        })
    }
}

/// MySQL's number for "unknown database".
const NO_SUCH_DATABASE: u16 = 1049;

async fn lock_mysql(connection: &mut Connection, name: &str) -> Result<(), MigrateError> {
    let values = [Value::Text(name), Value::number(u64::from(LOCK_WITHIN_S))];
    let rows = connection.rows(&LOCK, &values).await.map_err(|error| unavailable(&error))?;
    // 1: had; 0: timed out; null: an error on the server.
    match rows.first().map(|row| row.integer_or_null(0)) {
        Some(Ok(Some(1))) => Ok(()),
        Some(Ok(Some(_))) => Err(MigrateError::Locked { waited_s: LOCK_WITHIN_S }),
        other => Err(MigrateError::Unavailable { reason: format!("GET_LOCK answered {other:?}") }),
    }
}

/// Runs what is missing, inside the lock.
async fn apply(connection: &mut Connection, sqlite: bool) -> Result<Migrated, MigrateError> {
    let recorded = recorded(connection).await?;
    let pending = pending(&recorded, sqlite)?;
    let mut applied = Vec::new();
    for migration in pending {
        run(connection, migration, sqlite).await.map_err(|error| match failure::classify(&error) {
            failure::Failure::Refused => MigrateError::Refused {
                version: migration.version,
                reason: reason(&error),
                advice:
                    "grant this user CREATE, ALTER, INDEX, SELECT, INSERT, UPDATE and DELETE on the database"
                        .to_owned(),
            },
            _ => unavailable(&error),
        })?;
        applied.push(migration.name);
    }
    Ok(Migrated { applied, version: newest() })
}

async fn run(connection: &mut Connection, migration: &Migration, sqlite: bool) -> Result<(), Error> {
    connection.run(&CREATE).await?;
    connection.run(&migration.text).await?;
    let now = match connection.rows(&NOW, &[]).await?.first() {
        Some(row) => row.integer(0)?,
        None => 0,
    };
    if connection.rows(&READ_HEAD, &[]).await?.is_empty() {
        connection.execute(&INSERT_HEAD, &[Value::Integer(incarnation()), Value::Integer(now)]).await?;
    }
    let hash = migration.hash(sqlite);
    let values = [
        Value::number(u64::from(migration.version)),
        Value::Text(migration.name),
        Value::Text(&hash),
        Value::Integer(now),
    ];
    connection.execute(&INSERT, &values).await.map(drop)
}

/// A number that no other log has.
fn incarnation() -> i64 {
    let random = uuid::Uuid::now_v7().as_u64_pair().1;
    // The top bits of this half are the UUID's variant.
    (random & (u64::MAX >> 2)).cast_signed()
}

/// What was run in this database, by version.
async fn recorded(connection: &mut Connection) -> Result<Vec<(u32, String)>, MigrateError> {
    let tables = connection.rows(&TABLES, &[]).await.map_err(|error| unavailable(&error))?;
    let mut names = Vec::new();
    for table in &tables {
        names.push(table.text(0).map_err(|error| MigrateError::Unavailable { reason: error.reason })?);
    }
    if !names.iter().any(|name| name == "schema_migration") {
        // The one table that a crash can leave without the record of migrations is the record itself.
        return match names.into_iter().next() {
            None => Ok(Vec::new()),
            Some(table) => Err(MigrateError::Foreign { table }),
        };
    }
    let rows = connection.rows(&LIST, &[]).await.map_err(|error| match failure::classify(&error) {
        failure::Failure::Refused => MigrateError::Foreign { table: "schema_migration".to_owned() },
        _ => unavailable(&error),
    })?;
    let recorded: Result<Vec<_>, _> =
        rows.iter().map(|row| Ok((row.small::<u32>(0)?, row.text(1)?))).collect();
    recorded.map_err(|_: crate::row::RowError| MigrateError::Foreign { table: "schema_migration".to_owned() })
}

/// The migrations that are still to be run after those `recorded`.
fn pending(recorded: &[(u32, String)], sqlite: bool) -> Result<Vec<&'static Migration>, MigrateError> {
    for (version, found) in recorded {
        let Some(known) = MIGRATIONS.iter().find(|known| known.version == *version) else {
            return Err(MigrateError::Newer { found: *version, known: newest() });
        };
        let expected = known.hash(sqlite);
        if *found != expected {
            return Err(MigrateError::Changed { version: *version, found: found.clone(), expected });
        }
    }
    let missing = |known: &&Migration| recorded.iter().all(|(version, _)| *version != known.version);
    Ok(MIGRATIONS.iter().filter(missing).collect())
}

fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

impl Migration {
    fn hash(&self, sqlite: bool) -> String {
        hash(if sqlite { self.text.sqlite } else { self.text.mysql })
    }
}

/// SHA-256 in hexadecimal.
fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn unavailable(error: &Error) -> MigrateError {
    MigrateError::Unavailable { reason: reason(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_from_1_without_a_gap() {
        let versions: Vec<_> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..=newest()).collect::<Vec<_>>());
    }

    #[test]
    fn a_changed_text_and_an_unknown_version_are_told_apart() {
        let ours = MIGRATIONS[0].hash(true);
        assert_eq!(pending(&[(1, ours.clone())], true).unwrap().len(), MIGRATIONS.len() - 1);
        assert!(matches!(pending(&[(1, "0".into())], true), Err(MigrateError::Changed { version: 1, .. })));
        let newer = pending(&[(1, ours), (99, "0".into())], true);
        assert!(matches!(newer, Err(MigrateError::Newer { found: 99, .. })));
    }
}
