//! Which coming of a group it is: a group that was given up and is taken again is another one.
//!
//! What was begun for the one before must not be taken for what is under way now: a number that counts
//! how often groups came tells them apart.

use db::GroupId;

use super::{Desk, Effect};

/// The number of one coming of a group to this hub. No two have the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::dispatch) struct Generation(u64);

impl Generation {
    /// That of the group that comes next.
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Desk {
    /// That of a group; `None` if it is not here.
    pub(in crate::dispatch) fn generation(&self, group: GroupId) -> Option<Generation> {
        self.groups.get(&group).map(|group| group.generation)
    }

    /// The writer has recorded outcomes that the group handed over in `generation`.
    pub(in crate::dispatch) fn flushed_in(
        &mut self,
        group: GroupId,
        generation: Option<Generation>,
        effects: &mut Vec<Effect>,
    ) {
        if self.generation(group) == generation {
            self.flushed(group, effects);
        }
    }
}
