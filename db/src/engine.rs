//! Which engine it is, and whether it keeps what it confirms.

use std::fmt;

use crate::error::OpenError;

/// Which engine a database runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Embedded, one file.
    Sqlite,
    /// A MariaDB server.
    MariaDb,
    /// A MySQL server.
    MySql,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        })
    }
}

/// What a database said about itself when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// The engine.
    pub engine: Engine,
    /// Its version, as it says it.
    pub version: String,
    /// The settings that durability and speed depend on.
    pub settings: Vec<(String, String)>,
}

/// Smallest `max_allowed_packet`: a batch and its overhead, in bytes.
const PACKET_BYTES_MIN: u64 = 8 << 20;

impl EngineInfo {
    /// Takes what a MySQL or MariaDB server at `place` says, if it can be trusted with a log.
    pub(crate) fn of_mysql(place: &str, settings: Vec<(String, String)>) -> Result<Self, OpenError> {
        let version = find(&settings, "version").to_owned();
        let engine = if version.contains("MariaDB") { Engine::MariaDb } else { Engine::MySql };
        let needed = if engine == Engine::MariaDb { (10, 6, 0) } else { (8, 0, 16) };
        if numbers(&version) < needed {
            let found = format!("{engine} {version}");
            return Err(OpenError::Unsupported { place: place.to_owned(), found });
        }
        let info = Self { engine, version, settings };
        info.check_mysql(place)?;
        Ok(info)
    }

    /// Takes what SQLite says about the file at `place`, if it can be trusted with a log.
    pub(crate) fn of_sqlite(place: &str, settings: Vec<(String, String)>) -> Result<Self, OpenError> {
        let version = find(&settings, "version").to_owned();
        let info = Self { engine: Engine::Sqlite, version, settings };
        let advice = || "put the file on a local disk, not on a network share".to_owned();
        info.check(place, "journal_mode", "wal", |found| found == "wal", KEEPS, advice)?;
        info.check(place, "synchronous", "2 (FULL)", |found| found == "2", KEEPS, advice)?;
        Ok(info)
    }

    fn check_mysql(&self, place: &str) -> Result<(), OpenError> {
        let set = |line: &'static str| {
            move || format!("put `{line}` below [mysqld] in the server's configuration and restart it")
        };
        self.check(
            place,
            "innodb_flush_log_at_trx_commit",
            "1",
            |found| found == "1" || (found == "3" && self.engine == Engine::MariaDb),
            KEEPS,
            set("innodb_flush_log_at_trx_commit = 1"),
        )?;
        if find(&self.settings, "log_bin") == "ON" {
            let keeps = "a crash loses commits of the binary log and with them replicas or the log itself";
            self.check(place, "sync_binlog", "1", |found| found == "1", keeps, set("sync_binlog = 1"))?;
            // An empty text: newer servers have no other format than ROW.
            let fits = |found: &str| found.is_empty() || found == "ROW" || found == "MIXED";
            let why = "statements cannot be replicated under READ COMMITTED";
            self.check(place, "binlog_format", "ROW", fits, why, set("binlog_format = ROW"))?;
        }
        let fits = |found: &str| found.parse().is_ok_and(|bytes: u64| bytes >= PACKET_BYTES_MIN);
        let why = "a batch of events would be refused";
        self.check(place, "max_allowed_packet", "8388608 or more", fits, why, set("max_allowed_packet = 16M"))
    }

    fn check(
        &self,
        place: &str,
        setting: &'static str,
        needed: &'static str,
        fits: impl FnOnce(&str) -> bool,
        why: &'static str,
        advice: impl FnOnce() -> String,
    ) -> Result<(), OpenError> {
        let found = find(&self.settings, setting);
        if fits(found) {
            return Ok(());
        }
        let (place, found) = (place.to_owned(), found.to_owned());
        Err(OpenError::Lax { place, setting, found, needed, why, advice: advice() })
    }
}

const KEEPS: &str = "a crash would lose events that were confirmed";

fn find<'a>(settings: &'a [(String, String)], name: &str) -> &'a str {
    settings.iter().find(|(setting, _)| setting == name).map_or("", |(_, value)| value)
}

/// The first three numbers of a version; what is missing counts as 0.
fn numbers(version: &str) -> (u32, u32, u32) {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(changes: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut all = vec![
            ("version", "8.4.2"),
            ("innodb_flush_log_at_trx_commit", "1"),
            ("log_bin", "ON"),
            ("sync_binlog", "1"),
            ("binlog_format", "ROW"),
            ("max_allowed_packet", "16777216"),
        ];
        for change in changes {
            all.retain(|(name, _)| *name != change.0);
            all.push(*change);
        }
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn open(changes: &[(&str, &str)]) -> Result<EngineInfo, OpenError> {
        EngineInfo::of_mysql("db:3306", settings(changes))
    }

    #[test]
    fn old_engines_are_refused_and_newer_ones_are_taken() {
        for taken in ["8.0.16", "9.7.0", "10.6.0-MariaDB", "10.11.19-MariaDB-deb12", "11.4.2-MariaDB-log"] {
            assert!(open(&[("version", taken)]).is_ok(), "{taken}");
        }
        for refused in ["5.7.44-log", "8.0.11-TiDB-v7.5.0", "10.5.29-MariaDB", ""] {
            let outcome = open(&[("version", refused)]);
            assert!(matches!(outcome, Err(OpenError::Unsupported { .. })), "{refused}");
        }
    }

    #[test]
    fn a_server_that_does_not_flush_is_refused_with_what_to_set() {
        let error = open(&[("innodb_flush_log_at_trx_commit", "2")]).unwrap_err().to_string();
        assert!(error.contains("innodb_flush_log_at_trx_commit = 2, 1 is needed"), "{error}");
        assert!(open(&[("sync_binlog", "0")]).is_err());
        assert!(open(&[("sync_binlog", "0"), ("log_bin", "OFF")]).is_ok());
        assert!(open(&[("binlog_format", "STATEMENT")]).is_err());
        assert!(open(&[("max_allowed_packet", "1048576")]).is_err());
    }
}
