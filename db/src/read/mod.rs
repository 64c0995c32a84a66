//! Reading the log: a page at a time, never "all".
//!
//! Positions are given out under a lock that is held until COMMIT, so whoever sees the head sees
//! every event up to it, and whoever sees a position sees all before it. That is why no read here
//! waits, guesses at gaps or reads twice. Rows are read one by one and a page ends where its bytes
//! end, so memory does not grow with the log.

mod count;
mod error;
mod groups;
mod links;
mod matching;
mod names;
mod outbox;
mod page;
mod parked;
mod schedules;
mod settlements;
mod sift;
mod stored;
mod story;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use proto::Position;

use crate::connection::Pools;
use crate::database::Database;
use crate::statement::{Statement, Value};

pub use error::ReadError;
pub use matching::{Matching, SCAN_POSITIONS_MAX, Wanted};
pub use parked::{ParkedChangeRow, ParkedRow};
pub use schedules::DUE_PAGE_MAX;
pub use settlements::SettledRun;
pub use story::{Settled, StoredStory};

const HEAD: Statement = Statement::same(include_str!("../../../sql/log_head/read.sql"));

/// Reads the log. A clone shares its connections.
#[derive(Debug, Clone)]
pub struct Reader {
    pools: Pools,
    /// How large the events of the last page were, on average: how many rows to ask for next.
    bytes_per_event: Arc<AtomicUsize>,
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last position; 0 if the log is empty.
    pub position: Position,
    /// Which log this is: a position of another incarnation means nothing in it.
    pub incarnation: u64,
}

impl Database {
    /// The reading end of the log.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { pools: self.reading().clone(), bytes_per_event: Arc::new(AtomicUsize::new(0)) }
    }
}

impl Reader {
    /// Where the log ends now. Every event up to there can be read from now on.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the database does not answer, [`ReadError::NotFound`] if it
    /// holds no log.
    pub async fn head(&self) -> Result<Head, ReadError> {
        let rows = self.pools.rows(&HEAD, &[]).await?;
        let row = rows.first().ok_or_else(|| ReadError::NotFound { what: "the log's head".to_owned() })?;
        Ok(Head { position: row.position(0)?, incarnation: row.number(1)? })
    }
}

/// A position that a peer names may be larger than any that SQL knows; then nothing is after it.
fn cursor(position: Position) -> Value<'static> {
    Value::Integer(i64::try_from(position.0).unwrap_or(i64::MAX))
}
