//! Any message: it fits a frame and is read as what it was, or it is refused before it is sent.

use eventflow_proto::chain::Chained;
use eventflow_proto::limits::FRAME_BYTES_MAX;
use eventflow_proto::message::{
    Appended, Consume, Hello, HubMessage, Reply, Request, SpokeMessage, Stored, Subscribe, Welcome,
};
use eventflow_proto::read::{More, Page};
use eventflow_proto::report::{DeliveryState, DeliveryStory, EventStory, GroupReport};
use eventflow_proto::{Attempt, HubId, RequestId, Version, wire};

use crate::choices::Choices;

/// Writes and reads what `bytes` decide on.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut buffer = b"before".to_vec();
    while !choices.is_over() {
        buffer.truncate(6);
        if choices.yes() {
            let message = spoke_message(&mut choices);
            if wire::encode(&message, &mut buffer).is_ok() {
                assert_eq!(wire::decode(&buffer[6..]), Ok(message));
            } else {
                assert!(wire::encoded_bytes(&message) > FRAME_BYTES_MAX);
            }
        } else {
            let message = hub_message(&mut choices);
            if wire::encode(&message, &mut buffer).is_ok() {
                assert_eq!(wire::decode(&buffer[6..]), Ok(message));
            } else {
                assert!(wire::encoded_bytes(&message) > FRAME_BYTES_MAX);
            }
        }
        assert!(buffer.starts_with(b"before") && buffer.len() <= FRAME_BYTES_MAX + 6);
    }
}

fn spoke_message(choices: &mut Choices<'_>) -> SpokeMessage {
    match choices.way(8) {
        0 => SpokeMessage::Hello(Hello {
            protocol_min: u16::from(choices.byte()),
            protocol_max: u16::from(choices.byte()),
            software: choices.text(),
        }),
        1 | 2 => SpokeMessage::Request { id: RequestId(choices.number()), body: request(choices) },
        3 => SpokeMessage::Answers(choices.some(Choices::answer)),
        4 => SpokeMessage::Credit { listener: choices.listener(), events: choices.small() },
        5 => SpokeMessage::Ping(choices.number()),
        6 => SpokeMessage::Pong(choices.number()),
        _ => SpokeMessage::Goodbye,
    }
}

fn request(choices: &mut Choices<'_>) -> Request {
    match choices.way(5) {
        0 => Request::Consume(Consume {
            listener: choices.listener(),
            group: choices.group(),
            topic: choices.topic(),
            start: choices.start(),
            order: choices.order(),
            credit: choices.small(),
        }),
        1 => Request::Subscribe(Subscribe {
            listener: choices.listener(),
            topic: choices.maybe(Choices::topic),
            scope: choices.scope(),
            start: choices.start(),
            credit: choices.small(),
        }),
        2 => Request::Leave(choices.listener()),
        3 => Request::Chain(choices.chain()),
        _ => choices.request(),
    }
}

fn hub_message(choices: &mut Choices<'_>) -> HubMessage {
    let listener = choices.listener();
    match choices.way(11) {
        0 => HubMessage::Welcome(Welcome {
            protocol: u16::from(choices.byte()),
            hub: HubId::parse("h").expect("h is a name"),
            service: choices.service(),
            incarnation: choices.number(),
            head: choices.position(),
            now: choices.time(),
            keep_alive_ms: choices.small(),
        }),
        1 => HubMessage::Reply {
            id: RequestId(choices.number()),
            outcome: if choices.yes() { Ok(reply(choices)) } else { Err(choices.refusal()) },
        },
        2 => HubMessage::Deliver { listener, attempt: Attempt(choices.small()), event: choices.event() },
        3 => HubMessage::Push { listener, event: choices.event() },
        4 => HubMessage::Lagged { listener, behind: choices.number() },
        5 => HubMessage::CaughtUp { listener, position: choices.position() },
        6 => HubMessage::Dropped { listener, refusal: choices.refusal() },
        7 => HubMessage::Ping(choices.number()),
        8 => HubMessage::Pong(choices.number()),
        9 => HubMessage::Deadline { listener, within_ms: choices.small() },
        _ => HubMessage::GoAway { reason: choices.text(), retry_after_ms: choices.small() },
    }
}

fn reply(choices: &mut Choices<'_>) -> Reply {
    let more = if choices.yes() { More::Maybe } else { More::No };
    match choices.way(11) {
        0 => Reply::Appended(choices.some(appended)),
        1 => Reply::Listening { after: choices.position() },
        2 => Reply::Left,
        3 => {
            let event = choices.event();
            // Some pages are larger than a frame.
            let events = vec![(*event).clone(); usize::from(choices.way(8))];
            Reply::Page(Page::Events { events, through: choices.position(), more })
        }
        4 => Reply::Page(Page::Pids { pids: choices.some(Choices::pid), more }),
        5 => Reply::Page(Page::Domains { domains: choices.some(Choices::domain), more }),
        6 => Reply::Changed(choices.number()),
        7 => Reply::Groups(choices.some(group_report)),
        8 => Reply::Chained(if choices.yes() {
            Chained::Committed(choices.some(appended))
        } else {
            Chained::Stale
        }),
        9 => Reply::GroupStatus(choices.some(Choices::group_status)),
        _ => Reply::Story(Box::new(EventStory {
            event: choices.maybe(|choices| (*choices.event()).clone()),
            position: choices.position(),
            published: choices.maybe(Choices::time),
            deleted: choices.maybe(Choices::time),
            orphan: choices.yes(),
            deliveries: choices.some(delivery),
        })),
    }
}

/// What is answered to an appended event.
pub fn appended(choices: &mut Choices<'_>) -> Appended {
    Appended {
        position: choices.position(),
        version: Version(choices.number()),
        stored: if choices.yes() { Stored::Now } else { Stored::Before },
    }
}

/// What a group counts.
pub fn group_report(choices: &mut Choices<'_>) -> GroupReport {
    GroupReport {
        group: choices.group(),
        domain: choices.domain(),
        names: Vec::new(),
        ordered: choices.yes(),
        start_after: choices.position(),
        members: choices.number(),
        succeeded: choices.number(),
        parked: choices.number(),
        discarded: choices.number(),
        pending: choices.number(),
        in_flight: choices.number(),
        retrying: choices.number(),
        settled_through: choices.position(),
        head: choices.position(),
    }
}

fn delivery(choices: &mut Choices<'_>) -> DeliveryStory {
    let state = match choices.way(8) {
        0 => DeliveryState::Succeeded,
        1 => DeliveryState::InFlight { since: choices.time(), deadline: choices.time() },
        2 => DeliveryState::RetryAt { at: choices.time() },
        3 => DeliveryState::BlockedBy { id: choices.event_id(), position: choices.position() },
        4 => DeliveryState::NoCredit { members: choices.number() },
        5 => DeliveryState::Committing { since: choices.time() },
        6 => DeliveryState::Paused { since: choices.time(), by: choices.text() },
        _ => DeliveryState::NotRead { before: choices.number() },
    };
    DeliveryStory {
        group: choices.group(),
        state,
        attempts: Attempt(choices.small()),
        consumer: choices.maybe(Choices::text),
        settled: choices.maybe(Choices::time),
        reason: choices.maybe(Choices::text),
    }
}
