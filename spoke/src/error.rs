//! What can go wrong, one enum for each thing that a caller does: connect, publish, ask, listen.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::{EventError, EventId, Refusal};

use crate::state::StateError;

/// Why there is no link to a hub.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given and the data folder holds none: no hub runs there.
    #[error(
        "no hub is running: {} does not exist; start one with `eventflow hub`, or name its data folder (--data, EVENTFLOW_DATA) or its address (--hub)",
        address_file.display()
    )]
    NoHub {
        /// Where the hub's address was looked for.
        address_file: PathBuf,
    },
    /// Nobody answered within the time to connect.
    #[error(
        "no hub answered at {address} within {waited:?}: {reason}; check that it is running and that the address is right"
    )]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// For how long.
        waited: Duration,
        /// What went wrong the last time.
        reason: String,
    },
    /// There is no identity, no hub on this machine that could issue one, and no token.
    #[error(
        "service {service} has no certificate: {} holds none, there is no enrolment socket at {}, and no token was given; use one of the three: enrol with `eventflow spoke enroll --token-file FILE --hub HOST:PORT`, connect on the hub's machine with its data folder (--data, EVENTFLOW_DATA), or name a token (EVENTFLOW_ENROLL_TOKEN_FILE)",
        folder.display(), socket.display()
    )]
    NoIdentity {
        /// The service.
        service: String,
        /// Where its identity was looked for.
        folder: PathBuf,
        /// Where a hub was looked for that could issue one.
        socket: PathBuf,
    },
    /// The enrolment token cannot be read. Nothing was sent.
    #[error("the enrolment token in {place} cannot be used: {reason}")]
    Token {
        /// Where it was looked for.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The hub gave no certificate for the token.
    #[error("the hub at {address} issued no certificate: {refusal}")]
    TokenRefused {
        /// Which hub.
        address: String,
        /// What it says.
        refusal: Refusal,
    },
    /// Another hub is there than the one whose token it is.
    #[error(
        "the hub at {address} is not the one that the enrolment token is from: its root certificate is another; the token was not sent; check the address, or get a token from this hub (`eventflow token create`)"
    )]
    OtherHub {
        /// Where it was looked for.
        address: String,
    },
    /// The hub gave no certificate.
    #[error("service {service} got no certificate from {}: {refusal}", socket.display())]
    EnrolmentRefused {
        /// The service that asked.
        service: String,
        /// The enrolment socket.
        socket: PathBuf,
        /// What the hub says.
        refusal: Refusal,
    },
    /// The hub does not accept this spoke's certificate, not even a new one.
    #[error(
        "the hub at {address} refuses this spoke's certificate ({reason}), also after a new enrolment; check that {} belongs to this hub",
        folder.display()
    )]
    CertificateRefused {
        /// Which hub.
        address: String,
        /// What it said.
        reason: String,
        /// Where the identity is kept.
        folder: PathBuf,
    },
    /// An operator has revoked this spoke's certificate. It does not enrol again by itself.
    #[error(
        "the hub at {address} has expelled this spoke: {reason}; ask its operator, then enrol again with `eventflow spoke enroll` or remove {}",
        folder.display()
    )]
    Revoked {
        /// Which hub.
        address: String,
        /// What it said.
        reason: String,
        /// Where the identity is kept.
        folder: PathBuf,
    },
    /// The identity cannot be kept in the data folder.
    #[error(
        "the identity in {} cannot be read or written: {reason}; check who owns the folder",
        path.display()
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The spoke was closed while it was connecting.
    #[error("the spoke was closed before it was connected")]
    Closed,
}

/// Why events were not published, or why that is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// An event cannot be taken by any hub. Nothing was sent.
    #[error("event {id}: {source}")]
    Event {
        /// Which one.
        id: EventId,
        /// What is wrong with it.
        source: EventError,
    },
    /// There is more of something than one append may hold. Nothing was sent.
    #[error("the append has {found} {what}; at most {max} are allowed: split it")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        max: usize,
    },
    /// The hub said no: nothing of the append was stored.
    #[error(transparent)]
    Refused(Refusal),
    /// No answer came in time: whether it was stored is not known, and asking again tells.
    #[error(
        "event {id} was not answered within {waited:?}; publish it again with the same id, that is safe: it is stored once"
    )]
    Unavailable {
        /// The first event's id.
        id: EventId,
        /// How long was waited.
        waited: Duration,
    },
    /// The spoke is closed. Whether the event was stored is not known if it was under way.
    #[error("the spoke is closed ({reason}); connect again and publish event {id} again, that is safe")]
    Closed {
        /// The first event's id.
        id: EventId,
        /// Why it is closed.
        reason: ClosedReason,
    },
}

impl PublishError {
    /// Whether the same events with the same ids may succeed later as they are.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Event { .. } | Self::TooLarge { .. } => false,
            Self::Refused(refusal) => matches!(refusal, Refusal::Unavailable { .. } | Refusal::Stopping),
            Self::Unavailable { .. } | Self::Closed { .. } => true,
        }
    }
}

/// Why a question or a change was not answered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// What was named does not exist.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The hub said no.
    #[error(transparent)]
    Refused(Refusal),
    /// No answer came in time. Asking again is safe.
    #[error("no answer from the hub within {waited:?}; try again, that is safe")]
    Unavailable {
        /// How long was waited.
        waited: Duration,
    },
    /// An event's data cannot become part of a state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spoke is closed.
    #[error("the spoke is closed ({reason}); connect again")]
    Closed {
        /// Why it is closed.
        reason: ClosedReason,
    },
}

/// Why a consumer or a subscription did not start, or ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The hub said no.
    #[error(transparent)]
    Refused(Refusal),
    /// More names were given than a filter may hold.
    #[error("{found} event names were given; at most {max} are allowed: use the wildcard")]
    TooManyNames {
        /// How many.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// Neither a handler nor a name was given: nothing could ever be handled.
    #[error("the consumer of {domain} has no handler; give it one with name() or any()")]
    NoHandler {
        /// Of which domain.
        domain: String,
    },
    /// No answer came in time.
    #[error("no answer from the hub within {waited:?}; try again, that is safe")]
    Unavailable {
        /// How long was waited.
        waited: Duration,
    },
    /// The spoke is closed.
    #[error("the spoke is closed ({reason}); connect again")]
    Closed {
        /// Why it is closed.
        reason: ClosedReason,
    },
}

/// Why a spoke is closed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClosedReason {
    /// Its owner has closed it.
    #[error("close was called")]
    ByOwner,
    /// The link cannot come back.
    #[error("the link is lost for good: {0}")]
    Lost(Arc<ConnectError>),
}

/// Why a request has no reply: what the link says, before an operation puts it into its own words.
#[derive(Debug, Clone)]
pub(crate) enum AskError {
    Refused(Refusal),
    Unavailable { waited: Duration },
    Closed(ClosedReason),
}

impl From<AskError> for RequestError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(Refusal::NotFound { what }) => Self::NotFound { what },
            AskError::Refused(refusal) => Self::Refused(refusal),
            AskError::Unavailable { waited } => Self::Unavailable { waited },
            AskError::Closed(reason) => Self::Closed { reason },
        }
    }
}

impl From<AskError> for ListenError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused(refusal) => Self::Refused(refusal),
            AskError::Unavailable { waited } => Self::Unavailable { waited },
            AskError::Closed(reason) => Self::Closed { reason },
        }
    }
}

impl AskError {
    /// This error in the words of a publication whose first event is `id`.
    pub(crate) fn of_publication(self, id: EventId) -> PublishError {
        match self {
            Self::Refused(refusal) => PublishError::Refused(refusal),
            Self::Unavailable { waited } => PublishError::Unavailable { id, waited },
            Self::Closed(reason) => PublishError::Closed { id, reason },
        }
    }
}
