//! A row of the outbox, as the story of an event that is not in the log yet, or not by this row.

use proto::EventId;
use serde::Serialize;
use spoke::{OutboxState, OutboxStory};

use super::event::cut;
use crate::output::Shown;

/// Why an event is still in the outbox.
#[derive(Debug, Serialize)]
pub(crate) struct OutboxWhy {
    /// The event's id.
    event: String,
    #[serde(flatten)]
    story: Flat,
    /// One sentence.
    why: String,
}

/// The story with its state's facts beside its own.
#[derive(Debug, Serialize)]
struct Flat {
    row: i64,
    since: proto::Timestamp,
    #[serde(flatten)]
    state: OutboxState,
}

impl OutboxWhy {
    /// What `story`, which is that of the event `id`, waits for.
    pub(crate) fn of(id: &EventId, story: OutboxStory) -> Self {
        let why = sentence(&story);
        let OutboxStory { row, since, state } = story;
        Self { event: id.to_string(), story: Flat { row, since, state }, why }
    }
}

impl Shown for OutboxWhy {
    fn for_people(&self) -> String {
        format!("event {}: {}", self.event, self.why)
    }
}

fn sentence(story: &OutboxStory) -> String {
    let OutboxStory { row, since, state } = story;
    match state {
        OutboxState::Waiting => format!(
            "row {row} of the outbox since {since}, waiting for a hub to append it; one that runs with --outbox-poll off leaves it there"
        ),
        OutboxState::Failed { at, reason } => format!(
            "row {row} of the outbox, which could not be appended at {at}: {}; mend the row and `eventflow outbox retry {row}`, or `eventflow outbox discard {row}`",
            cut(reason, 500)
        ),
    }
}

#[cfg(test)]
mod tests {
    use proto::Timestamp;

    use super::*;

    fn why(state: OutboxState) -> OutboxWhy {
        let story = OutboxStory { row: 7, since: Timestamp::default(), state };
        OutboxWhy::of(&EventId::parse("e").unwrap(), story)
    }

    #[test]
    fn a_row_of_the_outbox_says_in_one_sentence_what_it_waits_for() {
        assert!(
            why(OutboxState::Waiting).for_people().starts_with("event e: row 7 of the outbox since 1970")
        );
        let failed = OutboxState::Failed { at: Timestamp::default(), reason: "the domain\nis empty".into() };
        let said = why(failed).for_people();
        assert!(said.contains("the domain is empty") && said.contains("outbox retry 7"), "{said}");
    }

    #[test]
    fn programs_get_the_row_and_its_state() {
        let json = serde_json::to_value(why(OutboxState::Waiting)).unwrap();
        assert_eq!((json["event"].as_str(), json["row"].as_i64()), (Some("e"), Some(7)));
        assert_eq!(json["state"], "waiting");
    }
}
