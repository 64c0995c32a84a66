//! What can go wrong when something is read.

use proto::Refusal;

use crate::database::reason;
use crate::row::RowError;

/// Why a read has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It does not exist, or not any more.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The database did not answer; asking again is safe.
    #[error("the database did not answer: {reason}; try again, that is safe")]
    Unavailable {
        /// What the engine said.
        reason: String,
    },
    /// A row is not what its table promises.
    #[error(
        "the database holds a row that eventflow has not written: {reason}; find out who changed it, and restore it from a backup"
    )]
    Corrupt {
        /// What does not fit.
        reason: String,
    },
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
                Self::Corrupt { reason: reason(&error) }
            }
            other => Self::Unavailable { reason: reason(&other) },
        }
    }
}

impl From<RowError> for ReadError {
    fn from(error: RowError) -> Self {
        Self::Corrupt { reason: error.reason }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound { what } => Self::NotFound { what },
            ReadError::Unavailable { reason } => Self::Unavailable { reason },
            ReadError::Corrupt { .. } => Self::Invalid { reason: error.to_string() },
        }
    }
}
