//! A chain to test with: the ack of one event, by one member, and what it appends.

use std::sync::Arc;

use proto::{Attempt, Position, Timestamp};

use super::{Chain, Effects};
use crate::write::append::Append;
use crate::write::group::GroupId;
use crate::write::settlement::{Aside, Outcome, Run, Settlements, SlotMove};

/// The chain that settles the event at `position` in the slot of `moved`.
pub(super) fn example(group: GroupId, position: Position, moved: SlotMove, append: Append) -> Chain {
    let at = Timestamp::default();
    let run = Run {
        slot: moved.slot,
        first: position,
        last: position,
        events: 1,
        consumer: Arc::from("billing/1"),
        attempts: Attempt(1),
        consumed_hub: at,
        consumed_spoke: at,
        settled: at,
        outcome: Outcome::Success,
    };
    let (runs, moves) = (vec![run], vec![moved]);
    let settlement = Settlements { group, runs, retries: Vec::new(), moves, aside: Aside::default() };
    Chain { effects: Effects::new(append), settlement, recorded: false }
}
