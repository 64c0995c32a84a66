//! Consumer groups as people and programs see them.

use proto::EventName;
use proto::report::GroupReport;

use crate::output::{Row, Shown};

impl Row for GroupReport {
    const COLUMNS: &'static [&'static str] = &[
        "group",
        "domain",
        "names",
        "#members",
        "#succeeded",
        "#pending",
        "#in flight",
        "#retrying",
        "#parked",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.to_string(),
            self.domain.to_string(),
            names(self),
            self.members.to_string(),
            self.succeeded.to_string(),
            self.pending.to_string(),
            self.in_flight.to_string(),
            self.retrying.to_string(),
            self.parked.to_string(),
        ]
    }
}

impl Shown for GroupReport {
    fn for_people(&self) -> String {
        let order = if self.ordered { "one by one for each pid" } else { "in no particular order" };
        format!(
            "group {} of {}\n  \
             gets       {}, {order}, after position {}\n  \
             members    {}\n  \
             outcome    {} succeeded, {} pending, {} parked, {} discarded\n  \
             pending    {} in flight, {} waiting for their next try\n  \
             progress   settled through position {} of {}",
            self.group,
            self.domain,
            names(self),
            self.start_after,
            self.members,
            self.succeeded,
            self.pending,
            self.parked,
            self.discarded,
            self.in_flight,
            self.retrying,
            self.settled_through,
            self.head,
        )
    }
}

fn names(report: &GroupReport) -> String {
    if report.names.is_empty() {
        return "*".to_owned();
    }
    report.names.iter().map(EventName::as_str).collect::<Vec<_>>().join(", ")
}
