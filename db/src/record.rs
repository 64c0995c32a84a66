//! What can go wrong with the small tables around the log: hubs, journal, certificates, keyring.

use sqlx::Error;

use crate::database::reason;
use crate::row::RowError;

/// Why something was not recorded or not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no such record.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// Another record has it already, and nothing was recorded.
    #[error("{what} is recorded already; use another one")]
    Taken {
        /// What is taken.
        what: String,
    },
    /// The database did not answer. What was asked may have been done; asking again shows.
    #[error("the database did not answer: {reason}; try again")]
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

impl From<Error> for RecordError {
    fn from(error: Error) -> Self {
        match error {
            Error::Decode(_) | Error::ColumnDecode { .. } => Self::Corrupt { reason: reason(&error) },
            other => Self::Unavailable { reason: reason(&other) },
        }
    }
}

impl From<RowError> for RecordError {
    fn from(error: RowError) -> Self {
        Self::Corrupt { reason: error.reason }
    }
}
