//! What a spoke's session tells its driver, and what it may be told to listen to.

use std::sync::Arc;
use std::time::Duration;

use super::RequestKey;
use crate::certs::Trust;
use crate::event::Event;
use crate::filter::{Order, Start, Topic};
use crate::message::{Consume, Expulsion, Reply, Request, Scope, Subscribe, Welcome};
use crate::name::GroupName;
use crate::number::{Attempt, ListenerId, Position};
use crate::refusal::Refusal;

/// A wish to listen, without the number that the session gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// As a member of a group.
    Consume {
        /// The group.
        group: GroupName,
        /// What it gets.
        topic: Topic,
        /// Where the group starts if it is new.
        start: Start,
        /// Whether a process's events come one by one.
        order: Order,
        /// Deliveries that may be without an answer at a time; at least 1.
        credit: u32,
    },
    /// On one's own.
    Subscribe {
        /// What it gets; `None` is every domain.
        topic: Option<Topic>,
        /// Whether events that were only persisted come too.
        scope: Scope,
        /// Where it starts; after a reconnect it goes on where it was.
        start: Start,
        /// Events that may be told before room is given back; at least 1.
        credit: u32,
    },
}

impl Listen {
    /// What is said to the hub: from `start` on, with so much credit.
    pub(super) fn request(&self, listener: ListenerId, start: Start, credit: u32) -> Request {
        match self {
            Self::Consume { group, topic, order, .. } => Request::Consume(Consume {
                listener,
                group: group.clone(),
                topic: topic.clone(),
                start,
                order: *order,
                credit,
            }),
            Self::Subscribe { topic, scope, .. } => {
                Request::Subscribe(Subscribe { listener, topic: topic.clone(), scope: *scope, start, credit })
            }
        }
    }

    pub(super) fn start(&self) -> Start {
        match self {
            Self::Consume { start, .. } | Self::Subscribe { start, .. } => *start,
        }
    }

    pub(super) fn credit(&self) -> u32 {
        match self {
            Self::Consume { credit, .. } | Self::Subscribe { credit, .. } => *credit,
        }
    }
}

/// What came from a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromHub {
    /// The link is open: what was not answered is being asked again.
    Welcome {
        /// The number of the link, as in deliveries.
        link: u64,
        /// What the hub said.
        welcome: Welcome,
    },
    /// A request is answered, for the only time.
    Answered {
        /// Which request.
        key: RequestKey,
        /// What came of it.
        outcome: Result<Reply, Refusal>,
    },
    /// The link has ended before the answer to a chain came: whether it was committed is not known. If it
    /// was not, its event comes again.
    Lost {
        /// Which one.
        key: RequestKey,
    },
    /// A listener is open, at first or again after a reconnect.
    ListenerOpen {
        /// Which listener.
        listener: ListenerId,
        /// It gets what comes after this position (a group: when it was made).
        after: Position,
    },
    /// A listener is over, for the only time: nothing more comes from it.
    ListenerClosed {
        /// Which listener.
        listener: ListenerId,
        /// Why; `None` after [`super::SpokeSession::leave`].
        refusal: Option<Refusal>,
    },
    /// An event for a consumer, to be answered on the same link.
    Delivered {
        /// For which listener.
        listener: ListenerId,
        /// On which link.
        link: u64,
        /// Which try this is.
        attempt: Attempt,
        /// The event.
        event: Arc<Event>,
    },
    /// An event for a subscription, in the order of the log, without a gap or a repeat.
    Pushed {
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
    /// A subscription has seen everything up to here.
    CaughtUp {
        /// Which listener.
        listener: ListenerId,
        /// Up to here.
        position: Position,
    },
    /// A consumer may keep deliveries for so long without an answer or a sign of progress.
    Deadline {
        /// Which listener.
        listener: ListenerId,
        /// For so long.
        within: Duration,
    },
    /// The hub is about to close, or refuses as one that is stopping: nothing new is asked on this
    /// link. Answer what is there, then close and connect again. It may come more than once.
    GoAway {
        /// Why, for people.
        reason: String,
        /// How long to wait before that.
        retry_after: Duration,
    },
    /// What is to be trusted from now on; say that it is kept with
    /// [`super::SpokeSession::trust_kept`].
    Trust(Trust),
    /// The certificate is to be renewed, at a moment of choice within this span.
    Renew {
        /// The span.
        within: Duration,
    },
    /// The hub ends the link, and the certificate does not count any more.
    Expelled {
        /// What is wrong with the certificate.
        cause: Expulsion,
        /// The same for people.
        reason: String,
    },
}
