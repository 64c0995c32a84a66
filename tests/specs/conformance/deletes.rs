//! Deleting (E4): an event's content goes, its place stays, so that a missing number always means damage.

use db::{Committed, ReadError, WriteError};
use eventflow_tests::events::{event, id, name, with_cpids, with_data, with_eids, with_id};
use eventflow_tests::log::page;
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::message::{Link, Stored};
use proto::read::{Page, Query};
use proto::{Position, Refusal, Version};

async fn three_events(database: &TestDatabase) -> Log {
    let log = Log::open(database).await;
    let asked = with_data(with_id("e2", "order", "a", "secret-name"), "{\"secret\":\"data\"}");
    let asked = with_cpids(with_eids(asked, &["secret-eid"]), &[("secret-child", "1")]);
    log.publish(vec![with_id("e1", "order", "a", "placed"), asked, with_id("e3", "order", "a", "sent")])
        .await
        .unwrap();
    log
}

on_every_engine! {
    async fn a_deleted_event_is_gone_for_every_reader(database: &TestDatabase) {
        let log = three_events(database).await;
        assert_eq!(log.writer.delete_event(id("e2"), "a test").await, Ok(vec![Position(2)]));

        assert!(matches!(log.reader.page(&Query::ById(id("e2"))).await, Err(ReadError::NotFound { .. })));
        let left: Vec<_> = log.everything().await.into_iter().map(|event| event.position.0).collect();
        assert_eq!(left, [1, 3]);
        let links = [
            Query::ByEid { domain: None, eid: name("secret-eid"), after: Position(0), limit: 10 },
            Query::ByCpid { domain: name("secret-child"), pid: name("1"), after: Position(0), limit: 10 },
        ];
        for query in links {
            assert!(page(&log.reader, &query).await.0.is_empty(), "{query:?}");
        }
        log.close().await;
    }

    async fn nothing_of_a_deleted_event_is_left_in_the_tables(database: &TestDatabase) {
        let log = three_events(database).await;
        log.writer.delete_event(id("e2"), "a test").await.unwrap();
        let left = "SELECT (SELECT COUNT(*) FROM event WHERE data LIKE '%secret%' OR name LIKE '%secret%')
            + (SELECT COUNT(*) FROM event_eid) + (SELECT COUNT(*) FROM event_cpid)";
        assert_eq!(database.number(left).await, 0);
        assert_eq!(database.number("SELECT COUNT(*) FROM event").await, 3, "its place stays");
        log.close().await;
    }

    async fn a_page_that_ends_with_deleted_events_says_how_far_it_looked(database: &TestDatabase) {
        let log = Log::open(database).await;
        for n in 0..20 {
            log.publish_one(with_id(&format!("e{n}"), "order", "a", "placed")).await;
        }
        for n in 5..20 {
            log.writer.delete_event(id(&format!("e{n}")), "a test").await.unwrap();
        }
        let (mut after, mut seen, mut rounds) = (Position(0), 0, 0);
        loop {
            let (events, through, more) = page(&log.reader, &Query::Log { after, limit: 3 }).await;
            seen += events.len();
            rounds += 1;
            assert!(rounds < 30, "paging over deleted events ends");
            if !more {
                assert_eq!(through.max(after), Position(20));
                break;
            }
            assert!(through > after);
            after = through;
        }
        assert_eq!(seen, 5);
        log.close().await;
    }

    async fn the_id_and_the_version_of_a_deleted_event_stay_taken(database: &TestDatabase) {
        let log = three_events(database).await;
        log.writer.delete_event(id("e3"), "a test").await.unwrap();
        let again = log.publish_one(with_id("e3", "order", "a", "sent")).await;
        assert_eq!((again.position, again.version, again.stored), (Position(3), Version(3), Stored::Before));
        let other = log.publish_one(event("order", "a", "sent")).await;
        assert_eq!((other.position, other.version), (Position(4), Version(4)));
        log.close().await;
    }

    async fn deleting_again_changes_nothing(database: &TestDatabase) {
        let log = three_events(database).await;
        // Also when both deletions fall into the same millisecond, which some of these do.
        for event in ["e1", "e2", "e3"] {
            assert_eq!(log.writer.delete_event(id(event), "a test").await.map(|deleted| deleted.len()), Ok(1));
            assert_eq!(log.writer.delete_event(id(event), "a test").await, Ok(vec![]));
        }
        let unknown = log.writer.delete_event(id("e4"), "a test").await;
        assert!(matches!(unknown, Err(WriteError::Refused(Refusal::NotFound { .. }))), "{unknown:?}");
        log.close().await;
    }

    async fn a_deleted_event_takes_no_links(database: &TestDatabase) {
        let log = three_events(database).await;
        log.writer.delete_event(id("e2"), "a test").await.unwrap();
        let answer = log.writer.link(Link::AddEid(id("e2"), name("x"))).await;
        assert!(matches!(answer, Err(WriteError::Refused(Refusal::NotFound { .. }))), "{answer:?}");
        assert_eq!(database.number("SELECT COUNT(*) FROM event_eid").await, 0);
        log.close().await;
    }

    async fn a_deleted_eventlog_is_empty_and_its_numbers_go_on(database: &TestDatabase) {
        let log = three_events(database).await;
        log.publish_one(event("order", "b", "placed")).await;
        let mut deleted = log.writer.delete_eventlog(name("order"), name("a"), "a test").await.unwrap();
        deleted.sort_unstable();
        assert_eq!(deleted, [Position(1), Position(2), Position(3)]);
        assert_eq!(log.writer.delete_eventlog(name("order"), name("a"), "a test").await, Ok(vec![]));

        assert_eq!(log.everything().await.len(), 1);
        let pids = log.reader.page(&Query::Pids { domain: name("order"), after: None, limit: 10 }).await.unwrap();
        let Page::Pids { pids, .. } = pids else { panic!("not pids") };
        assert!(pids.contains(&name("b")));
        let next = log.publish_one(event("order", "a", "placed")).await;
        assert_eq!((next.position, next.version), (Position(5), Version(4)));
        log.close().await;
    }

    async fn a_long_eventlog_is_deleted_whole(database: &TestDatabase) {
        let log = Log::open(database).await;
        for _ in 0..3 {
            log.publish((0..900).map(|_| event("order", "a", "placed")).collect()).await.unwrap();
        }
        assert_eq!(log.writer.delete_eventlog(name("order"), name("a"), "a test").await.unwrap().len(), 2_700);
        assert!(log.everything().await.is_empty());
        log.close().await;
    }

    async fn a_deletion_is_told_like_a_commit(database: &TestDatabase) {
        let mut log = three_events(database).await;
        assert_eq!(log.committed_events().await.len(), 3);
        log.writer.delete_event(id("e2"), "a test").await.unwrap();
        assert_eq!(log.committed().await, Committed::Deleted(vec![Position(2)]));
        log.close().await;
    }

    async fn the_story_of_a_deleted_event_says_when(database: &TestDatabase) {
        let log = three_events(database).await;
        log.writer.delete_event(id("e2"), "a test").await.unwrap();
        let story = log.reader.story(&id("e2")).await.unwrap();
        assert_eq!((story.position, story.event), (Position(2), None));
        assert!(story.deleted.is_some());
        log.close().await;
    }
}
