//! What became of deliveries: runs of settled events, tries that failed, and where slots stand.

use std::sync::Arc;

use proto::{Attempt, Pid, Position, Timestamp};

use crate::write::group::GroupId;

/// The group under which orphans are recorded.
pub const ORPHANS: GroupId = GroupId(0);

/// Events of one slot of which the tables know that members have them. More are not noted.
pub const OUTS_PER_SLOT_MAX: usize = 16;

/// How far the last position of a run may be from its first. A longer one is refused; split it.
pub const RUN_POSITIONS_MAX: u64 = 4_096;

/// Settlements of one group: all are written, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlements {
    /// The group.
    pub group: GroupId,
    /// What was settled.
    pub runs: Vec<Run>,
    /// What failed and is to be tried again.
    pub retries: Vec<Retry>,
    /// Where the slots stand: one entry for every slot that `runs` or `retries` concern.
    /// It is the fence: if one of them is not this hub's in this epoch, nothing is written.
    pub moves: Vec<SlotMove>,
    /// What else changes.
    pub aside: Aside,
}

/// What settlements change beside outcomes and tries: about parked events, and about what is out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aside {
    /// Settled events that were being replayed.
    pub replayed: Vec<Position>,
    /// Parked events with which their whole processes are parked.
    pub blocking: Vec<Position>,
    /// Processes that are parked as a whole from now on.
    pub pids: Vec<Pid>,
    /// The oldest events that members have, of slots that are named in the moves: at most
    /// [`OUTS_PER_SLOT_MAX`] each. Of other slots the tables keep what they have.
    pub outs: Vec<(u16, Vec<Position>)>,
}

/// Settled events: all that the group gets of one slot in `first..=last`.
///
/// A run of several is a success of one member at the first attempt. What was parked, discarded
/// or tried more than once has a run of its own, `first == last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The slot.
    pub slot: u16,
    /// The first event.
    pub first: Position,
    /// The last event, at most [`RUN_POSITIONS_MAX`] after the first.
    pub last: Position,
    /// How many events the run has.
    pub events: u32,
    /// The service and instance of the member.
    pub consumer: Arc<str>,
    /// Which try it was.
    pub attempts: Attempt,
    /// When the hub gave the first of them to the member.
    pub consumed_hub: Timestamp,
    /// When the member's last answer came.
    pub consumed_spoke: Timestamp,
    /// When the run was settled.
    pub settled: Timestamp,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a settled event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Handled.
    Success,
    /// Given up on and kept aside.
    Parked {
        /// Why.
        reason: String,
    },
    /// Given up on.
    Discarded {
        /// Why.
        reason: String,
    },
}

/// A try that failed, and when the next one is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The event.
    pub position: Position,
    /// Tries so far.
    pub attempts: Attempt,
    /// When the next one is due.
    pub retry_at: Timestamp,
    /// Why the last one failed.
    pub reason: String,
    /// Who had it last.
    pub consumer: Arc<str>,
    /// How often it was with a consumer, or a hub, that was lost.
    pub losses: u32,
}

impl Retry {
    /// How often the event went out at least.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        // The first loss is no failed try.
        self.attempts.0.max(self.losses)
    }
}

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotMove {
    /// The slot.
    pub slot: u16,
    /// The epoch in which this hub holds it.
    pub epoch: u64,
    /// Everything of the slot up to here is settled. It never goes back.
    pub cursor: Position,
}

/// Consecutive events that nobody wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanRun {
    /// The first.
    pub first: Position,
    /// The last.
    pub last: Position,
    /// When that was found.
    pub at: Timestamp,
}
