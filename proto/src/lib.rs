//! Names, events, messages and sessions of eventflow: everything that both ends of a connection
//! must agree on, and nothing else.
//!
//! This crate is pure. It does no I/O, asks no clock and knows no runtime: bytes and time come in
//! as arguments, messages and decisions come out as values. So two ends can be run against each
//! other in a test, in any order of events, without a socket.

pub mod limits;

pub mod event;
pub mod filter;
pub mod name;
pub mod number;

pub mod access;
pub mod admin;
pub mod audit;
pub mod certs;
pub mod chain;
pub mod enrol;
pub mod group;
pub mod message;
pub mod parked;
pub mod priority;
pub mod read;
pub mod recurrence;
pub mod refusal;
pub mod report;
pub mod rotation;
pub mod schedule;
pub mod token;
pub mod wire;

pub mod session;

pub use event::{Cpid, Data, Event, EventError, Metadata, NewEvent, slot};
pub use filter::{Expectation, Expected, NameFilter, Order, Start, Topic};
pub use group::{GroupSettings, ParkPolicy, SettingsChange};
pub use name::{
    CronText, Domain, Eid, EventId, EventName, GroupName, HubId, NameError, Pattern, Pid, ProjectionName,
    RoleName, ScheduleKey, ServiceName, ZoneName,
};
pub use number::{Attempt, ListenerId, Position, RequestId, Timestamp, TimestampError, Version};
pub use priority::Priority;
pub use refusal::Refusal;
