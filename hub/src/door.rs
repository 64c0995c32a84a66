//! The door: accepts connections, limits those that have not shown who they are, and hands the
//! rest to their own task.
//!
//! Nothing that a stranger does here costs more than one handshake, a few kilobytes and the time
//! limits below; and strangers are counted apart, so they cannot keep others out for long.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::message::{ALPN, ALPN_ENROL, HubMessage};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::config::ConnectionLimits;
use crate::connection::{Connection, Ended, Terms};
use crate::dispatch::ConnectionId;
use crate::enrol::EnrolmentPort;
use crate::identity::{AuthError, HubIdentity, IdentityError, Peer};
use crate::metrics::HandshakeFailure;
use crate::quiet::Quiet;

/// The wait after the system refused to accept: it is out of files, and some must close first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long a peer is asked to wait whose certificate could not be looked up, in milliseconds.
const UNAVAILABLE_RETRY_MS: u32 = 1_000;

/// What the door needs.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) identity: Arc<HubIdentity>,
    pub(crate) terms: Terms,
    pub(crate) limits: ConnectionLimits,
    pub(crate) enrolments: Arc<EnrolmentPort>,
}

/// Why a stranger was not let in.
#[derive(Debug, thiserror::Error)]
enum Rejected {
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

/// How many strangers each address has at the door. Private to this file: a counter, not a state
/// that two tasks share.
#[derive(Debug, Clone, Default)]
struct Strangers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One stranger at the door; dropping it makes room.
struct Stranger {
    of: Strangers,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Strangers {
    fn admit(&self, address: IpAddr, max: usize, permit: OwnedSemaphorePermit) -> Option<Stranger> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Stranger { of: self.clone(), address, _permit: permit })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

impl Door {
    /// Lets peers in until `closing`, then waits until the last has gone; the connections' own
    /// `stop` ends them.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let strangers = Strangers::default();
        let before_hello = Arc::new(Semaphore::new(self.limits.unauthenticated_max));
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let told = Told::default();
        let mut connections = JoinSet::new();
        let mut next_id = 0_u64;
        loop {
            let accepted = tokio::select! {
                biased;
                () = closing.cancelled() => break,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                    continue;
                }
                accepted = self.listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "accepting failed; trying again");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            next_id += 1;
            let admitted = Arc::clone(&before_hello).try_acquire_owned().ok().and_then(|permit| {
                strangers.admit(address.ip(), self.limits.unauthenticated_per_address_max, permit)
            });
            let (Some(stranger), Ok(place)) = (admitted, Arc::clone(&places).try_acquire_owned()) else {
                self.terms.commands.metrics.handshake_failed(HandshakeFailure::TooMany);
                continue;
            };
            let visit = Visit {
                identity: Arc::clone(&self.identity),
                terms: self.terms.clone(),
                limits: self.limits,
                enrolments: Arc::clone(&self.enrolments),
                told: Arc::clone(&told),
                id: ConnectionId(next_id),
            };
            let span = info_span!("connection", id = next_id, %address);
            connections.spawn(visit.receive(stream, address, stranger, place).instrument(span));
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Who was told of in the log, and why he was not let in: by address and by the number of the reason.
type Told = Arc<Mutex<Quiet<(IpAddr, usize)>>>;

/// One connection on its way from the door to its own task.
struct Visit {
    identity: Arc<HubIdentity>,
    terms: Terms,
    limits: ConnectionLimits,
    enrolments: Arc<EnrolmentPort>,
    told: Told,
    id: ConnectionId,
}

/// Who was met at the door.
enum Met {
    /// A peer whose certificate is in the table.
    Peer(Box<TlsStream<TcpStream>>, Peer),
    /// Somebody who wants to get a certificate with a token, and where the hub was reached.
    Enrols(Box<TlsStream<TcpStream>>, SocketAddr),
}

impl Visit {
    async fn receive(
        self,
        stream: TcpStream,
        address: SocketAddr,
        stranger: Stranger,
        place: OwnedSemaphorePermit,
    ) {
        let metrics = self.terms.commands.metrics.clone();
        let within = self.limits.handshake_within;
        let stop = self.terms.stop.clone();
        let met = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            met = timeout(within, self.shake_hands(stream)) => met,
        };
        let (stream, peer) = match met.unwrap_or(Err(Rejected::Slow(within))) {
            Ok(Met::Peer(stream, peer)) => (*stream, peer),
            Ok(Met::Enrols(stream, reached)) => {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.enrolments.serve(*stream, address, reached) => {}
                }
                return;
            }
            Err(rejected) => {
                metrics.handshake_failed(rejected.counted());
                self.tell(address, &rejected);
                return;
            }
        };
        // Who has shown a certificate of ours is no stranger; Hello has a time limit of its own.
        drop(stranger);
        metrics.connected();
        info!(service = %peer.service, instance = %peer.instance, "peer connected");
        let (notes, who) = (self.terms.notes.clone(), format!("{}/{}", peer.service, peer.instance));
        notes.note(&who, "connected");
        let ended = self.serve(stream, peer).await;
        metrics.disconnected();
        match ended {
            Ended::Violation(violation) => {
                warn!(%violation, "peer sent away: it broke the protocol");
                notes.error(&who, "sent away: it broke the protocol", &violation.to_string());
            }
            ended => {
                info!(reason = %ended, "peer gone");
                notes.note(&who, &format!("disconnected: {ended}"));
            }
        }
        drop(place);
    }

    /// Logs why somebody was not let in: each reason once in a while for each address.
    fn tell(&self, address: SocketAddr, rejected: &Rejected) {
        let now = self.terms.commands.clock.now();
        let told = (address.ip(), rejected.counted() as usize);
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).is_due(told, now) {
            warn!(%address, reason = %rejected, "a peer was not let in");
        } else {
            debug!(%address, reason = %rejected, "a peer was not let in, again");
        }
    }

    async fn serve(self, stream: TlsStream<TcpStream>, peer: Peer) -> Ended {
        let clock = self.terms.commands.clock;
        let expires = Instant::now() + peer.not_after.since(clock.now());
        let store = self.terms.commands.store.clone();
        let (connection, outbox) = Connection::new(stream, peer, self.id, expires, self.terms);
        store.connected(self.id, outbox).await;
        connection.run().await
    }

    /// The TLS handshake, and whose certificate it was.
    async fn shake_hands(&self, stream: TcpStream) -> Result<Met, Rejected> {
        stream.set_nodelay(true).map_err(Rejected::Handshake)?;
        let reached = stream.local_addr().map_err(Rejected::Handshake)?;
        let start =
            LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(Rejected::Handshake)?;
        // A client without ALPN would pass rustls; it is sent away before anything is signed.
        let hello = start.client_hello();
        let offers = |wanted: &[u8]| hello.alpn().is_some_and(|mut offered| offered.any(|one| one == wanted));
        if !offers(ALPN) {
            if !offers(ALPN_ENROL) {
                return Err(Rejected::NotOurs);
            }
            let config = self.identity.enrolment_config()?;
            let stream = start.into_stream(config).await.map_err(Rejected::Handshake)?;
            return Ok(Met::Enrols(Box::new(stream), reached));
        }
        let mut stream =
            start.into_stream(self.identity.server_config()).await.map_err(Rejected::Handshake)?;
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first().cloned())
            .ok_or(Rejected::NoCertificate)?;
        let now = self.terms.commands.clock.now();
        match self.identity.authenticate(&leaf, now).await {
            Ok(peer) => Ok(Met::Peer(Box::new(stream), peer)),
            Err(error) => {
                expel(&mut stream, &error).await;
                Err(error.into())
            }
        }
    }
}

/// Tells a peer that TLS believes why it is not let in after all. Its handshake has succeeded by then,
/// so an alert would not reach whoever looks at errors of the handshake.
async fn expel(stream: &mut TlsStream<TcpStream>, error: &AuthError) {
    let message = match error.expulsion() {
        Some(cause) => HubMessage::Expelled { cause, reason: error.to_string() },
        None => HubMessage::GoAway { reason: error.to_string(), retry_after_ms: UNAVAILABLE_RETRY_MS },
    };
    let mut body = Vec::new();
    if let Err(error) = proto::wire::encode(&message, &mut body) {
        return debug!(%error, "a refusal was not encoded; report this as a bug");
    }
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let told = async {
        stream.write_all(&[length.as_slice(), &body].concat()).await?;
        stream.flush().await?;
        stream.shutdown().await
    };
    // The whole of the handshake has a time limit, which this is a part of.
    if let Err(error) = told.await {
        debug!(%error, "a refused peer was not told why");
    }
}
