//! The consumers and subscriptions of one connection, as the hub counts them.

use std::collections::BTreeMap;

use crate::limits::{CREDIT_EVENTS_MAX, LISTENERS_PER_CONNECTION_MAX};
use crate::number::ListenerId;
use crate::session::Violation;
use crate::session::bounds::within;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Consumer,
    Subscription,
}

#[derive(Debug)]
struct Listener {
    kind: Kind,
    /// Events that it allows: of a consumer at any time, of a subscription from now on.
    allowed: u32,
    leaving: bool,
}

#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_id: BTreeMap<ListenerId, Listener>,
    /// The highest number so far. Numbers only grow, so a lower one that is not here was closed.
    last: ListenerId,
}

impl Listeners {
    pub(super) fn open(&mut self, listener: ListenerId, kind: Kind, credit: u32) -> Result<(), Violation> {
        if listener <= self.last {
            return Err(Violation::ListenerNumber { listener, last: self.last });
        }
        let found = self.by_id.len() + 1;
        within("LISTENERS_PER_CONNECTION_MAX", found, 0, LISTENERS_PER_CONNECTION_MAX)?;
        self.last = listener;
        self.by_id.insert(listener, Listener { kind, allowed: credit, leaving: false });
        Ok(())
    }

    /// Whether there is something to leave; a closed listener has nothing.
    pub(super) fn leave(&mut self, listener: ListenerId) -> Result<bool, Violation> {
        self.check_known("Leave", listener)?;
        match self.by_id.get_mut(&listener) {
            Some(open) if open.leaving => Err(Violation::WrongListener { what: "a second Leave", listener }),
            Some(open) => {
                open.leaving = true;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    pub(super) fn close(&mut self, listener: ListenerId) {
        self.by_id.remove(&listener);
    }

    /// Closes `listener` unless it is leaving already. Whether it did.
    pub(super) fn drop_open(&mut self, listener: ListenerId) -> bool {
        let open = self.by_id.get(&listener).is_some_and(|listener| !listener.leaving);
        if open {
            self.by_id.remove(&listener);
        }
        open
    }

    /// How much of `events` is added to an open listener, if anything is.
    pub(super) fn credit(&mut self, listener: ListenerId, events: u32) -> Result<Option<u32>, Violation> {
        self.check_known("Credit", listener)?;
        let Some(open) = self.by_id.get_mut(&listener).filter(|open| !open.leaving) else { return Ok(None) };
        let added = events.min(CREDIT_EVENTS_MAX.saturating_sub(open.allowed));
        open.allowed += added;
        Ok((added > 0).then_some(added))
    }

    /// Whether `listener` is an open consumer, which takes nothing more from now on.
    pub(super) fn enough(&self, listener: ListenerId) -> Result<bool, Violation> {
        self.check_known("Enough", listener)?;
        Ok(self.is_open(listener, Kind::Consumer))
    }

    /// Refuses an answer to what never was a consumer.
    pub(super) fn check_answered(&self, listener: ListenerId) -> Result<(), Violation> {
        self.check_known("an answer", listener)?;
        match self.by_id.get(&listener) {
            Some(open) if open.kind == Kind::Subscription => {
                Err(Violation::WrongListener { what: "an answer", listener })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn is_open(&self, listener: ListenerId, kind: Kind) -> bool {
        self.by_id.get(&listener).is_some_and(|open| open.kind == kind && !open.leaving)
    }

    /// Whether a delivery may go to `listener`.
    pub(super) fn delivered(&self, listener: ListenerId) -> bool {
        self.is_open(listener, Kind::Consumer)
    }

    /// Whether an event may go to the subscription `listener`, which uses up its credit.
    pub(super) fn pushed(&mut self, listener: ListenerId) -> bool {
        match self.by_id.get_mut(&listener) {
            Some(open) if open.kind == Kind::Subscription && !open.leaving => {
                open.allowed = open.allowed.saturating_sub(1);
                true
            }
            Some(_) | None => false,
        }
    }

    fn check_known(&self, what: &'static str, listener: ListenerId) -> Result<(), Violation> {
        if listener > self.last { Err(Violation::WrongListener { what, listener }) } else { Ok(()) }
    }
}
