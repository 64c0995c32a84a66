//! One connection's rules, at either end: who may say what, when, how much and how often.
//!
//! A session is pure. Its driver (a task of the hub or of the spoke) owns the socket and the clock
//! and calls it in four ways: `handle_*` with what came from outside, plain methods with what the
//! application wants, `poll_*` for what there is to do now, and questions. Time is the `Duration`
//! since the driver's own start. A frame's payload goes in and out; its length header is the driver's.
//!
//! After any call a driver takes events until there are none, sends frames until there are none, and
//! sets its timer to `poll_timeout`. A [`Violation`] means that the other end broke the protocol: the
//! connection is to be closed.

mod bounds;
mod liveness;
mod violation;

mod hub;
mod spoke;

pub use hub::{FromSpoke, HubSession, HubSessionConfig};
pub use spoke::{FromHub, Listen, RequestError, RequestKey, SpokeSession, SpokeSessionConfig};
pub use violation::Violation;
