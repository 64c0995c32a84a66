//! The hub's end of a connection.
//!
//! It promises its driver that what comes out of [`HubSession::handle_frame`] is in turn and within
//! the limits, that a spoke which is gone is noticed, and that nothing is said of a listener that is
//! closed. It leaves to the driver what needs tables, and to the dispatcher who gets what.

mod listeners;
mod outbox;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::listeners::{Kind, Listeners};
use self::outbox::Outbox;
use super::bounds::{bound_answer, bound_refusal, bound_request, cut, weight, within};
use super::liveness::Liveness;
use super::violation::Violation;
use crate::certs::Trust;
use crate::chain::Chained;
use crate::event::Event;
use crate::limits::{
    ANSWERS_PER_MESSAGE_MAX, FRAME_BYTES_BEFORE_WELCOME, FRAME_BYTES_MAX, PINGS_WAITING_MAX,
    REQUEST_BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX, SOFTWARE_CHARS_MAX, WAITS_PER_CONNECTION_MAX,
};
use crate::message::{
    Answer, Expulsion, Hello, HubMessage, PROTOCOL_VERSION, Reply, Request, SpokeMessage, Welcome,
};
use crate::number::{Attempt, ListenerId, Position, RequestId};
use crate::refusal::Refusal;
use crate::wire;

/// What a hub decides about its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubSessionConfig {
    /// After so long a silence the hub pings; after as long again it gives the spoke up. It must be
    /// what [`Welcome::keep_alive_ms`] says.
    pub keep_alive: Duration,
    /// The spoke must have said Hello within this time.
    pub hello_within: Duration,
}

/// What a spoke has said. Pings are answered inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromSpoke {
    /// The first message. The driver answers with [`HubSession::welcome`], or with
    /// [`HubSession::go_away`] and closes.
    Hello(Hello),
    /// A request, its lists within the limits and its wishes cut to them. The driver answers with
    /// [`HubSession::reply`], in any order.
    Request {
        /// Its number.
        id: RequestId,
        /// What is asked.
        body: Request,
    },
    /// Answers to deliveries, only of consumers that are open. Never empty.
    Answers(Vec<Answer>),
    /// So much more is allowed to an open listener, cut so that it never has more than
    /// [`crate::limits::CREDIT_EVENTS_MAX`].
    Credit {
        /// Which listener.
        listener: ListenerId,
        /// So many more events; never 0.
        events: u32,
    },
    /// Nothing more will be asked. The driver closes when all replies are sent.
    Goodbye,
    /// The spoke has kept what is trusted, up to this version.
    TrustKept(u64),
    /// An open consumer takes nothing more, and will answer what it has.
    Enough(ListenerId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Hello must come before the deadline.
    Silent {
        deadline: Duration,
    },
    /// Hello came, the driver has not answered it yet.
    Greeted,
    Open,
    /// Goodbye came.
    Ending,
}

#[derive(Debug)]
struct InFlight {
    weight: usize,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Listen(ListenerId),
    Leave(ListenerId),
    Wait,
    Other,
}

/// The hub's end of one connection.
#[derive(Debug)]
pub struct HubSession {
    config: HubSessionConfig,
    phase: Phase,
    liveness: Liveness,
    last_request: RequestId,
    in_flight: BTreeMap<RequestId, InFlight>,
    in_flight_bytes: usize,
    /// How many of `in_flight` are waits.
    waits: usize,
    listeners: Listeners,
    outbox: Outbox,
}

impl HubSession {
    /// A connection that was made at `now`.
    #[must_use]
    pub fn new(config: HubSessionConfig, now: Duration) -> Self {
        Self {
            config,
            phase: Phase::Silent { deadline: now.saturating_add(config.hello_within) },
            liveness: Liveness::new(config.keep_alive, now),
            last_request: RequestId(0),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            waits: 0,
            listeners: Listeners::default(),
            outbox: Outbox::default(),
        }
    }

    // ---- handle: what came from outside

    /// Takes one frame's payload. `None` means that there is nothing for the driver to do.
    ///
    /// # Errors
    /// [`Violation`]: the connection is to be closed.
    pub fn handle_frame(&mut self, frame: &[u8], now: Duration) -> Result<Option<FromSpoke>, Violation> {
        let max = self.frame_bytes_max();
        if frame.len() > max {
            return Err(Violation::FrameTooLarge { found: frame.len(), max });
        }
        let message = wire::decode(frame)?;
        self.in_turn(&message)?;
        self.liveness.heard(now);
        match message {
            SpokeMessage::Hello(hello) => self.hello(hello).map(Some),
            SpokeMessage::Request { id, body } => self.request(id, body),
            SpokeMessage::Answers(answers) => self.answers(answers),
            SpokeMessage::Credit { listener, events } => Ok(self
                .listeners
                .credit(listener, events)?
                .map(|events| FromSpoke::Credit { listener, events })),
            SpokeMessage::Ping(number) => {
                within("PINGS_WAITING_MAX", self.outbox.pongs() + 1, 0, PINGS_WAITING_MAX)?;
                self.outbox.pong(number);
                Ok(None)
            }
            SpokeMessage::Pong(_) => Ok(None),
            SpokeMessage::TrustKept(version) => Ok(Some(FromSpoke::TrustKept(version))),
            SpokeMessage::Enough(listener) => {
                Ok(self.listeners.enough(listener)?.then_some(FromSpoke::Enough(listener)))
            }
            SpokeMessage::Goodbye => {
                self.phase = Phase::Ending;
                Ok(Some(FromSpoke::Goodbye))
            }
        }
    }

    /// Does what is due at `now`: pings a silent spoke, gives up one that stays silent.
    ///
    /// # Errors
    /// [`Violation::Late`] or [`Violation::Silent`]: the connection is to be closed.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), Violation> {
        match self.phase {
            Phase::Silent { deadline } if now >= deadline => {
                Err(Violation::Late { what: "Hello", within: self.config.hello_within })
            }
            Phase::Silent { .. } | Phase::Greeted => Ok(()),
            Phase::Open | Phase::Ending => {
                // What the hub itself does not read, it cannot miss, and a spoke that takes what
                // is sent is there.
                let drained = self.outbox.take_drained();
                if self.is_busy() || (drained && self.outbox.is_full()) {
                    self.liveness.heard(now);
                }
                if let Some(number) = self.liveness.tick(now)? {
                    self.outbox.ping(number);
                }
                Ok(())
            }
        }
    }

    // ---- what the hub wants to say

    /// Opens the connection, after the driver has accepted Hello.
    pub fn welcome(&mut self, welcome: Welcome, now: Duration) {
        if self.phase == Phase::Greeted {
            self.phase = Phase::Open;
            self.liveness.heard(now);
            self.outbox.push(HubMessage::Welcome(welcome));
        }
    }

    /// Answers a request. One that is not open is not answered again.
    ///
    /// A reply that does not fit a frame is said as a refusal.
    pub fn reply(&mut self, id: RequestId, outcome: Result<Reply, Refusal>) {
        let Some(request) = self.in_flight.remove(&id) else { return };
        self.in_flight_bytes -= request.weight;
        match request.purpose {
            Purpose::Listen(listener) if outcome.is_err() => self.listeners.close(listener),
            Purpose::Leave(listener) => self.listeners.close(listener),
            Purpose::Wait => self.waits -= 1,
            Purpose::Listen(_) | Purpose::Other => {}
        }
        self.say_reply(id, outcome);
    }

    /// Delivers `event` to a consumer. To one that is closed or leaving, nothing is said.
    pub fn deliver(&mut self, listener: ListenerId, attempt: Attempt, event: Arc<Event>) {
        if self.listeners.delivered(listener) {
            self.outbox.push(HubMessage::Deliver { listener, attempt, event });
        }
    }

    /// Tells a subscription of `event`. To one that is closed or leaving, nothing is said.
    pub fn push(&mut self, listener: ListenerId, event: Arc<Event>) {
        if self.listeners.pushed(listener) {
            self.outbox.push(HubMessage::Push { listener, event });
        }
    }

    /// Tells a subscription that it was too slow and is read on from the log.
    pub fn lagged(&mut self, listener: ListenerId, behind: u64) {
        if self.listeners.is_open(listener, Kind::Subscription) {
            self.outbox.push(HubMessage::Lagged { listener, behind });
        }
    }

    /// Tells a subscription that it has seen everything up to `position`.
    pub fn caught_up(&mut self, listener: ListenerId, position: Position) {
        if self.listeners.is_open(listener, Kind::Subscription) {
            self.outbox.push(HubMessage::CaughtUp { listener, position });
        }
    }

    /// Ends a listener although the connection lives. One that is leaving ends by the reply to that.
    pub fn dropped(&mut self, listener: ListenerId, mut refusal: Refusal) {
        if self.listeners.drop_open(listener) {
            bound_refusal(&mut refusal);
            self.outbox.push(HubMessage::Dropped { listener, refusal });
        }
    }

    /// Tells a consumer how long it may keep deliveries without a word. To one that is closed or leaving,
    /// nothing is said.
    pub fn deadline(&mut self, listener: ListenerId, within: Duration) {
        if self.listeners.is_open(listener, Kind::Consumer) {
            let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
            self.outbox.push(HubMessage::Deadline { listener, within_ms });
        }
    }

    /// Tells a consumer that has enough that nothing more comes. To one that is closed or leaving, nothing
    /// is said.
    pub fn enough(&mut self, listener: ListenerId) {
        if self.listeners.is_open(listener, Kind::Consumer) {
            self.outbox.push(HubMessage::Enough(listener));
        }
    }

    /// Says that the hub is about to close. It may be said at any time, also before Welcome.
    pub fn go_away(&mut self, mut reason: String, retry_after: Duration) {
        cut(&mut reason);
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        self.outbox.push(HubMessage::GoAway { reason, retry_after_ms });
    }

    /// Says what is to be trusted from now on.
    pub fn trust(&mut self, trust: Trust) {
        self.outbox.push(HubMessage::Trust(trust));
    }

    /// Asks the spoke to renew its certificate, at a moment of its choice within `within`.
    pub fn renew(&mut self, within: Duration) {
        let within_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        self.outbox.push(HubMessage::Renew { within_ms });
    }

    /// Says that the certificate does not count any more. It may be said at any time, also before
    /// Welcome; the driver closes afterwards.
    pub fn expelled(&mut self, cause: Expulsion, mut reason: String) {
        cut(&mut reason);
        self.outbox.push(HubMessage::Expelled { cause, reason });
    }

    // ---- poll: what there is to do now

    /// Appends the next frame's payload to `buffer`. `false` means that there is none.
    pub fn poll_frame(&mut self, buffer: &mut Vec<u8>) -> bool {
        self.outbox.poll(buffer)
    }

    /// When [`HubSession::handle_timeout`] is to be called, if it is.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Silent { deadline } => Some(deadline),
            // The driver looks the spoke up; how long that may take is its own affair.
            Phase::Greeted => None,
            Phase::Open | Phase::Ending => Some(self.liveness.due()),
        }
    }

    // ---- questions

    /// The largest frame that may come now.
    #[must_use]
    pub fn frame_bytes_max(&self) -> usize {
        match self.phase {
            Phase::Silent { .. } | Phase::Greeted => FRAME_BYTES_BEFORE_WELCOME,
            Phase::Open | Phase::Ending => FRAME_BYTES_MAX,
        }
    }

    /// Whether the driver may take another frame from the socket. Ask before every frame: at
    /// `false` replies must be given or frames be sent first.
    #[must_use]
    pub fn may_read(&self) -> bool {
        !self.is_busy() && !self.outbox.is_full()
    }

    /// Requests without a reply that are not waits.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.in_flight.len() - self.waits
    }

    /// Messages that wait to be sent.
    #[must_use]
    pub fn unsent_messages(&self) -> usize {
        self.outbox.messages()
    }

    /// Bytes, roughly, that wait to be sent.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// Whether the spoke has said Goodbye and all that it asked for, but for waits, is answered and sent.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Ending && self.requests_in_flight() == 0 && self.outbox.messages() == 0
    }

    // ---- made of

    fn is_busy(&self) -> bool {
        self.requests_in_flight() >= REQUESTS_IN_FLIGHT_MAX
            || self.in_flight_bytes >= REQUEST_BYTES_IN_FLIGHT_MAX
    }

    fn in_turn(&self, message: &SpokeMessage) -> Result<(), Violation> {
        let out_of_turn = |what, when| Err(Violation::OutOfTurn { what, when });
        let is_hello = matches!(message, SpokeMessage::Hello(_));
        let is_sign_of_life = matches!(message, SpokeMessage::Ping(_) | SpokeMessage::Pong(_));
        match self.phase {
            Phase::Silent { .. } if !is_hello => out_of_turn("something else", "before Hello"),
            Phase::Greeted => out_of_turn("a message", "between Hello and Welcome"),
            Phase::Open if is_hello => out_of_turn("Hello", "for a second time"),
            Phase::Ending if !is_sign_of_life => out_of_turn("a message", "after Goodbye"),
            Phase::Silent { .. } | Phase::Open | Phase::Ending => Ok(()),
        }
    }

    fn hello(&mut self, hello: Hello) -> Result<FromSpoke, Violation> {
        let (min, max) = (hello.protocol_min, hello.protocol_max);
        if !(min..=max).contains(&PROTOCOL_VERSION) {
            return Err(Violation::Version { min, max, ours: PROTOCOL_VERSION });
        }
        within("SOFTWARE_CHARS_MAX", hello.software.chars().count(), 0, SOFTWARE_CHARS_MAX)?;
        self.phase = Phase::Greeted;
        Ok(FromSpoke::Hello(hello))
    }

    fn request(&mut self, id: RequestId, mut body: Request) -> Result<Option<FromSpoke>, Violation> {
        if id <= self.last_request {
            return Err(Violation::RequestNumber { id, last: self.last_request });
        }
        self.last_request = id;
        bound_request(&mut body)?;
        let purpose = match &body {
            Request::Consume(consume) => {
                self.listeners.open(consume.listener, Kind::Consumer, consume.credit)?;
                Purpose::Listen(consume.listener)
            }
            Request::Subscribe(subscribe) => {
                self.listeners.open(subscribe.listener, Kind::Subscription, subscribe.credit)?;
                Purpose::Listen(subscribe.listener)
            }
            Request::Leave(listener) => {
                if !self.listeners.leave(*listener)? {
                    // It was dropped while the spoke said this.
                    self.say_reply(id, Ok(Reply::Left));
                    return Ok(None);
                }
                Purpose::Leave(*listener)
            }
            Request::Wait(_) => {
                within("WAITS_PER_CONNECTION_MAX", self.waits + 1, 0, WAITS_PER_CONNECTION_MAX)?;
                self.waits += 1;
                Purpose::Wait
            }
            Request::Chain(chain) => {
                self.listeners.check_answered(chain.listener)?;
                if !self.listeners.is_open(chain.listener, Kind::Consumer) {
                    // It was closed while the spoke said this.
                    self.say_reply(id, Ok(Reply::Chained(Chained::Stale)));
                    return Ok(None);
                }
                Purpose::Other
            }
            Request::Append { .. }
            | Request::Read(_)
            | Request::Link(_)
            | Request::DeleteEvent(_)
            | Request::DeleteEventlog { .. }
            | Request::Groups { .. }
            | Request::Group(_)
            | Request::Story(_)
            | Request::Outbox(_)
            | Request::Manage(_)
            | Request::Parked(_)
            | Request::Admin(_)
            | Request::Renew { .. }
            | Request::Schedule(_) => Purpose::Other,
        };
        let weight = weight(&body);
        self.in_flight_bytes += weight;
        self.in_flight.insert(id, InFlight { weight, purpose });
        Ok(Some(FromSpoke::Request { id, body }))
    }

    fn answers(&mut self, mut answers: Vec<Answer>) -> Result<Option<FromSpoke>, Violation> {
        within("ANSWERS_PER_MESSAGE_MAX", answers.len(), 1, ANSWERS_PER_MESSAGE_MAX)?;
        for answer in &mut answers {
            self.listeners.check_answered(answer.listener)?;
            bound_answer(answer);
        }
        // A listener may have been closed while its answers were on their way.
        answers.retain(|answer| self.listeners.is_open(answer.listener, Kind::Consumer));
        Ok(if answers.is_empty() { None } else { Some(FromSpoke::Answers(answers)) })
    }

    fn say_reply(&mut self, id: RequestId, mut outcome: Result<Reply, Refusal>) {
        if let Err(refusal) = &mut outcome {
            bound_refusal(refusal);
        }
        self.outbox.push(HubMessage::Reply { id, outcome });
    }
}
