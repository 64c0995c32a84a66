//! Why a stranger was not let in, and who is told of it: the log, and the metrics.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, warn};

use crate::clock::Clock;
use crate::identity::{AuthError, IdentityError};
use crate::metrics::{HandshakeFailure, Metrics};
use crate::quiet::Quiet;

/// Why a stranger was not let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejected {
    #[error("the handshake took longer than {0:?}")]
    Slow(Duration),
    #[error("the handshake failed: {0}")]
    Handshake(std::io::Error),
    #[error("the peer speaks neither eventflow/1 nor eventflow-enroll/1 (ALPN)")]
    NotOurs,
    #[error("no TLS settings for an enrolment could be made: {0}")]
    NoEnrolment(#[from] IdentityError),
    #[error("the peer showed no certificate")]
    NoCertificate,
    #[error(transparent)]
    Certificate(#[from] AuthError),
}

impl Rejected {
    /// Its name in the metrics.
    fn counted(&self) -> HandshakeFailure {
        match self {
            Self::Slow(_) => HandshakeFailure::Timeout,
            Self::Handshake(_) | Self::NoCertificate | Self::NoEnrolment(_) => HandshakeFailure::Tls,
            Self::NotOurs => HandshakeFailure::Protocol,
            Self::Certificate(AuthError::Expired { .. }) => HandshakeFailure::Expired,
            Self::Certificate(AuthError::Revoked { .. }) => HandshakeFailure::Revoked,
            Self::Certificate(AuthError::Unavailable { .. }) => HandshakeFailure::Unavailable,
            Self::Certificate(_) => HandshakeFailure::Unknown,
        }
    }
}

/// Counts who is not let in, and tells of it.
#[derive(Debug, Clone)]
pub(super) struct Rejections {
    metrics: Metrics,
    clock: Clock,
    /// Who was told of in the log, and why he was not let in: by address and by the number of the reason.
    told: Arc<Mutex<Quiet<(IpAddr, usize)>>>,
}

impl Rejections {
    pub(super) fn new(metrics: Metrics, clock: Clock) -> Self {
        Self { metrics, clock, told: Arc::default() }
    }

    /// There is no room for one more.
    pub(super) fn too_many(&self) {
        self.metrics.handshake_failed(HandshakeFailure::TooMany);
    }

    /// Somebody was not let in. The log is told each reason once in a while for each address.
    pub(super) fn count(&self, address: SocketAddr, rejected: &Rejected) {
        self.metrics.handshake_failed(rejected.counted());
        let told = (address.ip(), rejected.counted() as usize);
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_due(told, self.clock.now()) {
            warn!(%address, reason = %rejected, "a peer was not let in");
        } else {
            debug!(%address, reason = %rejected, "a peer was not let in, again");
        }
    }
}
