//! What the log answers when the database falls away under it, or comes back older than it was.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use db::{Database, MigrateError, OpenError, WriteError};
use eventflow_tests::database::Killer;
use eventflow_tests::events::{event, name, with_id};
use eventflow_tests::log::publish;
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::rotation::HubTrust;
use proto::{HubId, Position, Refusal};

/// Lets `future` get on so many times, and then drops it.
async fn given_up_after(polls: usize, future: impl Future) {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(context).map(|_| ())
    })
    .await;
}

on_every_engine! {
    async fn an_older_copy_of_the_log_is_not_written_to(database: &TestDatabase) {
        let log = Log::open(database).await;
        for n in 1..=5 {
            log.publish_one(with_id(&format!("e{n}"), "order", "a", "placed")).await;
        }
        database.execute("DELETE FROM event WHERE position > 3; UPDATE log_head SET position = 3").await;
        let refused = log.publish(vec![event("order", "a", "paid")]).await;
        let expected = Refusal::LogRegressed { head: Position(3), answered: Position(5) };
        assert_eq!(refused, Err(WriteError::Refused(expected)));
        let again = log.publish(vec![event("order", "a", "paid")]).await;
        assert!(matches!(again, Err(WriteError::Refused(Refusal::LogRegressed { .. }))), "it stays refused: {again:?}");
        assert_eq!(log.head().await, Position(3));
        log.close().await;
    }

    async fn another_log_in_the_same_place_is_not_written_to(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "a", "placed")).await;
        database.execute("UPDATE log_head SET incarnation = incarnation + 1").await;
        let refused = log.publish(vec![event("order", "a", "paid")]).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(database.number("SELECT COUNT(*) FROM event").await, 1);
        log.close().await;
    }

    async fn what_is_given_up_in_the_middle_leaves_every_connection_of_use(database: &TestDatabase) {
        let handle = database.open().await;
        let trust = HubTrust { hub: name::<HubId>("1.hub"), loaded: 1, kept: 1 };
        let journal = handle.journal();
        journal.write("hub", "noted", None).await.unwrap();
        let (head, notes) = (handle.access_head().await.unwrap(), journal.page(0, 10).await.unwrap());
        for polls in (0..30).cycle().take(300) {
            given_up_after(polls, handle.rotations().note_trust(&trust)).await;
            given_up_after(polls, handle.access_head()).await;
            given_up_after(polls, journal.page(0, 10)).await;
        }
        let all = || async {
            handle.rotations().note_trust(&trust).await.unwrap();
            assert_eq!(handle.access_head().await.unwrap(), head, "an answer to what was asked");
            assert_eq!(journal.page(0, 10).await.unwrap(), notes, "an answer to what was asked");
        };
        within("answers on all connections", join_all((0..40).map(|_| all()))).await;
        within("the end of all connections", handle.close()).await;
    }

    async fn a_table_that_is_gone_is_an_answer_and_not_a_hang(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "a", "placed")).await;
        database.execute("ALTER TABLE event_eid RENAME TO event_eid_away").await;
        let linked = eventflow_tests::events::with_eids(event("order", "a", "paid"), &["x"]);
        let answer = within("an answer", log.publish(vec![linked])).await;
        assert!(answer.is_err(), "{answer:?}");
        let neighbour = within("an answer", log.publish(vec![event("order", "b", "placed")])).await;
        assert!(neighbour.is_ok(), "{neighbour:?}");
        database.execute("ALTER TABLE event_eid_away RENAME TO event_eid").await;
        assert_eq!(log.publish_one(event("order", "c", "placed")).await.position, Position(3));
        log.close().await;
    }

    async fn connections_that_are_cut_all_the_time_lose_and_double_nothing(database: &TestDatabase) {
        let Some(mut killer) = Killer::on(database).await else { return };
        let log = Log::open(database).await;
        let publishing = join_all((0..16).map(|publisher| {
            let writer = log.writer.clone();
            async move {
                let mut answered = Vec::new();
                for n in 0..20 {
                    let asked = with_id(&format!("{publisher}-{n}"), "order", &format!("{publisher}"), "placed");
                    let mut answer = publish(&writer, vec![asked.clone()], vec![]).await;
                    while matches!(answer, Err(WriteError::Unavailable { .. })) {
                        answer = publish(&writer, vec![asked.clone()], vec![]).await;
                    }
                    answered.push((asked.id, answer.unwrap()[0]));
                }
                answered
            }
        }));
        let killing = async {
            for _ in 0..15 {
                killer.cut_all().await;
            }
        };
        let (answered, ()) = within("publishers and killer", futures::future::join(publishing, killing)).await;

        let events = log.everything().await;
        let answered: Vec<_> = answered.into_iter().flatten().collect();
        assert_eq!(events.len(), answered.len(), "every event is stored once");
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.position, Position(index as u64 + 1));
        }
        for (id, place) in answered {
            assert_eq!(events[usize::try_from(place.position.0).unwrap() - 1].id, id);
        }
        log.close().await;
    }
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    eventflow_tests::run(async {
        let port = eventflow_tests::database::unused_port();
        let url = db::DatabaseUrl::parse(&format!("mysql://me:s3cret@127.0.0.1:{port}/log")).unwrap();
        let error = Database::open(&url).await.unwrap_err();
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error:?}");
        let message = error.to_string();
        for part in [&format!("127.0.0.1:{port}"), "connecting", "start the server"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        assert!(!message.contains("s3cret"));
    });
}

#[test]
fn a_file_that_is_not_a_database_is_named_with_what_to_do() {
    eventflow_tests::run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not-a-database");
        std::fs::write(&path, "this is not an SQLite file, whatever its name may say".repeat(50)).unwrap();
        let error = match Database::open(&db::DatabaseUrl::sqlite(&path)).await {
            Err(error) => error.to_string(),
            Ok(database) => match database.migrate().await {
                Err(error @ MigrateError::Foreign { .. } | error @ MigrateError::Unavailable { .. }) => {
                    error.to_string()
                }
                other => panic!("{other:?}"),
            },
        };
        assert!(error.contains("not a database"), "{error}");
    });
}

#[test]
fn a_folder_that_is_not_there_is_named_with_what_to_do() {
    eventflow_tests::run(async {
        let error =
            Database::open(&db::DatabaseUrl::parse("sqlite:/no/such/folder/eventflow.db").unwrap()).await;
        let message = error.unwrap_err().to_string();
        assert!(message.contains("/no/such/folder") && message.contains("folder exists"), "{message}");
    });
}
