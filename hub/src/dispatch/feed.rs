//! One live subscription: told of everything that it wants, at its own pace, from a position on.
//!
//! A feed that keeps up gets events from memory; one that does not is read on from the log. It
//! never skips and never repeats.

use std::sync::Arc;

use db::Wanted;
use proto::limits::CREDIT_EVENTS_MAX;
use proto::message::Scope;
use proto::{Event, ListenerId, Position, Topic};

use super::connection::{ConnectionId, Rooms};
use super::effect::Effect;

/// Positions by which a feed may be behind before it is told that it lags.
const LAG_TOLD: u64 = 1_000;

/// One subscription of one connection.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(super) connection: ConnectionId,
    pub(super) listener: ListenerId,
    topic: Option<Topic>,
    scope: Scope,
    /// Everything up to here was pushed or passed over.
    through: Position,
    credit: u32,
    pub(super) loading: bool,
    told: Told,
    /// The last position that the subscriber knows of, by an event or by being told its place.
    known: Position,
}

/// What the subscriber was last told of its own place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Lagging,
    CaughtUp(Position),
}

/// Whether a feed can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// The next event can come.
    Going,
    /// Credit or room is used up.
    Stopped,
}

impl Feed {
    pub(super) fn new(
        connection: ConnectionId,
        listener: ListenerId,
        topic: Option<Topic>,
        scope: Scope,
        after: Position,
        credit: u32,
    ) -> Self {
        let credit = credit.min(CREDIT_EVENTS_MAX);
        Self {
            connection,
            listener,
            topic,
            scope,
            through: after,
            credit,
            loading: false,
            told: Told::Nothing,
            known: after,
        }
    }

    /// What the feed wants, for a read from the log.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { topic: self.topic.clone(), scope: self.scope, pid: None }
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        let scope = match self.scope {
            Scope::Published => event.publisher.is_some(),
            Scope::Stored => true,
        };
        scope && self.topic.as_ref().is_none_or(|topic| topic.matches(event))
    }

    pub(super) fn credit(&mut self, events: u32) {
        self.credit = self.credit.saturating_add(events).min(CREDIT_EVENTS_MAX);
    }

    /// Where the feed reads on, if it has credit and is not reading already.
    pub(super) fn reads_after(&self) -> Option<Position> {
        (self.credit > 0 && !self.loading).then_some(self.through)
    }

    /// How many events it can take now.
    pub(super) fn room(&self) -> u32 {
        self.credit
    }

    /// Takes the next event that was read, or stops before it.
    pub(super) fn take(&mut self, event: &Arc<Event>, rooms: &mut Rooms, effects: &mut Vec<Effect>) -> Pace {
        if event.position <= self.through {
            return Pace::Going;
        }
        if self.wants(event) {
            if self.credit == 0 || !rooms.has_room(self.connection, event) {
                return Pace::Stopped;
            }
            self.credit -= 1;
            rooms.sent(self.connection, event);
            self.known = event.position;
            effects.push(Effect::Push {
                connection: self.connection,
                listener: self.listener,
                event: Arc::clone(event),
            });
        }
        self.through = event.position;
        Pace::Going
    }

    /// Everything up to `position` was read.
    pub(super) fn read_to(&mut self, position: Position) {
        self.through = self.through.max(position);
    }

    /// Tells the subscriber of its place, when that has changed.
    pub(super) fn tell(&mut self, head: Position, effects: &mut Vec<Effect>) {
        let (connection, listener) = (self.connection, self.listener);
        let behind = head.0.saturating_sub(self.through.0);
        match self.told {
            // While events keep coming they say by themselves how far it is.
            Told::CaughtUp(at) if behind == 0 && at < head => self.told = Told::CaughtUp(head),
            Told::Nothing | Told::Lagging if behind == 0 => {
                effects.push(Effect::CaughtUp { connection, listener, position: head });
                self.told = Told::CaughtUp(head);
                self.known = head;
            }
            Told::CaughtUp(_) if behind >= LAG_TOLD => {
                effects.push(Effect::Lagged { connection, listener, behind });
                self.told = Told::Lagging;
            }
            Told::Nothing | Told::Lagging | Told::CaughtUp(_) => {}
        }
    }
    /// Tells a subscriber that has caught up how far that is, if it cannot know by itself because what came
    /// last was not for it. To be called now and then.
    pub(super) fn tell_again(&mut self, effects: &mut Vec<Effect>) {
        let (connection, listener) = (self.connection, self.listener);
        if let Told::CaughtUp(position) = self.told
            && position > self.known
            && position == self.through
        {
            effects.push(Effect::CaughtUp { connection, listener, position });
            self.known = position;
        }
    }
}
