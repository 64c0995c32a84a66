//! Enrolment with a token, at the port that spokes connect to: for peers of other machines and users,
//! which have no certificate yet.
//!
//! TLS has shown the hub's chain to the peer, and nothing of the peer to the hub. One request, one
//! answer, each one frame; whatever is wrong is told in the answer, logged once and counted, and never
//! with the secret. Until then the peer counts as a stranger at the door.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use db::{RecordError, TokenRow, Tokens};
use futures::{SinkExt, StreamExt};
use proto::enrol::{EnrolReply, Enrolled, TokenEnrolment, TokenId};
use proto::limits::ENROLMENT_FRAME_BYTES_MAX;
use proto::{Refusal, ServiceName, Timestamp, wire};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::STORED_WITHIN;
use super::limits::EnrolLimits;
use crate::clock::Clock;
use crate::command::Commands;
use crate::identity::{Entry, HubIdentity, IdentityError};
use crate::metrics::{EnrolmentOutcome, Metrics};

/// How long a peer may take to ask, and to take the answer. Then the connection is closed.
const PEER_WITHIN: Duration = Duration::from_secs(5);

/// What is wrong with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenFault {
    /// There is none with this id and secret.
    Unknown,
    /// Its time is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// An operator has made it useless.
    Withdrawn,
    /// As many certificates were issued for it as it was good for.
    UsedUp,
    /// It is for another service.
    OtherService {
        /// For which one.
        service: ServiceName,
    },
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NEW: &str = "ask whoever runs the hub for a new one (`eventflow token create`)";
        match self {
            Self::Unknown => write!(f, "the hub does not know this enrolment token; {NEW}"),
            Self::Expired { at } => write!(f, "the enrolment token has expired, at {at}; {NEW}"),
            Self::Withdrawn => write!(f, "the enrolment token was withdrawn; {NEW}"),
            Self::UsedUp => write!(f, "the enrolment token is used up; {NEW}"),
            Self::OtherService { service } => {
                write!(f, "the enrolment token is for service {service}; enrol as that one, or {NEW}")
            }
        }
    }
}

/// Answers enrolments with tokens.
#[derive(Debug)]
pub(crate) struct EnrolmentPort {
    identity: Arc<HubIdentity>,
    tokens: Tokens,
    /// Where spokes are told to connect; none: where they have reached this hub.
    advertised: Vec<String>,
    clock: Clock,
    metrics: Metrics,
    limits: Mutex<EnrolLimits>,
    started: Instant,
}

impl EnrolmentPort {
    /// What answers with the authorities and tables that `commands` works on.
    pub(crate) fn new(commands: &Commands, advertised: Vec<String>) -> Self {
        Self {
            identity: Arc::clone(&commands.identity),
            tokens: commands.database.tokens(),
            advertised,
            clock: commands.clock,
            metrics: commands.metrics.clone(),
            limits: Mutex::new(EnrolLimits::new(Duration::ZERO)),
            started: Instant::now(),
        }
    }

    /// Serves a peer that came from `from` and has reached this hub at `reached`.
    pub(crate) async fn serve<S>(&self, stream: S, from: SocketAddr, reached: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let codec = LengthDelimitedCodec::builder().max_frame_length(ENROLMENT_FRAME_BYTES_MAX).new_codec();
        let mut frames = Framed::new(stream, codec);
        // It is read in any case: to close with it unread would take the answer back.
        let Ok(Some(Ok(frame))) = timeout(PEER_WITHIN, frames.next()).await else {
            self.metrics.enrolment(EnrolmentOutcome::Refused);
            return tracing::warn!(%from, "an enrolment was refused: no request that could be read came in time");
        };
        let reply = match self.admit(from) {
            Ok(()) => self.answer(&frame, from, reached).await,
            Err(reply) => reply,
        };
        let mut bytes = Vec::new();
        if let Err(error) = wire::encode(&reply, &mut bytes) {
            return tracing::error!(%error, "an enrolment was not answered; report this as a bug");
        }
        let sent = async {
            frames.send(Bytes::from(bytes)).await?;
            SinkExt::<Bytes>::close(&mut frames).await
        };
        // Whoever has gone needs another token; the row of an unused certificate harms nobody.
        if !matches!(timeout(PEER_WITHIN, sent).await, Ok(Ok(()))) {
            tracing::debug!(%from, "an enrolment's answer was not taken");
        }
    }

    /// Whether the peer is not one too many.
    fn admit(&self, from: SocketAddr) -> Result<(), EnrolReply> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.admit(from.ip(), self.started.elapsed()).map_err(|wait| {
            // Not a line for each: whoever comes too often would fill the log.
            tracing::debug!(%from, "too many enrolments at once");
            self.metrics.enrolment(EnrolmentOutcome::Limited);
            EnrolReply::Busy { retry_after_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX) }
        })
    }

    async fn answer(&self, frame: &[u8], from: SocketAddr, reached: SocketAddr) -> EnrolReply {
        let request: TokenEnrolment = match wire::decode(frame) {
            Ok(request) => request,
            Err(error) => return self.refused(from, None, Refusal::Invalid { reason: error.to_string() }),
        };
        let token = request.token;
        let issued = timeout(STORED_WITHIN, self.issue(request)).await;
        match issued.unwrap_or_else(|_| Err(late())) {
            Ok((service, mut enrolled)) => {
                enrolled.hubs = match self.advertised.as_slice() {
                    [] => vec![SocketAddr::new(reached.ip().to_canonical(), reached.port()).to_string()],
                    named => named.to_vec(),
                };
                self.metrics.enrolment(EnrolmentOutcome::Issued);
                tracing::info!(%service, %token, %from, "a spoke has enrolled");
                EnrolReply::Issued(enrolled)
            }
            Err(refusal) => self.refused(from, Some(token), refusal),
        }
    }

    fn refused(&self, from: SocketAddr, token: Option<TokenId>, refusal: Refusal) -> EnrolReply {
        let token = token.map(|token| token.to_string()).unwrap_or_default();
        self.metrics.enrolment(EnrolmentOutcome::Refused);
        tracing::warn!(%from, token, %refusal, "an enrolment was refused");
        EnrolReply::Refused(refusal)
    }

    /// The token's service and a certificate for it.
    async fn issue(&self, request: TokenEnrolment) -> Result<(ServiceName, Enrolled), Refusal> {
        let now = self.clock.now();
        let denied = |fault: TokenFault| Refusal::Denied { reason: fault.to_string() };
        let row = match self.tokens.find(request.token).await {
            Ok(row) if row.secret.is(&request.secret.digest()) => row,
            Ok(_) | Err(RecordError::NotFound { .. }) => return Err(denied(TokenFault::Unknown)),
            Err(error) => return Err(Refusal::Unavailable { reason: error.to_string() }),
        };
        check(&row, request.service.as_ref(), now).map_err(denied)?;
        let entry = Entry::Token(row.id);
        // The request is checked before a use is taken, and the tables decide whether there is one.
        let issued = self.identity.enrol(&request.csr, &row.service, entry, now).await;
        let enrolled = issued.map_err(|error: IdentityError| error.to_refusal())?;
        Ok((row.service, enrolled))
    }
}

/// Whether the token is good for `service` at `now`. Only whoever has its secret is told why not.
fn check(token: &TokenRow, service: Option<&ServiceName>, now: Timestamp) -> Result<(), TokenFault> {
    if token.withdrawn.is_some() {
        return Err(TokenFault::Withdrawn);
    }
    if token.expires <= now {
        return Err(TokenFault::Expired { at: token.expires });
    }
    if token.uses >= token.uses_max {
        return Err(TokenFault::UsedUp);
    }
    match service {
        Some(service) if *service != token.service => {
            Err(TokenFault::OtherService { service: token.service.clone() })
        }
        Some(_) | None => Ok(()),
    }
}

fn late() -> Refusal {
    Refusal::Unavailable { reason: format!("the certificate was not stored within {STORED_WITHIN:?}") }
}
