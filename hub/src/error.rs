//! What ends a hub, and with which exit code.

use std::time::Duration;

use db::{MigrateError, OpenError};
use proto::{HubId, Refusal};

use crate::data_folder::DataFolderError;
use crate::identity::IdentityError;
use crate::passphrase::PassphraseError;

/// Why a hub did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The passphrase cannot be had.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The keys cannot be opened or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The tables cannot be used.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// Nobody can listen there.
    #[error(
        "nothing can listen on {address} for {purpose}: {reason}; choose another address with {flag}, or stop what listens there"
    )]
    Listen {
        /// The address.
        address: String,
        /// For spokes or for health.
        purpose: &'static str,
        /// The option that sets it.
        flag: &'static str,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Everybody who can connect could do everything.
    #[error(
        "access is open, but {address} can be reached from other machines; start with --access grants, listen on 127.0.0.1, or say --i-know-that-access-is-open"
    )]
    OpenToOthers {
        /// Where the hub was to listen.
        address: std::net::SocketAddr,
    },
    /// Another hub is at work on this database.
    #[error(
        "hub {hub} is at work on this database (its lease ends in {ends_in:?}); stop it first: one database has one hub in this version"
    )]
    AnotherHub {
        /// Which.
        hub: HubId,
        /// When its lease ends if it does not renew it.
        ends_in: Duration,
    },
    /// This hub could not renew its lease.
    #[error(
        "the lease of this hub could not be renewed: {reason}; it has stopped so that another may take over"
    )]
    LeaseLost {
        /// What happened.
        reason: String,
    },
    /// The database failed.
    #[error("the database failed at the start: {0}")]
    Database(Refusal),
    /// A file of the data folder or a socket failed.
    #[error("{what}: {reason}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// Exit code of a wrong configuration (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;

/// Exit code of what may work later (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: u8 = 75;

impl HubError {
    /// The exit code of the process that ends with this.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DataFolder(error) => error.exit_code(),
            Self::Passphrase(error) => error.exit_code(),
            Self::Identity(error) => error.exit_code(),
            // Starting it again would not help: it was given the wrong database or is the wrong program.
            Self::OpenToOthers { .. }
            | Self::Open(OpenError::Lax { .. } | OpenError::Unsupported { .. })
            | Self::Migrate(
                MigrateError::Newer { .. } | MigrateError::Changed { .. } | MigrateError::Foreign { .. },
            ) => CONFIGURATION,
            Self::Open(OpenError::Unreachable { .. } | OpenError::Failed { .. })
            | Self::AnotherHub { .. }
            | Self::Database(_)
            | Self::LeaseLost { .. }
            | Self::Migrate(MigrateError::Locked { .. } | MigrateError::Unavailable { .. }) => TRY_AGAIN,
            Self::Open(_) | Self::Migrate(_) | Self::Listen { .. } | Self::Io { .. } => 1,
        }
    }
}
