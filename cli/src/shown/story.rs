//! The story of an event for people: itself, its deliveries, and one plain sentence for each group
//! that says what it waits for.

use std::fmt::Write as _;

use proto::report::{DeliveryState, DeliveryStory, EventStory};
use serde::Serialize;

use super::event::cut;
use crate::output::Shown;

impl Shown for EventStory {
    fn for_people(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = match &self.event {
            Some(event) => write_event(&mut text, self, event),
            None => writeln!(text, "deleted event at position {}", self.position),
        };
        if let Some(deleted) = self.deleted {
            let _ = writeln!(text, "  deleted    {deleted}");
        }
        for why in Why::of(self) {
            let _ = writeln!(text, "  {}", why.for_people());
        }
        text.truncate(text.trim_end().len());
        text
    }
}

fn write_event(text: &mut String, story: &EventStory, event: &proto::Event) -> std::fmt::Result {
    writeln!(text, "event {} at position {}", event.id, event.position)?;
    writeln!(text, "  eventlog   {}/{}, version {}", event.domain, event.pid, event.version)?;
    writeln!(text, "  name       {}", event.name)?;
    writeln!(text, "  time       {}", event.timestamp)?;
    if let (Some(publisher), Some(published)) = (&event.publisher, story.published) {
        writeln!(text, "  published  by {publisher} at {published}")?;
    }
    if let Some(rid) = &event.rid {
        writeln!(text, "  answers    event {rid}")?;
    }
    for (key, value) in &event.metadata.0 {
        writeln!(text, "  metadata   {key} = {}", cut(value, 200))?;
    }
    for eid in &event.eids {
        writeln!(text, "  concerns   {eid}")?;
    }
    for cpid in &event.cpids {
        writeln!(text, "  started    {}/{}", cpid.domain, cpid.pid)?;
    }
    writeln!(text, "  data       {}", cut(event.data.as_str(), 2_000))
}

/// Why an event is where it is, for one group; without a group, for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Why {
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Where the delivery stands.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<DeliveryState>,
    /// One sentence.
    pub(crate) why: String,
}

impl Why {
    /// One for each group that wants the event, or a single one if there is no group.
    pub(crate) fn of(story: &EventStory) -> Vec<Self> {
        if story.deliveries.is_empty() {
            return vec![Self { group: None, state: None, why: without_groups(story).to_owned() }];
        }
        let why = |delivery: &DeliveryStory| Self {
            group: Some(delivery.group.to_string()),
            state: Some(delivery.state.clone()),
            why: sentence(delivery),
        };
        story.deliveries.iter().map(why).collect()
    }
}

impl Shown for Why {
    fn for_people(&self) -> String {
        match &self.group {
            Some(group) => format!("group {group}: {}", self.why),
            None => self.why.clone(),
        }
    }
}

fn without_groups(story: &EventStory) -> &'static str {
    if story.deleted.is_some() {
        "it was deleted, so nobody gets it any more"
    } else if story.published.is_none() {
        "it was stored only (persisted), so no group ever gets it"
    } else if story.orphan {
        "it is an orphan: when it was published, no group and no subscriber wanted it"
    } else {
        "no group consumes it"
    }
}

fn sentence(delivery: &DeliveryStory) -> String {
    let tries = tries(delivery);
    let reason = match &delivery.reason {
        Some(reason) => format!(", the last time because of {:?}", cut(reason, 200)),
        None => String::new(),
    };
    match &delivery.state {
        DeliveryState::Succeeded => {
            format!("done{}{}, {tries}", by(delivery), at(delivery))
        }
        DeliveryState::Parked => {
            format!("parked{} {tries}{reason}; it is not tried again by itself", at(delivery))
        }
        DeliveryState::Discarded => format!("given up{} {tries}{reason}", at(delivery)),
        DeliveryState::InFlight { since, deadline } => {
            let who = delivery.consumer.as_deref().unwrap_or("a member");
            format!("with {who} since {since} ({tries}); without an answer it counts as failed at {deadline}")
        }
        DeliveryState::RetryAt { at } => format!("it failed ({tries}{reason}) and is tried again at {at}"),
        DeliveryState::BlockedBy { id, position } => {
            format!(
                "waits until event {id} at position {position}, an earlier one of the same process, is settled"
            )
        }
        DeliveryState::NoMember => "waits for a member: no consumer of the group is connected".to_owned(),
        DeliveryState::NoCredit { members } => {
            format!("waits for room: all {members} connected members have as much in hand as they want")
        }
        DeliveryState::NotRead { before } => {
            format!("waits its turn: the group has {before} positions to go before it")
        }
        DeliveryState::BeforeStart => "never: the group starts after it".to_owned(),
        DeliveryState::Ready => "about to be delivered".to_owned(),
        DeliveryState::Committing { since } => {
            let who = delivery.consumer.as_deref().unwrap_or("a member");
            format!(
                "done by {who}, with effects that are being committed together with its ack since {since}"
            )
        }
        DeliveryState::Paused { since, by } => {
            format!("paused since {since} by {by}; `eventflow groups resume` goes on with it")
        }
        other => format!("{other:?}"),
    }
}

fn tries(delivery: &DeliveryStory) -> String {
    match delivery.attempts.0 {
        0 => "before the first try".to_owned(),
        1 => "after 1 try".to_owned(),
        tries => format!("after {tries} tries"),
    }
}

fn by(delivery: &DeliveryStory) -> String {
    delivery.consumer.as_ref().map(|who| format!(" by {who}")).unwrap_or_default()
}

fn at(delivery: &DeliveryStory) -> String {
    delivery.settled.map(|time| format!(" at {time}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proto::{Attempt, EventId, GroupName, Position, Timestamp};

    use super::*;

    fn delivery(state: DeliveryState) -> DeliveryStory {
        DeliveryStory {
            group: GroupName::parse("billing").unwrap(),
            state,
            attempts: Attempt(3),
            consumer: Some("billing-1".to_owned()),
            settled: Some(Timestamp::parse("2024-01-02T03:04:05Z").unwrap()),
            reason: Some("no such\ncustomer".to_owned()),
        }
    }

    fn story(deliveries: Vec<DeliveryStory>) -> EventStory {
        EventStory {
            event: None,
            position: Position(7),
            published: Some(Timestamp::parse("2024-01-02T03:04:05Z").unwrap()),
            deleted: None,
            orphan: false,
            deliveries,
        }
    }

    #[test]
    fn each_group_gets_one_sentence_that_says_what_it_waits_for() {
        let blocked = DeliveryState::BlockedBy { id: EventId::parse("e-1").unwrap(), position: Position(4) };
        let story = story(vec![delivery(DeliveryState::Parked), delivery(blocked)]);
        let why: Vec<String> = Why::of(&story).iter().map(Shown::for_people).collect();
        assert_eq!(
            why,
            [
                "group billing: parked at 2024-01-02T03:04:05.000Z after 3 tries, the last time because of \"no such customer\"; it is not tried again by itself",
                "group billing: waits until event e-1 at position 4, an earlier one of the same process, is settled",
            ]
        );
    }

    #[test]
    fn an_event_without_groups_says_why_nobody_gets_it() {
        let why = |story: &EventStory| Why::of(story).remove(0).why;
        assert!(why(&story(vec![])).contains("no group consumes it"));
        assert!(why(&EventStory { orphan: true, ..story(vec![]) }).contains("orphan"));
        assert!(why(&EventStory { published: None, ..story(vec![]) }).contains("persisted"));
    }

    #[test]
    fn programs_get_the_state_with_its_facts() {
        let story = story(vec![delivery(DeliveryState::NoCredit { members: 2 })]);
        let json = serde_json::to_value(Why::of(&story).remove(0)).unwrap();
        assert_eq!(json["group"], "billing");
        assert_eq!(json["state"], "no_credit");
        assert_eq!(json["members"], 2);
    }
}
