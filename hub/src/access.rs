//! Who may do what, at this moment: the hub's copy of grants, revocations and trust.
//!
//! The tables hold the truth. One task looks each second whether a count in `access_head` has moved
//! and reads what changed; connections hold a receiver and look at themselves again whenever there is
//! something new. While the database is away the last copy counts: nobody gains a right by that, and
//! no certificate that is unknown is let in without it.

mod authorize;
#[cfg(feature = "simulation")]
mod cost;
mod denials;
mod grants;
mod patterns;
mod revoked;
mod roster;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use db::{AccessHead, Database};
use proto::Refusal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::Clock;
use crate::identity::HubIdentity;

#[cfg(feature = "simulation")]
pub use cost::Looks;

pub(crate) use authorize::{Denied, Permit, Reach, Target, is_granted};
pub(crate) use denials::Denials;
pub(crate) use grants::{Grants, Rule, is_operator, place};
pub(crate) use revoked::Revoked;
pub(crate) use roster::{Present, Roster};
pub(crate) use trust::Trust;

/// How often the counts are looked at. A change made through another hub counts here by then.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Callers that may wait for their change to count here. More wait to ask.
const REFRESHES_MAX: usize = 64;

/// What counts at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) grants: Arc<Grants>,
    pub(crate) revoked: Arc<Revoked>,
    pub(crate) trust: Arc<Trust>,
}

/// A handle to what counts now, and to the task that keeps it.
#[derive(Debug, Clone)]
pub(crate) struct AccessWatch {
    now: watch::Receiver<Access>,
    refresh: mpsc::Sender<oneshot::Sender<Result<(), Refusal>>>,
}

impl AccessWatch {
    /// What counts now.
    pub(crate) fn now(&self) -> Access {
        self.now.borrow().clone()
    }

    /// The grants that count now.
    pub(crate) fn grants(&self) -> Arc<Grants> {
        Arc::clone(&self.now.borrow().grants)
    }

    /// For a connection: what counts, and a signal for each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Access> {
        self.now.clone()
    }

    /// Reads what has changed at once. When this returns, whatever was committed before it was called
    /// counts on this hub.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if it could not be read; it will count by itself later.
    pub(crate) async fn refresh(&self) -> Result<(), Refusal> {
        let (done, told) = oneshot::channel();
        if self.refresh.send(done).await.is_err() {
            return Err(Refusal::Stopping);
        }
        told.await.unwrap_or(Err(Refusal::Stopping))
    }
}

/// The task that keeps the copy.
pub(crate) struct AccessTask {
    database: Database,
    identity: Arc<HubIdentity>,
    clock: Clock,
    rule: Rule,
    head: AccessHead,
    now: watch::Sender<Access>,
    refreshes: mpsc::Receiver<oneshot::Sender<Result<(), Refusal>>>,
}

impl AccessTask {
    /// Reads everything once.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`].
    pub(crate) async fn start(
        database: Database,
        identity: Arc<HubIdentity>,
        clock: Clock,
        rule: Rule,
    ) -> Result<(AccessWatch, Self), Refusal> {
        let head = database.access_head().await.map_err(unavailable)?;
        let access = Access {
            grants: Arc::new(Grants::load(&database, head.grants, rule).await?),
            revoked: Arc::new(Revoked::default().read_on(&database, clock.now()).await?),
            trust: Arc::new(Trust::load(&identity, clock, head.trust).await?),
        };
        if access.grants.is_open() {
            let until = match rule {
                Rule::OpenAtFirst => "the first `eventflow grant add` changes that",
                Rule::Open | Rule::Grants => "--access grants changes that",
            };
            warn!("access is open: every spoke that is enrolled may do everything; {until}");
        }
        let (sender, now) = watch::channel(access);
        let (refresh, refreshes) = mpsc::channel(REFRESHES_MAX);
        let task = Self { database, identity, clock, rule, head, now: sender, refreshes };
        Ok((AccessWatch { now, refresh }, task))
    }

    /// Keeps the copy until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = false;
        loop {
            let end = self.now.borrow().grants.next_end(self.clock.now()).map(|end| self.clock.instant(end));
            let asked = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(asked) = self.refreshes.recv() => Some(asked),
                () = until(end) => {
                    // Nothing has changed but the time: connections look at what they have open.
                    self.now.send_modify(|_| {});
                    continue;
                }
                _ = ticks.tick() => None,
            };
            let looked = self.look().await;
            if let Err(refusal) = &looked
                && !silent
            {
                warn!(%refusal, "grants and revocations could not be read; the last ones count until they can");
            }
            silent = looked.is_err();
            if let Some(asked) = asked {
                // Who has given up waiting does not want to know.
                let _ = asked.send(looked);
            }
        }
    }

    /// Reads what has changed since the last look.
    async fn look(&mut self) -> Result<(), Refusal> {
        let head = self.database.access_head().await.map_err(unavailable)?;
        if head == self.head {
            return Ok(());
        }
        // The counts were read before the rows: what comes in between is read again at the next look.
        let mut access = self.now.borrow().clone();
        if head.grants != self.head.grants {
            access.grants = Arc::new(Grants::load(&self.database, head.grants, self.rule).await?);
        }
        if head.revocations != self.head.revocations {
            access.revoked = Arc::new(access.revoked.read_on(&self.database, self.clock.now()).await?);
        }
        if head.trust != self.head.trust {
            access.trust = Arc::new(Trust::load(&self.identity, self.clock, head.trust).await?);
        }
        self.head = head;
        self.now.send_replace(access);
        Ok(())
    }
}

/// Waits until then; without a time for ever. Cancel safe.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// The database did not say.
fn unavailable(error: impl std::fmt::Display) -> Refusal {
    Refusal::Unavailable { reason: error.to_string() }
}
