//! What eventflow promises, as tests whose names are the promises.
//!
//! `tests/run` runs them all, on every engine that can be had.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a spec fails by panicking"
)]

mod bad_input;
mod chain;
mod chains;
mod conformance;
mod delivery;
mod denied;
mod enrolment;
mod forged;
mod grants;
mod groups;
mod hostile;
mod keyring;
mod outbox;
mod parked;
mod plans;
mod process;
mod projection;
mod renewal;
mod revocation;
mod root_elsewhere;
mod rotation;
mod schedule;
mod secrets;
mod tidy;
mod waiting;
