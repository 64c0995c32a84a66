//! The real binary, on every engine: a process log goes through, whatever is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use eventflow_tests::process::{Place, json_lines};
use eventflow_tests::process_log::ProcessLog;
use eventflow_tests::server::DatabaseServer;
use eventflow_tests::{Engine, TestDatabase, on_every_engine, within};
use serde_json::Value;

const TAIL: &[&str] = &["tail", "--from", "beginning", "--json", "--idle-exit", "2"];
const CONSUME: &[&str] =
    &["consume", "permit", "--group", "audit", "--from", "beginning", "--json", "--idle-exit", "3"];

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("{field} is no number in {value}"))
}

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| number(event, "position")).collect()
}

/// What makes an event the same in another log: all but its place.
fn content(event: &Value) -> Value {
    let mut event = event.clone();
    event.as_object_mut().unwrap().remove("position");
    event
}

/// Fails unless the versions of each process only rise in `events`.
fn each_pid_is_in_order(events: &[Value]) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let version = number(event, "version");
        let before = last.insert(event["pid"].to_string(), version).unwrap_or_default();
        assert!(version > before, "{event} came after version {before}");
    }
}

/// Fails unless the group `audit` has settled each of `events` events once, in the tables too.
async fn all_settled_once(place: &Place, database: &TestDatabase, events: usize) {
    let group = place.json(&["groups", "show", "audit", "--json"]).await.remove(0);
    let counts = ["succeeded", "pending", "parked"].map(|field| number(&group, field));
    assert_eq!(counts, [events as u64, 0, 0], "{group}");
    let settled =
        database.number("SELECT CAST(SUM(events) AS SIGNED) FROM event_published WHERE group_id > 0").await;
    assert_eq!(settled, i64::try_from(events).unwrap(), "every event has one settlement");
}

/// Fails unless the log holds `events` events at 1, 2, 3, … with ids of their own. Returns them.
async fn log_is_whole(place: &Place, events: usize) -> Vec<Value> {
    let log = place.json(TAIL).await;
    assert_eq!(positions(&log), (1..=events as u64).collect::<Vec<_>>());
    let ids: BTreeSet<_> = log.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), events, "an id is stored once");
    log
}

on_every_engine! {
    async fn a_process_log_goes_in_once_and_comes_out_as_it_was(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let receipts = ProcessLog::receipts(&place);
        let counts = |said: &[Value]| ["rows", "new", "already_there"].map(|field| number(&said[0], field));
        let all = receipts.events as u64;
        assert_eq!(counts(&place.json(&receipts.import()).await), [all, all, 0]);
        assert_eq!(counts(&place.json(&receipts.import()).await), [all, 0, all]);

        let log = log_is_whole(&place, receipts.events).await;
        let pids: BTreeSet<_> = log.iter().map(|event| event["pid"].to_string()).collect();
        assert_eq!(pids.len(), receipts.pids);
        each_pid_is_in_order(&log);

        let file = place.data().join("log.jsonl.gz").display().to_string();
        place.done(&["export", &file]).await;
        hub.terminate().await;
        let other = TestDatabase::fresh(database.engine()).await.unwrap();
        let copy = Place::on(&other);
        let hub = copy.hub(&[]).await;
        copy.done(&["import", &file]).await;
        assert_eq!(log_is_whole(&copy, receipts.events).await, log, "position, id, time, publisher, data: all the same");
        hub.terminate().await;
        other.remove().await;
    }

    async fn two_members_share_a_group_and_each_event_is_handled_once(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let log = ProcessLog::made_up(&place, 3_000);
        place.done(&log.import()).await;
        let (one, two) = futures::join!(place.json(CONSUME), place.json(CONSUME));
        each_pid_is_in_order(&one);
        each_pid_is_in_order(&two);
        let mut handled = [positions(&one), positions(&two)].concat();
        handled.sort_unstable();
        assert_eq!(handled, (1..=log.events as u64).collect::<Vec<_>>());
        all_settled_once(&place, database, log.events).await;
        hub.terminate().await;
    }

    async fn a_hub_killed_in_the_middle_of_an_import_loses_and_doubles_nothing(database: &TestDatabase) {
        let place = Place::on(database);
        let mut hub = place.hub(&[]).await;
        let log = ProcessLog::made_up(&place, 6_000);
        let mut told = Vec::new();
        for _ in 0..3 {
            let mut tail = place.start(&["tail", "--from", "beginning", "--json"]);
            let import = place.start(&log.import());
            told.extend(tail.lines(told.len() + 500).await);
            let address = hub.kill().await;
            tail.kill().await;
            import.kill().await;
            hub = place.hub_at(&address, &[]).await;
        }
        place.done(&log.import()).await;
        let whole = log_is_whole(&place, log.events).await;
        for event in json_lines(&told.join("\n")) {
            let place = usize::try_from(number(&event, "position")).unwrap() - 1;
            assert_eq!(event, whole[place], "what was told is still there");
        }
        hub.terminate().await;
    }

    async fn an_import_outlives_a_hub_that_is_killed_and_started_again(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let log = ProcessLog::made_up(&place, 6_000);
        let mut tail = place.start(&["tail", "--from", "beginning", "--json"]);
        let import = place.start(&log.import());
        tail.lines(500).await;
        let address = hub.kill().await;
        let hub = place.hub_at(&address, &[]).await;
        let (code, said) = import.rest().await;
        assert_eq!(code, Some(0), "{said}");
        // The tail goes on after the last event that it was told, without a gap or a repeat.
        let rest = json_lines(&tail.lines(log.events - 500).await.join("\n"));
        assert_eq!(positions(&rest), (501..=log.events as u64).collect::<Vec<_>>());
        tail.kill().await;
        log_is_whole(&place, log.events).await;
        hub.terminate().await;
    }

    async fn a_hub_killed_in_the_middle_of_consuming_settles_each_event_once(database: &TestDatabase) {
        let place = Place::on(database);
        let mut hub = place.hub(&[]).await;
        let log = ProcessLog::made_up(&place, 4_000);
        place.done(&log.import()).await;
        let mut handled = Vec::new();
        for _ in 0..3 {
            let mut consumer = place.start(CONSUME);
            handled.extend(consumer.lines(300).await);
            let address = hub.kill().await;
            handled.extend(consumer.kill().await.lines().map(str::to_owned));
            hub = place.hub_at(&address, &[]).await;
        }
        let rest = place.json(CONSUME).await;
        // The last line of a killed process may be cut.
        let cut = |line: &String| serde_json::from_str::<Value>(line).ok();
        let handled: BTreeSet<_> =
            handled.iter().filter_map(cut).chain(rest).map(|event| number(&event, "position")).collect();
        assert_eq!(handled.len(), log.events, "every event was handled at least once");
        all_settled_once(&place, database, log.events).await;
        hub.terminate().await;
    }

    async fn a_killed_member_leaves_its_events_to_the_others(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let log = ProcessLog::made_up(&place, 3_000);
        place.done(&log.import()).await;
        let mut victim = place.start(CONSUME);
        let survivor = place.start(CONSUME);
        victim.lines(50).await;
        victim.kill().await;
        let (code, said) = survivor.rest().await;
        assert_eq!(code, Some(0));
        each_pid_is_in_order(&json_lines(&said));
        all_settled_once(&place, database, log.events).await;
        hub.terminate().await;
    }

    async fn a_case_that_always_fails_is_parked_and_holds_nobody_up(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&["--attempts-max", "3", "--backoff-first", "0.1"]).await;
        let mut events = String::new();
        for case in 0..10 {
            for step in 0..3 {
                events += &format!("{{\"id\":\"e-{case}-{step}\",\"domain\":\"permit\",\"pid\":\"case-{case}\",\"name\":\"step {step}\"}}\n");
            }
        }
        let file = place.file("events.jsonl", events);
        place.done(&["import", &file]).await;
        let handler = "grep -q case-7 && { echo no paper >&2; exit 1; }; exit 0";
        let consume = ["consume", "permit", "--group", "audit", "--from", "beginning", "--idle-exit", "3", "--exec", handler];
        place.done(&consume).await;

        let group = place.json(&["groups", "show", "audit", "--json"]).await.remove(0);
        assert_eq!(["succeeded", "parked", "pending"].map(|field| number(&group, field)), [27, 3, 0], "{group}");
        let why = place.done(&["why", "e-7-0"]).await;
        assert!(why.contains("audit") && why.contains("parked") && why.contains("no paper"), "{why}");
        let shown = place.done(&["show", "e-7-0"]).await;
        assert!(shown.contains("no paper") && shown.contains('3'), "{shown}");
        hub.terminate().await;
    }

    async fn a_hub_that_is_asked_to_stop_waits_for_nothing_but_what_is_in_hand(database: &TestDatabase) {
        let place = Place::on(database);
        // It may wait for an hour, but nobody has anything.
        let hub = place.hub(&["--drain", "3600"]).await;
        place.done(&["publish", "order", "1", "placed", "{\"total\":42}"]).await;
        assert_eq!(hub.terminate().await, Some(0));
        let again = within("the next hub", place.hub(&[])).await;
        assert_eq!(place.json(&["log", "order", "1", "--json"]).await.len(), 1);
        assert_eq!(again.terminate().await, Some(0));
    }
}

/// The database server itself is killed (`kill -9`) under an import and started again.
async fn a_killed_server_loses_nothing(engine: Engine) {
    let Some(mut server) = DatabaseServer::start(engine).await else { return };
    let place = Place::with_url(&server.url("eventflow_killed"));
    let hub = place.hub(&[]).await;
    let log = ProcessLog::made_up(&place, 6_000);
    let mut tail = place.start(&["tail", "--from", "beginning", "--json"]);
    let import = place.start(&log.import());
    let told = tail.lines(500).await;
    server.kill().await;
    server.start_again().await;
    // Whoever is told to try again later does so; what was stored stays.
    let (code, said) = import.rest().await;
    assert!(matches!(code, Some(0 | 75)), "{said}");
    tail.kill().await;
    place.done(&log.import()).await;
    let whole = log_is_whole(&place, log.events).await;
    let told = json_lines(&told.join("\n"));
    assert_eq!(
        told.iter().map(content).collect::<Vec<_>>(),
        whole[..500].iter().map(content).collect::<Vec<_>>()
    );
    hub.terminate().await;
    server.stop().await;
}

mod a_database_server_killed_in_the_middle_of_an_import_loses_nothing {
    use super::*;

    #[test]
    fn mariadb() {
        eventflow_tests::run(a_killed_server_loses_nothing(Engine::MariaDb));
    }

    #[test]
    fn mysql() {
        eventflow_tests::run(a_killed_server_loses_nothing(Engine::MySql));
    }
}
