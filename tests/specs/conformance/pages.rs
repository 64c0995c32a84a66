//! What a page costs and holds, whatever the log looks like: many links, long eventlogs, large cursors.

use eventflow_tests::events::{called, event, eventlog, id, name, with_eids, with_id};
use eventflow_tests::log::page;
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::limits::FRAME_BYTES_MAX;
use proto::read::{More, Page, Query, Window};
use proto::{Eid, NameFilter, Position};

fn eids(count: usize) -> Vec<String> {
    // The longest names there are, of four bytes a character.
    (0..count).map(|n| format!("{n:03}{}", "🦀".repeat(125))).collect()
}

fn of_eventlog(names: NameFilter, after: Position) -> Query {
    let (domain, pid) = eventlog("order", "a");
    Query::Eventlog { domain, pid, names, window: Window::default(), after, limit: 1_000 }
}

on_every_engine! {
    async fn a_cursor_that_no_log_reaches_finds_nothing(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_eids(event("order", "a", "placed"), &["x"])).await;
        for after in [Position(2), Position(u64::MAX)] {
            let queries = [
                Query::Log { after, limit: 10 },
                of_eventlog(NameFilter::All, after),
                Query::ByEid { domain: None, eid: name("x"), after, limit: 10 },
            ];
            for query in queries {
                let (events, through, more) = page(&log.reader, &query).await;
                assert!(events.is_empty() && !more && through == after, "{query:?}");
            }
        }
        log.close().await;
    }

    async fn links_are_found_close_together_and_far_apart(database: &TestDatabase) {
        let log = Log::open(database).await;
        for round in 0..3 {
            let events = (0..1_000).map(|n| match n % 10 {
                0 => with_eids(event("order", "a", "placed"), &[&format!("b{round}.{n}"), &format!("a{round}.{n}")]),
                _ => event("other", &n.to_string(), "noise"),
            });
            log.publish(events.collect()).await.unwrap();
        }
        let expected = |position: u64| -> Vec<Eid> {
            let (round, n) = ((position - 1) / 1_000, (position - 1) % 1_000);
            if n % 10 == 0 { vec![name(&format!("a{round}.{n}")), name(&format!("b{round}.{n}"))] } else { vec![] }
        };
        let (far_apart, ..) = page(&log.reader, &of_eventlog(NameFilter::All, Position(0))).await;
        assert_eq!(far_apart.len(), 300);
        let (close, ..) = page(&log.reader, &Query::Log { after: Position(995), limit: 1_000 }).await;
        assert_eq!(close.len(), 1_000);
        for event in far_apart.iter().chain(&close) {
            assert_eq!(event.eids, expected(event.position.0), "{}", event.position);
        }
        log.close().await;
    }

    async fn a_page_of_events_with_many_links_fits_a_frame(database: &TestDatabase) {
        let log = Log::open(database).await;
        let eids = eids(64);
        let eids: Vec<&str> = eids.iter().map(String::as_str).collect();
        for n in 0..60 {
            log.publish_one(with_eids(with_id(&format!("e{n}"), "order", "a", "placed"), &eids)).await;
        }
        let (mut found, mut after) = (0, Position(0));
        loop {
            let answer = log.reader.page(&Query::Log { after, limit: 1_000 }).await.unwrap();
            let mut frame = Vec::new();
            proto::wire::encode(&answer, &mut frame).unwrap();
            assert!(frame.len() < FRAME_BYTES_MAX);
            let Page::Events { events, through, more } = answer else { panic!("not events") };
            assert!(events.iter().all(|event| event.eids.len() == 64));
            found += events.len();
            after = through;
            if more == More::No {
                break;
            }
        }
        assert_eq!(found, 60);
        log.close().await;
    }

    async fn a_rare_name_in_a_long_eventlog_is_found_in_bounded_pages(database: &TestDatabase) {
        let log = Log::open(database).await;
        for _ in 0..3 {
            log.publish((0..1_000).map(|_| event("order", "a", "noted")).collect()).await.unwrap();
        }
        log.publish_one(event("order", "a", "paid")).await;
        let paid = NameFilter::of([called("paid")]).unwrap();
        let (mut found, mut after, mut pages) = (Vec::new(), Position(0), 0);
        loop {
            let (events, through, more) = page(&log.reader, &of_eventlog(paid.clone(), after)).await;
            found.extend(events.iter().map(|event| event.position.0));
            (after, pages) = (through, pages + 1);
            if !more {
                break;
            }
        }
        assert_eq!(found, [3_001]);
        assert!((3..=5).contains(&pages), "{pages} pages");
        log.close().await;
    }

    async fn an_eventlog_is_read_on_after_a_position_of_another_one(database: &TestDatabase) {
        let log = Log::open(database).await;
        for n in 1..=6 {
            log.publish_one(event("order", if n % 2 == 1 { "a" } else { "b" }, "placed")).await;
        }
        for (after, expected) in [(0, vec![1, 3, 5]), (1, vec![3, 5]), (2, vec![3, 5]), (4, vec![5]), (5, vec![])] {
            let (events, ..) = page(&log.reader, &of_eventlog(NameFilter::All, Position(after))).await;
            assert_eq!(events.iter().map(|event| event.position.0).collect::<Vec<_>>(), expected, "after {after}");
        }
        log.close().await;
    }

    async fn pids_are_jumped_to_over_long_eventlogs_and_deleted_ones(database: &TestDatabase) {
        let log = Log::open(database).await;
        for pid in ["a", "b", "c"] {
            log.publish((0..700).map(|_| event("order", pid, "noted")).collect()).await.unwrap();
        }
        log.publish((0..500).map(|n| event("order", &format!("d{n:03}"), "noted")).collect()).await.unwrap();
        log.publish_one(with_id("last", "order", "e", "noted")).await;
        log.writer.delete_eventlog(name("order"), name("b"), "a test").await.unwrap();
        log.writer.delete_event(id("last"), "a test").await.unwrap();
        let mut expected = vec!["a".to_owned(), "c".to_owned()];
        expected.extend((0..500).map(|n| format!("d{n:03}")));
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let query = Query::Pids { domain: name("order"), after: after.clone(), limit: 150 };
            let Page::Pids { pids, more } = log.reader.page(&query).await.unwrap() else { panic!("not pids") };
            found.extend(pids.iter().map(ToString::to_string));
            after = pids.last().cloned();
            if more == More::No {
                break;
            }
        }
        assert_eq!(found, expected);
        log.close().await;
    }

    async fn a_domain_whose_events_are_all_deleted_is_not_listed(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_id("gone", "bill", "1", "sent")).await;
        log.publish_one(event("order", "1", "placed")).await;
        log.writer.delete_event(id("gone"), "a test").await.unwrap();
        let domains = log.reader.page(&Query::Domains { after: None, limit: 10 }).await.unwrap();
        assert_eq!(domains, Page::Domains { domains: vec![name("order")], more: More::No });
        log.close().await;
    }
}
