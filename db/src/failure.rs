//! What an engine's error means for whoever got it: try again, reconnect, or look closer.

use sqlx::Error;
use sqlx::mysql::MySqlDatabaseError;

/// What to do about an error of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection is gone.
    Lost,
    /// A lock was not had in time or two transactions were in each other's way: the same again.
    Contention,
    /// A row with one of the keys is there already.
    Taken,
    /// The engine refuses what was asked.
    Refused,
}

pub(crate) fn classify(error: &Error) -> Failure {
    match error {
        Error::Database(database) => {
            if database.is_unique_violation() {
                return Failure::Taken;
            }
            match number(error) {
                // Lock wait timeout, deadlock, and what Galera says at COMMIT.
                Some(1205 | 1213 | 1020) => Failure::Contention,
                // Server shutdown, killed, gone, read-only failover.
                Some(1053 | 1077 | 1079 | 1152 | 1158..=1161 | 1184 | 1317 | 1927 | 2006 | 2013 | 4031) => {
                    Failure::Lost
                }
                Some(_) => Failure::Refused,
                None => sqlite_failure(database.code().as_deref()),
            }
        }
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => Failure::Lost,
        _ => Failure::Refused,
    }
}

/// SQLite's extended code: the low byte is the kind. 5 and 6: busy and locked.
fn sqlite_failure(code: Option<&str>) -> Failure {
    match code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => Failure::Contention,
        _ => Failure::Refused,
    }
}

/// The error number of MySQL and MariaDB.
pub(crate) fn number(error: &Error) -> Option<u16> {
    let Error::Database(database) = error else { return None };
    database.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}
