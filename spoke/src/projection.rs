//! Projections: rows that follow the log, kept by the caller's own store.
//!
//! A projection's checkpoint is moved in the transaction that holds the effect of the events up to it, so
//! each event has its effect exactly once, whatever is killed when. It catches up from the log and then
//! follows live, over reconnects, without a gap or a repeat between the two. Events come one at a time,
//! in the order of the log; projections with other names or stores run beside each other.
//!
//! A projection whose code has changed is rebuilt: the next *generation* is built beside the one that is
//! read, catches up, and takes its place in one transaction. The old one is kept until it is removed.

mod applier;
mod error;
mod progress;
mod projector;
mod source;
#[cfg(feature = "sql")]
mod sql;
mod start;
mod store;
mod task;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use proto::{Domain, EventName, NameError, Position, ProjectionName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::spoke::Spoke;
use crate::subscription::Subscription;

pub use error::{Ended, ProjectionError, ReachError};
pub use progress::{Phase, Progress};
pub use projector::{ApplyError, Closure, Projector, projector};
#[cfg(feature = "sql")]
pub use sql::{MySqlStore, SqliteStore};
pub use store::{Build, Checkpoint, Generation, Generations, ProjectionStore, Standing, Step, Switched};

use start::Purpose;
use task::{Rules, Switching};

/// Events that go into one transaction when nothing is said.
const BATCH_EVENTS: usize = 256;

/// Events that may go into one transaction.
const BATCH_EVENTS_MAX: usize = 4_096;

/// Events that may be under way to a projection.
const CREDIT: u32 = 1_024;

/// How often an event is tried when nothing is said.
const ATTEMPTS: u32 = 8;

/// How long a place without an event of its own stays unrecorded when nothing is said.
const MARK_EVERY: Duration = Duration::from_secs(5);

impl Spoke {
    /// A projection of this name: see [`ProjectionBuilder`]. Without a topic it gets published events of
    /// every domain.
    ///
    /// # Errors
    /// [`NameError`] if it cannot be a name.
    pub fn projection(&self, name: &str) -> Result<ProjectionBuilder, NameError> {
        Ok(ProjectionBuilder {
            link: self.link.clone(),
            name: ProjectionName::parse(name)?,
            domain: None,
            names: Vec::new(),
            stored: false,
            start_after: Position(0),
            rules: Rules { batch_events: BATCH_EVENTS, attempts_max: ATTEMPTS, mark_every: MARK_EVERY },
            skips: BTreeSet::new(),
        })
    }
}

/// Says which events a projection gets; [`ProjectionBuilder::run`] runs it.
///
/// ```no_run
/// # #[cfg(feature = "sql")] mod example {
/// use eventflow_spoke::{ApplyError, Domain, Event, Generation, Projector, Spoke, SqliteStore};
/// use sqlx::{Sqlite, SqlitePool, Transaction};
///
/// /// How many events each order has had.
/// struct Counts;
///
/// impl Projector<Transaction<'static, Sqlite>> for Counts {
///     async fn open(&mut self, tx: &mut Transaction<'static, Sqlite>, _: Generation) -> Result<(), ApplyError> {
///         let sql = "CREATE TABLE IF NOT EXISTS orders
///                    (generation INTEGER, pid TEXT, events INTEGER, PRIMARY KEY (generation, pid))";
///         sqlx::query(sql).execute(&mut **tx).await?;
///         Ok(())
///     }
///
///     async fn apply(
///         &mut self,
///         tx: &mut Transaction<'static, Sqlite>,
///         event: &Event,
///         generation: Generation,
///     ) -> Result<(), ApplyError> {
///         let sql = "INSERT INTO orders VALUES (?, ?, 1)
///                    ON CONFLICT (generation, pid) DO UPDATE SET events = events + 1";
///         sqlx::query(sql).bind(generation.0).bind(event.pid.as_str()).execute(&mut **tx).await?;
///         Ok(())
///     }
/// }
///
/// # pub async fn run(spoke: Spoke) -> Result<(), Box<dyn std::error::Error>> {
/// let store = SqliteStore::new(SqlitePool::connect("sqlite:orders.db").await?);
/// store.prepare().await?;
/// let orders = spoke.projection("orders")?.topic(Domain::parse("order")?).run(store, Counts).await?;
/// println!("{:?}", orders.progress());
/// # Ok(()) }
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing is projected before run()"]
pub struct ProjectionBuilder {
    link: Link,
    name: ProjectionName,
    domain: Option<Domain>,
    names: Vec<EventName>,
    stored: bool,
    start_after: Position,
    rules: Rules,
    skips: BTreeSet<Position>,
}

impl ProjectionBuilder {
    /// Only events of this domain.
    pub fn topic(self, domain: Domain) -> Self {
        Self { domain: Some(domain), ..self }
    }

    /// Only this name and the others that were given; without any, every name. A projection of every domain
    /// has no names.
    pub fn name(mut self, name: EventName) -> Self {
        self.names.push(name);
        self
    }

    /// Events that were only persisted, too.
    pub fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    /// A new build starts with the first event of the log. This is the default.
    pub fn from_beginning(self) -> Self {
        self.after(Position(0))
    }

    /// A new build starts after this position. One that exists goes on where it is.
    pub fn after(self, position: Position) -> Self {
        Self { start_after: position, ..self }
    }

    /// At most so many events go into one transaction; from 1 to 4,096. Default 256. While it follows live,
    /// whatever has come goes into one, so nothing waits for others.
    pub fn batch(mut self, events: usize) -> Self {
        self.rules.batch_events = events.clamp(1, BATCH_EVENTS_MAX);
        self
    }

    /// An event that fails so often stops the projection; at least 1. Default 8. A store that is away does
    /// not count.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.rules.attempts_max = attempts.max(1);
        self
    }

    /// How long the place may stay unrecorded while nothing comes that the projection wants. Default 5 s.
    /// After a crash that much is looked through again.
    pub fn mark_every(mut self, every: Duration) -> Self {
        self.rules.mark_every = every;
        self
    }

    /// Passes over the event at this position, and records that in the store. For an event that stopped the
    /// projection with [`ProjectionError::Poison`] and need not have an effect.
    pub fn skip(mut self, position: Position) -> Self {
        self.skips.insert(position);
        self
    }

    /// Runs the build that is read, which is the first one if there is none yet.
    ///
    /// # Errors
    /// [`ProjectionError`] says why it cannot run.
    pub async fn run<S, P>(self, store: S, projector: P) -> Result<Projection, ProjectionError>
    where
        S: ProjectionStore,
        P: Projector<S::Transaction>,
    {
        start::start(self, store, projector, Purpose::Serve).await
    }

    /// Runs the next build beside the one that is read, to take its place with [`Projection::switch`]. A
    /// rebuild that was broken off goes on, if it is of this log.
    ///
    /// # Errors
    /// [`ProjectionError`] says why it cannot run.
    pub async fn rebuild<S, P>(self, store: S, projector: P) -> Result<Projection, ProjectionError>
    where
        S: ProjectionStore,
        P: Projector<S::Transaction>,
    {
        start::start(self, store, projector, Purpose::Rebuild).await
    }

    /// Forgets the checkpoint of a build that is not read. Its rows are the caller's to remove. Whether there
    /// was such a build.
    ///
    /// # Errors
    /// [`ProjectionError::Store`].
    pub async fn remove<S>(self, store: &mut S, generation: Generation) -> Result<bool, ProjectionError>
    where
        S: ProjectionStore,
    {
        start::remove(store, &Build { name: self.name, generation }).await
    }

    /// Which events are wanted, as a subscription.
    fn wish(&self) -> Subscription {
        let mut wish = match &self.domain {
            Some(domain) => Subscription::topic(domain.clone()),
            None => Subscription::everything(),
        };
        for name in &self.names {
            wish = wish.name(name.clone());
        }
        if self.stored { wish.stored() } else { wish }.credit(CREDIT)
    }
}

impl fmt::Debug for ProjectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectionBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A running projection. Dropping it ends it where it is: what is not committed is undone.
#[must_use = "a dropped projection follows nothing"]
pub struct Projection {
    build: Build,
    task: JoinSet<Result<Ended, ProjectionError>>,
    stop: CancellationToken,
    progress: watch::Receiver<Progress>,
    switches: mpsc::Sender<Switching>,
}

impl Projection {
    /// Which build this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.build.generation
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until the effect of everything up to `position` is committed, for readers that have to see what
    /// was just published. A position whose event the projection does not want counts, too.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ReachError`] with where it is.
    pub async fn wait_for(&self, position: Position, within: Duration) -> Result<(), ReachError> {
        progress::reach(self.progress.clone(), position, within).await
    }

    /// Waits until it has caught up with the log and lets it be read in place of the build that is, in one
    /// transaction. It goes on afterwards; the one that it replaces ends with [`Ended::Replaced`], and its
    /// rows stay. Does nothing if this is the build that is read.
    ///
    /// Cancel safe: after a drop it is done or not.
    ///
    /// # Errors
    /// [`ProjectionError::NotCaughtUp`] after `within`, [`ProjectionError::Overtaken`] if a newer build is
    /// read by now, [`ProjectionError::Over`] if it has ended.
    pub async fn switch(&self, within: Duration) -> Result<(), ProjectionError> {
        let build = || self.build.clone();
        let (switching, switched) = oneshot::channel();
        let waiting = async {
            let over = || ProjectionError::Over { build: build() };
            self.switches.send(switching).await.map_err(|_| over())?;
            switched.await.map_err(|_| over())?
        };
        let late = |_| ProjectionError::NotCaughtUp { build: build(), waited: within };
        tokio::time::timeout(within, waiting).await.map_err(late)?
    }

    /// Finishes the transaction that is under way and ends. The checkpoint is as far as the effects are.
    ///
    /// # Errors
    /// [`ProjectionError`] if it had ended by itself.
    pub async fn stop(mut self) -> Result<Ended, ProjectionError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until it ends by itself.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ProjectionError`] says why it cannot go on.
    pub async fn ended(&mut self) -> Result<Ended, ProjectionError> {
        match self.task.join_next().await {
            Some(Ok(outcome)) => outcome,
            // The projector cannot make it panic; what else might is a defect that has been logged.
            Some(Err(_)) | None => Err(ProjectionError::Over { build: self.build.clone() }),
        }
    }
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projection").field("build", &self.build).finish_non_exhaustive()
    }
}
