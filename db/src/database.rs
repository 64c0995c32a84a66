//! An opened database: its pools, and the way to everything that is done with it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Error, Executor as _};

use crate::connection::{Connection, Pools, Transaction};
use crate::engine::EngineInfo;
use crate::error::OpenError;
use crate::lease;
use crate::statement::{Statement, Value};
use crate::turn::{Held, Turn};
use crate::url::{DatabaseUrl, Place};

/// Connections for reading. At it, readers wait for each other.
const READERS_MAX: u32 = 8;

/// Connections for the rare writers: hubs, journal, certificates.
const SIDE_WRITERS_MAX: u32 = 2;

/// How long the first connection, and later a free one of a pool, is waited for.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a server's connection that is given back to its pool may take to answer.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);

/// How long SQLite waits for a lock that another process holds.
const BUSY_WITHIN: Duration = Duration::from_secs(10);

/// Statements that a connection keeps prepared: all sizes of all templates, and the others.
const STATEMENTS_PREPARED_MAX: usize = 400;

pub(crate) const SESSION: &str = include_str!("../../sql/mysql/engine/session.sql");
const TRANSACTIONS: Statement = Statement::each("", include_str!("../../sql/mysql/engine/transactions.sql"));
const SETTINGS: Statement = Statement::each(
    include_str!("../../sql/sqlite/engine/settings.sql"),
    include_str!("../../sql/mysql/engine/settings.sql"),
);
const FIND_DATABASE: Statement =
    Statement::each("", include_str!("../../sql/mysql/engine/find_database.sql"));

/// A database that was reached and can be trusted with a log. Clones share its pools.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: DatabaseUrl,
    info: EngineInfo,
    reading: Pools,
    side: Pools,
    turn: Turn,
    exists: bool,
}

impl Database {
    /// Connects and checks version and settings. The tables are not looked at: that is
    /// [`Database::check_schema`]. A database that does not exist on its server yet is made by
    /// [`Database::migrate`].
    ///
    /// # Errors
    /// [`OpenError`] says what was tried, what happened and what to do.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, OpenError> {
        match &url.place {
            Place::Sqlite { path } => Self::open_sqlite(url, path).await,
            Place::MySql { options, database } => Self::open_mysql(url, options, database).await,
        }
    }

    /// What the engine says about itself.
    #[must_use]
    pub fn engine(&self) -> &EngineInfo {
        &self.inner.info
    }

    /// Closes all connections that are not the writer's; calls that are under way finish first.
    pub async fn close(&self) {
        self.inner.reading.close().await;
        self.inner.side.close().await;
    }

    pub(crate) fn url(&self) -> &DatabaseUrl {
        &self.inner.url
    }

    /// Whether the database was there when it was opened; an SQLite file always is.
    pub(crate) fn existed(&self) -> bool {
        self.inner.exists
    }

    /// The pool for reading.
    pub(crate) fn reading(&self) -> &Pools {
        &self.inner.reading
    }

    /// The right to write to an SQLite file.
    pub(crate) fn turn(&self) -> &Turn {
        &self.inner.turn
    }

    /// Starts a transaction for rare writes, READ COMMITTED on a server, alone on SQLite.
    pub(crate) async fn side(&self) -> Result<Transaction, Error> {
        self.begin(self.inner.turn.take_aside()).await
    }

    /// The same for what the hub lives by: on SQLite it waits for none of the other rare writes.
    pub(crate) async fn side_ahead(&self) -> Result<Transaction, Error> {
        self.begin(self.inner.turn.take()).await
    }

    async fn begin(&self, turn: impl Future<Output = Held>) -> Result<Transaction, Error> {
        match &self.inner.side {
            Pools::Sqlite(pool) => {
                let turn = turn.await;
                Ok(Transaction::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?, turn))
            }
            Pools::MySql(pool) => Ok(Transaction::MySql(lease::Transaction::begin(pool).await?)),
        }
    }

    /// A connection of its own, whose transactions begin by themselves on a server.
    pub(crate) async fn connect_writer(&self) -> Result<Connection, Error> {
        let mut connection = self.connect().await?;
        if matches!(connection, Connection::MySql(_)) {
            connection.run(&TRANSACTIONS).await?;
        }
        Ok(connection)
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        let connecting = async {
            match &self.inner.url.place {
                Place::Sqlite { path } => {
                    Ok(Connection::Sqlite(Box::new(sqlite_options(path).connect().await?)))
                }
                Place::MySql { options, database } => {
                    connect_mysql(&mysql_options(options).database(database)).await
                }
            }
        };
        in_time(connecting).await
    }

    /// A connection of its own to the server, without choosing the database.
    pub(crate) async fn connect_server(&self) -> Result<Connection, Error> {
        match &self.inner.url.place {
            Place::Sqlite { .. } => self.connect().await,
            Place::MySql { options, .. } => in_time(connect_mysql(&mysql_options(options))).await,
        }
    }

    async fn open_sqlite(url: &DatabaseUrl, path: &Path) -> Result<Self, OpenError> {
        let place = url.to_string();
        let options = sqlite_options(path);
        // The first connection is made without a pool, which would hide why it failed.
        let unreachable = |error: Error| OpenError::Unreachable {
            tried: format!("opening {place}"),
            reason: reason(&error),
            advice: "see that its folder exists and can be written to, and that it is an SQLite file"
                .to_owned(),
        };
        let connection = in_time(options.connect()).await.map_err(unreachable)?;
        let mut connection = Connection::Sqlite(Box::new(connection));
        let settings = settings(&mut connection).await.map_err(unreachable)?;
        connection.close().await;
        let info = EngineInfo::of_sqlite(&place, settings)?;
        let pool = |connections: u32, options: SqliteConnectOptions| {
            Pools::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(connections)
                    .acquire_timeout(CONNECT_WITHIN)
                    .test_before_acquire(false)
                    .connect_lazy_with(options),
            )
        };
        // Readers go through the log once: the system's cache serves them, and there are many of them.
        let reader = sqlite_options(path).pragma("query_only", "ON").pragma("cache_size", "-2048");
        let reading = pool(READERS_MAX, reader);
        let side = pool(SIDE_WRITERS_MAX, options);
        Ok(Self::of(url, info, reading, side, true))
    }

    async fn open_mysql(
        url: &DatabaseUrl,
        options: &MySqlConnectOptions,
        database: &str,
    ) -> Result<Self, OpenError> {
        let place = url.to_string();
        let options = mysql_options(options);
        let mut connection =
            in_time(connect_mysql(&options)).await.map_err(|error| OpenError::Unreachable {
                tried: format!("connecting to {place}"),
                advice: advice(&error),
                reason: reason(&error),
            })?;
        let failed = |error: Error| OpenError::Failed { place: place.clone(), reason: reason(&error) };
        let settings = settings(&mut connection).await.map_err(failed)?;
        let found = connection.rows(&FIND_DATABASE, &[Value::Text(database)]).await.map_err(failed)?;
        connection.close().await;
        let info = EngineInfo::of_mysql(&place, settings)?;
        let options = options.database(database);
        let pool = |connections: u32| {
            Pools::MySql(
                MySqlPoolOptions::new()
                    .max_connections(connections)
                    .acquire_timeout(CONNECT_WITHIN)
                    .after_connect(|connection, _| {
                        Box::pin(async move { connection.execute(sqlx::raw_sql(SESSION)).await.map(drop) })
                    })
                    // The pool itself would ask a server that has fallen silent for as long as TCP does, and
                    // read to the end what a reader broke off.
                    .after_release(|connection, _| {
                        Box::pin(async move {
                            let answered = tokio::time::timeout(GIVEN_BACK_WITHIN, connection.ping()).await;
                            answered.map_err(|_| Error::PoolTimedOut)?.map(|()| true)
                        })
                    })
                    .connect_lazy_with(options.clone()),
            )
        };
        Ok(Self::of(url, info, pool(READERS_MAX), pool(SIDE_WRITERS_MAX), !found.is_empty()))
    }

    fn of(url: &DatabaseUrl, info: EngineInfo, reading: Pools, side: Pools, exists: bool) -> Self {
        Self { inner: Arc::new(Inner { url: url.clone(), info, reading, side, turn: Turn::new(), exists }) }
    }
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Where a plain fsync does not reach the disk (macOS), this one does.
        .pragma("fullfsync", "ON")
        .pragma("checkpoint_fullfsync", "ON")
        .busy_timeout(BUSY_WITHIN)
        .foreign_keys(false)
        .pragma("temp_store", "MEMORY")
        // KiB, as a negative number: 32 MiB.
        .pragma("cache_size", "-32768")
        // A checkpoint every 32 MiB, after which the file is cut to 64 MiB: fewer, larger writes
        // than the default, and still bounded.
        .pragma("wal_autocheckpoint", "8192")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(STATEMENTS_PREPARED_MAX)
        .disable_statement_logging()
}

fn mysql_options(options: &MySqlConnectOptions) -> MySqlConnectOptions {
    options
        .clone()
        .charset("utf8mb4")
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(STATEMENTS_PREPARED_MAX)
        .disable_statement_logging()
}

async fn connect_mysql(options: &MySqlConnectOptions) -> Result<Connection, Error> {
    let mut connection = options.connect().await?;
    connection.execute(sqlx::raw_sql(SESSION)).await?;
    Ok(Connection::MySql(Box::new(connection)))
}

async fn in_time<T>(connecting: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let slow = || Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 10 s"));
    tokio::time::timeout(CONNECT_WITHIN, connecting).await.unwrap_or_else(|_| Err(slow()))
}

async fn settings(connection: &mut Connection) -> Result<Vec<(String, String)>, Error> {
    let rows = connection.rows(&SETTINGS, &[]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

/// What the engine or the system said, without sqlx's own words around it.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::Database(error) => error.to_string(),
        Error::Io(error) => error.to_string(),
        Error::Tls(error) => format!("TLS: {error}"),
        other => other.to_string(),
    }
}

const TLS_ADVICE: &str =
    "see that the server has TLS and that ssl-mode and ssl-ca in the URL fit its certificate";

/// What to do about a connection that did not come about.
fn advice(error: &Error) -> String {
    use std::io::ErrorKind;
    let number = crate::failure::number(error);
    match error {
        Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "nothing listens there: start the server, or correct host and port"
        }
        Error::Io(error) if error.kind() == ErrorKind::TimedOut => {
            "see that the host is right and that no firewall is in between"
        }
        // What rustls says about a certificate comes as invalid data.
        Error::Io(error) if error.kind() == ErrorKind::InvalidData => TLS_ADVICE,
        Error::Io(_) => "see that the host's name is right and that it can be reached from here",
        Error::Tls(_) => TLS_ADVICE,
        _ if number == Some(1045) || number == Some(1698) => "correct user and password in the URL",
        _ if number == Some(1040) => "the server has no free connection: raise max_connections",
        Error::Protocol(_) | Error::Configuration(_) => {
            "if the server wants TLS for this user (caching_sha2_password), add ?ssl-mode=REQUIRED to the URL"
        }
        _ => "see the server's log",
    }
    .to_owned()
}
