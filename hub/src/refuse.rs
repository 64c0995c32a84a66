//! What a peer is told when the database says no.

use db::{ReadError, RecordError, WriteError};
use proto::Refusal;

/// The refusal for a failed write.
pub(crate) fn write(error: WriteError) -> Refusal {
    match error {
        WriteError::Refused(refusal) => refusal,
        WriteError::Stopped => Refusal::Stopping,
        error => Refusal::Unavailable { reason: error.to_string() },
    }
}

/// The refusal for a failed read.
pub(crate) fn read(error: ReadError) -> Refusal {
    match error {
        ReadError::NotFound { what } => Refusal::NotFound { what },
        error => Refusal::Unavailable { reason: error.to_string() },
    }
}

/// The refusal for what was not recorded, or not read from a record.
pub(crate) fn record(error: RecordError) -> Refusal {
    match error {
        RecordError::NotFound { what } => Refusal::NotFound { what },
        error @ RecordError::Taken { .. } => Refusal::Invalid { reason: error.to_string() },
        error => Refusal::Unavailable { reason: error.to_string() },
    }
}
