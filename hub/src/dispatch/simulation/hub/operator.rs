//! What people do about groups of a simulated hub: they take parked events up, pause and resume, and set
//! other rules, all while everything else goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use db::{Act, ChangedGroup, GroupAct, GroupChange, GroupId, Unpark, Unparked};
use proto::{Pid, Position, Refusal, SettingsChange};

use super::super::super::group::UnparkWish;
use super::super::broken::{Broken, rule};
use super::super::tables::Tables;
use super::{Hub, Job, Work};

/// What people have asked for and were not answered.
#[derive(Debug, Default)]
pub(in crate::dispatch::simulation) struct Asked {
    last: u64,
    /// Acts on parked events, by ticket.
    acts: BTreeMap<u64, GroupId>,
    /// The writer will do an act, and be asked for it again because it was not heard of.
    pub(in crate::dispatch::simulation) act_twice: bool,
    changes: std::collections::VecDeque<GroupChange>,
    /// Whether the writer has a change.
    is_changing: bool,
    /// Changes that were made. A group that was read before the last of them may be out of date.
    pub(super) changed: u64,
}

impl Asked {
    /// Whether all is done.
    pub(in crate::dispatch::simulation) fn is_done(&self) -> bool {
        self.acts.is_empty() && self.changes.is_empty() && !self.is_changing
    }

    /// Whether a group that was read after so many changes may have been changed since.
    pub(super) fn since(&self, changes: u64) -> bool {
        self.is_changing || self.changed > changes
    }
}

impl Hub {
    /// Asks for an act on parked events of a group.
    pub(in crate::dispatch::simulation) fn unpark(
        &mut self,
        group: GroupId,
        events: Vec<(Position, u16)>,
        act: Act,
    ) {
        self.asked.last += 1;
        let ticket = self.asked.last;
        let wish = UnparkWish { ticket, events, act, agent: "somebody".to_owned() };
        if self.desk.wish_unpark(group, wish).is_ok() {
            self.asked.acts.insert(ticket, group);
        }
    }

    /// The dispatcher begins an act.
    pub(super) fn begin_unpark(&mut self, ticket: u64, unpark: Unpark) -> Result<(), Broken> {
        let group = self.asked.acts.get(&ticket).copied();
        rule(group == Some(unpark.group), "parked events are taken up on request only", || {
            format!("{ticket}: {unpark:?}")
        })?;
        self.queue.push_back(Job::Unpark { ticket, unpark });
        Ok(())
    }

    pub(super) fn write_unpark(
        &mut self,
        ticket: u64,
        unpark: &Unpark,
        tables: &mut Tables,
    ) -> Result<(), Broken> {
        let mut unparked = tables.unpark(unpark)?;
        if let Some(Unparked { taken, .. }) = unparked.as_ref().filter(|_| unpark.act == Act::Replay) {
            self.watch.replayed(unpark.group, taken.iter().map(|replay| replay.position));
        }
        if std::mem::take(&mut self.asked.act_twice) {
            unparked = tables.unpark(unpark)?;
        }
        self.work.push(Work::Unparked { group: unpark.group, ticket, unparked });
        Ok(())
    }

    pub(super) fn unparked(
        &mut self,
        group: GroupId,
        ticket: u64,
        unparked: Option<&Unparked>,
        now: Duration,
    ) {
        if let Some(unparked) = unparked {
            self.watch.told(group, unparked.taken.iter().map(|replay| replay.position));
        }
        self.asked.acts.remove(&ticket);
        let at = self.at(now);
        self.desk.unparked(group, ticket, unparked, at);
    }

    /// A group has gone, and with it the acts on its parked events.
    pub(super) fn acts_end(&mut self, group: GroupId, tickets: &[u64]) -> Result<(), Broken> {
        let waiting: Vec<_> =
            self.asked.acts.iter().filter(|(_, of)| **of == group).map(|(&ticket, _)| ticket).collect();
        let mut ended = tickets.to_vec();
        ended.sort_unstable();
        rule(waiting == ended, "who waits for an act on a group that has gone is told", || {
            format!("{waiting:?} wait and {ended:?} are told")
        })?;
        self.asked.acts.retain(|_, of| *of != group);
        Ok(())
    }

    /// Asks for a change of groups.
    pub(in crate::dispatch::simulation) fn change(&mut self, change: GroupChange) {
        self.asked.changes.push_back(change);
        self.next_change();
    }

    fn next_change(&mut self) {
        if !self.asked.is_changing
            && let Some(change) = self.asked.changes.pop_front()
        {
            self.asked.is_changing = true;
            self.queue.push_back(Job::Change(change));
        }
    }

    /// A change is durable, or was not made.
    pub(super) fn changed(&mut self, changed: Result<Vec<ChangedGroup>, Refusal>) {
        self.asked.changed += 1;
        self.asked.is_changing = false;
        for changed in changed.unwrap_or_default() {
            if self.desk.has_group(changed.group.id) {
                self.watch.learns(&changed.group, &changed.pauses);
            }
            self.desk.change(changed);
        }
        self.next_change();
    }

    /// Asks for the end of all pauses.
    pub(in crate::dispatch::simulation) fn resume_all(&mut self, tables: &Tables) {
        for rows in tables.groups.values() {
            for pause in &rows.pauses {
                self.change(change_of(rows.group.name.clone(), GroupAct::Resume(pause.pid.clone())));
            }
        }
    }
}

/// A change of all groups of a name.
pub(in crate::dispatch::simulation) fn change_of(group: proto::GroupName, act: GroupAct) -> GroupChange {
    GroupChange { group, domain: None, agent: "somebody".to_owned(), act }
}

/// One setting, to one of a few values.
pub(in crate::dispatch::simulation) fn setting(random: &mut super::Random) -> SettingsChange {
    use proto::{Order, ParkPolicy};
    let number = |random: &mut super::Random, numbers: &[u32]| random.pick(numbers);
    let none = SettingsChange::default();
    match random.below(7) {
        0 => SettingsChange { attempts_max: number(random, &[1, 2, 3, 6]), ..none },
        1 => SettingsChange { backoff_first_ms: number(random, &[1, 200, 900]), ..none },
        2 => SettingsChange { deadline_ms: number(random, &[1_000, 5_000]), ..none },
        3 => SettingsChange { credit_max: number(random, &[1, 2, 10, 1_000]), ..none },
        4 | 5 => SettingsChange { order: random.pick(&[Order::ByPid, Order::None, Order::ByPid]), ..none },
        _ => SettingsChange { park: random.pick(&[ParkPolicy::Event, ParkPolicy::Pid]), ..none },
    }
}

/// A pause or the end of one, of a whole group or one process.
pub(in crate::dispatch::simulation) fn pause(random: &mut super::Random) -> GroupAct {
    let pid = (!random.once_in(3)).then(|| Pid::parse(&format!("p{}", random.below(3))));
    let pid = pid.map(|pid| pid.expect("a letter and a digit make a name"));
    if random.once_in(2) { GroupAct::Pause(pid) } else { GroupAct::Resume(pid) }
}
