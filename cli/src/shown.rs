//! How the protocol's own records look to people and to programs.

pub(crate) mod event;
pub(crate) mod grant;
pub(crate) mod group;
pub(crate) mod outbox;
pub(crate) mod parked;
pub(crate) mod rotation;
pub(crate) mod schedule;
pub(crate) mod story;
