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

    /// Its server's URL, without a database; `None` for a file.
    pub(crate) fn server(&self) -> Option<&str> {
        match &self.place {
            Place::File { .. } => None,
            Place::Server { server, .. } => Some(server),
        }
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

    /// A connection of its own to the server's database, set up as the hub sets up its own.
    pub async fn mysql(&self) -> MySqlConnection {
        let mut connection = MySqlConnection::connect(&self.url_text()).await.unwrap();
        let session = include_str!("../../sql/mysql/engine/session.sql");
        sqlx::raw_sql(session).execute(&mut connection).await.unwrap();
        connection
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
    pub async fn remove(self) {
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

/// Somebody else on the same database, who locks the log's head, moves it, and takes it back.
#[derive(Debug)]
pub enum Saboteur {
    /// On SQLite.
    Sqlite(SqliteConnection),
    /// On a server.
    MySql(MySqlConnection),
}

impl Saboteur {
    /// Connects to `database`.
    pub async fn on(database: &TestDatabase) -> Self {
        match database.place {
            Place::File { .. } => Self::Sqlite(database.sqlite().await),
            Place::Server { .. } => Self::MySql(database.mysql().await),
        }
    }

    /// A transaction that moves the head and rolls back. Losing a race for the lock is fine too.
    pub async fn move_the_head_and_roll_back(&mut self) {
        const MOVE: &str = "UPDATE log_head SET position = position + 1000 WHERE id = 1";
        match self {
            Self::Sqlite(connection) => {
                if sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await.is_ok() {
                    sqlx::raw_sql(MOVE).execute(&mut *connection).await.unwrap();
                    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
                }
            }
            Self::MySql(connection) => {
                sqlx::raw_sql("START TRANSACTION").execute(&mut *connection).await.unwrap();
                // A dead lock is resolved by rolling one side back; either is what is wanted here.
                drop(sqlx::raw_sql(MOVE).execute(&mut *connection).await);
                sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await.unwrap();
            }
        }
    }
}

/// Somebody who cuts every connection that uses a server's database.
#[derive(Debug)]
pub struct Killer {
    connection: MySqlConnection,
    database: String,
}

impl Killer {
    /// Connects beside `database`; `None` where there are no connections to cut.
    pub async fn on(database: &TestDatabase) -> Option<Self> {
        match &database.place {
            Place::File { .. } => None,
            Place::Server { server, database } => {
                let connection = MySqlConnection::connect(server).await.unwrap();
                Some(Self { connection, database: database.clone() })
            }
        }
    }

    /// Cuts all connections to the database, whatever they are at.
    pub async fn cut_all(&mut self) {
        let query = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = ?";
        let ids =
            sqlx::query_scalar::<_, i64>(query).bind(&self.database).fetch_all(&mut self.connection).await;
        // MySQL fails here when a statement that runs just then has bytes which are no text.
        for id in ids.unwrap_or_default() {
            // It may have gone by itself since.
            drop(sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}"))).execute(&mut self.connection).await);
        }
    }
}

/// A port of this machine that nobody listens on now.
#[must_use]
pub fn unused_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
