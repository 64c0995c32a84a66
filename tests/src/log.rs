//! A log with a writer that runs: what most specs of the database start with.

use std::sync::Arc;

use db::{Append, Commits, Committed, Database, Reader, WriteError, Writer, WriterOptions};
use proto::message::Appended;
use proto::read::{Page, Query};
use proto::{Event, Expectation, HubId, NewEvent, Position};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::{at, name, shop};
use crate::{TestDatabase, within};

/// An open database, a writer on it and the task that the writer runs in.
#[derive(Debug)]
pub struct Log {
    /// The handle.
    pub database: Database,
    /// Its reader.
    pub reader: Reader,
    /// Its writer.
    pub writer: Writer,
    /// What the writer has committed.
    pub commits: Commits,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Log {
    /// Opens `database` as the hub `test`.
    pub async fn open(database: &TestDatabase) -> Self {
        Self::open_as(database, "test").await
    }

    /// Opens `database` as the hub `hub`.
    pub async fn open_as(database: &TestDatabase, hub: &str) -> Self {
        Self::over(database.open().await, hub).await
    }

    /// The same over a handle that is open.
    pub async fn over(database: Database, hub: &str) -> Self {
        let stop = CancellationToken::new();
        let options = WriterOptions { hub: name::<HubId>(hub), stop: stop.clone() };
        let (writer, commits, tasks) = database.writer(options).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(tasks.run());
        Self { reader: database.reader(), database, writer, commits, stop, task }
    }

    /// Publishes `events` in one append, expecting nothing.
    ///
    /// # Errors
    /// What the writer says.
    pub async fn publish(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, WriteError> {
        publish(&self.writer, events, Vec::new()).await
    }

    /// Stores `events` in one append without offering them.
    ///
    /// # Errors
    /// What the writer says.
    pub async fn persist(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, WriteError> {
        self.writer.append(Append::new(events, Vec::new(), at(0), Vec::new())).await
    }

    /// Publishes one event that is not refused.
    pub async fn publish_one(&self, event: NewEvent) -> Appended {
        self.publish(vec![event]).await.unwrap()[0]
    }

    /// Publishes `events` if `expectations` hold.
    ///
    /// # Errors
    /// What the writer says.
    pub async fn publish_if(
        &self,
        expectations: Vec<Expectation>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Appended>, WriteError> {
        publish(&self.writer, events, expectations).await
    }

    /// The head's position.
    pub async fn head(&self) -> Position {
        self.reader.head().await.unwrap().position
    }

    /// The whole log, page by page.
    pub async fn everything(&self) -> Vec<Event> {
        everything(&self.reader).await
    }

    /// The next commit.
    pub async fn committed(&mut self) -> Committed {
        within("a commit", self.commits.next()).await.unwrap()
    }

    /// The next committed events.
    ///
    /// # Panics
    /// If the next commit is something else.
    pub async fn committed_events(&mut self) -> Vec<Arc<Event>> {
        match self.committed().await {
            Committed::Events(events) => events,
            other => panic!("expected events, got {other:?}"),
        }
    }

    /// Stops the writer, waits for its task and closes the database.
    pub async fn close(mut self) {
        self.stop.cancel();
        within("the writer's end", self.task.join_next()).await.unwrap().unwrap();
        within("the database's end", self.database.close()).await;
    }
}

/// Publishes `events` through `writer` if `expectations` hold.
///
/// # Errors
/// What the writer says.
pub async fn publish(
    writer: &Writer,
    events: Vec<NewEvent>,
    expectations: Vec<Expectation>,
) -> Result<Vec<Appended>, WriteError> {
    let publishers = vec![Some(shop()); events.len()];
    writer.append(Append::new(events, publishers, at(0), expectations)).await
}

/// Every event that `reader` finds, page by page.
pub async fn everything(reader: &Reader) -> Vec<Event> {
    let mut events = Vec::new();
    let mut after = Position(0);
    loop {
        let (page, through, more) = page(reader, &Query::Log { after, limit: 1_000 }).await;
        events.extend(page);
        if !more {
            return events;
        }
        assert!(through > after, "a page that may have more behind it has to move on");
        after = through;
    }
}

/// One page of events: the events, how far it looked, and whether there may be more.
///
/// # Panics
/// If the page holds something else.
pub async fn page(reader: &Reader, query: &Query) -> (Vec<Event>, Position, bool) {
    match reader.page(query).await.unwrap() {
        Page::Events { events, through, more } => (events, through, more == proto::read::More::Maybe),
        other => panic!("{query:?} answered {other:?}"),
    }
}
