//! A hub from start to stop: the order of both, and nothing else.
//!
//! Start: folder, passphrase, database, lease, keys, writer, dispatcher, door. Only when all of it
//! stands does the hub say where it listens. Stop is the way back: no new peers, answers to what is
//! in hand, settlements, the last commit, the lease.

mod lease;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use db::{Commits, Database, HubRow, Hubs, RecordError, Writer, WriterOptions};
use futures::future::BoxFuture;
use proto::HubId;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::access::{AccessTask, Denials, Rule};
use crate::clock::Clock;
use crate::command::{Commands, Sources};
use crate::config::{HubConfig, OutboxPoll};
use crate::connection::Terms;
use crate::data_folder::DataFolder;
use crate::dispatch::{self, Caution, DispatchTask, LeftBehind, Parts};
use crate::door::{Door, DoorParts};
use crate::enrol::EnrolmentPort;
use crate::error::HubError;
use crate::health::{HealthState, Readiness};
use crate::identity::HubIdentity;
use crate::journal::Notes;
use crate::metrics::Metrics;
use crate::outbox::OutboxTask;
use crate::rotation::{RotationDesk, RotationTask};
use crate::schedule::ScheduleTask;
use crate::store::Store;
use crate::{enrol, health, passphrase, schedule};

/// How long each step of the stop may take beside the drain.
const STEP_WITHIN: Duration = Duration::from_secs(5);

/// Where a hub that has started can be reached.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where spokes connect.
    pub address: SocketAddr,
    /// Where health and metrics are served.
    pub health: Option<SocketAddr>,
    /// The hub's id.
    pub hub: HubId,
}

/// How a hub has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Deliveries that were not answered before the deadline. They come again after the next start.
    pub unanswered: usize,
    /// How often the dispatcher was stuck. Each time is a fault of the hub, and logged as an error.
    pub stalls: u64,
}

/// Runs a hub until `stop` is cancelled, and says through `ready` when it can be reached.
///
/// Dropping the future leaves everything as a crash would: nothing answered is lost.
///
/// # Errors
/// [`HubError`] says why the hub did not start or why it ended by itself.
pub async fn run(
    config: HubConfig,
    ready: oneshot::Sender<Ready>,
    stop: CancellationToken,
) -> Result<Stopped, HubError> {
    let folder = DataFolder::open(&config.data)?;
    let passphrase = passphrase::passphrase(&config.passphrase, &config.data)?;
    let hub = folder.hub_id(&config.name)?;
    let listener = listen(&config.listen, "spokes", "--listen").await?;
    let rule = config.rule(address_of(&listener)?)?;
    let health = match &config.health {
        Some(address) => Some(listen(address, "health", "--health").await?),
        None => None,
    };
    let database = Database::open(&config.database).await?;
    let migrated = database.migrate().await?;
    info!(engine = ?database.engine(), version = migrated.version, applied = ?migrated.applied, "database open");
    let row = row_of(&hub, address_of(&listener)?);
    let caution = how_the_last_ended(&database.hubs(), &hub).await;
    lease::register(&database.hubs(), &row, &stop).await?;
    let clock = Clock::system();
    let (certificates, leaves) = (database.certificates(), config.leaves);
    let identity = HubIdentity::load(&certificates, &passphrase, &hub, leaves, clock.now()).await?;
    drop(passphrase);
    let identity = Arc::new(identity);
    let hub_task = Starting { config, folder, database, hub, identity, clock, caution, rule };
    hub_task.serve(listener, health, ready, stop).await
}

/// What is there once the keys are open.
struct Starting {
    config: HubConfig,
    folder: DataFolder,
    database: Database,
    hub: HubId,
    identity: Arc<HubIdentity>,
    clock: Clock,
    caution: Caution,
    rule: Rule,
}

/// Tasks that stand before there is a door.
struct Tasks {
    writer: JoinSet<()>,
    dispatcher: DispatchTask,
    schedules: Option<ScheduleTask>,
    access: AccessTask,
    notes: BoxFuture<'static, ()>,
    /// What the outbox is drained with.
    drain: Writer,
}

/// The tasks of a running hub and what ends each.
struct Running {
    writer: JoinSet<()>,
    dispatcher: JoinSet<LeftBehind>,
    schedules: JoinSet<()>,
    door: JoinSet<()>,
    /// Ends with the thread that shakes hands at the door, once there is one.
    threshold: Option<oneshot::Receiver<Infallible>>,
    outbox: JoinSet<()>,
    rest: JoinSet<()>,
    writer_stop: CancellationToken,
    dispatch_stop: CancellationToken,
    schedules_stop: CancellationToken,
    closing: CancellationToken,
    going: CancellationToken,
    connections_stop: CancellationToken,
    rest_stop: CancellationToken,
    lease_lost: watch::Receiver<Option<String>>,
    readiness: watch::Sender<Readiness>,
}

impl Starting {
    async fn serve(
        self,
        listener: TcpListener,
        health: Option<TcpListener>,
        ready: oneshot::Sender<Ready>,
        stop: CancellationToken,
    ) -> Result<Stopped, HubError> {
        let address = address_of(&listener)?;
        let health_address = health.as_ref().map(address_of).transpose()?;
        let mut running = self.start(listener, health).await?;
        self.folder.write_address(address)?;
        if let Some(health) = health_address {
            self.folder.write_health_address(health)?;
        }
        info!(hub = %self.hub, %address, health = ?health_address, "hub ready");
        // Nobody may be waiting, for example in a daemon.
        let _waiter_gone = ready.send(Ready { address, health: health_address, hub: self.hub.clone() });
        let lost = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            lost = running.lost() => lost,
        };
        let stopped = running.stop(self.config.drain).await;
        if let Err(error) = self.database.hubs().quit(&self.hub).await {
            warn!(%error, "this hub could not be marked as quit; its lease will end by itself");
        }
        if timeout(STEP_WITHIN, self.database.close()).await.is_err() {
            warn!(within = ?STEP_WITHIN, "not all connections to the database were closed in time");
        }
        match lost {
            Some(reason) => Err(HubError::LeaseLost { reason }),
            None => Ok(stopped),
        }
    }

    async fn start(&self, listener: TcpListener, health: Option<TcpListener>) -> Result<Running, HubError> {
        let metrics = Metrics::default();
        let writer_stop = CancellationToken::new();
        let options = WriterOptions { hub: self.hub.clone(), stop: writer_stop.clone() };
        let mut writing = JoinSet::new();
        let (writer, mut commits) = start_writer(self.database.clone(), options, &mut writing).await?;
        let pending = commits.pending_schedules();
        let reader = self.database.reader();
        let parts = Parts {
            writer: writer.clone(),
            reader: reader.clone(),
            commits,
            clock: self.clock,
            metrics: metrics.clone(),
            rules: self.config.rules,
            on_stall: self.config.on_stall,
            caution: self.caution,
        };
        let (dispatcher, task) = dispatch::start(parts).await.map_err(HubError::Database)?;
        let schedules = schedule::Parts {
            firing: schedule::Firing {
                writer: writer.clone(),
                reader: reader.clone(),
                grace: self.config.schedule_grace,
            },
            clock: self.clock,
            metrics: metrics.clone(),
        };
        let schedules = pending.map(|pending| schedule::start(schedules, pending));
        let identity = Arc::clone(&self.identity);
        let access = AccessTask::start(self.database.clone(), identity, self.clock, self.rule).await;
        let (access, access_task) = access.map_err(HubError::Database)?;
        let (notes, write_notes) = Notes::new(self.database.journal());
        let denials = Denials::new(metrics.clone(), notes.clone());
        let drain = writer.clone();
        let store = Store::new(writer, reader, dispatcher);
        let (identity, hub) = (Arc::clone(&self.identity), self.hub.clone());
        let rotations = RotationDesk::new(identity, access.clone(), hub, self.clock);
        let commands = Commands::new(Sources {
            store,
            access,
            database: self.database.clone(),
            identity: Arc::clone(&self.identity),
            rotations,
            clock: self.clock,
            denials,
            metrics,
        });
        let notes_task = Box::pin(write_notes);
        let tasks = Tasks {
            writer: writing,
            dispatcher: task,
            schedules,
            access: access_task,
            notes: notes_task,
            drain,
        };
        self.spawn(listener, health, (commands, notes), tasks, writer_stop).await
    }

    async fn spawn(
        &self,
        listener: TcpListener,
        health: Option<TcpListener>,
        (commands, notes): (Commands, Notes),
        tasks: Tasks,
        writer_stop: CancellationToken,
    ) -> Result<Running, HubError> {
        let head = commands.store.head().await.map_err(HubError::Database)?;
        let (lease_says, lease_lost) = watch::channel(None);
        let (readiness, ready) = watch::channel(Readiness::Ready);
        let mut running = Running::new(tasks.writer, writer_stop, lease_lost, readiness);
        running.dispatcher.spawn(tasks.dispatcher.run(running.dispatch_stop.clone(), self.config.drain));
        if let Some(schedules) = tasks.schedules {
            running.schedules.spawn(schedules.run(running.schedules_stop.clone()));
        }
        running.rest.spawn(tasks.notes);
        notes.note(self.hub.as_str(), "hub started");
        running.rest.spawn(tasks.access.run(running.rest_stop.clone()));
        let rotation = RotationTask::new(commands.rotations.clone(), commands.metrics.clone());
        running.rest.spawn(rotation.run(running.rest_stop.clone()));
        self.spawn_rest(&mut running, &listener, lease_says)?;
        if let Some(listener) = health {
            let state = HealthState::new(ready, commands.metrics.clone());
            running.rest.spawn(health::serve(listener, state, running.rest_stop.clone()));
        }
        if let OutboxPoll::Every(poll) = self.config.outbox {
            let (writer, metrics) = (tasks.drain, commands.metrics.clone());
            let task =
                OutboxTask { outbox: self.database.outbox(), writer, clock: self.clock, metrics, poll };
            // It ends before the writer, like whatever else asks for writes.
            running.outbox.spawn(task.run(running.closing.clone()));
        }
        let terms = self.terms(commands, notes, head.incarnation, &running);
        let (identity, limits) = (Arc::clone(&self.identity), self.config.limits);
        let enrolments = Arc::new(EnrolmentPort::new(&terms.commands, self.config.advertise.clone()));
        let closing = running.closing.clone();
        let opened = Door::open(DoorParts { identity, terms, limits, enrolments, closing }, listener);
        let failed = |reason| HubError::Io { what: "starting the door's thread failed".to_owned(), reason };
        let (door, threshold) = opened.map_err(failed)?;
        running.door.spawn(door.run());
        running.threshold = Some(threshold);
        Ok(running)
    }

    /// Starts what runs beside everything else until the very end.
    fn spawn_rest(
        &self,
        running: &mut Running,
        listener: &TcpListener,
        lease_says: watch::Sender<Option<String>>,
    ) -> Result<(), HubError> {
        let rest_stop = running.rest_stop.clone();
        let row = row_of(&self.hub, address_of(listener)?);
        running.rest.spawn(lease::keep(self.database.hubs(), row, lease_says, rest_stop.clone()));
        let address = address_of(listener)?;
        let opened = enrol::open(&self.folder, self.config.local_enrolment, address);
        let failed = |reason| HubError::Io { what: "opening the enrolment socket failed".to_owned(), reason };
        if let Some((socket, admits)) = opened.map_err(failed)? {
            let (identity, stop) = (Arc::clone(&self.identity), rest_stop);
            let served = enrol::serve(socket, identity, address.to_string(), admits, self.clock, stop);
            running.rest.spawn(served);
        }
        Ok(())
    }

    /// What every connection is served by.
    fn terms(&self, commands: Commands, notes: Notes, incarnation: u64, running: &Running) -> Terms {
        Terms {
            commands: Arc::new(commands),
            notes,
            hub: self.hub.clone(),
            incarnation,
            keep_alive: self.config.keep_alive,
            hello_within: self.config.limits.hello_within,
            write_within: self.config.limits.write_within,
            going: running.going.clone(),
            stop: running.connections_stop.clone(),
        }
    }
}

impl Running {
    /// The writer, and room for the others.
    fn new(
        writer: JoinSet<()>,
        writer_stop: CancellationToken,
        lease_lost: watch::Receiver<Option<String>>,
        readiness: watch::Sender<Readiness>,
    ) -> Self {
        Self {
            writer,
            dispatcher: JoinSet::new(),
            schedules: JoinSet::new(),
            door: JoinSet::new(),
            threshold: None,
            outbox: JoinSet::new(),
            rest: JoinSet::new(),
            writer_stop,
            dispatch_stop: CancellationToken::new(),
            schedules_stop: CancellationToken::new(),
            closing: CancellationToken::new(),
            going: CancellationToken::new(),
            connections_stop: CancellationToken::new(),
            rest_stop: CancellationToken::new(),
            lease_lost,
            readiness,
        }
    }

    /// Waits until this hub cannot go on, and says why. Cancel safe.
    async fn lost(&mut self) -> Option<String> {
        let threshold = async {
            match &mut self.threshold {
                Some(ends) => drop(ends.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            lost = self.lease_lost.wait_for(Option::is_some) => lost.ok().and_then(|lost| lost.clone()),
            _ = self.writer.join_next() => Some("the writer has ended".to_owned()),
            _ = self.dispatcher.join_next() => Some("the dispatcher has ended".to_owned()),
            _ = self.schedules.join_next() => Some("the firing of schedules has ended".to_owned()),
            () = threshold => Some("nobody is let in any more: the thread at the door has ended".to_owned()),
        }
    }

    /// Stops in the order in which things depend on each other.
    async fn stop(mut self, drain: Duration) -> Stopped {
        info!(?drain, "stopping: no new peers, waiting for answers to what is in hand");
        self.readiness.send_replace(Readiness::stopping());
        self.closing.cancel();
        self.going.cancel();
        self.schedules_stop.cancel();
        self.dispatch_stop.cancel();
        let left = timeout(drain + STEP_WITHIN, self.dispatcher.join_next()).await;
        let LeftBehind { unanswered, stalls } = match left {
            Ok(Some(Ok(left))) => left,
            Ok(Some(Err(error))) => {
                error!(%error, "the dispatcher failed; what was in hand comes again after the next start");
                LeftBehind::default()
            }
            Ok(None) | Err(_) => LeftBehind::default(),
        };
        self.connections_stop.cancel();
        step("connections", &mut self.door).await;
        step("the outbox", &mut self.outbox).await;
        step("the firing of schedules", &mut self.schedules).await;
        self.writer_stop.cancel();
        step("the writer", &mut self.writer).await;
        self.rest_stop.cancel();
        step("the other tasks", &mut self.rest).await;
        info!(unanswered, "stopped");
        Stopped { unanswered, stalls }
    }
}

/// Runs the writer on a thread of its own: the database works only while the writer hands it batches,
/// so it must not queue behind connections. It connects there, too, so that the database's answers
/// wake that thread and no other.
async fn start_writer(
    database: Database,
    options: WriterOptions,
    writing: &mut JoinSet<()>,
) -> Result<(Writer, Commits), HubError> {
    let failed = |reason| HubError::Io { what: "starting the writer's thread failed".to_owned(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (sender, started) = oneshot::channel();
    writing.spawn_blocking(move || {
        runtime.block_on(async move {
            match database.writer(options).await {
                Ok((writer, commits, tasks)) => {
                    let (write, tell) = tasks.split();
                    // Whoever does not wait for it any more wants no writer.
                    if sender.send(Ok((writer, commits, tell))).is_ok() {
                        write.await;
                    }
                }
                Err(error) => drop(sender.send(Err(error))),
            }
        });
    });
    let ended = |_| failed(std::io::Error::other("it ended at once"));
    let (writer, commits, tell) = started.await.map_err(ended)??;
    writing.spawn(tell);
    Ok((writer, commits))
}

/// Whether this hub had stopped in order the last time. One that is new has nothing to fear.
async fn how_the_last_ended(hubs: &Hubs, hub: &HubId) -> Caution {
    match hubs.has_quit(hub).await {
        Ok(true) | Err(RecordError::NotFound { .. }) => Caution::Calm,
        Ok(false) | Err(_) => Caution::Wary,
    }
}

async fn step(what: &str, tasks: &mut JoinSet<()>) {
    let ended = timeout(STEP_WITHIN, async { while tasks.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        warn!(what, within = ?STEP_WITHIN, "did not end in time and is aborted");
        tasks.shutdown().await;
    }
}

async fn listen(address: &str, purpose: &'static str, flag: &'static str) -> Result<TcpListener, HubError> {
    TcpListener::bind(address).await.map_err(|reason| HubError::Listen {
        address: address.to_owned(),
        purpose,
        flag,
        reason,
    })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, HubError> {
    let failed =
        |reason| HubError::Io { what: "asking a listener for its address failed".to_owned(), reason };
    listener.local_addr().map_err(failed)
}

fn row_of(hub: &HubId, address: SocketAddr) -> HubRow {
    let at = (address.ip().to_string(), address.port());
    let software = env!("CARGO_PKG_VERSION").to_owned();
    HubRow { id: hub.clone(), internal: at.clone(), external: at, version: software }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_hub_whose_door_has_ended_cannot_go_on() {
        let (_lease_held, lease_lost) = watch::channel(None);
        let (readiness, _) = watch::channel(Readiness::Ready);
        let mut running = Running::new(JoinSet::new(), CancellationToken::new(), lease_lost, readiness);
        running.writer.spawn(std::future::pending());
        running.dispatcher.spawn(std::future::pending());
        running.schedules.spawn(std::future::pending());
        let (ends, threshold) = oneshot::channel();
        running.threshold = Some(threshold);
        assert!(running.lost().now_or_never().is_none());
        drop(ends);
        let lost = timeout(STEP_WITHIN, running.lost()).await.unwrap();
        assert!(lost.unwrap().contains("door"));
    }
}
