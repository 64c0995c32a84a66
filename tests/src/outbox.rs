//! A service that shares the hub's database and puts events into the outbox in its own transactions.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use crate::{Engine, TestDatabase};

const INSERT: &str = "INSERT INTO event_outbox
    (id, publisher, domain, pid, name, data, rid, timestamp, metadata, eids, cpids)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// A row as a service writes it, right or wrong.
#[derive(Debug, Clone)]
pub struct Handed {
    /// The event's id.
    pub id: String,
    /// In whose name.
    pub publisher: String,
    /// The domain.
    pub domain: String,
    /// The pid.
    pub pid: String,
    /// The name.
    pub name: String,
    /// The data.
    pub data: Option<String>,
    /// The event that it answers.
    pub rid: Option<String>,
    /// When it happened.
    pub timestamp: Option<i64>,
    /// Metadata as JSON.
    pub metadata: Option<String>,
    /// Entities as JSON.
    pub eids: Option<String>,
    /// Child processes as JSON.
    pub cpids: Option<String>,
}

impl Handed {
    /// An event `placed` of `order`/`pid` by `shop`, with nothing else said.
    #[must_use]
    pub fn new(id: &str, pid: &str) -> Self {
        Self {
            id: id.to_owned(),
            publisher: "shop".to_owned(),
            domain: "order".to_owned(),
            pid: pid.to_owned(),
            name: "placed".to_owned(),
            data: None,
            rid: None,
            timestamp: None,
            metadata: None,
            eids: None,
            cpids: None,
        }
    }

    /// The same with `json` as its data.
    #[must_use]
    pub fn data(self, json: &str) -> Self {
        Self { data: Some(json.to_owned()), ..self }
    }
}

/// One connection of such a service, set up as a stranger's is.
#[derive(Debug)]
pub enum OutboxService {
    /// On SQLite.
    Sqlite(SqliteConnection),
    /// On a server.
    MySql(MySqlConnection),
}

impl OutboxService {
    /// Connects to `database`.
    pub async fn on(database: &TestDatabase) -> Self {
        match database.engine() {
            Engine::Sqlite => Self::Sqlite(database.sqlite().await),
            Engine::MariaDb | Engine::MySql => {
                Self::MySql(MySqlConnection::connect(&database.url_text()).await.unwrap())
            }
        }
    }

    /// Runs statements.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn run(&mut self, statements: &str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(one) => sqlx::raw_sql(AssertSqlSafe(statements)).execute(one).await.map(drop),
            Self::MySql(one) => sqlx::raw_sql(AssertSqlSafe(statements)).execute(one).await.map(drop),
        }
    }

    /// Starts a transaction, on SQLite when it is this connection's turn.
    pub async fn begin(&mut self) {
        match self {
            Self::Sqlite(_) => while self.run("BEGIN IMMEDIATE").await.is_err() {},
            Self::MySql(_) => self.run("START TRANSACTION").await.unwrap(),
        }
    }

    /// Inserts a row.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn insert(&mut self, row: &Handed) -> Result<(), sqlx::Error> {
        macro_rules! insert {
            ($connection:expr) => {
                sqlx::query(INSERT)
                    .bind(&row.id)
                    .bind(&row.publisher)
                    .bind(&row.domain)
                    .bind(&row.pid)
                    .bind(&row.name)
                    .bind(&row.data)
                    .bind(&row.rid)
                    .bind(row.timestamp)
                    .bind(&row.metadata)
                    .bind(&row.eids)
                    .bind(&row.cpids)
                    .execute($connection)
                    .await
                    .map(drop)
            };
        }
        match self {
            Self::Sqlite(one) => insert!(one),
            Self::MySql(one) => insert!(one),
        }
    }

    /// Inserts rows in one transaction.
    pub async fn hand_over(&mut self, rows: &[Handed]) {
        self.begin().await;
        for row in rows {
            self.insert(row).await.unwrap();
        }
        self.run("COMMIT").await.unwrap();
    }
}
