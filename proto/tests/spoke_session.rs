//! What the spoke's end keeps over reconnects, refuses and says.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use std::time::Duration;

use eventflow_proto::limits::{
    FRAME_BYTES_BEFORE_WELCOME, FRAME_BYTES_MAX, PINGS_WAITING_MAX, REQUESTS_IN_FLIGHT_MAX,
};
use eventflow_proto::message::{Appended, HubMessage, Reply, Request, SpokeMessage, Stored};
use eventflow_proto::session::{FromHub, RequestError, SpokeSession, Violation};
use eventflow_proto::{Data, Position, Refusal, RequestId, Start, Version};
use samples::*;

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
fn what_a_stopping_hub_refuses_is_asked_of_the_next_one() {
    let mut spoke = listening(subscription(Start::Now, 8));
    let keys: Vec<_> = (0..3).map(|_| spoke.request(groups()).unwrap()).collect();
    let asked = ids(&said(&mut spoke));
    for id in [asked[2], asked[0]] {
        reply(&mut spoke, id, Err(Refusal::Stopping)).unwrap();
    }
    tell(&mut spoke, &HubMessage::Dropped { listener: LISTENER, refusal: Refusal::Stopping }).unwrap();
    assert!(!spoke.is_open());
    assert_eq!(said(&mut spoke), []);
    assert!(matches!(events(&mut spoke)[..], [FromHub::GoAway { .. }]), "its driver connects anew");
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
