//! The spoke's end, over all of its connections.
//!
//! It outlives a connection: what was asked and not answered is asked again after the next Welcome,
//! in the old order and after the listeners, so every request is answered exactly once. Appends
//! carry the ids of their events, so the hub knows them again. What was delivered on a link that is
//! gone is dead: it comes again, and its late answers are dropped here.
//!
//! A link can be handed over to another one that is open already ([`SpokeSession::hand_over`]): the
//! one before then retires, and lives until what was delivered and asked on it has come to its end.

mod asked;
mod event;
mod handover;
mod heard;
mod listeners;
mod outbox;
mod retiring;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use self::asked::Requests;
pub use self::asked::{RequestError, RequestKey};
pub use self::event::{FromHub, Listen};
use self::listeners::Listeners;
use self::outbox::Outbox;
use self::retiring::Retiring;
use super::bounds::bound_answer;
use super::liveness::Liveness;
use super::violation::Violation;
use crate::chain::Chain;
use crate::limits::{FRAME_BYTES_BEFORE_WELCOME, FRAME_BYTES_MAX, SOFTWARE_CHARS_MAX};
use crate::message::{Answer, Hello, HubMessage, PROTOCOL_VERSION, Request, Verdict};
use crate::number::ListenerId;
use crate::wire;

/// What a spoke decides about its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpokeSessionConfig {
    /// Software and version, for the hub's logs; cut to [`SOFTWARE_CHARS_MAX`] characters.
    pub software: String,
    /// The hub must have said Welcome within this time.
    pub welcome_within: Duration,
}

#[derive(Debug)]
enum Phase {
    Down,
    /// Welcome must come before the deadline.
    Greeting {
        deadline: Duration,
    },
    Open(Liveness),
    /// The hub goes away, or refuses as one that is stopping: nothing new is asked on this link.
    Closing(Liveness),
}

/// The spoke's end of its connections: one in use, and those that retire.
#[derive(Debug)]
pub struct SpokeSession {
    config: SpokeSessionConfig,
    phase: Phase,
    link: u64,
    incarnation: Option<u64>,
    requests: Requests,
    listeners: Listeners,
    outbox: Outbox,
    events: VecDeque<FromHub>,
    /// The links before this one that still live, by their numbers.
    retiring: BTreeMap<u64, Retiring>,
    /// Listeners that are over but for what a retiring link has of them.
    ending: BTreeSet<ListenerId>,
}

impl SpokeSession {
    /// A spoke without a connection.
    #[must_use]
    pub fn new(mut config: SpokeSessionConfig) -> Self {
        config.software = config.software.chars().take(SOFTWARE_CHARS_MAX).collect();
        Self {
            config,
            phase: Phase::Down,
            link: 0,
            incarnation: None,
            requests: Requests::default(),
            listeners: Listeners::default(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            retiring: BTreeMap::new(),
            ending: BTreeSet::new(),
        }
    }

    // ---- handle: what came from outside

    /// A connection was made. Nothing is said on it but Hello until Welcome has come.
    pub fn connected(&mut self, now: Duration) {
        self.disconnected();
        self.link += 1;
        self.phase = Phase::Greeting { deadline: now.saturating_add(self.config.welcome_within) };
        self.outbox.hello(Hello {
            protocol_min: PROTOCOL_VERSION,
            protocol_max: PROTOCOL_VERSION,
            software: self.config.software.clone(),
        });
    }

    /// The connection is gone. Listeners that were leaving are closed: the hub has released what
    /// they held.
    pub fn disconnected(&mut self) {
        if matches!(self.phase, Phase::Down) {
            return;
        }
        self.phase = Phase::Down;
        self.outbox.clear();
        for key in self.requests.unsay() {
            self.events.push_back(FromHub::Lost { key });
        }
        for listener in self.listeners.unsay() {
            self.over(listener, None);
        }
    }

    /// Takes one frame's payload; [`SpokeSession::poll_event`] then says what it meant.
    ///
    /// # Errors
    /// [`Violation`]: the connection is to be closed, and `disconnected` to be called.
    pub fn handle_frame(&mut self, frame: &[u8], now: Duration) -> Result<(), Violation> {
        let max = self.frame_bytes_max();
        if frame.len() > max {
            return Err(Violation::FrameTooLarge { found: frame.len(), max });
        }
        let message = wire::decode(frame)?;
        match &mut self.phase {
            Phase::Down => {
                return Err(Violation::OutOfTurn { what: "a message", when: "without a connection" });
            }
            Phase::Greeting { .. } => {
                if !matches!(
                    message,
                    HubMessage::Welcome(_) | HubMessage::GoAway { .. } | HubMessage::Expelled { .. }
                ) {
                    return Err(Violation::OutOfTurn { what: "a message", when: "before Welcome" });
                }
            }
            Phase::Open(liveness) | Phase::Closing(liveness) => liveness.heard(now),
        }
        self.take(message, now)
    }

    /// Does what is due at `now`: pings a silent hub, gives up one that stays silent.
    ///
    /// # Errors
    /// [`Violation::Late`] or [`Violation::Silent`]: the connection is to be closed, and
    /// `disconnected` to be called.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Violation> {
        match &mut self.phase {
            Phase::Down => Ok(()),
            Phase::Greeting { deadline } if now >= *deadline => {
                Err(Violation::Late { what: "Welcome", within: self.config.welcome_within })
            }
            Phase::Greeting { .. } => Ok(()),
            Phase::Open(liveness) | Phase::Closing(liveness) => {
                if let Some(number) = liveness.tick(now)? {
                    self.outbox.ping(number);
                }
                Ok(())
            }
        }
    }

    // ---- what the application wants

    /// Asks for something. It is answered exactly once, by [`FromHub::Answered`] with this key, over
    /// as many connections as that takes.
    ///
    /// The queue of what is asked has no bound of its own: the driver asks
    /// [`SpokeSession::in_flight`] and lets its callers wait.
    ///
    /// # Errors
    /// [`RequestError`]: nothing was asked.
    pub fn request(&mut self, body: Request) -> Result<RequestKey, RequestError> {
        self.requests.add(body)
    }

    /// Gives up waiting for an answer: none is reported, and nothing is asked again. What was
    /// asked already may still be done. A chain is not forgotten: its delivery needs the answer.
    pub fn forget(&mut self, key: RequestKey) {
        self.requests.forget(key);
        self.retiring.values_mut().for_each(|old| old.forget(key));
    }

    /// Opens a consumer or a subscription and keeps it open over reconnects.
    ///
    /// [`FromHub::ListenerOpen`] says each time that it is open, [`FromHub::ListenerClosed`] once
    /// that it is over.
    ///
    /// # Errors
    /// [`RequestError`]: nothing was opened.
    pub fn listen(&mut self, listen: Listen) -> Result<ListenerId, RequestError> {
        self.listeners.add(listen)
    }

    /// Closes a listener. [`FromHub::ListenerClosed`] without a refusal says when all of its
    /// answers are recorded and the rest is released; until then nothing more comes from it.
    pub fn leave(&mut self, listener: ListenerId) {
        if self.listeners.leave(listener) {
            self.over(listener, None);
        } else {
            self.retiring.values_mut().for_each(|old| old.leave(listener));
        }
    }

    /// Answers a delivery of `link`. One of a link that is gone is dropped: its delivery comes again.
    ///
    /// Whether it was taken.
    pub fn answer(&mut self, link: u64, mut answer: Answer) -> bool {
        bound_answer(&mut answer);
        if let Some(old) = self.retiring.get_mut(&link) {
            return old.answer(answer);
        }
        let alive = self.is_linked(link) && self.listeners.answered(answer.listener, &answer.verdict);
        if alive {
            self.outbox.answer(answer);
        }
        alive
    }

    /// Answers a delivery of `link` with an ack that brings effects with it. One of a link that is gone is
    /// dropped, like any answer.
    ///
    /// Whether it was taken: [`FromHub::Answered`] with this key says what came of it, or
    /// [`FromHub::Lost`] that the link has ended before the hub did.
    ///
    /// # Errors
    /// [`RequestError`]: it was not said, and the delivery is still to be answered.
    pub fn chain(&mut self, link: u64, chain: Box<Chain>) -> Result<Option<RequestKey>, RequestError> {
        let listener = chain.listener;
        if let Some(old) = self.retiring.get_mut(&link) {
            return if old.consumes(listener) {
                old.chain(&mut self.requests, chain).map(Some)
            } else {
                Ok(None)
            };
        }
        if !self.is_linked(link) || !self.listeners.consumes(listener) {
            return Ok(None);
        }
        let key = self.requests.add_chain(chain)?;
        self.listeners.answered(listener, &Verdict::Ack);
        Ok(Some(key))
    }

    /// Gives back room for `events` events that a subscription was told of, or widens what may be
    /// in flight to a consumer (whose answers give back by themselves).
    ///
    /// It is said in strides of a quarter of the listener's credit.
    pub fn credit(&mut self, listener: ListenerId, events: u32) {
        self.listeners.credit(listener, events);
    }

    /// Says that what is trusted is kept, up to `version`, on every link.
    pub fn trust_kept(&mut self, version: u64) {
        self.outbox.trust_kept(version);
        self.retiring.values_mut().for_each(|old| old.trust_kept(version));
    }

    /// Says Goodbye when everything that was asked is answered. Nothing may be asked afterwards.
    pub fn goodbye(&mut self) {
        self.outbox.goodbye();
    }

    // ---- poll: what there is to do now

    /// What came from the hub, in order.
    pub fn poll_event(&mut self) -> Option<FromHub> {
        self.events.pop_front()
    }

    /// Appends the next frame's payload to `buffer`. `false` means that there is none.
    pub fn poll_frame(&mut self, buffer: &mut Vec<u8>) -> bool {
        match self.phase {
            Phase::Down => false,
            Phase::Greeting { .. } => self.outbox.poll_hello(buffer),
            // Whatever comes up after Goodbye is for another link.
            Phase::Open(_) | Phase::Closing(_) if self.outbox.is_over() => {
                self.outbox.poll_signs_of_life(buffer)
            }
            Phase::Open(_) => {
                self.outbox.poll_signs_of_life(buffer)
                    || self.requests.poll_listen(&mut self.listeners, buffer)
                    || self.listeners.poll_credit(buffer)
                    || self.outbox.poll_answers(buffer)
                    || self.requests.poll_chain(buffer)
                    || self.requests.poll_leave(self.listeners.leaves(), buffer)
                    || ((self.requests.begins_with_wait() || self.in_order())
                        && self.requests.poll_request(buffer))
                    || (self.in_flight() == 0 && self.outbox.poll_goodbye(buffer))
            }
            Phase::Closing(_) => {
                self.outbox.poll_signs_of_life(buffer)
                    || self.outbox.poll_answers(buffer)
                    || self.requests.poll_chain(buffer)
                    || self.requests.poll_leave(self.listeners.leaves(), buffer)
            }
        }
    }

    /// When [`SpokeSession::handle_timeout`] is to be called, if it is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Down => None,
            Phase::Greeting { deadline } => Some(*deadline),
            Phase::Open(liveness) | Phase::Closing(liveness) => Some(liveness.due()),
        }
    }

    // ---- questions

    /// The largest frame that may come now.
    #[must_use]
    pub fn frame_bytes_max(&self) -> usize {
        match self.phase {
            Phase::Down | Phase::Greeting { .. } => FRAME_BYTES_BEFORE_WELCOME,
            Phase::Open(_) | Phase::Closing(_) => FRAME_BYTES_MAX,
        }
    }

    /// Requests that are not answered, said or not, on whichever link; waits do not count.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.requests.unanswered() + self.retiring.values().map(Retiring::unanswered).sum::<usize>()
    }

    /// Waits that are not answered, said or not.
    #[must_use]
    pub fn waits(&self) -> usize {
        self.requests.waits()
    }

    /// Requests that were said on this link and are not answered: what a hub that goes away still owes.
    #[must_use]
    pub fn said(&self) -> usize {
        self.requests.said()
    }

    /// Deliveries of this link that have no final answer.
    #[must_use]
    pub fn unanswered_deliveries(&self) -> usize {
        self.listeners.in_flight()
    }

    /// Whether Welcome has come and the hub does not go away.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// The number of the newest link, from 1.
    #[must_use]
    pub fn link(&self) -> u64 {
        self.link
    }
}
