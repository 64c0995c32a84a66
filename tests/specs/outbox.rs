//! Services that share the database with a real hub: what they commit is in the log, once, in their order,
//! and what they roll back is not, whatever is killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventflow_tests::outbox::{Handed, OutboxService};
use eventflow_tests::process::{HubProcess, Place};
use eventflow_tests::{TestDatabase, on_every_engine, within};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

const SERVICES: usize = 64;

/// How often the hub is killed while they work.
const ROUNDS: usize = 8;

/// Transactions of each service between two kills.
const TRANSACTIONS_PER_ROUND: usize = 2;

/// One note for each transaction that has ended.
type Notes = mpsc::Receiver<()>;

const TAIL: &[&str] = &["tail", "--from", "beginning", "--json", "--idle-exit", "2"];

/// What a service has committed.
#[derive(Default)]
struct Committed {
    ids: Vec<String>,
    bad: usize,
}

/// Some transactions of one service, a third of them rolled back, some with a row that cannot be an event.
async fn serve(
    mut service: OutboxService,
    number: usize,
    turns: Arc<Semaphore>,
    done: mpsc::Sender<()>,
) -> (String, Committed) {
    let pid = format!("service {number}");
    let mut committed = Committed::default();
    for transaction in 0..ROUNDS * TRANSACTIONS_PER_ROUND {
        turns.acquire().await.unwrap().forget();
        let rows = 1 + rand::random_range(0..3_usize);
        let ids: Vec<_> = (0..rows).map(|row| format!("{number}-{transaction}-{row}")).collect();
        let has_bad = rand::random_range(0..8) == 0;
        service.begin().await;
        for id in &ids {
            service.insert(&Handed::new(id, &pid)).await.unwrap();
        }
        if has_bad {
            service.insert(&Handed { name: "*".to_owned(), ..Handed::new("bad", &pid) }).await.unwrap();
        }
        if rand::random_range(0..3) == 0 {
            service.run("ROLLBACK").await.unwrap();
        } else {
            service.run("COMMIT").await.unwrap();
            committed.ids.extend(ids);
            committed.bad += usize::from(has_bad);
        }
        done.send(()).await.unwrap();
    }
    (pid, committed)
}

/// Lets the services work for a while, and kills the hub in the middle of it: again and again, each time
/// while it drains what came when there was none. Returns the last hub.
async fn kill_in_the_middle(
    place: &Place,
    mut hub: HubProcess,
    turns: &Semaphore,
    mut done: Notes,
) -> HubProcess {
    for _ in 0..ROUNDS {
        turns.add_permits(SERVICES * TRANSACTIONS_PER_ROUND);
        let before_kill = rand::random_range(1..SERVICES * TRANSACTIONS_PER_ROUND);
        hear(&mut done, before_kill).await;
        let address = hub.kill().await;
        hear(&mut done, SERVICES * TRANSACTIONS_PER_ROUND - before_kill).await;
        hub = place.hub_at(&address, &["--outbox-poll", "0.02"]).await;
    }
    hub
}

async fn hear(done: &mut Notes, transactions: usize) {
    for _ in 0..transactions {
        within("a transaction of a service", done.recv()).await.unwrap();
    }
}

async fn rows(database: &TestDatabase, which: &str) -> i64 {
    database.number(&format!("SELECT COUNT(*) FROM event_outbox WHERE {which}")).await
}

/// Waits until nothing in the outbox is to be drained any more.
async fn drained(database: &TestDatabase) {
    let empty = async { while rows(database, "failed IS NULL").await > 0 {} };
    within("the outbox to be drained", empty).await;
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} is no text in {value}"))
}

fn bad(id: &str) -> Handed {
    Handed { domain: String::new(), ..Handed::new(id, "p") }
}

on_every_engine! {
    async fn rows_of_64_services_are_in_the_log_once_with_a_hub_that_is_killed(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&["--outbox-poll", "0.02"]).await;
        let (turns, (note, done)) = (Arc::new(Semaphore::new(0)), mpsc::channel(SERVICES));
        let mut services = JoinSet::new();
        for number in 0..SERVICES {
            let service = OutboxService::on(database).await;
            services.spawn(serve(service, number, Arc::clone(&turns), note.clone()));
        }
        let hub = kill_in_the_middle(&place, hub, &turns, done).await;
        let mut committed = BTreeMap::new();
        while let Some(done) = within("the services", services.join_next()).await {
            let (pid, done) = done.unwrap();
            committed.insert(pid, done);
        }
        drained(database).await;

        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (at, event) in place.json(TAIL).await.iter().enumerate() {
            assert_eq!(event["position"], at + 1);
            assert_eq!(text(event, "publisher"), "shop");
            let of_pid = found.entry(text(event, "pid").to_owned()).or_default();
            of_pid.push(text(event, "id").to_owned());
            assert_eq!(event["version"], of_pid.len());
        }
        for (pid, committed) in &committed {
            let found = found.remove(pid).unwrap_or_default();
            assert_eq!(found, committed.ids, "{pid}: each row once, in the order of its connection");
        }
        assert!(found.is_empty(), "what was rolled back is nowhere: {found:?}");
        let bad: usize = committed.values().map(|committed| committed.bad).sum();
        assert_eq!(rows(database, "failed IS NOT NULL AND reason LIKE '%wildcard%'").await, i64::try_from(bad).unwrap());
        hub.terminate().await;
    }

    async fn a_row_of_the_outbox_reaches_the_consumers_of_its_domain(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let mut consumer = place.start(&["consume", "order", "--group", "audit", "--from", "beginning", "--json"]);
        let mut service = OutboxService::on(database).await;
        for id in ["a", "b", "c"] {
            service.hand_over(&[Handed::new(id, "p")]).await;
            let line: Value = serde_json::from_str(&consumer.line().await.unwrap()).unwrap();
            assert!(line.to_string().contains(&format!("\"id\":\"{id}\"")), "{line}");
        }
        consumer.kill().await;
        hub.terminate().await;
    }

    async fn a_person_sees_failed_rows_and_decides_what_becomes_of_them(database: &TestDatabase) {
        let place = &Place::on(database);
        let hub = place.hub(&["--outbox-poll", "off"]).await;
        let mut service = OutboxService::on(database).await;
        service.hand_over(&[bad("a\u{7}"), Handed::new("b", "p"), bad("c"), bad("d")]).await;
        let states = |rows: &[Value]| rows.iter().map(|row| text(row, "state").to_owned()).collect::<Vec<_>>();
        let listed = place.json(&["outbox", "ls", "--json"]).await;
        assert_eq!(states(&listed), ["waiting"; 4], "a hub that is told to leave the outbox alone does");
        let why = |id| async move { place.json(&["why", id, "--json"]).await };
        assert_eq!((text(&why("b").await[0], "state"), &why("b").await[0]["row"]), ("waiting", &listed[1]["row"]));
        assert_eq!(place.run(&["why", "unknown"]).await.code, Some(1));
        hub.terminate().await;

        let hub = place.hub(&[]).await;
        drained(database).await;
        let failed = place.json(&["outbox", "ls", "--failed", "--json"]).await;
        assert_eq!(states(&failed), ["failed"; 3]);
        assert!(text(&failed[0], "reason").contains("control character"), "{failed:?}");
        assert!(text(&failed[1], "reason").contains("the domain is empty"), "{failed:?}");
        let refused = why("c").await;
        assert_eq!((refused.len(), text(&refused[0], "state")), (1, "failed"));
        assert!(text(&refused[0], "why").contains("the domain is empty"), "{refused:?}");
        let stored = why("b").await;
        assert_eq!((stored.len(), stored[0].get("row")), (1, None), "it is in the log and nowhere else");
        let table = place.done(&["outbox", "ls"]).await;
        assert!(table.contains("the domain is empty") && !table.contains('\u{7}'), "{table}");

        let number = |row: &Value| row["row"].to_string();
        place.done(&["outbox", "discard", &number(&failed[0])]).await;
        let again = place.run(&["outbox", "discard", &number(&failed[0])]).await;
        assert_eq!(again.code, Some(1), "{}", again.stderr);
        assert_eq!(place.run(&["outbox", "retry"]).await.code, Some(2));
        service.run("UPDATE event_outbox SET domain = 'order' WHERE id = 'c'").await.unwrap();
        assert_eq!(place.json(&["outbox", "retry", "--all-failed", "--json"]).await[0]["rows"], 2);
        drained(database).await;
        place.done(&["outbox", "discard", "--all-failed"]).await;
        assert_eq!(rows(database, "1 = 1").await, 0);
        let ids: Vec<_> = place.json(TAIL).await.iter().map(|event| text(event, "id").to_owned()).collect();
        assert_eq!(ids, ["b", "c"]);
        let notes = database.number("SELECT COUNT(*) FROM log WHERE agent LIKE 'eventflow outbox (%'").await;
        assert_eq!(notes, 3, "each change is written down");
        hub.terminate().await;
    }
}
