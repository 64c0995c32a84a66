//! What people ask: how groups stand, and what became of an event.
//!
//! The tables know what is settled, the dispatcher why the rest is not.

use db::{OutboxRow, Outcome, Settled, StoredStory};
use proto::limits::REASON_CHARS_MAX;
use proto::message::Reply;
use proto::report::{DeliveryState, DeliveryStory, EventStory, GroupReport, OutboxState, OutboxStory};
use proto::{EventId, GroupName, Position, Refusal};

use super::Commands;

/// Groups of one page.
const GROUPS_PER_PAGE: usize = 100;

impl Commands {
    pub(super) async fn groups(&self, after: Option<GroupName>) -> Result<Reply, Refusal> {
        let mut reports = self.dispatcher.reports(after).await?;
        // A page never ends between two domains of one group.
        if let Some((last, _)) = reports.get(GROUPS_PER_PAGE - 1) {
            let last = last.group.clone();
            reports.retain(|(report, _)| report.group <= last);
        }
        Ok(Reply::Groups(self.with_pending(reports).await?))
    }

    pub(super) async fn group(&self, name: &GroupName) -> Result<Reply, Refusal> {
        let mut reports = self.dispatcher.reports(None).await?;
        reports.retain(|(report, _)| report.group == *name);
        if reports.is_empty() {
            return Err(Refusal::NotFound { what: format!("group {name}") });
        }
        Ok(Reply::Groups(self.with_pending(reports).await?))
    }

    /// What is parked, the tables know: an event that is deleted leaves it past the dispatcher.
    pub(super) async fn count_parked(&self, report: &mut GroupReport) -> Result<(), Refusal> {
        let parked = self.reader.parked_count(&report.group, &report.domain).await;
        if let Some(parked) = parked.map_err(crate::refuse::read)? {
            report.parked = parked;
        }
        Ok(())
    }

    /// Adds what the groups have not read yet, and what only the tables count.
    async fn with_pending(&self, reports: Vec<(GroupReport, Position)>) -> Result<Vec<GroupReport>, Refusal> {
        let mut counted = Vec::with_capacity(reports.len());
        for (mut report, read_through) in reports {
            if read_through < report.head {
                let topic = proto::Topic { domain: report.domain.clone(), names: report.filter() };
                let unread = self.reader.count_published(&topic, read_through, report.head).await;
                report.pending += unread.map_err(crate::refuse::read)?;
            }
            self.count_parked(&mut report).await?;
            counted.push(report);
        }
        Ok(counted)
    }

    pub(super) async fn story(&self, id: &EventId) -> Result<Reply, Refusal> {
        Ok(Reply::Story(Box::new(self.story_of(id).await?)))
    }

    /// The row of the outbox that has the event `id`.
    pub(super) async fn handed_over(&self, id: &EventId) -> Result<Reply, Refusal> {
        let row = self.reader.handed_over(id).await.map_err(crate::refuse::read)?;
        let story = |row: OutboxRow| {
            let state = match row.failed {
                None => OutboxState::Waiting,
                Some((at, reason)) => {
                    OutboxState::Failed { at, reason: reason.chars().take(REASON_CHARS_MAX).collect() }
                }
            };
            Box::new(OutboxStory { row: row.row, since: row.created, state })
        };
        Ok(Reply::Outbox(row.map(story)))
    }

    /// What is known of the event `id`.
    pub(super) async fn story_of(&self, id: &EventId) -> Result<EventStory, Refusal> {
        let stored = self.reader.story(id).await.map_err(crate::refuse::read)?;
        let mut deliveries: Vec<_> = stored.settlements.iter().map(settled).collect();
        if let Some(event) = stored.event.clone() {
            let open = self.dispatcher.stories(event).await?;
            deliveries
                .extend(open.into_iter().filter(|open| {
                    stored.settlements.iter().all(|settled| settled.group_name != open.group)
                }));
        }
        deliveries.sort_by(|a, b| a.group.cmp(&b.group));
        let StoredStory { event, position, published, deleted, orphan, .. } = stored;
        Ok(EventStory { event, position, published, deleted, orphan, deliveries })
    }
}

fn settled(settled: &Settled) -> DeliveryStory {
    let (state, reason) = match &settled.outcome {
        Outcome::Success => (DeliveryState::Succeeded, None),
        Outcome::Parked { reason } => (DeliveryState::Parked, Some(reason.clone())),
        Outcome::Discarded { reason } => (DeliveryState::Discarded, Some(reason.clone())),
    };
    DeliveryStory {
        group: settled.group_name.clone(),
        state,
        attempts: settled.attempts,
        consumer: Some(settled.consumer.to_string()),
        settled: Some(settled.settled),
        reason,
    }
}
