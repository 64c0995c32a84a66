//! What the writer says about its commits: each event once, in order, after COMMIT.

use db::Committed;
use eventflow_tests::events::event;
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::Position;

on_every_engine! {
    async fn a_commit_is_told_with_what_the_tables_hold(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        log.publish(vec![event("order", "a", "placed"), event("order", "b", "placed")]).await.unwrap();
        log.publish(vec![event("order", "a", "paid")]).await.unwrap();

        let mut told = Vec::new();
        while told.len() < 3 {
            told.extend(log.committed_events().await);
        }
        let told: Vec<_> = told.iter().map(|event| (**event).clone()).collect();
        assert_eq!(told, log.everything().await);
        log.close().await;
    }

    async fn an_id_that_comes_again_is_not_told_again(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let first = event("order", "a", "placed");
        log.publish_one(first.clone()).await;
        log.publish_one(first).await;
        log.publish_one(event("order", "a", "paid")).await;
        assert_eq!(log.committed_events().await[0].position, Position(1));
        assert_eq!(log.committed_events().await[0].position, Position(2));
        log.close().await;
    }

    async fn who_does_not_listen_is_told_how_much_was_missed(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        for _ in 0..200 {
            log.publish_one(event("order", "a", "placed")).await;
        }
        let mut seen = 0;
        let mut missed = false;
        while seen < 200 {
            match log.committed().await {
                Committed::Events(events) => {
                    assert_eq!(events[0].position, Position(seen + 1), "no event is left out in silence");
                    seen += events.len() as u64;
                }
                Committed::Missed { head } => {
                    missed = true;
                    assert!(head.0 > seen && head.0 <= 200);
                    seen = head.0;
                }
                Committed::Deleted(_) => panic!("nothing was deleted"),
            }
            if seen < 200 && missed {
                // The queue has room again, so the next commits come as events.
                break;
            }
        }
        assert!(missed, "200 commits do not fit the queue");
        log.close().await;
    }

    async fn events_of_another_writer_show_as_missed(database: &TestDatabase) {
        let (mut one, two) = (Log::open_as(database, "one").await, Log::open_as(database, "two").await);
        two.publish_one(event("order", "a", "placed")).await;
        one.publish_one(event("order", "a", "paid")).await;
        assert_eq!(one.committed().await, Committed::Missed { head: Position(1) });
        assert_eq!(one.committed_events().await[0].position, Position(2));
        one.close().await;
        two.close().await;
    }
}
