//! The door: lets peers in, and holds their connections until the last has gone.
//!
//! Strangers are accepted, limited and shaken hands with on a thread of their own ([`threshold`]), so that
//! a crowd of them does not keep those waiting who are inside. Here, on the hub's own runtime, it is looked
//! up whose certificate it was; then the peer is handed to its own task, or its enrolment is served.

use std::convert::Infallible;
use std::sync::Arc;

use proto::message::HubMessage;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, warn};

use crate::config::ConnectionLimits;
use crate::connection::{Connection, Ended, Terms};
use crate::dispatch::ConnectionId;
use crate::enrol::EnrolmentPort;
use crate::identity::{AuthError, HubIdentity, Peer};

mod rejected;
mod socket;
mod strangers;
mod threshold;

use rejected::{Rejected, Rejections};
use socket::Socket;
use threshold::{Arrival, Met, Threshold};

/// Peers that were shaken hands with and wait to be looked up. At it the door waits.
const ARRIVALS_MAX: usize = 64;

/// Peers that are looked up at a time. More wait: what they need done would be queued before what those
/// need who are inside.
const LOOKED_UP_MAX: usize = 4;

/// How long a peer is asked to wait whose certificate could not be looked up, in milliseconds.
const UNAVAILABLE_RETRY_MS: u32 = 1_000;

/// What the door needs.
pub(crate) struct DoorParts {
    pub(crate) identity: Arc<HubIdentity>,
    pub(crate) terms: Terms,
    pub(crate) limits: ConnectionLimits,
    pub(crate) enrolments: Arc<EnrolmentPort>,
    /// Cancelled when nobody is let in any more.
    pub(crate) closing: CancellationToken,
}

/// The side of the door that is inside.
pub(crate) struct Door {
    arrivals: mpsc::Receiver<Arrival>,
    visit: Visit,
}

impl Door {
    /// Starts to let peers in. What comes with it ends when the thread does that shakes hands; before
    /// `closing` that is a fault, and nobody is let in any more.
    ///
    /// # Errors
    /// What the system has against a thread or its runtime.
    pub(crate) fn open(
        parts: DoorParts,
        listener: TcpListener,
    ) -> std::io::Result<(Self, oneshot::Receiver<Infallible>)> {
        let DoorParts { identity, terms, limits, enrolments, closing } = parts;
        let (met, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let rejections = Rejections::new(terms.commands.metrics.clone(), terms.commands.clock);
        let threshold = Threshold {
            identity: Arc::clone(&identity),
            limits,
            rejections: rejections.clone(),
            arrivals: met,
            closing,
            stop: terms.stop.clone(),
        };
        let ended = threshold.start(listener)?;
        Ok((Self { arrivals, visit: Visit { identity, terms, limits, enrolments, rejections } }, ended))
    }

    /// Serves those who are let in until nobody is any more and the last has gone; the connections' own
    /// `stop` ends them.
    pub(crate) async fn run(mut self) {
        let turns = Arc::new(Semaphore::new(LOOKED_UP_MAX));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a connection's task failed");
                    }
                }
                next = next(&mut self.arrivals, &turns) => {
                    let Some((arrival, turn)) = next else { break };
                    let span = arrival.span.clone();
                    connections.spawn(self.visit.clone().receive(arrival, turn).instrument(span));
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }
}

/// The next arrival, when it is its turn. Cancel safe: an arrival is taken last.
async fn next(
    arrivals: &mut mpsc::Receiver<Arrival>,
    turns: &Arc<Semaphore>,
) -> Option<(Arrival, OwnedSemaphorePermit)> {
    let turn = Arc::clone(turns).acquire_owned().await.expect("this semaphore is never closed");
    arrivals.recv().await.map(|arrival| (arrival, turn))
}

/// One connection on its way from the door to its own task.
#[derive(Clone)]
struct Visit {
    identity: Arc<HubIdentity>,
    terms: Terms,
    limits: ConnectionLimits,
    enrolments: Arc<EnrolmentPort>,
    rejections: Rejections,
}

impl Visit {
    async fn receive(self, arrival: Arrival, turn: OwnedSemaphorePermit) {
        let Arrival { met, id, address, by, stranger, place, .. } = arrival;
        let stop = self.terms.stop.clone();
        let mut stream = match met {
            Met::Peer(stream) => stream,
            Met::Enrols(mut stream, reached) => {
                if let Err(error) = stream.get_mut().0.arrive() {
                    return self.rejections.count(address, &Rejected::Handshake(error));
                }
                // Enrolments have limits of their own.
                drop(turn);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = self.enrolments.serve(*stream, address, reached) => {}
                }
                return;
            }
        };
        let known = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            known = timeout_at(by, self.recognise(&mut stream)) => known,
        };
        drop(turn);
        let peer = match known.unwrap_or(Err(Rejected::Slow(self.limits.handshake_within))) {
            Ok(peer) => peer,
            Err(rejected) => return self.rejections.count(address, &rejected),
        };
        // Who has shown a certificate of ours is no stranger; Hello has a time limit of its own.
        drop(stranger);
        self.host(*stream, peer, id).await;
        drop(place);
    }

    /// Whose certificate the peer has shown. One that does not count is told so.
    async fn recognise(&self, stream: &mut TlsStream<Socket>) -> Result<Peer, Rejected> {
        stream.get_mut().0.arrive().map_err(Rejected::Handshake)?;
        let chain = stream.get_ref().1.peer_certificates();
        let leaf = chain.and_then(|chain| chain.first().cloned()).ok_or(Rejected::NoCertificate)?;
        match self.identity.authenticate(&leaf, self.terms.commands.clock.now()).await {
            Ok(peer) => Ok(peer),
            Err(error) => {
                expel(stream, &error).await;
                Err(error.into())
            }
        }
    }

    /// Serves a peer to its end, which is told in the log and to operators.
    async fn host(self, stream: TlsStream<Socket>, peer: Peer, id: ConnectionId) {
        let metrics = self.terms.commands.metrics.clone();
        metrics.connected();
        info!(service = %peer.service, instance = %peer.instance, "peer connected");
        let (notes, who) = (self.terms.notes.clone(), format!("{}/{}", peer.service, peer.instance));
        notes.note(&who, "connected");
        let ended = self.serve(stream, peer, id).await;
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
    }

    async fn serve(self, stream: TlsStream<Socket>, peer: Peer, id: ConnectionId) -> Ended {
        let clock = self.terms.commands.clock;
        let expires = Instant::now() + peer.not_after.since(clock.now());
        let store = self.terms.commands.store.clone();
        let (connection, outbox) = Connection::new(stream, peer, id, expires, self.terms);
        store.connected(id, outbox).await;
        connection.run().await
    }
}

/// Tells a peer that TLS believes why it is not let in after all. Its handshake has succeeded by then,
/// so an alert would not reach whoever looks at errors of the handshake.
async fn expel(stream: &mut TlsStream<Socket>, error: &AuthError) {
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
