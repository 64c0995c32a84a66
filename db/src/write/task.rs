//! The writer task: takes what has queued, tries until it is written or time is up, answers, tells.

use std::collections::VecDeque;
use std::time::Duration;

use sqlx::Error;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::database::{Database, reason};
use crate::error::WriteError;
use crate::failure::{Failure, classify};
use crate::write::batch::Batch;
use crate::write::commits::{self, Commits};
use crate::write::decide::Decision;
use crate::write::intake::{Intake, Next};
use crate::write::log::{Care, Log, Trouble, headless};
use crate::write::session::Session;
use crate::write::settle;
use crate::write::telling::{self, Finished, Telling, Told};
use crate::write::writer::{Command, WriterOptions};

/// How long a batch is tried before it is answered that the database is not available.
const WRITE_WITHIN: Duration = Duration::from_secs(30);

/// How long one try may take. After it the connection counts as lost.
const TRY_WITHIN: Duration = Duration::from_secs(20);

/// The first pause after a lost connection or a deadlock; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Lost claims after which the head is locked before anything is read.
const CLAIMS_LOST_MAX: u32 = 2;

pub(crate) struct Task {
    pub(crate) database: Database,
    pub(crate) options: WriterOptions,
    pub(crate) log: Log,
    pub(crate) telling: Telling,
    intake: Intake,
    session: Option<Session>,
}

impl Task {
    /// Connects and reads where the log ends.
    pub(crate) async fn start(
        database: Database,
        options: WriterOptions,
        queue: mpsc::Receiver<Command>,
    ) -> Result<(Self, Told, Commits), Error> {
        let mut session = Session::new(database.connect_writer().await?, database.turn().clone());
        let end = session.head().await?.ok_or_else(headless)?;
        session.rollback().await?;
        let log = Log::new(end, options.hub.to_string());
        let (teller, commits) = commits::channel(end.position);
        let (telling, told, turns) = telling::channel(teller);
        let intake = Intake::new(queue, options.stop.clone(), turns, database.engine().engine);
        let task = Self { database, options, log, telling, intake, session: Some(session) };
        Ok((task, told, commits))
    }

    /// Writes until it is told to stop and the queue is empty, or nobody can ask any more.
    pub(crate) async fn run(mut self) {
        while let Some(next) = self.intake.next().await {
            match next {
                Next::Batch(batch, turn) => self.write(batch, turn).await,
                Next::Change(change) => self.change(change).await,
            }
        }
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    async fn write(&mut self, mut batch: Box<Batch>, turn: Option<OwnedSemaphorePermit>) {
        refuse_unfit(&mut batch);
        let deadline = Instant::now() + WRITE_WITHIN;
        let mut waiting = VecDeque::from([(batch, turn, Care::default())]);
        while let Some((batch, turn, care)) = waiting.pop_front() {
            if let Some(refused) = self.write_one(batch, turn, care, deadline).await {
                // Each in a transaction of its own, so that only the bad one fails.
                let careful = Care { look_up: true, ..Care::default() };
                let singles = refused.split().into_iter().map(Box::new);
                waiting.extend(singles.map(|single| (single, None, careful)));
            }
        }
    }

    /// Tries one batch until everything in it is answered. A batch of several requests that the
    /// engine refuses is given back.
    async fn write_one(
        &mut self,
        mut batch: Box<Batch>,
        turn: Option<OwnedSemaphorePermit>,
        mut care: Care,
        deadline: Instant,
    ) -> Option<Batch> {
        let mut tries = Tries::default();
        while !batch.is_empty() {
            if let Some(refusal) = self.log.closed() {
                batch.refuse_appends(refusal);
            }
            let trouble = match self.attempt(&mut batch, care).await {
                Ok(decision) => {
                    let head = self.log.end();
                    self.telling.finished(Finished { batch, decision, head, turn }).await;
                    return None;
                }
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::HeadMoved => {
                    tries.claims_lost += 1;
                    care = Care { look_up: true, lock: tries.claims_lost >= CLAIMS_LOST_MAX };
                }
                Trouble::Fenced(place) => {
                    let asked = batch.settlements.remove(place);
                    let group = asked.work.group;
                    asked.answer(Err(WriteError::Fenced { group }));
                }
                Trouble::Unfit(place, refusal) => {
                    batch.settlements.remove(place).answer(Err(WriteError::Refused(refusal)));
                }
                Trouble::ChainsFenced(group) => batch.fence_chains(group),
                Trouble::UnfitChain(place, refusal) => {
                    batch.chains.remove(place).answer(Err(WriteError::Refused(refusal)));
                }
                Trouble::Closed(refusal) => {
                    error!(%refusal, "the log is closed for appends: a person must decide, see docs/operations.md");
                }
                Trouble::Engine(error) => {
                    let failure = classify(&error);
                    // A repetition is met in this way every time; it is no trouble.
                    if failure == Failure::Taken && !care.look_up {
                        debug!(reason = %reason(&error), "an id or version is taken; looking them up");
                    } else {
                        warn!(reason = %reason(&error), ?failure, "a write did not go through");
                    }
                    let hopeless = failure == Failure::Refused || (failure == Failure::Taken && care.look_up);
                    if hopeless && batch.requests() > 1 {
                        return Some(*batch);
                    }
                    care.look_up = true;
                    if hopeless {
                        batch.refuse_chains(&reason(&error));
                    }
                    if hopeless || !tries.pause(deadline, self.options.stop.is_cancelled()).await {
                        batch.fail(&WriteError::Unavailable { reason: reason(&error) });
                        return None;
                    }
                }
            }
        }
        None
    }

    /// One try, after which the session is either in no transaction or gone.
    async fn attempt(&mut self, batch: &mut Batch, care: Care) -> Result<Decision, Trouble> {
        let mut session = self.session().await?;
        let trying = tokio::time::timeout(TRY_WITHIN, self.log.attempt(&mut session, batch, care));
        let outcome = match trying.await {
            Ok(Ok(decision)) => {
                self.session = Some(session);
                return Ok(decision);
            }
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::Engine(late()),
        };
        if session.in_doubt() {
            self.log.doubt(batch);
        }
        self.log.forget();
        self.keep(session, &outcome).await;
        if let Trouble::HeadMoved = outcome {
            self.catch_up().await?;
        }
        Err(outcome)
    }

    /// Looks where the log ends now, after somebody else has moved it.
    async fn catch_up(&mut self) -> Result<(), Trouble> {
        let mut session = self.session().await?;
        let outcome = self.log.refresh(&mut session).await;
        self.telling.head(self.log.end()).await;
        match &outcome {
            Ok(()) => self.keep(session, &Trouble::HeadMoved).await,
            Err(trouble) => self.keep(session, trouble).await,
        }
        outcome
    }

    /// Rolls back and keeps the session for the next try, unless it is lost or in doubt.
    pub(crate) async fn keep(&mut self, mut session: Session, trouble: &Trouble) {
        // After a lost connection or a late answer nobody knows what is under way in it.
        let lost = matches!(trouble, Trouble::Engine(error) if classify(error) == Failure::Lost);
        if lost || session.in_doubt() {
            return;
        }
        if let Ok(Ok(())) = tokio::time::timeout(TRY_WITHIN, session.rollback()).await {
            self.session = Some(session);
        }
    }

    /// The session, or a new one that has seen where the log ends.
    pub(crate) async fn session(&mut self) -> Result<Session, Trouble> {
        if let Some(session) = self.session.take() {
            return Ok(session);
        }
        let connection = self.database.connect_writer().await?;
        let mut session = Session::new(connection, self.database.turn().clone());
        match self.log.refresh(&mut session).await {
            // A closed log still takes settlements.
            Ok(()) | Err(Trouble::Closed(_)) => {}
            Err(trouble) => return Err(trouble),
        }
        self.telling.head(self.log.end()).await;
        session.rollback().await?;
        Ok(session)
    }

    /// Keeps a session that is in no transaction.
    pub(crate) fn give_back(&mut self, session: Session) {
        self.session = Some(session);
    }
}

/// Answers settlements that can never be written.
fn refuse_unfit(batch: &mut Batch) {
    for asked in std::mem::take(&mut batch.settlements) {
        match settle::check(&asked.work) {
            Ok(()) => batch.settlements.push(asked),
            Err(refusal) => asked.answer(Err(WriteError::Refused(refusal))),
        }
    }
}

fn late() -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 20 s"))
}

/// Counts the tries of one piece of work and spaces them.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    claims_lost: u32,
    pauses: u32,
}

/// Tries that are still made when the writer is told to stop.
const TRIES_WHEN_STOPPING: u32 = 3;

impl Tries {
    /// Waits a little longer each time; `false` if it is time to give up.
    pub(crate) async fn pause(&mut self, deadline: Instant, stopping: bool) -> bool {
        let pause = PAUSE_MIN.saturating_mul(1 << self.pauses.min(10)).min(PAUSE_MAX);
        self.pauses += 1;
        if Instant::now() + pause > deadline || (stopping && self.pauses > TRIES_WHEN_STOPPING) {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}
