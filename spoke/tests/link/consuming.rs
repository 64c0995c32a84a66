//! Consuming: handlers answer, panics fail one delivery, work in progress is kept alive.

use std::sync::Arc;
use std::time::Duration;

use eventflow_spoke::{
    Attempt, Consumer, ConsumerBuilder, Delivery, DeliveryStream, EventName, Failure, ListenError, Position,
    Refusal,
};
use proto::ListenerId;
use proto::filter::NameFilter;
use proto::message::{Answer, Reply, Request, Verdict};
use tokio::sync::{Semaphore, mpsc};

use crate::fake_hub::{FakeHub, HubLink, order, placed};

async fn start(builder: ConsumerBuilder, link: &mut HubLink) -> (Consumer, ListenerId, Request) {
    let (consumer, (listener, request)) = tokio::join!(builder.start(), link.listening());
    (consumer.unwrap(), listener, request)
}

async fn deliveries(builder: ConsumerBuilder, link: &mut HubLink) -> (Consumer, DeliveryStream, ListenerId) {
    let (started, (listener, _)) = tokio::join!(builder.deliveries(), link.listening());
    let (consumer, stream) = started.unwrap();
    (consumer, stream, listener)
}

fn answer(listener: ListenerId, position: u64, attempt: u32, verdict: Verdict) -> Answer {
    Answer { listener, position: Position(position), attempt: Attempt(attempt), verdict }
}

fn fail(reason: &str) -> Verdict {
    Verdict::Fail { reason: reason.to_owned(), after_ms: None }
}

#[tokio::test]
async fn what_the_handler_returns_is_the_answer() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let builder = spoke.consumer(order()).any(|delivery: Delivery| async move {
        match delivery.event.position.0 {
            1 => Ok(()),
            2 => Err(Failure::retry("later")),
            3 => Err(Failure::park("never")),
            _ => Err(Failure::release()),
        }
    });
    let (_consumer, listener, _) = start(builder, &mut link).await;
    let park = Verdict::Park { reason: "never".to_owned() };
    for (position, verdict) in [(1, Verdict::Ack), (2, fail("later")), (3, park), (4, Verdict::Release)] {
        link.deliver(listener, position, 1).await;
        assert_eq!(link.answers().await, [answer(listener, position, 1, verdict)]);
    }
}

#[tokio::test]
async fn a_panic_fails_its_delivery_and_the_consumer_lives() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let builder = spoke.consumer(order()).any(|delivery: Delivery| async move {
        assert!(delivery.attempt.0 > 1, "the first try");
        Ok(())
    });
    let (_consumer, listener, _) = start(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    assert_eq!(link.answers().await, [answer(listener, 1, 1, fail("the handler panicked: the first try"))]);
    link.deliver(listener, 1, 2).await;
    assert_eq!(link.answers().await, [answer(listener, 1, 2, Verdict::Ack)]);
}

#[tokio::test]
async fn a_consumer_with_named_handlers_only_asks_for_their_names() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let builder = spoke.consumer(order()).concurrency(8).name(placed(), |_| async { Ok(()) });
    let (_consumer, _, request) = start(builder, &mut link).await;
    let Request::Consume(consume) = request else { panic!("{request:?}") };
    assert_eq!(consume.topic.names, NameFilter::Only(vec![placed()]));
    assert_eq!((consume.group.as_str(), consume.credit), ("billing", 16));
}

#[tokio::test]
async fn the_named_handler_goes_before_the_wildcard() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let builder = spoke
        .consumer(order())
        .any(|_| async { Err(Failure::park("the wildcard")) })
        .name(placed(), |_| async { Ok(()) });
    let (_consumer, listener, request) = start(builder, &mut link).await;
    let Request::Consume(consume) = request else { panic!("{request:?}") };
    assert_eq!(consume.topic.names, NameFilter::All);
    link.deliver(listener, 1, 1).await;
    assert_eq!(link.answers().await, [answer(listener, 1, 1, Verdict::Ack)]);
}

#[tokio::test]
async fn a_consumer_without_a_handler_is_refused_here() {
    let hub = FakeHub::start().await;
    let (spoke, _link) = hub.connect().await;
    assert!(matches!(spoke.consumer(order()).start().await, Err(ListenError::NoHandler { .. })));
    let names = (0..65).map(|n| EventName::parse(&n.to_string()).unwrap());
    let started = spoke.consumer(order()).names(names).any(|_| async { Ok(()) }).start().await;
    assert!(matches!(started, Err(ListenError::TooManyNames { found: 65, .. })));
}

/// A handler that says that it has started and waits to be let go on.
fn gated(builder: ConsumerBuilder) -> (ConsumerBuilder, mpsc::Receiver<u64>, Arc<Semaphore>) {
    let (started, starts) = mpsc::channel(64);
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = Arc::clone(&gate);
    let builder = builder.any(move |delivery: Delivery| {
        let (started, gate) = (started.clone(), Arc::clone(&handler_gate));
        async move {
            started.send(delivery.event.position.0).await?;
            gate.acquire().await?.forget();
            Ok(())
        }
    });
    (builder, starts, gate)
}

#[tokio::test]
async fn no_more_handlers_run_than_the_concurrency_allows() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (builder, mut starts, gate) = gated(spoke.consumer(order()).concurrency(2));
    let (_consumer, listener, _) = start(builder, &mut link).await;
    for position in 1..=4 {
        link.deliver(listener, position, 1).await;
    }
    assert_eq!((starts.recv().await, starts.recv().await), (Some(1), Some(2)));
    gate.add_permits(1);
    assert_eq!(link.answers().await.len(), 1);
    assert_eq!(starts.recv().await, Some(3));
    assert!(starts.try_recv().is_err());
}

#[tokio::test]
async fn what_is_held_is_kept_alive_started_or_not() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (builder, mut starts, gate) = gated(spoke.consumer(order()).concurrency(1));
    let (_consumer, listener, _) = start(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    link.deliver(listener, 2, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    tokio::time::pause();
    for _ in 0..3 {
        let mut progress = link.answers().await;
        progress.sort_by_key(|answer| answer.position);
        assert!(progress.iter().all(|answer| answer.verdict == Verdict::Progress));
        assert_eq!(progress.first().unwrap().position, Position(1));
        assert_eq!(progress.last().unwrap().position, Position(2));
    }
    gate.add_permits(1);
    assert_eq!(link.answers().await, [answer(listener, 1, 1, Verdict::Ack)]);
}

#[tokio::test]
async fn stop_waits_for_the_handlers_and_then_leaves() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (builder, mut starts, gate) = gated(spoke.consumer(order()).concurrency(1));
    let (consumer, listener, _) = start(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    link.deliver(listener, 2, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    let leaving = async {
        gate.add_permits(2);
        assert_eq!(link.answers().await, [answer(listener, 1, 1, Verdict::Ack)]);
        let (id, request) = link.request().await;
        assert_eq!(request, Request::Leave(listener));
        link.reply(id, Ok(Reply::Left)).await;
    };
    let (stopped, ()) = tokio::join!(consumer.stop(), leaving);
    stopped.unwrap();
    // The second delivery was not started: leaving releases it.
    assert!(starts.recv().await.is_none());
}

#[tokio::test]
async fn a_handler_that_outlives_its_link_answers_when_its_event_comes_again() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (builder, mut starts, gate) = gated(spoke.consumer(order()));
    let (_consumer, listener, _) = start(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    drop(link);
    let mut link = hub.accept().await;
    let (listener, _) = link.listening().await;
    link.deliver(listener, 1, 1).await;
    link.deliver(listener, 2, 1).await;
    // The second event has arrived, so the first has too.
    assert_eq!(starts.recv().await, Some(2));
    gate.add_permits(2);
    let mut answers = link.answers().await;
    while answers.len() < 2 {
        answers.extend(link.answers().await);
    }
    answers.sort_by_key(|answer| answer.position);
    assert_eq!(answers, [answer(listener, 1, 1, Verdict::Ack), answer(listener, 2, 1, Verdict::Ack)]);
    assert!(starts.try_recv().is_err(), "a handler ran twice");
}

#[tokio::test]
async fn a_tool_answers_deliveries_by_itself_and_a_dropped_one_is_released() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (_consumer, mut stream, listener) = deliveries(spoke.consumer(order()), &mut link).await;
    for position in 1..=3 {
        link.deliver(listener, position, 1).await;
    }
    stream.next().await.unwrap().ack();
    assert_eq!(link.answers().await, [answer(listener, 1, 1, Verdict::Ack)]);
    stream.next().await.unwrap().fail_after("later", Duration::from_secs(2));
    let later = Verdict::Fail { reason: "later".to_owned(), after_ms: Some(2_000) };
    assert_eq!(link.answers().await, [answer(listener, 2, 1, later)]);
    drop(stream.next().await.unwrap());
    assert_eq!(link.answers().await, [answer(listener, 3, 1, Verdict::Release)]);
}

#[tokio::test]
async fn a_consumer_whose_stream_is_dropped_leaves() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (_consumer, stream, listener) = deliveries(spoke.consumer(order()), &mut link).await;
    drop(stream);
    assert_eq!(link.request().await.1, Request::Leave(listener));
}

#[tokio::test]
async fn a_consumer_that_the_hub_drops_ends_with_its_reason() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (mut consumer, mut stream, listener) = deliveries(spoke.consumer(order()), &mut link).await;
    link.session.dropped(listener, Refusal::Denied { reason: "consume order".to_owned() });
    link.flush().await;
    assert!(stream.next().await.is_none());
    assert!(matches!(consumer.ended().await, Err(ListenError::Refused(Refusal::Denied { .. }))));
}

#[tokio::test]
async fn a_hub_that_goes_away_gets_the_answers_before_the_link_is_closed() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (builder, mut starts, gate) = gated(spoke.consumer(order()));
    let (_consumer, listener, _) = start(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    link.session.go_away("restart".to_owned(), Duration::ZERO);
    link.flush().await;
    gate.add_permits(1);
    assert_eq!(link.answers().await, [answer(listener, 1, 1, Verdict::Ack)]);
    let (said, mut link) = tokio::join!(link.try_said(), hub.accept());
    assert_eq!(said, None);
    link.listening().await;
}

#[tokio::test]
async fn signs_of_life_come_within_the_deadline_that_the_hub_says() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (builder, mut starts, gate) = gated(spoke.consumer(order()));
    let (_consumer, listener, _) = start(builder, &mut link).await;
    link.session.deadline(listener, Duration::from_secs(3));
    link.deliver(listener, 1, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(link.answers().await, [answer(listener, 1, 1, Verdict::Progress)]);
    assert!(began.elapsed() < Duration::from_secs(3), "the deadline is over");
    tokio::time::resume();
    gate.add_permits(1);
    assert_eq!(final_answer(&mut link).await, answer(listener, 1, 1, Verdict::Ack));
}

/// The next answer that is not a sign of life.
async fn final_answer(link: &mut HubLink) -> Answer {
    loop {
        let answers = link.answers().await;
        if let Some(last) = answers.into_iter().find(|answer| answer.verdict != Verdict::Progress) {
            return last;
        }
    }
}

/// Says when it is dropped.
struct Guard(mpsc::Sender<()>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.try_send(()).unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_never_ends_is_failed_dropped_and_makes_room() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let (dropped, mut drops) = mpsc::channel(1);
    let builder = spoke.consumer(order()).concurrency(1).handle_within(Duration::from_secs(60));
    let builder = builder.any(move |delivery: Delivery| {
        let guard = Guard(dropped.clone());
        async move {
            if delivery.event.position == Position(1) {
                std::future::pending::<()>().await;
            }
            std::mem::forget(guard);
            Ok(())
        }
    });
    let (_consumer, listener, _) = start(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    link.deliver(listener, 2, 1).await;
    tokio::time::pause();
    let late = fail("the handler did not end within 60s");
    assert_eq!(final_answer(&mut link).await, answer(listener, 1, 1, late));
    assert_eq!(drops.recv().await, Some(()));
    assert_eq!(final_answer(&mut link).await, answer(listener, 2, 1, Verdict::Ack));
}

#[tokio::test]
async fn what_a_handler_says_after_it_was_given_up_on_is_not_heard() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    let builder = spoke.consumer(order()).handle_within(Duration::from_secs(60));
    let (_consumer, mut stream, listener) = deliveries(builder, &mut link).await;
    link.deliver(listener, 1, 1).await;
    let delivery = stream.next().await.unwrap();
    tokio::time::pause();
    let late = fail("the handler did not end within 60s");
    assert_eq!(final_answer(&mut link).await, answer(listener, 1, 1, late));
    delivery.ack();
    link.deliver(listener, 2, 1).await;
    stream.next().await.unwrap().ack();
    assert_eq!(final_answer(&mut link).await, answer(listener, 2, 1, Verdict::Ack));
}
