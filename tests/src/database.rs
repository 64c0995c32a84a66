//! A fresh database for one test, on any engine, gone when the test is over.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use db::{Database, DatabaseUrl};
use futures::FutureExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection};

use crate::engine::{Engine, Home};

/// A database that only one test uses: a file for SQLite, else a database of its own on the server.
#[derive(Debug)]
pub struct TestDatabase {
    engine: Engine,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File { folder: tempfile::TempDir },
    Server { server: String, database: String },
}

/// Runs `spec` with a fresh database on `engine` and removes the database, also after a panic.
/// Without a server for the engine it says so and passes.
pub fn with_fresh(engine: Engine, spec: impl AsyncFnOnce(&TestDatabase)) {
    crate::run(async {
        let Some(database) = TestDatabase::fresh(engine).await else { return };
        let outcome = AssertUnwindSafe(spec(&database)).catch_unwind().await;
        database.remove().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

impl TestDatabase {
    /// A new, empty database, or `None` where there is no server of that engine.
    pub async fn fresh(engine: Engine) -> Option<Self> {
        let place = match engine.home() {
            Home::Missing => return None,
            Home::Embedded => Place::File { folder: tempfile::tempdir().unwrap() },
            Home::Server(server) => {
                let database = format!("ef_{:016x}", rand::random::<u64>());
                Place::Server { server, database }
            }
        };
        let database = Self { engine, place };
        if let Place::Server { server, database: name } = &database.place {
            let mut connection = MySqlConnection::connect(server).await.unwrap();
            run_on_server(&mut connection, &format!("CREATE DATABASE {name}")).await;
            connection.close().await.unwrap();
        }
        Some(database)
    }

    /// Its engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Its URL as text, as the command line takes it.
    #[must_use]
    pub fn url_text(&self) -> String {
        match &self.place {
            Place::File { .. } => format!("sqlite:{}", self.file().display()),
            Place::Server { server, database } => {
                let (address, options) = server.split_once('?').unwrap_or((server, ""));
                let options = if options.is_empty() { String::new() } else { format!("?{options}") };
                format!("{}/{database}{options}", address.trim_end_matches('/'))
            }
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.url_text()).unwrap()
    }

    /// Opens it with the newest schema. May be called many times: each is a handle of its own.
    pub async fn open(&self) -> Database {
        let database = Database::open(&self.url()).await.unwrap();
        database.migrate().await.unwrap();
        self.engine.note_use(&database.engine().version);
        database
    }

    /// Runs statements past the hub's own code, to damage or to look.
    pub async fn execute(&self, statements: &str) {
        match &self.place {
            Place::File { .. } => {
                let mut connection = self.sqlite().await;
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Place::Server { .. } => {
                let mut connection = self.mysql().await;
                run_on_server(&mut connection, statements).await;
                connection.close().await.unwrap();
            }
        }
    }

    /// The one number that `query` yields, past the hub's own code.
    pub async fn number(&self, query: &str) -> i64 {
        match &self.place {
            Place::File { .. } => {
                let mut connection = self.sqlite().await;
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap()
            }
            Place::Server { .. } => {
                let mut connection = self.mysql().await;
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&mut connection).await.unwrap()
            }
        }
    }

    /// A connection of its own to the SQLite file.
    pub async fn sqlite(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.file()).create_if_missing(true).connect().await.unwrap()
    }

    /// A connection of its own to the server's database.
    pub async fn mysql(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url_text()).await.unwrap()
    }

    /// The SQLite file.
    ///
    /// # Panics
    /// On a server there is none.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        match &self.place {
            Place::File { folder } => folder.path().join("eventflow.db"),
            Place::Server { .. } => panic!("{} keeps no file here", self.engine.name()),
        }
    }

    /// Removes it. A process that was killed before leaves it to `tests/servers stop`.
    async fn remove(self) {
        if let Place::Server { server, database } = &self.place {
            let mut connection = MySqlConnection::connect(server).await.unwrap();
            run_on_server(&mut connection, &format!("DROP DATABASE IF EXISTS {database}")).await;
            connection.close().await.unwrap();
        }
    }
}

async fn run_on_server(connection: &mut MySqlConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.unwrap();
}
