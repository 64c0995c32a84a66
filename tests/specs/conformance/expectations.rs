//! What an append expects of eventlogs: all of it holds, or nothing is stored.

use db::WriteError;
use eventflow_tests::events::{event, name};
use eventflow_tests::log::publish;
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::message::Stored;
use proto::{Expectation, Expected, Position, Refusal, Version};

fn expect(pid: &str, expected: Expected) -> Expectation {
    Expectation { domain: name("order"), pid: name(pid), expected }
}

on_every_engine! {
    async fn each_kind_of_expectation_is_held_against_the_eventlog(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish(vec![event("order", "two", "placed"), event("order", "two", "paid")]).await.unwrap();
        let cases = [
            ("two", Expected::Any, true),
            ("two", Expected::Exists, true),
            ("two", Expected::None, false),
            ("two", Expected::Exactly(Version(2)), true),
            ("two", Expected::Exactly(Version(1)), false),
            ("two", Expected::Exactly(Version(3)), false),
            ("none", Expected::Any, true),
            ("none", Expected::Exists, false),
            ("none", Expected::None, true),
            ("none", Expected::Exactly(Version(0)), true),
            ("none", Expected::Exactly(Version(1)), false),
        ];
        for (pid, expected, holds) in cases {
            let answer = log.publish_if(vec![expect(pid, expected)], vec![event("other", "x", "y")]).await;
            if holds {
                assert!(answer.is_ok(), "{pid} {expected:?}: {answer:?}");
            } else {
                let actual = if pid == "two" { Version(2) } else { Version(0) };
                let refusal = Refusal::WrongVersion { domain: name("order"), pid: name(pid), expected, actual };
                assert_eq!(answer, Err(WriteError::Refused(refusal)));
            }
        }
        log.close().await;
    }

    async fn an_append_over_several_eventlogs_is_whole_or_nothing(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "b", "placed")).await;
        let events = || vec![event("order", "a", "x"), event("order", "b", "x"), event("order", "c", "x")];
        let refused = log
            .publish_if(
                vec![expect("a", Expected::None), expect("b", Expected::None), expect("c", Expected::None)],
                events(),
            )
            .await;
        assert!(matches!(refused, Err(WriteError::Refused(Refusal::WrongVersion { .. }))), "{refused:?}");
        assert_eq!(log.head().await, Position(1));

        let expectations =
            vec![expect("a", Expected::None), expect("b", Expected::Exactly(Version(1))), expect("c", Expected::Any)];
        let answers = log.publish_if(expectations, events()).await.unwrap();
        assert_eq!(answers.iter().map(|answer| answer.version.0).collect::<Vec<_>>(), [1, 2, 1]);
        log.close().await;
    }

    async fn of_many_that_expect_the_same_version_one_wins(database: &TestDatabase) {
        let log = Log::open(database).await;
        for round in 0..5 {
            let requests = (0..20).map(|_| {
                let expectation = expect("counter", Expected::Exactly(Version(round)));
                publish(&log.writer, vec![event("order", "counter", "counted")], vec![expectation])
            });
            let answers = within("all answers", join_all(requests)).await;
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        }
        assert_eq!(log.head().await, Position(5));
        log.close().await;
    }

    async fn of_many_writers_that_expect_the_same_version_one_wins(database: &TestDatabase) {
        let mut logs = Vec::new();
        for hub in ["one", "two", "three", "four"] {
            logs.push(Log::open_as(database, hub).await);
        }
        for round in 0..10 {
            let requests = logs.iter().map(|log| {
                let expectation = expect("counter", Expected::Exactly(Version(round)));
                publish(&log.writer, vec![event("order", "counter", "counted")], vec![expectation])
            });
            let answers = within("all answers", join_all(requests)).await;
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        }
        assert_eq!(logs[0].head().await, Position(10));
        for log in logs {
            log.close().await;
        }
    }

    async fn a_version_that_another_writer_moved_is_seen(database: &TestDatabase) {
        let (one, two) = (Log::open_as(database, "one").await, Log::open_as(database, "two").await);
        one.publish_one(event("order", "a", "placed")).await;
        two.publish_one(event("order", "a", "paid")).await;
        let stale = one.publish_if(vec![expect("a", Expected::Exactly(Version(1)))], vec![event("order", "a", "sent")]).await;
        assert!(
            matches!(stale, Err(WriteError::Refused(Refusal::WrongVersion { actual: Version(2), .. }))),
            "{stale:?}"
        );
        let fresh = one.publish_if(vec![expect("a", Expected::Exactly(Version(2)))], vec![event("order", "a", "sent")]).await;
        assert_eq!(fresh.unwrap()[0].version, Version(3));
        one.close().await;
        two.close().await;
    }

    async fn an_append_said_again_is_answered_alike_although_its_expectation_held_only_once(database: &TestDatabase) {
        let log = Log::open(database).await;
        let events = vec![event("order", "a", "placed"), event("order", "a", "paid")];
        let first = log.publish_if(vec![expect("a", Expected::None)], events.clone()).await.unwrap();
        let again = log.publish_if(vec![expect("a", Expected::None)], events).await.unwrap();
        assert_eq!(
            again.iter().map(|answer| answer.position).collect::<Vec<_>>(),
            first.iter().map(|answer| answer.position).collect::<Vec<_>>()
        );
        assert!(again.iter().all(|answer| answer.stored == Stored::Before));
        log.close().await;
    }
}
