//! What a peer may ask for, and how it is done: one request in, one reply or refusal out.
//!
//! Everything a peer says about an event is checked here, before any lock is taken. Who published
//! it is never taken from the peer but from its certificate's row.

mod admin;
mod append;
mod audit;
mod certs;
mod chain;
mod grants;
mod inspect;
mod manage;
mod parked;
mod parked_search;
mod permits;
mod read;
mod rotation;
mod schedule;
mod tokens;
mod wait;

#[cfg(any(test, feature = "simulation"))]
pub(crate) use schedule::{cancelled, check_due, first};

use std::sync::Arc;

use db::Database;
use proto::access::Action;
use proto::message::{Consume, Reply, Request, Subscribe};
use proto::{ListenerId, Position, Refusal};
use tokio::sync::Semaphore;

use crate::access::{AccessWatch, Denials, Target};
use crate::clock::Clock;
use crate::dispatch::ConnectionId;
use crate::identity::{HubIdentity, Peer};
use crate::metrics::Metrics;
use crate::rotation::RotationDesk;
use crate::store::Store;

pub(crate) use permits::Wish;

/// Everything that commands need, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Commands {
    pub(crate) store: Store,
    /// Grants and roles, which are no part of the log.
    rows: db::Grants,
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
    /// What was denied.
    denials: Denials,
    /// Turns of waits to look into the tables.
    looks: Arc<Semaphore>,
    /// Turns of lists of schedules to be read.
    lists: Arc<Semaphore>,
}

/// What commands are made of.
pub(crate) struct Sources {
    pub(crate) store: Store,
    pub(crate) access: AccessWatch,
    pub(crate) database: Database,
    pub(crate) identity: Arc<HubIdentity>,
    pub(crate) rotations: RotationDesk,
    pub(crate) clock: Clock,
    pub(crate) denials: Denials,
    pub(crate) metrics: Metrics,
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
    pub(crate) fn new(sources: Sources) -> Self {
        let Sources { store, access, database, identity, rotations, clock, denials, metrics } = sources;
        let rows = database.grants();
        let looks = Arc::new(Semaphore::new(wait::LOOKS_MAX));
        let lists = Arc::new(Semaphore::new(schedule::LISTS_MAX));
        Self { store, rows, access, database, identity, rotations, clock, metrics, denials, looks, lists }
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
                self.store.leave(caller.connection, listener).await.map(|()| Reply::Left)
            }
            Request::Read(query) => self.read(&caller, &query).await,
            Request::Link(link) => {
                let permit = self.permit_event(&caller, Action::Publish, link.event()).await?;
                self.store.link(&permit, link).await.map(Reply::Changed)
            }
            Request::DeleteEvent(id) => {
                let permit = self.permit_event(&caller, Action::Delete, &id).await?;
                Ok(changed(&self.store.delete_event(&permit, id, &caller.label).await?))
            }
            Request::DeleteEventlog { domain, pid } => {
                let permit = self.reach(&caller, Action::Delete).permit(Target::Domain(&domain))?;
                Ok(changed(&self.store.delete_eventlog(&permit, domain, pid, &caller.label).await?))
            }
            Request::Groups { after } => self.groups(&caller, after).await,
            Request::Group(name) => self.group(&caller, &name).await,
            Request::Story(id) => self.story(&caller, &id).await,
            Request::Outbox(id) => self.handed_over(&caller, &id).await,
            Request::Wait(wait) => self.wait(&caller, wait).await,
            Request::Chain(chain) => self.chain(&caller, *chain).await.await,
            Request::Manage(command) => self.manage(&caller, command).await,
            Request::Schedule(request) => self.schedule(&caller, request).await,
            Request::Parked(request) => self.parked(&caller, *request).await,
            Request::Admin(request) => self.admin(&caller, *request).await,
            Request::Renew { csr } => self.renew(&caller, &csr).await,
        }
    }

    async fn consume(&self, caller: &Caller, wish: Consume) -> Result<Reply, Refusal> {
        let permit = self.permit_consumer(caller, &wish.topic)?;
        let label = Arc::clone(&caller.label);
        let after = self.store.consume(&permit, caller.connection, wish, label).await?;
        Ok(Reply::Listening { after })
    }

    async fn subscribe(&self, caller: &Caller, wish: Subscribe) -> Result<Reply, Refusal> {
        let permit = self.permit_subscription(caller, wish.topic.as_ref(), wish.scope)?;
        let after = self.store.subscribe(&permit, caller.connection, wish).await?;
        Ok(Reply::Listening { after })
    }

    /// Ends a listener of `caller` that is not allowed any more.
    pub(crate) async fn expel(&self, caller: &Caller, listener: ListenerId, refusal: Refusal) {
        self.store.expel(caller.connection, listener, refusal).await;
    }
}

fn changed(positions: &[Position]) -> Reply {
    Reply::Changed(u64::try_from(positions.len()).unwrap_or(u64::MAX))
}
