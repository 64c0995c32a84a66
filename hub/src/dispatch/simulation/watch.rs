//! What one life of a hub has handed out and accepted: the promises of delivery, checked at the very
//! moment at which a delivery leaves or an outcome is recorded.

mod in_force;

use std::collections::{BTreeMap, BTreeSet};

use db::{Group, GroupId, GroupPause, Outcome, Run, Settlements};
use proto::report::DeliveryState;
use proto::{Attempt, Event, Order, ParkPolicy, Pid, Position};

use self::in_force::InForce;
use super::super::connection::ConnectionId;
use super::super::desk::Desk;
use super::super::group::{Ended, MemberKey};
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
    /// What is taken up in the tables and not by the dispatcher yet.
    untold: BTreeSet<(GroupId, Position)>,
    /// What was given up with its whole process.
    blocking: BTreeMap<(GroupId, Position), Pid>,
    /// What members have, however late they are with it.
    with: BTreeMap<MemberKey, BTreeSet<(Position, Attempt)>>,
    in_force: BTreeMap<GroupId, InForce>,
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
        let in_force = self.in_force.get(&group).cloned();
        let Some(in_force) = in_force else { return rule(false, "only groups that are here deliver", seen) };
        let with = self.with.entry(member).or_default();
        with.insert((event.position, attempt));
        in_force.allow(event, with.len())?;
        if in_force.order == Order::ByPid {
            // What was deleted before its outcome was recorded blocks nobody who is replayed.
            let blocks = |((of, at), pid): (&(GroupId, Position), &Pid)| {
                *of == group && *at < event.position && *pid == event.pid && !tables.deleted.contains(at)
            };
            let is_parked = rows.blocks(&event.pid, event.position) || self.blocking.iter().any(blocks);
            rule(!is_parked, "nothing of a parked process goes out", seen)?;
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
            let is_over = rows.settled.contains_key(&other.position) || self.accepted.contains_key(&place);
            if is_over || self.untold.contains(&place) {
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
            // After a restart a replayed event goes before the log is read; there can only be something
            // before it if the group was unordered when it was parked.
            let is_unread = matches!(state, Some(DeliveryState::NotRead { .. }));
            if is_unread && rows.is_replayed(event.position) {
                continue;
            }
            // Parked without an answer: its last try ran out of time, or was lost with a hub.
            let tries = self.tries.get(&place).copied().unwrap_or_default();
            let was_tried = tries > 0
                || rows.retries.contains_key(&other.position)
                || rows.outs.values().any(|outs| outs.contains(&other.position));
            let given_up = was_tried && matches!(state, Some(DeliveryState::Succeeded));
            rule(given_up, "a process's events come in order", || {
                format!("{} of group {group} leaves before {} ({state:?})", event.position, other.position)
            })?;
        }
        Ok(())
    }

    /// A member has given something back.
    pub(super) fn back(&mut self, member: MemberKey, given: (Position, Attempt)) {
        if let Some(with) = self.with.get_mut(&member) {
            with.remove(&given);
        }
    }

    /// A group has these settings and pauses from now on.
    pub(super) fn learns(&mut self, group: &Group, pauses: &[GroupPause]) {
        let in_force = InForce::new(group, pauses, self.in_force.get(&group.id));
        self.in_force.insert(group.id, in_force);
    }

    /// The tables have it that these are to be delivered again, with failures counted anew.
    pub(super) fn replayed(&mut self, group: GroupId, positions: impl Iterator<Item = Position>) {
        for place in positions.map(|position| (group, position)) {
            self.accepted.remove(&place);
            self.tries.remove(&place);
            self.failed.remove(&place);
            self.untold.insert(place);
        }
    }

    /// The dispatcher has heard that these are not parked any more.
    pub(super) fn told(&mut self, group: GroupId, positions: impl Iterator<Item = Position>) {
        for place in positions.map(|position| (group, position)) {
            self.untold.remove(&place);
            self.blocking.remove(&place);
        }
    }

    /// An answer was taken.
    pub(super) fn answered(
        &mut self,
        tables: &Tables,
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
            Ended::Succeeded => drop(self.accepted.insert(place, ended)),
            Ended::Parked => {
                self.accepted.insert(place, ended);
                let blocks =
                    |in_force: &&InForce| in_force.order == Order::ByPid && in_force.park == ParkPolicy::Pid;
                let event = self.in_force.get(&group).filter(blocks).and_then(|_| tables.event(position));
                self.blocking.extend(event.map(|event| (place, event.pid.clone())));
            }
            Ended::Failed => *self.failed.entry(place).or_default() += 1,
            Ended::Stale | Ended::Released | Ended::Progressing => {}
        }
        Ok(())
    }

    /// A connection is gone: nothing is with its members any more.
    pub(super) fn gone(
        &mut self,
        desk: &Desk,
        tables: &Tables,
        connection: ConnectionId,
    ) -> Result<(), Broken> {
        self.with.retain(|member, _| member.connection != connection);
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
    pub(super) fn recorded(&self, settlements: &Settlements, tables: &Tables) -> Result<(), Broken> {
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
                    let tries = self.in_force.get(&group).map_or(u32::MAX, |rules| rules.attempts_least);
                    let right = asked || run.attempts.0 >= tries || is_behind(run, settlements, tables);
                    rule(
                        right,
                        "an event is parked when a member says so, its tries are used up, or its process is parked",
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
        self.untold.retain(|(of, _)| *of != group);
        self.blocking.retain(|(of, _), _| *of != group);
        self.in_force.remove(&group);
    }

    /// A member is told that it has left.
    pub(super) fn left(&self, member: MemberKey, tables: &Tables) -> Result<(), Broken> {
        let answered = self
            .accepted
            .keys()
            .filter(|place| self.out.get(place).is_some_and(|(holder, _)| *holder == member));
        for (group, position) in answered {
            let rows = tables.groups.get(&group.0);
            let recorded = tables.deleted.contains(position)
                || rows.is_some_and(|rows| rows.settled.contains_key(position));
            rule(recorded, "who has left has all its answers recorded", || {
                format!("{member:?} has left, {position} of group {group} is not settled")
            })?;
        }
        Ok(())
    }

    /// A member is sent away.
    pub(super) fn sent_away(&mut self, member: MemberKey) {
        self.with.remove(&member);
    }
}

/// Whether an event is parked behind another one with which its process is parked, by the tables or by
/// what is about to be recorded.
fn is_behind(run: &Run, settlements: &Settlements, tables: &Tables) -> bool {
    let rows = tables.groups.get(&settlements.group.0);
    let (Some(rows), Some(event)) = (rows, tables.event(run.first)) else { return true };
    let mut now = settlements.aside.blocking.iter().filter(|position| **position < run.first);
    // It parks its process with the same flush, though it was deleted since and has no row.
    let is_gone = |other: &Run| {
        let is_parked = other.first < run.first && matches!(other.outcome, Outcome::Parked { .. });
        is_parked && tables.deleted_pids.get(&other.first) == Some(&event.pid)
    };
    rows.blocks(&event.pid, run.first)
        || (settlements.aside.pids.contains(&event.pid) && settlements.runs.iter().any(is_gone))
        || rows.blocked_by_deleted.contains(&event.pid)
        || now.any(|position| tables.event(*position).is_none_or(|other| other.pid == event.pid))
}

/// Where an event stands in a group, as `eventflow why` would say.
pub(super) fn state(desk: &Desk, group: GroupId, event: &Event) -> Option<DeliveryState> {
    let story = desk.stories(event).into_iter().find(|(of, _)| *of == group);
    story.map(|(_, story)| story.state)
}
