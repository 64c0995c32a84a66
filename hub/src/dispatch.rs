//! From committed to settled: who gets which event, when, and what came of it.
//!
//! [`desk`] is the state, pure: events, answers and time in, effects out. [`task`] owns it, feeds
//! it from the writer's tail and the connections, and carries out its effects. [`handle`] is how
//! connections reach it. Nothing is buffered without bound: what does not fit stays in the tables.

mod connection;
mod desk;
mod effect;
#[cfg(test)]
pub(crate) mod example;
mod feed;
mod group;
mod handle;
mod oldest;
mod orphans;
mod recover;
mod ring;
mod rules;
#[cfg(any(test, feature = "simulation"))]
#[allow(clippy::expect_used, reason = "what serves tests is test code")]
pub mod simulation;
#[cfg(test)]
mod specs;
mod task;
mod waits;

pub(crate) use connection::{ConnectionId, DEADLINES_MAX, PUSHES_MAX};
pub(crate) use group::{Caution, Standing};
pub(crate) use handle::{ChainWork, Dispatcher, GroupPage, Outgoing, UnparkOrder};
pub(crate) use oldest::{Effort, oldest};
pub use rules::Rules;
pub use task::OnStall;
pub(crate) use task::{DispatchTask, LeftBehind, Parts, start};
pub(crate) use waits::Found;
