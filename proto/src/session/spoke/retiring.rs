//! A link that another one has taken the place of.
//!
//! It takes no new deliveries, passes on answers to those that it has, gets the replies to what was
//! asked on it, leaves its groups, and says Goodbye.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::FromHub;
use super::asked::{Answered, RequestError, RequestKey, Requests};
use super::outbox::{Outbox, say};
use crate::chain::Chain;
use crate::limits::{FRAME_BYTES_MAX, PINGS_WAITING_MAX, TRUSTED_ROOTS_MAX};
use crate::message::{Answer, HubMessage, SpokeMessage, Verdict};
use crate::number::ListenerId;
use crate::refusal::Refusal;
use crate::session::Violation;
use crate::session::bounds::within;
use crate::session::liveness::Liveness;
use crate::wire;

/// What a message on a retiring link means for the session.
pub(super) enum Heard {
    Nothing,
    Event(FromHub),
    /// A request is to be asked on the link in use.
    AskAgain,
    /// A listener is over on this link.
    Left(ListenerId, Option<Refusal>),
}

/// A listener that is open on a retiring link.
#[derive(Debug)]
struct Member {
    in_flight: u32,
    window: u32,
    /// Whether the hub has said that nothing more comes.
    complete: bool,
    /// Whether Leave was said, or is about to be.
    leaving: bool,
}

/// The listeners of a retiring link.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<ListenerId, Member>,
    /// The highest number that was given.
    last: ListenerId,
    to_stop: VecDeque<ListenerId>,
    to_leave: VecDeque<ListenerId>,
}

impl Members {
    /// A consumer with so many deliveries to be answered. Others may be on their way, so it leaves when the
    /// hub has said that nothing more comes.
    pub(super) fn add(&mut self, listener: ListenerId, in_flight: u32, window: u32) {
        self.to_stop.push_back(listener);
        self.by_id.insert(listener, Member { in_flight, window, complete: false, leaving: false });
    }

    /// A listener that has nothing to answer and leaves at once.
    pub(super) fn add_done(&mut self, listener: ListenerId) {
        self.to_leave.push_back(listener);
        self.add_left(listener);
    }

    /// A listener that has said Leave.
    pub(super) fn add_left(&mut self, listener: ListenerId) {
        self.by_id.insert(listener, Member { in_flight: 0, window: 0, complete: true, leaving: true });
    }

    pub(super) fn known(&mut self, last: ListenerId) {
        self.last = last;
    }

    fn staying(&mut self, listener: ListenerId) -> Option<&mut Member> {
        self.by_id.get_mut(&listener).filter(|member| !member.leaving)
    }

    fn leave(&mut self, listener: ListenerId) {
        if let Some(member) = self.staying(listener) {
            member.leaving = true;
            self.to_leave.push_back(listener);
        }
    }

    fn check_known(&self, what: &'static str, listener: ListenerId) -> Result<(), Violation> {
        if listener > self.last { Err(Violation::WrongListener { what, listener }) } else { Ok(()) }
    }

    /// Whether a delivery is for somebody who still takes it: it was on its way.
    fn delivered(&mut self, listener: ListenerId) -> Result<bool, Violation> {
        self.check_known("a delivery", listener)?;
        let Some(member) = self.staying(listener) else { return Ok(false) };
        if member.in_flight >= member.window {
            return Err(Violation::CreditExceeded { listener, credit: member.window });
        }
        member.in_flight += 1;
        Ok(true)
    }

    /// Whether there is a consumer whose answer it can be. The last answer lets it leave.
    fn answered(&mut self, listener: ListenerId, verdict: &Verdict) -> bool {
        let Some(member) = self.staying(listener) else { return false };
        if *verdict != Verdict::Progress {
            member.in_flight = member.in_flight.saturating_sub(1);
            if member.in_flight == 0 && member.complete {
                self.leave(listener);
            }
        }
        true
    }

    /// Nothing more comes for a consumer. It leaves when it has answered what it has.
    fn complete(&mut self, listener: ListenerId) -> Result<(), Violation> {
        self.check_known("Enough", listener)?;
        let Some(member) = self.staying(listener) else { return Ok(()) };
        member.complete = true;
        if member.in_flight == 0 {
            self.leave(listener);
        }
        Ok(())
    }
}

/// A link that another one has taken the place of.
#[derive(Debug)]
pub(super) struct Retiring {
    liveness: Liveness,
    requests: Requests,
    members: Members,
    outbox: Outbox,
}

impl Retiring {
    pub(super) fn new(liveness: Liveness, requests: Requests, members: Members, outbox: Outbox) -> Self {
        Self { liveness, requests, members, outbox }
    }

    pub(super) fn handle_frame(
        &mut self,
        link: u64,
        frame: &[u8],
        now: Duration,
    ) -> Result<Heard, Violation> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(Violation::FrameTooLarge { found: frame.len(), max: FRAME_BYTES_MAX });
        }
        let message = wire::decode(frame)?;
        self.liveness.heard(now);
        match message {
            HubMessage::Welcome(_) => {
                Err(Violation::OutOfTurn { what: "Welcome", when: "for a second time" })
            }
            HubMessage::Reply { id, outcome } => Ok(match (self.requests.answered(id, &outcome)?, outcome) {
                (Answered::Request(key), outcome) => Heard::Event(FromHub::Answered { key, outcome }),
                (Answered::AskAgain, _) => Heard::AskAgain,
                (Answered::Listen(listener), Err(_)) => self.left(listener, None),
                (Answered::Forgotten, _) | (Answered::Listen(_), Ok(_)) => Heard::Nothing,
                (Answered::Leave(listener), outcome) => self.left(listener, outcome.err()),
            }),
            HubMessage::Deliver { listener, attempt, event } => {
                Ok(match self.members.delivered(listener)? {
                    true => Heard::Event(FromHub::Delivered { listener, link, attempt, event }),
                    false => Heard::Nothing,
                })
            }
            HubMessage::Enough(listener) => self.members.complete(listener).map(|()| Heard::Nothing),
            // The link in use tells the rest of it, or why there is none.
            HubMessage::Dropped { listener, .. } => {
                self.members.check_known("Dropped", listener)?;
                Ok(self.left(listener, None))
            }
            HubMessage::Ping(number) => {
                within("PINGS_WAITING_MAX", self.outbox.pongs() + 1, 0, PINGS_WAITING_MAX)?;
                self.outbox.pong(number);
                Ok(Heard::Nothing)
            }
            HubMessage::Trust(trust) => {
                within("TRUSTED_ROOTS_MAX", trust.roots.len(), 1, TRUSTED_ROOTS_MAX)?;
                Ok(Heard::Event(FromHub::Trust(trust)))
            }
            // Subscriptions go on elsewhere, this link goes anyway, and its certificate is renewed.
            HubMessage::Push { .. }
            | HubMessage::Lagged { .. }
            | HubMessage::CaughtUp { .. }
            | HubMessage::Deadline { .. }
            | HubMessage::Pong(_)
            | HubMessage::GoAway { .. }
            | HubMessage::Renew { .. }
            | HubMessage::Expelled { .. } => Ok(Heard::Nothing),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) -> Result<(), Violation> {
        if let Some(number) = self.liveness.tick(now)? {
            self.outbox.ping(number);
        }
        Ok(())
    }

    pub(super) fn due(&self) -> Duration {
        self.liveness.due()
    }

    pub(super) fn poll_frame(&mut self, buffer: &mut Vec<u8>) -> bool {
        if self.outbox.is_over() {
            return self.outbox.poll_signs_of_life(buffer);
        }
        if self.members.by_id.is_empty() && self.requests.unanswered() == 0 {
            self.outbox.goodbye();
        }
        self.outbox.poll_signs_of_life(buffer)
            || self.poll_enough(buffer)
            || self.outbox.poll_answers(buffer)
            || self.requests.poll_chain(buffer)
            || self.requests.poll_leave(&mut self.members.to_leave, buffer)
            || self.outbox.poll_goodbye(buffer)
    }

    /// Whether the last word was said.
    pub(super) fn is_over(&self) -> bool {
        self.outbox.is_over()
    }

    /// Whether the answer was taken.
    pub(super) fn answer(&mut self, answer: Answer) -> bool {
        let taken = self.members.answered(answer.listener, &answer.verdict);
        if taken {
            self.outbox.answer(answer);
        }
        taken
    }

    /// Whether there is such a consumer that still answers.
    pub(super) fn consumes(&mut self, listener: ListenerId) -> bool {
        self.members.staying(listener).is_some()
    }

    /// Answers with effects; the key is one of `all`, which are those of every link.
    pub(super) fn chain(
        &mut self,
        all: &mut Requests,
        chain: Box<Chain>,
    ) -> Result<RequestKey, RequestError> {
        let listener = chain.listener;
        let (key, chain) = all.chain_key(chain)?;
        self.requests.push_chain(key, chain);
        self.members.answered(listener, &Verdict::Ack);
        Ok(key)
    }

    /// Nobody waits for the answer to a request any more.
    pub(super) fn forget(&mut self, key: RequestKey) {
        self.requests.forget(key);
    }

    /// Closes a listener: what it has is given back by the hub.
    pub(super) fn leave(&mut self, listener: ListenerId) {
        self.members.leave(listener);
    }

    pub(super) fn has(&self, listener: ListenerId) -> bool {
        self.members.by_id.contains_key(&listener)
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = ListenerId> + '_ {
        self.members.by_id.keys().copied()
    }

    pub(super) fn trust_kept(&mut self, version: u64) {
        self.outbox.trust_kept(version);
    }

    /// Requests that were said and are not answered.
    pub(super) fn said(&self) -> usize {
        self.requests.said()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.requests.unanswered()
    }

    /// Gives requests that are to be asked again to those of the link in use.
    pub(super) fn give_back(&mut self, all: &mut Requests) {
        all.take_up(&mut self.requests);
    }

    /// The link is gone. Gives the chains of which nobody will hear what came.
    pub(super) fn lost(&mut self, all: &mut Requests) -> Vec<RequestKey> {
        let lost = self.requests.unsay();
        self.give_back(all);
        lost
    }

    fn left(&mut self, listener: ListenerId, refusal: Option<Refusal>) -> Heard {
        self.members.by_id.remove(&listener);
        Heard::Left(listener, refusal)
    }

    fn poll_enough(&mut self, buffer: &mut Vec<u8>) -> bool {
        let listener = self.members.to_stop.pop_front();
        listener.is_some_and(|listener| say(&SpokeMessage::Enough(listener), buffer))
    }
}
