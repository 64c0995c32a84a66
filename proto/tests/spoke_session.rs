//! What the spoke's end keeps over reconnects, refuses and says.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use std::time::Duration;

use eventflow_proto::limits::{
    CREDIT_EVENTS_MAX, FRAME_BYTES_BEFORE_WELCOME, FRAME_BYTES_MAX, LISTENERS_PER_CONNECTION_MAX,
    PINGS_WAITING_MAX, REASON_CHARS_MAX, REQUESTS_IN_FLIGHT_MAX,
};
use eventflow_proto::message::{Answer, Appended, HubMessage, Reply, Request, SpokeMessage, Stored, Verdict};
use eventflow_proto::session::{FromHub, Listen, RequestError, SpokeSession, Violation};
use eventflow_proto::{
    Attempt, Data, EventName, ListenerId, NameFilter, Position, Refusal, RequestId, Start, Topic, Version,
};
use samples::*;

const LISTENER: ListenerId = ListenerId(1);

fn groups() -> Request {
    Request::Groups { after: None }
}

fn events(spoke: &mut SpokeSession) -> Vec<FromHub> {
    std::iter::from_fn(|| spoke.poll_event()).collect()
}

fn reply(spoke: &mut SpokeSession, id: RequestId, outcome: Result<Reply, Refusal>) -> Result<(), Violation> {
    tell(spoke, &HubMessage::Reply { id, outcome })
}

/// A spoke with one listener that is open after position 10.
fn listening(listen: Listen) -> SpokeSession {
    let mut spoke = open_spoke();
    spoke.listen(listen).unwrap();
    let id = ids(&said(&mut spoke))[0];
    reply(&mut spoke, id, Ok(Reply::Listening { after: Position(10) })).unwrap();
    events(&mut spoke);
    spoke
}

fn deliver(position: u64) -> HubMessage {
    HubMessage::Deliver { listener: LISTENER, attempt: Attempt(1), event: event(position) }
}

fn push(position: u64) -> HubMessage {
    HubMessage::Push { listener: LISTENER, event: event(position) }
}

/// What the next link says first.
fn said_again(spoke: &mut SpokeSession) -> Vec<SpokeMessage> {
    spoke.disconnected();
    connect(spoke, 1);
    events(spoke);
    said(spoke)
}

#[test]
fn nothing_but_hello_is_said_before_welcome_and_that_must_come_in_time() {
    let mut spoke = SpokeSession::new(spoke());
    spoke.request(groups()).unwrap();
    spoke.listen(consumer(1)).unwrap();
    assert_eq!(said(&mut spoke), []);
    spoke.connected(START);
    assert_eq!(said(&mut spoke), [hello()]);
    let deadline = START + HELLO_WITHIN;
    assert_eq!(spoke.poll_timeout(), Some(deadline));
    let late = Violation::Late { what: "Welcome", within: HELLO_WITHIN };
    assert_eq!(spoke.handle_timeout(deadline), Err(late));
}

#[test]
fn a_hub_must_say_welcome_first_and_once_in_this_version() {
    let mut spoke = SpokeSession::new(spoke());
    spoke.connected(START);
    assert!(matches!(tell(&mut spoke, &HubMessage::Ping(1)), Err(Violation::OutOfTurn { .. })));
    let mut other = welcome(1);
    other.protocol = 2;
    assert!(matches!(tell(&mut spoke, &HubMessage::Welcome(other)), Err(Violation::Version { .. })));
    tell(&mut spoke, &HubMessage::Welcome(welcome(1))).unwrap();
    let twice = tell(&mut spoke, &HubMessage::Welcome(welcome(1)));
    assert!(matches!(twice, Err(Violation::OutOfTurn { what: "Welcome", .. })));
}

#[test]
fn frames_are_small_before_welcome_and_large_after() {
    let mut spoke = SpokeSession::new(spoke());
    spoke.connected(START);
    assert_eq!(spoke.frame_bytes_max(), FRAME_BYTES_BEFORE_WELCOME);
    let large = vec![0; FRAME_BYTES_BEFORE_WELCOME + 1];
    assert!(matches!(spoke.handle_frame(&large, START), Err(Violation::FrameTooLarge { .. })));
    tell(&mut spoke, &HubMessage::Welcome(welcome(1))).unwrap();
    assert_eq!(spoke.frame_bytes_max(), FRAME_BYTES_MAX);
}

#[test]
fn a_silent_hub_is_pinged_as_it_asked_for_and_then_given_up() {
    let mut spoke = open_spoke();
    spoke.handle_timeout(START + KEEP_ALIVE).unwrap();
    assert_eq!(said(&mut spoke), [SpokeMessage::Ping(1)]);
    let silent = Err(Violation::Silent { silent: 2 * KEEP_ALIVE });
    assert_eq!(spoke.handle_timeout(START + 2 * KEEP_ALIVE), silent);
}

#[test]
fn a_keep_alive_of_nothing_does_not_make_the_spoke_spin() {
    let mut spoke = SpokeSession::new(spoke());
    spoke.connected(START);
    let mut hasty = welcome(1);
    hasty.keep_alive_ms = 0;
    tell(&mut spoke, &HubMessage::Welcome(hasty)).unwrap();
    assert!(spoke.poll_timeout() >= Some(START + Duration::from_millis(10)));
}

#[test]
fn what_is_not_answered_is_asked_again_in_the_old_order_after_the_listeners() {
    let mut spoke = open_spoke();
    let appends: Vec<_> = ["a", "b", "c"].map(|id| append(vec![new_event(id)])).into();
    for append in &appends {
        spoke.request(append.clone()).unwrap();
    }
    let asked = ids(&said(&mut spoke));
    let stored = Appended { position: Position(1), version: Version(1), stored: Stored::Now };
    reply(&mut spoke, asked[1], Ok(Reply::Appended(vec![stored]))).unwrap();
    spoke.listen(consumer(4)).unwrap();
    spoke.request(groups()).unwrap();

    let said = said_again(&mut spoke);
    let bodies: Vec<_> = said
        .iter()
        .map(|message| match message {
            SpokeMessage::Request { body, .. } => body.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, [consume(1, 4), appends[0].clone(), appends[2].clone(), groups()]);
    assert!(ids(&said).is_sorted_by(|one, next| one < next));
    assert_eq!(spoke.in_flight(), 3);
}

#[test]
fn a_reply_to_nothing_or_of_another_kind_is_a_violation() {
    let mut spoke = open_spoke();
    spoke.request(groups()).unwrap();
    spoke.request(append(vec![new_event("a")])).unwrap();
    let asked = ids(&said(&mut spoke));
    let unknown = RequestId(99);
    let outcome = reply(&mut spoke, unknown, Ok(Reply::Left));
    assert_eq!(outcome, Err(Violation::UnexpectedReply { id: unknown }));
    let outcome = reply(&mut spoke, asked[0], Ok(Reply::Left));
    assert_eq!(outcome, Err(Violation::WrongReply { id: asked[0] }));
    let outcome = reply(&mut spoke, asked[1], Ok(Reply::Appended(Vec::new())));
    assert_eq!(outcome, Err(Violation::WrongReply { id: asked[1] }));
}

#[test]
fn a_request_with_a_reply_of_another_kind_is_asked_again_on_the_next_link() {
    let mut spoke = open_spoke();
    spoke.request(groups()).unwrap();
    let asked = ids(&said(&mut spoke))[0];
    assert!(reply(&mut spoke, asked, Ok(Reply::Left)).is_err());
    assert_eq!(said_again(&mut spoke).len(), 1);
}

#[test]
fn a_reply_of_an_earlier_link_is_a_violation() {
    let mut spoke = open_spoke();
    spoke.request(groups()).unwrap();
    let asked = ids(&said(&mut spoke))[0];
    said_again(&mut spoke);
    let outcome = reply(&mut spoke, asked, Ok(Reply::Groups(Vec::new())));
    assert_eq!(outcome, Err(Violation::UnexpectedReply { id: asked }));
}

#[test]
fn a_forgotten_request_is_neither_answered_nor_asked_again() {
    let mut spoke = open_spoke();
    let (asked, waiting) = (spoke.request(groups()).unwrap(), spoke.request(groups()).unwrap());
    let id = ids(&said(&mut spoke))[0];
    spoke.forget(asked);
    reply(&mut spoke, id, Ok(Reply::Groups(Vec::new()))).unwrap();
    spoke.forget(waiting);
    assert_eq!(said_again(&mut spoke), []);
    assert_eq!((events(&mut spoke), spoke.in_flight()), (vec![], 0));
}

#[test]
fn a_request_that_cannot_be_said_is_the_callers_error_and_the_link_lives() {
    let mut spoke = open_spoke();
    let mut large = new_event("a");
    large.data = Data::from_stored("x".repeat(700 * 1024));
    let outcome = spoke.request(append(vec![large.clone(), large.clone()]));
    assert!(matches!(outcome, Err(RequestError::TooLarge { max: FRAME_BYTES_MAX, .. })));
    assert!(matches!(spoke.request(append(Vec::new())), Err(RequestError::OutOfBounds(_))));
    assert_eq!(spoke.request(Request::Leave(LISTENER)), Err(RequestError::NotARequest));
    spoke.request(append(vec![large])).unwrap();
    assert_eq!(said(&mut spoke).len(), 1);
}

#[test]
fn the_largest_append_that_is_taken_is_one_that_the_hub_can_read() {
    let mut first = new_event("a");
    first.data = Data::from_stored("x".repeat(1 << 20));
    let eid = |number: usize| eventflow_proto::Eid::parse(&format!("{number:0128}")).unwrap();
    first.eids = (0..64).map(eid).collect();
    let mut events = vec![first];
    events.extend((1..1_000).map(|number| new_event(&format!("{number:064}"))));
    let mut spoke = open_spoke();
    spoke.request(append(events)).unwrap();
    let mut frame = Vec::new();
    assert!(spoke.poll_frame(&mut frame));
    assert!(open_hub().handle_frame(&frame, START).is_ok());
}

#[test]
fn no_more_is_asked_at_once_than_the_hub_takes() {
    let mut spoke = open_spoke();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX + 5 {
        spoke.request(groups()).unwrap();
    }
    let asked = ids(&said(&mut spoke));
    assert_eq!(asked.len(), REQUESTS_IN_FLIGHT_MAX);
    reply(&mut spoke, asked[0], Ok(Reply::Groups(Vec::new()))).unwrap();
    assert_eq!(said(&mut spoke).len(), 1);
}

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
fn what_a_stopping_hub_refuses_is_asked_of_the_next_one() {
    let mut spoke = listening(subscription(Start::Now, 8));
    let keys: Vec<_> = (0..3).map(|_| spoke.request(groups()).unwrap()).collect();
    let asked = ids(&said(&mut spoke));
    for id in [asked[2], asked[0]] {
        reply(&mut spoke, id, Err(Refusal::Stopping)).unwrap();
    }
    tell(&mut spoke, &HubMessage::Dropped { listener: LISTENER, refusal: Refusal::Stopping }).unwrap();
    assert!(!spoke.is_open());
    assert_eq!((said(&mut spoke), events(&mut spoke)), (vec![], vec![]));
    reply(&mut spoke, asked[1], Ok(Reply::Groups(Vec::new()))).unwrap();
    assert!(matches!(events(&mut spoke)[..], [FromHub::Answered { key, .. }] if key == keys[1]));
    let again = said_again(&mut spoke);
    assert_eq!((again.len(), spoke.said()), (3, 2));
    reply(&mut spoke, ids(&again)[1], Ok(Reply::Groups(Vec::new()))).unwrap();
    assert!(matches!(events(&mut spoke)[..], [FromHub::Answered { key, .. }] if key == keys[0]));
}

#[test]
fn a_hub_that_goes_away_gets_answers_but_no_new_requests() {
    let mut spoke = listening(consumer(2));
    tell(&mut spoke, &deliver(11)).unwrap();
    events(&mut spoke);
    tell(&mut spoke, &HubMessage::GoAway { reason: "update".into(), retry_after_ms: 250 }).unwrap();
    let retry_after = Duration::from_millis(250);
    assert_eq!(events(&mut spoke), [FromHub::GoAway { reason: "update".into(), retry_after }]);
    spoke.request(groups()).unwrap();
    spoke.answer(1, ack(1, 11));
    assert_eq!(said(&mut spoke), [SpokeMessage::Answers(vec![ack(1, 11)])]);
    assert_eq!(said_again(&mut spoke).len(), 2);
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
fn a_flood_of_pings_ends_the_connection() {
    let mut spoke = open_spoke();
    for _ in 0..PINGS_WAITING_MAX {
        tell(&mut spoke, &HubMessage::Ping(1)).unwrap();
    }
    assert!(matches!(tell(&mut spoke, &HubMessage::Ping(1)), Err(Violation::Limit { .. })));
    assert_eq!(said(&mut spoke).len(), PINGS_WAITING_MAX);
}

#[test]
fn goodbye_is_the_last_word_and_waits_for_all_answers() {
    let mut spoke = open_spoke();
    spoke.request(groups()).unwrap();
    spoke.goodbye();
    let asked = said(&mut spoke);
    assert_eq!(asked.len(), 1);
    reply(&mut spoke, ids(&asked)[0], Ok(Reply::Groups(Vec::new()))).unwrap();
    assert_eq!(said(&mut spoke), [SpokeMessage::Goodbye]);
    spoke.request(groups()).unwrap();
    assert_eq!(said(&mut spoke), []);
}
