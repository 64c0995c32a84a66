//! The settings and pauses of a group as its dispatcher was told them last, and what they forbid.

use db::{Group, GroupPause};
use proto::limits::CREDIT_EVENTS_MAX;
use proto::{Event, Order, ParkPolicy};

use super::super::RULES;
use super::super::broken::{Broken, rule};

/// What is in force in one group.
#[derive(Debug, Clone)]
pub(super) struct InForce {
    pub(super) order: Order,
    pub(super) park: ParkPolicy,
    /// The fewest tries that an event had since the hub has the group.
    pub(super) attempts_least: u32,
    credit_max: u32,
    pauses: Vec<GroupPause>,
}

impl InForce {
    pub(super) fn new(group: &Group, pauses: &[GroupPause], before: Option<&Self>) -> Self {
        let attempts = group.settings.attempts_max.unwrap_or(RULES.attempts_max);
        Self {
            order: group.settings.order.unwrap_or(group.order),
            park: group.settings.park.unwrap_or(RULES.park),
            attempts_least: before.map_or(attempts, |before| before.attempts_least.min(attempts)),
            credit_max: group.settings.credit_max.unwrap_or(CREDIT_EVENTS_MAX),
            pauses: pauses.to_vec(),
        }
    }

    /// Whether `event` may go out to a member that would have so many events then.
    pub(super) fn allow(&self, event: &Event, with_member: usize) -> Result<(), Broken> {
        let pause = self.pauses.iter().find(|pause| pause.pid.as_ref().is_none_or(|pid| *pid == event.pid));
        rule(pause.is_none(), "nothing goes out of what is paused", || {
            format!("{} goes out in spite of {pause:?}", event.position)
        })?;
        let is_within = u32::try_from(with_member).is_ok_and(|with_member| with_member <= self.credit_max);
        rule(is_within, "a member has no more in flight than its group allows", || {
            format!("{with_member} with {} of {}", event.position, self.credit_max)
        })
    }
}
