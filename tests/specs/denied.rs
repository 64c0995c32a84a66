//! Everything that a peer can say, said by one that has no right: nothing of it is done.
//!
//! The lists are complete: a variant that is added to the protocol without a decision here does not
//! compile, or is found missing.

use eventflow_tests::events::{event, name, with_id};
use eventflow_tests::process::Place;
use eventflow_tests::wire::{Credentials, Peer};
use eventflow_tests::{Engine, TestDatabase};
use proto::access::GrantRequest;
use proto::admin::AdminRequest;
use proto::audit::AuditRequest;
use proto::chain::{Chain, Effect, Later};
use proto::group::{GroupCommand, GroupPart, MembersFate, SettingsChange};
use proto::message::{
    Answer, Consume, HubMessage, Link, Offer, Request, Scope, SpokeMessage, Subscribe, Verdict, Wait,
};
use proto::parked::{ParkedAct, ParkedRequest, ParkedSelection, UnparkMode};
use proto::read::{Query, Window};
use proto::schedule::{
    ScheduleChange, ScheduleQuery, ScheduleRequest, ScheduleScope, ScheduleWish, When, Which,
};
use proto::{
    Cpid, Domain, EventId, GroupName, ListenerId, NameFilter, Order, Pid, Position, Refusal, RequestId,
    Start, Timestamp, Topic,
};

/// The values, if there is one of each variant of their enum.
macro_rules! every {
    ($kind:ty, $values:expr) => {{
        let values: Vec<$kind> = $values;
        let mut found: Vec<u8> = values
            .iter()
            .map(|value| {
                let mut bytes = Vec::new();
                proto::wire::encode(value, &mut bytes).unwrap();
                bytes[0]
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        let next = u8::try_from(found.len()).unwrap();
        assert_eq!(found, (0..next).collect::<Vec<_>>(), "a {} is missing", stringify!($kind));
        let error = proto::wire::decode::<$kind>(&[next]).unwrap_err().to_string();
        assert!(error.contains("UnexpectedVariant"), "{} has a further variant: {error}", stringify!($kind));
        values
    }};
}

/// What is needed for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// A grant.
    Grant,
    /// A listener, for which a grant was needed.
    Listener,
    /// The certificate by which the peer is here.
    Certificate,
}

/// Decides about each kind of request: a new one does not compile before it stands here.
fn need(request: &Request) -> Need {
    match request {
        Request::Append { .. }
        | Request::Consume(_)
        | Request::Subscribe(_)
        | Request::Read(_)
        | Request::Link(_)
        | Request::DeleteEvent(_)
        | Request::DeleteEventlog { .. }
        | Request::Groups { .. }
        | Request::Group(_)
        | Request::Story(_)
        | Request::Outbox(_)
        | Request::Wait(_)
        | Request::Manage(_)
        | Request::Schedule(_)
        | Request::Parked(_)
        | Request::Admin(_) => Need::Grant,
        Request::Leave(_) | Request::Chain(_) => Need::Listener,
        Request::Renew { .. } => Need::Certificate,
    }
}

fn order() -> Domain {
    name("order")
}

fn pid() -> Pid {
    name("1")
}

fn id() -> EventId {
    name("e1")
}

fn group() -> GroupName {
    name("audit")
}

fn topic() -> Topic {
    Topic { domain: order(), names: NameFilter::All }
}

fn queries() -> Vec<Query> {
    let (after, limit, window) = (Position(0), 10, Window::default());
    every!(
        Query,
        vec![
            Query::ById(id()),
            Query::Log { after, limit },
            Query::Eventlog { domain: order(), pid: pid(), names: NameFilter::All, window, after, limit },
            Query::ByCpid { domain: order(), pid: pid(), after, limit },
            Query::ByEid { domain: None, eid: name("ann"), after, limit },
            Query::ByEid { domain: Some(order()), eid: name("ann"), after, limit },
            Query::Pids { domain: order(), after: None, limit },
            Query::Domains { after: None, limit },
        ]
    )
}

fn links() -> Vec<Link> {
    let cpid = || Cpid { domain: order(), pid: pid() };
    every!(
        Link,
        vec![
            Link::AddEid(id(), name("ann")),
            Link::RemoveEid(id(), name("ann")),
            Link::AddCpid(id(), cpid()),
            Link::RemoveCpid(id(), cpid()),
        ]
    )
}

fn appends() -> Vec<Request> {
    let offers = every!(Offer, vec![Offer::Publish, Offer::Persist, Offer::Restore(vec![None])]);
    let append = |offer| Request::Append {
        events: vec![event("order", "1", "placed")],
        offer,
        expectations: Vec::new(),
    };
    offers.into_iter().map(append).collect()
}

fn subscriptions() -> Vec<Request> {
    let mut wishes = Vec::new();
    for (number, scope) in (100..).zip(every!(Scope, vec![Scope::Published, Scope::Stored])) {
        for (more, topic) in [(0, None), (10, Some(topic()))] {
            let listener = ListenerId(number * 20 + more);
            wishes.push(Subscribe { listener, topic, scope, start: Start::Now, credit: 1 });
        }
    }
    wishes.into_iter().map(Request::Subscribe).collect()
}

fn group_commands() -> Vec<GroupCommand> {
    let (group, domain) = (group(), Some(order()));
    every!(
        GroupCommand,
        vec![
            GroupCommand::List { group: None, after: None },
            GroupCommand::Set {
                group: group.clone(),
                domain: domain.clone(),
                change: SettingsChange::default()
            },
            GroupCommand::Pause { group: group.clone(), part: GroupPart::Whole },
            GroupCommand::Resume { group: group.clone(), part: GroupPart::Whole },
            GroupCommand::Remove { group, domain, members: MembersFate::SentAway },
        ]
    )
}

fn schedule_requests() -> Vec<ScheduleRequest> {
    let which = || Which::Id(id());
    let wish = ScheduleWish {
        event: event("order", "1", "placed"),
        when: When::At(Timestamp::default()),
        key: None,
    };
    let scope = ScheduleScope::All;
    every!(
        ScheduleRequest,
        vec![
            ScheduleRequest::Add(Box::new(wish)),
            ScheduleRequest::Change { which: which(), change: ScheduleChange::Cancel },
            ScheduleRequest::Change { which: which(), change: ScheduleChange::Pause },
            ScheduleRequest::Change { which: Which::Key(name("k")), change: ScheduleChange::Resume },
            ScheduleRequest::Show(which()),
            ScheduleRequest::List(ScheduleQuery { scope, domain: None, after: None, limit: 10 }),
            ScheduleRequest::List(ScheduleQuery { scope, domain: Some(order()), after: None, limit: 10 }),
        ]
    )
}

fn parked_requests() -> Vec<ParkedRequest> {
    let selection = ParkedSelection::default;
    let unpark = |act, mode| ParkedRequest::Unpark { selection: selection(), after: None, act, mode };
    every!(
        ParkedRequest,
        vec![
            ParkedRequest::List { selection: selection(), after: None, limit: 10 },
            unpark(ParkedAct::Replay, UnparkMode::Take),
            unpark(ParkedAct::Discard { reason: "x".into() }, UnparkMode::Take),
            unpark(ParkedAct::Replay, UnparkMode::Look),
            ParkedRequest::History(id()),
        ]
    )
}

fn admin_requests() -> Vec<AdminRequest> {
    let reason = "x".to_owned();
    let holder = proto::certs::Holder::Service("shop".into());
    every!(
        AdminRequest,
        vec![
            AdminRequest::Grants(GrantRequest::Remove(1)),
            AdminRequest::Tokens(proto::token::TokenRequest::Withdraw(proto::enrol::TokenId(1))),
            AdminRequest::Certs(proto::certs::CertsRequest::Revoke { holder, reason }),
            AdminRequest::Audit(AuditRequest { after: 0, since: None, act: None, limit: 10 }),
        ]
    )
}

fn requests() -> Vec<Request> {
    let consume = Consume {
        listener: ListenerId(1),
        group: group(),
        topic: topic(),
        start: Start::Now,
        order: Order::ByPid,
        credit: 1,
    };
    let wait =
        Wait { domain: order(), pid: pid(), names: NameFilter::All, after: Position(0), within_ms: 60_000 };
    let mut all = vec![
        Request::Consume(consume),
        Request::Leave(ListenerId(1)),
        Request::DeleteEvent(id()),
        Request::DeleteEventlog { domain: order(), pid: pid() },
        Request::Groups { after: None },
        Request::Group(group()),
        Request::Story(id()),
        Request::Outbox(id()),
        Request::Wait(wait),
        Request::Chain(Box::new(chain(Vec::new()))),
        Request::Renew { csr: vec![1] },
    ];
    all.extend(appends());
    all.extend(subscriptions());
    all.extend(queries().into_iter().map(Request::Read));
    all.extend(links().into_iter().map(Request::Link));
    all.extend(group_commands().into_iter().map(Request::Manage));
    all.extend(schedule_requests().into_iter().map(Request::Schedule));
    all.extend(parked_requests().into_iter().map(|request| Request::Parked(Box::new(request))));
    all.extend(admin_requests().into_iter().map(|request| Request::Admin(Box::new(request))));
    every!(Request, all)
}

fn chain(effects: Vec<Effect>) -> Chain {
    Chain {
        listener: ListenerId(1),
        position: Position(1),
        attempt: proto::Attempt(1),
        effects,
        expectations: Vec::new(),
    }
}

/// What comes of a request.
async fn outcome(peer: &mut Peer, id: u64, body: Request) -> Result<(), Refusal> {
    peer.say(&SpokeMessage::Request { id: RequestId(id), body }).await;
    loop {
        match peer.hear().await.expect("the hub closed") {
            HubMessage::Reply { id: answered, outcome } if answered == RequestId(id) => {
                return outcome.map(drop);
            }
            _ => {}
        }
    }
}

#[test]
fn a_peer_without_grants_is_denied_everything_that_takes_one() {
    eventflow_tests::run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let hub = place.hub(&["--access", "grants", "--local-enrolment", "true"]).await;
        place.done(&["publish", "order", "1", "placed", "--id", "e1", "--service", "operator"]).await;
        let credentials = Credentials::enrol(place.data(), "shop").await;
        let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
        for (number, request) in (1..).zip(requests()) {
            let said = format!("{request:?}");
            match need(&request) {
                Need::Grant => {
                    let outcome = outcome(&mut peer, number, request).await;
                    assert!(matches!(outcome, Err(Refusal::Denied { .. })), "{said}: {outcome:?}");
                }
                Need::Certificate => {
                    let outcome = outcome(&mut peer, number, request).await;
                    assert!(!matches!(outcome, Err(Refusal::Denied { .. })), "{said}: {outcome:?}");
                }
                // To name one that there is not is against the protocol.
                Need::Listener => {}
            }
        }
        let events = database.number("SELECT COUNT(*) FROM event").await;
        let schedules = database.number("SELECT COUNT(*) FROM event_scheduled").await;
        assert_eq!((events, schedules), (1, 0), "nothing was done");
        hub.terminate().await;
    });
}

/// The next delivery that a peer is given.
async fn delivery(peer: &mut Peer) -> (Position, proto::Attempt) {
    loop {
        if let HubMessage::Deliver { event, attempt, .. } = peer.hear().await.expect("the hub closed") {
            return (event.position, attempt);
        }
    }
}

#[test]
fn whoever_may_consume_may_ack_and_may_not_do_more_with_the_ack() {
    eventflow_tests::run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let quick = ["--backoff-first", "0.01", "--attempts-max", "100"];
        let hub =
            place.hub(&[&["--access", "grants", "--local-enrolment", "true"], &quick[..]].concat()).await;
        place.done(&["grant", "add", "--service", "shop", "--action", "consume", "--domain", "order"]).await;
        let credentials = Credentials::enrol(place.data(), "shop").await;
        let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
        let wish = requests().into_iter().find(|request| matches!(request, Request::Consume(_))).unwrap();
        outcome(&mut peer, 1, wish).await.unwrap();
        place.done(&["publish", "order", "1", "placed", "--id", "e1", "--service", "operator"]).await;

        let child = with_id("child", "order", "1", "billed");
        let due = Timestamp::default();
        let mut effects = every!(
            Effect,
            vec![
                Effect::Publish(child.clone()),
                Effect::Persist(child.clone()),
                Effect::Schedule(Later { event: child, due, key: None }),
                Effect::Cancel(Which::Id(id())),
                Effect::Link(Link::AddEid(id(), name("ann"))),
            ]
        );
        for number in 2.. {
            let (position, attempt) = delivery(&mut peer).await;
            let Some(effect) = effects.pop() else {
                let verdict = Verdict::Ack;
                let answer = Answer { listener: ListenerId(1), position, attempt, verdict };
                peer.say(&SpokeMessage::Answers(vec![answer])).await;
                break;
            };
            let said = format!("{effect:?}");
            let chain = Chain { position, attempt, ..chain(vec![effect]) };
            let outcome = outcome(&mut peer, number, Request::Chain(Box::new(chain))).await;
            assert!(matches!(outcome, Err(Refusal::Denied { .. })), "{said}: {outcome:?}");
        }
        outcome(&mut peer, 100, Request::Leave(ListenerId(1))).await.unwrap();
        let settled = "SELECT COUNT(*) FROM event_published WHERE success IS NOT NULL AND group_id > 0";
        assert_eq!(database.number(settled).await, 1);
        assert_eq!(database.number("SELECT COUNT(*) FROM event").await, 1);
        hub.terminate().await;
    });
}
