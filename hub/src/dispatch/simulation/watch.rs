//! What one life of a hub has handed out and accepted: the promises of delivery, checked at the very
//! moment at which a delivery leaves or an outcome is recorded.

use std::collections::{BTreeMap, BTreeSet};

use db::{GroupId, Outcome, Settlements};
use proto::report::DeliveryState;
use proto::{Attempt, Event, Order, Position};

use super::super::connection::ConnectionId;
use super::super::desk::Desk;
use super::super::group::{Ended, MemberKey};
use super::RULES;
use super::broken::{Broken, rule};
use super::tables::Tables;

/// Deliveries and accepted answers since the hub started.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Who was given which attempt last.
    out: BTreeMap<(GroupId, Position), (MemberKey, Attempt)>,
    /// How often each event went out.
    tries: BTreeMap<(GroupId, Position), u32>,
    /// How often each event failed by an answer.
    failed: BTreeMap<(GroupId, Position), u32>,
    /// What was answered for good.
    accepted: BTreeMap<(GroupId, Position), Ended>,
}

impl Watch {
    /// A delivery leaves.
    pub(super) fn delivered(
        &mut self,
        desk: &Desk,
        tables: &Tables,
        group: GroupId,
        member: MemberKey,
        attempt: Attempt,
        event: &Event,
    ) -> Result<(), Broken> {
        let place = (group, event.position);
        let seen = || format!("group {group}, {member:?}, attempt {attempt}, {event:?}");
        let Some(rows) = tables.groups.get(&group.0) else {
            return rule(false, "only groups that are recorded get events", seen);
        };
        let before = self.out.insert(place, (member, attempt));
        *self.tries.entry(place).or_default() += 1;
        if tables.deleted.contains(&event.position) {
            return Ok(());
        }
        rule(rows.wants(event), "a group gets what it wants and nothing else", seen)?;
        rule(!rows.settled.contains_key(&event.position), "what is settled does not come again", seen)?;
        rule(!self.accepted.contains_key(&place), "what was answered for good does not come again", seen)?;
        rule(before.is_none_or(|(_, last)| last < attempt), "attempts count up", seen)?;
        if rows.group.order == Order::ByPid {
            self.in_order(desk, tables, group, event)?;
        }
        Ok(())
    }

    /// Everything of the process that comes before is over, and nothing of it that comes after is out.
    fn in_order(&self, desk: &Desk, tables: &Tables, group: GroupId, event: &Event) -> Result<(), Broken> {
        let Some(rows) = tables.groups.get(&group.0) else { return Ok(()) };
        let same = |other: &&std::sync::Arc<Event>| {
            other.pid == event.pid && other.position != event.position && rows.wants(other)
        };
        for other in tables.events().filter(same) {
            let place = (group, other.position);
            if rows.settled.contains_key(&other.position) || self.accepted.contains_key(&place) {
                continue;
            }
            let state = state(desk, group, other);
            let is_out =
                matches!(state, Some(DeliveryState::InFlight { .. } | DeliveryState::Committing { .. }));
            rule(!is_out, "of one process one event is out at a time", || {
                format!("{} of group {group} leaves while {} is out", event.position, other.position)
            })?;
            if other.position > event.position {
                continue;
            }
            // Parked without an answer: its last try ran out of time.
            let tries = self.tries.get(&place).copied().unwrap_or_default();
            let given_up = tries > 0 && matches!(state, Some(DeliveryState::Succeeded));
            rule(given_up, "a process's events come in order", || {
                format!("{} of group {group} leaves before {} ({state:?})", event.position, other.position)
            })?;
        }
        Ok(())
    }

    /// An answer was taken.
    pub(super) fn answered(
        &mut self,
        group: GroupId,
        member: MemberKey,
        (position, attempt): (Position, Attempt),
        ended: Ended,
    ) -> Result<(), Broken> {
        let place = (group, position);
        let holder = self.out.get(&place).copied();
        rule(holder == Some((member, attempt)), "only the holder's answer to its attempt counts", || {
            format!("{ended:?} of {member:?} for attempt {attempt} of {position}, which {holder:?} has")
        })?;
        match ended {
            Ended::Succeeded | Ended::Parked => drop(self.accepted.insert(place, ended)),
            Ended::Failed => *self.failed.entry(place).or_default() += 1,
            Ended::Stale | Ended::Released | Ended::Progressing => {}
        }
        Ok(())
    }

    /// A connection is gone: nothing is with its members any more.
    pub(super) fn gone(&self, desk: &Desk, tables: &Tables, connection: ConnectionId) -> Result<(), Broken> {
        let of_it = self.out.iter().filter(|(_, (member, _))| member.connection == connection);
        for ((group, position), _) in of_it {
            let Some(event) = tables.event(*position) else { continue };
            let held = match state(desk, *group, event) {
                Some(DeliveryState::InFlight { .. }) => {
                    desk.holder(*group, *position).is_some_and(|member| member.connection == connection)
                }
                _ => false,
            };
            rule(!held, "a connection that is gone holds nothing", || {
                format!("{position} of group {group} is with {}", connection.0)
            })?;
        }
        Ok(())
    }

    /// The hub has stopped in order: the tables know every failure that it was told of.
    pub(super) fn stopped(&self, tables: &Tables) -> Result<(), Broken> {
        for ((group, position), failures) in &self.failed {
            let Some(rows) = tables.groups.get(&group.0) else { continue };
            if rows.settled.contains_key(position) || tables.deleted.contains(position) {
                continue;
            }
            let known = rows.retries.get(position).map_or(0, |retry| retry.attempts.0);
            rule(known >= *failures, "failures survive a stop of the hub", || {
                format!("{position} of group {group} failed {failures} times, recorded are {known}")
            })?;
        }
        Ok(())
    }

    /// Outcomes are about to be recorded: each has to be what a member said.
    pub(super) fn recorded(&self, settlements: &Settlements) -> Result<(), Broken> {
        let group = settlements.group;
        for run in &settlements.runs {
            let said: BTreeSet<_> = self
                .accepted
                .range((group, run.first)..=(group, run.last))
                .filter(|(_, ended)| **ended == Ended::Succeeded)
                .map(|((_, position), _)| *position)
                .collect();
            match run.outcome {
                Outcome::Success => {
                    let ends = [run.first, run.last];
                    rule(
                        ends.iter().all(|end| said.contains(end)),
                        "a success is recorded only of what a member acked",
                        || format!("{run:?}, acked were {said:?}"),
                    )?;
                }
                Outcome::Parked { .. } => {
                    let asked = self.accepted.get(&(group, run.first)) == Some(&Ended::Parked);
                    rule(
                        asked || run.attempts.0 >= RULES.attempts_max,
                        "an event is parked when a member says so or its tries are used up",
                        || format!("{run:?}"),
                    )?;
                }
                Outcome::Discarded { .. } => {}
            }
        }
        Ok(())
    }

    /// A group is not this hub's any more; what of it comes again is not compared.
    pub(super) fn dropped(&mut self, group: GroupId) {
        self.out.retain(|(of, _), _| *of != group);
        self.tries.retain(|(of, _), _| *of != group);
        self.failed.retain(|(of, _), _| *of != group);
        self.accepted.retain(|(of, _), _| *of != group);
    }
}

/// Where an event stands in a group, as `eventflow why` would say.
pub(super) fn state(desk: &Desk, group: GroupId, event: &Event) -> Option<DeliveryState> {
    let story = desk.stories(event).into_iter().find(|(of, _)| *of == group);
    story.map(|(_, story)| story.state)
}
