//! The task that owns the session and the socket: dials, carries frames, dials again.
//!
//! It takes commands all the while, also without a connection, so that what is asked then is said
//! after the next Welcome, and closing never has to wait for a hub.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::ReadyChunks;
use proto::session::{SpokeSession, SpokeSessionConfig, Violation};
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::dial::{Dialer, Dialled, not_believed};
use super::outgoing::Outgoing;
use super::redial::{Failure, Next, Redial};
use super::switchboard::{News, Switchboard};
use super::{Command, LinkState};
use crate::error::{ClosedReason, ConnectError};
use crate::options::SpokeOptions;

/// Commands that are taken at a time.
const COMMANDS_TAKEN_MAX: usize = 256;

/// Frames that are taken at a time.
const FRAMES_TAKEN_MAX: usize = 256;

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// How often it is looked who has given up waiting.
const SWEEP: Duration = Duration::from_secs(1);

/// How long closing waits for the socket to take the last word.
const LAST_WORD: Duration = Duration::from_secs(1);

type First = oneshot::Sender<Result<watch::Receiver<LinkState>, ConnectError>>;
type Frames = ReadyChunks<FramedRead<ReadHalf<TlsStream<TcpStream>>, LengthDelimitedCodec>>;

pub(super) struct Driver {
    board: Switchboard,
    commands: mpsc::Receiver<Command>,
    batch: Vec<Command>,
    stop: CancellationToken,
    dialer: Dialer,
    dial_timeout: Duration,
    redial: Redial,
    /// The zero of the session's time.
    started: Instant,
    sweep_at: Instant,
    /// Told of the first Welcome, or why there is none.
    first: Option<First>,
    state: Option<watch::Sender<LinkState>>,
}

/// Why a connection is over.
enum Over {
    /// It was closed from this side, for good.
    Closed,
    /// It is to be made anew.
    Lost(Failure),
}

impl Driver {
    pub(super) fn new(
        options: SpokeOptions,
        commands: mpsc::Receiver<Command>,
        stop: CancellationToken,
        first: First,
    ) -> Self {
        let dialer = Dialer::new(&options);
        let config = SpokeSessionConfig { software: options.software, welcome_within: options.dial_timeout };
        let now = Instant::now();
        Self {
            board: Switchboard::new(SpokeSession::new(config)),
            commands,
            batch: Vec::with_capacity(COMMANDS_TAKEN_MAX),
            stop,
            redial: Redial::new(&dialer, options.connect_timeout),
            dialer,
            dial_timeout: options.dial_timeout,
            started: now,
            sweep_at: now + SWEEP,
            first: Some(first),
            state: None,
        }
    }

    pub(super) async fn run(mut self) {
        let end = self.keep_connected().await;
        let reason = match (end, self.first.take()) {
            (Some(error), Some(first)) => {
                // Who has given up connecting does not want to know.
                let _ = first.send(Err(error.clone()));
                ClosedReason::Lost(error.into())
            }
            (Some(error), None) => {
                tracing::error!(%error, "the link is lost for good");
                ClosedReason::Lost(error.into())
            }
            (None, _) => ClosedReason::ByOwner,
        };
        self.board.end(self.state.as_ref(), reason);
    }

    /// Connects again and again. Gives why that is no use any more, `None` if it was closed.
    async fn keep_connected(&mut self) -> Option<ConnectError> {
        loop {
            let started = Instant::now();
            let dial = self.dialer.clone().dial(self.redial.enrolment());
            let dial = Box::pin(tokio::time::timeout(self.dial_timeout, dial));
            let over = match self.meanwhile(dial).await? {
                Ok(Ok(dialled)) => {
                    self.redial.dialled(&dialled.address, dialled.enrolled);
                    Box::pin(self.carry(dialled, started)).await
                }
                Ok(Err(error)) => Over::Lost(Failure::Dial(error)),
                Err(_) => Over::Lost(Failure::Late(self.dial_timeout)),
            };
            self.board.session.disconnected();
            self.pass_on();
            let Over::Lost(failure) = over else { return None };
            let random = |range| rand::random_range(range);
            match self.redial.after(failure, self.started.elapsed(), random) {
                Next::Wait(wait) => self.meanwhile(Box::pin(tokio::time::sleep(wait))).await?,
                Next::GiveUp(error) => return Some(error),
            }
        }
    }

    /// Waits for `future` and takes commands meanwhile. `None`: it is to be closed.
    async fn meanwhile<T>(&mut self, mut future: impl Future<Output = T> + Unpin) -> Option<T> {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                done = &mut future => return Some(done),
                count = self.commands.recv_many(&mut self.batch, COMMANDS_TAKEN_MAX) => self.taken(count)?,
                () = sleep_until(self.sweep_at), if self.board.has_waiting() => self.sweep(),
            }
            self.pass_on();
            if self.board.is_done() {
                return None;
            }
        }
    }

    /// Carries frames until the connection is over.
    async fn carry(&mut self, dialled: Dialled, dial_started: Instant) -> Over {
        let (reader, mut writer) = tokio::io::split(dialled.stream);
        let mut frames = frames(reader, self.board.session.frame_bytes_max());
        let mut outgoing = Outgoing::default();
        // The session's deadline for Welcome counts from here.
        self.board.session.connected(dial_started - self.started);
        let mut alarm = Box::pin(sleep_until(dial_started));
        loop {
            if self.pass_on() {
                frames.get_mut().decoder_mut().set_max_frame_length(self.board.session.frame_bytes_max());
            }
            outgoing.fill(&mut self.board.session);
            if !outgoing.is_pending() {
                if self.board.is_done() {
                    close(writer).await;
                    return Over::Closed;
                }
                if self.has_gone_away() {
                    close(writer).await;
                    return Over::Lost(Failure::WentAway);
                }
            }
            let outcome = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Over::Closed,
                written = outgoing.advance(&mut writer), if outgoing.is_pending() => written.map_err(failed),
                chunk = frames.next() => self.received(chunk),
                count = self.commands.recv_many(&mut self.batch, COMMANDS_TAKEN_MAX) => match self.taken(count) {
                    Some(()) => Ok(()),
                    None => return Over::Closed,
                },
                () = &mut alarm => self.time().map_err(Failure::Violation),
            };
            if let Err(failure) = outcome {
                return Over::Lost(failure);
            }
            // A later deadline is found when the alarm rings; only an earlier one needs a new alarm.
            let due = self.due();
            if alarm.is_elapsed() || due < alarm.deadline() {
                alarm.as_mut().reset(due);
            }
        }
    }

    /// Hands commands to the switchboard. `None`: nobody is left who could give any.
    fn taken(&mut self, count: usize) -> Option<()> {
        self.batch.drain(..).for_each(|command| self.board.command(command));
        (count > 0).then_some(())
    }

    fn received(&mut self, chunk: Option<Vec<io::Result<BytesMut>>>) -> Result<(), Failure> {
        let Some(chunk) = chunk else { return Err(Failure::HungUp) };
        let now = self.started.elapsed();
        for frame in chunk {
            let frame = frame.map_err(failed)?;
            self.board.session.handle_frame(&frame, now).map_err(Failure::Violation)?;
        }
        Ok(())
    }

    /// Passes on what the session has for anybody. Whether there was a Welcome.
    fn pass_on(&mut self) -> bool {
        let mut welcomed = false;
        while let Some(news) = self.board.pass_on() {
            match news {
                News::Welcome(welcome) => {
                    info!(hub = %welcome.hub, incarnation = welcome.incarnation, "connected");
                    welcomed = true;
                    self.redial.welcomed();
                    self.tell_state(welcome);
                }
                News::GoAway { reason, retry_after } => {
                    info!(%reason, ?retry_after, "the hub is about to close the link");
                    self.redial.goes_away(reason, retry_after);
                }
                News::Expelled { cause, reason } => {
                    warn!(?cause, %reason, "the hub has expelled this spoke");
                    self.redial.expelled(cause, reason);
                }
            }
        }
        welcomed
    }

    fn tell_state(&mut self, welcome: proto::message::Welcome) {
        if let Some(state) = &self.state {
            state.send_modify(|state| state.welcome = welcome);
            return;
        }
        let (state, watched) = watch::channel(LinkState { welcome, closed: None, unanswered: 0 });
        self.state = Some(state);
        if let Some(first) = self.first.take() {
            // Nobody connects any more: the command queue closes with them.
            let _ = first.send(Ok(watched));
        }
    }

    /// Whether the hub goes away and neither end owes the other anything.
    fn has_gone_away(&self) -> bool {
        let session = &self.board.session;
        self.redial.is_going_away() && session.said() == 0 && session.unanswered_deliveries() == 0
    }

    fn due(&self) -> Instant {
        let due = self.board.session.poll_timeout().map(|due| self.started + due);
        let sweep = self.board.has_waiting().then_some(self.sweep_at);
        // Without anything to do it looks again after a while.
        let later = Instant::now() + Duration::from_secs(60);
        [due, sweep].into_iter().flatten().fold(later, Instant::min)
    }

    fn time(&mut self) -> Result<(), Violation> {
        if Instant::now() >= self.sweep_at {
            self.sweep();
        }
        self.board.session.handle_timeout(self.started.elapsed())
    }

    fn sweep(&mut self) {
        self.sweep_at = Instant::now() + SWEEP;
        self.board.sweep();
    }
}

fn frames(reader: ReadHalf<TlsStream<TcpStream>>, frame_bytes_max: usize) -> Frames {
    // A hub says nothing after Welcome that was not asked for, so no longer frame is behind it.
    let codec = LengthDelimitedCodec::builder().max_frame_length(frame_bytes_max).new_codec();
    FramedRead::with_capacity(reader, codec, READ_BYTES).ready_chunks(FRAMES_TAKEN_MAX)
}

fn failed(error: io::Error) -> Failure {
    match not_believed(&error) {
        Some(reason) => Failure::NotBelieved(reason),
        None => Failure::Broken(error),
    }
}

/// Tells the hub that nothing more comes, so that it need not guess.
async fn close(mut writer: WriteHalf<TlsStream<TcpStream>>) {
    if let Ok(Err(error)) = tokio::time::timeout(LAST_WORD, writer.shutdown()).await {
        warn!(%error, "the link was not closed in order");
    }
}
