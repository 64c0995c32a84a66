//! Fires schedules when they are due.
//!
//! `wheel` decides, purely, what to read, what to fire and how long to wait; `task` drives it. What is
//! pending is in the tables, so the wheel holds the next half minute only, and memory does not grow
//! with what is scheduled. The firing itself is the writer's, in one transaction each.

mod series;
#[cfg(feature = "simulation")]
mod stepped;
mod task;
mod wheel;

pub(crate) use series::recurring_of;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use series::{Advanced, series_of, steps_of};
#[cfg(feature = "simulation")]
pub use stepped::SteppedSchedules;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use task::Outcome;
pub(crate) use task::{Firing, Parts, ScheduleTask, start};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use wheel::{Bounds, Fired, Step, Wheel};
