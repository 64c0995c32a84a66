//! Reading: pages are asked for while they are used.

use eventflow_spoke::{More, Pid, Position, Refusal, RequestError};
use proto::message::{Reply, Request};
use proto::read::{Page, Query};

use crate::fake_hub::{FakeHub, HubLink, event, order};

async fn page(link: &mut HubLink, positions: impl IntoIterator<Item = u64>, more: More) -> Query {
    let (id, request) = link.request().await;
    let Request::Read(query) = request else { panic!("{request:?}") };
    let events: Vec<_> = positions.into_iter().map(event).collect();
    let through = events.last().map_or(Position(0), |event| event.position);
    link.reply(id, Ok(Reply::Page(Page::Events { events, through, more }))).await;
    query
}

fn after(query: &Query) -> u64 {
    match query {
        Query::Eventlog { after, .. } | Query::Log { after, .. } => after.0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_eventlog_is_read_a_page_at_a_time() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let mut events = spoke.eventlog(&order(), &Pid::parse("1").unwrap()).events();
    let (first, query) = tokio::join!(events.next(), page(&mut link, [2, 4], More::Maybe));
    assert_eq!((first.unwrap().unwrap().position, after(&query)), (Position(2), 0));
    // The rest of the page needs no hub.
    assert_eq!(events.next().await.unwrap().unwrap().position, Position(4));
    let (third, query) = tokio::join!(events.next(), page(&mut link, [9], More::No));
    assert_eq!((third.unwrap().unwrap().position, after(&query)), (Position(9), 4));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn the_state_is_folded_over_all_pages() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (order, pid) = (order(), Pid::parse("1").unwrap());
    let paging = async {
        page(&mut link, [1, 2], More::Maybe).await;
        page(&mut link, [3], More::No).await;
    };
    let (state, ()) = tokio::join!(spoke.state(&order, &pid), paging);
    assert_eq!(state.unwrap(), serde_json::json!({"n": 3}));
    let paging = page(&mut link, [1, 2, 3], More::No);
    let (sum, _) = tokio::join!(spoke.fold(&order, &pid, 0, |sum, event| sum + event.position.0), paging);
    assert_eq!(sum.unwrap(), 6);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_ends_the_stream_with_its_error() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let mut events = spoke.log(Position(5));
    let refusing = async {
        let (id, _) = link.request().await;
        link.reply(id, Err(Refusal::Denied { reason: "read".to_owned() })).await;
    };
    let (first, ()) = tokio::join!(events.next(), refusing);
    assert!(matches!(first, Some(Err(RequestError::Refused(_)))));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_missing_event_is_a_type_of_its_own() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let missing = async {
        let (id, _) = link.request().await;
        link.reply(id, Err(Refusal::NotFound { what: "event e1".to_owned() })).await;
    };
    let id = event(1).id;
    let (read, ()) = tokio::join!(spoke.read(&id), missing);
    assert!(matches!(read, Err(RequestError::NotFound { .. })));
}
