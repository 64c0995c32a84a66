//! What the log promises to services that hand events over through the outbox: each committed row is
//! one event, or fails with a reason.

use db::{Committed, Drained, OutboxRow, OutboxRows};
use eventflow_tests::database::Killer;
use eventflow_tests::events::{at, event, name, shop, with_data, with_id};
use eventflow_tests::outbox::{Handed, OutboxService};
use eventflow_tests::{Engine, Log, TestDatabase, on_every_engine, within};
use futures::future::join;
use proto::{Event, Position, Timestamp, Version};

const DOCUMENTATION: &str = include_str!("../../../docs/outbox.md");

/// Drains what is there, once.
async fn drain(log: &Log) -> Drained {
    let waiting = log.database.outbox().waiting().await.unwrap();
    log.writer.drain(waiting, at(0)).await.unwrap()
}

fn drained(appended: usize, repeated: usize, failed: usize) -> Drained {
    Drained { appended, repeated, failed, blocked: 0 }
}

async fn listed(log: &Log, rows: OutboxRows) -> Vec<OutboxRow> {
    log.database.outbox().page(rows, None, 1_000).await.unwrap()
}

fn ids(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.id.as_str()).collect()
}

/// Rows that cannot be events, and a part of what is said of each.
fn bad_rows() -> Vec<(Handed, &'static str)> {
    let good = || Handed::new("bad", "p");
    let text = |text: &str| Some(text.to_owned());
    vec![
        (Handed { domain: String::new(), ..good() }, "the domain is empty"),
        (Handed { pid: "p ".to_owned(), ..good() }, "white space"),
        (Handed { name: "*".to_owned(), ..good() }, "wildcard"),
        (Handed { publisher: "The Shop".to_owned(), ..good() }, "the service name holds 'T'"),
        (Handed { id: "i".repeat(65), ..good() }, "the event id has 65 characters"),
        (Handed { name: "n".repeat(129), ..good() }, "the event name has 129 characters"),
        (Handed { data: text("{"), ..good() }, "the data is not JSON"),
        (Handed { data: text(&format!("\"{}\"", "x".repeat(1 << 20))), ..good() }, "the data has"),
        (Handed { data: text(&format!("\"{}\"", "x".repeat(2 << 20))), ..good() }, "the row has"),
        (Handed { rid: text(""), ..good() }, "the event id is empty"),
        (Handed { timestamp: Some(i64::MAX), ..good() }, "outside the years"),
        (Handed { metadata: text("[]"), ..good() }, "metadata is to be a JSON object of texts"),
        (Handed { eids: text("[1]"), ..good() }, "eids is to be a JSON array of names"),
        (Handed { cpids: text("[{\"pid\":\"a\"}]"), ..good() }, "cpids is to be a JSON array"),
    ]
}

on_every_engine! {
    async fn a_row_of_the_outbox_becomes_the_event_that_it_says(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        let full = Handed {
            data: Some(" {\"b\":1, \"a\":\"ö\"}".to_owned()),
            rid: Some("cause".to_owned()),
            timestamp: Some(at(7).millis()),
            metadata: Some("{\"actor\":\"ann\"}".to_owned()),
            eids: Some("[\"customer/1\",\"article/2\"]".to_owned()),
            cpids: Some("[{\"domain\":\"payment\",\"pid\":\"9\"}]".to_owned()),
            ..Handed::new("full", "1")
        };
        service.hand_over(&[Handed::new("plain", "1"), full]).await;
        let waiting = log.database.outbox().waiting().await.unwrap();
        assert!(waiting.iter().all(|row| row.since > Some(Timestamp::default())), "{waiting:?}");
        assert_eq!(drain(&log).await, drained(2, 0, 0));

        let events = log.everything().await;
        assert_eq!(ids(&events), ["plain", "full"]);
        let told = log.committed_events().await;
        assert_eq!(told.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), events);
        let (plain, full) = (&events[0], &events[1]);
        assert_eq!((plain.publisher.clone(), plain.timestamp, plain.data.as_str()), (Some(shop()), at(0), "{}"));
        assert_eq!((full.position, full.version, full.timestamp), (Position(2), Version(2), at(7)));
        assert_eq!((full.data.as_str(), full.rid.clone()), (" {\"b\":1, \"a\":\"ö\"}", Some(name("cause"))));
        assert_eq!(full.metadata.0["actor"], "ann");
        assert_eq!(full.eids, [name("article/2"), name("customer/1")]);
        assert_eq!(full.cpids[0].domain, name("payment"));
        assert_eq!(listed(&log, OutboxRows::All).await, []);
        assert_eq!(drain(&log).await, Drained::default());
        log.close().await;
    }

    async fn a_row_that_cannot_be_an_event_fails_with_a_reason_and_holds_up_nobody(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        let bad = bad_rows();
        for (at, (row, _)) in bad.iter().enumerate() {
            service.hand_over(&[Handed::new(&format!("good {at}"), "p"), row.clone()]).await;
        }
        assert_eq!(drain(&log).await, drained(bad.len(), 0, bad.len()));
        assert_eq!(drain(&log).await, Drained::default(), "a row that failed is not tried again by itself");

        let good: Vec<_> = (0..bad.len()).map(|at| format!("good {at}")).collect();
        assert_eq!(ids(&log.everything().await), good);
        let failed = listed(&log, OutboxRows::Failed).await;
        assert_eq!(failed.len(), bad.len());
        for (row, (_, reason)) in failed.iter().zip(bad) {
            let (when, why) = row.failed.clone().unwrap();
            assert!(why.contains(reason), "{why:?} does not say {reason:?}");
            assert_eq!(when, at(0));
        }
        log.close().await;
    }

    async fn a_row_whose_time_is_none_looks_neither_old_nor_young_and_is_drained(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        service.hand_over(&[Handed::new("a", "p"), Handed::new("b", "p")]).await;
        service.run(&format!("UPDATE event_outbox SET created = {} WHERE id = 'a'", i64::MAX)).await.unwrap();
        let waiting = log.database.outbox().waiting().await.unwrap();
        assert_eq!(waiting.iter().map(|row| row.since.is_some()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(drain(&log).await, drained(2, 0, 0));
        log.close().await;
    }

    async fn an_event_is_found_in_the_outbox_by_its_id_with_what_is_wrong_with_it(database: &TestDatabase) {
        let log = Log::open(database).await;
        let found = |id| {
            let reader = log.reader.clone();
            async move { reader.handed_over(&name(id)).await.unwrap() }
        };
        assert_eq!(found("a").await, None, "the outbox is empty");
        let mut service = OutboxService::on(database).await;
        let bad = Handed { domain: String::new(), ..Handed::new("b", "p") };
        service.hand_over(&[Handed::new("a", "p"), bad.clone(), bad, Handed::new("c", "p")]).await;
        let rows = listed(&log, OutboxRows::All).await;
        assert_eq!(found("c").await.as_ref(), Some(&rows[3]));
        drain(&log).await;
        assert_eq!(found("a").await, None);
        let failed = found("b").await.unwrap();
        assert_eq!(failed.row, rows[1].row, "the first of them");
        assert!(failed.failed.unwrap().1.contains("the domain is empty"));
        log.close().await;
    }

    async fn a_failed_row_waits_again_when_told_so_and_is_gone_when_discarded(database: &TestDatabase) {
        let log = Log::open(database).await;
        let outbox = log.database.outbox();
        let mut service = OutboxService::on(database).await;
        let bad = |id: &str| Handed { domain: String::new(), ..Handed::new(id, "p") };
        service.hand_over(&[bad("a"), bad("b"), bad("c"), Handed::new("d", "p")]).await;
        let waiting = outbox.waiting().await.unwrap().iter().map(|row| row.row).collect::<Vec<_>>();
        assert_eq!(outbox.discard(&waiting).await.unwrap(), 0, "only what has failed can be discarded");
        assert_eq!(outbox.retry(&waiting).await.unwrap(), 0);
        drain(&log).await;

        let failed: Vec<i64> = listed(&log, OutboxRows::Failed).await.iter().map(|row| row.row).collect();
        assert_eq!(outbox.discard(&failed[..1]).await.unwrap(), 1);
        service.run(&format!("UPDATE event_outbox SET domain = 'order' WHERE seq = {}", failed[1])).await.unwrap();
        assert_eq!(outbox.retry(&failed).await.unwrap(), 2);
        assert_eq!(drain(&log).await, drained(1, 0, 1));
        assert_eq!(ids(&log.everything().await), ["d", "b"]);
        assert_eq!(listed(&log, OutboxRows::All).await.len(), 1);
        log.close().await;
    }

    async fn an_id_that_is_stored_settles_the_same_event_and_fails_another(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        let stored = with_data(with_id("e", "order", "p", "placed"), "{\"n\":1}");
        log.publish_one(stored.clone()).await;
        let one = |id: &str, n: u32| Handed::new(id, "p").data(&format!("{{\"n\":{n}}}"));
        service.hand_over(&[one("e", 1), one("e", 2), one("f", 1), one("f", 1), one("f", 2)]).await;
        assert_eq!(drain(&log).await, drained(1, 2, 2));
        assert_eq!(ids(&log.everything().await), ["e", "f"]);
        for row in listed(&log, OutboxRows::All).await {
            let (_, why) = row.failed.unwrap();
            assert!(why.contains("is stored already with other content"), "{why}");
        }
        // And the other way round: what came through the outbox is the same for a spoke.
        let again = with_data(with_id("f", "order", "p", "placed"), "{\"n\":1}");
        assert_eq!(log.publish_one(again).await.position, Position(2));
        log.close().await;
    }

    async fn two_hubs_that_drain_append_each_row_once_and_in_order(database: &TestDatabase) {
        let (one, other) = (Log::open_as(database, "one").await, Log::open_as(database, "other").await);
        let mut service = OutboxService::on(database).await;
        let mut expected = Vec::new();
        for round in 0..40 {
            let rows: Vec<_> = (0..7).map(|at| Handed::new(&format!("{round:02}-{at}"), "p")).collect();
            expected.extend(rows.iter().map(|row| row.id.clone()));
            service.hand_over(&rows).await;
            let (first, second) = within("both", join(drain(&one), drain(&other))).await;
            assert!(first.appended + second.appended <= 7, "{first:?} {second:?}");
            // One may have left all to the other, who was not done then.
            drain(&one).await;
        }
        assert_eq!(ids(&one.everything().await), expected);
        assert_eq!(listed(&one, OutboxRows::All).await, []);
        one.close().await;
        other.close().await;
    }

    async fn a_row_that_the_database_does_not_take_fails_alone(database: &TestDatabase) {
        let log = Log::open(database).await;
        let refuse = match database.engine() {
            Engine::Sqlite => "CREATE TRIGGER refuse BEFORE INSERT ON event WHEN NEW.name = 'poison'
                BEGIN SELECT RAISE(ABORT, 'not with me'); END",
            Engine::MariaDb | Engine::MySql => "CREATE TRIGGER refuse BEFORE INSERT ON event FOR EACH ROW
                BEGIN IF NEW.name = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not with me'; END IF; END",
        };
        database.execute(refuse).await;
        let mut service = OutboxService::on(database).await;
        let poison = Handed { name: "poison".to_owned(), ..Handed::new("b", "p") };
        service.hand_over(&[Handed::new("a", "p"), poison, Handed::new("c", "p")]).await;
        assert_eq!(drain(&log).await, drained(2, 0, 1));
        assert_eq!(ids(&log.everything().await), ["a", "c"]);
        let (_, why) = listed(&log, OutboxRows::Failed).await.remove(0).failed.unwrap();
        assert!(why.contains("the database does not take the event") && why.contains("not with me"), "{why}");
        log.close().await;
    }

    async fn a_drained_event_counts_on_the_version_of_its_process(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        for round in 0..3 {
            assert_eq!(log.publish_one(event("order", "p", "seen")).await.version, Version(2 * round + 1));
            service.hand_over(&[Handed::new(&format!("{round}"), "p")]).await;
            assert_eq!(drain(&log).await, drained(1, 0, 0));
        }
        assert_eq!(log.everything().await.last().unwrap().version, Version(6));
        log.close().await;
    }

    /// On SQLite only one transaction writes at a time, so nothing can be overtaken there.
    async fn a_transaction_that_commits_late_is_neither_waited_for_nor_lost(database: &TestDatabase) {
        if database.engine() == Engine::Sqlite {
            return;
        }
        let log = Log::open(database).await;
        let (mut slow, mut quick) = (OutboxService::on(database).await, OutboxService::on(database).await);
        slow.begin().await;
        slow.insert(&Handed::new("first number", "a")).await.unwrap();
        quick.hand_over(&[Handed::new("first commit", "b")]).await;
        assert_eq!(drain(&log).await, drained(1, 0, 0));
        slow.insert(&Handed::new("same transaction", "a")).await.unwrap();
        assert_eq!(drain(&log).await, Drained::default());
        slow.run("COMMIT").await.unwrap();
        assert_eq!(drain(&log).await, drained(2, 0, 0));
        assert_eq!(ids(&log.everything().await), ["first commit", "first number", "same transaction"]);
        log.close().await;
    }

    /// On SQLite a transaction that writes holds up all others for as long as it lasts.
    async fn a_row_that_somebody_holds_locked_holds_up_neither_hub_nor_log(database: &TestDatabase) {
        if database.engine() == Engine::Sqlite {
            return;
        }
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        service.hand_over(&[Handed::new("a", "p"), Handed::new("b", "p")]).await;
        service.begin().await;
        service.run("UPDATE event_outbox SET pid = 'q' WHERE id = 'b'").await.unwrap();
        assert_eq!(drain(&log).await, Drained { blocked: 2, ..Drained::default() });
        log.publish_one(event("order", "p", "seen")).await;
        service.run("DELETE FROM event_outbox WHERE id = 'b'").await.unwrap();
        service.run("COMMIT").await.unwrap();
        assert_eq!(drain(&log).await, drained(1, 0, 0));
        assert_eq!(ids(&log.everything().await)[1..], ["a"]);
        log.close().await;
    }

    async fn connections_that_are_cut_lose_and_double_no_row(database: &TestDatabase) {
        let Some(mut killer) = Killer::on(database).await else { return };
        let log = Log::open(database).await;
        let rows: Vec<_> = (0..400).map(|at| Handed::new(&format!("{at:03}"), "p")).collect();
        OutboxService::on(database).await.hand_over(&rows).await;
        for cut in 0.. {
            let Ok(waiting) = log.database.outbox().waiting().await else { continue };
            if waiting.is_empty() {
                break;
            }
            let few = waiting.into_iter().take(5).collect();
            let draining = log.writer.drain(few, at(0));
            if cut % 2 == 0 {
                drop(within("draining", draining).await);
            } else {
                drop(within("draining and cutting", join(draining, killer.cut_all())).await);
            }
        }
        let expected: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
        assert_eq!(ids(&log.everything().await), expected);
        log.close().await;
    }

    async fn whatever_stands_in_the_columns_of_the_hub_a_row_is_drained_or_listed(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        let insert = |columns: &str, values: &str| {
            format!(
                "INSERT INTO event_outbox (id, publisher, domain, pid, name, {columns})
                 VALUES ('strange', 'shop', 'order', 'p', 'placed', {values})"
            )
        };
        let far = i64::MAX;
        service.run(&insert("seq, created", &format!("-5, {far}"))).await.unwrap();
        service.run(&insert("failed, reason", &format!("{far}, 'mine'"))).await.unwrap();
        service.hand_over(&[Handed::new("after", "p")]).await;
        assert_eq!(drain(&log).await, drained(2, 0, 0));
        assert_eq!(ids(&log.everything().await), ["strange", "after"]);
        let row = listed(&log, OutboxRows::All).await.remove(0);
        assert_eq!(row.failed, Some((Timestamp::default(), "mine".to_owned())));
        assert_eq!(log.database.outbox().discard(&[row.row]).await.unwrap(), 1);
        log.close().await;
    }

    async fn the_statements_of_the_documentation_hand_an_event_over(database: &TestDatabase) {
        let log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        service.run("CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)").await.unwrap();
        service.run("INSERT INTO account (id, balance) VALUES (7, 250)").await.unwrap();
        let blocks = DOCUMENTATION.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
        let example = blocks.collect::<Vec<_>>()[usize::from(database.engine() == Engine::Sqlite)];
        for _ in 0..2 {
            service.run(example).await.unwrap();
        }
        assert_eq!(drain(&log).await, drained(2, 0, 0));
        assert_eq!(database.number("SELECT balance FROM account").await, 50);
        let event = log.everything().await.remove(1);
        assert_eq!((&event.pid, &event.name, event.version), (&name("7"), &name("withdrawn"), Version(2)));
        assert_eq!(event.publisher, Some(name("bank")));
        assert_eq!(event.data.to::<serde_json::Value>().unwrap(), serde_json::json!({ "amount": 100 }));
        log.close().await;
    }

    async fn what_was_drained_is_told_once(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let mut service = OutboxService::on(database).await;
        service.hand_over(&[Handed { domain: String::new(), ..Handed::new("bad", "p") }]).await;
        drain(&log).await;
        service.hand_over(&[Handed::new("a", "p")]).await;
        drain(&log).await;
        log.publish_one(event("order", "p", "seen")).await;
        let mut positions = Vec::new();
        while positions.len() < 2 {
            if let Committed::Events(events) = log.committed().await {
                positions.extend(events.iter().map(|event| event.position.0));
            }
        }
        assert_eq!(positions, [1, 2]);
        log.close().await;
    }
}
