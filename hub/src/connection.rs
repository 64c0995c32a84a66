//! One spoke's connection, from its Hello to its end.
//!
//! The task owns the socket and the [`HubSession`]. Requests run beside it, bounded by the
//! session; when too many are unanswered the socket is not read, and TCP passes that on. Pushes
//! come through a bounded queue whose room the dispatcher counts. Reading goes on while writing
//! waits, so two full sockets cannot block each other.

mod listening;
mod renewing;
mod standing;
mod writing;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use proto::message::{Hello, PROTOCOL_VERSION, Reply, Request, Welcome};
use proto::read::Query;
use proto::session::{FromSpoke, HubSession, HubSessionConfig, Violation};
use proto::{HubId, Refusal, RequestId};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::access::{Access, Present};
use crate::command::{Caller, Commands};
use crate::dispatch::{ConnectionId, DEADLINES_MAX, Outgoing, PUSHES_MAX};
use crate::identity::Peer;
use crate::journal::Notes;

use listening::Listening;
use renewing::Renewing;
use writing::{Wrote, write};

/// Bytes that are gathered before a write. At it nothing more is encoded until some are written.
const WRITE_BYTES: usize = 128 * 1024;

/// Frames that are taken from the socket's buffer before anything else gets its turn.
const FRAMES_PER_TURN: usize = 128;

/// Pushes that are taken from the queue at once.
const PUSHES_PER_TURN: usize = 512;

/// Reads of one connection that run at a time. More wait for their turn.
const READS_MAX: usize = 4;

/// Bytes of answers that the peer has not taken. At it no further read of it is started.
const UNREAD_PAGES_BYTES_MAX: usize = 1 << 20;

/// How long a spoke is asked to wait before it connects again to a hub that stops.
const GO_AWAY_RETRY: Duration = Duration::from_millis(500);

/// Bytes of a frame's length, big-endian, before the frame.
const LENGTH_BYTES: usize = 4;

/// What every connection of a hub has in common.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) commands: Arc<Commands>,
    pub(crate) notes: Notes,
    pub(crate) hub: HubId,
    pub(crate) incarnation: u64,
    pub(crate) keep_alive: Duration,
    pub(crate) hello_within: Duration,
    pub(crate) write_within: Duration,
    /// Cancelled when the hub stops: the peer is told to go, and may still answer what it has.
    pub(crate) going: CancellationToken,
    /// Cancelled when the connection must end.
    pub(crate) stop: CancellationToken,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The peer said goodbye or closed.
    #[error("the peer closed")]
    Closed,
    /// The peer broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The socket failed, or a frame was too long.
    #[error("the socket failed: {0}")]
    Io(#[from] std::io::Error),
    /// The peer does not read what is written to it.
    #[error("the peer has taken nothing for {0:?}")]
    SlowReader(Duration),
    /// The peer's protocol versions and ours do not meet.
    #[error("the peer speaks protocol {min} to {max}, this hub {PROTOCOL_VERSION}")]
    Protocol { min: u16, max: u16 },
    /// The certificate does not count any more.
    #[error("the peer's certificate does not count any more: {0}")]
    Expelled(String),
    /// The certificate has ended.
    #[error("the peer's certificate has ended")]
    Expired,
    /// The dispatcher sends nothing more.
    #[error("the hub is stopping")]
    Stopped,
}

type Running = FuturesUnordered<BoxFuture<'static, (RequestId, Result<Reply, Refusal>)>>;

/// The task of one connection.
pub(crate) struct Connection<S> {
    terms: Terms,
    caller: Arc<Caller>,
    session: HubSession,
    started: Instant,
    reader: FramedRead<ReadHalf<S>, LengthDelimitedCodec>,
    writer: WriteHalf<S>,
    /// Frames that are encoded, and how much of them is written.
    pending: Vec<u8>,
    sent: usize,
    /// Whether something written may still be in the TLS layer's buffer.
    unflushed: bool,
    /// Events and their bytes among what is pending.
    underway: (usize, usize),
    write_by: Instant,
    outbox: mpsc::Receiver<Outgoing>,
    /// Who may do what, and a signal when that changes.
    access: watch::Receiver<Access>,
    /// The newest revocation that the peer's certificate was held against.
    revocation_seen: u64,
    /// What its listeners were opened for.
    listening: Listening,
    /// The version of what is trusted that the peer was told of.
    trust_told: u64,
    /// The peer's place on the roster, once it is welcome.
    present: Option<Present>,
    /// When the peer is asked to renew its certificate.
    renewing: Renewing,
    pushes: Vec<Outgoing>,
    running: Running,
    /// Reads that wait for their turn, and those that run.
    reads: VecDeque<(RequestId, Query)>,
    reading: HashSet<RequestId>,
    expires: Instant,
}

/// What happened next.
enum Happened {
    Frame(Option<Result<BytesMut, std::io::Error>>),
    Pushes(usize),
    Answered(RequestId, Result<Reply, Refusal>),
    Written(std::io::Result<Wrote>),
    Time,
    Going,
    Access,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection<S> {
    /// A connection over `stream` with a peer whose certificate is in order until `expires`.
    pub(crate) fn new(
        stream: S,
        peer: Peer,
        id: ConnectionId,
        expires: Instant,
        terms: Terms,
    ) -> (Self, mpsc::Sender<Outgoing>) {
        let label = Arc::from(format!("{}/{}", peer.service, peer.instance));
        let config = HubSessionConfig { keep_alive: terms.keep_alive, hello_within: terms.hello_within };
        let session = HubSession::new(config, Duration::ZERO);
        let (reader, writer) = tokio::io::split(stream);
        let codec = LengthDelimitedCodec::builder().max_frame_length(session.frame_bytes_max()).new_codec();
        let (outgoing, outbox) = mpsc::channel(PUSHES_MAX + DEADLINES_MAX);
        let started = Instant::now();
        let access = terms.commands.access.subscribe();
        let renewing = Renewing::new(terms.commands.clock.instant(peer.half_life), expires);
        let connection = Self {
            caller: Arc::new(Caller { peer, connection: id, label }),
            session,
            started,
            reader: FramedRead::new(reader, codec),
            writer,
            pending: Vec::new(),
            sent: 0,
            unflushed: false,
            underway: (0, 0),
            write_by: started,
            outbox,
            access,
            revocation_seen: 0,
            listening: Listening::default(),
            trust_told: 0,
            present: None,
            renewing,
            pushes: Vec::new(),
            running: FuturesUnordered::new(),
            reads: VecDeque::new(),
            reading: HashSet::new(),
            expires,
            terms,
        };
        (connection, outgoing)
    }

    /// Serves the peer until it leaves, errs or must go.
    pub(crate) async fn run(mut self) -> Ended {
        let ended = self.serve().await;
        // Whatever is encoded is sent, so that a peer learns why it must go.
        let flush = async {
            self.encode();
            self.writer.write_all(self.pending.get(self.sent..).unwrap_or_default()).await?;
            self.writer.flush().await?;
            self.writer.shutdown().await
        };
        if let Ok(Err(error)) | Err(error) =
            tokio::time::timeout(Duration::from_secs(1), flush).await.map_err(std::io::Error::from)
        {
            debug!(%error, "the last words of a connection did not arrive");
        }
        self.terms.commands.store.gone(self.caller.connection).await;
        ended
    }

    async fn serve(&mut self) -> Ended {
        let stop = self.terms.stop.clone();
        let mut told = false;
        // What was revoked between the look at the door and here is not signalled any more.
        if let Err(ended) = self.still_counts().await {
            return ended;
        }
        loop {
            self.encode();
            self.start_reads();
            self.give_back().await;
            if self.session.is_finished() && self.pending.is_empty() && !self.unflushed {
                return Ended::Closed;
            }
            let happened = tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Stopped,
                happened = self.next(told) => happened,
            };
            let outcome = match happened {
                Happened::Frame(frame) => self.frames(frame).await,
                Happened::Pushes(0) => Err(Ended::Stopped),
                Happened::Pushes(_) => {
                    self.take_pushes();
                    Ok(())
                }
                Happened::Answered(id, outcome) => {
                    self.answered(id, outcome).await;
                    Ok(())
                }
                Happened::Written(written) => self.written(written),
                Happened::Time => self.time(),
                Happened::Access => self.access_changed().await,
                Happened::Going => {
                    told = true;
                    self.session.go_away("the hub is stopping".to_owned(), GO_AWAY_RETRY);
                    Ok(())
                }
            };
            if let Err(ended) = outcome {
                return ended;
            }
        }
    }

    /// Waits for the next thing to happen. Cancel safe: every branch is.
    async fn next(&mut self, told: bool) -> Happened {
        let timer = self.timer();
        let reads = self.session.may_read();
        let writes = self.unflushed || !self.pending.is_empty();
        let room = self.pending.len() < WRITE_BYTES;
        tokio::select! {
            biased;
            frame = self.reader.next(), if reads => Happened::Frame(frame),
            happened = inside(&mut self.running, &mut self.outbox, &mut self.pushes, room) => happened,
            written = write(&mut self.writer, &self.pending, self.sent), if writes => Happened::Written(written),
            happened = outside(&self.terms.going, told, &mut self.access) => happened,
            () = sleep_until(timer) => Happened::Time,
        }
    }

    fn timer(&self) -> Instant {
        let session = self.session.poll_timeout().map_or(self.expires, |at| self.started + at);
        let write = if self.unflushed || !self.pending.is_empty() { self.write_by } else { self.expires };
        let renewal = self.renewing.at().filter(|_| self.present.is_some()).unwrap_or(self.expires);
        session.min(write).min(renewal).min(self.expires)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn time(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if now >= self.expires {
            self.session.go_away("the certificate has ended; enrol again".to_owned(), Duration::ZERO);
            return Err(Ended::Expired);
        }
        if (self.unflushed || !self.pending.is_empty()) && now >= self.write_by {
            return Err(Ended::SlowReader(self.terms.write_within));
        }
        if self.present.is_some()
            && let Some(within) = self.renewing.of_age(now)
        {
            self.session.renew(within);
        }
        Ok(self.session.handle_timeout(self.now())?)
    }

    /// Takes a frame and those that have arrived with it.
    async fn frames(&mut self, first: Option<Result<BytesMut, std::io::Error>>) -> Result<(), Ended> {
        self.frame(first).await?;
        // A frame that was taken from the buffer is handled: none is taken that could be left over.
        for _ in 1..FRAMES_PER_TURN {
            if !self.session.may_read() {
                return Ok(());
            }
            let Some(next) = self.reader.next().now_or_never() else { return Ok(()) };
            self.frame(next).await?;
        }
        Ok(())
    }

    async fn frame(&mut self, frame: Option<Result<BytesMut, std::io::Error>>) -> Result<(), Ended> {
        let frame = match frame.ok_or(Ended::Closed)? {
            // A process that ends does not say goodbye.
            Err(error) if is_hang_up(&error) => return Err(Ended::Closed),
            frame => frame?,
        };
        match self.session.handle_frame(&frame, self.now())? {
            Some(said) => self.said(said).await,
            None => Ok(()),
        }
    }

    async fn said(&mut self, said: FromSpoke) -> Result<(), Ended> {
        let store = &self.terms.commands.store;
        match said {
            FromSpoke::Hello(hello) => return self.hello(&hello).await,
            FromSpoke::Request { id, body: Request::Chain(chain) } => {
                // The dispatcher has it before what the spoke says next.
                let waiting = self.terms.commands.chain(&self.caller, *chain).await;
                self.running.push(Box::pin(async move { (id, waiting.await) }));
            }
            FromSpoke::Request { id, body } => {
                let commands = Arc::clone(&self.terms.commands);
                let caller = Arc::clone(&self.caller);
                self.listening.asked(id, &body);
                self.running.push(match body {
                    Request::Read(query) => {
                        self.reads.push_back((id, query));
                        return Ok(());
                    }
                    // The one that must be cheap: its future holds nothing of the other requests'.
                    Request::Append { events, offer, expectations } => {
                        Box::pin(
                            async move { (id, commands.append(&caller, events, offer, expectations).await) },
                        )
                    }
                    // There may be many at a time, for long.
                    Request::Wait(wait) => Box::pin(async move { (id, commands.wait(&caller, wait).await) }),
                    body => Box::pin(async move { (id, commands.run(caller, body).await) }),
                });
            }
            FromSpoke::Answers(answers) => store.answers(self.caller.connection, answers).await,
            FromSpoke::Credit { listener, events } => {
                store.credit(self.caller.connection, listener, events).await;
            }
            FromSpoke::Enough(listener) => store.enough(self.caller.connection, listener).await,
            // What it asked for before is still answered; `is_finished` tells when.
            FromSpoke::Goodbye => {}
            FromSpoke::TrustKept(version) => {
                // It cannot have kept what it was not told.
                if let Some(present) = &self.present {
                    present.kept(version.min(self.trust_told));
                }
            }
        }
        Ok(())
    }

    async fn hello(&mut self, hello: &Hello) -> Result<(), Ended> {
        if !(hello.protocol_min..=hello.protocol_max).contains(&PROTOCOL_VERSION) {
            let reason = format!("this hub speaks protocol {PROTOCOL_VERSION} only");
            self.session.go_away(reason, Duration::from_secs(60));
            return Err(Ended::Protocol { min: hello.protocol_min, max: hello.protocol_max });
        }
        let head = self.terms.commands.store.head().await;
        let head = head.map_err(|error| Ended::Io(std::io::Error::other(error.to_string())))?.position;
        info!(software = %hello.software, "peer welcome");
        let welcome = Welcome {
            protocol: PROTOCOL_VERSION,
            hub: self.terms.hub.clone(),
            service: self.caller.peer.service.clone(),
            incarnation: self.terms.incarnation,
            head,
            now: self.terms.commands.clock.now(),
            keep_alive_ms: u32::try_from(self.terms.keep_alive.as_millis()).unwrap_or(u32::MAX),
        };
        self.session.welcome(welcome, self.now());
        let roster = self.terms.commands.rotations.roster();
        self.present = Some(roster.enter(self.caller.connection, Arc::clone(&self.caller.label)));
        self.tell_trust();
        self.reader.decoder_mut().set_max_frame_length(self.session.frame_bytes_max());
        Ok(())
    }

    async fn answered(&mut self, id: RequestId, outcome: Result<Reply, Refusal>) {
        self.reply(id, outcome).await;
        // Requests that were stored together are answered together.
        while let Some(Some((id, outcome))) = self.running.next().now_or_never() {
            self.reply(id, outcome).await;
        }
    }

    async fn reply(&mut self, id: RequestId, outcome: Result<Reply, Refusal>) {
        self.reading.remove(&id);
        let opened = self.listening.answered(id, &outcome);
        if let Ok(Reply::Renewed(_)) = &outcome {
            self.renewing.renewed();
        }
        self.session.reply(id, outcome);
        if let Some(listener) = opened {
            // It may have been forbidden while it was being opened.
            self.check_listener(listener).await;
        }
    }

    /// Starts reads that wait, as far as the peer takes their pages.
    fn start_reads(&mut self) {
        while self.reading.len() < READS_MAX && self.session.unsent_bytes() < UNREAD_PAGES_BYTES_MAX {
            let Some((id, query)) = self.reads.pop_front() else { return };
            let commands = Arc::clone(&self.terms.commands);
            let caller = Arc::clone(&self.caller);
            self.reading.insert(id);
            self.running.push(Box::pin(async move { (id, commands.read(&caller, &query).await) }));
        }
    }

    fn take_pushes(&mut self) {
        for push in self.pushes.drain(..) {
            match push {
                Outgoing::Deliver { listener, attempt, event } => {
                    self.underway = (self.underway.0 + 1, self.underway.1 + event.weight());
                    self.session.deliver(listener, attempt, event);
                }
                Outgoing::Push { listener, event } => {
                    self.underway = (self.underway.0 + 1, self.underway.1 + event.weight());
                    self.session.push(listener, event);
                }
                Outgoing::Lagged { listener, behind } => self.session.lagged(listener, behind),
                Outgoing::CaughtUp { listener, position } => self.session.caught_up(listener, position),
                Outgoing::Dropped { listener, refusal } => {
                    self.listening.closed(listener);
                    self.session.dropped(listener, refusal);
                }
                Outgoing::Deadline { listener, within } => self.session.deadline(listener, within),
                Outgoing::Enough { listener } => self.session.enough(listener),
            }
        }
    }
}

fn is_hang_up(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// What concerns every connection: the hub stops, or something else counts than before. Cancel safe.
async fn outside(going: &CancellationToken, told: bool, access: &mut watch::Receiver<Access>) -> Happened {
    tokio::select! {
        biased;
        () = going.cancelled(), if !told => Happened::Going,
        Ok(()) = access.changed() => Happened::Access,
        else => std::future::pending().await,
    }
}

/// What the hub itself has for this connection: answers to its requests, then pushes to it.
async fn inside(
    running: &mut Running,
    outbox: &mut mpsc::Receiver<Outgoing>,
    pushes: &mut Vec<Outgoing>,
    room: bool,
) -> Happened {
    tokio::select! {
        biased;
        Some((id, outcome)) = running.next() => Happened::Answered(id, outcome),
        taken = outbox.recv_many(pushes, PUSHES_PER_TURN), if room => Happened::Pushes(taken),
        else => std::future::pending().await,
    }
}
