//! The handle of the one task that owns the connection to the hub.
//!
//! ```text
//! Spoke ─ ask ────────────► commands (bounded) ──► driver ── frames ──► hub
//! EventStream, Consumer ◄── inbox (bounded by credit) ◄── driver ◄── frames ── hub
//! ```
//!
//! Waiting goes one way only: callers wait for the window and for the command queue, the driver
//! waits for the socket. Back from the driver everything is a oneshot, a `try_send` into a queue that
//! the granted credit cannot fill, or a `watch` that keeps the newest. What a reconnect says again
//! is decided by the session in `proto`; what is open in it is this link's whole memory.

mod address;
mod backoff;
mod beside;
mod chains;
mod dial;
mod driver;
mod further;
mod inbox;
mod line;
mod links;
mod outgoing;
mod redial;
mod renewal;
mod switchboard;
mod window;

use std::sync::Arc;
use std::time::Duration;

use proto::ListenerId;
use proto::chain::Chain;
use proto::message::{Answer, Reply, Request, Welcome};
use proto::session::Listen;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::consumer::Told;
use crate::error::{AskError, ClosedReason, ConnectError};
use crate::options::SpokeOptions;

pub(crate) use backoff::Backoff;
pub(crate) use inbox::{Arrival, Inbox, Signals, Taken};
pub(crate) use links::Links;
pub(crate) use window::Weight;

use driver::Driver;
use inbox::Outlet;
use window::{Entry, Window};

/// Commands that wait for the driver. When it is full, callers wait.
const COMMANDS_MAX: usize = 1_024;

/// What the driver is asked to do.
pub(crate) enum Command {
    /// Asks the hub and passes its reply on.
    Ask {
        body: Box<Request>,
        /// Held until the reply is here, also when nobody waits for it any more.
        entry: Entry,
        reply: oneshot::Sender<Result<Reply, AskError>>,
    },
    /// Opens a listener.
    Listen { wish: Listen, outlet: Outlet, opened: oneshot::Sender<Result<ListenerId, AskError>> },
    /// Closes a listener.
    Leave { listener: ListenerId, left: Option<oneshot::Sender<Result<(), AskError>>> },
    /// Answers deliveries that came over this connection.
    Answer { connection: u64, answers: Vec<Answer> },
    /// Answers a delivery that came over this connection, with effects.
    Chain { connection: u64, chain: Box<Chain>, told: Option<Told> },
    /// Allows so many more events to be under way to a listener.
    Credit { listener: ListenerId, events: u32 },
    /// Finishes what is in flight and ends.
    Close { closed: oneshot::Sender<()> },
}

/// What everybody may know of the link.
#[derive(Debug, Clone)]
pub(crate) struct LinkState {
    /// What the hub said on the newest connection.
    pub(crate) welcome: Welcome,
    /// Set once, at the end.
    pub(crate) closed: Option<ClosedReason>,
    /// Requests that had no reply at the end.
    pub(crate) unanswered: usize,
}

/// A cheap clone of the handle. The driver ends when the last one is gone.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

struct Shared {
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<LinkState>,
    window: Window,
    request_timeout: Duration,
    stop: CancellationToken,
    /// Owns the driver: dropping it ends the driver.
    _driver: JoinSet<()>,
}

impl Link {
    /// Starts the driver and waits for the first Welcome.
    pub(crate) async fn open(options: SpokeOptions) -> Result<Self, ConnectError> {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (first, connected) = oneshot::channel();
        let stop = CancellationToken::new();
        let window = Window::new(options.window_events, options.window_bytes);
        let request_timeout = options.request_timeout;
        let span = tracing::info_span!("link", service = %options.service);
        let mut driver = JoinSet::new();
        driver.spawn(Driver::new(options, queue, stop.clone(), first).run().instrument(span));
        let state = connected.await.map_err(|_| ConnectError::Closed)??;
        Ok(Self(Arc::new(Shared { commands, state, window, request_timeout, stop, _driver: driver })))
    }

    /// What the hub said when it opened the newest connection.
    pub(crate) fn welcome(&self) -> Welcome {
        self.0.state.borrow().welcome.clone()
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.0.request_timeout
    }

    /// Asks the hub for what may take `within`, which is the caller's time and not the request time-out.
    /// `None` means that the time is over.
    pub(crate) async fn ask_within(
        &self,
        within: Duration,
        weight: Weight,
        body: Request,
    ) -> Option<Result<Reply, AskError>> {
        tokio::time::timeout(within, self.ask_for_long(weight, body)).await.ok()
    }

    /// Asks the hub, waiting for the window first.
    ///
    /// Dropping the future, or its time-out, does not undo what was asked: it may still be done.
    pub(crate) async fn ask(&self, weight: Weight, body: Request) -> Result<Reply, AskError> {
        self.in_time(self.ask_for_long(weight, body)).await
    }

    async fn ask_for_long(&self, weight: Weight, body: Request) -> Result<Reply, AskError> {
        let entry = self.0.window.enter(weight).await;
        let (reply, answer) = oneshot::channel();
        self.send(Command::Ask { body: Box::new(body), entry, reply }).await?;
        answer.await.map_err(|_| self.closed())?
    }

    /// Opens a listener that holds at most `credit` events which the caller has not taken.
    pub(crate) async fn listen(&self, wish: Listen, credit: u32) -> Result<Inbox, AskError> {
        let (outlet, opening) = inbox::channel(credit);
        let (opened, open) = oneshot::channel();
        let listening = async {
            self.send(Command::Listen { wish, outlet, opened }).await?;
            open.await.map_err(|_| self.closed())?
        };
        let listener = self.in_time(listening).await?;
        Ok(Inbox::new(self.clone(), listener, opening))
    }

    /// Closes a listener and waits until its answers are recorded.
    pub(crate) async fn leave(&self, listener: ListenerId) -> Result<(), AskError> {
        let (left, gone) = oneshot::channel();
        let leaving = async {
            self.send(Command::Leave { listener, left: Some(left) }).await?;
            gone.await.map_err(|_| self.closed())?
        };
        self.in_time(leaving).await
    }

    /// Passes answers on. Waits while the command queue is full.
    pub(crate) async fn answer(&self, connection: u64, answers: Vec<Answer>) -> Result<(), AskError> {
        self.send(Command::Answer { connection, answers }).await
    }

    /// Passes an ack with effects on. Waits while the command queue is full.
    pub(crate) async fn chain(
        &self,
        connection: u64,
        chain: Box<Chain>,
        told: Option<Told>,
    ) -> Result<(), AskError> {
        self.send(Command::Chain { connection, chain, told }).await
    }

    /// Finishes what is in flight within the request time-out and ends. Gives how many requests had
    /// no reply.
    pub(crate) async fn close(&self) -> usize {
        let (closed, done) = oneshot::channel();
        let closing = async {
            // Either error means that the driver has ended already.
            let _ = self.send(Command::Close { closed }).await;
            let _ = done.await;
        };
        let _ = tokio::time::timeout(self.0.request_timeout, closing).await;
        self.0.stop.cancel();
        self.0.commands.closed().await;
        self.0.state.borrow().unanswered
    }

    /// The queue itself, for those who must poll it.
    pub(crate) fn commands(&self) -> mpsc::Sender<Command> {
        self.0.commands.clone()
    }

    /// Closes a listener if there is room to say so. If there is none, the driver finds out with the
    /// next event for it.
    fn leave_soon(&self, listener: ListenerId) {
        let _ = self.0.commands.try_send(Command::Leave { listener, left: None });
    }

    async fn send(&self, command: Command) -> Result<(), AskError> {
        self.0.commands.send(command).await.map_err(|_| self.closed())
    }

    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
        let waited = self.0.request_timeout;
        tokio::time::timeout(waited, asked).await.unwrap_or(Err(AskError::Unavailable { waited }))
    }

    /// Why there is nobody to ask.
    pub(crate) fn closed(&self) -> AskError {
        let reason = self.0.state.borrow().closed.clone();
        AskError::Closed(reason.unwrap_or(ClosedReason::ByOwner))
    }
}
