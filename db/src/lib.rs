//! The log on SQL: one writer, many readers, commit before answer.
//!
//! [`Database::open`] connects to SQLite, MariaDB or MySQL and refuses what could lose answered
//! events. [`Database::migrate`] makes the tables. [`Database::writer`] hands out the one task of a
//! process that writes events, groups and settlements. All statements are files below `sql/`.

mod database;
mod engine;
mod error;
mod migrate;
mod url;

mod connection;
mod failure;
mod lease;
mod row;
mod statement;
mod turn;

mod outbox;
mod read;
mod schedule;
mod write;

mod access_head;
mod audit;
mod certificates;
mod grants;
mod hubs;
mod journal;
mod keyrings;
mod record;
mod renewal;
mod revocations;
mod rotation;
mod tokens;

pub mod doctor;

pub use access_head::AccessHead;
pub use audit::Audit;
pub use certificates::{CertificateRow, Certificates, KeyringRow, SealedKey};
pub use database::Database;
pub use engine::{Engine, EngineInfo};
pub use error::{MigrateError, OpenError, UrlError, WriteError};
pub use grants::{Added, Grants};
pub use hubs::{FIRST_LEASE, HubRow, Hubs, RegisterError};
pub use journal::{Journal, JournalEntry, JournalNote};
pub use keyrings::{Former, KEYRINGS_OPEN_MAX, KeyringState, Keyrings, StandingKeyring};
pub use migrate::Migrated;
pub use outbox::{Drained, OUTBOX_ROW_BYTES_MAX, OUTBOX_ROWS_MAX, Outbox, OutboxRow, OutboxRows, WaitingRow};
pub use read::{
    DUE_PAGE_MAX, Head, Matching, ParkedChangeRow, ParkedRow, ReadError, Reader, SCAN_POSITIONS_MAX, Settled,
    SettledRun, StoredStory, Wanted,
};
pub use record::RecordError;
pub use renewal::{LeafRow, Renewal, SUPERSEDED_MAX};
pub use revocations::{Holder, REVOCATIONS_PER_PAGE, REVOKED_LISTED_MAX, Revocation, Revocations, Revoked};
pub use rotation::{
    AuthorityMark, ForgotKey, Hanging, HangingFrom, Requested, RotationRow, Rotations, StepChanges,
};
pub use schedule::{
    Cancelled, Due, Occurrence, Schedule, ScheduleState, ScheduleWish, Scheduled, SeriesState, SeriesStep,
    SeriesWish, Shot, Stepped, Turn, Which,
};
pub use tokens::{EnrolmentRow, TokenRow, Tokens};
pub use url::DatabaseUrl;
pub use write::append::Append;
pub use write::ceiling::Ceiling;
pub use write::chain::Effects;
pub use write::commits::{Commits, Committed};
pub use write::group::{Group, GroupId, GroupWish, Slot};
pub use write::manage::{ChangedGroup, GroupAct, GroupChange, GroupPause, Swept};
pub use write::pause::Altered;
pub use write::pending::{PendingNews, PendingSchedules};
pub use write::settlement::{
    Aside, ORPHANS, OUTS_PER_SLOT_MAX, OrphanRun, Outcome, RUN_POSITIONS_MAX, Retry, Run, Settlements,
    SlotMove,
};
pub use write::unpark::{Act, Replay, Unpark, Unparked};
pub use write::writer::{FIRE_SCHEDULES_MAX, STEPS_MAX, Writer, WriterOptions, WriterTasks};
