//! Consumer groups as people and programs see them.

use std::fmt::Write as _;
use std::time::Duration;

use proto::group::GroupStatus;
use proto::report::GroupReport;
use proto::{Domain, EventName, GroupName, ParkPolicy};
use serde::Serialize;

use crate::output::{Row, Shown};

impl Row for GroupStatus {
    const COLUMNS: &'static [&'static str] = &[
        "group",
        "domain",
        "names",
        "#members",
        "#succeeded",
        "#pending",
        "oldest",
        "#in flight",
        "#retrying",
        "#parked",
        "paused",
    ];

    fn cells(&self) -> Vec<String> {
        let report = &self.report;
        vec![
            report.group.to_string(),
            report.domain.to_string(),
            names(report),
            report.members.to_string(),
            report.succeeded.to_string(),
            report.pending.to_string(),
            self.oldest.map(|oldest| age(oldest.age_ms)).unwrap_or_default(),
            report.in_flight.to_string(),
            report.retrying.to_string(),
            report.parked.to_string(),
            paused(self),
        ]
    }
}

fn paused(status: &GroupStatus) -> String {
    match (&status.paused, status.pids_paused) {
        (Some(_), _) => "all".to_owned(),
        (None, 0) => String::new(),
        (None, pids) => format!("{pids} pids"),
    }
}

impl Shown for GroupStatus {
    fn for_people(&self) -> String {
        let Self { report, settings, .. } = self;
        let order = if report.ordered { "one by one for each pid" } else { "in no particular order" };
        let lag = match self.oldest {
            Some(oldest) => {
                format!(
                    "{} events, the oldest for {} (position {})",
                    report.pending,
                    age(oldest.age_ms),
                    oldest.position
                )
            }
            None => format!("{} events", report.pending),
        };
        let park = match settings.park {
            ParkPolicy::Event => "the event alone",
            ParkPolicy::Pid => "the event and all later ones of its process",
        };
        let mut text = format!(
            "group {} of {}\n  \
             gets       {}, {order}, after position {}\n  \
             lag        {lag}\n  \
             outcome    {} succeeded, {} parked, {} discarded\n  \
             pending    {} in flight, {} waiting for their next try\n  \
             progress   settled through position {} of {}\n  \
             settings   {} attempts, {} to {} between two, deadline {}, at most {} in hand a member\n  \
             parks      {park}",
            report.group,
            report.domain,
            names(report),
            report.start_after,
            report.succeeded,
            report.parked,
            report.discarded,
            report.in_flight,
            report.retrying,
            report.settled_through,
            report.head,
            settings.attempts_max,
            age(settings.backoff_first_ms.into()),
            age(settings.backoff_max_ms.into()),
            age(settings.deadline_ms.into()),
            settings.credit_max,
        );
        write_pauses(&mut text, self);
        write_members(&mut text, self);
        text
    }
}

// Writing to a String cannot fail.

fn write_pauses(text: &mut String, status: &GroupStatus) {
    if let Some(pause) = &status.paused {
        let _ = write!(text, "\n  paused     since {} by {}", pause.since, pause.by);
    }
    for paused in &status.paused_pids {
        let _ = write!(
            text,
            "\n  paused     process {} since {} by {}",
            paused.pid, paused.pause.since, paused.pause.by
        );
    }
    let more = status.pids_paused.saturating_sub(status.paused_pids.len() as u64);
    if more > 0 {
        let _ = write!(text, "\n  paused     {more} more processes");
    }
}

fn write_members(text: &mut String, status: &GroupStatus) {
    for member in &status.connected {
        let _ = write!(
            text,
            "\n  member     {} has {} in hand and takes up to {}",
            member.member, member.in_flight, member.credit
        );
    }
    let more = status.report.members.saturating_sub(status.connected.len() as u64);
    match (status.report.members, more) {
        (0, _) => text.push_str("\n  member     none is connected"),
        (_, 0) => {}
        (_, more) => drop(write!(text, "\n  member     {more} more")),
    }
}

/// A span in the two largest of its units, for example `3m 20s`.
fn age(millis: u64) -> String {
    let span = Duration::from_millis(millis);
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}s"),
        60..3_600 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn names(report: &GroupReport) -> String {
    if report.names.is_empty() {
        return "*".to_owned();
    }
    report.names.iter().map(EventName::as_str).collect::<Vec<_>>().join(", ")
}

/// A group that was removed.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    removed: GroupName,
    domain: Domain,
    /// Events that it had settled.
    settled: u64,
    /// Events for which it had no outcome.
    pending: u64,
}

impl From<GroupReport> for Removed {
    fn from(report: GroupReport) -> Self {
        let settled = report.succeeded + report.parked + report.discarded;
        Self { removed: report.group, domain: report.domain, settled, pending: report.pending }
    }
}

impl Shown for Removed {
    fn for_people(&self) -> String {
        format!(
            "group {} of {} is removed; it had settled {} events and {} were pending",
            self.removed, self.domain, self.settled, self.pending
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_units() {
        let ages = [0, 999, 59_999, 60_000, 200_000, 3_600_000, 90_000_000].map(age);
        assert_eq!(ages, ["0ms", "999ms", "59s", "1m", "3m 20s", "1h 0m", "1d 1h"]);
    }
}
