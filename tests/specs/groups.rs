//! Groups in the hands of an operator: the real binary, and handlers that never end.

use std::time::Duration;

use eventflow_tests::events::{event, name};
use eventflow_tests::process::Place;
use eventflow_tests::{TestDatabase, TestHub, on_every_engine, within};
use proto::group::{GroupPart, MembersFate};
use proto::{Domain, Refusal, SettingsChange, Start};
use serde_json::{Value, json};
use spoke::{Delivery, Failure, ListenError, RequestError};
use tokio::sync::mpsc;

const CONSUME: &[&str] =
    &["consume", "order", "--group", "audit", "--from", "beginning", "--json", "--idle-exit", "2"];

fn order() -> Domain {
    name("order")
}

async fn status(place: &Place) -> Value {
    place.json(&["groups", "show", "audit", "--json"]).await.remove(0)
}

async fn consumed(place: &Place) -> Vec<String> {
    let events = place.json(CONSUME).await;
    events.iter().map(|event| event["pid"].as_str().unwrap().to_owned()).collect()
}

/// Lines of the journal by whoever used the command line.
async fn noted(database: &TestDatabase, message: &str) -> i64 {
    let count = format!(
        "SELECT COUNT(*) FROM log WHERE agent LIKE 'operator/%' AND message LIKE '%audit of order {message}%'"
    );
    database.number(&count).await
}

on_every_engine! {
    async fn a_group_is_set_paused_resumed_and_removed_from_the_command_line(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        place.done(&["publish", "order", "1", "placed"]).await;
        assert_eq!(consumed(&place).await, ["1"]);

        let set = ["groups", "set", "audit", "--attempts", "8", "--backoff", "100ms..2s", "--deadline", "5m", "--credit", "64", "--park", "pid", "--json"];
        let settings = place.json(&set).await.remove(0)["settings"].clone();
        let expected = json!({
            "attempts_max": 8, "backoff_first_ms": 100, "backoff_max_ms": 2_000, "deadline_ms": 300_000,
            "credit_max": 64, "order": "by_pid", "park": "pid"
        });
        assert_eq!(settings, expected);
        let refused = place.run(&["groups", "set", "audit", "--deadline", "1ms"]).await;
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains("choose 1000 to"), "{}", refused.stderr);

        place.done(&["groups", "pause", "audit", "--domain", "order", "--pid", "2"]).await;
        place.done(&["publish", "order", "2", "placed", "--id", "e2"]).await;
        place.done(&["publish", "order", "3", "placed"]).await;
        assert_eq!(consumed(&place).await, ["3"], "the others go on");
        assert_eq!(status(&place).await["pending"], 1);
        let address = hub.kill().await;
        let hub = place.hub_at(&address, &[]).await;
        let why = place.done(&["why", "e2"]).await;
        assert!(why.contains("paused since") && why.contains("operator"), "{why}");
        let found = status(&place).await;
        assert_eq!((&found["settings"], &found["pids_paused"]), (&expected, &json!(1)));
        assert_eq!(found["oldest"]["position"], 2, "{found}");
        assert_eq!(found["paused_pids"][0]["pid"], "2");

        place.done(&["groups", "pause", "audit"]).await;
        place.done(&["groups", "resume", "audit", "--domain", "order", "--pid", "2"]).await;
        assert!(consumed(&place).await.is_empty(), "the whole group is paused still");
        place.done(&["groups", "resume", "audit"]).await;
        assert_eq!(consumed(&place).await, ["2"]);
        assert_eq!(status(&place).await["oldest"], Value::Null);

        let unasked = place.run(&["groups", "rm", "audit"]).await;
        assert_eq!(unasked.code, Some(2), "{}", unasked.stderr);
        place.done(&["groups", "rm", "audit", "--yes"]).await;
        assert_eq!(place.run(&["groups", "show", "audit"]).await.code, Some(1));
        let mut all = consumed(&place).await;
        all.sort_unstable();
        assert_eq!(all, ["1", "2", "3"], "a new group of that name starts where it says");
        for (message, times) in [("set: attempts 8", 1), ("paused", 2), ("resumed", 2), ("removed", 1)] {
            assert_eq!(noted(database, message).await, times, "{message}");
        }
        hub.terminate().await;
    }

    async fn urgent_events_go_first_and_a_priority_that_is_none_is_refused(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        for (pid, priority) in [("late", "9"), ("usual", "5"), ("urgent", "0")] {
            place.done(&["publish", "order", pid, "placed", "--priority", priority]).await;
        }
        let consume = [CONSUME, &["--concurrency", "1"]].concat();
        let events = place.json(&consume).await;
        let pids: Vec<_> = events.iter().map(|event| event["pid"].clone()).collect();
        assert_eq!(pids, ["urgent", "usual", "late"]);
        assert_eq!(place.run(&["publish", "order", "1", "placed", "--priority", "10"]).await.code, Some(2));
        let other = place.run(&["publish", "order", "1", "placed", "--meta", "priority=high"]).await;
        assert!(other.code == Some(2) && other.stderr.contains("one digit"), "{}", other.stderr);
        hub.terminate().await;
    }

    async fn a_group_with_members_is_removed_only_by_force_and_sends_them_away(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let mut consumer = shop.consumer(order()).any(|_| async { Ok(()) }).start().await.unwrap();
        let group = name("shop");
        let refused = shop.remove_group(&group, None, MembersFate::Respected).await;
        assert!(matches!(refused, Err(RequestError::Refused(Refusal::Invalid { .. }))), "{refused:?}");
        shop.publish(event("order", "1", "placed")).await.unwrap();
        shop.remove_group(&group, Some(&order()), MembersFate::SentAway).await.unwrap();
        let ended = within("the consumer's end", consumer.ended()).await;
        let Err(ListenError::Refused(Refusal::Invalid { reason })) = ended else { panic!("{ended:?}") };
        assert!(reason.contains("was removed by shop/"), "{reason}");
        assert!(shop.group_statuses(None).await.unwrap().is_empty());
        let pause = shop.pause_group(&group, GroupPart::Whole).await;
        assert!(matches!(pause, Err(RequestError::NotFound { .. })), "{pause:?}");
        hub.stop().await;
    }

    async fn a_handler_that_never_ends_leaves_its_event_to_another_member(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (one, two) = (hub.spoke("shop").await, hub.spoke("shop").await);
        let (told, mut tries) = mpsc::channel(10);
        let stuck = |delivery: Delivery| async move {
            std::future::pending::<()>().await;
            drop(delivery);
            Ok::<(), Failure>(())
        };
        let handler = move |delivery: Delivery| {
            let told = told.clone();
            async move {
                told.send(delivery.attempt.0).await?;
                Ok::<(), Failure>(())
            }
        };
        let never = one.consumer(order()).any(stuck).from(Start::Beginning);
        let never = never.handle_within(Duration::from_millis(300)).start().await.unwrap();
        one.publish(event("order", "1", "placed")).await.unwrap();
        let out = async { while one.group(&name("shop")).await.unwrap()[0].in_flight == 0 {} };
        within("the first try", out).await;
        let other = two.consumer(order()).any(handler).start().await.unwrap();
        assert_eq!(within("the second try", tries.recv()).await, Some(2));
        other.stop().await.unwrap();
        drop(never);
        hub.stop().await;
    }

    async fn another_deadline_reaches_the_members_that_are_there(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (told, mut tries) = mpsc::channel(10);
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let open = gate.clone();
        let handler = move |delivery: Delivery| {
            let (told, gate) = (told.clone(), gate.clone());
            async move {
                told.send(delivery.attempt.0).await?;
                gate.acquire().await?.forget();
                Ok::<(), Failure>(())
            }
        };
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        // As short as it may be: without signs of life within it the delivery would fail and come again.
        let short = SettingsChange { deadline_ms: Some(1_000), attempts_max: Some(1), ..SettingsChange::default() };
        let statuses = shop.set_group(&name("shop"), None, short).await.unwrap();
        assert_eq!(statuses[0].settings.deadline_ms, 1_000);
        shop.publish(event("order", "1", "placed")).await.unwrap();
        assert_eq!(within("the delivery", tries.recv()).await, Some(1));
        let mut deadlines = std::collections::BTreeSet::new();
        let extended = async {
            while deadlines.len() < 6 {
                let story = shop.story(&shop.eventlog(&order(), &name("1")).all().await.unwrap()[0].id).await.unwrap();
                if let proto::report::DeliveryState::InFlight { deadline, .. } = story.deliveries[0].state {
                    deadlines.insert(deadline.millis());
                }
            }
        };
        within("signs of life for longer than the deadline", extended).await;
        open.add_permits(1);
        consumer.stop().await.unwrap();
        assert_eq!(shop.group(&name("shop")).await.unwrap()[0].succeeded, 1);
        hub.stop().await;
    }
}
