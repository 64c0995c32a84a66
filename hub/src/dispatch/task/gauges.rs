//! What the dispatcher tells of its groups all the time: how far behind, and for how long.
//!
//! How long is looked up in the tables, one round at a time, so that a slow database has one question
//! from here and no more.

use std::time::Duration;

use proto::{Domain, GroupName, Timestamp};

use super::super::group::Standing;
use super::super::oldest::{Effort, oldest};
use super::{DispatchTask, Done};

/// How often it is looked how old the oldest event of each group is.
const AGES_EVERY: Duration = Duration::from_secs(5);

/// Groups whose oldest event is looked up in one round. The age of more is not told.
const AGES_MAX: usize = 1_000;

/// How long the oldest event of a group has waited for its outcome, in milliseconds.
pub(super) struct Age {
    group: GroupName,
    domain: Domain,
    millis: u64,
}

/// The round of ages that goes on.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    looking: bool,
    looked: Timestamp,
}

impl DispatchTask {
    /// Sets what is known of each group, and looks up what is not.
    pub(super) fn gauge_groups(&mut self, now: Timestamp) {
        for (group, domain, behind) in self.desk.lags() {
            self.metrics.set_group_lag(group, domain, behind);
        }
        if self.gauges.looking || self.desk.is_closing() || now.since(self.gauges.looked) < AGES_EVERY {
            return;
        }
        self.gauges = Gauges { looking: true, looked: now };
        let groups = self.desk.after(None, None, AGES_MAX);
        let (reader, standings) = (self.log.reader.clone(), self.desk.standings(groups));
        self.work.push(Box::pin(async move {
            let mut ages = Vec::with_capacity(standings.len());
            for standing in standings {
                // A database that does not answer is told of elsewhere.
                let Ok(oldest) = oldest(&reader, &standing, Effort::OnePage, now).await else { break };
                let Standing { status, .. } = standing;
                let (group, domain) = (status.report.group, status.report.domain);
                ages.push(Age { group, domain, millis: oldest.map_or(0, |oldest| oldest.age_ms) });
            }
            Done::Ages(ages)
        }));
    }

    pub(super) fn aged(&mut self, ages: Vec<Age>) {
        self.gauges.looking = false;
        for Age { group, domain, millis } in ages {
            if !self.desk.named(&group, Some(&domain)).is_empty() {
                self.metrics.set_group_age(&group, &domain, millis);
            }
        }
    }
}
