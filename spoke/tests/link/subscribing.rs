//! Subscribing: no gap and no repeat over reconnects, credit, the end.

use eventflow_spoke::{ListenError, Position, Refusal, Start, Subscription, Told};
use futures::FutureExt;
use proto::message::{Request, Subscribe};
use proto::session::FromSpoke;

use crate::fake_hub::{FakeHub, order, position, subscribe};

#[tokio::test]
async fn a_reconnect_goes_on_after_the_last_event() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let wish = Subscription::topic(order()).from(Start::Beginning).credit(10);
    let (mut stream, listener) = subscribe(&spoke, &mut link, wish).await;
    link.push(listener, 3).await;
    link.push(listener, 5).await;
    assert_eq!(position(&mut stream).await, 3);
    drop(link);
    let mut link = hub.accept().await;
    let (listener, request) = link.listening().await;
    let Request::Subscribe(Subscribe { start, credit, .. }) = request else { panic!("{request:?}") };
    // Position 5 had arrived, although it was not read yet; it takes room until it is.
    assert_eq!(start, Start::At(Position(6)));
    assert!(credit < 10, "{credit}");
    link.push(listener, 6).await;
    assert_eq!(position(&mut stream).await, 5);
    assert_eq!(position(&mut stream).await, 6);
}

#[tokio::test]
async fn a_subscription_that_is_read_never_runs_out_of_credit() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let wish = Subscription::everything().credit(4);
    let (mut stream, listener) = subscribe(&spoke, &mut link, wish).await;
    let mut allowed = 4;
    for next in 1..=40 {
        if allowed == 0 {
            let FromSpoke::Credit { events, .. } = link.said().await else { panic!("no credit") };
            allowed += events;
        }
        allowed -= 1;
        link.push(listener, next).await;
        assert_eq!(position(&mut stream).await, next);
    }
}

#[tokio::test]
async fn caught_up_comes_after_the_events_before_it_and_lagged_is_told() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (mut stream, listener) = subscribe(&spoke, &mut link, Subscription::topic(order())).await;
    link.session.lagged(listener, 7);
    link.push(listener, 1).await;
    link.push(listener, 2).await;
    link.session.caught_up(listener, Position(9));
    link.flush().await;
    assert_eq!(position(&mut stream).await, 1);
    assert_eq!(position(&mut stream).await, 2);
    let mut signals = Vec::new();
    while !matches!(signals.last(), Some(Told::CaughtUp { .. })) {
        signals.push(stream.next().await.unwrap().unwrap());
    }
    assert_eq!(signals, [Told::Lagged { behind: 7 }, Told::CaughtUp { position: Position(9) }]);
    assert!(stream.next().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caught_up_is_never_told_before_an_event_that_it_covers() {
    const EVENTS: u64 = 20_000;
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let wish = Subscription::topic(order()).credit(4_096);
    let (mut stream, listener) = subscribe(&spoke, &mut link, wish).await;
    let mut reading = tokio::task::JoinSet::new();
    reading.spawn(async move {
        let mut last = 0;
        while last < EVENTS {
            match stream.next().await.unwrap().unwrap() {
                Told::Event(event) => {
                    assert_eq!(event.position.0, last + 1);
                    last += 1;
                }
                Told::CaughtUp { position } => assert_eq!(position.0, last),
                Told::Lagged { .. } => panic!("nobody said so"),
            }
        }
    });
    let (mut sent, mut allowed) = (0, 4_096);
    while sent < EVENTS {
        while allowed > 0 && sent < EVENTS {
            (sent, allowed) = (sent + 1, allowed - 1);
            link.push(listener, sent).await;
            link.session.caught_up(listener, Position(sent));
            link.flush().await;
        }
        if sent < EVENTS {
            let FromSpoke::Credit { events, .. } = link.said().await else { panic!("no credit") };
            allowed += u64::from(events);
        }
    }
    reading.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_subscription_that_the_hub_drops_ends_with_its_reason() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (mut stream, listener) = subscribe(&spoke, &mut link, Subscription::topic(order())).await;
    link.push(listener, 1).await;
    link.session.dropped(listener, Refusal::Denied { reason: "subscribe order".to_owned() });
    link.flush().await;
    assert_eq!(position(&mut stream).await, 1);
    let end = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(end, ListenError::Refused(Refusal::Denied { .. })), "{end}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stream_that_is_dropped_leaves() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (stream, listener) = subscribe(&spoke, &mut link, Subscription::topic(order())).await;
    drop(stream);
    assert_eq!(link.request().await.1, Request::Leave(listener));
}

#[tokio::test]
async fn another_log_ends_a_subscription_that_has_a_place_in_the_old_one() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (mut stream, listener) = subscribe(&spoke, &mut link, Subscription::topic(order())).await;
    link.push(listener, 5).await;
    assert_eq!(position(&mut stream).await, 5);
    drop(link);
    let mut link = hub.greeted().await;
    link.welcome(2).await;
    let end = stream.next().await.unwrap().unwrap_err();
    assert!(end.to_string().contains("incarnation 2"), "{end}");
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_of_the_call() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let refusing = async {
        let (id, _) = link.request().await;
        link.reply(id, Err(Refusal::Denied { reason: "no".to_owned() })).await;
    };
    let (stream, ()) = tokio::join!(spoke.subscribe(Subscription::everything()), refusing);
    assert!(matches!(stream, Err(ListenError::Refused(Refusal::Denied { .. }))));
}

#[tokio::test]
async fn closing_the_spoke_ends_its_streams() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (mut stream, _) = subscribe(&spoke, &mut link, Subscription::everything()).await;
    let (closed, _) = tokio::join!(spoke.close(), link.said());
    closed.unwrap();
    assert!(matches!(stream.next().await, Some(Err(ListenError::Closed { .. }))));
    assert!(stream.next().await.is_none());
}
