//! Changes that have a transaction of their own: groups, links, deletions, schedules with a key, and
//! chains that do more than append.
//!
//! They are rare, so they may take several statements. A change whose commit is in doubt is made
//! again; each is such that this ends in the same tables.

use std::fmt::Display;
use std::time::Duration;

use proto::message::Link;
use proto::{EventId, Position, Refusal, Timestamp};
use tokio::time::Instant;
use tracing::warn;

use crate::audit::Audit;
use crate::database::reason;
use crate::error::WriteError;
use crate::failure::{Failure, classify};
use crate::schedule::Due;
use crate::statement::Statement;
use crate::write::decide::Eventlog;
use crate::write::group::{Group, GroupWish};
use crate::write::log::{Log, Trouble};
use crate::write::manage::Sweep;
use crate::write::pause::AlterOne;
use crate::write::schedules::Cancellation;
use crate::write::session::Session;
use crate::write::task::{Task, Tries};
use crate::write::writer::{Answer, Command};

/// How long a change is tried.
const CHANGE_WITHIN: Duration = Duration::from_secs(30);

/// How often a change may find rows other than it has read them. They are locked by then, so that more
/// than a few times mean that something changes the tables past eventflow.
const LOOKS_MAX: u32 = 100;

/// How long one try may take: an eventlog with many events takes a while to empty.
const TRY_WITHIN: Duration = Duration::from_secs(25);

const NOW: Statement = Statement::each(
    include_str!("../../../sql/sqlite/engine/now.sql"),
    include_str!("../../../sql/mysql/engine/now.sql"),
);

/// When a change is made, by the database's clock: every try of it has the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    /// Whether an earlier try of this very change may have been committed without our hearing of it.
    pub(crate) in_doubt: bool,
}

/// Something that is done in a transaction of its own.
pub(crate) trait Change: Sync {
    type Done: Send;

    fn make(
        &self,
        session: &mut Session,
        log: &mut Log,
        moment: Moment,
    ) -> impl Future<Output = Result<Self::Done, Trouble>> + Send;
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum Undone {
    /// The log says no.
    Refused(Refusal),
    /// A slot is not this hub's any more.
    Fenced,
    /// The engine did not do it, for this reason.
    Engine(Failure, String),
}

impl From<Undone> for WriteError {
    fn from(undone: Undone) -> Self {
        match undone {
            Undone::Refused(refusal) => Self::Refused(refusal),
            // Only chains are fenced, and they say by which group.
            Undone::Fenced => Self::Unavailable { reason: "another hub has taken over".to_owned() },
            Undone::Engine(_, reason) => Self::Unavailable { reason },
        }
    }
}

impl Change for GroupWish {
    type Done = Group;
    async fn make(&self, session: &mut Session, log: &mut Log, moment: Moment) -> Result<Group, Trouble> {
        session.group(self, log.hub(), moment.at).await
    }
}

struct TakeGroups;

impl Change for TakeGroups {
    type Done = Vec<Group>;
    async fn make(&self, session: &mut Session, log: &mut Log, _: Moment) -> Result<Vec<Group>, Trouble> {
        session.take_groups(log.hub()).await
    }
}

impl Change for Link {
    type Done = u64;
    async fn make(&self, session: &mut Session, _: &mut Log, _: Moment) -> Result<u64, Trouble> {
        session.link(self).await
    }
}

/// A deletion, and who wants it.
struct Deletion<T> {
    what: T,
    agent: String,
}

impl<T: Change<Done = Vec<Position>> + Display> Change for Deletion<T> {
    type Done = Vec<Position>;
    async fn make(
        &self,
        session: &mut Session,
        log: &mut Log,
        moment: Moment,
    ) -> Result<Vec<Position>, Trouble> {
        let emptied = self.what.make(session, log, moment).await?;
        if !emptied.is_empty() {
            let audit = Audit {
                agent: self.agent.clone(),
                act: "event.delete",
                subject: self.what.to_string(),
                detail: format!("{} events emptied", emptied.len()),
            };
            session.audit(&audit).await?;
        }
        Ok(emptied)
    }
}

impl Change for EventId {
    type Done = Vec<Position>;
    async fn make(
        &self,
        session: &mut Session,
        _: &mut Log,
        moment: Moment,
    ) -> Result<Vec<Position>, Trouble> {
        session.empty_event(self, moment).await
    }
}

impl Change for Eventlog {
    type Done = Vec<Position>;
    async fn make(
        &self,
        session: &mut Session,
        _: &mut Log,
        moment: Moment,
    ) -> Result<Vec<Position>, Trouble> {
        session.empty_eventlog(self, moment).await
    }
}

impl Task {
    /// Makes one change and answers it. Whoever asked may have gone; that is theirs to know.
    pub(crate) async fn change(&mut self, command: Command) {
        match command {
            Command::Group(wish, answer) => drop(answer.send(self.alone(&wish).await)),
            Command::TakeGroups(answer) => drop(answer.send(self.alone(&TakeGroups).await)),
            Command::ChangeGroups(change, answer) => drop(answer.send(self.alone(&*change).await)),
            Command::SweepGroups(answer) => drop(answer.send(self.alone(&Sweep).await)),
            Command::Link(link, answer) => drop(answer.send(self.alone(&link).await)),
            Command::DeleteEvent(what, agent, answer) => {
                self.delete(answer, &Deletion { what, agent }).await;
            }
            Command::DeleteEventlog(domain, pid, agent, answer) => {
                self.delete(answer, &Deletion { what: Eventlog { domain, pid }, agent }).await;
            }
            Command::Schedule(planned, answer, _bytes) => {
                let outcome = self.alone(&planned).await;
                self.tell_pending(&outcome, |_| Some(planned.pending()));
                let _ = answer.send(outcome);
            }
            Command::Cancel(which, now, answer) => {
                let cancellation = Cancellation { which, now };
                drop(answer.send(self.alone(&cancellation).await));
            }
            Command::Chain(chain, answer, _bytes) => drop(answer.send(self.chain(&chain).await)),
            Command::Alter(which, alteration, answer) => {
                let outcome = self.alone(&AlterOne { which, alteration }).await;
                self.tell_pending(&outcome, |altered| altered.pending.clone());
                let _ = answer.send(outcome);
            }
            Command::Step(steps, now, answer) => drop(answer.send(self.step(&steps, now).await)),
            Command::Fire(ids, now, answer) => drop(answer.send(self.fire(&ids, now).await)),
            Command::Drain(rows, now, answer) => drop(answer.send(self.drain(&rows, now).await)),
            Command::Unpark(unpark, answer) => drop(answer.send(self.alone(&*unpark).await)),
            // A batch takes these.
            Command::Append(..) | Command::Settle(..) | Command::Orphans(..) => {}
        }
    }

    /// Tells what became pending by a change; after one of unknown outcome, that something may have.
    fn tell_pending<T>(&self, outcome: &Result<T, WriteError>, pending: impl FnOnce(&T) -> Option<Due>) {
        match outcome {
            Ok(done) => {
                if let Some(due) = pending(done) {
                    self.telling.schedules.pending(due);
                }
            }
            Err(WriteError::Refused(_)) => {}
            Err(_) => self.telling.schedules.missed(),
        }
    }

    async fn delete(&mut self, answer: Answer<Vec<Position>>, deletion: &impl Change<Done = Vec<Position>>) {
        // Whoever delivers events has to hear of it, so there must be a place for the news first.
        if !self.telling.has_room().await {
            let reason = "the hub is behind with delivering".to_owned();
            let _ = answer.send(Err(WriteError::Unavailable { reason }));
            return;
        }
        let outcome = self.alone(deletion).await;
        if let Ok(positions) = &outcome
            && !positions.is_empty()
        {
            self.telling.deleted(positions.clone()).await;
        }
        let _ = answer.send(outcome);
    }

    /// Makes `change`, again after what passes.
    async fn alone<C: Change>(&mut self, change: &C) -> Result<C::Done, WriteError> {
        Ok(self.make(change).await?)
    }

    /// The same, for one who does something about what the engine refuses.
    pub(crate) async fn make<C: Change>(&mut self, change: &C) -> Result<C::Done, Undone> {
        let deadline = Instant::now() + CHANGE_WITHIN;
        let mut tries = Tries::default();
        let (mut now, mut looks) = (None, 0);
        loop {
            let error = match self.try_alone(change, &mut now).await {
                Ok(done) => return Ok(done),
                Err(
                    Trouble::Closed(refusal) | Trouble::Unfit(_, refusal) | Trouble::UnfitChain(_, refusal),
                ) => {
                    return Err(Undone::Refused(refusal));
                }
                Err(Trouble::Fenced(_) | Trouble::ChainsFenced(_)) => return Err(Undone::Fenced),
                Err(Trouble::HeadMoved) if looks < LOOKS_MAX => {
                    looks += 1;
                    continue;
                }
                Err(Trouble::HeadMoved) => {
                    let reason = format!("rows were not as they had just been read, {looks} times in a row");
                    warn!(reason, "a change was given up; see who else changes eventflow's tables");
                    return Err(Undone::Engine(Failure::Contention, reason));
                }
                Err(Trouble::Engine(error)) => error,
            };
            let failure = classify(&error);
            warn!(reason = %reason(&error), ?failure, "a change did not go through");
            let stopping = self.options.stop.is_cancelled();
            if failure == Failure::Refused || !tries.pause(deadline, stopping).await {
                return Err(Undone::Engine(failure, reason(&error)));
            }
        }
    }

    async fn try_alone<C: Change>(
        &mut self,
        change: &C,
        now: &mut Option<Timestamp>,
    ) -> Result<C::Done, Trouble> {
        let mut session = self.session().await?;
        let trying = async {
            session.begin().await?;
            let moment = match *now {
                Some(at) => Moment { at, in_doubt: true },
                None => Moment { at: *now.insert(session.now().await?), in_doubt: false },
            };
            let done = change.make(&mut session, &mut self.log, moment).await?;
            session.commit().await?;
            Ok(done)
        };
        let Ok(outcome) = tokio::time::timeout(TRY_WITHIN, trying).await else {
            // The session is dropped: nobody knows what is under way in it.
            let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 25 s");
            return Err(Trouble::Engine(sqlx::Error::Io(late)));
        };
        match &outcome {
            Ok(_) => self.give_back(session),
            Err(trouble) => self.keep(session, trouble).await,
        }
        outcome
    }
}

impl Session {
    /// The database's time.
    async fn now(&mut self) -> Result<Timestamp, sqlx::Error> {
        let rows = self.rows(&NOW, &[]).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        Ok(row.timestamp(0)?)
    }
}
