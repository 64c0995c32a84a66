//! What is tried out on any engine, with two connections on the table `eventflow_doctor`.
//!
//! A trial answers with a finding or with the error that kept it from finding anything.

use sqlx::Error;

use super::Finding;
use crate::connection::Connection;
use crate::database::reason;
use crate::failure::{self, Failure};
use crate::statement::{Statement, Value};

pub(super) const CREATE: Statement = Statement::each(
    include_str!("../../../sql/sqlite/doctor/create.sql"),
    include_str!("../../../sql/mysql/doctor/create.sql"),
);
pub(super) const HURRY: Statement = Statement::each(
    include_str!("../../../sql/sqlite/doctor/hurry.sql"),
    include_str!("../../../sql/mysql/doctor/hurry.sql"),
);
pub(super) const BEGIN: Statement = Statement::each("BEGIN IMMEDIATE", "START TRANSACTION");
pub(super) const COMMIT: Statement = Statement::same("COMMIT");
pub(super) const ROLLBACK: Statement = Statement::same("ROLLBACK");
const INSERT: Statement = Statement::same(include_str!("../../../sql/doctor/insert.sql"));
const COMPARE_AND_SET: Statement = Statement::same(include_str!("../../../sql/doctor/compare_and_set.sql"));
const VALUE: Statement = Statement::same(include_str!("../../../sql/doctor/value.sql"));
const NAMES: Statement = Statement::same(include_str!("../../../sql/doctor/names.sql"));

/// Names that a lax collation takes for the same, in byte order.
const ALIKE: [&str; 4] = ["A", "a", "a\u{308}", "\u{e4}"];

/// Inserts one row.
pub(super) async fn insert(connection: &mut Connection, id: i64, name: &str) -> Result<(), Error> {
    connection.execute(&INSERT, &[Value::Integer(id), Value::Integer(0), Value::Text(name)]).await.map(drop)
}

/// Sets the value of a row if it is `from`; says how many rows it matched.
pub(super) async fn compare_and_set(
    connection: &mut Connection,
    id: i64,
    from: i64,
    to: i64,
) -> Result<u64, Error> {
    let values = [Value::Integer(to), Value::Integer(id), Value::Integer(from)];
    connection.execute(&COMPARE_AND_SET, &values).await
}

/// The value of a row, if it is visible.
pub(super) async fn value(connection: &mut Connection, id: i64) -> Result<Option<i64>, Error> {
    let rows = connection.rows(&VALUE, &[Value::Integer(id)]).await?;
    Ok(rows.first().map(|row| row.integer(0)).transpose()?)
}

/// An update counts the rows that it matched, also where nothing changed: every claim rests on it.
pub(super) async fn row_counts(connection: &mut Connection, id: i64) -> Result<Finding, Error> {
    let same = compare_and_set(connection, id, 0, 0).await?;
    let missed = compare_and_set(connection, id, 7, 8).await?;
    Ok(if (same, missed) == (1, 0) {
        Finding::good("row counts", "an update says how many rows it matched")
    } else {
        let found = format!("an update of 1 row counted {same}, one of no row counted {missed}");
        Finding::refused(
            "row counts",
            found,
            "connect to the server itself, not through a proxy that rewrites answers",
        )
    })
}

/// A second row with the same key is refused as such: an id is stored once.
pub(super) async fn unique_keys(connection: &mut Connection, id: i64) -> Result<Finding, Error> {
    Ok(match insert(connection, id, "another").await {
        Err(error) if failure::classify(&error) == Failure::Taken => {
            Finding::good("unique keys", "a second row with the same key is refused")
        }
        Err(error) => {
            Finding::refused("unique keys", reason(&error), "a key that is taken has to be told as such")
        }
        Ok(()) => {
            Finding::refused("unique keys", "a key was stored twice", "use an engine that enforces keys")
        }
    })
}

/// Names that differ in one byte are different, and sort by bytes.
pub(super) async fn names(connection: &mut Connection, first_id: i64) -> Result<Finding, Error> {
    for (id, name) in (first_id + 1..).zip(ALIKE) {
        insert(connection, id, name).await?;
    }
    let rows = connection.rows(&NAMES, &[Value::Integer(first_id)]).await?;
    let found = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
    Ok(if found == ALIKE {
        Finding::good("names", "names are kept as they are and compared byte by byte")
    } else {
        Finding::refused(
            "names",
            format!("{ALIKE:?} came back as {found:?}"),
            "the connection has to speak utf8mb4",
        )
    })
}

/// The finding of a trial, or that it could not be made.
pub(super) fn tried(check: &'static str, outcome: Result<Finding, Error>) -> Finding {
    outcome.unwrap_or_else(|error| {
        let found = format!("it could not be tried: {}", reason(&error));
        Finding::refused(check, found, "see the server's log, then examine again")
    })
}
