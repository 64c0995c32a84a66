//! How a command ends when it does not end well: one variant per exit code.
//!
//! The codes are a promise to scripts: 0 done, 1 refused or failed, 2 wrong usage, 75 try again
//! later, 78 wrong configuration. Whoever gets 75 may run the same command again without a change.

use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Whoever read our output has gone: there is nobody to tell, so this ends quietly with 0.
    #[error("the reader of the output has closed it")]
    OutputClosed,
    /// Refused, or tried and failed.
    #[error("{0}")]
    Failed(String),
    /// The command line does not make sense.
    #[error("{0}")]
    Usage(String),
    /// The same command may work later.
    #[error("{0}")]
    TryAgain(String),
    /// A setting is wrong.
    #[error("{0}")]
    Configuration(String),
}

/// What most of the program returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// A failure with what `error` says.
    pub(crate) fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }

    /// A wrong usage with what `error` says.
    pub(crate) fn usage(error: impl std::fmt::Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// A failure that may pass, with what `error` says.
    pub(crate) fn try_again(error: impl std::fmt::Display) -> Self {
        Self::TryAgain(error.to_string())
    }

    /// A wrong setting, with what `error` says.
    pub(crate) fn configuration(error: impl std::fmt::Display) -> Self {
        Self::Configuration(error.to_string())
    }

    /// The failure that a hub's exit code stands for.
    pub(crate) fn with_code(code: u8, error: impl std::fmt::Display) -> Self {
        match code {
            75 => Self::try_again(error),
            78 => Self::configuration(error),
            _ => Self::failed(error),
        }
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::OutputClosed => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::TryAgain(_) => 75,
            Self::Configuration(_) => 78,
        })
    }

    /// Whether there is somebody to say it to.
    pub(crate) fn is_worth_saying(&self) -> bool {
        !matches!(self, Self::OutputClosed)
    }
}

/// What writing the output ends with.
pub(crate) fn writing(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::failed(format!("the output cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        assert!(!writing(&io::ErrorKind::BrokenPipe.into()).is_worth_saying());
        assert!(writing(&io::ErrorKind::StorageFull.into()).is_worth_saying());
    }

    #[test]
    fn the_codes_of_the_hub_keep_their_meaning() {
        assert!(matches!(Failure::with_code(75, "later"), Failure::TryAgain(_)));
        assert!(matches!(Failure::with_code(78, "wrong"), Failure::Configuration(_)));
        assert!(matches!(Failure::with_code(1, "no"), Failure::Failed(_)));
    }
}
