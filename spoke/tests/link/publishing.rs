//! Publishing: answered once, asked again over reconnects, held back by the window.

use std::time::Duration;

use eventflow_spoke::{Position, PublishError, Refusal, Spoke};
use futures::FutureExt;
use futures::future::join_all;
use proto::RequestId;
use proto::message::{Offer, Reply, Request};
use proto::session::FromSpoke;
use tokio::task::JoinSet;

use crate::fake_hub::{FakeHub, HubLink, appended, new_event, order};

/// Publishes in the background; its outcome is the task's.
fn publish(tasks: &mut JoinSet<Result<u64, PublishError>>, spoke: &Spoke, id: &str) {
    let (spoke, event) = (spoke.clone(), new_event(id));
    tasks.spawn(async move { spoke.publish(event).await.map(|appended| appended.position.0) });
}

async fn outcome(tasks: &mut JoinSet<Result<u64, PublishError>>) -> Result<u64, PublishError> {
    tasks.join_next().await.unwrap().unwrap()
}

#[tokio::test]
async fn a_publish_returns_what_the_hub_has_stored() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let answering = async {
        let (id, request) = link.request().await;
        assert!(matches!(request, Request::Append { offer: Offer::Publish, .. }));
        link.appended(id, 7).await;
    };
    let (published, ()) = tokio::join!(spoke.publish(new_event("a")), answering);
    assert_eq!(published.unwrap(), appended(7));
}

#[tokio::test]
async fn a_refusal_reaches_the_caller_as_a_type() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let conflict = Refusal::Conflict { id: new_event("a").id, position: Position(3) };
    let answering = async {
        let (id, _) = link.request().await;
        link.reply(id, Err(conflict.clone())).await;
    };
    let (published, ()) = tokio::join!(spoke.publish(new_event("a")), answering);
    let error = published.unwrap_err();
    assert!(!error.may_retry());
    assert!(matches!(error, PublishError::Refused(refusal) if refusal == conflict));
}

#[tokio::test]
async fn what_was_not_answered_is_published_again_with_the_same_ids_in_the_old_order() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let publishing = join_all(["a", "b", "c"].map(|id| spoke.publish(new_event(id))));
    let answering = async {
        let (id, ids) = link.append().await;
        assert_eq!(ids, ["a"]);
        link.appended(id, 1).await;
        assert_eq!(link.append().await.1, ["b"]);
        drop(link);
        let mut link = hub.accept().await;
        for (expected, position) in [("b", 2), ("c", 3)] {
            let (id, ids) = link.append().await;
            assert_eq!(ids, [expected]);
            link.appended(id, position).await;
        }
        link
    };
    let (published, _link) = tokio::join!(publishing, answering);
    let positions: Vec<_> = published.into_iter().map(|appended| appended.unwrap().position.0).collect();
    assert_eq!(positions, [1, 2, 3]);
}

#[tokio::test]
async fn what_is_published_without_a_link_is_said_after_the_next_welcome() {
    let hub = FakeHub::start().await;
    let (spoke, link) = hub.connect().await;
    drop(link);
    let mut tasks = JoinSet::new();
    publish(&mut tasks, &spoke, "a");
    let mut link = hub.accept().await;
    let (id, _) = link.append().await;
    link.appended(id, 1).await;
    assert_eq!(outcome(&mut tasks).await.unwrap(), 1);
}

#[tokio::test]
async fn a_full_window_holds_the_next_caller_back() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect_with(hub.options().publish_window(2)).await;
    let mut tasks = JoinSet::new();
    publish(&mut tasks, &spoke, "a");
    publish(&mut tasks, &spoke, "b");
    let (first, _) = link.append().await;
    let (second, _) = link.append().await;
    publish(&mut tasks, &spoke, "c");
    // A question passes while the third publish may not.
    let (head, reading) = tokio::join!(spoke.log_after(Position(0)), async {
        let (id, request) = link.request().await;
        assert!(matches!(request, Request::Read(_)), "the window let a third publish through");
        link.reply(id, Err(Refusal::Denied { reason: "no".to_owned() })).await;
        link
    });
    drop(head);
    let mut link = reading;
    link.appended(first, 1).await;
    let (third, ids) = link.append().await;
    assert_eq!(ids, ["c"]);
    link.appended(second, 2).await;
    link.appended(third, 3).await;
    for _ in 0..3 {
        outcome(&mut tasks).await.unwrap();
    }
}

#[tokio::test]
async fn an_event_that_is_not_answered_in_time_may_be_published_again() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    tokio::time::pause();
    let (published, _) = tokio::join!(spoke.publish(new_event("a")), link.append());
    let error = published.unwrap_err();
    assert!(error.may_retry());
    assert!(error.to_string().contains("publish it again with the same id"), "{error}");
    let PublishError::Unavailable { id, waited } = error else { panic!("{error}") };
    assert_eq!((id.as_str(), waited), ("a", Duration::from_secs(30)));
}

#[tokio::test]
async fn callers_who_gave_up_during_an_outage_leave_no_burst_behind() {
    let hub = FakeHub::start().await;
    let options = hub.options().publish_window(2).request_timeout(Duration::from_secs(30));
    let (spoke, link) = hub.connect_with(options).await;
    drop(link);
    tokio::time::pause();
    // Each pair fills the window; only the sweep makes room for the next one.
    for round in 0..5 {
        let ids = [format!("{round}a"), format!("{round}b")];
        for outcome in join_all(ids.iter().map(|id| spoke.publish(new_event(id)))).await {
            assert!(matches!(outcome, Err(PublishError::Unavailable { .. })));
        }
    }
    tokio::time::resume();
    let mut tasks = JoinSet::new();
    publish(&mut tasks, &spoke, "last");
    let mut link = hub.accept().await;
    // The newest round may not have been swept away yet.
    while let Some(id) = next_of(&mut link, ["4a", "4b"]).await {
        link.appended(id, 1).await;
    }
    outcome(&mut tasks).await.unwrap();
}

/// Answers the append that is none of `given_up`, else gives its number.
async fn next_of(link: &mut HubLink, given_up: [&str; 2]) -> Option<RequestId> {
    let (id, ids) = link.append().await;
    if given_up.contains(&ids[0].as_str()) {
        return Some(id);
    }
    assert_eq!(ids, ["last"]);
    link.appended(id, 1).await;
    None
}

#[tokio::test]
async fn several_events_are_one_append_with_its_expectations() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let append = spoke
        .append()
        .event(new_event("a"))
        .event(new_event("b"))
        .persist()
        .expect(order(), new_event("a").pid, eventflow_spoke::Expected::None)
        .send();
    let answering = async {
        let (id, request) = link.request().await;
        let Request::Append { events, offer, expectations } = request else { panic!("not an append") };
        assert_eq!((events.len(), offer, expectations.len()), (2, Offer::Persist, 1));
        link.reply(id, Ok(Reply::Appended(vec![appended(1), appended(2)]))).await;
    };
    let (stored, ()) = tokio::join!(append, answering);
    assert_eq!(stored.unwrap(), [appended(1), appended(2)]);
}

#[tokio::test]
async fn close_waits_for_what_is_in_flight_and_says_goodbye() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let mut tasks = JoinSet::new();
    publish(&mut tasks, &spoke, "a");
    let (id, _) = link.append().await;
    let other = spoke.clone();
    let mut closing = Box::pin(spoke.close());
    assert!((&mut closing).now_or_never().is_none());
    link.appended(id, 1).await;
    let (closed, said) = tokio::join!(closing, link.said());
    closed.unwrap();
    assert_eq!(said, FromSpoke::Goodbye);
    assert_eq!(outcome(&mut tasks).await.unwrap(), 1);
    assert!(matches!(other.publish(new_event("b")).await, Err(PublishError::Closed { .. })));
}

#[tokio::test]
async fn close_says_how_many_requests_were_not_answered() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let mut tasks = JoinSet::new();
    tokio::time::pause();
    let publishing = spoke.clone();
    tasks.spawn(async move { publishing.publish(new_event("a")).await.map(|_| 0) });
    link.append().await;
    // It waits as long as the request would have, so which gives up first does not matter.
    let closed = spoke.close().await;
    assert!(closed.is_ok() || closed.unwrap_err().unanswered == 1);
    let error = outcome(&mut tasks).await.unwrap_err();
    assert!(error.may_retry(), "{error}");
}
