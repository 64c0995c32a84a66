//! One link takes the place of another: nothing is lost, nothing comes twice, the order holds.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use eventflow_proto::chain::{Chain, Chained};
use eventflow_proto::limits::RETIRING_LINKS_MAX;
use eventflow_proto::message::{
    Answer, Appended, Expulsion, HubMessage, Reply, Request, SpokeMessage, Stored, Verdict, Wait,
};
use eventflow_proto::session::{FromHub, SpokeSession, Violation};
use eventflow_proto::{Attempt, ListenerId, NameFilter, Pid, Position, Refusal, RequestId, Start, Version};
use samples::*;

/// Goes over to a further link and gives what it meant.
fn hand_over(spoke: &mut SpokeSession) -> Vec<FromHub> {
    let mut next = spoke.successor(START);
    assert_eq!(said(&mut next), [hello()]);
    tell(&mut next, &HubMessage::Welcome(welcome(1))).unwrap();
    assert!(spoke.hand_over(next));
    events(spoke)
}

fn old_said(spoke: &mut SpokeSession, link: u64) -> Vec<SpokeMessage> {
    let (mut messages, mut buffer) = (Vec::new(), Vec::new());
    while spoke.poll_retiring_frame(link, &mut buffer) {
        messages.push(eventflow_proto::wire::decode(&buffer).unwrap());
        buffer.clear();
    }
    messages
}

fn old_tell(spoke: &mut SpokeSession, link: u64, message: &HubMessage) -> Result<(), Violation> {
    spoke.handle_retiring_frame(link, &bytes(message), START)
}

fn old_reply(spoke: &mut SpokeSession, id: u64, reply: Reply) {
    old_tell(spoke, 1, &HubMessage::Reply { id: RequestId(id), outcome: Ok(reply) }).unwrap();
}

fn request(id: u64, body: Request) -> SpokeMessage {
    SpokeMessage::Request { id: RequestId(id), body }
}

fn leave(id: u64) -> SpokeMessage {
    request(id, Request::Leave(LISTENER))
}

#[test]
fn what_the_old_link_delivered_is_answered_on_it_and_then_it_says_goodbye() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    tell(&mut spoke, &deliver(12)).unwrap();
    events(&mut spoke);
    assert!(matches!(hand_over(&mut spoke)[..], [FromHub::Welcome { link: 2, .. }]));
    assert_eq!(said(&mut spoke), [request(2, consume(1, 8))]);
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Enough(LISTENER)]);
    old_tell(&mut spoke, 1, &HubMessage::Enough(LISTENER)).unwrap();
    assert!(spoke.answer(1, ack(1, 11)));
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Answers(vec![ack(1, 11)])]);
    assert!(spoke.answer(1, ack(1, 12)));
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Answers(vec![ack(1, 12)]), leave(2)]);
    assert!(!spoke.is_retired(1));
    old_reply(&mut spoke, 2, Reply::Left);
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Goodbye]);
    assert!(spoke.is_retired(1));
    spoke.retired(1);
    assert_eq!((events(&mut spoke), said(&mut spoke)), (vec![], vec![]));
}

#[test]
fn a_consumer_leaves_the_old_link_only_when_the_hub_has_said_that_nothing_more_comes() {
    let mut spoke = listening(consumer(8));
    hand_over(&mut spoke);
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Enough(LISTENER)]);
    // It was on its way when the hub heard of it.
    old_tell(&mut spoke, 1, &deliver(11)).unwrap();
    assert!(matches!(events(&mut spoke)[..], [FromHub::Delivered { link: 1, .. }]));
    assert!(spoke.answer(1, ack(1, 11)));
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Answers(vec![ack(1, 11)])]);
    old_tell(&mut spoke, 1, &HubMessage::Enough(LISTENER)).unwrap();
    assert_eq!(old_said(&mut spoke, 1), [leave(2)]);
}

#[test]
fn both_links_deliver_and_each_gets_its_own_answers() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    hand_over(&mut spoke);
    said(&mut spoke);
    old_said(&mut spoke, 1);
    // It was on its way when the hub was told that it is enough.
    old_tell(&mut spoke, 1, &deliver(12)).unwrap();
    tell(&mut spoke, &deliver(13)).unwrap();
    let links: Vec<_> = events(&mut spoke)
        .into_iter()
        .map(|event| match event {
            FromHub::Delivered { link, event, .. } => (link, event.position.0),
            other => panic!("not a delivery: {other:?}"),
        })
        .collect();
    assert_eq!(links, [(1, 12), (2, 13)]);
    assert!(spoke.answer(2, ack(1, 13)) && spoke.answer(1, ack(1, 12)) && !spoke.answer(3, ack(1, 13)));
    assert_eq!(said(&mut spoke), [SpokeMessage::Answers(vec![ack(1, 13)])]);
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Answers(vec![ack(1, 12)])]);
}

#[test]
fn a_subscription_goes_on_after_what_it_was_told_and_what_still_comes_is_not_told_twice() {
    let mut spoke = listening(subscription(Start::Now, 8));
    tell(&mut spoke, &push(11)).unwrap();
    tell(&mut spoke, &push(14)).unwrap();
    events(&mut spoke);
    hand_over(&mut spoke);
    assert_eq!(said(&mut spoke), [request(2, subscribe(1, Start::At(Position(15)), 6))]);
    assert_eq!(old_said(&mut spoke, 1), [leave(2)]);
    old_tell(&mut spoke, 1, &push(15)).unwrap();
    tell(&mut spoke, &push(15)).unwrap();
    assert!(matches!(&events(&mut spoke)[..], [FromHub::Pushed { event, .. }] if event.position.0 == 15));
}

#[test]
fn what_is_asked_after_the_hand_over_waits_for_the_answers_to_what_was_asked_before() {
    let mut spoke = open_spoke();
    let before = spoke.request(append(vec![new_event("a")])).unwrap();
    assert_eq!(ids(&said(&mut spoke)), [RequestId(1)]);
    hand_over(&mut spoke);
    spoke.request(append(vec![new_event("b")])).unwrap();
    assert_eq!((said(&mut spoke), spoke.in_flight()), (vec![], 2));
    old_reply(&mut spoke, 1, Reply::Appended(vec![appended(1)]));
    assert!(matches!(events(&mut spoke)[..], [FromHub::Answered { key, .. }] if key == before));
    assert_eq!(said(&mut spoke), [request(2, append(vec![new_event("b")]))]);
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Goodbye]);
}

#[test]
fn what_an_old_link_that_breaks_has_not_answered_is_asked_first_on_the_new_one() {
    let mut spoke = open_spoke();
    spoke.request(append(vec![new_event("a")])).unwrap();
    said(&mut spoke);
    hand_over(&mut spoke);
    spoke.request(append(vec![new_event("b")])).unwrap();
    spoke.retired(1);
    let [a, b] = [append(vec![new_event("a")]), append(vec![new_event("b")])];
    assert_eq!(said(&mut spoke), [request(2, a), request(3, b)]);
}

#[test]
fn what_a_stopping_hub_does_not_answer_on_the_old_link_is_asked_on_the_new_one() {
    let mut spoke = open_spoke();
    spoke.request(groups()).unwrap();
    said(&mut spoke);
    hand_over(&mut spoke);
    let outcome = Err(Refusal::Stopping);
    old_tell(&mut spoke, 1, &HubMessage::Reply { id: RequestId(1), outcome }).unwrap();
    assert_eq!((events(&mut spoke), said(&mut spoke)), (vec![], vec![request(2, groups())]));
}

#[test]
fn waits_are_asked_again_at_once_and_answered_once() {
    let wait = Request::Wait(Wait {
        domain: domain(),
        pid: Pid::parse("1").unwrap(),
        names: NameFilter::All,
        after: Position(0),
        within_ms: 10_000,
    });
    let mut spoke = open_spoke();
    let key = spoke.request(wait.clone()).unwrap();
    spoke.request(groups()).unwrap();
    said(&mut spoke);
    hand_over(&mut spoke);
    assert_eq!((said(&mut spoke), spoke.waits()), (vec![request(3, wait)], 1));
    old_reply(&mut spoke, 1, Reply::Waited(Some(event(3))));
    assert_eq!(events(&mut spoke), []);
    reply(&mut spoke, RequestId(3), Ok(Reply::Waited(Some(event(3))))).unwrap();
    assert!(matches!(events(&mut spoke)[..], [FromHub::Answered { key: of, .. }] if of == key));
    old_reply(&mut spoke, 2, Reply::Groups(Vec::new()));
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Goodbye]);
}

#[test]
fn an_ack_with_effects_goes_over_the_link_of_its_delivery_with_a_key_of_its_own() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    hand_over(&mut spoke);
    said(&mut spoke);
    old_said(&mut spoke, 1);
    old_tell(&mut spoke, 1, &HubMessage::Enough(LISTENER)).unwrap();
    let chain = chain(11);
    let key = spoke.chain(1, Box::new(chain.clone())).unwrap().unwrap();
    assert_ne!(spoke.request(groups()).unwrap(), key);
    let chain = request(2, Request::Chain(Box::new(chain)));
    assert_eq!(old_said(&mut spoke, 1), [chain, leave(3)]);
    old_reply(&mut spoke, 2, Reply::Chained(Chained::Committed(Vec::new())));
    assert!(matches!(events(&mut spoke)[..], [FromHub::Answered { key: of, .. }] if of == key));
}

#[test]
fn an_old_link_that_breaks_loses_its_deliveries_and_its_chains() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    tell(&mut spoke, &deliver(12)).unwrap();
    hand_over(&mut spoke);
    let key = spoke.chain(1, Box::new(chain(11))).unwrap().unwrap();
    old_said(&mut spoke, 1);
    spoke.retired(1);
    assert_eq!(events(&mut spoke), [FromHub::Lost { key }]);
    assert!(!spoke.answer(1, ack(1, 12)) && !spoke.is_alive(1) && spoke.is_alive(2));
}

#[test]
fn a_new_link_that_breaks_leaves_the_old_one_to_its_handlers() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    hand_over(&mut spoke);
    old_said(&mut spoke, 1);
    old_tell(&mut spoke, 1, &HubMessage::Enough(LISTENER)).unwrap();
    spoke.disconnected();
    assert!(spoke.is_alive(1) && !spoke.is_alive(2));
    assert!(spoke.answer(1, ack(1, 11)));
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Answers(vec![ack(1, 11)]), leave(2)]);
    connect(&mut spoke, 1);
    assert_eq!(said(&mut spoke), [request(2, consume(1, 8))]);
}

#[test]
fn a_listener_that_is_left_is_closed_when_both_links_have_let_go_of_it() {
    for old_first in [true, false] {
        let mut spoke = listening(consumer(8));
        tell(&mut spoke, &deliver(11)).unwrap();
        hand_over(&mut spoke);
        old_said(&mut spoke, 1);
        events(&mut spoke);
        said(&mut spoke);
        spoke.leave(LISTENER);
        assert_eq!((said(&mut spoke), old_said(&mut spoke, 1)), (vec![leave(3)], vec![leave(2)]));
        let closed = [FromHub::ListenerClosed { listener: LISTENER, refusal: None }];
        if old_first {
            old_reply(&mut spoke, 2, Reply::Left);
            assert_eq!(events(&mut spoke), []);
            reply(&mut spoke, RequestId(3), Ok(Reply::Left)).unwrap();
        } else {
            reply(&mut spoke, RequestId(3), Ok(Reply::Left)).unwrap();
            assert_eq!(events(&mut spoke), []);
            old_reply(&mut spoke, 2, Reply::Left);
        }
        assert_eq!(events(&mut spoke), closed);
    }
}

#[test]
fn a_listener_that_was_leaving_at_the_hand_over_is_closed_by_the_old_link() {
    for broken in [true, false] {
        let mut spoke = listening(consumer(8));
        spoke.leave(LISTENER);
        assert_eq!(said(&mut spoke), [leave(2)]);
        hand_over(&mut spoke);
        assert_eq!((said(&mut spoke), old_said(&mut spoke, 1)), (vec![], vec![]));
        if broken {
            spoke.retired(1);
        } else {
            old_reply(&mut spoke, 2, Reply::Left);
        }
        let closed = [FromHub::ListenerClosed { listener: LISTENER, refusal: None }];
        assert_eq!(events(&mut spoke), closed);
    }
}

#[test]
fn a_listener_that_the_new_link_is_refused_is_over_once_and_leaves_the_old_one() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    hand_over(&mut spoke);
    said(&mut spoke);
    old_said(&mut spoke, 1);
    events(&mut spoke);
    let refusal = Refusal::Denied { reason: "no".to_owned() };
    reply(&mut spoke, RequestId(2), Err(refusal.clone())).unwrap();
    let refusal = Some(refusal);
    assert_eq!(events(&mut spoke), [FromHub::ListenerClosed { listener: LISTENER, refusal }]);
    assert_eq!(old_said(&mut spoke, 1), [leave(2)]);
    old_reply(&mut spoke, 2, Reply::Left);
    assert_eq!(events(&mut spoke), []);
}

#[test]
fn the_hub_hears_the_last_word_of_a_spoke_that_is_closing_on_the_new_link() {
    let mut spoke = open_spoke();
    spoke.request(groups()).unwrap();
    said(&mut spoke);
    spoke.goodbye();
    hand_over(&mut spoke);
    assert_eq!(said(&mut spoke), []);
    old_reply(&mut spoke, 1, Reply::Groups(Vec::new()));
    assert_eq!(said(&mut spoke), [SpokeMessage::Goodbye]);
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Goodbye]);
}

#[test]
fn a_successor_that_is_turned_away_changes_nothing() {
    let mut spoke = listening(consumer(8));
    let mut next = spoke.successor(START);
    said(&mut next);
    tell(&mut next, &HubMessage::Expelled { cause: Expulsion::Unknown, reason: "no".to_owned() }).unwrap();
    assert!(!spoke.hand_over(next));
    assert_eq!((spoke.link(), spoke.retiring().count(), said(&mut spoke)), (1, 0, vec![]));
}

#[test]
fn an_old_link_gives_more_than_it_may_and_is_closed_for_it() {
    let mut spoke = listening(consumer(2));
    tell(&mut spoke, &deliver(11)).unwrap();
    hand_over(&mut spoke);
    old_tell(&mut spoke, 1, &deliver(12)).unwrap();
    let exceeded = Violation::CreditExceeded { listener: LISTENER, credit: 2 };
    assert_eq!(old_tell(&mut spoke, 1, &deliver(13)), Err(exceeded));
    let stranger = HubMessage::Deliver { listener: ListenerId(9), attempt: Attempt(1), event: event(14) };
    assert!(matches!(old_tell(&mut spoke, 1, &stranger), Err(Violation::WrongListener { .. })));
}

#[test]
fn a_silent_old_link_is_given_up_by_itself() {
    let mut spoke = open_spoke();
    hand_over(&mut spoke);
    assert_eq!(spoke.poll_retiring_timeout(1), Some(START + KEEP_ALIVE));
    spoke.handle_retiring_timeout(1, START + KEEP_ALIVE).unwrap();
    assert_eq!(old_said(&mut spoke, 1), [SpokeMessage::Ping(1), SpokeMessage::Goodbye]);
    let silent = spoke.handle_retiring_timeout(1, START + 2 * KEEP_ALIVE);
    assert!(matches!(silent, Err(Violation::Silent { .. })));
}

#[test]
fn the_oldest_of_too_many_links_is_cut() {
    let mut spoke = listening(consumer(8));
    for next in 2..=RETIRING_LINKS_MAX as u64 + 2 {
        tell(&mut spoke, &deliver(10 + next)).unwrap();
        hand_over(&mut spoke);
        let id = ids(&said(&mut spoke))[0];
        reply(&mut spoke, id, Ok(Reply::Listening { after: Position(10) })).unwrap();
    }
    let retiring: Vec<_> = spoke.retiring().collect();
    assert_eq!(retiring, [2, 3, 4, 5]);
}

#[test]
fn a_delivery_that_fails_its_event_lets_the_old_link_go_as_an_ack_does() {
    let mut spoke = listening(consumer(8));
    tell(&mut spoke, &deliver(11)).unwrap();
    hand_over(&mut spoke);
    old_said(&mut spoke, 1);
    old_tell(&mut spoke, 1, &HubMessage::Enough(LISTENER)).unwrap();
    let fail = Verdict::Fail { reason: "no".to_owned(), after_ms: None };
    for (verdict, leaves) in [(Verdict::Progress, 0), (fail, 1)] {
        assert!(spoke.answer(1, Answer { verdict, ..ack(1, 11) }));
        assert_eq!(ids(&old_said(&mut spoke, 1)).len(), leaves);
    }
}

fn appended(position: u64) -> Appended {
    Appended { position: Position(position), version: Version(1), stored: Stored::Now }
}

fn chain(position: u64) -> Chain {
    let (effects, expectations) = (Vec::new(), Vec::new());
    let position = Position(position);
    Chain { listener: LISTENER, position, attempt: Attempt(1), effects, expectations }
}
