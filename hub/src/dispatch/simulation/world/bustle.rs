//! A world in which everything flows: what is said arrives, what is asked is done, and people, crashes and
//! clocks come between. Much more is delivered, parked, taken up again and fired than where each step is
//! one random thing.

use std::time::Duration;

use super::super::broken::Broken;
use super::super::spoke::Temper;
use super::{SPOKES, World};

impl World {
    /// One round of it.
    pub(super) fn bustle(&mut self) -> Result<(), Broken> {
        if self.hub.is_none() {
            self.start_hub();
        }
        let which = self.random.below(SPOKES);
        match self.random.below(8) {
            0 | 1 => self.with_spoke(which, |spoke, world| {
                spoke.publish(&mut world.random, &mut world.next_event, &world.tables);
            }),
            2 | 3 => self.schedule(which),
            4 => self.unpark(),
            5 if self.random.once_in(2) => self.change_groups(),
            6 if self.random.once_in(4) => self.fault(),
            _ => self.bother(which)?,
        }
        self.round(Temper::Moody)
    }

    /// What comes seldom.
    fn bother(&mut self, which: usize) -> Result<(), Broken> {
        match self.random.below(40) {
            0 => self.crash(),
            1 => self.stop()?,
            2 | 3 => self.cut(which),
            4 => self.with_spoke(which, |spoke, world| spoke.leave(&mut world.random)),
            5 => self.with_spoke(which, |spoke, world| spoke.delete(&mut world.random, &world.tables)),
            6 => self.fire_elsewhere()?,
            7 | 8 => {
                if let Some(hub) = &mut self.hub {
                    hub.schedules.miss_news();
                }
            }
            9 => self.now += Duration::from_secs(7),
            10..=12 => self.with_spoke(which, |spoke, world| spoke.consume(&mut world.random)),
            _ => self.staff(),
        }
        Ok(())
    }
}
