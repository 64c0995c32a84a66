//! Parked events: finds those that are selected, and has the dispatcher take them up again.
//!
//! What is parked is in the tables. A request looks at a bounded number of rows and says how to go on;
//! what it changes, the dispatcher changes, because events that are replayed go through its hands.

use db::{Act, GroupId, ParkedRow};
use proto::access::Action;
use proto::limits::PAGE_BYTES_MAX;
use proto::message::Reply;
use proto::parked::{
    ParkedAct, ParkedChange, ParkedCursor, ParkedEvent, ParkedPage, ParkedReply, ParkedRequest,
    ParkedSelection, UnparkMode,
};
use proto::{EventId, Refusal};

use super::parked_search::{Batch, Search};
use super::{Caller, Commands};
use crate::access::{Permit, Reach, Target};
use crate::dispatch::UnparkOrder;

/// A group as parked events name it.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) id: GroupId,
    pub(super) name: proto::GroupName,
    pub(super) domain: proto::Domain,
}

impl Commands {
    /// Lists parked events, takes them up, or tells what was done about one.
    pub(super) async fn parked(&self, caller: &Caller, request: ParkedRequest) -> Result<Reply, Refusal> {
        let reply = match request {
            ParkedRequest::List { selection, after, limit } => {
                ParkedReply::Page(self.list_parked(caller, &selection, after, limit).await?)
            }
            ParkedRequest::Unpark { selection, after, act, mode } => {
                ParkedReply::Page(self.unpark(caller, &selection, after, act, mode).await?)
            }
            ParkedRequest::History(id) => ParkedReply::History(self.parked_history(caller, &id).await?),
        };
        Ok(Reply::Parked(reply))
    }

    async fn list_parked(
        &self,
        caller: &Caller,
        selection: &ParkedSelection,
        after: Option<ParkedCursor>,
        limit: u32,
    ) -> Result<ParkedPage, Refusal> {
        let reach = self.reach(caller, Action::Read);
        let permit = match &selection.id {
            Some(id) => self.permit_event(caller, Action::Read, id).await?,
            None => reach.permit(Target::Something)?,
        };
        let Some(search) = self.search(&permit, selection, Some(&reach)).await? else {
            return Ok(last_page());
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        let (found, next) = search.page(after, limit).await?;
        let mut page = ParkedPage { events: Vec::with_capacity(found.len()), next };
        let mut bytes = 0;
        for (owner, row) in found {
            let event = event_of(&owner, row);
            bytes += event.weight();
            if bytes > PAGE_BYTES_MAX && !page.events.is_empty() {
                let after = event.position.previous();
                page.next = Some(ParkedCursor { group: owner.id.0, after, rest: None });
                break;
            }
            page.events.push(event);
        }
        Ok(page)
    }

    /// The next batch of what is selected: of one group, so that all of it is done or nothing.
    async fn unpark(
        &self,
        caller: &Caller,
        selection: &ParkedSelection,
        after: Option<ParkedCursor>,
        act: ParkedAct,
        mode: UnparkMode,
    ) -> Result<ParkedPage, Refusal> {
        let permit = self.permit_admin(caller)?;
        let begins = after.is_none();
        let batch = match self.search(&permit, selection, None).await? {
            Some(search) => search.batch(after, &act).await?,
            None => Batch::default(),
        };
        let Batch { owner: Some(owner), mut rows, next } = batch else {
            return match &selection.id {
                Some(id) if begins && batch.next.is_none() => {
                    Err(self.not_parked(&permit, id, selection).await?)
                }
                Some(_) | None => Ok(ParkedPage { events: Vec::new(), next: batch.next }),
            };
        };
        if mode == UnparkMode::Take {
            let slot = |row: &ParkedRow| (row.position, proto::slot(&owner.domain, &row.pid));
            let order = UnparkOrder {
                events: rows.iter().map(slot).collect(),
                act: match act {
                    ParkedAct::Replay => Act::Replay,
                    ParkedAct::Discard { reason } => Act::Discard { reason },
                },
                agent: caller.label.to_string(),
            };
            // Somebody else may have been quicker.
            let taken = self.store.unpark(&permit, owner.id, order).await?;
            rows.retain(|row| taken.binary_search(&row.position).is_ok());
        }
        Ok(ParkedPage { events: rows.into_iter().map(|row| event_of(&owner, row)).collect(), next })
    }

    /// What `selection` selects from, of domains that are within `reach`; `None` if it names an event that
    /// was deleted.
    async fn search<'a>(
        &'a self,
        permit: &'a Permit,
        selection: &'a ParkedSelection,
        reach: Option<&Reach<'_>>,
    ) -> Result<Option<Search<'a>>, Refusal> {
        let only = match &selection.id {
            None => None,
            Some(id) => match self.store.position_of(permit, id).await? {
                Some(position) => Some(position),
                None => return Ok(None),
            },
        };
        let mut owners = self.owners(permit).await?;
        owners.retain(|owner| reach.is_none_or(|reach| reach.covers(Target::Domain(&owner.domain))));
        owners.retain(|owner| {
            selection.group.as_ref().is_none_or(|group| owner.name == *group)
                && selection.domain.as_ref().is_none_or(|domain| owner.domain == *domain)
        });
        if let (Some(group), true) = (&selection.group, owners.is_empty()) {
            return Err(Refusal::NotFound { what: format!("group {group}, or it of that domain,") });
        }
        Ok(Some(Search { store: &self.store, permit, selection, owners, only }))
    }

    /// All groups, by number.
    async fn owners(&self, permit: &Permit) -> Result<Vec<Owner>, Refusal> {
        const GROUPS_PER_READ: u32 = 100;
        let (mut owners, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.groups(permit, after.as_ref(), GROUPS_PER_READ).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.name.clone());
            let owner =
                |group: db::Group| Owner { id: group.id, name: group.name, domain: group.topic.domain };
            owners.extend(page.into_iter().map(owner));
        }
        owners.sort_by_key(|owner| owner.id);
        Ok(owners)
    }

    /// Why nothing is done about `id`: what it is instead of parked.
    async fn not_parked(
        &self,
        permit: &Permit,
        id: &EventId,
        selection: &ParkedSelection,
    ) -> Result<Refusal, Refusal> {
        let story = self.story_of(permit, id).await?;
        if story.deleted.is_some() {
            return Ok(Refusal::Invalid { reason: format!("event {id} is not parked: it was deleted") });
        }
        let wanted = |group| selection.group.as_ref().is_none_or(|wanted| wanted == group);
        let said: Vec<String> = story
            .deliveries
            .iter()
            .filter(|delivery| wanted(&delivery.group))
            .map(|delivery| format!("in group {} it {}", delivery.group, stands(delivery)))
            .collect();
        let said = if said.is_empty() { "no group consumes it".to_owned() } else { said.join(", ") };
        Ok(Refusal::Invalid { reason: format!("event {id} is not parked, or not as asked: {said}") })
    }

    async fn parked_history(&self, caller: &Caller, id: &EventId) -> Result<Vec<ParkedChange>, Refusal> {
        let permit = self.permit_event(caller, Action::Read, id).await?;
        let position = self.store.position_of(&permit, id).await?;
        let Some(position) = position else { return Ok(Vec::new()) };
        let changes = self.store.parked_changes(&permit, position).await?;
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let owners = self.owners(&permit).await?;
        let change = |row: db::ParkedChangeRow| {
            let owner = owners.iter().find(|owner| owner.id == row.group)?;
            Some(ParkedChange {
                group: owner.name.clone(),
                domain: owner.domain.clone(),
                done: row.done,
                at: row.at,
                by: row.agent,
                parked: row.parked,
                attempts: row.attempts,
                reason: row.reason,
                consumer: row.consumer,
            })
        };
        Ok(changes.into_iter().filter_map(change).collect())
    }
}

fn last_page() -> ParkedPage {
    ParkedPage { events: Vec::new(), next: None }
}

fn event_of(owner: &Owner, row: ParkedRow) -> ParkedEvent {
    ParkedEvent {
        group: owner.name.clone(),
        domain: owner.domain.clone(),
        id: row.id,
        position: row.position,
        pid: row.pid,
        version: row.version,
        name: row.name,
        timestamp: row.timestamp,
        parked: row.parked,
        attempts: row.attempts,
        reason: row.reason,
        consumer: row.consumer,
        policy: row.policy,
    }
}

/// Where a delivery stands, in words that follow "it".
fn stands(delivery: &proto::report::DeliveryStory) -> String {
    use proto::report::DeliveryState;
    let at = delivery.settled.map(|at| format!(" at {at}")).unwrap_or_default();
    match &delivery.state {
        DeliveryState::Succeeded => format!("has succeeded{at}"),
        DeliveryState::Parked => format!("was parked{at}"),
        DeliveryState::Discarded => format!("was discarded{at}"),
        DeliveryState::InFlight { since, .. } => format!("is with a member since {since}"),
        DeliveryState::RetryAt { at } => format!("has failed and is tried again at {at}"),
        DeliveryState::BlockedBy { position, .. } => {
            format!("was not delivered yet: it waits for the event at position {position}")
        }
        DeliveryState::BeforeStart => "was never delivered: the group starts after it".to_owned(),
        other => format!("was not delivered yet ({other:?})"),
    }
}
