//! The handle of the writer task: cheap to clone, bounded, every call waits for COMMIT.

use std::fmt;
use std::sync::Arc;

use proto::message::{Appended, Link};
use proto::{Domain, EventId, HubId, Pid, Position};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::database::{Database, reason};
use crate::error::{OpenError, WriteError};
use crate::write::append::Append;
use crate::write::commits::Commits;
use crate::write::group::{Group, GroupWish};
use crate::write::settlement::{OrphanRun, Settlements};
use crate::write::task::Task;
use crate::write::telling::Told;

/// Commands that may wait for the writer. At it callers wait.
const COMMANDS_QUEUED_MAX: usize = 8_192;

/// KiB of events that may wait for the writer. At it callers wait; one larger append waits until
/// it is alone.
const QUEUED_KIB_MAX: usize = 32 * 1024;

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
    Link(Link, Answer<u64>),
    DeleteEvent(EventId, Answer<Vec<Position>>),
    DeleteEventlog(Domain, Pid, Answer<Vec<Position>>),
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
        let kib = append.bytes.div_ceil(1024).clamp(1, QUEUED_KIB_MAX);
        let permits = u32::try_from(kib).unwrap_or(u32::MAX);
        let permit =
            Arc::clone(&self.bytes).acquire_many_owned(permits).await.map_err(|_| WriteError::Stopped)?;
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
    /// [`proto::Refusal::Invalid`] if it exists with other names or another order.
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

    /// Changes an event's links, and says how many changed: 0 if it was so already.
    ///
    /// # Errors
    /// [`proto::Refusal::NotFound`] without such an event, or if it was deleted.
    pub async fn link(&self, link: Link) -> Result<u64, WriteError> {
        self.ask(|answer| Command::Link(link, answer)).await
    }

    /// Empties an event. Its position, id and version stay taken. The answer has its position, or
    /// nothing if it was empty already.
    ///
    /// # Errors
    /// [`proto::Refusal::NotFound`] without such an event.
    pub async fn delete_event(&self, id: EventId) -> Result<Vec<Position>, WriteError> {
        self.ask(|answer| Command::DeleteEvent(id, answer)).await
    }

    /// Empties all events of an eventlog. The answer has the positions that were not empty before.
    ///
    /// # Errors
    /// [`proto::Refusal::NotFound`] without such an eventlog.
    pub async fn delete_eventlog(&self, domain: Domain, pid: Pid) -> Result<Vec<Position>, WriteError> {
        self.ask(|answer| Command::DeleteEventlog(domain, pid, answer)).await
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
