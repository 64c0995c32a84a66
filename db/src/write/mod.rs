//! Writing: one task, one connection, whole batches, answers after COMMIT.

pub(crate) mod append;
pub(crate) mod commits;
pub(crate) mod group;
pub(crate) mod settlement;
mod task;
pub(crate) mod writer;
