//! Everything that can be read (E3), page by page: what a page leaves out, the next one brings.

use db::ReadError;
use eventflow_tests::events::{
    at, called, event, eventlog, happened, id, name, with_cpids, with_data, with_eids, with_id,
};
use eventflow_tests::log::page;
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::read::{More, Page, Query, Window};
use proto::{Event, NameFilter, Position};

const NO_WINDOW: Window = Window { from: None, until: None };

/// All pages of an event query, `limit` a page; `ask` puts the cursor in.
async fn all_pages(log: &Log, ask: impl Fn(Position) -> Query) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), Position(0));
    loop {
        let (events, through, more) = page(&log.reader, &ask(after)).await;
        ids.extend(events.iter().map(|event| event.id.to_string()));
        if !more {
            return ids;
        }
        assert!(through > after, "a page with more behind it moves on");
        after = through;
    }
}

/// Six events of two domains and three eventlogs, the first of each eventlog with links.
async fn six_events(database: &TestDatabase) -> Log {
    let log = Log::open(database).await;
    let events = vec![
        happened(with_eids(with_id("e1", "order", "a", "placed"), &["customer/1", "shop/1"]), 10),
        happened(with_eids(with_id("e2", "order", "b", "placed"), &["customer/1"]), 20),
        happened(with_cpids(with_id("e3", "order", "a", "paid"), &[("bill", "7"), ("parcel", "7")]), 30),
        happened(with_eids(with_id("e4", "bill", "7", "sent"), &["customer/1"]), 30),
        happened(with_cpids(with_id("e5", "order", "b", "paid"), &[("bill", "7")]), 5),
        happened(with_id("e6", "order", "a", "sent"), 40),
    ];
    log.publish(events).await.unwrap();
    log
}

async fn eventlog_ids(log: &Log, names: NameFilter, window: Window) -> Vec<String> {
    let (domain, pid) = eventlog("order", "a");
    all_pages(log, |after| Query::Eventlog {
        domain: domain.clone(),
        pid: pid.clone(),
        names: names.clone(),
        window,
        after,
        limit: 1,
    })
    .await
}

on_every_engine! {
    async fn an_event_is_read_by_its_id(database: &TestDatabase) {
        let log = six_events(database).await;
        let (events, ..) = page(&log.reader, &Query::ById(id("e3"))).await;
        assert_eq!((events[0].position, events[0].cpids.len()), (Position(3), 2));
        log.close().await;
    }

    async fn an_id_that_is_not_there_is_not_found(database: &TestDatabase) {
        let log = six_events(database).await;
        for missing in ["e7", "E1", "e"] {
            let answer = log.reader.page(&Query::ById(id(missing))).await;
            assert!(matches!(&answer, Err(ReadError::NotFound { what }) if what.contains(missing)), "{answer:?}");
        }
        log.close().await;
    }

    async fn an_eventlog_is_read_in_its_order(database: &TestDatabase) {
        let log = six_events(database).await;
        assert_eq!(eventlog_ids(&log, NameFilter::All, NO_WINDOW).await, ["e1", "e3", "e6"]);
        log.close().await;
    }

    async fn an_eventlog_is_read_between_two_times_that_both_belong_to_it(database: &TestDatabase) {
        let log = six_events(database).await;
        let between = |from: Option<i64>, until: Option<i64>| Window { from: from.map(at), until: until.map(at) };
        let cases = [
            (between(Some(10), Some(30)), vec!["e1", "e3"]),
            (between(Some(11), None), vec!["e3", "e6"]),
            (between(None, Some(29)), vec!["e1"]),
            (between(Some(31), Some(39)), vec![]),
            (between(Some(40), Some(10)), vec![]),
        ];
        for (window, expected) in cases {
            assert_eq!(eventlog_ids(&log, NameFilter::All, window).await, expected, "{window:?}");
        }
        log.close().await;
    }

    async fn an_eventlog_is_read_by_names(database: &TestDatabase) {
        let log = six_events(database).await;
        let only = |names: &[&str]| NameFilter::of(names.iter().map(|text| called(text))).unwrap();
        assert_eq!(eventlog_ids(&log, only(&["paid", "sent"]), NO_WINDOW).await, ["e3", "e6"]);
        assert_eq!(eventlog_ids(&log, only(&["Paid"]), NO_WINDOW).await, Vec::<String>::new());
        let many: Vec<String> = (0..63).map(|n| format!("n{n}")).chain(["placed".to_owned()]).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(eventlog_ids(&log, only(&many), NO_WINDOW).await, ["e1"]);
        log.close().await;
    }

    async fn events_are_read_by_the_process_that_they_started(database: &TestDatabase) {
        let log = six_events(database).await;
        let (domain, pid) = eventlog("bill", "7");
        let ids = all_pages(&log, |after| Query::ByCpid { domain: domain.clone(), pid: pid.clone(), after, limit: 1 });
        assert_eq!(ids.await, ["e3", "e5"]);
        log.close().await;
    }

    async fn events_are_read_by_their_entity(database: &TestDatabase) {
        let log = six_events(database).await;
        let by = |domain: Option<&str>, limit| {
            let domain = domain.map(name::<proto::Domain>);
            move |after| Query::ByEid { domain: domain.clone(), eid: name("customer/1"), after, limit }
        };
        assert_eq!(all_pages(&log, by(None, 1)).await, ["e1", "e2", "e4"]);
        assert_eq!(all_pages(&log, by(None, 2)).await, ["e1", "e2", "e4"]);
        assert_eq!(all_pages(&log, by(Some("order"), 1)).await, ["e1", "e2"]);
        assert_eq!(all_pages(&log, by(Some("Order"), 1)).await, Vec::<String>::new());
        log.close().await;
    }

    async fn the_pids_of_a_domain_are_read_once_each_in_byte_order(database: &TestDatabase) {
        let log = Log::open(database).await;
        let pids = ["b", "a", "B", "ä", "z", "aa", "🦀", "ａ"];
        for round in 0..3 {
            let events = pids.iter().map(|pid| event("order", pid, &format!("n{round}"))).collect();
            log.publish(events).await.unwrap();
        }
        log.publish(vec![event("orde", "x", "n"), event("order2", "x", "n")]).await.unwrap();
        let mut sorted = pids;
        sorted.sort_unstable();
        for limit in [1, 3, 8, 9, 1_000] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let query = Query::Pids { domain: name("order"), after: after.clone(), limit };
                let Page::Pids { pids, more } = log.reader.page(&query).await.unwrap() else { panic!("not pids") };
                assert!(pids.len() <= limit as usize);
                found.extend(pids.iter().map(ToString::to_string));
                after = pids.last().cloned().or(after);
                if more == More::No {
                    break;
                }
            }
            assert_eq!(found, sorted, "{limit} a page");
        }
        log.close().await;
    }

    async fn the_domains_are_read_once_each_in_byte_order(database: &TestDatabase) {
        let log = Log::open(database).await;
        let domains = ["order", "bill", "Order", "ä", "parcel"];
        for domain in domains.iter().chain(&domains) {
            log.publish_one(event(domain, "1", "n")).await;
        }
        let mut sorted = domains;
        sorted.sort_unstable();
        for limit in [1, 2, 5, 1_000] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let query = Query::Domains { after: after.clone(), limit };
                let Page::Domains { domains, more } = log.reader.page(&query).await.unwrap() else {
                    panic!("not domains")
                };
                found.extend(domains.iter().map(ToString::to_string));
                after = domains.last().cloned().or(after);
                if more == More::No {
                    break;
                }
            }
            assert_eq!(found, sorted, "{limit} a page");
        }
        log.close().await;
    }

    async fn an_empty_log_answers_every_query_with_nothing(database: &TestDatabase) {
        let log = Log::open(database).await;
        let (domain, pid) = eventlog("order", "a");
        let after = Position(0);
        let queries = [
            Query::Log { after, limit: 10 },
            Query::Eventlog { domain: domain.clone(), pid: pid.clone(), names: NameFilter::All, window: NO_WINDOW, after, limit: 10 },
            Query::ByCpid { domain: domain.clone(), pid, after, limit: 10 },
            Query::ByEid { domain: None, eid: name("x"), after, limit: 10 },
        ];
        for query in queries {
            let (events, _, more) = page(&log.reader, &query).await;
            assert!(events.is_empty() && !more, "{query:?}");
        }
        let pids = log.reader.page(&Query::Pids { domain, after: None, limit: 10 }).await.unwrap();
        assert_eq!(pids, Page::Pids { pids: vec![], more: More::No });
        let domains = log.reader.page(&Query::Domains { after: None, limit: 10 }).await.unwrap();
        assert_eq!(domains, Page::Domains { domains: vec![], more: More::No });
        assert_eq!(log.head().await, Position(0));
        log.close().await;
    }

    async fn a_page_holds_at_most_what_was_asked_for_and_never_more_than_the_limit(database: &TestDatabase) {
        let log = Log::open(database).await;
        for _ in 0..3 {
            log.publish((0..500).map(|n| event("order", &format!("{n}"), "n")).collect()).await.unwrap();
        }
        for (limit, expected) in [(0, 1..=1), (1, 1..=1), (999, 999..=999), (1_000, 1_000..=1_000), (u32::MAX, 1_000..=1_000)] {
            let (events, through, more) = page(&log.reader, &Query::Log { after: Position(0), limit }).await;
            // Asking for none may answer with none, but never with "that was all".
            assert!(expected.contains(&events.len()) || limit == 0 && events.is_empty(), "{limit}: {}", events.len());
            assert!(more, "{limit}");
            assert_eq!(through.0, events.len() as u64, "{limit}");
        }
        let (events, through, more) = page(&log.reader, &Query::Log { after: Position(1_000), limit: 1_000 }).await;
        assert_eq!((events.len(), through, more), (500, Position(1_500), false));
        let (events, _, more) = page(&log.reader, &Query::Log { after: Position(1_500), limit: 1_000 }).await;
        assert_eq!((events.len(), more), (0, false));
        log.close().await;
    }

    async fn a_page_ends_early_when_its_events_are_large_but_holds_at_least_one(database: &TestDatabase) {
        let log = Log::open(database).await;
        let data = format!("\"{}\"", "x".repeat(300 * 1024));
        let ids: Vec<String> = (0..6).map(|n| format!("large-{n}")).collect();
        for id in &ids {
            let asked = with_eids(with_data(with_id(id, "order", "a", "n"), &data), &["e"]);
            log.publish_one(with_cpids(asked, &[("c", "1")])).await;
        }
        let most = proto::limits::PAGE_BYTES_MAX + data.len() + 4_096;
        let weight = |events: &[Event]| events.iter().map(Event::weight).sum::<usize>();
        let (domain, pid) = eventlog("order", "a");
        let (child, child_pid) = eventlog("c", "1");
        type Ask<'a> = Box<dyn Fn(Position) -> Query + 'a>;
        let queries: [Ask<'_>; 4] = [
            Box::new(|after| Query::Log { after, limit: 1_000 }),
            Box::new(|after| Query::Eventlog { domain: domain.clone(), pid: pid.clone(), names: NameFilter::All, window: NO_WINDOW, after, limit: 1_000 }),
            Box::new(|after| Query::ByCpid { domain: child.clone(), pid: child_pid.clone(), after, limit: 1_000 }),
            Box::new(|after| Query::ByEid { domain: None, eid: name("e"), after, limit: 1_000 }),
        ];
        for ask in queries {
            let (events, _, more) = page(&log.reader, &ask(Position(0))).await;
            assert!(!events.is_empty() && more && weight(&events) <= most, "{} bytes", weight(&events));
            assert_eq!(all_pages(&log, ask).await, ids);
        }
        log.close().await;
    }
}
