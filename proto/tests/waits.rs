//! Waits go on for long, so they take no place from other requests and hold no goodbye up.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use eventflow_proto::limits::{REQUESTS_IN_FLIGHT_MAX, WAIT_MS_MAX, WAITS_PER_CONNECTION_MAX};
use eventflow_proto::message::{HubMessage, Reply, Request, SpokeMessage, Wait};
use eventflow_proto::session::{FromHub, FromSpoke, HubSession, Violation};
use eventflow_proto::{Domain, NameFilter, Pid, Position, Refusal, RequestId};
use samples::*;

fn wait() -> Request {
    Request::Wait(Wait {
        domain: Domain::parse("order").unwrap(),
        pid: Pid::parse("1").unwrap(),
        names: NameFilter::All,
        after: Position(0),
        within_ms: 10_000,
    })
}

fn ask_waits(hub: &mut HubSession, ids: std::ops::RangeInclusive<u64>) {
    ids.for_each(|id| assert!(ask(hub, id, wait()).unwrap().is_some()));
}

#[test]
fn waits_take_no_place_from_other_requests() {
    let mut hub = open_hub();
    let waits = REQUESTS_IN_FLIGHT_MAX as u64 + 1;
    ask_waits(&mut hub, 1..=waits);
    assert!(hub.may_read() && hub.requests_in_flight() == 0);
    ask(&mut hub, waits + 1, groups()).unwrap();
    assert_eq!(hub.requests_in_flight(), 1);
    hub.reply(RequestId(1), Ok(Reply::Waited(None)));
    assert_eq!(hub.requests_in_flight(), 1);
}

#[test]
fn one_wait_too_many_ends_the_connection_and_an_answered_one_makes_room() {
    let mut hub = open_hub();
    let most = WAITS_PER_CONNECTION_MAX as u64;
    ask_waits(&mut hub, 1..=most);
    hub.reply(RequestId(1), Ok(Reply::Waited(None)));
    ask_waits(&mut hub, most + 1..=most + 1);
    let error = ask(&mut hub, most + 2, wait()).unwrap_err();
    assert!(matches!(error, Violation::Limit { limit: "WAITS_PER_CONNECTION_MAX", .. }), "{error}");
}

#[test]
fn a_wait_for_longer_than_a_day_is_cut_to_a_day() {
    let mut hub = open_hub();
    let Request::Wait(long) = wait() else { panic!("it is one") };
    let long = Request::Wait(Wait { within_ms: u32::MAX, ..long });
    let Some(FromSpoke::Request { body: Request::Wait(cut), .. }) = ask(&mut hub, 1, long).unwrap() else {
        panic!("it was not passed on")
    };
    assert_eq!(cut.within_ms, WAIT_MS_MAX);
}

#[test]
fn goodbye_does_not_wait_for_waits() {
    let mut hub = open_hub();
    ask(&mut hub, 1, wait()).unwrap();
    ask(&mut hub, 2, groups()).unwrap();
    say(&mut hub, &SpokeMessage::Goodbye).unwrap();
    assert!(!hub.is_finished());
    hub.reply(RequestId(2), Ok(Reply::Groups(Vec::new())));
    sent(&mut hub);
    assert!(hub.is_finished());

    let mut spoke = open_spoke();
    spoke.request(wait()).unwrap();
    said(&mut spoke);
    assert_eq!((spoke.in_flight(), spoke.said()), (0, 0));
    spoke.goodbye();
    assert_eq!(said(&mut spoke), [SpokeMessage::Goodbye]);
}

#[test]
fn a_wait_is_asked_again_on_the_next_link_and_of_the_next_hub_until_it_is_answered() {
    let mut spoke = open_spoke();
    let key = spoke.request(wait()).unwrap();
    let asked = said(&mut spoke);
    assert!(matches!(asked[..], [SpokeMessage::Request { body: Request::Wait(_), .. }]), "{asked:?}");
    spoke.disconnected();
    assert_eq!(spoke.in_flight(), 0);
    spoke.connected(START);
    tell(&mut spoke, &HubMessage::Welcome(welcome(1))).unwrap();
    let again = said(&mut spoke);
    let id = |said: &[SpokeMessage]| match said.iter().find(|said| !matches!(said, SpokeMessage::Hello(_))) {
        Some(SpokeMessage::Request { id, body: Request::Wait(_) }) => *id,
        other => panic!("{other:?}"),
    };
    let stopping = HubMessage::Reply { id: id(&again), outcome: Err(Refusal::Stopping) };
    tell(&mut spoke, &stopping).unwrap();
    spoke.disconnected();
    spoke.connected(START);
    tell(&mut spoke, &HubMessage::Welcome(welcome(1))).unwrap();
    let found = Reply::Waited(None);
    let answer = HubMessage::Reply { id: id(&said(&mut spoke)), outcome: Ok(found.clone()) };
    tell(&mut spoke, &answer).unwrap();
    let answered =
        std::iter::from_fn(|| spoke.poll_event()).filter(|event| matches!(event, FromHub::Answered { .. }));
    assert_eq!(answered.collect::<Vec<_>>(), [FromHub::Answered { key, outcome: Ok(found) }]);
}
