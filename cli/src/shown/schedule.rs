//! Schedules as people and programs see them.

use std::fmt::Write as _;

use proto::recurrence::Rule;
use proto::schedule::{ScheduleReport, ScheduleState, Standing};
use serde::Serialize;

use super::event::cut;
use crate::output::{Row, Shown};

impl Row for ScheduleReport {
    const COLUMNS: &'static [&'static str] = &["due", "schedule", "event", "state", "key", "recurs"];

    fn cells(&self) -> Vec<String> {
        let due = match &self.state {
            ScheduleState::Recurring { next, .. } => *next,
            _ => self.due,
        };
        vec![
            due.to_string(),
            self.id.to_string(),
            format!("{}/{} {}", self.domain, self.pid, self.name),
            state_word(&self.state),
            self.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.recurring.as_ref().map(|recurring| rule(&recurring.recurrence.rule)).unwrap_or_default(),
        ]
    }
}

impl Shown for ScheduleReport {
    fn for_people(&self) -> String {
        let mut text = format!("schedule {}: {}", self.id, sentence(self));
        // Writing to a String cannot fail.
        let _ = write_facts(&mut text, self);
        text
    }
}

fn write_facts(text: &mut String, report: &ScheduleReport) -> std::fmt::Result {
    write!(text, "\n  event      {}/{} {}", report.domain, report.pid, report.name)?;
    write!(text, "\n  due        {}", report.due)?;
    write!(text, "\n  scheduled  by {} at {}", report.publisher, report.created)?;
    if let Some(key) = &report.key {
        write!(text, "\n  key        {key}")?;
    }
    if let Some(series) = &report.series {
        write!(text, "\n  series     {series}")?;
    }
    if let Some(recurring) = &report.recurring {
        let recurrence = &recurring.recurrence;
        write!(text, "\n  recurs     {}, from {}", rule(&recurrence.rule), recurring.start)?;
        if let Some(end) = recurrence.end {
            write!(text, " to {end}")?;
        }
        write!(
            text,
            "\n  policies   missed {}, skipped {}, doubled {}",
            recurrence.misfire, recurrence.skipped, recurrence.doubled
        )?;
        if recurrence.jitter_ms > 0 {
            write!(text, "\n  jitter     up to {} ms", recurrence.jitter_ms)?;
        }
    }
    if let Some(data) = &report.data {
        write!(text, "\n  data       {}", cut(data.as_str(), 2_000))?;
    }
    Ok(())
}

/// Why a schedule is where it is.
#[derive(Debug, Serialize)]
pub(crate) struct ScheduleWhy {
    /// Its id.
    schedule: String,
    #[serde(flatten)]
    state: ScheduleState,
    /// One sentence.
    why: String,
}

impl ScheduleWhy {
    /// What `report` waits for.
    pub(crate) fn of(report: ScheduleReport) -> Self {
        let why = sentence(&report);
        Self { schedule: report.id.to_string(), state: report.state, why }
    }
}

impl Shown for ScheduleWhy {
    fn for_people(&self) -> String {
        format!("schedule {}: {}", self.schedule, self.why)
    }
}

/// How a schedule stands, in one sentence.
pub(crate) fn standing_sentence(standing: &Standing) -> String {
    match standing {
        Standing::Pending { due } => format!("it is published at {due}"),
        Standing::Paused => "it is paused and not published before it is resumed".to_owned(),
        Standing::Fired { position } => format!("it was published already, at position {position}"),
        Standing::Cancelled => "it is cancelled".to_owned(),
        Standing::Failed { reason } => format!("it has failed: {}", cut(reason, 500)),
        Standing::Ended => "the series had come to its end".to_owned(),
        Standing::Unknown => "there is no such schedule".to_owned(),
    }
}

fn sentence(report: &ScheduleReport) -> String {
    match &report.state {
        ScheduleState::Pending => format!("waits for its time: it is published at {}", report.due),
        ScheduleState::Paused { since } => {
            format!("paused since {since}; `eventflow schedule resume {}` lets it go on", report.id)
        }
        ScheduleState::Fired { at, position } => format!("was published at {at}, at position {position}"),
        ScheduleState::Cancelled { at, reason } => match reason {
            Some(reason) => format!("cancelled at {at}: {}", cut(reason, 500)),
            None => format!("cancelled at {at}"),
        },
        ScheduleState::Failed { at, reason } => format!("failed at {at}: {}", cut(reason, 500)),
        ScheduleState::Recurring { next, occurrence, last } => {
            let last = match last {
                Some(position) => format!("; last time at position {position}"),
                None => String::new(),
            };
            format!("a series: it is published next at {next}, as event {occurrence}{last}")
        }
        ScheduleState::Ended { at, .. } => format!("a series that came to its end at {at}"),
    }
}

fn state_word(state: &ScheduleState) -> String {
    match state {
        ScheduleState::Pending => "pending".to_owned(),
        ScheduleState::Paused { .. } => "paused".to_owned(),
        ScheduleState::Fired { position, .. } => format!("fired at {position}"),
        ScheduleState::Cancelled { .. } => "cancelled".to_owned(),
        ScheduleState::Failed { .. } => "failed".to_owned(),
        ScheduleState::Recurring { .. } => "recurring".to_owned(),
        ScheduleState::Ended { .. } => "ended".to_owned(),
    }
}

fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Cron { expression, zone } => format!("{} {zone}", expression.as_str()),
        Rule::Every { millis } if millis % 60_000 == 0 => format!("every {} min", millis / 60_000),
        Rule::Every { millis } => format!("every {} s", *millis as f64 / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use proto::{Domain, EventId, EventName, Pid, Position, ServiceName, Timestamp};

    use super::*;

    fn report(state: ScheduleState) -> ScheduleReport {
        ScheduleReport {
            id: EventId::parse("e").unwrap(),
            key: None,
            due: Timestamp::parse("2030-01-02T03:04:05Z").unwrap(),
            domain: Domain::parse("order").unwrap(),
            pid: Pid::parse("1").unwrap(),
            name: EventName::parse("reminded").unwrap(),
            publisher: ServiceName::parse("shop").unwrap(),
            created: Timestamp::default(),
            state,
            series: None,
            recurring: None,
            data: None,
        }
    }

    #[test]
    fn a_schedule_says_in_one_sentence_what_it_waits_for() {
        let why = |state| ScheduleWhy::of(report(state)).for_people();
        let at = Timestamp::default();
        assert_eq!(
            why(ScheduleState::Pending),
            "schedule e: waits for its time: it is published at 2030-01-02T03:04:05.000Z"
        );
        assert!(why(ScheduleState::Paused { since: at }).contains("schedule resume e"));
        assert!(why(ScheduleState::Fired { at, position: Position(7) }).ends_with("at position 7"));
        assert!(why(ScheduleState::Failed { at, reason: "taken".into() }).ends_with("taken"));
    }

    #[test]
    fn programs_get_the_state_with_its_facts() {
        let fired = ScheduleState::Fired { at: Timestamp::default(), position: Position(7) };
        let json = serde_json::to_value(report(fired)).unwrap();
        assert_eq!((json["state"].as_str(), json["position"].as_u64()), (Some("fired"), Some(7)));
    }
}
