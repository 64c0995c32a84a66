//! What the other end of a connection did that it must not. Its connection is closed.

use std::time::Duration;

use crate::number::{ListenerId, Position, RequestId};
use crate::wire::DecodeError;

/// A broken rule of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame is larger than it may be now.
    #[error("a frame of {found} bytes came; at most {max} are allowed now")]
    FrameTooLarge {
        /// Its bytes.
        found: usize,
        /// How many it may have.
        max: usize,
    },
    /// A frame is not a message.
    #[error(transparent)]
    NotAMessage(#[from] DecodeError),
    /// Something was said too early, too late or twice.
    #[error("{what} came {when}")]
    OutOfTurn {
        /// What was said.
        what: &'static str,
        /// Why it was out of turn.
        when: &'static str,
    },
    /// No common protocol version.
    #[error("the other end speaks protocol {min} to {max}, this one {ours}; update the older one")]
    Version {
        /// The lowest version of the other end.
        min: u16,
        /// The highest version of the other end.
        max: u16,
        /// The version of this end.
        ours: u16,
    },
    /// There is more of something than a limit allows, or less than one.
    #[error("{limit}: {found} came, {min} to {max} are allowed")]
    Limit {
        /// The limit, as in [`crate::limits`].
        limit: &'static str,
        /// What came.
        found: usize,
        /// The least.
        min: usize,
        /// The most.
        max: usize,
    },
    /// The names of a filter are not sorted, each once.
    #[error("the names of a filter are not sorted or not each once")]
    UnsortedNames,
    /// A request's number is not above the one before it.
    #[error("request {id} came after request {last}; numbers must grow")]
    RequestNumber {
        /// Its number.
        id: RequestId,
        /// The highest before it.
        last: RequestId,
    },
    /// A listener's number is not above the one before it.
    #[error("listener {listener} came after listener {last}; numbers must grow")]
    ListenerNumber {
        /// Its number.
        listener: ListenerId,
        /// The highest before it.
        last: ListenerId,
    },
    /// A listener was named that was never opened, or that is of the other kind.
    #[error("{what} names listener {listener}, which is not one that it can go to")]
    WrongListener {
        /// What named it.
        what: &'static str,
        /// The number.
        listener: ListenerId,
    },
    /// A reply came for a request that is not open.
    #[error("a reply came to request {id}, which is not open")]
    UnexpectedReply {
        /// The request's number.
        id: RequestId,
    },
    /// A reply is not of the kind that was asked for.
    #[error("the reply to request {id} is not one to what was asked")]
    WrongReply {
        /// The request's number.
        id: RequestId,
    },
    /// A listener got more than it has allowed.
    #[error("listener {listener} got more than its credit of {credit} events")]
    CreditExceeded {
        /// Which listener.
        listener: ListenerId,
        /// What it had allowed.
        credit: u32,
    },
    /// A subscription was told of an event that is not after the one before.
    #[error("listener {listener} was told of position {position} after {last}")]
    PushedBackwards {
        /// Which subscription.
        listener: ListenerId,
        /// The event's position.
        position: Position,
        /// What it had seen.
        last: Position,
    },
    /// The connection was made, but what opens it did not come in time.
    #[error("{what} did not come within {within:?}")]
    Late {
        /// What was waited for.
        what: &'static str,
        /// How long.
        within: Duration,
    },
    /// Nothing was heard although a ping asked for it, or nothing was read any more.
    #[error("the other end has been silent for {silent:?}")]
    Silent {
        /// How long.
        silent: Duration,
    },
}
