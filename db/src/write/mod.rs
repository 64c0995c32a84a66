//! Writing: one task, one connection, whole batches, answers after COMMIT.

pub(crate) mod append;
pub(crate) mod ceiling;
pub(crate) mod chain;
pub(crate) mod commits;
pub(crate) mod group;
pub(crate) mod groups;
pub(crate) mod manage;
pub(crate) mod pause;
pub(crate) mod pending;
pub(crate) mod settlement;
pub(crate) mod unpark;
pub(crate) mod writer;

mod batch;
mod change;
mod decide;
mod drain;
mod fire;
mod intake;
mod links;
mod log;
mod plan;
mod schedules;
mod series;
pub(crate) mod session;
mod settle;
mod task;
mod telling;
mod versions;
