//! What a listener wants, read from the log in bounded steps: nothing is left out, nothing read twice.

use db::Wanted;
use eventflow_tests::events::{called, event, id, name, with_data, with_eids, with_id};
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::message::Scope;
use proto::{NameFilter, Position, Topic};

fn wanted(domain: Option<&str>, names: &[&str], scope: Scope, pid: Option<&str>) -> Wanted {
    let names = NameFilter::of(names.iter().map(|text| called(text))).unwrap();
    let topic = domain.map(|domain| Topic { domain: name(domain), names });
    Wanted { topic, scope, pid: pid.map(name) }
}

/// Positions of all that is wanted, in steps of `limit`.
async fn all(log: &Log, wanted: &Wanted, limit: u32) -> Vec<u64> {
    let head = log.head().await;
    let (mut positions, mut after) = (Vec::new(), Position(0));
    while after < head {
        let found = log.reader.matching(wanted, after, limit).await.unwrap();
        assert!(found.through > after && found.through <= head, "{after} to {}", found.through);
        assert!(found.events.iter().all(|event| event.position > after && event.position <= found.through));
        positions.extend(found.events.iter().map(|event| event.position.0));
        after = found.through;
    }
    positions
}

on_every_engine! {
    async fn a_listener_finds_what_it_wants_and_nothing_else(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish(vec![event("order", "a", "placed"), event("order", "b", "placed"), event("bill", "a", "sent")]).await.unwrap();
        log.persist(vec![event("order", "a", "noted"), event("bill", "b", "noted")]).await.unwrap();
        log.publish(vec![event("order", "a", "paid"), event("Order", "a", "placed")]).await.unwrap();
        let cases = [
            (wanted(None, &[], Scope::Stored, None), vec![1, 2, 3, 4, 5, 6, 7]),
            (wanted(None, &[], Scope::Published, None), vec![1, 2, 3, 6, 7]),
            (wanted(Some("order"), &[], Scope::Published, None), vec![1, 2, 6]),
            (wanted(Some("order"), &[], Scope::Stored, None), vec![1, 2, 4, 6]),
            (wanted(Some("order"), &["placed", "noted"], Scope::Stored, None), vec![1, 2, 4]),
            (wanted(Some("order"), &[], Scope::Published, Some("a")), vec![1, 6]),
            (wanted(Some("order"), &["paid"], Scope::Published, Some("a")), vec![6]),
            (wanted(Some("nothing"), &[], Scope::Stored, None), vec![]),
        ];
        for (wanted, expected) in cases {
            for limit in [1, 2, 1_000] {
                assert_eq!(all(&log, &wanted, limit).await, expected, "{wanted:?} by {limit}");
            }
        }
        log.close().await;
    }

    async fn a_rare_event_in_a_long_log_is_found_in_bounded_steps(database: &TestDatabase) {
        let log = Log::open(database).await;
        for _ in 0..12 {
            log.publish((0..1_000).map(|n| event("common", &format!("{n}"), "n")).collect()).await.unwrap();
        }
        let place = log.publish_one(event("rare", "1", "n")).await;
        let rare = wanted(Some("rare"), &[], Scope::Published, None);
        let first = log.reader.matching(&rare, Position(0), 1_000).await.unwrap();
        assert!(first.events.is_empty() && first.through < place.position, "one step does not read the whole log");
        assert_eq!(all(&log, &rare, 1_000).await, [place.position.0]);
        log.close().await;
    }

    async fn a_deleted_event_is_passed_over(database: &TestDatabase) {
        let log = Log::open(database).await;
        for n in 1..=3 {
            log.publish_one(with_id(&format!("e{n}"), "order", "a", "placed")).await;
        }
        log.writer.delete_event(id("e2"), "a test").await.unwrap();
        log.writer.delete_event(id("e3"), "a test").await.unwrap();
        for pid in [None, Some("a")] {
            assert_eq!(all(&log, &wanted(Some("order"), &[], Scope::Stored, pid), 1).await, [1]);
        }
        log.close().await;
    }

    async fn links_come_with_the_events(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_eids(event("order", "a", "placed"), &["x", "y"])).await;
        let found = log.reader.matching(&wanted(Some("order"), &[], Scope::Published, None), Position(0), 10).await.unwrap();
        assert_eq!(found.events[0].eids, [name("x"), name("y")]);
        log.close().await;
    }

    async fn large_events_end_a_step_early(database: &TestDatabase) {
        let log = Log::open(database).await;
        let data = format!("\"{}\"", "x".repeat(400 * 1024));
        for _ in 0..5 {
            log.publish_one(with_data(event("order", "a", "placed"), &data)).await;
        }
        let all_orders = wanted(Some("order"), &[], Scope::Published, None);
        let found = log.reader.matching(&all_orders, Position(0), 1_000).await.unwrap();
        assert!((1..=2).contains(&found.events.len()), "{} events of 400 KiB", found.events.len());
        assert_eq!(all(&log, &all_orders, 1_000).await, [1, 2, 3, 4, 5]);
        log.close().await;
    }

    async fn nothing_after_the_head_is_looked_at(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "a", "placed")).await;
        let all_orders = wanted(Some("order"), &[], Scope::Published, None);
        let found = log.reader.matching(&all_orders, Position(1), 10).await.unwrap();
        assert!(found.events.is_empty());
        assert_eq!(found.through, Position(1));
        log.close().await;
    }
}
