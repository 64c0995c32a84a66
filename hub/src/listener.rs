//! The door: accepts connections, limits those that have not shown who they are, and hands the
//! rest to their own task.
//!
//! Nothing that a stranger does here costs more than one handshake, a few kilobytes and the time
//! limits below; and strangers are counted apart, so they cannot keep others out for long.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
use crate::identity::{AuthError, HubIdentity, Peer};
use crate::metrics::HandshakeFailure;

/// The wait after the system refused to accept: it is out of files, and some must close first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the door needs.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) identity: Arc<HubIdentity>,
    pub(crate) terms: Terms,
    pub(crate) limits: ConnectionLimits,
}

/// Why a stranger was not let in.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("the handshake took longer than {0:?}")]
    Slow(Duration),
    #[error("the handshake failed: {0}")]
    Handshake(std::io::Error),
    #[error("the peer does not speak eventflow/1 (ALPN)")]
    NotOurs,
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
            Self::Handshake(_) | Self::NoCertificate => HandshakeFailure::Tls,
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
                id: ConnectionId(next_id),
            };
            let span = info_span!("connection", id = next_id, %address);
            connections.spawn(visit.receive(stream, address, stranger, place).instrument(span));
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

/// One connection on its way from the door to its own task.
struct Visit {
    identity: Arc<HubIdentity>,
    terms: Terms,
    limits: ConnectionLimits,
    id: ConnectionId,
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
            Ok(met) => met,
            Err(rejected) => {
                metrics.handshake_failed(rejected.counted());
                debug!(%address, reason = %rejected, "a peer was not let in");
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

    async fn serve(self, stream: TlsStream<TcpStream>, peer: Peer) -> Ended {
        let clock = self.terms.commands.clock;
        let expires = Instant::now() + peer.not_after.since(clock.now());
        let store = self.terms.commands.store.clone();
        let (connection, outbox) = Connection::new(stream, peer, self.id, expires, self.terms);
        store.connected(self.id, outbox).await;
        connection.run().await
    }

    /// The TLS handshake, and whose certificate it was.
    async fn shake_hands(&self, stream: TcpStream) -> Result<(TlsStream<TcpStream>, Peer), Rejected> {
        stream.set_nodelay(true).map_err(Rejected::Handshake)?;
        let start =
            LazyConfigAcceptor::new(Acceptor::default(), stream).await.map_err(Rejected::Handshake)?;
        // A client without ALPN would pass rustls; it is sent away before anything is signed.
        let ours = start
            .client_hello()
            .alpn()
            .is_some_and(|mut offered| offered.any(|offer| offer == proto::message::ALPN));
        if !ours {
            return Err(Rejected::NotOurs);
        }
        let stream = start.into_stream(self.identity.server_config()).await.map_err(Rejected::Handshake)?;
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(|chain| chain.first().cloned())
            .ok_or(Rejected::NoCertificate)?;
        let now = self.terms.commands.clock.now();
        let peer = self.identity.authenticate(&leaf, now).await;
        Ok((stream, peer?))
    }
}
