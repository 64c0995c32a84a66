//! What the hub's end takes, refuses and says.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use std::time::Duration;

use eventflow_proto::limits::{
    ANSWERS_PER_MESSAGE_MAX, CREDIT_EVENTS_MAX, EVENTS_PER_APPEND_MAX, FRAME_BYTES_BEFORE_WELCOME,
    FRAME_BYTES_MAX, LISTENERS_PER_CONNECTION_MAX, PAGE_EVENTS_MAX, PINGS_WAITING_MAX, REASON_CHARS_MAX,
    REQUEST_BYTES_IN_FLIGHT_MAX, REQUESTS_IN_FLIGHT_MAX, UNSENT_MESSAGES_MAX,
};
use eventflow_proto::message::{Answer, Hello, HubMessage, Offer, Reply, Request, SpokeMessage, Verdict};
use eventflow_proto::read::{More, Page, Query};
use eventflow_proto::session::{FromSpoke, HubSession, Violation};
use eventflow_proto::{
    Attempt, Cpid, Data, Eid, EventName, ListenerId, NameFilter, Pid, Position, Refusal, RequestId, Start,
};
use samples::*;

/// A hub with an open consumer 1 and an open subscription 2.
fn listened_hub() -> HubSession {
    let mut hub = open_hub();
    ask(&mut hub, 1, consume(1, 8)).unwrap();
    ask(&mut hub, 2, subscribe(2, Start::Now, 8)).unwrap();
    for id in [1, 2] {
        hub.reply(RequestId(id), Ok(Reply::Listening { after: Position(0) }));
    }
    sent(&mut hub);
    hub
}

fn limit_of(outcome: Result<Option<FromSpoke>, Violation>) -> &'static str {
    match outcome {
        Err(Violation::Limit { limit, .. }) => limit,
        other => panic!("no limit was broken: {other:?}"),
    }
}

#[test]
fn a_connection_without_hello_ends_at_its_deadline() {
    let mut hub = HubSession::new(HUB, START);
    let deadline = START + HELLO_WITHIN;
    assert_eq!(hub.poll_timeout(), Some(deadline));
    assert_eq!(hub.handle_timeout(deadline - Duration::from_millis(1)), Ok(()));
    assert_eq!(hub.handle_timeout(deadline), Err(Violation::Late { what: "Hello", within: HELLO_WITHIN }));
}

#[test]
fn hello_comes_first_and_once_and_nothing_comes_before_welcome() {
    let mut hub = HubSession::new(HUB, START);
    assert!(matches!(say(&mut hub, &SpokeMessage::Ping(1)), Err(Violation::OutOfTurn { .. })));
    assert!(say(&mut hub, &hello()).is_ok());
    assert!(matches!(say(&mut hub, &SpokeMessage::Ping(1)), Err(Violation::OutOfTurn { .. })));
    hub.welcome(welcome(1), START);
    assert!(matches!(say(&mut hub, &hello()), Err(Violation::OutOfTurn { what: "Hello", .. })));
}

#[test]
fn a_hello_without_a_common_version_is_refused() {
    for (protocol_min, protocol_max) in [(0, 0), (2, 9), (3, 1)] {
        let hello = SpokeMessage::Hello(Hello { protocol_min, protocol_max, software: String::new() });
        let outcome = say(&mut HubSession::new(HUB, START), &hello);
        assert_eq!(outcome, Err(Violation::Version { min: protocol_min, max: protocol_max, ours: 1 }));
    }
}

#[test]
fn a_long_software_name_is_refused() {
    let hello = Hello { protocol_min: 1, protocol_max: 1, software: "ö".repeat(65) };
    let outcome = say(&mut HubSession::new(HUB, START), &SpokeMessage::Hello(hello));
    assert_eq!(limit_of(outcome), "SOFTWARE_CHARS_MAX");
}

#[test]
fn frames_are_small_before_welcome_and_large_after() {
    let mut hub = HubSession::new(HUB, START);
    let (found, max) = (FRAME_BYTES_BEFORE_WELCOME + 1, FRAME_BYTES_BEFORE_WELCOME);
    assert_eq!(hub.handle_frame(&vec![0; found], START), Err(Violation::FrameTooLarge { found, max }));
    say(&mut hub, &hello()).unwrap();
    assert_eq!(hub.frame_bytes_max(), FRAME_BYTES_BEFORE_WELCOME);
    hub.welcome(welcome(1), START);
    assert_eq!(hub.frame_bytes_max(), FRAME_BYTES_MAX);
    let (found, max) = (FRAME_BYTES_MAX + 1, FRAME_BYTES_MAX);
    assert_eq!(hub.handle_frame(&vec![0; found], START), Err(Violation::FrameTooLarge { found, max }));
}

#[test]
fn a_silent_spoke_is_pinged_and_then_given_up() {
    let mut hub = open_hub();
    assert_eq!(hub.poll_timeout(), Some(START + KEEP_ALIVE));
    hub.handle_timeout(START + KEEP_ALIVE).unwrap();
    assert_eq!(sent(&mut hub), [HubMessage::Ping(1)]);
    let silent = Err(Violation::Silent { silent: 2 * KEEP_ALIVE });
    assert_eq!(hub.handle_timeout(START + 2 * KEEP_ALIVE), silent);
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let mut hub = open_hub();
    hub.handle_timeout(START + KEEP_ALIVE).unwrap();
    let now = START + KEEP_ALIVE + KEEP_ALIVE / 2;
    hub.handle_frame(&bytes(&SpokeMessage::Pong(1)), now).unwrap();
    assert_eq!(hub.poll_timeout(), Some(now + KEEP_ALIVE));
    assert_eq!(hub.handle_timeout(START + 2 * KEEP_ALIVE), Ok(()));
}

#[test]
fn request_numbers_must_grow() {
    let mut hub = open_hub();
    ask(&mut hub, 5, Request::Groups { after: None }).unwrap();
    for id in [5, 4, 0] {
        let outcome = ask(&mut hub, id, Request::Groups { after: None });
        assert_eq!(outcome, Err(Violation::RequestNumber { id: RequestId(id), last: RequestId(5) }));
    }
}

#[test]
fn every_list_of_a_request_has_its_limit() {
    let event = || new_event("e");
    let names: Vec<_> = (0..65).map(|name| EventName::parse(&format!("n{name:02}")).unwrap()).collect();
    let eids = |count| (0..count).map(|eid: usize| Eid::parse(&eid.to_string()).unwrap()).collect();
    let with = |change: &dyn Fn(&mut eventflow_proto::NewEvent)| {
        let mut event = event();
        change(&mut event);
        append(vec![event])
    };
    let cases: Vec<(&str, Request)> = vec![
        ("EVENTS_PER_APPEND_MAX", append(Vec::new())),
        ("EVENTS_PER_APPEND_MAX", append(vec![event(); EVENTS_PER_APPEND_MAX + 1])),
        (
            "one publisher an event",
            Request::Append { events: vec![event()], offer: Offer::Restore(vec![]), expectations: vec![] },
        ),
        ("EIDS_PER_EVENT_MAX", with(&|event| event.eids = eids(65))),
        (
            "CPIDS_PER_EVENT_MAX",
            with(&|event| event.cpids = vec![Cpid { domain: domain(), pid: Pid::parse("1").unwrap() }; 65]),
        ),
        (
            "METADATA_ENTRIES_MAX",
            with(&|event| event.metadata.0 = (0..17).map(|key| (key.to_string(), String::new())).collect()),
        ),
        (
            "METADATA_BYTES_MAX",
            with(&|event| event.metadata.0 = [("key".to_owned(), "x".repeat(8 * 1024))].into()),
        ),
        ("NAMES_PER_FILTER_MAX", filtered(NameFilter::Only(names))),
        ("NAMES_PER_FILTER_MAX", filtered(NameFilter::Only(Vec::new()))),
    ];
    for (limit, request) in cases {
        assert_eq!(limit_of(ask(&mut open_hub(), 1, request)), limit);
    }
}

fn filtered(names: NameFilter) -> Request {
    let mut request = consume(1, 1);
    if let Request::Consume(consume) = &mut request {
        consume.topic.names = names;
    }
    request
}

#[test]
fn names_of_a_filter_must_be_sorted_each_once() {
    let name = |text| EventName::parse(text).unwrap();
    for names in [vec![name("b"), name("a")], vec![name("a"), name("a")]] {
        let outcome = ask(&mut open_hub(), 1, filtered(NameFilter::Only(names)));
        assert_eq!(outcome, Err(Violation::UnsortedNames));
    }
    assert!(ask(&mut open_hub(), 1, filtered(NameFilter::Only(vec![name("a"), name("b")]))).is_ok());
}

#[test]
fn wishes_above_a_limit_are_cut_to_it() {
    let mut hub = open_hub();
    let asked = ask(&mut hub, 1, consume(1, u32::MAX));
    assert!(
        matches!(asked, Ok(Some(FromSpoke::Request { body: Request::Consume(consume), .. })) if consume.credit == CREDIT_EVENTS_MAX)
    );
    let page = Request::Read(Query::Log { after: Position(0), limit: u32::MAX });
    let asked = ask(&mut hub, 2, page);
    let cut = Request::Read(Query::Log { after: Position(0), limit: PAGE_EVENTS_MAX });
    assert_eq!(asked, Ok(Some(FromSpoke::Request { id: RequestId(2), body: cut })));
}

#[test]
fn reasons_and_delays_of_answers_are_cut() {
    let mut hub = listened_hub();
    let verdict = Verdict::Fail { reason: "ä".repeat(REASON_CHARS_MAX + 1), after_ms: Some(u32::MAX) };
    let answer = Answer { verdict, ..ack(1, 1) };
    let Ok(Some(FromSpoke::Answers(answers))) = say(&mut hub, &SpokeMessage::Answers(vec![answer])) else {
        panic!("the answer was not taken")
    };
    let cut = Verdict::Fail { reason: "ä".repeat(REASON_CHARS_MAX), after_ms: Some(86_400_000) };
    assert_eq!(answers[0].verdict, cut);
}

#[test]
fn listener_numbers_must_grow() {
    let mut hub = open_hub();
    ask(&mut hub, 1, consume(7, 1)).unwrap();
    let outcome = ask(&mut hub, 2, subscribe(7, Start::Now, 1));
    let again = Violation::ListenerNumber { listener: ListenerId(7), last: ListenerId(7) };
    assert_eq!(outcome, Err(again));
}

#[test]
fn one_listener_too_many_is_refused_until_one_is_closed() {
    let listener = |number: usize| subscribe(u32::try_from(number).unwrap(), Start::Now, 1);
    let mut hub = open_hub();
    for number in 1..=LISTENERS_PER_CONNECTION_MAX {
        ask(&mut hub, number as u64, listener(number)).unwrap();
    }
    hub.reply(RequestId(1), Err(Refusal::Stopping));
    ask(&mut hub, 1_000, listener(1_000)).unwrap();
    assert_eq!(limit_of(ask(&mut hub, 1_001, listener(1_001))), "LISTENERS_PER_CONNECTION_MAX");
}

#[test]
fn only_listeners_that_were_opened_can_be_named() {
    let unknown = ListenerId(9);
    let credit = SpokeMessage::Credit { listener: unknown, events: 1 };
    let leave = SpokeMessage::Request { id: RequestId(9), body: Request::Leave(unknown) };
    let answers = SpokeMessage::Answers(vec![ack(9, 1)]);
    for message in [credit, leave, answers] {
        let outcome = say(&mut listened_hub(), &message);
        assert!(matches!(outcome, Err(Violation::WrongListener { listener, .. }) if listener == unknown));
    }
    let to_a_subscription = SpokeMessage::Answers(vec![ack(2, 1)]);
    let outcome = say(&mut listened_hub(), &to_a_subscription);
    assert!(matches!(outcome, Err(Violation::WrongListener { listener: ListenerId(2), .. })));
}

#[test]
fn what_was_on_its_way_to_a_dropped_listener_is_dropped_quietly() {
    let mut hub = listened_hub();
    hub.dropped(LISTENER, Refusal::Denied { reason: "consume".into() });
    assert!(matches!(sent(&mut hub)[..], [HubMessage::Dropped { .. }]));
    assert_eq!(say(&mut hub, &SpokeMessage::Answers(vec![ack(1, 1)])), Ok(None));
    assert_eq!(say(&mut hub, &SpokeMessage::Credit { listener: LISTENER, events: 1 }), Ok(None));
    assert_eq!(ask(&mut hub, 3, Request::Leave(LISTENER)), Ok(None));
    assert_eq!(sent(&mut hub), [HubMessage::Reply { id: RequestId(3), outcome: Ok(Reply::Left) }]);
    hub.deliver(LISTENER, Attempt(1), event(1));
    assert_eq!(sent(&mut hub), []);
}

#[test]
fn a_leaving_listener_gets_nothing_more_and_ends_by_its_reply() {
    let mut hub = listened_hub();
    assert!(matches!(ask(&mut hub, 3, Request::Leave(LISTENER)), Ok(Some(_))));
    hub.deliver(LISTENER, Attempt(1), event(1));
    hub.dropped(LISTENER, Refusal::Stopping);
    assert_eq!(sent(&mut hub), []);
    hub.reply(RequestId(3), Ok(Reply::Left));
    assert_eq!(sent(&mut hub), [HubMessage::Reply { id: RequestId(3), outcome: Ok(Reply::Left) }]);
}

#[test]
fn credit_never_adds_up_to_more_than_its_limit() {
    let mut hub = listened_hub();
    let credit = SpokeMessage::Credit { listener: ListenerId(2), events: u32::MAX };
    let all = CREDIT_EVENTS_MAX - 8;
    assert_eq!(say(&mut hub, &credit), Ok(Some(FromSpoke::Credit { listener: ListenerId(2), events: all })));
    assert_eq!(say(&mut hub, &credit), Ok(None));
    hub.push(ListenerId(2), event(1));
    assert_eq!(say(&mut hub, &credit), Ok(Some(FromSpoke::Credit { listener: ListenerId(2), events: 1 })));
}

#[test]
fn a_list_of_answers_has_its_limits() {
    for count in [0, ANSWERS_PER_MESSAGE_MAX + 1] {
        let answers = SpokeMessage::Answers(vec![ack(1, 1); count]);
        assert_eq!(limit_of(say(&mut listened_hub(), &answers)), "ANSWERS_PER_MESSAGE_MAX");
    }
}

#[test]
fn a_flood_of_pings_ends_the_connection() {
    let mut hub = open_hub();
    let mut ping = || say(&mut hub, &SpokeMessage::Ping(1));
    for _ in 0..PINGS_WAITING_MAX {
        ping().unwrap();
    }
    assert_eq!(limit_of(ping()), "PINGS_WAITING_MAX");
}

#[test]
fn a_flood_of_requests_stops_the_reading_until_they_are_answered() {
    let mut hub = open_hub();
    for id in 1..=REQUESTS_IN_FLIGHT_MAX as u64 {
        assert!(hub.may_read());
        ask(&mut hub, id, Request::Groups { after: None }).unwrap();
    }
    assert!(!hub.may_read());
    hub.reply(RequestId(3), Ok(Reply::Groups(Vec::new())));
    assert!(hub.may_read());
}

#[test]
fn a_flood_of_bytes_stops_the_reading_until_they_are_stored() {
    let mut hub = open_hub();
    let mut event = new_event("e");
    event.data = Data::from_stored("x".repeat(1 << 20));
    let count = REQUEST_BYTES_IN_FLIGHT_MAX as u64 >> 20;
    for id in 1..=count {
        assert!(hub.may_read());
        ask(&mut hub, id, append(vec![event.clone()])).unwrap();
    }
    assert!(!hub.may_read());
    for id in 1..=count {
        hub.reply(RequestId(id), Err(Refusal::Stopping));
    }
    assert_eq!((hub.may_read(), hub.requests_in_flight()), (true, 0));
}

#[test]
fn a_busy_hub_does_not_take_its_own_silence_for_the_spokes() {
    let mut hub = open_hub();
    for id in 1..=REQUESTS_IN_FLIGHT_MAX as u64 {
        ask(&mut hub, id, Request::Groups { after: None }).unwrap();
    }
    for turn in 1..10 {
        assert_eq!(hub.handle_timeout(START + turn * KEEP_ALIVE), Ok(()));
    }
}

#[test]
fn a_spoke_that_takes_nothing_is_given_up_and_one_that_takes_slowly_is_not() {
    for (takes, kept) in [(false, false), (true, true)] {
        let mut hub = listened_hub();
        for position in 1..=UNSENT_MESSAGES_MAX as u64 + 100 {
            hub.deliver(LISTENER, Attempt(1), event(position));
        }
        assert!(!hub.may_read());
        let outcome: Result<Vec<_>, _> = (1..10)
            .map(|turn| {
                if takes {
                    hub.poll_frame(&mut Vec::new());
                }
                hub.handle_timeout(START + turn * KEEP_ALIVE)
            })
            .collect();
        assert_eq!(outcome.is_ok(), kept);
    }
}

#[test]
fn a_reply_that_fits_no_frame_becomes_a_refusal() {
    let mut hub = open_hub();
    ask(&mut hub, 1, Request::Groups { after: None }).unwrap();
    let pids = (0..200_000).map(|pid| Pid::parse(&format!("{pid:010}")).unwrap()).collect();
    hub.reply(RequestId(1), Ok(Reply::Page(Page::Pids { pids, more: More::No })));
    let sent = sent(&mut hub);
    let [HubMessage::Reply { id: RequestId(1), outcome: Err(Refusal::Invalid { reason }) }] = &sent[..]
    else {
        panic!("{sent:?}")
    };
    assert!(reason.contains("does not fit a frame"), "{reason}");
    assert_eq!((hub.unsent_messages(), hub.unsent_bytes()), (0, 0));
}

#[test]
fn a_request_is_answered_once() {
    let mut hub = open_hub();
    ask(&mut hub, 1, Request::Groups { after: None }).unwrap();
    hub.reply(RequestId(1), Ok(Reply::Groups(Vec::new())));
    hub.reply(RequestId(1), Err(Refusal::Stopping));
    hub.reply(RequestId(2), Err(Refusal::Stopping));
    assert_eq!(sent(&mut hub).len(), 1);
}

#[test]
fn a_hub_can_turn_a_spoke_away_before_welcome_and_cuts_why() {
    let mut hub = HubSession::new(HUB, START);
    say(&mut hub, &hello()).unwrap();
    hub.go_away("x".repeat(REASON_CHARS_MAX + 1), Duration::MAX);
    let away = HubMessage::GoAway { reason: "x".repeat(REASON_CHARS_MAX), retry_after_ms: u32::MAX };
    assert_eq!(sent(&mut hub), [away]);
}

#[test]
fn after_goodbye_only_signs_of_life_come_and_the_rest_is_still_answered() {
    let mut hub = open_hub();
    ask(&mut hub, 1, Request::Groups { after: None }).unwrap();
    assert_eq!(say(&mut hub, &SpokeMessage::Goodbye), Ok(Some(FromSpoke::Goodbye)));
    assert_eq!(say(&mut hub, &SpokeMessage::Ping(4)), Ok(None));
    assert!(matches!(ask(&mut hub, 2, Request::Groups { after: None }), Err(Violation::OutOfTurn { .. })));
    assert!(!hub.is_finished());
    hub.reply(RequestId(1), Ok(Reply::Groups(Vec::new())));
    assert_eq!(sent(&mut hub).len(), 2);
    assert!(hub.is_finished());
}
