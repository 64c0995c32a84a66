//! Events that are deleted while they are in hand: they need no outcome, and hold nothing back.
//!
//! What a member has at that moment stays with it, and its ack is recorded like any other. Otherwise
//! the event is let go when it comes back, because nobody is to see it again.

use proto::Position;

use super::{Group, Origin, State};

impl Group {
    /// An event was deleted: it needs no outcome any more. One that a member has right now may still
    /// succeed, and is let go when it comes back otherwise.
    pub(in crate::dispatch) fn forget(&mut self, position: Position) {
        self.parked.forget(position);
        let Some(entry) = self.in_hand.get_mut(&position) else { return };
        match entry.state {
            State::Out { .. } | State::Committing { .. } => entry.deleted = true,
            State::Behind | State::Ready | State::Fetching | State::RetryAt(_) | State::Held => {
                self.let_go(position);
            }
        }
    }

    /// Lets an event go that has come back and was deleted meanwhile; whether it was.
    pub(super) fn is_gone(&mut self, position: Position) -> bool {
        let is_gone = self.in_hand.get(&position).is_some_and(|entry| entry.deleted);
        if is_gone {
            self.let_go(position);
        }
        is_gone
    }

    /// Takes an event out of hand that needs no outcome.
    fn let_go(&mut self, position: Position) {
        let Some(entry) = self.in_hand.get(&position) else { return };
        match (entry.origin, self.lines.get_mut(usize::from(entry.slot))) {
            (Origin::Log, Some(line)) => line.forget(position),
            (Origin::Log, None) => {}
            (Origin::Replay, _) => self.replays.forget(position),
        }
        self.remove(position);
    }
}
