//! The handle of the writer task: cheap to clone, bounded, every call waits for COMMIT.

use std::fmt;
use std::sync::Arc;

use proto::message::{Appended, Link};
use proto::{Domain, EventId, HubId, Pid, Position, Refusal, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, reason};
use crate::error::{OpenError, WriteError};
use crate::outbox::{Drained, WaitingRow};
use crate::schedule::{Cancelled, ScheduleWish, Scheduled, SeriesStep, SeriesWish, Shot, Stepped, Which};
use crate::write::append::Append;
use crate::write::chain::{Chain, Effects};
use crate::write::commits::Commits;
use crate::write::group::{Group, GroupWish};
use crate::write::manage::{ChangedGroup, GroupChange, Swept};
use crate::write::pause::{Alteration, Altered};
use crate::write::plan::Planned;
use crate::write::settle;
use crate::write::settlement::{OrphanRun, Settlements};
use crate::write::task::Task;
use crate::write::telling::Told;
use crate::write::unpark::{Unpark, Unparked};

/// Commands that may wait for the writer. At it callers wait.
const COMMANDS_QUEUED_MAX: usize = 8_192;

/// KiB of events that may wait for the writer. At it callers wait; one larger append waits until
/// it is alone.
const QUEUED_KIB_MAX: usize = 32 * 1024;

/// Schedules that one call fires. More is refused.
pub const FIRE_SCHEDULES_MAX: usize = 500;

/// Series that go on with one call. More is refused.
pub const STEPS_MAX: usize = 100;

/// What a writer needs to know.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The hub that writes. Slots are taken and settlements are made in its name.
    pub hub: HubId,
    /// When it is cancelled the writer takes nothing new, writes what has queued, and ends.
    pub stop: CancellationToken,
}

/// Asks the writer task to write. Clones share it.
///
/// Every method returns when the write is durable, or with the reason why it is not done. Dropping
/// a future does not undo the write: it may still commit.
#[derive(Clone)]
pub struct Writer {
    queue: mpsc::Sender<Command>,
    bytes: Arc<Semaphore>,
}

/// Where the answer to a command goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, WriteError>>;

/// What the task can be asked for.
pub(crate) enum Command {
    Append(Append, Answer<Vec<Appended>>, OwnedSemaphorePermit),
    Settle(Settlements, Answer<()>),
    Orphans(Vec<OrphanRun>, Answer<()>),
    Group(GroupWish, Answer<Group>),
    TakeGroups(Answer<Vec<Group>>),
    ChangeGroups(Box<GroupChange>, Answer<Vec<ChangedGroup>>),
    SweepGroups(Answer<Swept>),
    Link(Link, Answer<u64>),
    DeleteEvent(EventId, String, Answer<Vec<Position>>),
    DeleteEventlog(Domain, Pid, String, Answer<Vec<Position>>),
    Schedule(Box<Planned>, Answer<Scheduled>, OwnedSemaphorePermit),
    Cancel(Which, Timestamp, Answer<Cancelled>),
    Chain(Box<Chain>, Answer<Vec<Appended>>, OwnedSemaphorePermit),
    Alter(Which, Alteration, Answer<Altered>),
    Fire(Vec<EventId>, Timestamp, Answer<Vec<Shot>>),
    Step(Vec<SeriesStep>, Timestamp, Answer<Vec<Stepped>>),
    Drain(Vec<WaitingRow>, Timestamp, Answer<Drained>),
    Unpark(Box<Unpark>, Answer<Unparked>),
}

impl Database {
    /// Starts writing: a handle, the commits in order, and the tasks, which the caller runs. There
    /// is to be one writer in a process.
    ///
    /// # Errors
    /// [`OpenError`] if the tables are not ready or no connection came about.
    pub async fn writer(&self, options: WriterOptions) -> Result<(Writer, Commits, WriterTasks), OpenError> {
        self.check_schema().await?;
        let (sender, receiver) = mpsc::channel(COMMANDS_QUEUED_MAX);
        let writer = Writer { queue: sender, bytes: Arc::new(Semaphore::new(QUEUED_KIB_MAX)) };
        let failed = |error| OpenError::Failed { place: self.url().to_string(), reason: reason(&error) };
        let (write, tell, commits) = Task::start(self.clone(), options, receiver).await.map_err(failed)?;
        Ok((writer, commits, WriterTasks { write, tell }))
    }
}

/// What a writer does, for whoever runs it. It ends when it is told to stop and everything is
/// written and told, or when no handle is left.
#[must_use = "a writer writes only while its tasks run"]
pub struct WriterTasks {
    write: Task,
    tell: Told,
}

impl WriterTasks {
    /// Both tasks as one.
    pub async fn run(self) {
        let (write, tell) = self.split();
        futures::future::join(write, tell).await;
    }

    /// The task that writes and the one that tells callers, for a runtime each: the first is to be
    /// on the thread on which the writer was made, the second where its callers are.
    pub fn split(self) -> (impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
        (self.write.run(), self.tell.run())
    }
}

impl fmt::Debug for WriterTasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriterTasks").finish_non_exhaustive()
    }
}

impl Writer {
    /// Stores events, all or none. One [`Appended`] an event, in order.
    ///
    /// An event whose id is stored already with the same content is answered with its first
    /// position; if all of them are, expectations are not looked at, so asking again is safe.
    ///
    /// # Errors
    /// [`WriteError`]; a refusal is that of the whole append and leaves other appends alone.
    pub async fn append(&self, append: Append) -> Result<Vec<Appended>, WriteError> {
        let permit = self.room(append.bytes).await?;
        self.ask(|answer| Command::Append(append, answer, permit)).await
    }

    /// Records settlements, all or none.
    ///
    /// # Errors
    /// [`WriteError::Fenced`] if a slot is not this hub's in the epoch that is said.
    pub async fn settle(&self, settlements: Settlements) -> Result<(), WriteError> {
        self.ask(|answer| Command::Settle(settlements, answer)).await
    }

    /// Records events that nobody wanted.
    ///
    /// # Errors
    /// [`WriteError`] if they were not recorded.
    pub async fn orphans(&self, runs: Vec<OrphanRun>) -> Result<(), WriteError> {
        self.ask(|answer| Command::Orphans(runs, answer)).await
    }

    /// Makes a group or finds it, with all of its slots in the hands of this hub.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] if it exists with other names or another order.
    pub async fn group(&self, wish: GroupWish) -> Result<Group, WriteError> {
        self.ask(|answer| Command::Group(wish, answer)).await
    }

    /// Takes every slot of every group for this hub, in a new epoch. For the start of a hub.
    ///
    /// # Errors
    /// [`WriteError`] if they were not taken.
    pub async fn take_groups(&self) -> Result<Vec<Group>, WriteError> {
        self.ask(Command::TakeGroups).await
    }

    /// Changes the groups of one name. The answer has each of them as it is now, or as it was when it
    /// was removed; asking again is safe. Who made the change is in the journal with the same commit.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such a group, [`Refusal::Invalid`] at a limit.
    pub async fn change_groups(&self, change: GroupChange) -> Result<Vec<ChangedGroup>, WriteError> {
        self.ask(|answer| Command::ChangeGroups(Box::new(change), answer)).await
    }

    /// Deletes one page of what removed groups have left behind, in a transaction of its own.
    ///
    /// # Errors
    /// [`WriteError`] if it was not deleted; asking again is safe.
    pub async fn sweep_groups(&self) -> Result<Swept, WriteError> {
        self.ask(Command::SweepGroups).await
    }

    /// Changes an event's links, and says how many changed: 0 if it was so already.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such an event, or if it was deleted.
    pub async fn link(&self, link: Link) -> Result<u64, WriteError> {
        self.ask(|answer| Command::Link(link, answer)).await
    }

    /// Empties an event. Its position, id and version stay taken. The answer has its position, or
    /// nothing if it was empty already. `agent` is who wants it, for the operator's log.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such an event.
    pub async fn delete_event(&self, id: EventId, agent: &str) -> Result<Vec<Position>, WriteError> {
        self.ask(|answer| Command::DeleteEvent(id, agent.to_owned(), answer)).await
    }

    /// Empties all events of an eventlog. The answer has the positions that were not empty before. `agent`
    /// is who wants it, for the operator's log.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] without such an eventlog.
    pub async fn delete_eventlog(
        &self,
        domain: Domain,
        pid: Pid,
        agent: &str,
    ) -> Result<Vec<Position>, WriteError> {
        self.ask(|answer| Command::DeleteEventlog(domain, pid, agent.to_owned(), answer)).await
    }

    /// Stores an event that is to be published later.
    ///
    /// The id of its event is the schedule's id. A schedule that is stored already with the same
    /// content, time and key is answered as [`proto::message::Stored::Before`], whatever has become of
    /// it. A pending schedule of the same key and another id is cancelled by this very write. Many
    /// schedules without a key share one commit, those with one have a commit each.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] if the id is that of a schedule with other content, or of an event that is
    /// in the log without having been scheduled. Its position is 0 if the other one has none.
    pub async fn schedule(&self, wish: ScheduleWish) -> Result<Scheduled, WriteError> {
        let planned = Box::new(Planned::new(wish));
        let permit = self.room(planned.bytes).await?;
        self.ask(|answer| Command::Schedule(planned, answer, permit)).await
    }

    /// Stores a schedule that recurs, with its first occurrence. As [`Writer::schedule`], also as to what
    /// its key replaces.
    ///
    /// # Errors
    /// As [`Writer::schedule`].
    pub async fn schedule_series(&self, series: SeriesWish) -> Result<Scheduled, WriteError> {
        let planned = Box::new(Planned::series(series));
        let permit = self.room(planned.bytes).await?;
        self.ask(|answer| Command::Schedule(planned, answer, permit)).await
    }

    /// Keeps a schedule from being fired until it is resumed; of a series, all of it.
    ///
    /// # Errors
    /// [`WriteError`] if it is not known whether it was paused; ask again.
    pub async fn pause(&self, which: Which, now: Timestamp) -> Result<Altered, WriteError> {
        self.ask(|answer| Command::Alter(which, Alteration::Pause(now), answer)).await
    }

    /// Takes [`Writer::pause`] back: the schedule is pending with the time that it had.
    ///
    /// # Errors
    /// [`WriteError`] if it is not known whether it was resumed; ask again.
    pub async fn resume(&self, which: Which) -> Result<Altered, WriteError> {
        self.ask(|answer| Command::Alter(which, Alteration::Resume, answer)).await
    }

    /// Lets series (1 to [`STEPS_MAX`], each once) go on: publishes what is to be fired of them, and
    /// makes the next occurrence pending in the same transaction. There is one answer for each.
    ///
    /// # Errors
    /// [`WriteError`] if the database did not do it. Some may have gone on; asking again is safe and
    /// answers [`Stepped::Moved`] for them.
    pub async fn step(&self, steps: Vec<SeriesStep>, now: Timestamp) -> Result<Vec<Stepped>, WriteError> {
        if steps.is_empty() || steps.len() > STEPS_MAX {
            let reason = format!("{} series are to go on at once; name 1 to {STEPS_MAX}", steps.len());
            return Err(WriteError::Refused(Refusal::Invalid { reason }));
        }
        self.ask(|answer| Command::Step(steps, now, answer)).await
    }

    /// Cancels a schedule, or says why it is too late for that. A cancellation and a firing never both
    /// say that they came first.
    ///
    /// # Errors
    /// [`WriteError`] if it is not known whether it was cancelled; ask again.
    pub async fn cancel(&self, which: Which, now: Timestamp) -> Result<Cancelled, WriteError> {
        self.ask(|answer| Command::Cancel(which, now, answer)).await
    }

    /// Publishes the events of those of `ids` (1 to [`FIRE_SCHEDULES_MAX`]) that are pending, in this
    /// order, without looking at when they are due. There is one answer for each.
    ///
    /// An event that was stored by other means in the meantime counts as fired if it is the same one,
    /// else its schedule fails. A row that the engine refuses is logged and stays pending; it is in
    /// nobody's way.
    ///
    /// # Errors
    /// [`WriteError`] if the database did not do it. Some may have been fired; asking again is safe and
    /// answers [`Shot::Gone`] for them.
    pub async fn fire(&self, ids: Vec<EventId>, now: Timestamp) -> Result<Vec<Shot>, WriteError> {
        if ids.is_empty() || ids.len() > FIRE_SCHEDULES_MAX {
            let reason =
                format!("{} schedules are to be fired at once; name 1 to {FIRE_SCHEDULES_MAX}", ids.len());
            return Err(WriteError::Refused(Refusal::Invalid { reason }));
        }
        self.ask(|answer| Command::Fire(ids, now, answer)).await
    }

    /// Appends the events of rows of the outbox, in this order, as published `now` by the services that
    /// the rows name, and deletes the rows. A row that cannot be appended is marked with the reason.
    ///
    /// # Errors
    /// [`WriteError`] if the database did not do it. Some rows may have been drained; asking again is safe.
    pub async fn drain(&self, rows: Vec<WaitingRow>, now: Timestamp) -> Result<Drained, WriteError> {
        self.ask(|answer| Command::Drain(rows, now, answer)).await
    }

    /// Commits `effects` together with `settlement`, which settles the event that they follow from: all of it,
    /// or nothing. One [`Appended`] an event, in order.
    ///
    /// Asking again is safe: an event that is stored already counts as appended, and once the settlement is
    /// recorded nothing is written again. Many that only append share one commit, the others have one each.
    ///
    /// # Errors
    /// A refusal of any part is one of the whole, [`WriteError::Fenced`] too. Other chains are left alone.
    pub async fn chain(
        &self,
        effects: Effects,
        settlement: Settlements,
    ) -> Result<Vec<Appended>, WriteError> {
        settle::check(&settlement)
            .and_then(|()| settle::check_single(&settlement))
            .map_err(WriteError::Refused)?;
        let permit = self.room(effects.bytes).await?;
        let chain = Box::new(Chain { effects, settlement, recorded: false });
        self.ask(|answer| Command::Chain(chain, answer, permit)).await
    }

    /// Takes parked events up again: the row of each goes, and with a replay its outcome too. Those
    /// that are not parked (any more) are passed over. The same act again, with the same time, answers
    /// as it did at first.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if a slot is not this hub's in the epoch that is said.
    pub async fn unpark(&self, unpark: Unpark) -> Result<Unparked, WriteError> {
        self.ask(|answer| Command::Unpark(Box::new(unpark), answer)).await
    }

    /// Waits until there is room for so many bytes in the queue.
    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, WriteError> {
        let kib = bytes.div_ceil(1024).clamp(1, QUEUED_KIB_MAX);
        let permits = u32::try_from(kib).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes).acquire_many_owned(permits).await.map_err(|_| WriteError::Stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(command(answer)).await.map_err(|_| WriteError::Stopped)?;
        answered.await.unwrap_or(Err(WriteError::Stopped))
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("free", &self.queue.capacity()).finish()
    }
}
