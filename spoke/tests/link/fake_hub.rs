//! A hub in the hands of a test: it enrols by itself, and says on a link what the test tells it to.
//!
//! A [`HubLink`] that is dropped is a connection that was cut.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use certs::tls::HubCertificate;
use certs::{Authority, IssuerKind};
use eventflow_spoke::{
    Appended, Data, Domain, Event, EventId, EventName, EventStream, HubId, Metadata, NewEvent, Pid, Position,
    Refusal, ServiceName, Spoke, SpokeOptions, Stored, Subscription, Timestamp, Told, Version, Welcome,
};
use futures::{SinkExt, StreamExt};
use proto::enrol::{EnrolReply, EnrolRequest, Enrolled};
use proto::message::{Answer, Reply, Request};
use proto::session::{FromSpoke, HubSession, HubSessionConfig};
use proto::{Attempt, ListenerId, RequestId};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A hub with its data folder.
pub(crate) struct FakeHub {
    pub(crate) data: Arc<TempDir>,
    pub(crate) enrolments: Arc<AtomicUsize>,
    pub(crate) issuing: Arc<Trust>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    _enrolling: JoinSet<()>,
}

/// The certificates of a hub.
pub(crate) struct Trust {
    pub(crate) root: Authority,
    pub(crate) hubs: Authority,
    pub(crate) spokes: Authority,
}

impl Trust {
    pub(crate) fn new() -> Self {
        let root = certs::root("test", now()).unwrap();
        let hubs = certs::intermediate(&root, IssuerKind::Hub, now()).unwrap();
        let spokes = certs::intermediate(&root, IssuerKind::Spoke, now()).unwrap();
        Self { root, hubs, spokes }
    }

    /// A hub that this shows the certificate of, and that knows its spokes by `theirs`.
    fn acceptor(&self, theirs: &Self) -> TlsAcceptor {
        let (leaf, key) = certs::hub_leaf(&self.hubs, &hub_id(), now(), DAY).unwrap();
        let leaf = HubCertificate::new(vec![leaf, self.hubs.certificate().clone()], &key).unwrap();
        let roots = [theirs.root.certificate().clone()];
        TlsAcceptor::from(Arc::new(certs::tls::server_config(&roots, Arc::new(leaf)).unwrap()))
    }

    fn enrol(&self, request: &EnrolRequest) -> Enrolled {
        let leaf = certs::spoke_leaf(&self.spokes, &request.csr, &request.service, "1", now(), DAY).unwrap();
        Enrolled {
            chain: vec![leaf.to_vec(), self.spokes.certificate().to_vec()],
            roots: vec![self.root.certificate().to_vec()],
            hubs: Vec::new(),
            not_after_ms: 0,
        }
    }
}

impl FakeHub {
    pub(crate) async fn start() -> Self {
        let trust = Arc::new(Trust::new());
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), &trust, Arc::clone(&trust)).await
    }

    /// A hub in `data` that is trusted through `trust` and enrols through `issuing`.
    pub(crate) async fn start_in(data: Arc<TempDir>, trust: &Trust, issuing: Arc<Trust>) -> Self {
        Self::listen(data, trust.acceptor(trust), issuing).await
    }

    /// A hub in `data` that is trusted through `shown`, and trusts and enrols through `issuing`.
    pub(crate) async fn start_as(data: Arc<TempDir>, shown: &Trust, issuing: Arc<Trust>) -> Self {
        Self::listen(data, shown.acceptor(&issuing), issuing).await
    }

    async fn listen(data: Arc<TempDir>, acceptor: TlsAcceptor, issuing: Arc<Trust>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        fs::write(data.path().join("hub.addr"), format!("{address}\n")).unwrap();
        let socket = data.path().join("enrol.sock");
        // A hub that was there before leaves its socket behind.
        let _ = fs::remove_file(&socket);
        let enrolments = Arc::new(AtomicUsize::new(0));
        let mut enrolling = JoinSet::new();
        let sockets = UnixListener::bind(socket).unwrap();
        enrolling.spawn(enrol(sockets, Arc::clone(&issuing), Arc::clone(&enrolments)));
        Self { data, enrolments, issuing, listener, acceptor, _enrolling: enrolling }
    }

    pub(crate) fn options(&self) -> SpokeOptions {
        SpokeOptions::new(ServiceName::parse("billing").unwrap(), self.data.path())
    }

    /// A spoke and the link that it has made.
    pub(crate) async fn connect(&self) -> (Spoke, HubLink) {
        self.connect_with(self.options()).await
    }

    pub(crate) async fn connect_with(&self, options: SpokeOptions) -> (Spoke, HubLink) {
        let (spoke, link) = tokio::join!(Spoke::connect(options), self.accept());
        (spoke.unwrap(), link)
    }

    /// The next link, after its Hello and Welcome.
    pub(crate) async fn accept(&self) -> HubLink {
        let mut link = self.greeted().await;
        link.welcome(1).await;
        link
    }

    /// The next link, after its Hello. Connections that the spoke has given up are passed over.
    pub(crate) async fn greeted(&self) -> HubLink {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let Ok(stream) = self.acceptor.accept(stream).await else { continue };
            let mut link = HubLink::new(stream);
            if let Some(said) = link.try_said().await {
                assert!(matches!(said, FromSpoke::Hello(_)), "{said:?}");
                return link;
            }
        }
    }

    /// Wants the spoke of `link` to renew its certificate now, and issues it.
    pub(crate) async fn renew(&self, link: &mut HubLink) {
        link.session.renew(Duration::ZERO);
        link.flush().await;
        let (id, csr) = match link.request().await {
            (id, Request::Renew { csr }) => (id, csr),
            other => panic!("not a renewal: {other:?}"),
        };
        let service = ServiceName::parse("billing").unwrap();
        let enrolled = self.issuing.enrol(&EnrolRequest { service, csr });
        link.reply(id, Ok(Reply::Renewed(Box::new(enrolled)))).await;
    }

    /// The next connection is cut after its handshake, if it comes so far.
    pub(crate) async fn hang_up(&self) {
        let (stream, _) = self.listener.accept().await.unwrap();
        drop(self.acceptor.accept(stream).await);
    }

    pub(crate) fn enrolments(&self) -> usize {
        self.enrolments.load(Ordering::SeqCst)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.data.path()
    }
}

async fn enrol(listener: UnixListener, trust: Arc<Trust>, count: Arc<AtomicUsize>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; usize::try_from(stream.read_u32().await.unwrap()).unwrap()];
        stream.read_exact(&mut request).await.unwrap();
        let request = proto::wire::decode(&request).unwrap();
        count.fetch_add(1, Ordering::SeqCst);
        let mut reply = Vec::new();
        proto::wire::encode(&EnrolReply::Issued(trust.enrol(&request)), &mut reply).unwrap();
        stream.write_u32(u32::try_from(reply.len()).unwrap()).await.unwrap();
        stream.write_all(&reply).await.unwrap();
    }
}

/// The hub's end of one connection.
pub(crate) struct HubLink {
    frames: Framed<TlsStream<TcpStream>, LengthDelimitedCodec>,
    pub(crate) session: HubSession,
    started: Instant,
}

impl HubLink {
    fn new(stream: TlsStream<TcpStream>) -> Self {
        let config = HubSessionConfig { keep_alive: DAY, hello_within: DAY };
        let session = HubSession::new(config, Duration::ZERO);
        Self { frames: Framed::new(stream, LengthDelimitedCodec::new()), session, started: Instant::now() }
    }

    /// What the spoke says next; the end of the connection fails the test.
    pub(crate) async fn said(&mut self) -> FromSpoke {
        self.try_said().await.expect("the spoke has closed the connection")
    }

    /// What the spoke says next; `None` at the end of the connection.
    pub(crate) async fn try_said(&mut self) -> Option<FromSpoke> {
        while let Some(Ok(frame)) = self.frames.next().await {
            let said = self.session.handle_frame(&frame, self.started.elapsed()).unwrap();
            self.flush().await;
            if said.is_some() {
                return said;
            }
        }
        None
    }

    /// Sends what the session has to say.
    pub(crate) async fn flush(&mut self) {
        let mut frame = Vec::new();
        while self.session.poll_frame(&mut frame) {
            self.frames.send(Bytes::from(std::mem::take(&mut frame))).await.unwrap();
        }
    }

    pub(crate) async fn welcome(&mut self, incarnation: u64) {
        let welcome = Welcome {
            protocol: proto::message::PROTOCOL_VERSION,
            hub: hub_id(),
            service: ServiceName::parse("billing").unwrap(),
            incarnation,
            head: Position(0),
            now: now(),
            keep_alive_ms: u32::MAX,
        };
        self.session.welcome(welcome, self.started.elapsed());
        self.flush().await;
    }

    /// The next request; anything else fails the test.
    pub(crate) async fn request(&mut self) -> (RequestId, Request) {
        match self.said().await {
            FromSpoke::Request { id, body } => (id, body),
            other => panic!("not a request: {other:?}"),
        }
    }

    /// The next request, which must be an append, and its events' ids.
    pub(crate) async fn append(&mut self) -> (RequestId, Vec<String>) {
        match self.request().await {
            (id, Request::Append { events, .. }) => {
                (id, events.iter().map(|event| event.id.to_string()).collect())
            }
            other => panic!("not an append: {other:?}"),
        }
    }

    /// The next answers; anything else fails the test.
    pub(crate) async fn answers(&mut self) -> Vec<Answer> {
        match self.said().await {
            FromSpoke::Answers(answers) => answers,
            other => panic!("no answers: {other:?}"),
        }
    }

    pub(crate) async fn reply(&mut self, id: RequestId, outcome: Result<Reply, Refusal>) {
        self.session.reply(id, outcome);
        self.flush().await;
    }

    /// Says that the append is stored, its only event at `position`.
    pub(crate) async fn appended(&mut self, id: RequestId, position: u64) {
        self.reply(id, Ok(Reply::Appended(vec![appended(position)]))).await;
    }

    /// Lets the next request open its listener.
    pub(crate) async fn listening(&mut self) -> (ListenerId, Request) {
        let (id, request) = self.request().await;
        let listener = match &request {
            Request::Consume(consume) => consume.listener,
            Request::Subscribe(subscribe) => subscribe.listener,
            other => panic!("not a listener: {other:?}"),
        };
        let after = Position(0);
        self.reply(id, Ok(Reply::Listening { after })).await;
        (listener, request)
    }

    pub(crate) async fn deliver(&mut self, listener: ListenerId, position: u64, attempt: u32) {
        self.session.deliver(listener, Attempt(attempt), Arc::new(event(position)));
        self.flush().await;
    }

    /// Says that nothing more is delivered to a consumer that has enough.
    pub(crate) async fn enough(&mut self, listener: ListenerId) {
        self.session.enough(listener);
        self.flush().await;
    }

    pub(crate) async fn push(&mut self, listener: ListenerId, position: u64) {
        self.session.push(listener, Arc::new(event(position)));
        self.flush().await;
    }
}

pub(crate) fn appended(position: u64) -> Appended {
    Appended { position: Position(position), version: Version(1), stored: Stored::Now }
}

pub(crate) fn new_event(id: &str) -> NewEvent {
    let pid = Pid::parse("4711").unwrap();
    NewEvent::new(EventId::parse(id).unwrap(), order(), pid, placed())
}

pub(crate) fn order() -> Domain {
    Domain::parse("order").unwrap()
}

pub(crate) fn placed() -> EventName {
    EventName::parse("order placed").unwrap()
}

/// The event at `position`: `order placed` of the process that the position names.
pub(crate) fn event(position: u64) -> Event {
    Event {
        position: Position(position),
        id: EventId::parse(&format!("e{position}")).unwrap(),
        timestamp: now(),
        domain: order(),
        pid: Pid::parse(&position.to_string()).unwrap(),
        version: Version(1),
        name: placed(),
        rid: None,
        publisher: None,
        metadata: Metadata::default(),
        data: Data::parse(format!("{{\"n\":{position}}}")).unwrap(),
        eids: Vec::new(),
        cpids: Vec::new(),
    }
}

fn hub_id() -> HubId {
    HubId::parse("1.hub").unwrap()
}

#[expect(clippy::disallowed_methods, reason = "certificates are checked against the time of day")]
pub(crate) fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap()).unwrap()
}

/// A subscription that the hub has heard of.
pub(crate) async fn subscribe(
    spoke: &Spoke,
    link: &mut HubLink,
    wish: Subscription,
) -> (EventStream, ListenerId) {
    let (stream, (listener, _)) = tokio::join!(spoke.subscribe(wish), link.listening());
    (stream.unwrap(), listener)
}

/// The position of the next event.
pub(crate) async fn position(stream: &mut EventStream) -> u64 {
    match stream.next().await.unwrap().unwrap() {
        Told::Event(event) => event.position.0,
        other => panic!("not an event: {other:?}"),
    }
}
