//! Consumer groups and their slots, as recorded.

use std::fmt;

use proto::{GroupName, Order, Position, SettingsChange, Start, Topic};

/// The number of a group. 0 is reserved for orphans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A group that is to exist. Its name and its topic's domain say which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupWish {
    /// Its name.
    pub name: GroupName,
    /// What it gets.
    pub topic: Topic,
    /// Where it starts if it is new.
    pub start: Start,
    /// Whether a process's events come one by one.
    pub order: Order,
}

/// A group, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its number.
    pub id: GroupId,
    /// Its name.
    pub name: GroupName,
    /// What it gets.
    pub topic: Topic,
    /// Whether a process's events come one by one.
    pub order: Order,
    /// The settings that people have chosen; what is `None` is the hub's default, and of the order
    /// what the group was made with.
    pub settings: SettingsChange,
    /// It gets what comes after this position.
    pub start_after: Position,
    /// All [`proto::limits::SLOTS_PER_GROUP`] of them, by number.
    pub slots: Vec<Slot>,
}

/// One slot of a group: where to start reading, and what was settled in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub slot: u16,
    /// How often it changed hands. Settlements name it.
    pub epoch: u64,
    /// Everything of this slot up to here is settled; what is above may be settled too.
    pub cursor: Position,
    /// Events settled as success.
    pub succeeded: u64,
    /// Events settled as parked.
    pub parked: u64,
    /// Events settled as discarded.
    pub discarded: u64,
}
