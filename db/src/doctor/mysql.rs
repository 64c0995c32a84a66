//! A MySQL or MariaDB server, tried out on a table of its own.
//!
//! The table is made in the database that was named. If that does not exist yet, a database
//! `eventflow_doctor` is made for the time of the examination: the named one is never made here,
//! so it can never be dropped here.

use sqlx::Error;

use super::Finding;
use super::trials::{
    BEGIN, COMMIT, CREATE, HURRY, ROLLBACK, compare_and_set, insert, names, row_counts, tried, unique_keys,
    value,
};
use crate::connection::Connection;
use crate::database::{Database, reason};
use crate::failure::{self, Failure};
use crate::statement::Statement;

const DROP: Statement = Statement::each("", include_str!("../../../sql/mysql/doctor/drop.sql"));
const CREATE_DATABASE: Statement =
    Statement::each("", include_str!("../../../sql/mysql/doctor/create_database.sql"));
const DROP_DATABASE: Statement =
    Statement::each("", include_str!("../../../sql/mysql/doctor/drop_database.sql"));
const USE_DATABASE: Statement =
    Statement::each("", include_str!("../../../sql/mysql/doctor/use_database.sql"));
const SETTINGS: Statement = Statement::each("", include_str!("../../../sql/mysql/doctor/settings.sql"));

/// What the server says when the table or the database is there already.
const EXISTS: [u16; 2] = [1050, 1007];

/// Where the table is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scratch {
    InTheDatabase,
    InOneOfItsOwn,
}

pub(super) async fn examine(database: &Database) -> Vec<Finding> {
    let scratch = if database.existed() { Scratch::InTheDatabase } else { Scratch::InOneOfItsOwn };
    let (mut one, mut other) = match connect(database, scratch).await {
        Ok(both) => both,
        Err(error) => return vec![unusable(&error, scratch)],
    };
    let mut findings = match settings(&mut one).await {
        Ok(findings) => findings,
        Err(error) => vec![tried("server", Err(error))],
    };
    match insert(&mut one, 1, "one").await {
        Ok(()) => findings.extend(trials(&mut one, &mut other).await),
        Err(error) => findings.push(tried("head lock", Err(error))),
    }
    other.close().await;
    let drop = if scratch == Scratch::InTheDatabase { &DROP } else { &DROP_DATABASE };
    if let Err(error) = one.run(drop).await {
        let advice = "drop the table or database eventflow_doctor yourself";
        findings.push(Finding::warning("cleaning up", reason(&error), advice));
    }
    one.close().await;
    findings
}

async fn trials(one: &mut Connection, other: &mut Connection) -> Vec<Finding> {
    let findings = vec![
        tried("row counts", row_counts(one, 1).await),
        tried("head lock", head_lock(one, other).await),
        tried("isolation", isolation(one, other).await),
        tried("unique keys", unique_keys(one, 1).await),
        tried("names", names(one, 1).await),
    ];
    // A trial that broke off may have left a transaction open, which would hold up the clean-up.
    for connection in [one, other] {
        let _ = connection.run(&ROLLBACK).await;
    }
    findings
}

/// Two connections to the same empty table; the second waits a second for a lock, no longer.
async fn connect(database: &Database, scratch: Scratch) -> Result<(Connection, Connection), Error> {
    let (mut one, mut other) = match scratch {
        Scratch::InTheDatabase => (database.connect().await?, database.connect().await?),
        Scratch::InOneOfItsOwn => {
            let mut one = database.connect_server().await?;
            let mut other = database.connect_server().await?;
            one.run(&CREATE_DATABASE).await?;
            one.run(&USE_DATABASE).await?;
            other.run(&USE_DATABASE).await?;
            (one, other)
        }
    };
    other.run(&HURRY).await?;
    one.run(&CREATE).await?;
    Ok((one, other))
}

fn unusable(error: &Error, scratch: Scratch) -> Finding {
    let found = format!("nothing could be tried: {}", reason(error));
    if failure::number(error).is_some_and(|number| EXISTS.contains(&number)) {
        let advice =
            "another doctor is at work, or one was killed: then drop the table or database eventflow_doctor";
        return Finding::warning("head lock", found, advice);
    }
    Finding::refused(
        "head lock",
        found,
        match scratch {
            Scratch::InTheDatabase => {
                "let the user create and drop tables in this database: the hub needs it too"
            }
            Scratch::InOneOfItsOwn => "make the database, or let the user create one, then examine again",
        },
    )
}

/// The lock that gives out positions: whoever has updated the row keeps others out until COMMIT,
/// and they then see what it has set.
async fn head_lock(one: &mut Connection, other: &mut Connection) -> Result<Finding, Error> {
    let refused = |found: &str| {
        Finding::refused(
            "head lock",
            found,
            "connect to one InnoDB server, not to a cluster that spreads writes",
        )
    };
    one.run(&BEGIN).await?;
    if compare_and_set(one, 1, 0, 1).await? != 1 {
        return Ok(refused("a row could not be claimed"));
    }
    other.run(&BEGIN).await?;
    match compare_and_set(other, 1, 0, 2).await {
        Err(error) if failure::classify(&error) == Failure::Contention => {}
        Err(error) => return Err(error),
        Ok(_) => return Ok(refused("a second writer was let in before the first had committed")),
    }
    other.run(&ROLLBACK).await?;
    one.run(&COMMIT).await?;
    Ok(match compare_and_set(other, 1, 0, 2).await? {
        0 => Finding::good("head lock", "a second writer waits for the first, and then sees what it has set"),
        _ => refused("a claim that was lost was granted all the same"),
    })
}

/// READ COMMITTED: nobody sees what is not committed, and every statement sees all that is.
async fn isolation(one: &mut Connection, other: &mut Connection) -> Result<Finding, Error> {
    let before = value(other, 1).await?;
    other.run(&BEGIN).await?;
    one.run(&BEGIN).await?;
    compare_and_set(one, 1, 1, 2).await?;
    insert(one, 100, "uncommitted").await?;
    let during = (value(other, 1).await?, value(other, 100).await?);
    one.run(&ROLLBACK).await?;
    let rolled_back = value(other, 100).await?;
    compare_and_set(one, 1, 1, 3).await?;
    let after = value(other, 1).await?;
    other.run(&ROLLBACK).await?;
    let advice = "connect to the server itself, not through a proxy or to a replica";
    Ok(if during != (before, None) || rolled_back.is_some() {
        Finding::refused("isolation", "a row was seen before it was committed", advice)
    } else if after != Some(3) {
        Finding::refused("isolation", "a transaction did not see what was committed meanwhile", advice)
    } else {
        Finding::good("isolation", "READ COMMITTED: what is committed is seen, and nothing else")
    })
}

/// What can make a server lose events although it flushes, or take none.
async fn settings(connection: &mut Connection) -> Result<Vec<Finding>, Error> {
    let rows = connection.rows(&SETTINGS, &[]).await?;
    let mut findings = Vec::new();
    for row in rows {
        findings.extend(judge(&row.text(0)?, &row.text(1)?));
    }
    if findings.is_empty() {
        findings
            .push(Finding::good("server", "it takes writes, writes pages safely and is no cluster member"));
    }
    Ok(findings)
}

fn judge(name: &str, value: &str) -> Option<Finding> {
    let found = format!("{name} = {value}");
    let (on, lower) = (!matches!(value, "OFF" | "0" | ""), value.to_ascii_lowercase());
    match name {
        "wsrep_on" if on => Some(Finding::refused(
            "server",
            found,
            "this is a Galera cluster, which has no row locks between its nodes and aborts commits that were under way; use a server that is not part of one",
        )),
        "read_only" | "super_read_only" if on => Some(Finding::refused(
            "server",
            found,
            "this server takes no writes, it is a replica or locked: use the primary",
        )),
        "innodb_force_recovery" if on => {
            Some(Finding::refused("server", found, "the server runs in recovery mode: repair it first"))
        }
        "innodb_flush_method" if lower.contains("nosync") || lower == "littlesync" => Some(Finding::refused(
            "server",
            found,
            "the server does not flush to disk: take this setting out",
        )),
        "innodb_doublewrite" if !on || lower.starts_with("detect") => Some(Finding::warning(
            "server",
            found,
            "a power cut can tear a page and with it the table, unless the file system writes pages whole; set innodb_doublewrite = ON",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdict(name: &str, value: &str) -> Option<Verdict> {
        judge(name, value).map(|finding| finding.verdict)
    }

    #[test]
    fn a_cluster_a_replica_and_a_server_that_does_not_flush_are_refused() {
        for (name, value) in [
            ("wsrep_on", "ON"),
            ("read_only", "ON"),
            ("read_only", "NO_LOCK"),
            ("super_read_only", "ON"),
            ("innodb_flush_method", "nosync"),
            ("innodb_force_recovery", "3"),
        ] {
            assert_eq!(verdict(name, value), Some(Verdict::Refused), "{name} = {value}");
        }
        assert_eq!(verdict("innodb_doublewrite", "OFF"), Some(Verdict::Warning));
    }

    #[test]
    fn a_server_as_it_is_installed_is_not_complained_about() {
        for (name, value) in [
            ("wsrep_on", "OFF"),
            ("read_only", "OFF"),
            ("innodb_flush_method", "O_DIRECT"),
            ("innodb_force_recovery", "0"),
            ("innodb_doublewrite", "ON"),
        ] {
            assert_eq!(verdict(name, value), None, "{name} = {value}");
        }
    }
}
