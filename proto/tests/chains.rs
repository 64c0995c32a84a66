//! Acks with effects: said once, on the link of their delivery, before the listener ends.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use eventflow_proto::chain::{Chain, Chained, Effect};
use eventflow_proto::limits::EFFECTS_PER_CHAIN_MAX;
use eventflow_proto::message::{Appended, HubMessage, Reply, Request, SpokeMessage, Stored};
use eventflow_proto::session::{FromHub, RequestError, RequestKey, SpokeSession, Violation};
use eventflow_proto::{Attempt, ListenerId, Position, Refusal, RequestId, Version};
use samples::*;

fn chain(listener: ListenerId, effects: usize) -> Box<Chain> {
    let effect = |at: usize| Effect::Publish(new_event(&format!("child-{at}")));
    Box::new(Chain {
        listener,
        position: Position(1),
        attempt: Attempt(1),
        effects: (0..effects).map(effect).collect(),
        expectations: Vec::new(),
    })
}

fn appended() -> Appended {
    Appended { position: Position(9), version: Version(1), stored: Stored::Now }
}

/// A spoke with a consumer that has the event at position 1, all of it said.
fn with_delivery() -> SpokeSession {
    let mut spoke = listening(consumer(1));
    tell(&mut spoke, &deliver(1)).unwrap();
    events(&mut spoke);
    spoke
}

/// Answers the newest delivery of the spoke's listener with `effects` events.
fn answer(spoke: &mut SpokeSession, effects: usize) -> RequestKey {
    spoke.chain(spoke.link(), chain(LISTENER, effects)).unwrap().unwrap()
}

#[test]
fn a_chain_is_answered_once_and_makes_room_for_another_delivery() {
    let mut spoke = with_delivery();
    let key = answer(&mut spoke, 1);
    assert_eq!((spoke.unanswered_deliveries(), spoke.in_flight()), (0, 1));
    let said = said(&mut spoke);
    assert!(is_chain(&said[0]) && said.len() == 1, "{said:?}");
    let committed = Ok(Reply::Chained(Chained::Committed(vec![appended()])));
    reply(&mut spoke, ids(&said)[0], committed.clone()).unwrap();
    assert_eq!(events(&mut spoke), [FromHub::Answered { key, outcome: committed }]);
    tell(&mut spoke, &deliver(2)).unwrap();
    assert_eq!(spoke.unanswered_deliveries(), 1);
}

#[test]
fn a_chain_whose_link_ends_is_never_said_again_and_its_end_is_told() {
    let mut spoke = with_delivery();
    let link = spoke.link();
    let first = answer(&mut spoke, 1);
    said(&mut spoke);
    let second = answer(&mut spoke, 2);
    spoke.disconnected();
    assert_eq!(events(&mut spoke), [FromHub::Lost { key: first }, FromHub::Lost { key: second }]);
    assert!(!said_again(&mut spoke).iter().any(is_chain));
    assert_eq!(spoke.chain(link, chain(LISTENER, 1)), Ok(None), "the delivery is dead");
}

fn is_chain(message: &SpokeMessage) -> bool {
    matches!(message, SpokeMessage::Request { body: Request::Chain(_), .. })
}

#[test]
fn a_hub_that_stops_is_not_asked_again_for_a_chain() {
    let mut spoke = with_delivery();
    let key = answer(&mut spoke, 1);
    let id = ids(&said(&mut spoke))[0];
    reply(&mut spoke, id, Err(Refusal::Stopping)).unwrap();
    let told = events(&mut spoke);
    assert_eq!(told[0], FromHub::Answered { key, outcome: Err(Refusal::Stopping) });
    assert!(matches!(told[1], FromHub::GoAway { .. }) && !spoke.is_open());
    assert_eq!(spoke.in_flight(), 0);
}

#[test]
fn what_a_consumer_has_acknowledged_is_said_before_it_leaves() {
    let mut spoke = with_delivery();
    answer(&mut spoke, 1);
    spoke.leave(LISTENER);
    let said = said(&mut spoke);
    assert!(is_chain(&said[0]), "{said:?}");
    assert!(matches!(said[1], SpokeMessage::Request { body: Request::Leave(_), .. }), "{said:?}");
}

#[test]
fn a_chain_that_is_too_long_is_not_said_and_its_delivery_stays_open() {
    let mut spoke = with_delivery();
    let error = spoke.chain(spoke.link(), chain(LISTENER, EFFECTS_PER_CHAIN_MAX + 1)).unwrap_err();
    assert!(matches!(error, RequestError::OutOfBounds(Violation::Limit { .. })), "{error}");
    assert_eq!(spoke.unanswered_deliveries(), 1);
    assert!(said(&mut spoke).is_empty());
}

#[test]
fn an_answer_with_another_number_of_events_closes_the_link() {
    let mut spoke = with_delivery();
    answer(&mut spoke, 2);
    let id = ids(&said(&mut spoke))[0];
    let error = reply(&mut spoke, id, Ok(Reply::Chained(Chained::Committed(vec![appended()]))));
    assert!(matches!(error, Err(Violation::WrongReply { .. })), "{error:?}");
}

#[test]
fn a_hub_passes_chains_of_open_consumers_on_and_says_stale_of_closed_ones() {
    let mut hub = open_hub();
    ask(&mut hub, 1, consume(1, 4)).unwrap();
    let body = Request::Chain(chain(ListenerId(1), 1));
    assert!(ask(&mut hub, 2, body.clone()).unwrap().is_some());
    hub.dropped(ListenerId(1), Refusal::NotFound { what: "group".into() });
    sent(&mut hub);
    assert_eq!(ask(&mut hub, 3, body), Ok(None));
    assert_eq!(
        sent(&mut hub),
        [HubMessage::Reply { id: RequestId(3), outcome: Ok(Reply::Chained(Chained::Stale)) }]
    );
}

#[test]
fn a_chain_for_what_never_was_a_consumer_ends_the_connection() {
    let mut hub = open_hub();
    let error = ask(&mut hub, 1, Request::Chain(chain(ListenerId(7), 1))).unwrap_err();
    assert!(matches!(error, Violation::WrongListener { .. }), "{error}");
}
