//! The threshold: a thread with a runtime of its own, on which strangers are accepted, limited, and shaken
//! hands with. Who has proved to hold the key of a certificate of ours goes on to the hub.
//!
//! A handshake is a third of a millisecond of arithmetic. On the hub's own runtime a burst of them would
//! be served before whatever those say who are inside; here it takes one processor at most, and rests a
//! little after each step, so that others get at that one too. Somebody who says nothing costs a socket.
//!
//! Nothing here asks the database: its connections belong to the runtime that made them.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use proto::message::{ALPN, ALPN_ENROL};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, debug, info_span, warn};

use super::rejected::{Rejected, Rejections};
use super::socket::Socket;
use super::strangers::{Stranger, Strangers};
use crate::config::ConnectionLimits;
use crate::dispatch::ConnectionId;
use crate::identity::HubIdentity;

/// What operators see the thread as.
const THREAD: &str = "eventflow-door";

/// A step of a handshake that took as long has computed; others have only looked whether there is something
/// to read.
const TIRED_AFTER: Duration = Duration::from_micros(50);

/// How long the thread rests after each step of a handshake that has computed. A system that lets whoever
/// computes go on to the end of his slice lets others wait as long, even those that bring the disk's
/// answers to the writer.
const REST_FOR: Duration = Duration::from_micros(100);

/// The alert for whoever offers no protocol of ours: without one, people see a connection that closes for no
/// reason. A record of TLS (21, version 3.3, 2 bytes): fatal, `no_application_protocol` (RFC 7301, 3.2).
const NO_APPLICATION_PROTOCOL: [u8; 7] = [21, 3, 3, 0, 2, 2, 120];

/// The wait after the system refused to accept: it is out of files, and some must close first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Somebody whom the door has shaken hands with.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) met: Met,
    pub(super) id: ConnectionId,
    pub(super) address: SocketAddr,
    /// When it must have been let in.
    pub(super) by: Instant,
    /// To be dropped when it is a stranger no more.
    pub(super) stranger: Stranger,
    /// To be dropped when it has gone.
    pub(super) place: OwnedSemaphorePermit,
    pub(super) span: Span,
}

/// Who was met. The socket is on its way: [`Socket::arrive`].
#[derive(Debug)]
pub(super) enum Met {
    /// A peer with a certificate that hangs from a root of ours.
    Peer(Box<TlsStream<Socket>>),
    /// Somebody who wants to get a certificate with a token, and where the hub was reached.
    Enrols(Box<TlsStream<Socket>>, SocketAddr),
}

/// What the threshold needs.
pub(super) struct Threshold {
    pub(super) identity: Arc<HubIdentity>,
    pub(super) limits: ConnectionLimits,
    pub(super) rejections: Rejections,
    /// Full, it waits, and strangers with it.
    pub(super) arrivals: mpsc::Sender<Arrival>,
    /// Cancelled when nobody is let in any more.
    pub(super) closing: CancellationToken,
    /// Cancelled when those must go whom the door is shaking hands with.
    pub(super) stop: CancellationToken,
}

impl Threshold {
    /// Starts the thread. What is returned ends when the thread does, however it does.
    ///
    /// It lets strangers in until `closing`, and ends with the last of those that it shakes hands with; or at
    /// once, when nobody takes arrivals any more.
    ///
    /// # Errors
    /// What the system has against it.
    pub(super) fn start(self, listener: TcpListener) -> std::io::Result<oneshot::Receiver<Infallible>> {
        let listener = listener.into_std()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _of_its_own = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let arrivals = self.arrivals.clone();
        on_its_own_thread(runtime, async move {
            tokio::select! {
                biased;
                () = arrivals.closed() => {}
                () = self.run(listener) => {}
            }
        })
    }

    async fn run(self, listener: TcpListener) {
        let (this, strangers) = (Arc::new(self), Strangers::default());
        let before_hello = Arc::new(Semaphore::new(this.limits.unauthenticated_max));
        let places = Arc::new(Semaphore::new(this.limits.connections_max));
        let mut handshakes = JoinSet::new();
        let mut next_id = 0_u64;
        loop {
            let accepted = tokio::select! {
                biased;
                () = this.closing.cancelled() => break,
                Some(ended) = handshakes.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "a handshake's task failed");
                    }
                    continue;
                }
                accepted = listener.accept() => accepted,
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
            let per_address_max = this.limits.unauthenticated_per_address_max;
            let admitted = Arc::clone(&before_hello)
                .try_acquire_owned()
                .ok()
                .and_then(|permit| strangers.admit(address.ip(), per_address_max, permit));
            let (Some(stranger), Ok(place)) = (admitted, Arc::clone(&places).try_acquire_owned()) else {
                this.rejections.too_many();
                continue;
            };
            let span = info_span!("connection", id = next_id, %address);
            let by = Instant::now() + this.limits.handshake_within;
            let guest = Guest { id: ConnectionId(next_id), address, by, stranger, place };
            handshakes.spawn(Arc::clone(&this).receive(stream, guest).instrument(span));
        }
        drop(listener);
        while handshakes.join_next().await.is_some() {}
    }

    async fn receive(self: Arc<Self>, stream: TcpStream, guest: Guest) {
        let within = self.limits.handshake_within;
        let met = tokio::select! {
            biased;
            () = self.stop.cancelled() => return,
            met = timeout_at(guest.by, self.shake_hands(stream)) => met,
        };
        match met.unwrap_or(Err(Rejected::Slow(within))) {
            Ok(met) => {
                let Guest { id, address, by, stranger, place } = guest;
                let arrival = Arrival { met, id, address, by, stranger, place, span: Span::current() };
                if self.arrivals.send(arrival).await.is_err() {
                    debug!("the hub has gone meanwhile");
                }
            }
            Err(rejected) => self.rejections.count(guest.address, &rejected),
        }
    }

    /// The TLS handshake. The socket is of no runtime afterwards.
    async fn shake_hands(&self, stream: TcpStream) -> Result<Met, Rejected> {
        stream.set_nodelay(true).map_err(Rejected::Handshake)?;
        let reached = stream.local_addr().map_err(Rejected::Handshake)?;
        let start = LazyConfigAcceptor::new(Acceptor::default(), Socket::Here(stream));
        let mut start = start.await.map_err(Rejected::Handshake)?;
        // A client without ALPN would pass rustls; it is sent away before anything is signed.
        let hello = start.client_hello();
        let offers = |wanted: &[u8]| hello.alpn().is_some_and(|mut offered| offered.any(|one| one == wanted));
        let (config, enrols) = match (offers(ALPN), offers(ALPN_ENROL)) {
            (true, _) => (self.identity.server_config(), false),
            (false, true) => (self.identity.enrolment_config()?, true),
            (false, false) => {
                // Whoever has gone, or has said more than a hello, may not hear it.
                let _ = start.io.write_all(&NO_APPLICATION_PROTOCOL).await;
                let _ = start.io.shutdown().await;
                return Err(Rejected::NotOurs);
            }
        };
        let mut handshake = start.into_stream(config);
        let shaken = poll_fn(|cx| {
            let start = Instant::now();
            let shaken = Pin::new(&mut handshake).poll(cx);
            if start.elapsed() >= TIRED_AFTER {
                rest();
            }
            shaken
        });
        let mut stream = Box::new(shaken.await.map_err(Rejected::Handshake)?);
        stream.get_mut().0.leave().map_err(Rejected::Handshake)?;
        Ok(if enrols { Met::Enrols(stream, reached) } else { Met::Peer(stream) })
    }
}

/// Who was accepted, and what he holds.
struct Guest {
    id: ConnectionId,
    address: SocketAddr,
    by: Instant,
    stranger: Stranger,
    place: OwnedSemaphorePermit,
}

/// Starts a thread that does `work`. What is returned ends when it does, also by a panic.
fn on_its_own_thread(
    runtime: Runtime,
    work: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<oneshot::Receiver<Infallible>> {
    let (ends, ended) = oneshot::channel();
    std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
        let _ends = ends;
        runtime.block_on(work);
    })?;
    Ok(ended)
}

/// Leaves the processor to others for a moment.
fn rest() {
    #[expect(clippy::disallowed_methods, reason = "the thread is the door's own, and is to stand still")]
    std::thread::sleep(REST_FOR);
}

#[cfg(test)]
mod tests;
