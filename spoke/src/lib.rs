//! The client library of eventflow: publish, consume, subscribe, read.
//!
//! An *event* happened to a process, named by its *domain* and *pid*; all events of a process are its
//! *eventlog*. A hub stores each event before it says so, and sees every delivery through.
//!
//! ```no_run
//! use eventflow_spoke::{
//!     Data, Delivery, Domain, EventName, Failure, NewEvent, Spoke, SpokeOptions, Start, Subscription, Told,
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One connection for the whole service; clones share it.
//! let spoke = Spoke::connect(SpokeOptions::local("shop")?).await?;
//! let order = Domain::parse("order")?;
//! let placed = EventName::parse("order placed")?;
//!
//! // Replicas of a service share its work; what the handler returns is the answer.
//! let billing = spoke
//!     .consumer(order.clone())
//!     .name(placed.clone(), |delivery: Delivery| async move {
//!         let facts: serde_json::Value = delivery.event.data.to()?;
//!         println!("bill {} for {}", facts["total"], delivery.event.pid);
//!         Ok::<(), Failure>(())
//!     })
//!     .start()
//!     .await?;
//!
//! // Everyone who subscribes is told of everything.
//! let mut told = spoke.subscribe(Subscription::topic(order.clone()).from(Start::Beginning)).await?;
//!
//! // It returns when the event is durable. The id makes it safe to publish again.
//! let pid = spoke.generate_pid();
//! let mut event = NewEvent::new(Spoke::generate_id(), order.clone(), pid.clone(), placed);
//! event.data = Data::parse(r#"{"total": 42}"#)?;
//! let appended = spoke.publish(event).await?;
//!
//! while let Some(told) = told.next().await {
//!     match told? {
//!         Told::Event(event) => println!("{} {}", event.position, event.name),
//!         Told::Lagged { .. } => {}
//!         Told::CaughtUp { position } if position >= appended.position => break,
//!         Told::CaughtUp { .. } => {}
//!     }
//! }
//! assert_eq!(spoke.state(&order, &pid).await?["total"], 42);
//! billing.stop().await?;
//! spoke.close().await?;
//! # Ok(()) }
//! ```

mod enrolment;
mod error;
mod ids;
mod options;
mod spoke;
mod state;

mod admin;
mod append;
mod change;
mod group;
mod listing;
mod parked;
mod read;
pub mod schedule;
mod wait;

mod consumer;
mod projection;
mod subscription;

mod identity;
mod link;

#[cfg(test)]
mod testing;

/// The guide, whose examples are compiled.
#[cfg(all(doctest, feature = "sql"))]
#[doc = include_str!("../../docs/projections.md")]
struct Guide;

pub use append::AppendBuilder;
pub use consumer::{
    ChainError, Consumer, ConsumerBuilder, ConsumerMap, Consumers, Delivery, DeliveryStream, EffectError,
    Failure,
};
pub use enrolment::Enrolment;
pub use error::{ClosedReason, ConnectError, ListenError, PublishError, RequestError};
pub use ids::{generate_id, generate_pid};
pub use listing::{Listing, LogPage};
pub use options::{OptionsError, SpokeOptions, default_data_folder};
pub use parked::ParkedPages;
pub use projection::{
    ApplyError, Build, Checkpoint, Closure, Ended, Generation, Generations, Phase, Progress, Projection,
    ProjectionBuilder, ProjectionError, ProjectionStore, Projector, ReachError, Standing, Step, Switched,
    projector,
};
#[cfg(feature = "sql")]
pub use projection::{MySqlStore, SqliteStore};
pub use read::EventlogReader;
pub use spoke::{CloseError, Spoke};
pub use state::{StateError, compose_state};
pub use subscription::{EventStream, Subscription, Told};
pub use wait::{PublishAndWait, Wait, WaitError};

/// The words of the protocol that this crate's methods speak in.
pub use proto::admin::{AdminReply, AdminRequest};
pub use proto::chain::child_id;
pub use proto::enrol::{EnrolToken, TokenError};
pub use proto::group::{
    GroupMember, GroupPart, GroupSettings, GroupStatus, MembersFate, OldestUnsettled, ParkPolicy, Pause,
    PausedPid, SettingsChange,
};
pub use proto::message::{Appended, Link, Stored, Welcome};
pub use proto::parked::{ParkedChange, ParkedEvent, ParkedSelection, Unparked};
pub use proto::read::{More, Window};
pub use proto::report::{DeliveryState, DeliveryStory, EventStory, GroupReport, OutboxState, OutboxStory};
pub use proto::schedule::Which;
pub use proto::{
    Attempt, Cpid, CronText, Data, Domain, Eid, Event, EventError, EventId, EventName, Expected, GroupName,
    HubId, Metadata, NameError, NewEvent, Order, Pid, Position, Priority, ProjectionName, Refusal,
    ScheduleKey, ServiceName, Start, Timestamp, TimestampError, Version, ZoneName,
};
