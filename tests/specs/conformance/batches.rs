//! Many requests in one transaction: each is settled by itself, and none harms its neighbours.

use db::{Append, WriteError};
use eventflow_tests::events::{at, event, name, shop, with_data, with_id};
use eventflow_tests::log::publish;
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::message::Stored;
use proto::{Expectation, Expected, Position, Refusal, Version};

/// Answers of `appends` are checked against the log: every stored event is where its answer says,
/// and there is nothing else.
async fn log_holds_exactly(log: &Log, expected: usize) {
    let events = log.everything().await;
    assert_eq!(events.len(), expected);
    let mut versions = std::collections::HashMap::new();
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.position, Position(index as u64 + 1), "positions have no gap");
        let version = versions.entry((event.domain.clone(), event.pid.clone())).or_insert(0);
        *version += 1;
        assert_eq!(
            event.version,
            Version(*version),
            "versions of {}/{} have no gap",
            event.domain,
            event.pid
        );
    }
    assert_eq!(log.head().await, Position(expected as u64));
}

on_every_engine! {
    async fn appends_of_every_size_are_stored_in_order(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut stored = 0;
        for size in [1, 2, 3, 4, 5, 15, 16, 17, 20, 63, 64, 65, 255, 256, 257, 341, 1_000] {
            let events = (0..size).map(|n| event("order", &format!("p{}", n % 7), "placed")).collect();
            let answers = log.publish(events).await.unwrap();
            let positions: Vec<_> = answers.iter().map(|answer| answer.position.0).collect();
            assert_eq!(positions, (stored + 1..=stored + size).collect::<Vec<_>>(), "an append of {size}");
            stored += size;
        }
        log_holds_exactly(&log, usize::try_from(stored).unwrap()).await;
        log.close().await;
    }

    async fn links_of_a_large_append_are_all_stored(database: &TestDatabase) {
        let log = Log::open(database).await;
        let eids: Vec<String> = (0..64).map(|n| format!("e{n:02}")).collect();
        let eids: Vec<&str> = eids.iter().map(String::as_str).collect();
        let events = (0..100).map(|n| eventflow_tests::events::with_eids(event("order", &format!("{n}"), "placed"), &eids));
        log.publish(events.collect()).await.unwrap();
        assert!(log.everything().await.iter().all(|event| event.eids.len() == 64));
        log.close().await;
    }

    async fn a_loser_never_fails_its_neighbours(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_id("taken", "order", "0", "placed")).await;
        let wrong = Expectation { domain: name("order"), pid: name("0"), expected: Expected::None };
        let requests = (0..300).map(|n| {
            let (writer, wrong) = (log.writer.clone(), wrong.clone());
            async move {
                match n % 5 {
                    0 => publish(&writer, vec![event("other", "x", "y"), with_id("taken", "order", "1", "no")], vec![]).await,
                    1 => publish(&writer, vec![event("other", "x", "y")], vec![wrong]).await,
                    _ => publish(&writer, vec![event("order", &format!("{}", n % 3), "placed")], vec![]).await,
                }
            }
        });
        let answers = within("all answers", join_all(requests)).await;
        for (n, answer) in answers.iter().enumerate() {
            match n % 5 {
                0 => assert!(matches!(answer, Err(WriteError::Refused(Refusal::Conflict { .. }))), "{n}: {answer:?}"),
                1 => assert!(matches!(answer, Err(WriteError::Refused(Refusal::WrongVersion { .. }))), "{n}: {answer:?}"),
                _ => assert!(answer.is_ok(), "{n}: {answer:?}"),
            }
        }
        log_holds_exactly(&log, 1 + 180).await;
        log.close().await;
    }

    async fn one_id_from_many_at_once_is_stored_once(database: &TestDatabase) {
        let log = Log::open(database).await;
        let same = with_id("same", "order", "1", "placed");
        let requests = (0..100).map(|_| publish(&log.writer, vec![same.clone()], vec![]));
        let answers: Vec<_> = within("all answers", join_all(requests)).await.into_iter().map(|a| a.unwrap()[0]).collect();
        assert!(answers.iter().all(|answer| answer.position == Position(1) && answer.version == Version(1)));
        assert_eq!(answers.iter().filter(|answer| answer.stored == Stored::Now).count(), 1);
        log_holds_exactly(&log, 1).await;
        log.close().await;
    }

    async fn one_id_with_two_contents_at_once_has_one_winner(database: &TestDatabase) {
        let log = Log::open(database).await;
        let requests = (0..60).map(|n| {
            let json = if n % 2 == 0 { "{\"even\":1}" } else { "{\"odd\":1}" };
            publish(&log.writer, vec![with_data(with_id("same", "order", "1", "placed"), json)], vec![])
        });
        let answers = within("all answers", join_all(requests)).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 30, "the winner's side is idempotent");
        log_holds_exactly(&log, 1).await;
        log.close().await;
    }

    async fn an_import_that_runs_again_stores_nothing(database: &TestDatabase) {
        let log = Log::open(database).await;
        let rows: Vec<_> = (0..1_000).map(|n| with_id(&format!("row-{n}"), "permit", &format!("{}", n % 50), "done")).collect();
        for round in 0..3 {
            let requests = rows.chunks(10).map(|chunk| publish(&log.writer, chunk.to_vec(), vec![]));
            let answers: Vec<_> =
                within("all answers", join_all(requests)).await.into_iter().flat_map(Result::unwrap).collect();
            let now = answers.iter().filter(|answer| answer.stored == Stored::Now).count();
            assert_eq!(now, if round == 0 { 1_000 } else { 0 });
        }
        log_holds_exactly(&log, 1_000).await;
        log.close().await;
    }

    async fn old_and_new_events_may_share_an_append(database: &TestDatabase) {
        let log = Log::open(database).await;
        let old = event("order", "1", "placed");
        log.publish_one(old.clone()).await;
        let answers = log.publish(vec![event("order", "1", "paid"), old, event("order", "1", "sent")]).await.unwrap();
        assert_eq!(answers.iter().map(|answer| answer.position.0).collect::<Vec<_>>(), [2, 1, 3]);
        assert_eq!(answers.iter().map(|answer| answer.version.0).collect::<Vec<_>>(), [2, 1, 3]);
        log_holds_exactly(&log, 3).await;
        log.close().await;
    }

    async fn an_append_whose_answer_nobody_takes_leaves_the_log_whole(database: &TestDatabase) {
        let log = Log::open(database).await;
        for round in 0..50 {
            let events = vec![event("order", &format!("{round}"), "placed"), event("order", "x", "placed")];
            let append = Append::new(events, vec![Some(shop()); 2], at(0), vec![]);
            let abandoned = log.writer.append(append);
            // One poll hands it to the writer at most.
            assert!(futures::FutureExt::now_or_never(abandoned).is_none());
        }
        log.publish_one(event("order", "last", "placed")).await;
        let stored = log.everything().await.len();
        assert_eq!(stored % 2, 1, "each pair is there whole or not at all");
        log_holds_exactly(&log, stored).await;
        log.close().await;
    }

    async fn what_a_stopping_writer_answers_is_true(database: &TestDatabase) {
        let log = Log::open(database).await;
        let writer = log.writer.clone();
        let requests = join_all((0..200).map(|n| publish(&writer, vec![event("order", &format!("{n}"), "placed")], vec![])));
        let (answers, ()) = within("answers and the end", futures::future::join(requests, log.close())).await;
        for answer in &answers {
            assert!(matches!(answer, Ok(_) | Err(WriteError::Stopped)), "{answer:?}");
        }
        let log = Log::open(database).await;
        log_holds_exactly(&log, answers.iter().filter(|answer| answer.is_ok()).count()).await;
        assert_eq!(publish(&writer, vec![event("order", "late", "placed")], vec![]).await, Err(WriteError::Stopped));
        log.close().await;
    }
}
