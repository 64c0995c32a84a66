//! The eventflow hub: stores events in a SQL database before it says so, pushes them over mutual
//! TLS, and sees every delivery through to a recorded outcome.
//!
//! [`run()`] is a hub from start to stop. Below it, in the order in which an event passes:
//! `door` lets peers in, `connection` speaks with one of them, `command` does what it asks,
//! `db`'s writer commits, `dispatch` decides who gets what and records what came of it.

mod access;
mod clock;
mod config;
mod error;
mod run;

pub mod recurrence;

mod command;
mod connection;
mod dispatch;
mod door;
mod refuse;
mod schedule;
mod store;

mod data_folder;
mod enrol;
mod health;
mod identity;
mod journal;
mod keyring;
mod metrics;
mod outbox;
mod passphrase;
mod quiet;
mod rotation;
mod secret_file;

#[cfg(feature = "simulation")]
pub use access::Looks;
pub use clock::Clock;
pub use config::{AccessMode, ConnectionLimits, HubConfig, LocalEnrolment, OutboxPoll, is_loopback};
pub use data_folder::DataFolderError;
#[cfg(any(test, feature = "simulation"))]
pub use dispatch::simulation;
pub use dispatch::{OnStall, Rules};
pub use error::HubError;
pub use identity::{
    ForgetRootKey, ForgottenRootKey, IdentityError, LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN, LeafLifetimeError,
    LeafTimes, RENEW_WITHIN, RootCopy, forget_root_key,
};
pub use keyring::{KeyringRotation, RotatedKeyring, rotate_keyring};
pub use passphrase::{
    PASSPHRASE_FILE_VARIABLE, PASSPHRASE_VARIABLE, PassphraseError, PassphraseSource, Typed, passphrase_of,
};
pub use run::{Ready, Stopped, run};
#[cfg(feature = "simulation")]
pub use schedule::SteppedSchedules;
pub use secret_file::write_secret_file;
