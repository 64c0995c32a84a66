//! The task that owns the session and the socket: dials, carries frames, dials again.
//!
//! It takes commands all the while, also without a connection, so that what is asked then is said
//! after the next Welcome, and closing never has to wait for a hub. Beside the connection in use it
//! renews the certificate and carries those connections that retire (`renewing`).

mod renewing;

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use certs::SecretKey;
use proto::certs::Trust;
use proto::session::{SpokeSession, SpokeSessionConfig, Violation};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::beside::{Beside, Shown};
use super::dial::{Dialer, Dialled, not_believed};
use super::line::{Carried, Line};
use super::redial::{Failure, Next, Redial};
use super::renewal::Renewal;
use super::switchboard::{News, Switchboard};
use super::{Command, LinkState};
use crate::error::{ClosedReason, ConnectError};
use crate::options::SpokeOptions;

/// Commands that are taken at a time.
const COMMANDS_TAKEN_MAX: usize = 256;

/// How often it is looked who has given up waiting.
const SWEEP: Duration = Duration::from_secs(1);

type First = oneshot::Sender<Result<watch::Receiver<LinkState>, ConnectError>>;

pub(super) struct Driver {
    board: Switchboard,
    commands: mpsc::Receiver<Command>,
    batch: Vec<Command>,
    stop: CancellationToken,
    dialer: Dialer,
    dial_timeout: Duration,
    redial: Redial,
    beside: Beside,
    renewal: Renewal,
    /// What was shown on the connection in use.
    shown: Option<Shown>,
    /// The key of the certificate that is asked for.
    new_key: Option<SecretKey>,
    /// The newest that is to be trusted and not kept yet.
    trust: Keeping,
    /// The zero of the session's time.
    started: Instant,
    sweep_at: Instant,
    /// Told of the first Welcome, or why there is none.
    first: Option<First>,
    state: Option<watch::Sender<LinkState>>,
}

/// What is to be trusted, on its way to the data folder.
#[derive(Default)]
struct Keeping {
    /// Whether one is being kept.
    is_busy: bool,
    next: Option<Trust>,
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
            beside: Beside::default(),
            renewal: Renewal::new(),
            shown: None,
            new_key: None,
            trust: Keeping::default(),
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
                    self.redial.dialled(&dialled.address, dialled.is_new);
                    Box::pin(self.carry(dialled, started)).await
                }
                Ok(Err(error)) => Over::Lost(Failure::Dial(error)),
                Err(_) => Over::Lost(Failure::Late(self.dial_timeout)),
            };
            self.board.session.disconnected();
            self.unlinked();
            self.pass_on();
            let Over::Lost(failure) = over else { return None };
            match self.redial.after(failure, self.started.elapsed(), random) {
                Next::Wait(wait) => self.meanwhile(Box::pin(tokio::time::sleep(wait))).await?,
                Next::GiveUp(error) => return Some(error),
            }
        }
    }

    /// Waits for `future` and takes commands meanwhile. `None`: it is to be closed.
    async fn meanwhile<T>(&mut self, mut future: impl Future<Output = T> + Unpin) -> Option<T> {
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                done = &mut future => return Some(done),
                count = self.commands.recv_many(&mut self.batch, COMMANDS_TAKEN_MAX) => self.taken(count)?,
                aside = self.beside.next() => self.aside(aside, None),
                // Without a connection no rule of it can be broken.
                () = sleep_until(due) => drop(self.time()),
            }
            self.pass_on();
            self.beside.settle(&mut self.board.session);
            if self.board.is_done() {
                return None;
            }
        }
    }

    /// Carries frames until the connection is over.
    async fn carry(&mut self, dialled: Dialled, dial_started: Instant) -> Over {
        let mut line = Line::new(dialled.stream, self.board.session.frame_bytes_max());
        self.shown = Some(Shown { identity: dialled.identity, is_new: dialled.is_new });
        // The session's deadline for Welcome counts from here.
        self.board.session.connected(dial_started - self.started);
        let mut alarm = Box::pin(sleep_until(dial_started));
        loop {
            if self.pass_on() {
                line.frame_bytes_max(self.board.session.frame_bytes_max());
            }
            line.fill(|buffer| self.board.session.poll_frame(buffer));
            self.beside.settle(&mut self.board.session);
            if !line.is_pending() {
                if self.board.is_done() {
                    line.close().await;
                    return Over::Closed;
                }
                if self.has_gone_away() {
                    line.close().await;
                    return Over::Lost(Failure::WentAway);
                }
            }
            let outcome = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Over::Closed,
                aside = self.beside.next() => {
                    self.aside(aside, Some(&mut line));
                    Ok(())
                }
                carried = line.carry() => self.carried(carried),
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

    fn carried(&mut self, carried: Carried) -> Result<(), Failure> {
        let now = self.started.elapsed();
        let session = &mut self.board.session;
        frames(carried, |frame| session.handle_frame(frame, now))
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
                    self.dialer.welcomed();
                    self.linked(&welcome);
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
                News::Trust(trust) => self.trust_told(trust),
                News::RenewalWanted { within } => self.renewal.wanted(within, self.started.elapsed(), random),
                News::Renewed(outcome) => self.renewed(outcome),
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
        let due = self.board.session.poll_timeout().into_iter().chain(self.due_aside()).min();
        let sweep = self.board.has_waiting().then_some(self.sweep_at);
        // Without anything to do it looks again after a while.
        let later = Instant::now() + Duration::from_secs(60);
        [due.map(|due| self.started + due), sweep].into_iter().flatten().fold(later, Instant::min)
    }

    fn time(&mut self) -> Result<(), Violation> {
        if Instant::now() >= self.sweep_at {
            self.sweep();
        }
        self.time_aside();
        self.board.session.handle_timeout(self.started.elapsed())
    }

    fn sweep(&mut self) {
        self.sweep_at = Instant::now() + SWEEP;
        self.board.sweep();
    }
}

/// Has every frame that came taken, in order.
fn frames(carried: Carried, mut take: impl FnMut(&[u8]) -> Result<(), Violation>) -> Result<(), Failure> {
    let came = match carried {
        Carried::Written(written) => return written.map_err(failed),
        Carried::Came(came) => came.ok_or(Failure::HungUp)?,
    };
    for frame in came {
        take(&frame.map_err(failed)?).map_err(Failure::Violation)?;
    }
    Ok(())
}

fn failed(error: io::Error) -> Failure {
    match not_believed(&error) {
        Some(reason) => Failure::NotBelieved(reason),
        None => Failure::Broken(error),
    }
}

fn random(range: RangeInclusive<u64>) -> u64 {
    rand::random_range(range)
}
