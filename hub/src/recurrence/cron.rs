//! Cron expressions: which local times match one.
//!
//! Croner reads the expression and searches on local times only. It also has an opinion of its own on
//! changes of the clocks, which depends on more than the hours and is not asked for here: see
//! `docs/decisions/0012-clock-changes.md`.

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use proto::CronText;

use super::error::RecurrenceError;

const HOURLY: &str = "@hourly";

/// Expressions that have a name.
const NICKNAMES: &[&str] = &["@yearly", "@annually", "@monthly", "@weekly", "@daily", HOURLY];

/// An expression that was understood.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    cron: croner::Cron,
    hours: Hours,
}

/// What the hours of an expression are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hours {
    /// `*`, or a step of it: it comes round all day.
    Wildcard,
    /// Some are named.
    Named,
}

impl Cron {
    /// Reads five fields, six with seconds in front, or a nickname (`@hourly`).
    pub(super) fn parse(expression: &CronText) -> Result<Self, RecurrenceError> {
        let not_cron = |reason: String| RecurrenceError::NotCron { expression: expression.clone(), reason };
        let fields: Vec<&str> = expression.as_str().split_whitespace().collect();
        let clock = match fields.as_slice() {
            [nickname] if NICKNAMES.contains(&nickname.to_ascii_lowercase().as_str()) => &[],
            [minute_and_hour @ .., _, _, _] if matches!(minute_and_hour.len(), 2 | 3) => minute_and_hour,
            other => return Err(not_cron(format!("it has {} fields in place of five or six", other.len()))),
        };
        // Croner replaces the names of days and months wherever they stand.
        let strange = |c: char| !(c.is_ascii_digit() || matches!(c, '*' | ',' | '-' | '/'));
        if let Some(field) = clock.iter().find(|field| field.contains(strange)) {
            return Err(not_cron(format!("{field:?} is no second, minute or hour")));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(expression.as_str()).map_err(|error| not_cron(said(&error)))?;
        let hours = match clock.last() {
            Some(hour) if hour.starts_with('*') => Hours::Wildcard,
            None if expression.as_str().trim().eq_ignore_ascii_case(HOURLY) => Hours::Wildcard,
            Some(_) | None => Hours::Named,
        };
        Ok(Self { cron, hours })
    }

    pub(super) fn hours(&self) -> Hours {
        self.hours
    }

    /// The first local time at or after `from` that matches, a whole second; `None` if there is none
    /// before the year 5000.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, true).ok()
    }
}

/// What croner says, as part of a sentence of ours.
fn said(error: &CronError) -> String {
    match error {
        CronError::EmptyPattern => "it is empty".to_owned(),
        CronError::InvalidPattern(reason)
        | CronError::IllegalCharacters(reason)
        | CronError::ComponentError(reason) => reason.trim_end_matches('.').to_owned(),
        CronError::InvalidDate | CronError::InvalidTime | CronError::TimeSearchLimitExceeded => {
            error.to_string().trim_end_matches('.').to_owned()
        }
    }
}
