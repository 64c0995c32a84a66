//! Waiting for an event: it may have happened, or happen any time.

use std::sync::Arc;
use std::time::Duration;

use proto::access::Action;
use proto::message::{Reply, Wait};
use proto::read::{More, Page, Query, Window};
use proto::{Event, Refusal};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{Caller, Commands};
use crate::access::Permit;
use crate::dispatch::Found;

/// Waits that look into the tables at a time. More wait for their turn.
pub(super) const LOOKS_MAX: usize = 4;

/// The pause after a look that failed.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

impl Commands {
    /// Waits for the first event that `wait` names, or until its time is over.
    ///
    /// Whether the caller may is asked again at the end: it may have waited for a day.
    pub(crate) async fn wait(&self, caller: &Caller, wait: Wait) -> Result<Reply, Refusal> {
        let permit = || self.reach(caller, Action::Read).permit_names(&wait.domain, &wait.names);
        let within = Duration::from_millis(u64::from(wait.within_ms));
        let event = timeout(within, self.first(&permit()?, &wait)).await.unwrap_or(Ok(None))?;
        permit()?;
        Ok(Reply::Waited(event))
    }

    async fn first(&self, permit: &Permit, wait: &Wait) -> Result<Option<Arc<Event>>, Refusal> {
        loop {
            // Put down first: what is committed while the tables are read is told.
            let told = self.store.wait(permit, wait.clone()).await?;
            match self.look(permit, wait).await {
                Ok(Some(event)) => return Ok(Some(Arc::new(event))),
                Ok(None) => {}
                Err(Refusal::Unavailable { reason }) => {
                    warn!(reason, "a wait could not look into the log; it tries again");
                    sleep(LOOK_AGAIN_AFTER).await;
                    continue;
                }
                Err(refusal) => return Err(refusal),
            }
            match told.await {
                Ok(Found::Event(event)) => return Ok(Some(event)),
                Ok(Found::Missed) => {}
                Err(_) => return Err(Refusal::Stopping),
            }
        }
    }

    /// The first event in the log that `wait` names.
    async fn look(&self, permit: &Permit, wait: &Wait) -> Result<Option<Event>, Refusal> {
        let _turn = self.looks.acquire().await;
        let mut after = wait.after;
        loop {
            let query = Query::Eventlog {
                domain: wait.domain.clone(),
                pid: wait.pid.clone(),
                names: wait.names.clone(),
                window: Window::default(),
                after,
                limit: 1,
            };
            let page = self.store.page(permit, &query).await?;
            let Page::Events { events, through, more } = page else { return Ok(None) };
            match (events.into_iter().next(), more) {
                (Some(event), _) => return Ok(Some(event)),
                (None, More::No) => return Ok(None),
                (None, More::Maybe) => after = through,
            }
        }
    }
}
