//! Promises 1 to 3: an answered append is in the tables, without gaps, once.

use std::collections::BTreeMap;

use db::WriteError;
use eventflow_tests::events::{at, event, happened, name, shop, with_cpids, with_data, with_eids, with_id};
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::message::Stored;
use proto::read::{Page, Query};
use proto::{Event, Metadata, NewEvent, Position, Refusal, Version};

on_every_engine! {
    async fn an_answered_event_is_read_by_a_stranger(database: &TestDatabase) {
        let log = Log::open(database).await;
        let asked = event("order", "4711", "placed");
        let answer = log.publish_one(asked.clone()).await;

        let stranger = database.open().await;
        let Page::Events { events, .. } = stranger.reader().page(&Query::ById(asked.id.clone())).await.unwrap()
        else { panic!("not events") };
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].position, events[0].version), (answer.position, answer.version));
        stranger.close().await;
        log.close().await;
    }

    async fn positions_and_versions_count_from_one(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut answers = Vec::new();
        for pid in ["a", "b", "a", "a", "b"] {
            answers.push(log.publish_one(event("order", pid, "placed")).await);
        }
        assert_eq!(answers.iter().map(|answer| answer.position.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(answers.iter().map(|answer| answer.version.0).collect::<Vec<_>>(), [1, 1, 2, 3, 2]);
        assert!(answers.iter().all(|answer| answer.stored == Stored::Now));
        assert_eq!(log.head().await, Position(5));
        log.close().await;
    }

    async fn counting_goes_on_after_a_restart(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish(vec![event("order", "a", "placed"), event("order", "a", "paid")]).await.unwrap();
        log.close().await;

        let log = Log::open(database).await;
        let answer = log.publish_one(event("order", "a", "sent")).await;
        assert_eq!((answer.position, answer.version), (Position(3), Version(3)));
        log.close().await;
    }

    async fn everything_that_was_asked_for_is_kept(database: &TestDatabase) {
        let log = Log::open(database).await;
        let json = "{ \"z\": 1.0e5,\n \"a\": \"ünïcödé 🦀 \\u0000 \\\"\", \"big\": 123456789012345678901234567890 }";
        let mut asked = with_data(event("órdér 🛒", "ключ/1", "bestellt'; --"), json);
        asked.rid = Some(name("ursache-1"));
        asked.timestamp = Some(at(-1_767_225_600_001));
        asked.metadata = Metadata(BTreeMap::from([("trace".to_owned(), "00-ä\u{1F600}".to_owned())]));
        let asked = with_cpids(with_eids(asked, &["z/2", "a/1", "z/2"]), &[("zzz", "2"), ("bill", "1")]);
        log.publish(vec![asked.clone()]).await.unwrap();

        let stored = &log.everything().await[0];
        let expected = Event {
            position: Position(1),
            version: Version(1),
            id: asked.id,
            timestamp: at(-1_767_225_600_001),
            domain: asked.domain,
            pid: asked.pid,
            name: asked.name,
            rid: asked.rid,
            publisher: Some(shop()),
            metadata: asked.metadata,
            data: asked.data,
            eids: vec![name("a/1"), name("z/2")],
            cpids: with_cpids(event("o", "1", "n"), &[("bill", "1"), ("zzz", "2")]).cpids,
        };
        assert_eq!(*stored, expected);
        assert_eq!(stored.data.as_str(), json, "data is kept byte for byte");
        log.close().await;
    }

    async fn an_event_without_a_time_happened_when_the_hub_took_it(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "1", "placed")).await;
        assert_eq!(log.everything().await[0].timestamp, at(0));
        log.close().await;
    }

    async fn a_persisted_event_has_no_publisher(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.persist(vec![event("order", "1", "placed")]).await.unwrap();
        assert_eq!(log.everything().await[0].publisher, None);
        log.close().await;
    }

    async fn an_id_that_comes_again_is_answered_with_its_first_place(database: &TestDatabase) {
        let log = Log::open(database).await;
        let first = event("order", "1", "placed");
        let before = log.publish_one(first.clone()).await;
        log.publish_one(event("order", "1", "paid")).await;

        let again = log.publish_one(first).await;
        assert_eq!((again.position, again.version), (before.position, before.version));
        assert_eq!(again.stored, Stored::Before);
        assert_eq!(log.head().await, Position(2));
        log.close().await;
    }

    async fn an_id_that_comes_again_through_another_writer_is_found_too(database: &TestDatabase) {
        let (one, two) = (Log::open_as(database, "one").await, Log::open_as(database, "two").await);
        let first = event("order", "1", "placed");
        let before = one.publish_one(first.clone()).await;
        let again = two.publish_one(first).await;
        assert_eq!((again.position, again.stored), (before.position, Stored::Before));
        one.close().await;
        two.close().await;
    }

    async fn an_id_with_other_content_is_a_conflict_that_names_the_place(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "1", "placed")).await;
        log.publish_one(with_id("same", "order", "1", "paid")).await;
        let others = [
            with_id("same", "orders", "1", "paid"),
            with_id("same", "order", "2", "paid"),
            with_id("same", "order", "1", "Paid"),
            with_data(with_id("same", "order", "1", "paid"), "{ }"),
            with_eids(with_id("same", "order", "1", "paid"), &["customer/1"]),
            happened(with_id("same", "order", "1", "paid"), 5),
        ];
        for other in others {
            let refused = log.publish(vec![event("order", "1", "sent"), other.clone()]).await;
            let expected = Refusal::Conflict { id: name("same"), position: Position(2) };
            assert_eq!(refused, Err(WriteError::Refused(expected)), "{other:?}");
        }
        assert_eq!(log.head().await, Position(2), "nothing of a refused append is stored");
        log.close().await;
    }

    async fn ids_that_differ_only_in_case_or_accents_are_different(database: &TestDatabase) {
        let log = Log::open(database).await;
        for (index, id) in ["id", "ID", "iD", "íd", "ıd"].into_iter().enumerate() {
            let answer = log.publish_one(with_id(id, "order", "1", "placed")).await;
            assert_eq!((answer.position.0, answer.stored), (index as u64 + 1, Stored::Now), "{id}");
        }
        log.close().await;
    }

    async fn eventlogs_that_differ_only_in_case_or_accents_are_different(database: &TestDatabase) {
        let log = Log::open(database).await;
        for (domain, pid) in [("order", "a"), ("order", "A"), ("order", "ä"), ("Order", "a"), ("order", "ａ")] {
            let answer = log.publish_one(event(domain, pid, "placed")).await;
            assert_eq!(answer.version, Version(1), "{domain}/{pid}");
        }
        log.close().await;
    }

    async fn text_that_looks_like_sql_is_only_text(database: &TestDatabase) {
        let log = Log::open(database).await;
        let texts = ["'; DROP TABLE event; --", "\" OR 1=1 --", "\\'; --", "%_", "?1", "$1", ":a", "`x`", "\\"];
        for text in texts {
            let asked = with_eids(with_id(text, text, text, text), &[text]);
            log.publish(vec![with_cpids(asked, &[(text, text)])]).await.unwrap();
        }
        let found: Vec<_> = log.everything().await.into_iter().map(|event| event.pid).collect();
        assert_eq!(found.iter().map(proto::Pid::as_str).collect::<Vec<_>>(), texts);
        log.close().await;
    }

    async fn the_longest_names_and_the_largest_data_fit(database: &TestDatabase) {
        let log = Log::open(database).await;
        let long = "🦀".repeat(proto::limits::NAME_CHARS_MAX);
        let mut asked = with_id(&"ö".repeat(proto::limits::EVENT_ID_CHARS_MAX), &long, &long, &long);
        asked.rid = Some(asked.id.clone());
        let asked = with_cpids(with_eids(asked, &[&long]), &[(&long, &long)]);
        let data = format!("\"{}\"", "x".repeat(proto::limits::DATA_BYTES_MAX - 2));
        let asked = with_data(asked, &data);
        log.publish(vec![asked.clone()]).await.unwrap();

        let stored = &log.everything().await[0];
        assert_eq!((&stored.pid, &stored.data, &stored.eids), (&asked.pid, &asked.data, &asked.eids));
        log.close().await;
    }

    async fn the_times_at_both_ends_of_the_calendar_fit(database: &TestDatabase) {
        let log = Log::open(database).await;
        let times = ["0000-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"];
        for time in times {
            let asked = NewEvent { timestamp: Some(proto::Timestamp::parse(time).unwrap()), ..event("o", "1", "n") };
            log.publish_one(asked).await;
        }
        let found: Vec<_> = log.everything().await.iter().map(|event| event.timestamp.to_string()).collect();
        assert_eq!(found, times);
        log.close().await;
    }
}
