//! Renewing the certificate: a second link first, and nobody notices.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eventflow_spoke::{Consumer, Delivery, EventStream, Pid, Position, Refusal, Spoke, Start, Subscription};
use proto::ListenerId;
use proto::certs::Trust as Roots;
use proto::message::{Answer, Expulsion, Reply, Request, Subscribe, Verdict};
use proto::session::FromSpoke;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::fake_hub::{DAY, FakeHub, HubLink, Trust, event, new_event, order, position, subscribe};

const MINUTE: Duration = Duration::from_secs(60);

/// A consumer whose handlers say that they have started and wait to be let go on.
async fn gated(
    spoke: &Spoke,
    link: &mut HubLink,
) -> (Consumer, ListenerId, mpsc::Receiver<u64>, Arc<Semaphore>) {
    let (started, starts) = mpsc::channel(64);
    let gate = Arc::new(Semaphore::new(0));
    let handler_gate = Arc::clone(&gate);
    let builder = spoke.consumer(order()).any(move |delivery: Delivery| {
        let (started, gate) = (started.clone(), Arc::clone(&handler_gate));
        async move {
            started.send(delivery.event.position.0).await?;
            gate.acquire().await?.forget();
            Ok(())
        }
    });
    let (consumer, (listener, _)) = tokio::join!(builder.start(), link.listening());
    (consumer.unwrap(), listener, starts, gate)
}

/// The link that is made while a handler has event 1 of the old one.
async fn renewed_while_handling(
    hub: &FakeHub,
    old: &mut HubLink,
    listener: ListenerId,
    starts: &mut mpsc::Receiver<u64>,
) -> HubLink {
    old.deliver(listener, 1, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    hub.renew(old).await;
    let mut new = hub.accept().await;
    new.listening().await;
    new
}

/// What is said next that is no sign of progress of a handler.
async fn said(link: &mut HubLink) -> FromSpoke {
    loop {
        match link.said().await {
            FromSpoke::Answers(answers) if answers.iter().all(|a| a.verdict == Verdict::Progress) => {}
            said => return said,
        }
    }
}

fn acked(said: &FromSpoke) -> Vec<u64> {
    let FromSpoke::Answers(answers) = said else { panic!("no answers: {said:?}") };
    let ack = |answer: &Answer| (answer.verdict == Verdict::Ack).then_some(answer.position.0).unwrap();
    answers.iter().map(ack).collect()
}

/// Lets a link that retires go, which has nothing more to answer.
async fn let_go(link: &mut HubLink) {
    loop {
        match link.try_said().await {
            Some(FromSpoke::Request { id, body: Request::Leave(_) }) => link.reply(id, Ok(Reply::Left)).await,
            Some(FromSpoke::Enough(listener)) => link.enough(listener).await,
            Some(FromSpoke::Goodbye) => break,
            other => panic!("not the end: {other:?}"),
        }
    }
    assert!(link.try_said().await.is_none());
}

fn identity(hub: &FakeHub) -> PathBuf {
    hub.folder().join("identity/billing/identity.pem")
}

#[tokio::test]
async fn handlers_of_the_old_link_answer_on_it_while_the_new_one_delivers() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let before = std::fs::read(identity(&hub)).unwrap();
    let (_consumer, listener, mut starts, gate) = gated(&spoke, &mut old).await;
    old.deliver(listener, 1, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    hub.renew(&mut old).await;
    let mut new = hub.accept().await;
    assert_ne!(std::fs::read(identity(&hub)).unwrap(), before);
    let (again, request) = new.listening().await;
    assert!(matches!(request, Request::Consume(_)) && again == listener);
    assert_eq!(said(&mut old).await, FromSpoke::Enough(listener));
    old.enough(listener).await;
    new.deliver(listener, 2, 1).await;
    assert_eq!(starts.recv().await, Some(2));
    gate.add_permits(2);
    assert_eq!(acked(&said(&mut old).await), [1]);
    assert_eq!(acked(&said(&mut new).await), [2]);
    let_go(&mut old).await;
    assert_eq!(hub.enrolments(), 1);
    // It can be done again, and again.
    hub.renew(&mut new).await;
    let mut newest = hub.accept().await;
    newest.listening().await;
    let_go(&mut new).await;
    newest.deliver(listener, 3, 1).await;
    gate.add_permits(1);
    assert_eq!(acked(&said(&mut newest).await), [3]);
}

/// A subscription from the beginning.
async fn subscribe_to_all(spoke: &Spoke, link: &mut HubLink) -> (EventStream, ListenerId) {
    subscribe(spoke, link, Subscription::topic(order()).from(Start::Beginning).credit(8)).await
}

#[tokio::test]
async fn a_subscription_has_neither_a_gap_nor_a_repeat() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let (mut stream, listener) = subscribe_to_all(&spoke, &mut old).await;
    old.push(listener, 1).await;
    old.push(listener, 3).await;
    hub.renew(&mut old).await;
    let mut new = hub.accept().await;
    let (_, request) = new.listening().await;
    let Request::Subscribe(Subscribe { start, .. }) = request else { panic!("{request:?}") };
    assert_eq!(start, Start::At(Position(4)));
    old.push(listener, 4).await;
    new.push(listener, 4).await;
    new.push(listener, 5).await;
    for expected in [1, 3, 4, 5] {
        assert_eq!(position(&mut stream).await, expected);
    }
    let_go(&mut old).await;
}

#[tokio::test]
async fn what_was_asked_before_is_answered_by_the_old_link_and_first() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let both = async { tokio::join!(spoke.publish(new_event("a")), spoke.wait(&order(), &pid())) };
    let answering = async {
        let (first, _) = old.append().await;
        assert!(matches!(old.request().await.1, Request::Wait(_)));
        hub.renew(&mut old).await;
        let mut new = hub.accept().await;
        let (waited, wait) = new.request().await;
        assert!(matches!(wait, Request::Wait(_)));
        let later = tokio::join!(spoke.publish(new_event("b")), async {
            old.appended(first, 1).await;
            let (second, ids) = new.append().await;
            assert_eq!(ids, ["b"]);
            new.appended(second, 2).await;
        });
        assert_eq!(later.0.unwrap().position, Position(2));
        new.reply(waited, Ok(Reply::Waited(Some(Arc::new(event(3)))))).await;
        assert_eq!(said(&mut old).await, FromSpoke::Goodbye);
        new
    };
    let ((published, waited), _new) = tokio::join!(both, answering);
    assert_eq!((published.unwrap().position, waited.unwrap().position), (Position(1), Position(3)));
}

fn pid() -> Pid {
    Pid::parse("4711").unwrap()
}

/// Publishes and answers over `link`.
async fn works(spoke: &Spoke, link: &mut HubLink) {
    let answering = async {
        let (id, _) = link.append().await;
        link.appended(id, 1).await;
    };
    tokio::join!(spoke.publish(new_event("a")), answering).0.unwrap();
}

#[tokio::test]
async fn a_new_certificate_that_the_hub_expels_leaves_everything_as_it_was() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let before = std::fs::read(identity(&hub)).unwrap();
    hub.renew(&mut old).await;
    let mut new = hub.greeted().await;
    assert_ne!(std::fs::read(identity(&hub)).unwrap(), before);
    new.session.expelled(Expulsion::Revoked, "revoked".to_owned());
    new.flush().await;
    assert!(new.try_said().await.is_none());
    works(&spoke, &mut old).await;
    // The one that works is put back for the next start.
    while std::fs::read(identity(&hub)).unwrap() != before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hub_that_hangs_up_on_the_new_certificate_or_refuses_to_issue_one_keeps_its_old_link() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    hub.renew(&mut old).await;
    hub.hang_up().await;
    works(&spoke, &mut old).await;
    old.session.renew(Duration::ZERO);
    old.flush().await;
    // The one that was issued gets a second chance.
    hub.hang_up().await;
    works(&spoke, &mut old).await;
    old.session.renew(Duration::ZERO);
    old.flush().await;
    let (id, body) = old.request().await;
    assert!(matches!(body, Request::Renew { .. }));
    old.reply(id, Err(Refusal::Unavailable { reason: "no".to_owned() })).await;
    works(&spoke, &mut old).await;
}

#[tokio::test]
async fn a_new_link_that_breaks_is_made_again_and_the_old_one_still_takes_answers() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let (_consumer, listener, mut starts, gate) = gated(&spoke, &mut old).await;
    let new = renewed_while_handling(&hub, &mut old, listener, &mut starts).await;
    assert_eq!(said(&mut old).await, FromSpoke::Enough(listener));
    old.enough(listener).await;
    drop(new);
    let mut newest = hub.accept().await;
    newest.listening().await;
    gate.add_permits(1);
    assert_eq!(acked(&said(&mut old).await), [1]);
    let_go(&mut old).await;
    works(&spoke, &mut newest).await;
}

#[tokio::test]
async fn an_old_link_that_breaks_gives_its_delivery_to_the_handler_that_runs_already() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let (_consumer, listener, mut starts, gate) = gated(&spoke, &mut old).await;
    let mut new = renewed_while_handling(&hub, &mut old, listener, &mut starts).await;
    drop(old);
    new.deliver(listener, 1, 2).await;
    new.deliver(listener, 2, 1).await;
    assert_eq!(starts.recv().await, Some(2));
    gate.add_permits(2);
    let mut settled = acked(&said(&mut new).await);
    if settled.len() < 2 {
        settled.extend(acked(&said(&mut new).await));
    }
    settled.sort_unstable();
    assert_eq!(settled, [1, 2]);
}

#[tokio::test]
async fn a_consumer_that_stops_meanwhile_leaves_both_links() {
    let hub = FakeHub::start().await;
    let (spoke, mut old) = hub.connect().await;
    let (consumer, listener, mut starts, gate) = gated(&spoke, &mut old).await;
    old.deliver(listener, 1, 1).await;
    assert_eq!(starts.recv().await, Some(1));
    hub.renew(&mut old).await;
    let mut new = hub.accept().await;
    new.listening().await;
    assert_eq!(said(&mut old).await, FromSpoke::Enough(listener));
    old.enough(listener).await;
    gate.add_permits(1);
    let leaving = async {
        assert_eq!(acked(&said(&mut old).await), [1]);
        let_go(&mut old).await;
        let (id, body) = new.request().await;
        assert_eq!(body, Request::Leave(listener));
        new.reply(id, Ok(Reply::Left)).await;
    };
    let (stopped, ()) = tokio::join!(consumer.stop(), leaving);
    stopped.unwrap();
}

#[tokio::test]
async fn a_spoke_that_is_closed_while_it_renews_does_not_wait_for_that() {
    let hub = FakeHub::start().await;
    let (spoke, mut link) = hub.connect().await;
    link.session.renew(Duration::ZERO);
    link.flush().await;
    let (id, body) = link.request().await;
    assert!(matches!(body, Request::Renew { .. }));
    let closing = async {
        link.reply(id, Err(Refusal::Stopping)).await;
        while link.try_said().await.is_some() {}
    };
    tokio::join!(spoke.close(), closing).0.unwrap();
}

#[tokio::test]
async fn what_is_to_be_trusted_is_kept_and_counts_for_the_next_link() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let (before, after) = (Arc::new(Trust::new()), Trust::new());
    let hub = FakeHub::start_in(Arc::clone(&data), &before, Arc::clone(&before)).await;
    let (_spoke, mut link) = hub.connect().await;
    let roots = |all: &[&Trust]| all.iter().map(|trust| trust.root.certificate().to_vec()).collect();
    link.session.trust(Roots { version: 7, roots: roots(&[&before, &after]) });
    link.flush().await;
    assert_eq!(link.said().await, FromSpoke::TrustKept(7));
    link.session.trust(Roots { version: 6, roots: roots(&[&before]) });
    link.flush().await;
    assert_eq!(link.said().await, FromSpoke::TrustKept(7));
    drop((hub, link));
    // This hub shows a certificate of the other root, and knows the spoke by the first one.
    let hub = FakeHub::start_as(data, &after, before).await;
    let _link = hub.accept().await;
    assert_eq!(hub.enrolments(), 0);
}

#[tokio::test]
async fn a_certificate_is_renewed_at_half_of_its_life_by_itself() {
    let hub = FakeHub::start().await;
    let (_spoke, mut link) = hub.connect().await;
    tokio::time::pause();
    let since = Instant::now();
    assert!(matches!(link.request().await.1, Request::Renew { .. }));
    // Paused time runs on while the request is on its way, so only the beginning can be told.
    assert!(since.elapsed() >= DAY / 2 - MINUTE, "{:?}", since.elapsed());
}
