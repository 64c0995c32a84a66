//! What people ask: how groups stand, and what became of an event.
//!
//! The tables know what is settled, the dispatcher why the rest is not.

use db::{OutboxRow, Outcome, Settled, StoredStory};
use proto::access::Action;
use proto::limits::REASON_CHARS_MAX;
use proto::message::Reply;
use proto::report::{DeliveryState, DeliveryStory, EventStory, GroupReport, OutboxState, OutboxStory};
use proto::{Domain, EventId, GroupName, Position, Refusal};

use super::{Caller, Commands};
use crate::access::{Permit, Target};

/// Groups of one page.
const GROUPS_PER_PAGE: usize = 100;

impl Commands {
    /// A page of the groups of domains that `caller` may read.
    pub(super) async fn groups(&self, caller: &Caller, after: Option<GroupName>) -> Result<Reply, Refusal> {
        let reach = self.reach(caller, Action::Read);
        let permit = reach.permit(Target::Something)?;
        let mut reports = self.store.reports(&permit, after).await?;
        reports.retain(|(report, _)| reach.covers(Target::Domain(&report.domain)));
        // A page never ends between two domains of one group.
        if let Some((last, _)) = reports.get(GROUPS_PER_PAGE - 1) {
            let last = last.group.clone();
            reports.retain(|(report, _)| report.group <= last);
        }
        Ok(Reply::Groups(self.with_pending(&permit, reports).await?))
    }

    pub(super) async fn group(&self, caller: &Caller, name: &GroupName) -> Result<Reply, Refusal> {
        let reach = self.reach(caller, Action::Read);
        let permit = reach.permit(Target::Something)?;
        let mut reports = self.store.reports(&permit, None).await?;
        reports.retain(|(report, _)| report.group == *name && reach.covers(Target::Domain(&report.domain)));
        if reports.is_empty() {
            return Err(Refusal::NotFound { what: format!("group {name}") });
        }
        Ok(Reply::Groups(self.with_pending(&permit, reports).await?))
    }

    /// Adds what the groups have not read yet, and what only the tables count.
    async fn with_pending(
        &self,
        permit: &Permit,
        reports: Vec<(GroupReport, Position)>,
    ) -> Result<Vec<GroupReport>, Refusal> {
        let mut counted = Vec::with_capacity(reports.len());
        for (mut report, read_through) in reports {
            if read_through < report.head {
                let topic = proto::Topic { domain: report.domain.clone(), names: report.filter() };
                report.pending +=
                    self.store.count_published(permit, &topic, read_through, report.head).await?;
            }
            self.store.count_parked(permit, &mut report).await?;
            counted.push(report);
        }
        Ok(counted)
    }

    pub(super) async fn story(&self, caller: &Caller, id: &EventId) -> Result<Reply, Refusal> {
        let permit = self.permit_event(caller, Action::Read, id).await?;
        Ok(Reply::Story(Box::new(self.story_of(&permit, id).await?)))
    }

    /// The row of the outbox that has the event `id`.
    pub(super) async fn handed_over(&self, caller: &Caller, id: &EventId) -> Result<Reply, Refusal> {
        let reach = self.reach(caller, Action::Read);
        let everything = reach.everything();
        let may_all = everything.is_some();
        let permit = everything.map_or_else(|| reach.permit(Target::Something), Ok)?;
        let row = self.store.handed_over(&permit, id).await?;
        // A row that names no domain that could be one is shown to those only who may read all.
        let in_reach = |row: &OutboxRow| {
            may_all || Domain::parse(&row.domain).is_ok_and(|domain| reach.covers(Target::Domain(&domain)))
        };
        let row = row.filter(in_reach);
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
    pub(super) async fn story_of(&self, permit: &Permit, id: &EventId) -> Result<EventStory, Refusal> {
        let stored = self.store.story(permit, id).await?;
        let mut deliveries: Vec<_> = stored.settlements.iter().map(settled).collect();
        if let Some(event) = stored.event.clone() {
            let open = self.store.stories(permit, event).await?;
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
