//! What can go wrong between a hub and its database, one enum for each thing that is attempted.
//!
//! Reasons are what the engine said, without the URL: no password ends up in a message.

use proto::Refusal;

use crate::write::group::GroupId;

/// Why a text is not the URL of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is none of ours.
    #[error("the database URL starts with {scheme:?}; use sqlite:PATH, mysql://… or mariadb://…")]
    Scheme {
        /// What it starts with, cut to 32 characters.
        scheme: String,
    },
    /// A part is missing or cannot be read.
    #[error(
        "the database URL cannot be read: {reason}; write sqlite:PATH or mysql://USER:PASSWORD@HOST:PORT/DATABASE"
    )]
    Malformed {
        /// Which part.
        reason: String,
    },
    /// A parameter is unknown.
    #[error(
        "the database URL has the unknown parameter {name:?}; known are ssl-mode, ssl-ca, ssl-cert, ssl-key and socket"
    )]
    Parameter {
        /// Its name.
        name: String,
    },
}

/// Why a database was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No connection came about.
    #[error("{tried} did not work: {reason}; {advice}")]
    Unreachable {
        /// What was tried: where to and as whom.
        tried: String,
        /// What the engine or the system said.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// The engine is too old or not one of ours.
    #[error(
        "the database at {place} is {found}; eventflow needs SQLite, MySQL 8.0.16 or MariaDB 10.6, or newer"
    )]
    Unsupported {
        /// Where it is.
        place: String,
        /// What it calls itself.
        found: String,
    },
    /// A setting would let the database lose or change what it has confirmed.
    #[error("the database at {place} has {setting} = {found}, {needed} is needed: {why}; {advice}")]
    Lax {
        /// Where it is.
        place: String,
        /// Which setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The value that it needs.
        needed: &'static str,
        /// What could happen otherwise.
        why: &'static str,
        /// How to set it.
        advice: String,
    },
    /// It answered, and then something failed.
    #[error("the database at {place} failed while it was opened: {reason}; try again")]
    Failed {
        /// Where it is.
        place: String,
        /// What the engine said.
        reason: String,
    },
    /// The tables are not those that this program knows.
    #[error(transparent)]
    Schema(#[from] MigrateError),
}

/// Why the tables are not as this program needs them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// There are no tables yet, or those of an older version.
    #[error("the tables are at version {found}, this program needs {needed}; run `eventflow migrate`")]
    Older {
        /// Version of the tables; 0 stands for none.
        found: u32,
        /// Version that is needed.
        needed: u32,
    },
    /// A newer program has changed the tables.
    #[error(
        "the tables are at version {found}, this program knows up to {known}; use the newer program that changed them"
    )]
    Newer {
        /// Version of the tables.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A migration was run with another text than this program has.
    #[error(
        "migration {version} was run with another text (hash {found}, expected {expected}); use the program that ran it, or start with an empty database"
    )]
    Changed {
        /// Which migration.
        version: u32,
        /// The hash in the database.
        found: String,
        /// The hash of this program's text.
        expected: String,
    },
    /// The database holds tables of something else.
    #[error(
        "the database holds the table {table}, which is not eventflow's; give eventflow a database of its own"
    )]
    Foreign {
        /// One of them.
        table: String,
    },
    /// Another program is at it.
    #[error(
        "another program has been changing the tables for {waited_s} s; wait until it is done, then try again"
    )]
    Locked {
        /// How long this one has waited, in seconds.
        waited_s: u32,
    },
    /// The database does not let this user change tables.
    #[error("migration {version} was refused: {reason}; {advice}")]
    Refused {
        /// Which migration.
        version: u32,
        /// What the engine said.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// The database did not answer.
    #[error("the database failed while its tables were checked: {reason}; try again, that is safe")]
    Unavailable {
        /// What the engine said.
        reason: String,
    },
}

/// Why a write was not done. Nothing of it is in the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The log says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database did not do it in time; asking again with the same ids is safe.
    #[error("the database did not store it: {reason}; try again, that is safe")]
    Unavailable {
        /// What the engine said.
        reason: String,
    },
    /// A slot of the group belongs to another hub or epoch by now.
    #[error("slots of group {group} are no longer held by this hub; take them again before settling")]
    Fenced {
        /// The group.
        group: GroupId,
    },
    /// The writer has stopped.
    #[error("the writer has stopped; nothing was stored")]
    Stopped,
}
