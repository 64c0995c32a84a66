//! What is tried with random bytes. Each module has a `run` that panics when a promise is broken.
//!
//! `proto/tests/corpora.rs` includes these modules and runs them over the kept inputs, so they
//! depend on nothing but the protocol.

pub mod choices;
pub mod frames;
pub mod groups;
pub mod messages;
pub mod sessions;
pub mod tokens;
