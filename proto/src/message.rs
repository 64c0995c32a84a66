//! Everything that two ends of a connection may say: two closed vocabularies.
//!
//! [`SpokeMessage`] goes from a spoke to its hub, [`HubMessage`] back. One frame holds one message.
//! A new kind of message goes to the end of its enum; the bytes of the others never change
//! (`proto/tests/golden`).

use std::sync::Arc;

use crate::admin::{AdminReply, AdminRequest};
use crate::certs::Trust;
use crate::chain::{Chain, Chained};
use crate::enrol::Enrolled;
use crate::event::{Event, NewEvent};
use crate::filter::{Expectation, Order, Start, Topic};
use crate::group::{GroupCommand, GroupStatus};
use crate::name::{Domain, EventId, GroupName, HubId, ServiceName};
use crate::number::{Attempt, ListenerId, Position, RequestId, Timestamp, Version};
use crate::parked::{ParkedReply, ParkedRequest};
use crate::read::{Page, Query};
use crate::refusal::Refusal;
use crate::report::{EventStory, GroupReport, OutboxStory};
use crate::schedule::{ScheduleReply, ScheduleRequest};

/// The protocol version that this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// ALPN of a spoke's connection to a hub.
pub const ALPN: &[u8] = b"eventflow/1";

/// ALPN of an enrolment by token.
pub const ALPN_ENROL: &[u8] = b"eventflow-enroll/1";

/// What a spoke says.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum SpokeMessage {
    /// The first message of a connection.
    Hello(Hello),
    /// Asks for something; the hub answers with one [`HubMessage::Reply`] of the same id.
    Request {
        /// Larger than every id before it on this connection.
        id: RequestId,
        /// What is asked.
        body: Request,
    },
    /// Answers to deliveries, in the order in which they were given.
    Answers(Vec<Answer>),
    /// Allows more to be in flight to a listener.
    Credit {
        /// Which listener.
        listener: ListenerId,
        /// So many more events.
        events: u32,
    },
    /// Asks whether the other end is there.
    Ping(u64),
    /// Answers a ping with its number.
    Pong(u64),
    /// Nothing more will be asked; the hub may close when it has sent what is left.
    Goodbye,
    /// What is to be trusted is kept, up to this version, and will be there after a restart.
    TrustKept(u64),
    /// Nothing more is to be delivered to this consumer; what it has it will still answer.
    Enough(ListenerId),
}

/// Who is calling. Role and service are not said: they come from the certificate.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Hello {
    /// The lowest protocol version that the caller speaks.
    pub protocol_min: u16,
    /// The highest protocol version that the caller speaks.
    pub protocol_max: u16,
    /// Software and version, for logs, at most 64 characters.
    pub software: String,
}

/// What may be asked of a hub.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Request {
    /// Appends events: all of them in one transaction, or none. Answered by [`Reply::Appended`].
    Append {
        /// 1 to [`crate::limits::EVENTS_PER_APPEND_MAX`].
        events: Vec<NewEvent>,
        /// Whether consumers are to get them.
        offer: Offer,
        /// What must be true of the eventlogs.
        expectations: Vec<Expectation>,
    },
    /// Joins a consumer group, making it at first. Answered by [`Reply::Listening`].
    Consume(Consume),
    /// Starts a subscription. Answered by [`Reply::Listening`].
    Subscribe(Subscribe),
    /// Ends a consumer or a subscription. Answered by [`Reply::Left`] when all of its answers are
    /// recorded and what it had not answered is released.
    Leave(ListenerId),
    /// Reads one page. Answered by [`Reply::Page`].
    Read(Query),
    /// Changes an event's links. Answered by [`Reply::Changed`].
    Link(Link),
    /// Empties one event. Answered by [`Reply::Changed`].
    DeleteEvent(EventId),
    /// Empties all events of an eventlog. Answered by [`Reply::Changed`].
    DeleteEventlog {
        /// The eventlog's domain.
        domain: Domain,
        /// The eventlog's pid.
        pid: crate::name::Pid,
    },
    /// Lists the groups after a name. Answered by [`Reply::Groups`].
    Groups {
        /// The last group of the page before; `None` starts.
        after: Option<GroupName>,
    },
    /// One group. Answered by [`Reply::Groups`] with one group.
    Group(GroupName),
    /// Everything known of one event: itself, its deliveries and what it waits for.
    /// Answered by [`Reply::Story`].
    Story(EventId),
    /// Waits for an event of a process. Answered by [`Reply::Waited`], whenever that is.
    Wait(Wait),
    /// Acknowledges a delivery together with what follows from it. Answered by [`Reply::Chained`]; after a
    /// refusal the delivery counts as failed.
    Chain(Box<Chain>),
    /// Tells of groups or changes them. Answered by [`Reply::GroupStatus`] when the change is durable
    /// and in force; of many groups, with the first of them.
    Manage(GroupCommand),
    /// Something about schedules. Answered by [`Reply::Schedule`].
    Schedule(ScheduleRequest),
    /// Lists parked events or takes them up again. Answered by [`Reply::Parked`].
    Parked(Box<ParkedRequest>),
    /// Something that only an operator may ask for. Answered by [`Reply::Admin`].
    Admin(Box<AdminRequest>),
    /// Asks for a further certificate for the caller, for a new key. Answered by [`Reply::Renewed`]; the
    /// one in use counts until the new one is used or it ends.
    Renew {
        /// A certificate signing request in DER; only its public key is used.
        csr: Vec<u8>,
    },
    /// Whether an event is in the outbox. Answered by [`Reply::Outbox`].
    Outbox(EventId),
}

/// A wish to be told of the first event of a process that has one of some names.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Wait {
    /// The process's domain.
    pub domain: Domain,
    /// The process.
    pub pid: crate::name::Pid,
    /// Any of these names.
    pub names: crate::filter::NameFilter,
    /// Only events after this position; 0 is the whole log.
    pub after: Position,
    /// Milliseconds until the answer is that there was none, at most
    /// [`crate::limits::WAIT_MS_MAX`].
    pub within_ms: u32,
}

/// Whether appended events are offered to consumers, and in whose name.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Offer {
    /// Store and offer, in the name of the caller.
    Publish,
    /// Store only.
    Persist,
    /// Store what another log held: in the name of its publisher, or stored only where there was
    /// none. One entry an event. Needs the right to administer.
    Restore(Vec<Option<ServiceName>>),
}

/// A wish to consume.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Consume {
    /// The spoke's number for it, larger than every one before it on this connection.
    pub listener: ListenerId,
    /// The group.
    pub group: GroupName,
    /// What it gets. The group keeps the topic that it was made with; another one is refused.
    pub topic: Topic,
    /// Where the group starts if it is new.
    pub start: Start,
    /// Whether a process's events come one by one. As with the topic, the group keeps its own.
    pub order: Order,
    /// Events that may be in flight to this member.
    pub credit: u32,
}

/// A wish to be told.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Subscribe {
    /// The spoke's number for it, larger than every one before it on this connection.
    pub listener: ListenerId,
    /// What it gets; `None` is every domain.
    pub topic: Option<Topic>,
    /// Whether events that were only persisted come too.
    pub scope: Scope,
    /// Where it starts.
    pub start: Start,
    /// Events that may be in flight to it.
    pub credit: u32,
}

/// Which events a subscription is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Scope {
    /// Published ones.
    Published,
    /// All that are stored.
    Stored,
}

/// A change of an event's links.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Link {
    /// Says that the event concerns an entity.
    AddEid(EventId, crate::name::Eid),
    /// Takes that back.
    RemoveEid(EventId, crate::name::Eid),
    /// Says that the event started a process.
    AddCpid(EventId, crate::event::Cpid),
    /// Takes that back.
    RemoveCpid(EventId, crate::event::Cpid),
}

impl Link {
    /// The event whose links are changed.
    #[must_use]
    pub fn event(&self) -> &EventId {
        match self {
            Self::AddEid(id, _) | Self::RemoveEid(id, _) | Self::AddCpid(id, _) | Self::RemoveCpid(id, _) => {
                id
            }
        }
    }
}

/// An answer to one delivery. It names the attempt; one for an earlier attempt changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Answer {
    /// To which listener the delivery went.
    pub listener: ListenerId,
    /// Which event.
    pub position: Position,
    /// Which try.
    pub attempt: Attempt,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Failed: counts as a try, comes again after the group's back-off or `after_ms`.
    Fail {
        /// Why, for people; cut to [`crate::limits::REASON_CHARS_MAX`].
        reason: String,
        /// Milliseconds until the next try, in place of the back-off; at most a day.
        after_ms: Option<u32>,
    },
    /// Given back untouched: does not count as a try.
    Release,
    /// Never try again: park it.
    Park {
        /// Why, for people.
        reason: String,
    },
    /// Still at it: the deadline starts anew.
    Progress,
}

/// What a hub says.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum HubMessage {
    /// The answer to Hello: the connection is open.
    Welcome(Welcome),
    /// The answer to one request.
    Reply {
        /// Which request.
        id: RequestId,
        /// What came of it.
        outcome: Result<Reply, Refusal>,
    },
    /// An event for a consumer, to be answered.
    Deliver {
        /// For which listener.
        listener: ListenerId,
        /// Which try this is.
        attempt: Attempt,
        /// The event.
        event: Arc<Event>,
    },
    /// An event for a subscription.
    Push {
        /// For which listener.
        listener: ListenerId,
        /// The event.
        event: Arc<Event>,
    },
    /// A subscription was too slow for live events and is read on from the log. Nothing is lost.
    Lagged {
        /// Which listener.
        listener: ListenerId,
        /// How far it was behind, in positions.
        behind: u64,
    },
    /// A subscription has seen everything up to here, also where nothing matched.
    CaughtUp {
        /// Which listener.
        listener: ListenerId,
        /// Up to here.
        position: Position,
    },
    /// A consumer or subscription is over although the connection lives.
    Dropped {
        /// Which listener.
        listener: ListenerId,
        /// Why.
        refusal: Refusal,
    },
    /// Asks whether the other end is there.
    Ping(u64),
    /// Answers a ping with its number.
    Pong(u64),
    /// The hub is about to close: answer what you have, then connect again.
    GoAway {
        /// Why, for people.
        reason: String,
        /// Milliseconds to wait before connecting again.
        retry_after_ms: u32,
    },
    /// How long a consumer may keep deliveries from now on without an answer or a sign of progress.
    Deadline {
        /// Which consumer.
        listener: ListenerId,
        /// So many milliseconds.
        within_ms: u32,
    },
    /// What is to be trusted from now on. To be kept and answered with [`SpokeMessage::TrustKept`].
    Trust(Trust),
    /// The caller's certificate is to be renewed soon, with [`Request::Renew`].
    Renew {
        /// Milliseconds over which callers spread their renewals.
        within_ms: u32,
    },
    /// The connection ends, and the certificate that it was made with does not count any more. It may
    /// also come in place of Welcome.
    Expelled {
        /// What is wrong with the certificate.
        cause: Expulsion,
        /// The same for people.
        reason: String,
    },
    /// Nothing more is delivered to a consumer that has said [`SpokeMessage::Enough`]: what is not answered
    /// by then is all that it has.
    Enough(ListenerId),
}

/// What is wrong with a certificate that TLS believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Expulsion {
    /// The hub has never issued it, or not for this.
    Unknown,
    /// It has ended, or is about to.
    Ended,
    /// An operator has revoked it: its holder is not to enrol again by itself.
    Revoked,
}

/// The hub's answer to Hello.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Welcome {
    /// The protocol version for this connection.
    pub protocol: u16,
    /// The hub.
    pub hub: HubId,
    /// The caller's service, as its certificate's row says.
    pub service: ServiceName,
    /// Which log this is; a position of another incarnation means nothing here.
    pub incarnation: u64,
    /// The last position of the log.
    pub head: Position,
    /// The hub's clock.
    pub now: Timestamp,
    /// Milliseconds of silence after which either end pings.
    pub keep_alive_ms: u32,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Reply {
    /// The events are durable. One entry an event, in the order of the request.
    Appended(Vec<Appended>),
    /// The listener is open.
    Listening {
        /// It gets what comes after this position (a group: when it was made).
        after: Position,
    },
    /// The listener is closed.
    Left,
    /// A page.
    Page(Page),
    /// So many events or links were changed; 0 if it was so already.
    Changed(u64),
    /// A page of groups, by name.
    Groups(Vec<GroupReport>),
    /// What is known of an event.
    Story(Box<EventStory>),
    /// The event that was waited for, or none: the time is over.
    Waited(Option<Arc<Event>>),
    /// What came of an ack with effects.
    Chained(Chained),
    /// How groups stand. After a removal: how they stood.
    GroupStatus(Vec<GroupStatus>),
    /// What came of a request about schedules.
    Schedule(ScheduleReply),
    /// Parked events, or what was done about one.
    Parked(ParkedReply),
    /// What came of an operator's request.
    Admin(Box<AdminReply>),
    /// A further certificate.
    Renewed(Box<Enrolled>),
    /// The first row of the outbox that has the event; `None` if none was found.
    Outbox(Option<Box<OutboxStory>>),
}

/// Where an appended event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Appended {
    /// Its place in the log.
    pub position: Position,
    /// Its place in its eventlog.
    pub version: Version,
    /// Whether this append stored it or an earlier one had.
    pub stored: Stored,
}

/// Whether an append stored an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Stored {
    /// By this append.
    Now,
    /// By an earlier append with the same id and content.
    Before,
}
