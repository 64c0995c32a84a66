//! Entities and child processes of an event, added and taken away later (E5).

use db::WriteError;
use eventflow_tests::events::{id, name, with_cpids, with_eids, with_id};
use eventflow_tests::log::page;
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::message::Link;
use proto::read::Query;
use proto::{Cpid, Event, Position, Refusal};

fn cpid(domain: &str, pid: &str) -> Cpid {
    Cpid { domain: name(domain), pid: name(pid) }
}

async fn read(log: &Log) -> Event {
    page(&log.reader, &Query::ById(id("e1"))).await.0.remove(0)
}

async fn by_eid(log: &Log, eid: &str) -> usize {
    page(&log.reader, &Query::ByEid { domain: None, eid: name(eid), after: Position(0), limit: 10 })
        .await
        .0
        .len()
}

on_every_engine! {
    async fn an_entity_is_added_once_and_taken_away_once(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_id("e1", "order", "1", "placed")).await;
        let add = Link::AddEid(id("e1"), name("customer/1"));
        assert_eq!(log.writer.link(add.clone()).await, Ok(1));
        assert_eq!(log.writer.link(add).await, Ok(0), "it is so already");
        assert_eq!(read(&log).await.eids, [name("customer/1")]);
        assert_eq!(by_eid(&log, "customer/1").await, 1);

        let remove = Link::RemoveEid(id("e1"), name("customer/1"));
        assert_eq!(log.writer.link(remove.clone()).await, Ok(1));
        assert_eq!(log.writer.link(remove).await, Ok(0));
        assert_eq!(read(&log).await.eids, []);
        assert_eq!(by_eid(&log, "customer/1").await, 0);
        log.close().await;
    }

    async fn a_child_process_is_added_once_and_taken_away_once(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_id("e1", "order", "1", "placed")).await;
        let add = Link::AddCpid(id("e1"), cpid("bill", "7"));
        assert_eq!(log.writer.link(add.clone()).await, Ok(1));
        assert_eq!(log.writer.link(add).await, Ok(0));
        assert_eq!(read(&log).await.cpids, [cpid("bill", "7")]);

        let remove = Link::RemoveCpid(id("e1"), cpid("bill", "7"));
        assert_eq!(log.writer.link(remove.clone()).await, Ok(1));
        assert_eq!(log.writer.link(remove).await, Ok(0));
        assert_eq!(read(&log).await.cpids, []);
        log.close().await;
    }

    async fn links_given_with_the_event_can_be_taken_away(database: &TestDatabase) {
        let log = Log::open(database).await;
        let asked = with_cpids(with_eids(with_id("e1", "order", "1", "placed"), &["a", "b"]), &[("bill", "7")]);
        log.publish_one(asked).await;
        assert_eq!(log.writer.link(Link::RemoveEid(id("e1"), name("a"))).await, Ok(1));
        assert_eq!(log.writer.link(Link::RemoveEid(id("e1"), name("B"))).await, Ok(0));
        assert_eq!(log.writer.link(Link::RemoveCpid(id("e1"), cpid("bill", "7"))).await, Ok(1));
        let event = read(&log).await;
        assert_eq!((event.eids, event.cpids), (vec![name("b")], vec![]));
        log.close().await;
    }

    async fn an_event_that_is_not_there_has_no_links(database: &TestDatabase) {
        let log = Log::open(database).await;
        let links = [
            Link::AddEid(id("none"), name("a")),
            Link::RemoveEid(id("none"), name("a")),
            Link::AddCpid(id("none"), cpid("a", "1")),
            Link::RemoveCpid(id("none"), cpid("a", "1")),
        ];
        for link in links {
            let answer = log.writer.link(link).await;
            assert!(matches!(answer, Err(WriteError::Refused(Refusal::NotFound { .. }))), "{answer:?}");
        }
        log.close().await;
    }

    async fn an_event_has_no_more_links_than_it_could_be_published_with(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(with_id("e1", "order", "1", "placed")).await;
        for n in 0..proto::limits::EIDS_PER_EVENT_MAX {
            assert_eq!(log.writer.link(Link::AddEid(id("e1"), name(&format!("e{n}")))).await, Ok(1));
        }
        let answer = log.writer.link(Link::AddEid(id("e1"), name("one more"))).await;
        assert!(matches!(answer, Err(WriteError::Refused(Refusal::Invalid { .. }))), "{answer:?}");
        assert_eq!(log.writer.link(Link::AddEid(id("e1"), name("e0"))).await, Ok(0), "that one is there");
        log.close().await;
    }

    async fn a_link_does_not_change_what_the_same_publication_answers(database: &TestDatabase) {
        let log = Log::open(database).await;
        let asked = with_id("e1", "order", "1", "placed");
        log.publish_one(asked.clone()).await;
        log.writer.link(Link::AddEid(id("e1"), name("customer/1"))).await.unwrap();
        assert_eq!(log.publish_one(asked).await.position, Position(1));
        log.close().await;
    }
}
