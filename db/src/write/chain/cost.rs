//! What chains cost: how often the engine is called for one commit, however many of them are in it.

use std::sync::Arc;

use proto::{
    Domain, EventId, EventName, GroupName, NameFilter, NewEvent, Order, Pid, Position, Start, Timestamp,
    Topic,
};
use tokio::sync::{Semaphore, oneshot};

use super::example::example;
use super::*;
use crate::database::Database;
use crate::url::DatabaseUrl;
use crate::write::batch::Batch;
use crate::write::group::{Group, GroupWish};
use crate::write::log::Care;
use crate::write::settlement::SlotMove;
use crate::write::writer::Command;

fn event(id: &str, pid: &str) -> NewEvent {
    let (domain, name) = (Domain::parse("order").unwrap(), EventName::parse("placed").unwrap());
    NewEvent::new(EventId::parse(id).unwrap(), domain, Pid::parse(pid).unwrap(), name)
}

fn append(ids: impl Iterator<Item = String>) -> Append {
    let events = ids.map(|id| event(&id, &id)).collect();
    Append::new(events, Vec::new(), Timestamp::default(), Vec::new())
}

fn chain(group: &Group, parent: u64) -> Chain {
    let slot = proto::slot(&group.topic.domain, &Pid::parse(&format!("p{parent}")).unwrap());
    let moved = SlotMove { slot, epoch: 1, cursor: Position(0) };
    example(group.id, Position(parent), moved, append([format!("c{parent}")].into_iter()))
}

async fn permit() -> tokio::sync::OwnedSemaphorePermit {
    Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap()
}

struct Scene {
    _folder: tempfile::TempDir,
    session: Session,
    log: Log,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&DatabaseUrl::sqlite(&folder.path().join("log.db"))).await.unwrap();
        database.migrate().await.unwrap();
        let connection = database.connect_writer().await.unwrap();
        let mut session = Session::new(connection, database.turn().clone());
        let end = session.head().await.unwrap().unwrap();
        Self { _folder: folder, session, log: Log::new(end, "h1.test".to_owned()) }
    }

    /// Commits all of `commands` at once; how often the engine was called for it.
    async fn commit(&mut self, commands: Vec<Command>) -> usize {
        let mut batch = Batch::default();
        assert!(commands.into_iter().all(|command| batch.take(command).is_none()), "they share a batch");
        let before = self.session.calls;
        let decision = self.log.attempt(&mut self.session, &mut batch, Care::default()).await.unwrap();
        assert!(decision.outcomes.iter().all(Result::is_ok));
        self.session.calls - before
    }

    async fn chains(&mut self, group: &Group, parents: std::ops::RangeInclusive<u64>) -> usize {
        let mut commands = Vec::new();
        for parent in parents {
            let (answer, _) = oneshot::channel();
            commands.push(Command::Chain(Box::new(chain(group, parent)), answer, permit().await));
        }
        self.commit(commands).await
    }
}

#[tokio::test]
async fn a_commit_takes_as_many_calls_for_four_hundred_chains_as_for_one() {
    let mut scene = Scene::new().await;
    let (answer, _) = oneshot::channel();
    let parents = append((1..=401).map(|parent| format!("p{parent}")));
    let alone = scene.commit(vec![Command::Append(parents, answer, permit().await)]).await;
    let name = GroupName::parse("billing").unwrap();
    let topic = Topic { domain: Domain::parse("order").unwrap(), names: NameFilter::All };
    let wish = GroupWish { name, topic, start: Start::Beginning, order: Order::ByPid };
    let group = scene.session.group(&wish, "h1.test", Timestamp::default()).await.unwrap();
    let one = scene.chains(&group, 1..=1).await;
    let many = scene.chains(&group, 2..=401).await;
    assert_eq!(many, one);
    // The fence and the runs come on top of an append; begin and commit are not counted.
    assert_eq!(one, alone + 2);
}
