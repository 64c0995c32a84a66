//! The end of a world: nothing goes wrong any more, so everything that is owed has to come.

use std::time::Duration;

use proto::session::Listen;

use super::super::broken::{Broken, rule};
use super::super::spoke::{GROUPS, Temper, group};
use super::super::watch;
use super::{SPOKES, World};

/// Rounds of the calm after which what has not come never comes.
const CALM_ROUNDS: usize = 4_000;

impl World {
    /// Nothing goes wrong any more: everything that is owed comes, and then everything is settled.
    pub(super) fn calm(&mut self) -> Result<(), Broken> {
        self.note(|| "calm".to_owned());
        if self.hub.as_ref().is_some_and(|hub| hub.schedules.outdone) {
            self.crash();
        }
        if self.hub.is_none() {
            self.start_hub();
        }
        let mut owed = None;
        for round in 0..CALM_ROUNDS {
            self.round(Temper::Diligent)?;
            // The groups that are there have to have a member each.
            if round % 50 == 20 {
                self.staff();
            }
            // What was asked for before the calm may be a pause.
            if let Some(hub) = self.hub.as_mut().filter(|hub| hub.asked.is_done()) {
                hub.resume_all(&self.tables);
            }
            owed = self.owed();
            if round > 30 && owed.is_none() {
                return self.after_the_calm();
            }
        }
        rule(owed.is_none(), "what is owed comes in the end", || owed.unwrap_or_default())
    }

    /// Everything that is on its way arrives, and every spoke answers what it has.
    pub(super) fn round(&mut self, temper: Temper) -> Result<(), Broken> {
        for which in 0..SPOKES {
            let gone = self
                .spokes
                .get(which)
                .and_then(|spoke| self.wires.get(&spoke.link?).filter(|wire| wire.cut).and(spoke.link));
            if let Some(connection) = gone {
                if let Some(hub) = &mut self.hub {
                    hub.gone(connection, &self.tables)?;
                }
                self.disconnect(which);
            }
            self.connect(which);
            self.with_spoke(which, |spoke, world| {
                for _ in 0..spoke.holds() {
                    spoke.answer(&mut world.random, temper);
                }
                spoke.give_back(&mut world.random, temper);
            });
            self.push(which);
            self.talk(which)?;
            if let Some(wire) = self.spokes.get(which).and_then(|spoke| self.wires.get_mut(&spoke.link?)) {
                wire.to_hub.flow_all();
                wire.to_spoke.flow_all();
            }
            self.hear(which)?;
        }
        let Some(hub) = &mut self.hub else { return Ok(()) };
        // Ends of links that nobody has any more are noticed by their silence.
        hub.write(usize::MAX, &mut self.tables, self.now)?;
        hub.tell_commit(self.now);
        hub.schedules.tell_news(usize::MAX, hub.at(self.now));
        for work in std::mem::take(&mut hub.work) {
            hub.finish(work, 100, &self.tables, self.now)?;
        }
        hub.turn(&self.tables, self.now)?;
        let wake = hub.wake_at(self.now).saturating_sub(self.now);
        self.now += wake.clamp(Duration::from_millis(1), Duration::from_millis(400));
        self.timers()?;
        self.turn()
    }

    /// Every group without a member gets one.
    pub(super) fn staff(&mut self) {
        let Some(hub) = &self.hub else { return };
        let staffed = |which: &usize| {
            let Listen::Consume { group, topic, .. } = group(*which, 8) else { return true };
            let rows = self
                .tables
                .groups
                .values()
                .find(|rows| rows.group.name == group && rows.group.topic.domain == topic.domain);
            rows.is_some_and(|rows| hub.members_of(rows.group.id) > 0)
        };
        let without: Vec<_> = (0..GROUPS).filter(|which| !staffed(which)).collect();
        for which in without {
            if let Some(spoke) = self.spokes.get_mut(which % SPOKES) {
                let _full = spoke.session.listen(group(which, 8));
            }
        }
    }

    /// What has not come yet.
    fn owed(&self) -> Option<String> {
        if self.hub.as_ref().is_some_and(|hub| !hub.asked.is_done()) {
            return Some("people were not answered".to_owned());
        }
        for rows in self.tables.groups.values() {
            let open = self
                .tables
                .events()
                .find(|event| rows.wants(event) && !rows.settled.contains_key(&event.position));
            if let Some(event) = open {
                let state = self.hub.as_ref().and_then(|hub| watch::state(&hub.desk, rows.group.id, event));
                return Some(format!(
                    "group {} of {} has not settled {}: {state:?}",
                    rows.group.name, rows.group.topic.domain, event.position
                ));
            }
        }
        if let Some(due) = self.tables.first_due() {
            return Some(format!("a schedule is pending: {due:?}"));
        }
        self.spokes.iter().find_map(|spoke| spoke.owed(&self.tables))
    }

    /// A stop in order leaves nothing to read again.
    fn after_the_calm(&mut self) -> Result<(), Broken> {
        self.stop()?;
        let head = self.tables.head();
        for rows in self.tables.groups.values() {
            self.figures.settled += rows.settled.len();
            self.figures.unparked += rows.acts();
            let behind = rows.group.slots.iter().find(|slot| slot.cursor < head);
            rule(behind.is_none(), "after a stop in order every cursor is at the end", || {
                format!("{behind:?} of group {}, the log ends at {head}", rows.group.name)
            })?;
            let left = rows.retries.keys().find(|position| !self.tables.deleted.contains(position));
            rule(left.is_none(), "what is settled leaves no retry behind", || {
                format!("{left:?} of {:?}", rows.retries)
            })?;
        }
        Ok(())
    }
}
