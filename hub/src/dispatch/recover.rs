//! The dispatcher's reads and writes: each is tried until the database answers.

use std::time::Duration;

use db::{
    Effects, GroupId, GroupWish, Matching, OrphanRun, Reader, Replay, Retry, SettledRun, Settlements, Unpark,
    Unparked, Wanted, WriteError, Writer,
};
use proto::message::Appended;
use proto::{Pid, Position, Refusal};
use tracing::warn;

use super::group::Recovered;

/// Rows of one page when a group is taken over.
const ROWS_PER_PAGE: u32 = 4_096;

/// The wait after a failed read or write; there is nothing to do meanwhile.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// Positions that a run may span: it may begin so far before a cursor and end after it.
const RUN_POSITIONS_MAX: u64 = 4_096;

/// The log as the dispatcher uses it.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
}

impl Log {
    /// All groups, each as it was left.
    pub(super) async fn take_groups(&self) -> Result<Vec<Recovered>, Refusal> {
        let mut recovered = Vec::new();
        for group in self.writer.take_groups().await.map_err(crate::refuse::write)? {
            recovered.push(self.recover(group).await?);
        }
        Ok(recovered)
    }

    /// A group, made if there was none.
    pub(super) async fn group(&self, wish: GroupWish) -> Result<Recovered, Refusal> {
        let group = self.writer.group(wish).await.map_err(crate::refuse::write)?;
        self.recover(group).await
    }

    async fn recover(&self, group: db::Group) -> Result<Recovered, Refusal> {
        let cursor = group.slots.iter().map(|slot| slot.cursor).min().unwrap_or_default();
        let from = Position(cursor.0.saturating_sub(RUN_POSITIONS_MAX + 1));
        let runs = self.runs(group.id, from).await?;
        let retries = self.retries(group.id).await?;
        let pauses = self.reader.pauses(group.id).await.map_err(crate::refuse::read)?;
        let replays = self.replays(group.id).await?;
        let parked_pids = self.parked_pids(group.id).await?;
        let outs = self.reader.outs(group.id).await.map_err(crate::refuse::read)?;
        let last_act = self.reader.last_act(group.id).await.map_err(crate::refuse::read)?;
        Ok(Recovered { group, runs, retries, replays, parked_pids, outs, pauses, last_act })
    }

    async fn replays(&self, group: GroupId) -> Result<Vec<Replay>, Refusal> {
        let (mut replays, mut after) = (Vec::new(), Position(0));
        loop {
            let page = self.reader.replays(group, after, ROWS_PER_PAGE).await.map_err(crate::refuse::read)?;
            let Some(last) = page.last() else { return Ok(replays) };
            after = last.position;
            replays.extend(page);
        }
    }

    async fn parked_pids(&self, group: GroupId) -> Result<Vec<(Pid, Position)>, Refusal> {
        let (mut pids, mut after) = (Vec::new(), None);
        loop {
            let page = self.reader.parked_pids(group, after.as_ref(), ROWS_PER_PAGE).await;
            let page = page.map_err(crate::refuse::read)?;
            let Some((last, _)) = page.last() else { return Ok(pids) };
            after = Some(last.clone());
            pids.extend(page.into_iter().filter_map(|(pid, from)| Some((pid, from?))));
        }
    }

    async fn runs(&self, group: GroupId, mut after: Position) -> Result<Vec<SettledRun>, Refusal> {
        let mut runs = Vec::new();
        loop {
            let page = self.reader.settled(group, after, ROWS_PER_PAGE).await.map_err(crate::refuse::read)?;
            let Some(last) = page.last() else { return Ok(runs) };
            after = last.first;
            runs.extend(page);
        }
    }

    async fn retries(&self, group: GroupId) -> Result<Vec<Retry>, Refusal> {
        let (mut retries, mut after) = (Vec::new(), Position(0));
        loop {
            let page = self.reader.retries(group, after, ROWS_PER_PAGE).await.map_err(crate::refuse::read)?;
            let Some(last) = page.last() else { return Ok(retries) };
            after = last.position;
            retries.extend(page);
        }
    }

    /// A page of what is wanted, whenever the database answers.
    pub(super) async fn page(&self, wanted: &Wanted, after: Position, limit: u32) -> Matching {
        loop {
            match self.reader.matching(wanted, after, limit).await {
                Ok(page) => return page,
                Err(error) => warn!(%error, %after, "reading on from the log failed; trying again"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Records outcomes, whenever the database answers.
    ///
    /// # Errors
    /// Only what trying again cannot mend.
    pub(super) async fn settle(&self, settlements: Settlements) -> Result<(), WriteError> {
        loop {
            match self.writer.settle(settlements.clone()).await {
                Err(WriteError::Unavailable { reason }) => {
                    warn!(%reason, "recording outcomes failed; trying again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Takes parked events up again, whenever the database answers: whether a try that was not answered
    /// has done it is learned only by the next one.
    ///
    /// # Errors
    /// Only what trying again cannot mend.
    pub(super) async fn unpark(&self, unpark: Unpark) -> Result<Unparked, WriteError> {
        loop {
            match self.writer.unpark(unpark.clone()).await {
                Err(WriteError::Unavailable { reason }) => {
                    warn!(%reason, "taking parked events up failed; trying again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Commits effects with a settlement, whenever the database answers: until then nobody knows whether it
    /// has done so already.
    ///
    /// # Errors
    /// Only what trying again cannot mend.
    pub(super) async fn chain(
        &self,
        effects: Effects,
        settlement: &Settlements,
    ) -> Result<Vec<Appended>, WriteError> {
        loop {
            match self.writer.chain(effects.clone(), settlement.clone()).await {
                Err(WriteError::Unavailable { reason }) => {
                    warn!(%reason, "committing an ack with its effects failed; trying again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Records that nobody wanted these events. It is for people only, so it is not insisted on.
    pub(super) async fn orphans(&self, runs: Vec<OrphanRun>) {
        if let Err(error) = self.writer.orphans(runs).await {
            warn!(%error, "orphans could not be recorded");
        }
    }
}
