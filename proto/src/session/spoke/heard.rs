//! What a hub's messages on the link in use mean for the session.

use std::time::Duration;

use super::asked::Answered;
use super::{FromHub, Phase, SpokeSession};
use crate::limits::{PINGS_WAITING_MAX, TRUSTED_ROOTS_MAX};
use crate::message::{HubMessage, PROTOCOL_VERSION, Reply, Welcome};
use crate::number::{ListenerId, RequestId};
use crate::refusal::Refusal;
use crate::session::Violation;
use crate::session::bounds;
use crate::session::liveness::Liveness;

impl SpokeSession {
    /// Takes a message that came in turn.
    pub(super) fn take(&mut self, message: HubMessage, now: Duration) -> Result<(), Violation> {
        match message {
            HubMessage::Welcome(welcome) => self.welcomed(welcome, now),
            HubMessage::GoAway { reason, retry_after_ms } => {
                self.close();
                let retry_after = Duration::from_millis(u64::from(retry_after_ms));
                self.events.push_back(FromHub::GoAway { reason, retry_after });
                Ok(())
            }
            HubMessage::Reply { id, outcome } => self.replied(id, outcome),
            HubMessage::Ping(number) => {
                bounds::within("PINGS_WAITING_MAX", self.outbox.pongs() + 1, 0, PINGS_WAITING_MAX)?;
                self.outbox.pong(number);
                Ok(())
            }
            HubMessage::Pong(_) => Ok(()),
            HubMessage::Deliver { listener, attempt, event } => {
                if self.listeners.delivered(listener)? {
                    self.events.push_back(FromHub::Delivered { listener, link: self.link, attempt, event });
                }
                Ok(())
            }
            HubMessage::Push { listener, event } => {
                if self.listeners.pushed(listener, event.position)? {
                    self.events.push_back(FromHub::Pushed { listener, event });
                }
                Ok(())
            }
            HubMessage::Lagged { listener, behind } => {
                if self.listeners.lagged(listener)? {
                    self.events.push_back(FromHub::Lagged { listener, behind });
                }
                Ok(())
            }
            HubMessage::CaughtUp { listener, position } => {
                if self.listeners.caught_up(listener, position)? {
                    self.events.push_back(FromHub::CaughtUp { listener, position });
                }
                Ok(())
            }
            HubMessage::Dropped { listener, refusal } => self.dropped(listener, refusal),
            // It is for links that retire.
            HubMessage::Enough(listener) => self.listeners.check_known("Enough", listener),
            HubMessage::Deadline { listener, within_ms } => {
                self.listeners.check_known("Deadline", listener)?;
                let within = Duration::from_millis(u64::from(within_ms));
                self.events.push_back(FromHub::Deadline { listener, within });
                Ok(())
            }
            HubMessage::Trust(trust) => {
                bounds::within("TRUSTED_ROOTS_MAX", trust.roots.len(), 1, TRUSTED_ROOTS_MAX)?;
                self.events.push_back(FromHub::Trust(trust));
                Ok(())
            }
            HubMessage::Renew { within_ms } => {
                let within = Duration::from_millis(u64::from(within_ms));
                self.events.push_back(FromHub::Renew { within });
                Ok(())
            }
            HubMessage::Expelled { cause, reason } => {
                self.close();
                self.events.push_back(FromHub::Expelled { cause, reason });
                Ok(())
            }
        }
    }

    /// Asks nothing new on this link. Whether anything was asked before.
    pub(super) fn close(&mut self) -> bool {
        let phase = std::mem::replace(&mut self.phase, Phase::Down);
        let was_open = matches!(phase, Phase::Open(_));
        self.phase = match phase {
            Phase::Open(liveness) => Phase::Closing(liveness),
            Phase::Down | Phase::Greeting { .. } | Phase::Closing(_) => phase,
        };
        was_open
    }

    /// A refusal says that the hub is stopping, which counts as GoAway where that did not come.
    pub(super) fn stopping(&mut self) {
        if self.close() {
            let reason = Refusal::Stopping.to_string();
            self.events.push_back(FromHub::GoAway { reason, retry_after: Duration::ZERO });
        }
    }

    pub(super) fn welcomed(&mut self, welcome: Welcome, now: Duration) -> Result<(), Violation> {
        if !matches!(self.phase, Phase::Greeting { .. }) {
            return Err(Violation::OutOfTurn { what: "Welcome", when: "for a second time" });
        }
        if welcome.protocol != PROTOCOL_VERSION {
            let ours = PROTOCOL_VERSION;
            return Err(Violation::Version { min: welcome.protocol, max: welcome.protocol, ours });
        }
        let keep_alive = Duration::from_millis(u64::from(welcome.keep_alive_ms));
        self.phase = Phase::Open(Liveness::new(keep_alive, now));
        let incarnation = welcome.incarnation;
        self.events.push_back(FromHub::Welcome { link: self.link, welcome });
        self.of_log(incarnation);
        Ok(())
    }

    /// The hub's log is this one: positions of another mean nothing in it.
    pub(super) fn of_log(&mut self, incarnation: u64) {
        if let Some(before) = self.incarnation.replace(incarnation)
            && before != incarnation
        {
            for (listener, position) in self.listeners.forget_places() {
                let reason = format!(
                    "this log is incarnation {incarnation}, the one before was {before}: position {position} means nothing in it; subscribe anew"
                );
                self.over(listener, Some(Refusal::Invalid { reason }));
            }
        }
    }

    pub(super) fn replied(
        &mut self,
        id: RequestId,
        outcome: Result<Reply, Refusal>,
    ) -> Result<(), Violation> {
        match (self.requests.answered(id, &outcome)?, outcome) {
            (Answered::Request(key), outcome) => {
                // Of the requests that are not asked again, too, it is the sign that the hub goes.
                let stopping = outcome == Err(Refusal::Stopping);
                self.events.push_back(FromHub::Answered { key, outcome });
                if stopping {
                    self.stopping();
                }
            }
            (Answered::AskAgain, _) => self.stopping(),
            (Answered::Forgotten, _) => {}
            (Answered::Listen(listener), Ok(reply)) => {
                if let Reply::Listening { after } = reply
                    && self.listeners.opened(listener, after)
                {
                    self.events.push_back(FromHub::ListenerOpen { listener, after });
                }
            }
            (Answered::Listen(listener), Err(refusal)) => self.refused(listener, refusal),
            (Answered::Leave(listener), outcome) => {
                self.listeners.remove(listener);
                self.over(listener, outcome.err());
            }
        }
        Ok(())
    }

    pub(super) fn dropped(&mut self, listener: ListenerId, refusal: Refusal) -> Result<(), Violation> {
        self.listeners.check_known("Dropped", listener)?;
        self.refused(listener, refusal);
        Ok(())
    }

    /// Closes a listener, unless the hub is only stopping: then it is said again on the next link.
    /// One that is leaving is closed by the reply to that.
    pub(super) fn refused(&mut self, listener: ListenerId, refusal: Refusal) {
        if refusal == Refusal::Stopping {
            // A hub may say so of one that has left meanwhile, too, and goes on.
            if self.listeners.interrupted(listener) {
                self.stopping();
            }
        } else if self.listeners.refused(listener) {
            self.over(listener, Some(refusal));
        }
    }
}
