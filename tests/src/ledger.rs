//! A projection whose rows show every event that was missed, doubled or out of order.
//!
//! Each process has a row with the number of its events and a sum over their content that depends on their
//! order. [`Ledger::fold`] computes the same directly.

use std::collections::BTreeMap;

use proto::{Event, Position};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use spoke::{ApplyError, Build, Checkpoint, Generation, MySqlStore, ProjectionStore, Projector, SqliteStore};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{MySql, MySqlPool, Sqlite, SqlitePool, Transaction};

use crate::TestDatabase;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS ledger (
    generation BIGINT NOT NULL, pid VARCHAR(128) NOT NULL, events BIGINT NOT NULL, content BIGINT NOT NULL,
    PRIMARY KEY (generation, pid))";
const UPDATE: &str = "UPDATE ledger SET events = events + 1, content = (content * 31 + ?) % 1000000007
    WHERE generation = ? AND pid = ?";
const INSERT: &str = "INSERT INTO ledger (content, generation, pid, events) VALUES (?, ?, ?, 1)";
const ROWS: &str = "SELECT pid, events, content FROM ledger WHERE generation = ?";
const SKIPPED: &str = "SELECT position FROM projection_skipped ORDER BY position";

/// What is known of each process: how many events, and the sum over them.
pub type Rows = BTreeMap<String, (i64, i64)>;

/// The projector: it fails at events of this name, if any.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// The name that it cannot stand.
    pub poison: Option<&'static str>,
}

impl Ledger {
    /// What the rows must be after `events`.
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Rows {
        let mut rows = Rows::new();
        for event in events {
            match rows.entry(event.pid.to_string()) {
                std::collections::btree_map::Entry::Vacant(row) => {
                    row.insert((1, content(event)));
                }
                std::collections::btree_map::Entry::Occupied(mut row) => {
                    let (count, sum) = *row.get();
                    row.insert((count + 1, (sum * 31 + content(event)) % 1_000_000_007));
                }
            }
        }
        rows
    }

    fn check(&self, event: &Event) -> Result<(), ApplyError> {
        match self.poison {
            Some(name) if event.name.as_str() == name => Err(format!("{name} cannot be booked").into()),
            Some(_) | None => Ok(()),
        }
    }
}

/// A number for an event's name and data.
fn content(event: &Event) -> i64 {
    let bytes = event.name.as_str().bytes().chain(event.data.as_str().bytes());
    bytes.fold(7, |sum, byte| (sum * 131 + i64::from(byte)) % 1_000_003)
}

/// A database that ledgers are kept in, by engine.
pub trait Shelf: Clone + Send + Sync + 'static {
    /// The library's store on that engine.
    type Store: ProjectionStore<Transaction = Self::Open> + Clone;
    /// Its transactions.
    type Open: Send + 'static;

    /// A store in it, its tables made.
    fn store(&self) -> impl Future<Output = Self::Store> + Send;
    /// The rows of a generation.
    fn rows(&self, generation: u32) -> impl Future<Output = Rows> + Send;
    /// The positions that were passed over.
    fn skipped(&self) -> impl Future<Output = Vec<i64>> + Send;
    /// The generation that readers are to use.
    fn serving(&self, name: &str) -> impl Future<Output = Option<Generation>> + Send;

    /// A build's checkpoint.
    fn checkpoint(&self, name: &str, generation: u32) -> impl Future<Output = Checkpoint> + Send {
        let build = Build { name: name.parse().unwrap(), generation: Generation(generation) };
        async move { self.store().await.checkpoint(&build).await.unwrap().unwrap() }
    }
}

/// On SQLite.
#[derive(Debug, Clone)]
pub struct SqliteShelf(SqlitePool);

/// On MariaDB and MySQL.
#[derive(Debug, Clone)]
pub struct MySqlShelf(MySqlPool);

impl SqliteShelf {
    /// Opens `database` as a service would open its own.
    pub async fn on(database: &TestDatabase) -> Self {
        let options = SqliteConnectOptions::new().filename(database.file()).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal);
        Self(SqlitePoolOptions::new().max_connections(4).connect_with(options).await.unwrap())
    }
}

impl MySqlShelf {
    /// Opens `database` as a service would open its own, with the server's own settings.
    pub async fn on(database: &TestDatabase) -> Self {
        Self(MySqlPoolOptions::new().max_connections(4).connect(&database.url_text()).await.unwrap())
    }
}

macro_rules! shelf {
    ($shelf:ident, $store:ident, $engine:ty) => {
        impl Shelf for $shelf {
            type Store = $store;
            type Open = Transaction<'static, $engine>;

            async fn store(&self) -> $store {
                let store = $store::new(self.0.clone());
                store.prepare().await.unwrap();
                store
            }

            async fn rows(&self, generation: u32) -> Rows {
                let query = sqlx::query_as::<_, (String, i64, i64)>(ROWS).bind(generation);
                let rows = query.fetch_all(&self.0).await.unwrap();
                rows.into_iter().map(|(pid, events, content)| (pid, (events, content))).collect()
            }

            async fn skipped(&self) -> Vec<i64> {
                sqlx::query_scalar(SKIPPED).fetch_all(&self.0).await.unwrap()
            }

            async fn serving(&self, name: &str) -> Option<Generation> {
                self.store().await.serving(&name.parse().unwrap()).await.unwrap()
            }
        }

        impl Projector<Transaction<'static, $engine>> for Ledger {
            async fn open(
                &mut self,
                transaction: &mut Transaction<'static, $engine>,
                _: Generation,
            ) -> Result<(), ApplyError> {
                sqlx::query(CREATE).execute(&mut **transaction).await?;
                Ok(())
            }

            async fn apply(
                &mut self,
                transaction: &mut Transaction<'static, $engine>,
                event: &Event,
                generation: Generation,
            ) -> Result<(), ApplyError> {
                self.check(event)?;
                for statement in [UPDATE, INSERT] {
                    let query = sqlx::query(statement)
                        .bind(content(event))
                        .bind(generation.0)
                        .bind(event.pid.as_str());
                    if query.execute(&mut **transaction).await?.rows_affected() > 0 {
                        break;
                    }
                }
                Ok(())
            }
        }
    };
}

shelf!(SqliteShelf, SqliteStore, Sqlite);
shelf!(MySqlShelf, MySqlStore, MySql);

/// When something is to be killed: seeded, so that a failure can be run again.
#[derive(Debug)]
pub struct Plan {
    seed: u64,
    random: SmallRng,
}

impl Plan {
    /// The plan of `EVENTFLOW_SEED`, or of a new seed; it is printed.
    #[must_use]
    pub fn seeded() -> Self {
        let given = std::env::var("EVENTFLOW_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(rand::random);
        println!("EVENTFLOW_SEED={seed}");
        Self { seed, random: SmallRng::seed_from_u64(seed) }
    }

    /// Its seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number from 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.random.random_range(0..end)
    }

    /// A position up to `most` after `position`.
    pub fn after(&mut self, position: Position, most: u64) -> Position {
        Position(position.0 + self.below(most) + 1)
    }
}
