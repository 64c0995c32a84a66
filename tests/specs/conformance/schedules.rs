//! What the log promises about schedules: a row until it is due, then one event, whatever was asked before.

use db::{Cancelled, Due, ScheduleState, ScheduleWish, Scheduled, Which, WriteError};
use eventflow_tests::events::{
    at, event, happened, id, name, shop, with_cpids, with_data, with_eids, with_id,
};
use eventflow_tests::{Engine, Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::message::Stored;
use proto::{Domain, EventId, NewEvent, Position, Refusal, ScheduleKey, Version};

/// A wish for `event` at `due`, asked for at the beginning of time.
pub(super) fn wish(event: NewEvent, due: i64) -> ScheduleWish {
    ScheduleWish { event, publisher: shop(), due: at(due), key: None, now: at(0) }
}

/// A wish for a small event with the id `id` of a process of the same name.
pub(super) fn small(id: &str, due: i64) -> ScheduleWish {
    wish(with_id(id, "order", id, "reminded"), due)
}

/// The same with the key `key`.
pub(super) fn keyed(key: &str, wish: ScheduleWish) -> ScheduleWish {
    ScheduleWish { key: Some(name::<ScheduleKey>(key)), ..wish }
}

pub(super) fn by_key(key: &str) -> Which {
    Which::Key(name::<ScheduleKey>(key))
}

/// Fires `ids` and says where their events are, 0 for none.
async fn fire(log: &Log, ids: &[&str]) -> Vec<u64> {
    let ids = ids.iter().map(|one| id(one)).collect();
    let answers = log.writer.fire(ids, at(1_000)).await.unwrap();
    answers.into_iter().map(|shot| shot.position().map_or(0, |position| position.0)).collect()
}

async fn state(log: &Log, one: &str) -> ScheduleState {
    log.reader.schedule(&Which::Id(id(one))).await.unwrap().unwrap().state
}

fn stored(answer: Result<Scheduled, WriteError>) -> Stored {
    answer.unwrap().stored
}

fn conflict(one: &str, position: u64) -> Result<Scheduled, WriteError> {
    Err(WriteError::Refused(Refusal::Conflict { id: id(one), position: Position(position) }))
}

on_every_engine! {
    async fn a_schedule_that_is_asked_for_twice_is_stored_once(database: &TestDatabase) {
        let log = Log::open(database).await;
        for (one, first) in [("a", small("a", 5)), ("b", keyed("k", small("b", 5)))] {
            assert_eq!(stored(log.writer.schedule(first.clone()).await), Stored::Now);
            let again = ScheduleWish { now: at(9), ..first.clone() };
            assert_eq!(stored(log.writer.schedule(again.clone()).await), Stored::Before);
            let later = ScheduleWish { due: at(6), ..first.clone() };
            assert_eq!(log.writer.schedule(later.clone()).await, conflict(one, 0));
            let other_key = keyed("other", first.clone());
            assert_eq!(log.writer.schedule(other_key).await, conflict(one, 0));
            let position = fire(&log, &[one]).await[0];
            assert_eq!(stored(log.writer.schedule(again).await), Stored::Before, "whatever has become of it");
            assert_eq!(log.writer.schedule(later).await, conflict(one, position));
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM event_scheduled").await, 2);
        log.close().await;
    }

    async fn an_id_that_is_in_the_log_cannot_be_scheduled(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "a", "placed")).await;
        log.publish_one(with_id("e", "order", "e", "reminded")).await;
        assert_eq!(log.writer.schedule(small("e", 5)).await, conflict("e", 2));
        assert_eq!(log.writer.schedule(keyed("k", small("e", 5))).await, conflict("e", 2));
        assert_eq!(database.number("SELECT COUNT(*) FROM event_scheduled").await, 0);
        log.close().await;
    }

    async fn a_schedule_with_a_key_takes_the_place_of_the_pending_one(database: &TestDatabase) {
        let log = Log::open(database).await;
        let first = log.writer.schedule(keyed("k", small("a", 5))).await.unwrap();
        assert_eq!((first.stored, first.due, first.replaced), (Stored::Now, at(5), None));
        let second = log.writer.schedule(keyed("k", small("b", 7))).await.unwrap();
        assert_eq!(second.replaced, Some(id("a")));
        let again = log.writer.schedule(keyed("k", small("b", 7))).await.unwrap();
        assert_eq!((again.stored, again.replaced), (Stored::Before, Some(id("a"))), "what the first answer said");
        assert_eq!(state(&log, "a").await, ScheduleState::Cancelled { at: at(0), reason: Some("replaced by b".to_owned()) });
        assert_eq!(fire(&log, &["a", "b"]).await, [0, 1]);
        let third = log.writer.schedule(keyed("k", small("c", 9))).await.unwrap();
        assert_eq!(third.replaced, None, "the one before was not pending any more");
        let newest = log.reader.schedule(&by_key("k")).await.unwrap().unwrap();
        assert_eq!((newest.id, newest.state), (id("c"), ScheduleState::Pending));
        log.close().await;
    }

    async fn a_cancellation_says_what_it_found(database: &TestDatabase) {
        let log = Log::open(database).await;
        let cancel = |which| log.writer.cancel(which, at(3));
        for one in ["a", "b", "c"] {
            log.writer.schedule(keyed(one, small(one, 5))).await.unwrap();
        }
        assert_eq!(cancel(by_key("none")).await, Ok(Cancelled::Unknown));
        assert_eq!(cancel(Which::Id(id("none"))).await, Ok(Cancelled::Unknown));
        assert_eq!(cancel(by_key("a")).await, Ok(Cancelled::Cancelled));
        assert_eq!(cancel(Which::Id(id("a"))).await, Ok(Cancelled::Cancelled), "again");
        assert_eq!(state(&log, "a").await, ScheduleState::Cancelled { at: at(3), reason: None });
        assert_eq!(fire(&log, &["a", "b", "none"]).await, [0, 1, 0]);
        for which in [by_key("b"), Which::Id(id("b"))] {
            assert_eq!(cancel(which).await, Ok(Cancelled::Fired { position: Position(1) }));
        }
        log.publish_one(with_id("c", "order", "c", "something else")).await;
        assert_eq!(fire(&log, &["c"]).await, [0]);
        let failed = cancel(by_key("c")).await.unwrap();
        assert!(matches!(&failed, Cancelled::Failed { reason } if reason.contains("position 2")), "{failed:?}");
        log.close().await;
    }

    async fn firing_appends_in_the_order_asked_for_with_versions_and_links(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        log.publish_one(event("order", "p", "placed")).await;
        let linked = with_eids(with_id("a", "order", "p", "reminded"), &["y", "x", "y"]);
        let linked = with_data(with_cpids(linked, &[("mail", "1")]), "{\"n\": 1}");
        log.writer.schedule(wish(happened(linked.clone(), 77), 5)).await.unwrap();
        log.writer.schedule(wish(with_id("b", "order", "p", "asked"), 5)).await.unwrap();
        log.writer.schedule(wish(with_id("c", "order", "q", "asked"), 5)).await.unwrap();
        assert_eq!(fire(&log, &["c", "b", "a"]).await, [2, 3, 4]);
        log.publish_one(event("order", "p", "paid")).await;

        let events = log.everything().await;
        let seen: Vec<_> = events.iter().map(|event| (event.name.as_str(), event.version.0)).collect();
        assert_eq!(seen, [("placed", 1), ("asked", 1), ("asked", 2), ("reminded", 3), ("paid", 4)]);
        let fired = &events[3];
        assert_eq!((fired.timestamp, fired.publisher.clone()), (at(77), Some(shop())));
        assert_eq!((fired.eids.len(), fired.cpids.len(), fired.data.as_str()), (2, 1, "{\"n\": 1}"));
        assert_eq!(events[1].timestamp, at(1_000), "without a time of its own it happens when it is fired");
        let published = database.number("SELECT published FROM event WHERE position = 4").await;
        assert_eq!(published, at(1_000).millis());
        assert_eq!(state(&log, "a").await, ScheduleState::Fired { at: at(1_000), position: Position(4) });
        let mut told = Vec::new();
        while told.len() < 5 {
            told.extend(log.committed_events().await.iter().map(|event| (**event).clone()));
        }
        assert_eq!(told, events, "who passes events on hears of them in order");
        log.close().await;
    }

    async fn what_was_fired_is_not_fired_again(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.writer.schedule(small("a", 5)).await.unwrap();
        assert_eq!(fire(&log, &["a", "a"]).await, [1, 1]);
        assert_eq!(fire(&log, &["a", "unknown"]).await, [0, 0]);
        assert_eq!(log.head().await, Position(1));
        for ids in [vec![], vec![id("a"); db::FIRE_SCHEDULES_MAX + 1]] {
            let refused = log.writer.fire(ids, at(0)).await;
            assert!(matches!(refused, Err(WriteError::Refused(Refusal::Invalid { .. }))), "{refused:?}");
        }
        log.close().await;
    }

    async fn an_event_that_was_published_before_its_time_is_not_appended_again(database: &TestDatabase) {
        let log = Log::open(database).await;
        for one in ["same", "other", "next"] {
            log.writer.schedule(small(one, 5)).await.unwrap();
        }
        log.publish_one(small("same", 0).event).await;
        log.publish_one(with_id("other", "order", "z", "different")).await;
        assert_eq!(fire(&log, &["same", "other", "next"]).await, [1, 0, 3]);
        assert_eq!(state(&log, "same").await, ScheduleState::Fired { at: at(1_000), position: Position(1) });
        let failed = state(&log, "other").await;
        assert!(matches!(&failed, ScheduleState::Failed { reason, .. } if reason.contains("position 2")), "{failed:?}");
        assert_eq!(log.head().await, Position(3));
        log.close().await;
    }

    async fn a_row_that_somebody_has_changed_fails_alone(database: &TestDatabase) {
        let log = Log::open(database).await;
        for one in ["a", "b", "c", "d"] {
            log.writer.schedule(small(one, 5)).await.unwrap();
        }
        database.execute("UPDATE event_scheduled SET eids = '{' WHERE id = 'a'").await;
        database.execute("UPDATE event_scheduled SET data = '[]' WHERE id = 'c'").await;
        assert_eq!(fire(&log, &["a", "b", "c", "d"]).await, [0, 1, 0, 2]);
        assert_eq!(database.number("SELECT COUNT(*) FROM event_scheduled WHERE failed IS NOT NULL").await, 2);
        assert_eq!(fire(&log, &["a", "c"]).await, [0, 0]);
        log.close().await;
    }

    async fn a_schedule_whose_due_time_is_damaged_is_not_resumed_as_if_it_were_due(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.writer.schedule(small("a", 5)).await.unwrap();
        log.writer.pause(Which::Id(id("a")), at(1)).await.unwrap();
        database.execute(&format!("UPDATE event_scheduled SET due = {} WHERE id = 'a'", i64::MAX)).await;
        let refused = log.writer.resume(Which::Id(id("a"))).await;
        assert!(
            matches!(&refused, Err(WriteError::Refused(Refusal::Invalid { reason })) if reason.contains("due time")),
            "{refused:?}"
        );
        assert_eq!(database.number("SELECT COUNT(*) FROM event_scheduled WHERE paused IS NOT NULL").await, 1);
        assert_eq!(log.writer.cancel(Which::Id(id("a")), at(2)).await, Ok(Cancelled::Cancelled));
        log.close().await;
    }

    async fn nothing_is_fired_or_cancelled_whose_row_does_not_say_so(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.writer.schedule(small("a", 5)).await.unwrap();
        // A server has no trigger that keeps a row as it is without an error.
        if database.engine() != Engine::Sqlite {
            return log.close().await;
        }
        let stubborn = "CREATE TRIGGER stubborn BEFORE UPDATE ON event_scheduled BEGIN SELECT RAISE(IGNORE); END";
        database.execute(stubborn).await;
        let fired = within("an answer", log.writer.fire(vec![id("a")], at(9))).await;
        assert!(matches!(fired, Err(WriteError::Unavailable { .. })), "{fired:?}");
        let cancelled = within("an answer", log.writer.cancel(Which::Id(id("a")), at(9))).await;
        assert!(matches!(cancelled, Err(WriteError::Unavailable { .. })), "{cancelled:?}");
        assert_eq!((log.head().await, state(&log, "a").await), (Position(0), ScheduleState::Pending));
        database.execute("DROP TRIGGER stubborn").await;
        assert_eq!(fire(&log, &["a"]).await, [1]);
        log.close().await;
    }

    async fn what_the_engine_refuses_is_rolled_back_and_stays_pending(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.writer.schedule(small("a", 5)).await.unwrap();
        log.writer.schedule(wish(with_eids(with_id("b", "order", "b", "reminded"), &["x"]), 5)).await.unwrap();
        log.writer.schedule(small("c", 5)).await.unwrap();
        database.execute("ALTER TABLE event_eid RENAME TO event_eid_away").await;
        assert_eq!(fire(&log, &["a", "b", "c"]).await, [1, 0, 2]);
        let alone = log.writer.fire(vec![id("b")], at(0)).await;
        assert!(matches!(alone, Err(WriteError::Unavailable { .. })), "{alone:?}");
        assert_eq!(state(&log, "b").await, ScheduleState::Pending);
        database.execute("ALTER TABLE event_eid_away RENAME TO event_eid").await;
        assert_eq!(fire(&log, &["b"]).await, [3]);
        log.close().await;
    }

    async fn more_than_fits_one_transaction_is_fired_all_the_same(database: &TestDatabase) {
        let log = Log::open(database).await;
        let large = format!("\"{}\"", "x".repeat(1_000_000));
        let ids: Vec<_> = (0..9).map(|n| format!("e{n}")).collect();
        for one in &ids {
            log.writer.schedule(wish(with_data(small(one, 0).event, &large), 5)).await.unwrap();
        }
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        assert_eq!(fire(&log, &ids).await, (1..=9).collect::<Vec<u64>>());
        assert_eq!(log.reader.schedules(false, None, None, 100).await.unwrap().len(), 1, "a page has its size");
        log.close().await;
    }

    async fn a_hub_fires_after_what_another_hub_has_written(database: &TestDatabase) {
        let (one, other) = (Log::open_as(database, "one").await, Log::open_as(database, "other").await);
        let to_p = |id| wish(with_id(id, "order", "p", "reminded"), 5);
        one.publish_one(event("order", "p", "placed")).await;
        other.writer.schedule(to_p("a")).await.unwrap();
        other.publish_one(event("order", "p", "paid")).await;
        assert_eq!(fire(&one, &["a"]).await, [3]);
        let next = one.publish_one(event("order", "p", "sent")).await;
        assert_eq!((next.position, next.version), (Position(4), Version(4)));
        one.writer.schedule(to_p("b")).await.unwrap();
        assert_eq!(fire(&other, &["b"]).await, [5]);
        assert_eq!(other.publish_one(event("order", "p", "closed")).await.version, Version(6));
        one.close().await;
        other.close().await;
    }

    async fn due_schedules_are_found_by_time_and_id(database: &TestDatabase) {
        let log = Log::open(database).await;
        let ids: Vec<_> = (0..30).map(|n| format!("e{n:02}")).collect();
        let asked = ids.iter().enumerate().map(|(n, one)| log.writer.schedule(small(one, 10 + n as i64 / 10)));
        join_all(asked).await.into_iter().for_each(|answer| assert!(answer.is_ok()));
        log.writer.cancel(Which::Id(id("e05")), at(0)).await.unwrap();
        assert_eq!(fire(&log, &["e15"]).await, [1]);
        let (mut found, mut after): (Vec<Due>, _) = (Vec::new(), None);
        loop {
            let page = log.reader.due(after.as_ref(), at(11), 4).await.unwrap();
            found.extend(page.iter().cloned());
            if page.len() < 4 {
                break;
            }
            after = page.into_iter().next_back();
        }
        let expected = ids.iter().take(20).filter(|one| !["e05", "e15"].contains(&one.as_str()));
        assert_eq!(found.iter().map(|due| due.id.clone()).collect::<Vec<_>>(), expected.map(|one| id(one)).collect::<Vec<_>>());
        assert!(found.is_sorted());
        assert_eq!(log.reader.due(None, at(9), 100).await, Ok(vec![]));
        log.close().await;
    }

    async fn schedules_are_listed_by_time_and_id(database: &TestDatabase) {
        let log = Log::open(database).await;
        for n in 0..6 {
            let domain = if n % 2 == 0 { "even" } else { "odd" };
            let asked = wish(with_id(&format!("e{n}"), domain, "p", "reminded"), 10 - n / 2);
            log.writer.schedule(asked).await.unwrap();
        }
        log.writer.cancel(Which::Id(id("e4")), at(0)).await.unwrap();
        let even = name::<Domain>("even");
        let all = |pending, domain: Option<Domain>| {
            let reader = log.reader.clone();
            async move {
                let (mut found, mut after): (Vec<EventId>, _) = (Vec::new(), None);
                loop {
                    let page = reader.schedules(pending, domain.as_ref(), after.as_ref(), 2).await.unwrap();
                    let Some(last) = page.last() else { break };
                    after = Some(Due { at: last.due, id: last.id.clone() });
                    found.extend(page.iter().map(|one| one.id.clone()));
                }
                found.iter().map(EventId::to_string).collect::<Vec<_>>()
            }
        };
        assert_eq!(all(false, None).await, ["e4", "e5", "e2", "e3", "e0", "e1"]);
        assert_eq!(all(true, None).await, ["e5", "e2", "e3", "e0", "e1"]);
        assert_eq!(all(true, Some(even.clone())).await, ["e2", "e0"]);
        assert_eq!(all(false, Some(even)).await, ["e4", "e2", "e0"]);
        log.close().await;
    }

    async fn a_schedule_is_read_as_it_was_asked_for(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut event = with_eids(with_cpids(small("a", 0).event, &[("mail", "1")]), &["x", "y"]);
        event.rid = Some(id("r"));
        event.metadata.0.insert("actor".to_owned(), "Zoë".to_owned());
        let asked = keyed("k", wish(happened(with_data(event.clone(), "[1]"), -5), 9));
        log.writer.schedule(asked.clone()).await.unwrap();
        let read = log.reader.schedule(&by_key("k")).await.unwrap().unwrap();
        assert_eq!((read.event, read.key, read.due), (asked.event, asked.key, asked.due));
        assert_eq!((read.publisher, read.created, read.state), (shop(), at(0), ScheduleState::Pending));
        assert_eq!(log.reader.schedule(&Which::Id(id("none"))).await, Ok(None));
        log.close().await;
    }
}
