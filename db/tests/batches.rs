//! What the writer makes of a queue: which commits, and who is answered what. Commands are queued
//! before the task runs, so that what shares a batch is not a matter of luck.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use eventflow_db::{
    Append, Commits, Committed, Database, DatabaseUrl, GroupWish, OrphanRun, Outcome, Run, ScheduleWish,
    Settlements, SlotMove, WriteError, Writer, WriterOptions,
};
use futures::future::{BoxFuture, FutureExt, join_all};
use proto::{
    Attempt, Domain, EventId, EventName, GroupName, HubId, NameFilter, NewEvent, Order, Pid, Position,
    ServiceName, Start, Timestamp, Topic,
};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tokio_util::sync::CancellationToken;

struct Scene {
    folder: tempfile::TempDir,
    writer: Writer,
    commits: Commits,
    task: BoxFuture<'static, ()>,
    stop: CancellationToken,
}

fn file(folder: &Path) -> std::path::PathBuf {
    folder.join("log.db")
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&DatabaseUrl::sqlite(&file(folder.path()))).await.unwrap();
    database.migrate().await.unwrap();
    let stop = CancellationToken::new();
    let options = WriterOptions { hub: HubId::parse("h1.test").unwrap(), stop: stop.clone() };
    let (writer, commits, task) = database.writer(options).await.unwrap();
    Scene { folder, writer, commits, task: task.run().boxed(), stop }
}

fn event(id: &str, name: &str) -> NewEvent {
    let id = EventId::parse(id).unwrap();
    let (domain, pid) = (Domain::parse("order").unwrap(), Pid::parse("1").unwrap());
    NewEvent::new(id, domain, pid, EventName::parse(name).unwrap())
}

fn append(ids: &[&str]) -> Append {
    let events = ids.iter().map(|id| event(id, "placed")).collect();
    Append::new(events, Vec::new(), Timestamp::default(), Vec::new())
}

/// Queues all of `asked`, then runs the writer until it has nothing left and is told to stop.
async fn queued<T>(
    task: BoxFuture<'static, ()>,
    stop: &CancellationToken,
    asked: Vec<BoxFuture<'_, T>>,
) -> Vec<T> {
    // Without a budget, which would let only some of them queue.
    let mut all = Box::pin(tokio::task::unconstrained(join_all(asked)));
    assert!((&mut all).now_or_never().is_none(), "nothing is answered before the writer runs");
    stop.cancel();
    let (answers, ()) = futures::future::join(all, task).await;
    answers
}

async fn batches(commits: &mut Commits) -> Vec<usize> {
    let mut sizes = Vec::new();
    while let Some(committed) = commits.next().await {
        if let Committed::Events(events) = committed {
            sizes.push(events.len());
        }
    }
    sizes
}

#[tokio::test]
async fn appends_that_queue_share_one_commit_and_a_stopping_writer_writes_them() {
    let Scene { folder: _folder, writer, mut commits, task, stop } = scene().await;
    let ids: Vec<_> = (0..300).map(|number| format!("e{number}")).collect();
    let asked = ids.iter().map(|id| writer.append(append(&[id])).boxed()).collect();
    let answers = queued(task, &stop, asked).await;
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.as_ref().unwrap()[0].position, Position(number as u64 + 1));
    }
    assert_eq!(batches(&mut commits).await, [300]);
    assert_eq!(writer.append(append(&["late"])).await, Err(WriteError::Stopped));
}

#[tokio::test]
async fn a_full_batch_leaves_the_rest_to_the_next_one_in_order() {
    let Scene { folder: _folder, writer, mut commits, task, stop } = scene().await;
    let ids: Vec<_> =
        (0..5).map(|part| (0..400).map(|at| format!("{part}-{at}")).collect::<Vec<_>>()).collect();
    let parts: Vec<Vec<&str>> = ids.iter().map(|ids| ids.iter().map(String::as_str).collect()).collect();
    let asked = parts.iter().map(|ids| writer.append(append(ids)).boxed()).collect();
    let answers = queued(task, &stop, asked).await;
    let firsts: Vec<_> = answers.iter().map(|answer| answer.as_ref().unwrap()[0].position.0).collect();
    assert_eq!(firsts, [1, 401, 801, 1_201, 1_601]);
    assert_eq!(batches(&mut commits).await, [800, 800, 400]);
}

#[tokio::test]
async fn an_event_that_the_engine_refuses_fails_alone() {
    let Scene { folder, writer, mut commits, task, stop } = scene().await;
    let mut stranger = SqliteConnectOptions::new().filename(file(folder.path())).connect().await.unwrap();
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN NEW.name = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::raw_sql(trigger).execute(&mut stranger).await.unwrap();
    let bad = Append::new(vec![event("b", "bad")], Vec::new(), Timestamp::default(), Vec::new());
    let asked = [append(&["a"]), bad, append(&["c"])];
    let asked = asked.into_iter().map(|append| writer.append(append).boxed()).collect();
    let answers = queued(task, &stop, asked).await;
    assert_eq!(answers[0].as_ref().unwrap()[0].position, Position(1));
    assert!(matches!(&answers[1], Err(WriteError::Unavailable { reason }) if reason.contains("no")));
    assert_eq!(answers[2].as_ref().unwrap()[0].position, Position(2));
    assert_eq!(batches(&mut commits).await, [1, 1]);
}

/// Runs the writer beside `asking`, which owns the handle.
async fn beside<T>(task: BoxFuture<'static, ()>, asking: impl Future<Output = T>) -> T {
    futures::future::join(asking, task).await.0
}

#[tokio::test]
async fn events_settlements_and_orphans_share_one_commit_and_a_lost_slot_leaves_the_others_alone() {
    let Scene { folder: _folder, writer, commits: _commits, task, stop: _stop } = scene().await;
    let topic = Topic { domain: Domain::parse("order").unwrap(), names: NameFilter::All };
    let name = GroupName::parse("audit").unwrap();
    let wish = GroupWish { name, topic, start: Start::Beginning, order: Order::ByPid };
    let run = |first: u64| Run {
        slot: 5,
        first: Position(first),
        last: Position(first),
        events: 1,
        consumer: Arc::from("audit/1"),
        attempts: Attempt(1),
        consumed_hub: Timestamp::default(),
        consumed_spoke: Timestamp::default(),
        settled: Timestamp::default(),
        outcome: Outcome::Success,
    };
    beside(task, async move {
        let group = writer.group(wish).await.unwrap().id;
        let settle = |first, epoch| {
            let moves = vec![SlotMove { slot: 5, epoch, cursor: Position(first) }];
            writer.settle(Settlements {
                group,
                runs: vec![run(first)],
                retries: Vec::new(),
                moves,
                aside: eventflow_db::Aside::default(),
            })
        };
        let orphans = vec![OrphanRun { first: Position(3), last: Position(9), at: Timestamp::default() }];
        let (appended, settled, lost, orphaned) = futures::join!(
            writer.append(append(&["a"])),
            settle(1, 1),
            settle(2, 7),
            writer.orphans(orphans)
        );
        assert_eq!(appended.unwrap()[0].position, Position(1));
        assert_eq!(settled, Ok(()));
        assert_eq!(lost, Err(WriteError::Fenced { group }));
        assert_eq!(orphaned, Ok(()));
        let again = settle(1, 1).await;
        assert_eq!(again, Ok(()), "a flush whose answer was lost is not written twice");
        let group = writer.take_groups().await.unwrap().remove(0);
        assert_eq!((group.slots[5].succeeded, group.slots[5].epoch), (1, 2));
    })
    .await;
}

/// Commits in SQLite's write-ahead log: frames that say how large the database is after them.
fn commits_written(folder: &Path) -> usize {
    let log = std::fs::read(folder.join("log.db-wal")).unwrap();
    // Nothing was written since it was emptied.
    if log.is_empty() {
        return 0;
    }
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let page = usize::try_from(number(&log[8..12])).unwrap();
    log[32..].chunks_exact(24 + page).filter(|frame| number(&frame[4..8]) > 0).count()
}

#[tokio::test]
async fn schedules_without_a_key_share_one_commit_with_each_other_and_with_events() {
    let Scene { folder, writer, mut commits, task, stop } = scene().await;
    // Without another connection the last one that closes would take the file away.
    let mut stranger = SqliteConnectOptions::new().filename(file(folder.path())).connect().await.unwrap();
    sqlx::raw_sql("SELECT COUNT(*) FROM event_scheduled").execute(&mut stranger).await.unwrap();
    let before = commits_written(folder.path());
    let wish = |number: usize| ScheduleWish {
        event: event(&format!("s{number}"), "reminded"),
        publisher: ServiceName::parse("shop").unwrap(),
        due: Timestamp::default(),
        key: None,
        now: Timestamp::default(),
    };
    let scheduled = (0..300).map(|number| writer.schedule(wish(number)).map(|answer| answer.is_ok()).boxed());
    let appended = (0..10).map(|number| {
        let append = append(&[&format!("e{number}")]);
        writer.append(append).map(|answer| answer.is_ok()).boxed()
    });
    let answers = queued(task, &stop, scheduled.chain(appended).collect()).await;
    assert!(answers.len() == 310 && answers.iter().all(|stored| *stored));
    assert_eq!(batches(&mut commits).await, [10]);
    assert_eq!(commits_written(folder.path()) - before, 1);
}
