//! A spoke's consumers and subscriptions: credit, places, answers, and how they end.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use eventflow_proto::limits::{CREDIT_EVENTS_MAX, LISTENERS_PER_CONNECTION_MAX, REASON_CHARS_MAX};
use eventflow_proto::message::{Answer, HubMessage, Reply, Request, SpokeMessage, Verdict};
use eventflow_proto::session::{FromHub, Listen, RequestError, SpokeSession, Violation};
use eventflow_proto::{
    Attempt, EventName, ListenerId, NameFilter, Position, Refusal, RequestId, Start, Topic,
};
use samples::*;

#[test]
fn a_subscription_goes_on_after_the_last_event_and_with_the_credit_that_is_left() {
    let mut spoke = listening(subscription(Start::Now, 8));
    for position in [11, 13, 14] {
        tell(&mut spoke, &push(position)).unwrap();
    }
    spoke.credit(LISTENER, 1);
    assert_eq!(said(&mut spoke), []);
    let again = SpokeMessage::Request { id: RequestId(2), body: subscribe(1, Start::At(Position(15)), 6) };
    assert_eq!(said_again(&mut spoke), [again]);
    let position = Position(20);
    tell(&mut spoke, &HubMessage::CaughtUp { listener: LISTENER, position }).unwrap();
    let again = SpokeMessage::Request { id: RequestId(3), body: subscribe(1, Start::At(Position(21)), 6) };
    assert_eq!(said_again(&mut spoke), [again]);
}

#[test]
fn a_subscription_that_was_never_opened_starts_as_it_was_meant() {
    let mut spoke = open_spoke();
    spoke.listen(subscription(Start::Now, 8)).unwrap();
    said(&mut spoke);
    let again = SpokeMessage::Request { id: RequestId(2), body: subscribe(1, Start::Now, 8) };
    assert_eq!(said_again(&mut spoke), [again]);
}

#[test]
fn a_subscription_that_goes_backwards_is_a_violation() {
    for position in [10, 5] {
        let mut spoke = listening(subscription(Start::Now, 8));
        let backwards = Violation::PushedBackwards {
            listener: LISTENER,
            position: Position(position),
            last: Position(10),
        };
        assert_eq!(tell(&mut spoke, &push(position)), Err(backwards));
    }
}

#[test]
fn another_log_closes_the_subscriptions_and_keeps_the_consumers() {
    let mut spoke = listening(subscription(Start::Now, 8));
    let consumer = spoke.listen(consumer(8)).unwrap();
    said(&mut spoke);
    spoke.disconnected();
    connect(&mut spoke, 2);
    let closed = events(&mut spoke);
    assert!(
        matches!(&closed[..], [FromHub::Welcome { link: 2, .. }, FromHub::ListenerClosed { listener: LISTENER, refusal: Some(Refusal::Invalid { reason }) }] if reason.contains("position 10")),
        "{closed:?}"
    );
    assert!(matches!(
        &said(&mut spoke)[..],
        [SpokeMessage::Request { body: Request::Consume(consume), .. }] if consume.listener == consumer
    ));
}

#[test]
fn more_deliveries_than_credit_are_a_violation_and_answers_give_it_back() {
    let mut spoke = listening(consumer(2));
    tell(&mut spoke, &deliver(11)).unwrap();
    tell(&mut spoke, &deliver(12)).unwrap();
    assert!(spoke.answer(1, Answer { verdict: Verdict::Progress, ..ack(1, 11) }));
    let exceeded = Violation::CreditExceeded { listener: LISTENER, credit: 2 };
    assert_eq!(tell(&mut spoke, &deliver(13)), Err(exceeded));
    assert!(spoke.answer(1, ack(1, 11)));
    assert_eq!(tell(&mut spoke, &deliver(13)), Ok(()));
    assert_eq!(spoke.unanswered_deliveries(), 2);
}

#[test]
fn more_pushes_than_credit_are_a_violation_and_room_is_given_back_in_strides() {
    let mut spoke = listening(subscription(Start::Now, 8));
    for position in 11..19 {
        tell(&mut spoke, &push(position)).unwrap();
    }
    spoke.credit(LISTENER, 1);
    assert_eq!(said(&mut spoke), []);
    let exceeded = Violation::CreditExceeded { listener: LISTENER, credit: 8 };
    assert_eq!(tell(&mut spoke, &push(19)), Err(exceeded));
    spoke.credit(LISTENER, 3);
    assert_eq!(said(&mut spoke), [SpokeMessage::Credit { listener: LISTENER, events: 4 }]);
    assert_eq!(tell(&mut spoke, &push(19)), Ok(()));
}

#[test]
fn no_more_room_is_given_back_than_was_taken() {
    let mut spoke = listening(subscription(Start::Now, 4));
    spoke.credit(LISTENER, u32::MAX);
    assert_eq!(said(&mut spoke), []);
    tell(&mut spoke, &push(11)).unwrap();
    spoke.credit(LISTENER, u32::MAX);
    assert_eq!(said(&mut spoke), [SpokeMessage::Credit { listener: LISTENER, events: 1 }]);
}

#[test]
fn a_wish_for_credit_is_cut_to_its_limits() {
    for (wish, said_credit) in [(0, 1), (u32::MAX, CREDIT_EVENTS_MAX)] {
        let mut spoke = open_spoke();
        spoke.listen(consumer(wish)).unwrap();
        let asked = SpokeMessage::Request { id: RequestId(1), body: consume(1, said_credit) };
        assert_eq!(said(&mut spoke), [asked]);
    }
}

#[test]
fn answers_to_deliveries_of_an_earlier_link_are_dropped() {
    let mut spoke = listening(consumer(2));
    tell(&mut spoke, &deliver(11)).unwrap();
    tell(&mut spoke, &deliver(12)).unwrap();
    spoke.answer(1, ack(1, 11));
    assert!(matches!(
        events(&mut spoke)[..],
        [FromHub::Delivered { link: 1, .. }, FromHub::Delivered { .. }]
    ));
    assert!(matches!(said_again(&mut spoke)[..], [SpokeMessage::Request { .. }]));
    assert!(!spoke.answer(1, ack(1, 12)));
    assert_eq!(said(&mut spoke), []);
    tell(&mut spoke, &deliver(11)).unwrap();
    tell(&mut spoke, &deliver(12)).unwrap();
}

#[test]
fn answers_are_gathered_and_cut_and_split_where_a_frame_ends() {
    let mut spoke = listening(consumer(4_096));
    let verdict = Verdict::Park { reason: "ö".repeat(REASON_CHARS_MAX + 1) };
    for position in 11..1_011 {
        tell(&mut spoke, &deliver(position)).unwrap();
        spoke.answer(1, Answer { verdict: verdict.clone(), ..ack(1, position) });
    }
    let positions: Vec<_> = said(&mut spoke)
        .into_iter()
        .flat_map(|message| match message {
            SpokeMessage::Answers(answers) => answers,
            other => panic!("{other:?}"),
        })
        .map(|answer| answer.position.0)
        .collect();
    assert_eq!(positions, (11..1_011).collect::<Vec<_>>());
}

#[test]
fn leaving_is_said_after_the_answers_and_ends_once() {
    let mut spoke = listening(consumer(2));
    tell(&mut spoke, &deliver(11)).unwrap();
    events(&mut spoke);
    spoke.answer(1, ack(1, 11));
    spoke.leave(LISTENER);
    spoke.leave(LISTENER);
    let leave = SpokeMessage::Request { id: RequestId(2), body: Request::Leave(LISTENER) };
    assert_eq!(said(&mut spoke), [SpokeMessage::Answers(vec![ack(1, 11)]), leave]);
    tell(&mut spoke, &deliver(12)).unwrap();
    assert!(!spoke.answer(1, ack(1, 12)));
    tell(&mut spoke, &HubMessage::Dropped { listener: LISTENER, refusal: Refusal::Stopping }).unwrap();
    reply(&mut spoke, RequestId(2), Ok(Reply::Left)).unwrap();
    assert_eq!(events(&mut spoke), [FromHub::ListenerClosed { listener: LISTENER, refusal: None }]);
}

#[test]
fn a_listener_that_left_while_it_was_opened_does_not_end_the_link() {
    let mut spoke = open_spoke();
    let listener = spoke.listen(consumer(1)).unwrap();
    said(&mut spoke);
    spoke.leave(listener);
    said(&mut spoke);
    events(&mut spoke);
    reply(&mut spoke, RequestId(1), Err(Refusal::Stopping)).unwrap();
    reply(&mut spoke, RequestId(2), Ok(Reply::Left)).unwrap();
    assert_eq!(events(&mut spoke), [FromHub::ListenerClosed { listener, refusal: None }]);
    assert!(spoke.is_open());
}

#[test]
fn a_listener_that_is_leaving_is_closed_with_the_link() {
    let mut spoke = listening(consumer(2));
    spoke.leave(LISTENER);
    said(&mut spoke);
    spoke.disconnected();
    assert_eq!(events(&mut spoke), [FromHub::ListenerClosed { listener: LISTENER, refusal: None }]);
    assert_eq!(said_again(&mut spoke), []);
}

#[test]
fn a_listener_that_was_never_said_is_closed_at_once() {
    let mut spoke = SpokeSession::new(spoke());
    let listener = spoke.listen(consumer(1)).unwrap();
    spoke.leave(listener);
    assert_eq!(events(&mut spoke), [FromHub::ListenerClosed { listener, refusal: None }]);
    connect(&mut spoke, 1);
    assert_eq!(said(&mut spoke), []);
}

#[test]
fn a_refused_or_dropped_listener_is_reported_once_and_not_said_again() {
    let refusal = Refusal::Denied { reason: "no".into() };
    let mut refused = open_spoke();
    refused.listen(consumer(1)).unwrap();
    said(&mut refused);
    events(&mut refused);
    reply(&mut refused, RequestId(1), Err(refusal.clone())).unwrap();
    let mut dropped = listening(consumer(1));
    tell(&mut dropped, &HubMessage::Dropped { listener: LISTENER, refusal: refusal.clone() }).unwrap();
    for mut spoke in [refused, dropped] {
        let closed = FromHub::ListenerClosed { listener: LISTENER, refusal: Some(refusal.clone()) };
        assert_eq!(events(&mut spoke), [closed]);
        assert_eq!(said_again(&mut spoke), []);
    }
}

#[test]
fn only_listeners_that_exist_can_be_told_and_only_of_their_kind() {
    let unknown = ListenerId(2);
    let position = Position(1);
    let wrong = [
        HubMessage::Deliver { listener: unknown, attempt: Attempt(1), event: event(1) },
        HubMessage::Push { listener: LISTENER, event: event(11) },
        HubMessage::Lagged { listener: LISTENER, behind: 1 },
        HubMessage::CaughtUp { listener: LISTENER, position },
        HubMessage::Dropped { listener: unknown, refusal: Refusal::Stopping },
    ];
    for message in wrong {
        let outcome = tell(&mut listening(consumer(1)), &message);
        assert!(matches!(outcome, Err(Violation::WrongListener { .. })), "{message:?}");
    }
    let outcome = tell(&mut listening(subscription(Start::Now, 1)), &deliver(11));
    assert!(matches!(outcome, Err(Violation::WrongListener { .. })));
}

#[test]
fn listeners_are_bounded_and_checked_before_they_are_said() {
    let mut spoke = open_spoke();
    let names = NameFilter::Only(vec![EventName::parse("b").unwrap(), EventName::parse("a").unwrap()]);
    let Listen::Subscribe { scope, start, credit, .. } = subscription(Start::Now, 1) else { unreachable!() };
    let unsorted = Some(Topic { domain: domain(), names });
    let outcome = spoke.listen(Listen::Subscribe { topic: unsorted, scope, start, credit });
    assert_eq!(outcome, Err(RequestError::OutOfBounds(Violation::UnsortedNames)));
    for _ in 0..LISTENERS_PER_CONNECTION_MAX {
        spoke.listen(consumer(1)).unwrap();
    }
    assert!(matches!(spoke.listen(consumer(1)), Err(RequestError::TooManyListeners { .. })));
}

#[test]
fn credit_is_said_only_when_the_hub_has_opened_the_listener_and_then_all_of_it() {
    let mut spoke = listening(subscription(Start::Now, 1));
    tell(&mut spoke, &push(11)).unwrap();
    let again = said_again(&mut spoke);
    assert_eq!(
        again,
        [SpokeMessage::Request { id: RequestId(2), body: subscribe(1, Start::At(Position(12)), 0) }]
    );
    spoke.credit(LISTENER, 1);
    assert_eq!(said(&mut spoke), []);
    reply(&mut spoke, RequestId(2), Ok(Reply::Listening { after: Position(11) })).unwrap();
    assert_eq!(said(&mut spoke), [SpokeMessage::Credit { listener: LISTENER, events: 1 }]);
}
