//! What a peer may ask for, and how it is done: one request in, one reply or refusal out.
//!
//! Everything a peer says about an event is checked here, before any lock is taken. Who published
//! it is never taken from the peer but from its certificate's row.

mod admin;
mod append;
mod chain;
mod inspect;
mod manage;
mod parked;
mod parked_search;
mod read;
mod rotation;
mod schedule;
mod wait;

use std::sync::Arc;

use db::{Database, Reader, WriteError, Writer};
use proto::Refusal;
use proto::message::{Consume, Reply, Request, Subscribe};
use tokio::sync::Semaphore;

use crate::access::AccessWatch;
use crate::clock::Clock;
use crate::dispatch::{ConnectionId, Dispatcher};
use crate::identity::{HubIdentity, Peer};
use crate::metrics::Metrics;
use crate::rotation::RotationDesk;

/// Everything that commands need, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    pub(crate) dispatcher: Dispatcher,
    /// Who may do what.
    pub(crate) access: AccessWatch,
    /// The authorities.
    pub(crate) identity: Arc<HubIdentity>,
    /// What is not the log: certificates, grants, the journal.
    pub(crate) database: Database,
    /// The replacement of leaves and authorities.
    pub(crate) rotations: RotationDesk,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    /// Turns of waits to look into the tables.
    looks: Arc<Semaphore>,
    /// Turns of lists of schedules to be read.
    lists: Arc<Semaphore>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    pub(crate) connection: ConnectionId,
    /// Service and instance, for the record of a delivery.
    pub(crate) label: Arc<str>,
}

impl Commands {
    pub(crate) fn new(
        writer: Writer,
        reader: Reader,
        dispatcher: Dispatcher,
        database: Database,
        rotations: RotationDesk,
        metrics: Metrics,
    ) -> Self {
        let (access, identity, clock) = rotations.works_with();
        let looks = Arc::new(Semaphore::new(wait::LOOKS_MAX));
        let lists = Arc::new(Semaphore::new(schedule::LISTS_MAX));
        Self {
            writer,
            reader,
            dispatcher,
            access,
            database,
            identity,
            rotations,
            clock,
            metrics,
            looks,
            lists,
        }
    }

    /// Does what `caller` asks for.
    ///
    /// Dropping the future does not undo a write: it may still commit.
    pub(crate) async fn run(&self, caller: Arc<Caller>, request: Request) -> Result<Reply, Refusal> {
        match request {
            Request::Append { events, offer, expectations } => {
                self.append(&caller, events, offer, expectations).await
            }
            Request::Consume(wish) => self.consume(&caller, wish).await,
            Request::Subscribe(wish) => self.subscribe(&caller, wish).await,
            Request::Leave(listener) => {
                self.dispatcher.leave(caller.connection, listener).await.map(|()| Reply::Left)
            }
            Request::Read(query) => self.read(&query).await,
            Request::Link(link) => {
                let changed = self.writer.link(link).await;
                changed.map(Reply::Changed).map_err(crate::refuse::write)
            }
            Request::DeleteEvent(id) => changed(self.writer.delete_event(id).await),
            Request::DeleteEventlog { domain, pid } => {
                changed(self.writer.delete_eventlog(domain, pid).await)
            }
            Request::Groups { after } => self.groups(after).await,
            Request::Group(name) => self.group(&name).await,
            Request::Story(id) => self.story(&id).await,
            Request::Wait(wait) => self.wait(wait).await,
            Request::Chain(chain) => self.chain(&caller, *chain).await.await,
            Request::Manage(command) => self.manage(&caller, command).await,
            Request::Schedule(request) => self.schedule(&caller, request).await,
            Request::Parked(request) => self.parked(&caller, *request).await,
            Request::Admin(request) => self.admin(&caller, *request).await,
            Request::Renew { csr } => self.renew(&caller, &csr).await,
        }
    }

    async fn consume(&self, caller: &Caller, wish: Consume) -> Result<Reply, Refusal> {
        let label = Arc::clone(&caller.label);
        let after = self.dispatcher.consume(caller.connection, wish, label).await?;
        Ok(Reply::Listening { after })
    }

    async fn subscribe(&self, caller: &Caller, wish: Subscribe) -> Result<Reply, Refusal> {
        let after = self.dispatcher.subscribe(caller.connection, wish).await?;
        Ok(Reply::Listening { after })
    }
}

fn changed(positions: Result<Vec<proto::Position>, WriteError>) -> Result<Reply, Refusal> {
    let positions = positions.map_err(crate::refuse::write)?;
    Ok(Reply::Changed(u64::try_from(positions.len()).unwrap_or(u64::MAX)))
}
