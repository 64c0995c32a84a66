//! Acts on parked events, from who asks for them to the writer and back.

use std::collections::HashMap;

use db::{GroupId, Unparked, WriteError};
use proto::{Position, Refusal};

use super::DispatchTask;
use crate::dispatch::group::UnparkWish;
use crate::dispatch::handle::{UnparkOrder, Unparking};

/// An act that the writer has done, or not.
pub(super) struct Done {
    pub(super) group: GroupId,
    pub(super) ticket: u64,
    pub(super) outcome: Result<Unparked, WriteError>,
}

/// Those who wait for an act, by its number. The groups bound how many there are.
#[derive(Default)]
pub(super) struct Asked {
    last: u64,
    waiting: HashMap<u64, Unparking>,
}

impl Asked {
    /// These acts end without an answer.
    pub(super) fn end(&mut self, tickets: &[u64]) {
        for ticket in tickets {
            self.answer(*ticket, Err(Refusal::Unavailable { reason: "the group was lost".to_owned() }));
        }
    }

    fn answer(&mut self, ticket: u64, outcome: Result<Vec<Position>, Refusal>) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            let _asker_gone = reply.send(outcome);
        }
    }
}

impl DispatchTask {
    /// Drops a group that is not this hub's any more, and the acts on its parked events.
    pub(super) fn drop_group(&mut self, group: GroupId) {
        let tickets = self.desk.drop_group(group);
        self.unparks.end(&tickets);
    }

    pub(super) fn wish_unpark(&mut self, group: GroupId, wish: UnparkOrder, reply: Unparking) {
        self.unparks.last += 1;
        let ticket = self.unparks.last;
        self.unparks.waiting.insert(ticket, reply);
        let UnparkOrder { events, act, agent } = wish;
        if let Err(refusal) = self.desk.wish_unpark(group, UnparkWish { ticket, events, act, agent }) {
            self.unparks.answer(ticket, Err(refusal));
        }
    }

    pub(super) fn unparked(&mut self, done: Done) {
        let Done { group, ticket, outcome } = done;
        self.desk.unparked(group, ticket, outcome.as_ref().ok(), self.clock.now());
        let taken = |unparked: Unparked| unparked.taken.iter().map(|replay| replay.position).collect();
        self.unparks.answer(ticket, outcome.map(taken).map_err(crate::refuse::write));
    }
}
