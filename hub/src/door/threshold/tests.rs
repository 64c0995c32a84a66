//! The thread at the door over real sockets, with clients that block: nothing of this test's own runtime
//! runs while they shake hands.

use std::io::{ErrorKind, Read};
use std::net::TcpStream as Client;

use super::*;
use crate::clock::Clock;
use crate::identity::tests::{Keys, keys, now};
use crate::metrics::Metrics;
use certs::CertificateDer;
use proto::ServiceName;
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, ClientConnection};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Standing {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    ended: oneshot::Receiver<Infallible>,
    metrics: Metrics,
    closing: CancellationToken,
    stop: CancellationToken,
    client: Arc<ClientConfig>,
    _keys: Keys,
}

/// A door that gives its strangers all the time in the world, and somebody whom it lets in.
async fn standing(unauthenticated_max: usize) -> Standing {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (csr, key) = certs::spoke_request().unwrap();
    let service = ServiceName::parse("billing").unwrap();
    let enrolled = identity.issue_spoke(&csr, &service, now()).await.unwrap();
    let chain = enrolled.chain.into_iter().map(CertificateDer::from).collect();
    let client = certs::tls::client_config(&identity.roots(), chain, &key).unwrap();
    let limits = ConnectionLimits {
        unauthenticated_max,
        handshake_within: Duration::from_hours(1),
        ..ConnectionLimits::default()
    };
    let (metrics, closing, stop) = (Metrics::default(), CancellationToken::new(), CancellationToken::new());
    let (sender, arrivals) = mpsc::channel(4);
    let threshold = Threshold {
        identity: Arc::new(identity),
        limits,
        rejections: Rejections::new(metrics.clone(), Clock::system()),
        arrivals: sender,
        closing: closing.clone(),
        stop: stop.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = threshold.start(listener).unwrap();
    Standing { address, arrivals, ended, metrics, closing, stop, client: Arc::new(client), _keys: keys }
}

impl Standing {
    /// Somebody who says nothing.
    fn silent(&self) -> Client {
        let client = Client::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// Somebody who has shaken hands. Blocks.
    fn shaken(&self) -> (ClientConnection, Client) {
        let mut socket = self.silent();
        let mut tls = ClientConnection::new(Arc::clone(&self.client), certs::tls::hub_name()).unwrap();
        while tls.is_handshaking() || tls.wants_write() {
            tls.complete_io(&mut socket).unwrap();
        }
        (tls, socket)
    }

    async fn arrival(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrivals.recv()).await.unwrap().unwrap()
    }

    async fn has_ended(self) {
        assert!(timeout(PATIENCE, self.ended).await.unwrap().is_err());
    }
}

fn is_closed(mut client: Client) -> bool {
    match client.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[tokio::test]
async fn hands_are_shaken_while_the_hubs_runtime_does_nothing() {
    let mut standing = standing(8).await;
    let _client = standing.shaken();
    let arrival = standing.arrival().await;
    assert_eq!(arrival.id, ConnectionId(1));
    let Met::Peer(mut stream) = arrival.met else { panic!("it shook hands as a spoke does") };
    assert!(stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty()));
    stream.get_mut().0.arrive().unwrap();
    assert!(matches!(stream.get_ref().0, Socket::Here(_)));
}

#[tokio::test]
async fn who_says_nothing_keeps_nobody_waiting_and_one_too_many_is_closed() {
    let mut standing = standing(41).await;
    let silent: Vec<_> = (0..40).map(|_| standing.silent()).collect();
    let _client = standing.shaken();
    let arrival = standing.arrival().await;
    // It is a stranger until the hub has looked it up.
    assert!(is_closed(standing.silent()));
    let counted = "eventflow_handshake_failures_total{reason=\"too_many\"} 1";
    assert!(standing.metrics.render().contains(counted));
    drop(arrival);
    let _another = standing.shaken();
    standing.arrival().await;
    drop(silent);
}

#[tokio::test]
async fn a_hub_that_stops_does_not_wait_for_handshakes_that_are_under_way() {
    let mut standing = standing(8).await;
    let silent = standing.silent();
    // Connections are accepted in their order, so the silent one was.
    let _client = standing.shaken();
    standing.arrival().await;
    standing.closing.cancel();
    standing.stop.cancel();
    standing.has_ended().await;
    assert!(is_closed(silent));
}

#[tokio::test]
async fn the_thread_goes_with_a_hub_that_crashes_and_frees_the_port() {
    let standing = standing(8).await;
    let address = standing.address;
    let Standing { arrivals, ended, .. } = standing;
    drop(arrivals);
    assert!(timeout(PATIENCE, ended).await.unwrap().is_err());
    assert_eq!(Client::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_panic_on_the_thread_is_noticed() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let ended = on_its_own_thread(runtime, async { panic!("this panic is part of a test") }).unwrap();
    assert!(timeout(PATIENCE, ended).await.unwrap().is_err());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn operators_see_the_thread() {
    let standing = standing(8).await;
    let _client = standing.shaken();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    assert!(threads.map(|thread| read(thread.join("comm"))).any(|name| name.trim() == THREAD));
}
