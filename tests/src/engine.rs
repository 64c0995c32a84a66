//! The engines that specs run on, and where their servers are.
//!
//! SQLite is always there. MariaDB and MySQL are where `EVENTFLOW_TEST_MARIADB` and
//! `EVENTFLOW_TEST_MYSQL` say; `tests/servers` starts private ones and sets both.

use std::io::Write;

/// A database engine that specs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Embedded SQLite, a file in a temporary folder.
    Sqlite,
    /// A MariaDB server.
    MariaDb,
    /// A MySQL server.
    MySql,
}

/// Where an engine is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// In this process.
    Embedded,
    /// On a server with this URL, without a database.
    Server(String),
    /// Nowhere: the spec cannot run.
    Missing,
}

impl Engine {
    /// Every engine that the hub supports.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::MariaDb, Self::MySql];

    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::MariaDb => "MariaDB",
            Self::MySql => "MySQL",
        }
    }

    /// Where it is to be had.
    ///
    /// With `CI=true` MariaDB has to be there.
    #[must_use]
    pub fn home(self) -> Home {
        let variable = match self {
            Self::Sqlite => return Home::Embedded,
            Self::MariaDb => "EVENTFLOW_TEST_MARIADB",
            Self::MySql => "EVENTFLOW_TEST_MYSQL",
        };
        match std::env::var(variable) {
            Ok(url) if url != "none" && !url.is_empty() => Home::Server(url),
            _ if self == Self::MariaDb && std::env::var("CI").as_deref() == Ok("true") => {
                panic!(
                    "with CI=true the specs need MariaDB: set {variable} to a server's URL, or use tests/run"
                )
            }
            _ => {
                println!("not run: no {} here; tests/run starts one, or set {variable}", self.name());
                Home::Missing
            }
        }
    }

    /// Notes for `tests/run` that a spec used this engine in this version.
    pub(crate) fn note_use(self, version: &str) {
        let Ok(folder) = std::env::var("EVENTFLOW_TEST_REPORT") else { return };
        let path = std::path::Path::new(&folder).join(self.name());
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write a line, so that lines of several processes do not mix.
        file.write_all(format!("{} {version}\n", self.name()).as_bytes()).unwrap();
    }
}
