//! Parked events, and what was done about them, as people and programs see them.

use std::fmt::Write as _;

use proto::ParkPolicy;
use proto::parked::{ParkedChange, ParkedEvent, Unparked};
use proto::report::EventStory;
use serde::Serialize;

use super::event::cut;
use crate::output::{Row, Shown};

/// Characters of a reason in a table.
const REASON_CHARS_SHOWN: usize = 60;

impl Row for ParkedEvent {
    const COLUMNS: &'static [&'static str] =
        &["group", "#position", "domain", "pid", "name", "#attempts", "parked", "reason", "id"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.to_string(),
            self.position.to_string(),
            self.domain.to_string(),
            self.pid.to_string(),
            self.name.to_string(),
            self.attempts.to_string(),
            self.parked.to_string(),
            cut(&self.reason, REASON_CHARS_SHOWN),
            self.id.to_string(),
        ]
    }
}

/// A parked event, who has parked it and why, and what was done about it before.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedStory {
    /// The event; none if it was deleted.
    pub(crate) event: Option<proto::Event>,
    /// In which groups it is parked.
    pub(crate) parked: Vec<ParkedEvent>,
    /// What was done.
    pub(crate) history: Vec<ParkedChange>,
}

impl Shown for ParkedStory {
    fn for_people(&self) -> String {
        let mut text = self.event.as_ref().map(Shown::for_people).unwrap_or_default();
        // Writing to a string cannot fail.
        for parked in &self.parked {
            let whole = match parked.policy {
                ParkPolicy::Event => "",
                ParkPolicy::Pid => ", with its whole process",
            };
            let _ = write!(
                text,
                "\n  parked     by group {} at {}{whole}, after {} deliveries\n  reason     {}\n  consumer   {}",
                parked.group,
                parked.parked,
                parked.attempts,
                cut(&parked.reason, 2_000),
                parked.consumer
            );
        }
        for change in &self.history {
            let _ = write!(text, "\n  {}", sentence(change));
        }
        text.trim_start_matches('\n').to_owned()
    }
}

/// The story of an event with what was done about it while it was parked.
#[derive(Debug, Serialize)]
pub(crate) struct FullStory {
    /// The event and its deliveries.
    #[serde(flatten)]
    pub(crate) story: EventStory,
    /// What was done.
    #[serde(rename = "parked", skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<ParkedChange>,
}

impl Shown for FullStory {
    fn for_people(&self) -> String {
        let mut text = self.story.for_people();
        for change in &self.history {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {}", sentence(change));
        }
        text
    }
}

fn sentence(change: &ParkedChange) -> String {
    let reason = cut(&change.reason, 200);
    let parked = format!(
        "group {}: was parked at {} after {} deliveries because of {reason:?}",
        change.group, change.parked, change.attempts
    );
    let (by, at) = (&change.by, change.at);
    match &change.done {
        Unparked::Replaying => format!("{parked}; {by} has it delivered again since {at}"),
        Unparked::Replayed => format!("{parked}; {by} had it delivered again at {at}"),
        Unparked::Discarded { why } => format!("{parked}; {why:?} at {at}"),
    }
}

#[cfg(test)]
mod tests {
    use proto::{Attempt, Domain, GroupName, Timestamp};

    use super::*;

    #[test]
    fn what_was_done_about_a_parked_event_is_one_sentence() {
        let change = ParkedChange {
            group: GroupName::parse("billing").unwrap(),
            domain: Domain::parse("order").unwrap(),
            done: Unparked::Replayed,
            at: Timestamp::parse("2024-01-02T03:04:06Z").unwrap(),
            by: "shop/1".to_owned(),
            parked: Timestamp::parse("2024-01-02T03:04:05Z").unwrap(),
            attempts: Attempt(5),
            reason: "no\nstock".to_owned(),
            consumer: "billing/1".to_owned(),
        };
        assert_eq!(
            sentence(&change),
            "group billing: was parked at 2024-01-02T03:04:05.000Z after 5 deliveries because of \"no stock\"; \
             shop/1 had it delivered again at 2024-01-02T03:04:06.000Z"
        );
        assert_eq!(serde_json::to_value(&change).unwrap()["done"], "replayed");
    }
}
