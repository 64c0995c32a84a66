//! A projection's rows equal a direct fold of the log, whatever is killed when and by whom it is run.
//!
//! The engine of a spec is that of the projection's own database; the hub has one of its own.

use std::time::Duration;

use eventflow_tests::database::Killer;
use eventflow_tests::events::{event, name, with_data};
use eventflow_tests::ledger::{Ledger, MySqlShelf, Plan, Rows, Shelf, SqliteShelf};
use eventflow_tests::{Engine, TestDatabase, TestHub, on_every_engine, within};
use proto::Position;
use spoke::{Ended, Event, Generation, Projection, ProjectionBuilder, ProjectionError, Projector, Spoke};
use tokio::task::JoinSet;

const WITHIN: Duration = Duration::from_secs(50);

/// Runs a spec that is written for any shelf on the one of `$database`.
macro_rules! on_shelf {
    ($database:ident, $spec:ident) => {
        match $database.engine() {
            Engine::Sqlite => $spec(SqliteShelf::on($database).await, $database).await,
            Engine::MariaDb | Engine::MySql => $spec(MySqlShelf::on($database).await, $database).await,
        }
    };
}

/// A hub with a database of its own, and a spoke.
struct Scene {
    log: TestDatabase,
    hub: TestHub,
    spoke: Spoke,
}

impl Scene {
    async fn new() -> Self {
        let log = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let hub = TestHub::start(&log).await;
        let spoke = hub.spoke("books").await;
        Self { log, hub, spoke }
    }

    fn orders(&self) -> ProjectionBuilder {
        orders(&self.spoke)
    }

    /// What the rows must be, and where the log ends.
    async fn fold(&self) -> (Rows, Position) {
        let events: Vec<Event> = self.spoke.log(Position(0)).all().await.unwrap();
        let end = events.last().map_or(Position(0), |event| event.position);
        (Ledger::fold(events.iter().filter(|event| event.domain.as_str() == "order")), end)
    }

    /// Waits until `projection` has applied the whole log, and fails unless its rows are right.
    async fn equals_the_fold(&self, shelf: &impl Shelf, projection: &Projection) {
        let (rows, end) = self.fold().await;
        projection.wait_for(end, WITHIN).await.unwrap();
        assert_eq!(shelf.rows(projection.generation().0).await, rows);
    }

    async fn end(self) {
        self.spoke.close().await.unwrap();
        self.hub.stop().await;
        self.log.remove().await;
    }
}

fn orders(spoke: &Spoke) -> ProjectionBuilder {
    spoke.projection("ledger").unwrap().topic(name("order")).batch(50).attempts(2)
}

/// Publishes `count` orders of 20 processes, some invoices between them, ten in one commit.
async fn publish(spoke: Spoke, count: u64) -> Position {
    let mut last = Position(0);
    for first in (0..count).step_by(10) {
        let one = |number: u64| {
            let domain = if number.is_multiple_of(7) { "invoice" } else { "order" };
            let event = event(domain, &format!("p{}", number % 20), "placed");
            with_data(event, &format!("{{\"number\":{number}}}"))
        };
        let events = (first..first + 10).map(one).collect();
        let appended = within("an append", spoke.publish_all(events)).await.unwrap();
        last = appended.last().unwrap().position;
    }
    last
}

fn publisher(spoke: &Spoke, count: u64) -> JoinSet<Position> {
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(spoke.clone(), count));
    publishing
}

async fn done(mut publishing: JoinSet<Position>) -> Position {
    within("the publisher", publishing.join_next()).await.unwrap().unwrap()
}

async fn catches_up_and_follows<S: Shelf>(shelf: S, _: &TestDatabase)
where
    Ledger: Projector<S::Open>,
{
    let scene = Scene::new().await;
    publish(scene.spoke.clone(), 1_000).await;
    let projection = scene.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
    let publishing = publisher(&scene.spoke, 500);
    let last = done(publishing).await;
    scene.equals_the_fold(&shelf, &projection).await;
    // What it does not want counts as seen, too.
    let invoice = scene.spoke.publish(event("invoice", "p1", "sent")).await.unwrap();
    assert_eq!(invoice.position, last.next());
    projection.wait_for(invoice.position, WITHIN).await.unwrap();
    let progress = projection.progress();
    assert!(progress.is_caught_up(), "{progress:?}");
    assert_eq!((progress.head, progress.lag()), (invoice.position, 0));
    assert_eq!(progress.events, 1_500 - 143 - 72);

    assert_eq!(projection.stop().await.unwrap(), Ended::Stopped);
    assert_eq!(shelf.checkpoint("ledger", 1).await.position, invoice.position);
    let again = scene.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
    scene.equals_the_fold(&shelf, &again).await;
    assert_eq!(again.progress().events, 0, "nothing is read twice");
    again.stop().await.unwrap();
    scene.end().await;
}

async fn is_killed_anywhere<S: Shelf>(shelf: S, database: &TestDatabase)
where
    Ledger: Projector<S::Open>,
{
    let mut plan = Plan::seeded();
    let mut scene = Scene::new().await;
    let mut killer = Killer::on(database).await;
    let publishing = publisher(&scene.spoke, 3_000);
    for _ in 0..25 {
        let projection = scene.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
        let target = plan.after(projection.progress().applied, 200);
        // It may be that there is not so much yet.
        drop(projection.wait_for(target, Duration::from_millis(plan.below(100))).await);
        match plan.below(3) {
            0 => scene.hub.crash_and_restart().await,
            1 => {
                if let Some(killer) = &mut killer {
                    killer.cut_all().await;
                }
            }
            _ => {}
        }
        if plan.below(2) == 0 {
            let target = plan.after(projection.progress().applied, 50);
            drop(projection.wait_for(target, Duration::from_millis(plan.below(100))).await);
        }
        // Wherever it is, also in the middle of a transaction.
        drop(projection);
    }
    done(publishing).await;
    let projection = scene.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
    scene.equals_the_fold(&shelf, &projection).await;
    projection.stop().await.unwrap();
    scene.end().await;
}

async fn is_run_twice<S: Shelf>(shelf: S, _: &TestDatabase)
where
    Ledger: Projector<S::Open>,
{
    let scene = Scene::new().await;
    let other = scene.hub.spoke("books").await;
    publish(scene.spoke.clone(), 500).await;
    let (one, two) = futures::join!(
        scene.orders().run(shelf.store().await, Ledger::default()),
        orders(&other).run(shelf.store().await, Ledger::default()),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    done(publisher(&scene.spoke, 500)).await;
    scene.equals_the_fold(&shelf, &one).await;
    scene.equals_the_fold(&shelf, &two).await;
    // The one that works is taken away; the other goes on.
    one.stop().await.unwrap();
    done(publisher(&scene.spoke, 100)).await;
    scene.equals_the_fold(&shelf, &two).await;
    two.stop().await.unwrap();
    scene.end().await;
}

async fn is_rebuilt_beside<S: Shelf>(shelf: S, _: &TestDatabase)
where
    Ledger: Projector<S::Open>,
{
    let scene = Scene::new().await;
    publish(scene.spoke.clone(), 500).await;
    let mut old = scene.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
    let publishing = publisher(&scene.spoke, 1_000);
    // Broken off, it goes on where it was.
    let broken_off = scene.orders().rebuild(shelf.store().await, Ledger::default()).await.unwrap();
    broken_off.wait_for(Position(50), WITHIN).await.unwrap();
    drop(broken_off);
    let new = scene.orders().rebuild(shelf.store().await, Ledger::default()).await.unwrap();
    assert_eq!((new.generation(), shelf.serving("ledger").await), (Generation(2), Some(Generation(1))));
    new.switch(WITHIN).await.unwrap();
    new.switch(WITHIN).await.unwrap();
    assert_eq!(shelf.serving("ledger").await, Some(Generation(2)));
    done(publishing).await;
    done(publisher(&scene.spoke, 10)).await;
    scene.equals_the_fold(&shelf, &new).await;
    assert_eq!(within("the old one's end", old.ended()).await.unwrap(), Ended::Replaced);
    assert!(!shelf.rows(1).await.is_empty(), "the old rows stay");
    new.stop().await.unwrap();

    let serving = scene.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
    assert_eq!(serving.generation(), Generation(2));
    let removed = async |generation| {
        scene.orders().remove(&mut shelf.store().await, Generation(generation)).await.unwrap()
    };
    assert_eq!([removed(1).await, removed(1).await, removed(2).await], [true, false, false]);
    serving.stop().await.unwrap();
    scene.end().await;
}

async fn meets_poison<S: Shelf>(shelf: S, _: &TestDatabase)
where
    Ledger: Projector<S::Open>,
{
    let scene = Scene::new().await;
    publish(scene.spoke.clone(), 100).await;
    let bad = scene.spoke.publish(event("order", "p1", "bad")).await.unwrap();
    publish(scene.spoke.clone(), 100).await;
    let ledger = Ledger { poison: Some("bad") };
    let mut stopped = scene.orders().run(shelf.store().await, ledger.clone()).await.unwrap();
    let error = within("its end", stopped.ended()).await.unwrap_err();
    assert!(
        matches!(&error, ProjectionError::Poison { position, .. } if *position == bad.position),
        "{error}"
    );
    assert!(error.to_string().contains("bad cannot be booked"), "{error}");
    assert_eq!(shelf.checkpoint("ledger", 1).await.position, bad.position.previous());

    let on = scene.orders().skip(bad.position).run(shelf.store().await, ledger).await.unwrap();
    let (_, end) = scene.fold().await;
    on.wait_for(end, WITHIN).await.unwrap();
    let events = scene.spoke.log(Position(0)).all().await.unwrap();
    let booked = |event: &&Event| event.domain.as_str() == "order" && event.name.as_str() != "bad";
    assert_eq!(shelf.rows(1).await, Ledger::fold(events.iter().filter(booked)));
    assert_eq!(shelf.skipped().await, [i64::try_from(bad.position.0).unwrap()]);
    on.stop().await.unwrap();
    scene.end().await;
}

async fn meets_another_log<S: Shelf>(shelf: S, _: &TestDatabase)
where
    Ledger: Projector<S::Open>,
{
    let before = Scene::new().await;
    publish(before.spoke.clone(), 50).await;
    let first = before.orders().run(shelf.store().await, Ledger::default()).await.unwrap();
    before.equals_the_fold(&shelf, &first).await;
    first.stop().await.unwrap();
    before.end().await;

    let after = Scene::new().await;
    publish(after.spoke.clone(), 20).await;
    let refused = after.orders().run(shelf.store().await, Ledger::default()).await.unwrap_err();
    assert!(matches!(refused, ProjectionError::OtherLog { .. }), "{refused}");
    let new = after.orders().rebuild(shelf.store().await, Ledger::default()).await.unwrap();
    // The old checkpoint is further, but in another log.
    new.switch(WITHIN).await.unwrap();
    after.equals_the_fold(&shelf, &new).await;
    assert_eq!(shelf.serving("ledger").await, Some(Generation(2)));
    new.stop().await.unwrap();
    after.end().await;
}

on_every_engine! {
    async fn a_projection_catches_up_by_pages_and_follows_live(database: &TestDatabase) {
        on_shelf!(database, catches_up_and_follows);
    }

    async fn a_projection_that_is_killed_anywhere_equals_the_fold(database: &TestDatabase) {
        on_shelf!(database, is_killed_anywhere);
    }

    async fn two_runners_of_a_projection_have_each_effect_once(database: &TestDatabase) {
        on_shelf!(database, is_run_twice);
    }

    async fn a_projection_is_rebuilt_beside_and_switched_while_events_come(database: &TestDatabase) {
        on_shelf!(database, is_rebuilt_beside);
    }

    async fn poison_stops_a_projection_and_is_passed_over_only_when_a_person_says_so(database: &TestDatabase) {
        on_shelf!(database, meets_poison);
    }

    async fn a_projection_of_another_log_is_refused_and_can_be_rebuilt(database: &TestDatabase) {
        on_shelf!(database, meets_another_log);
    }
}
