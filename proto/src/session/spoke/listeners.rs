//! The consumers and subscriptions of a spoke, kept over reconnects.
//!
//! A consumer starts every link with all of its credit. A subscription starts after the last event
//! that it was told of, with its credit less what the application has not given back.

use std::collections::{BTreeMap, VecDeque};

use super::asked::RequestError;
use super::event::Listen;
use super::outbox::say;
use super::retiring::Members;
use crate::filter::Start;
use crate::limits::{CREDIT_EVENTS_MAX, LISTENERS_PER_CONNECTION_MAX};
use crate::message::{Request, SpokeMessage, Verdict};
use crate::number::{ListenerId, Position};
use crate::session::Violation;
use crate::session::bounds::bound_request;

/// How far a listener is on this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unsaid,
    /// The hub has not said yet that it is open.
    Said,
    Open,
    Leaving,
}

impl State {
    /// Whether what comes for it is still taken.
    fn is_heard(self) -> bool {
        match self {
            Self::Said | Self::Open => true,
            Self::Unsaid | Self::Leaving => false,
        }
    }
}

#[derive(Debug)]
struct Listener {
    listen: Listen,
    state: State,
    /// What may be in flight to it.
    window: u32,
    /// Credit to be given that is not said yet.
    unsaid: u32,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Consumer {
        /// Deliveries of this link without a final answer.
        in_flight: u32,
    },
    Subscription {
        /// It has been told of everything up to here.
        place: Option<Position>,
        /// Events that the application has not given back, of whichever link.
        held: u32,
        /// Events that the hub may still tell.
        allowed: u32,
    },
}

#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_id: BTreeMap<ListenerId, Listener>,
    last: u32,
    to_say: VecDeque<ListenerId>,
    to_credit: VecDeque<ListenerId>,
    to_leave: VecDeque<ListenerId>,
}

impl Listeners {
    pub(super) fn add(&mut self, listen: Listen) -> Result<ListenerId, RequestError> {
        if self.by_id.len() >= LISTENERS_PER_CONNECTION_MAX {
            return Err(RequestError::TooManyListeners { max: LISTENERS_PER_CONNECTION_MAX });
        }
        let listener = ListenerId(self.last + 1);
        let window = listen.credit().clamp(1, CREDIT_EVENTS_MAX);
        bound_request(&mut listen.request(listener, listen.start(), window))
            .map_err(RequestError::OutOfBounds)?;
        let role = match &listen {
            Listen::Consume { .. } => Role::Consumer { in_flight: 0 },
            Listen::Subscribe { .. } => Role::Subscription { place: None, held: 0, allowed: 0 },
        };
        self.last = listener.0;
        self.by_id.insert(listener, Listener { listen, state: State::Unsaid, window, unsaid: 0, role });
        self.to_say.push_back(listener);
        Ok(listener)
    }

    /// Whether that closed it at once, because the hub does not know of it.
    pub(super) fn leave(&mut self, listener: ListenerId) -> bool {
        let Some(open) = self.by_id.get_mut(&listener) else { return false };
        match open.state {
            State::Unsaid => self.by_id.remove(&listener).is_some(),
            State::Said | State::Open => {
                open.state = State::Leaving;
                self.to_leave.push_back(listener);
                false
            }
            State::Leaving => false,
        }
    }

    pub(super) fn remove(&mut self, listener: ListenerId) {
        self.by_id.remove(&listener);
    }

    /// The link is gone. Gives back the listeners that were leaving it, which are closed now.
    pub(super) fn unsay(&mut self) -> Vec<ListenerId> {
        let leaving: Vec<_> =
            self.by_id.iter().filter(|(_, open)| open.state == State::Leaving).map(|(id, _)| *id).collect();
        self.by_id.retain(|_, open| open.state != State::Leaving);
        self.by_id.values_mut().for_each(Listener::unsay);
        self.to_credit.clear();
        self.to_leave.clear();
        self.to_say = self.by_id.keys().copied().collect();
        leaving
    }

    /// Another log: closes the subscriptions that have a position of the one before.
    pub(super) fn forget_places(&mut self) -> Vec<(ListenerId, Position)> {
        let placed: Vec<_> =
            self.by_id.iter().filter_map(|(id, open)| Some((*id, open.position()?))).collect();
        placed.iter().for_each(|(id, _)| self.remove(*id));
        placed
    }

    /// Refused by a hub that is stopping: it is said again on the next link, unless it is leaving.
    pub(super) fn interrupted(&mut self, listener: ListenerId) -> bool {
        match self.by_id.get_mut(&listener) {
            Some(open) if open.state.is_heard() => {
                open.unsay();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether `listener` was open and is closed now.
    pub(super) fn refused(&mut self, listener: ListenerId) -> bool {
        let open = self.by_id.get(&listener).is_some_and(|open| open.state.is_heard());
        if open {
            self.by_id.remove(&listener);
        }
        open
    }

    /// Whether anybody wants to know.
    pub(super) fn opened(&mut self, listener: ListenerId, after: Position) -> bool {
        let Some(open) = self.by_id.get_mut(&listener) else { return false };
        if let Role::Subscription { place, .. } = &mut open.role {
            *place = (*place).max(Some(after));
        }
        if !open.state.is_heard() {
            return false;
        }
        open.state = State::Open;
        if open.unsaid >= open.stride() {
            self.to_credit.push_back(listener);
        }
        true
    }

    /// Whether a delivery is for somebody who still takes it.
    pub(super) fn delivered(&mut self, listener: ListenerId) -> Result<bool, Violation> {
        let Some(open) = self.heard("a delivery", listener)? else { return Ok(false) };
        let Role::Consumer { in_flight } = &mut open.role else {
            return Err(Violation::WrongListener { what: "a delivery", listener });
        };
        if *in_flight >= open.window {
            return Err(Violation::CreditExceeded { listener, credit: open.window });
        }
        *in_flight += 1;
        Ok(true)
    }

    /// Whether there is such a consumer on this link.
    pub(super) fn consumes(&self, listener: ListenerId) -> bool {
        let open = self.by_id.get(&listener).filter(|open| open.state.is_heard());
        open.is_some_and(|open| matches!(open.role, Role::Consumer { .. }))
    }

    /// Whether there is a consumer on this link whose answer it can be.
    pub(super) fn answered(&mut self, listener: ListenerId, verdict: &Verdict) -> bool {
        match self.by_id.get_mut(&listener) {
            Some(Listener { state, role: Role::Consumer { in_flight }, .. }) if state.is_heard() => {
                if *verdict != Verdict::Progress {
                    *in_flight = in_flight.saturating_sub(1);
                }
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether an event is for somebody who still takes it.
    pub(super) fn pushed(&mut self, listener: ListenerId, position: Position) -> Result<bool, Violation> {
        let Some(open) = self.heard("an event", listener)? else { return Ok(false) };
        let Role::Subscription { place, held, allowed } = &mut open.role else {
            return Err(Violation::WrongListener { what: "an event", listener });
        };
        if *allowed == 0 {
            return Err(Violation::CreditExceeded { listener, credit: open.window });
        }
        if let Some(last) = *place
            && position <= last
        {
            return Err(Violation::PushedBackwards { listener, position, last });
        }
        *place = Some(position);
        *allowed -= 1;
        *held += 1;
        Ok(true)
    }

    pub(super) fn lagged(&mut self, listener: ListenerId) -> Result<bool, Violation> {
        match self.heard("Lagged", listener)?.map(|open| &open.role) {
            Some(Role::Subscription { .. }) => Ok(true),
            Some(Role::Consumer { .. }) => Err(Violation::WrongListener { what: "Lagged", listener }),
            None => Ok(false),
        }
    }

    pub(super) fn caught_up(&mut self, listener: ListenerId, position: Position) -> Result<bool, Violation> {
        let Some(open) = self.heard("CaughtUp", listener)? else { return Ok(false) };
        let Role::Subscription { place, .. } = &mut open.role else {
            return Err(Violation::WrongListener { what: "CaughtUp", listener });
        };
        *place = (*place).max(Some(position));
        Ok(true)
    }

    pub(super) fn credit(&mut self, listener: ListenerId, events: u32) {
        let Some(open) = self.by_id.get_mut(&listener) else { return };
        let added = match &mut open.role {
            Role::Consumer { .. } => {
                let added = events.min(CREDIT_EVENTS_MAX - open.window);
                open.window += added;
                added
            }
            Role::Subscription { held, .. } => {
                let added = events.min(*held);
                *held -= added;
                added
            }
        };
        // On a new link, it is part of what is said first.
        if open.state.is_heard() {
            let was_due = open.unsaid >= open.stride();
            open.unsaid += added;
            // A hub that has not opened the listener yet would not know what it is for.
            if open.state == State::Open && open.unsaid >= open.stride() && !was_due {
                self.to_credit.push_back(listener);
            }
        }
    }

    pub(super) fn next_listen(&mut self) -> Option<(ListenerId, Request)> {
        while let Some(listener) = self.to_say.pop_front() {
            if let Some(open) = self.by_id.get_mut(&listener)
                && open.state == State::Unsaid
            {
                return Some((listener, open.say(listener)));
            }
        }
        None
    }

    pub(super) fn leaves(&mut self) -> &mut VecDeque<ListenerId> {
        &mut self.to_leave
    }

    /// Another link is in use from now on, on which all of them are said anew. Gives what the one before
    /// has of them, and which are over with it because they were leaving.
    pub(super) fn hand_over(&mut self) -> (Members, Vec<ListenerId>) {
        let mut members = Members::default();
        let unsaid_leaves = std::mem::take(&mut self.to_leave);
        for (&listener, open) in &self.by_id {
            match (open.state, &open.role) {
                (State::Open, Role::Consumer { in_flight }) => members.add(listener, *in_flight, open.window),
                (State::Said, _) | (State::Open, Role::Subscription { .. }) => members.add_done(listener),
                (State::Leaving, _) if unsaid_leaves.contains(&listener) => members.add_done(listener),
                (State::Leaving, _) => members.add_left(listener),
                (State::Unsaid, _) => {}
            }
        }
        members.known(ListenerId(self.last));
        (members, self.unsay())
    }

    pub(super) fn poll_credit(&mut self, buffer: &mut Vec<u8>) -> bool {
        while let Some(listener) = self.to_credit.pop_front() {
            if let Some(open) = self.by_id.get_mut(&listener)
                && open.state == State::Open
            {
                let events = std::mem::take(&mut open.unsaid);
                if let Role::Subscription { allowed, .. } = &mut open.role {
                    *allowed += events;
                }
                return say(&SpokeMessage::Credit { listener, events }, buffer);
            }
        }
        false
    }

    pub(super) fn in_flight(&self) -> usize {
        let of = |open: &Listener| match open.role {
            Role::Consumer { in_flight } => in_flight as usize,
            Role::Subscription { .. } => 0,
        };
        self.by_id.values().map(of).sum()
    }

    /// Refuses a number that was never given.
    pub(super) fn check_known(&self, what: &'static str, listener: ListenerId) -> Result<(), Violation> {
        if listener.0 > self.last { Err(Violation::WrongListener { what, listener }) } else { Ok(()) }
    }

    /// The listener that something is for, unless it is closed or leaving: that was on its way.
    fn heard(
        &mut self,
        what: &'static str,
        listener: ListenerId,
    ) -> Result<Option<&mut Listener>, Violation> {
        self.check_known(what, listener)?;
        Ok(self.by_id.get_mut(&listener).filter(|open| open.state.is_heard()))
    }
}

impl Listener {
    /// So much credit is worth a message.
    fn stride(&self) -> u32 {
        (self.window / 4).max(1)
    }

    fn unsay(&mut self) {
        self.state = State::Unsaid;
        self.unsaid = 0;
        match &mut self.role {
            Role::Consumer { in_flight } => *in_flight = 0,
            Role::Subscription { allowed, .. } => *allowed = 0,
        }
    }

    fn say(&mut self, listener: ListenerId) -> Request {
        self.state = State::Said;
        let (start, credit) = match &mut self.role {
            Role::Consumer { .. } => (self.listen.start(), self.window),
            Role::Subscription { place, held, allowed } => {
                *allowed = self.window.saturating_sub(*held);
                (place.map_or(self.listen.start(), |place| Start::At(place.next())), *allowed)
            }
        };
        self.listen.request(listener, start, credit)
    }

    /// The position of the log that its next request would name, of a subscription.
    fn position(&self) -> Option<Position> {
        match (&self.role, self.listen.start()) {
            (Role::Subscription { place: Some(place), .. }, _) => Some(*place),
            (Role::Subscription { place: None, .. }, Start::At(position)) => Some(position),
            (Role::Subscription { .. } | Role::Consumer { .. }, _) => None,
        }
    }
}
