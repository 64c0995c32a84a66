//! An SQLite file, tried out in a transaction that is rolled back.

use sqlx::Error;

use super::Finding;
use super::trials::{
    BEGIN, CREATE, HURRY, ROLLBACK, compare_and_set, insert, names, row_counts, tried, unique_keys,
};
use crate::connection::Connection;
use crate::database::{Database, reason};
use crate::failure::{self, Failure};
use crate::statement::Statement;

const EXISTS: Statement = Statement::each(include_str!("../../../sql/sqlite/doctor/exists.sql"), "");

pub(super) async fn examine(database: &Database) -> Vec<Finding> {
    let (mut one, mut other) = match connect(database).await {
        Ok(both) => both,
        Err(error) if failure::classify(&error) == Failure::Contention => {
            let advice = "another process, perhaps a hub, is writing all the time: examine again when it has less to do";
            return vec![Finding::warning("head lock", "not tried: no turn to write came up", advice)];
        }
        Err(error) => return vec![tried("head lock", Err(error))],
    };
    let mut findings = vec![
        tried("head lock", head_lock(&mut one, &mut other).await),
        tried("isolation", isolation(&mut one, &mut other).await),
        tried("row counts", row_counts(&mut one, 1).await),
        tried("unique keys", unique_keys(&mut one, 1).await),
        tried("names", names(&mut one, 1).await),
        tried("compare and set", claims(&mut one).await),
    ];
    // Closing the connection rolls back as well.
    let rolled_back = one.run(&ROLLBACK).await;
    if let Err(error) = rolled_back {
        findings.push(Finding::refused("rollback", reason(&error), "see that the disk is not full"));
    }
    one.close().await;
    other.close().await;
    findings
}

/// Two connections. The first holds the write lock and has made a table with one row; the second
/// does not wait for locks.
async fn connect(database: &Database) -> Result<(Connection, Connection), Error> {
    let mut one = database.connect().await?;
    let mut other = database.connect().await?;
    other.run(&HURRY).await?;
    one.run(&BEGIN).await?;
    one.execute(&CREATE, &[]).await?;
    insert(&mut one, 1, "one").await?;
    Ok((one, other))
}

async fn head_lock(_holder: &mut Connection, other: &mut Connection) -> Result<Finding, Error> {
    match other.run(&BEGIN).await {
        Err(error) if failure::classify(&error) == Failure::Contention => {
            Ok(Finding::good("head lock", "a second writer is kept out until the first has committed"))
        }
        Err(error) => Err(error),
        Ok(()) => {
            other.run(&ROLLBACK).await?;
            let advice = "file locks do not work there: put the file on a local disk, not on a network share";
            Ok(Finding::refused("head lock", "two writers were let in at once", advice))
        }
    }
}

async fn isolation(_holder: &mut Connection, other: &mut Connection) -> Result<Finding, Error> {
    let rows = other.rows(&EXISTS, &[]).await?;
    let seen = rows.first().map(|row| row.integer(0)).transpose()?;
    Ok(if seen == Some(0) {
        Finding::good("isolation", "what is not committed is not seen by others")
    } else {
        let advice = "put the file on a local disk, not on a network share";
        Finding::refused("isolation", "a table was seen before it was committed", advice)
    })
}

async fn claims(holder: &mut Connection) -> Result<Finding, Error> {
    let first = compare_and_set(holder, 1, 0, 1).await?;
    let second = compare_and_set(holder, 1, 0, 1).await?;
    Ok(if (first, second) == (1, 0) {
        Finding::good("compare and set", "of two claims the first one wins")
    } else {
        let found = format!("the first claim matched {first} rows, the second {second}");
        Finding::refused("compare and set", found, "use the SQLite that eventflow is built with")
    })
}
