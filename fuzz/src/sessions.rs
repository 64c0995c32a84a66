//! Both session ends under any driver and any bytes.
//!
//! Whatever its hub says and its application wants, the spoke's end breaks no rule, and every
//! request is answered at most once. Whatever comes, neither end panics, and each has said all that
//! it has to say after finitely many frames.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use eventflow_proto::admin::AdminReply;
use eventflow_proto::audit::AuditReply;
use eventflow_proto::certs::Trust;
use eventflow_proto::chain::Chained;
use eventflow_proto::message::{Expulsion, Reply, Request, Welcome};
use eventflow_proto::parked::{ParkedPage, ParkedReply};
use eventflow_proto::read::{More, Page};
use eventflow_proto::schedule::{ScheduleReply, ScheduleRequest, Standing};
use eventflow_proto::session::{
    FromHub, FromSpoke, HubSession, HubSessionConfig, Listen, RequestKey, SpokeSession, SpokeSessionConfig,
};
use eventflow_proto::{Attempt, HubId, Position, RequestId, ServiceName, Timestamp};

use crate::choices::Choices;
use crate::messages::appended;

const HUB: HubSessionConfig =
    HubSessionConfig { keep_alive: Duration::from_secs(10), hello_within: Duration::from_secs(5) };

/// More frames than any one step can bring about.
const FRAMES_MAX: usize = 100_000;

struct World {
    now: Duration,
    spoke: SpokeSession,
    hub: HubSession,
    to_hub: VecDeque<Vec<u8>>,
    to_spoke: VecDeque<Vec<u8>>,
    /// Requests that the hub has not answered.
    asked: BTreeMap<RequestId, Request>,
    /// Requests that the application waits for.
    awaited: BTreeSet<RequestKey>,
    /// Chains that it waits for, which are never forgotten.
    chained: BTreeSet<RequestKey>,
    /// Whether foreign bytes came on this link: then anything may be a violation.
    is_foreign: bool,
}

/// Does what `bytes` decide on.
pub fn run(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let software = choices.text();
    let config = SpokeSessionConfig { software, welcome_within: Duration::from_secs(5) };
    let mut world = World {
        now: Duration::ZERO,
        spoke: SpokeSession::new(config),
        hub: HubSession::new(HUB, Duration::ZERO),
        to_hub: VecDeque::new(),
        to_spoke: VecDeque::new(),
        asked: BTreeMap::new(),
        awaited: BTreeSet::new(),
        chained: BTreeSet::new(),
        is_foreign: false,
    };
    world.connect();
    while !choices.is_over() {
        world.step(&mut choices);
        world.hear_events();
        assert!(world.spoke.in_flight() + world.spoke.waits() >= world.awaited.len(), "a request got lost");
    }
}

impl World {
    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.way(16) {
            0..=2 => self.spoke_wants(choices),
            3..=5 => self.hub_wants(choices),
            6 | 7 => self.spoke_says(usize::from(choices.way(8))),
            8 | 9 => self.hub_says(usize::from(choices.way(8))),
            10 | 11 => self.hub_hears(),
            12 | 13 => self.spoke_hears(),
            14 => self.time_passes(choices),
            _ => match choices.way(8) {
                0 => self.connect(),
                1 => self.foreign(choices),
                _ => self.exchange(),
            },
        }
    }

    fn connect(&mut self) {
        self.spoke.disconnected();
        self.spoke.connected(self.now);
        self.hub = HubSession::new(HUB, self.now);
        self.to_hub.clear();
        self.to_spoke.clear();
        self.asked.clear();
        self.is_foreign = false;
    }

    /// Everything that is said is heard.
    fn exchange(&mut self) {
        self.spoke_says(FRAMES_MAX);
        while !self.to_hub.is_empty() && self.hub.may_read() {
            self.hub_hears();
        }
        self.hub_says(FRAMES_MAX);
        while !self.to_spoke.is_empty() {
            self.spoke_hears();
        }
    }

    fn spoke_wants(&mut self, choices: &mut Choices<'_>) {
        match choices.way(8) {
            0 | 1 => {
                if let Ok(key) = self.spoke.request(choices.request()) {
                    assert!(self.awaited.insert(key));
                }
            }
            2 => {
                let listen = Listen::Consume {
                    group: choices.group(),
                    topic: choices.topic(),
                    start: choices.start(),
                    order: choices.order(),
                    credit: choices.small(),
                };
                let _ = self.spoke.listen(listen);
            }
            3 => {
                let listen = Listen::Subscribe {
                    topic: choices.maybe(Choices::topic),
                    scope: choices.scope(),
                    start: choices.start(),
                    credit: choices.small(),
                };
                let _ = self.spoke.listen(listen);
            }
            4 => self.spoke.leave(choices.listener()),
            5 => {
                let link = self.spoke.link() - u64::from(choices.way(8) == 0);
                if choices.yes() {
                    self.spoke.answer(link, choices.answer());
                } else if let Ok(Some(key)) = self.spoke.chain(link, choices.chain()) {
                    assert!(self.chained.insert(key));
                }
            }
            6 => self.spoke.credit(choices.listener(), choices.small()),
            _ if choices.way(8) == 0 => self.spoke.goodbye(),
            _ => {
                if let Some(key) = self.awaited.pop_first() {
                    self.spoke.forget(key);
                }
            }
        }
    }

    fn hub_wants(&mut self, choices: &mut Choices<'_>) {
        let listener = choices.listener();
        match choices.way(10) {
            0..=2 => self.reply(choices),
            3 => self.hub.deliver(listener, Attempt(choices.small()), choices.event()),
            4 => self.hub.push(listener, choices.event()),
            5 => self.hub.caught_up(listener, choices.position()),
            6 => self.hub.dropped(listener, choices.refusal()),
            7 => self.hub.deadline(listener, Duration::from_millis(choices.number())),
            8 => match choices.way(3) {
                0 => self.hub.trust(Trust { version: choices.number(), roots: vec![vec![0x30]] }),
                1 => self.hub.renew(Duration::from_millis(choices.number())),
                _ => self.hub.expelled(Expulsion::Unknown, choices.text()),
            },
            _ if choices.way(8) == 0 => {
                self.hub.go_away(choices.text(), Duration::from_millis(choices.number()))
            }
            _ => self.hub.lagged(listener, choices.number()),
        }
    }

    fn reply(&mut self, choices: &mut Choices<'_>) {
        let nth = usize::from(choices.way(4)).min(self.asked.len().saturating_sub(1));
        let Some(id) = self.asked.keys().nth(nth).copied() else { return };
        let Some(request) = self.asked.remove(&id) else { return };
        let outcome = match request {
            _ if choices.way(8) == 0 => Err(choices.refusal()),
            _ if choices.way(32) == 0 => Ok(Reply::Left),
            Request::Append { events, .. } => Ok(Reply::Appended(vec![appended(choices); events.len()])),
            Request::Consume(_) | Request::Subscribe(_) => Ok(Reply::Listening { after: Position(0) }),
            Request::Leave(_) => Ok(Reply::Left),
            Request::Read(_) => {
                Ok(Reply::Page(Page::Pids { pids: choices.some(Choices::pid), more: More::No }))
            }
            Request::Link(_) | Request::DeleteEvent(_) | Request::DeleteEventlog { .. } => {
                Ok(Reply::Changed(1))
            }
            Request::Groups { .. } | Request::Group(_) => Ok(Reply::Groups(Vec::new())),
            Request::Story(_) => Err(choices.refusal()),
            Request::Outbox(_) => Ok(Reply::Outbox(None)),
            Request::Wait(_) => Ok(Reply::Waited(None)),
            Request::Chain(_) if choices.yes() => Ok(Reply::Chained(Chained::Stale)),
            Request::Chain(chain) => {
                Ok(Reply::Chained(Chained::Committed(vec![appended(choices); chain.appends()])))
            }
            Request::Parked(_) => {
                Ok(Reply::Parked(ParkedReply::Page(ParkedPage { events: Vec::new(), next: None })))
            }
            Request::Manage(_) => Ok(Reply::GroupStatus(choices.some(Choices::group_status))),
            Request::Schedule(ScheduleRequest::List(_)) => {
                Ok(Reply::Schedule(ScheduleReply::Listed(Vec::new())))
            }
            Request::Schedule(_) => Ok(Reply::Schedule(ScheduleReply::Changed(Standing::Unknown))),
            Request::Admin(_) => {
                Ok(Reply::Admin(Box::new(AdminReply::Audit(AuditReply { lines: Vec::new() }))))
            }
            Request::Renew { .. } => Err(choices.refusal()),
        };
        self.hub.reply(id, outcome);
    }

    fn spoke_says(&mut self, frames_max: usize) {
        for _ in 0..frames_max {
            let mut frame = Vec::new();
            if !self.spoke.poll_frame(&mut frame) {
                return;
            }
            self.to_hub.push_back(frame);
        }
        assert!(frames_max < FRAMES_MAX, "the spoke never stops");
    }

    fn hub_says(&mut self, frames_max: usize) {
        for _ in 0..frames_max {
            let mut frame = Vec::new();
            if !self.hub.poll_frame(&mut frame) {
                assert_eq!((self.hub.unsent_messages(), self.hub.unsent_bytes()), (0, 0));
                return;
            }
            self.to_spoke.push_back(frame);
        }
        assert!(frames_max < FRAMES_MAX, "the hub never stops");
    }

    fn hub_hears(&mut self) {
        if !self.hub.may_read() {
            return;
        }
        let Some(frame) = self.to_hub.pop_front() else { return };
        match self.hub.handle_frame(&frame, self.now) {
            Ok(Some(FromSpoke::Hello(_))) => self.hub.welcome(welcome(), self.now),
            Ok(Some(FromSpoke::Request { id, body })) => {
                self.asked.insert(id, body);
            }
            Ok(Some(FromSpoke::Answers(answers))) => assert!(!answers.is_empty()),
            Ok(Some(FromSpoke::Credit { events, .. })) => assert!(events > 0),
            Ok(Some(FromSpoke::Goodbye | FromSpoke::TrustKept(_) | FromSpoke::Enough(_)) | None) => {}
            Err(violation) => {
                assert!(self.is_foreign, "an obedient spoke was taken for another: {violation}");
                self.connect();
            }
        }
    }

    fn spoke_hears(&mut self) {
        let Some(frame) = self.to_spoke.pop_front() else { return };
        // This hub's driver does not obey: more than the credit, backwards, replies of another kind.
        if self.spoke.handle_frame(&frame, self.now).is_err() {
            self.hear_events();
            self.connect();
        }
    }

    fn time_passes(&mut self, choices: &mut Choices<'_>) {
        let due = if choices.yes() { self.spoke.poll_timeout() } else { self.hub.poll_timeout() };
        self.now = match due {
            Some(due) => self.now.max(due),
            None => self.now + Duration::from_millis(u64::from(choices.byte())),
        };
        let ends = [self.spoke.handle_timeout(self.now), self.hub.handle_timeout(self.now)];
        if ends.iter().any(Result::is_err) {
            self.connect();
        }
        for timeout in [self.spoke.poll_timeout(), self.hub.poll_timeout()].into_iter().flatten() {
            // Else its driver would spin.
            assert!(timeout > self.now || self.hub.poll_timeout().is_some(), "a timer stays due");
        }
    }

    fn foreign(&mut self, choices: &mut Choices<'_>) {
        self.is_foreign = true;
        let mut frame = choices.bytes().to_vec();
        let queue = if choices.yes() { &mut self.to_hub } else { &mut self.to_spoke };
        // A known frame with a wrong byte goes deeper than bytes at random.
        if let Some(known) = queue.front()
            && choices.yes()
        {
            frame = known.clone();
            let place = usize::from(choices.byte()) % frame.len().max(1);
            if let Some(byte) = frame.get_mut(place) {
                *byte = choices.byte();
            }
        }
        queue.push_front(frame);
    }

    fn hear_events(&mut self) {
        while let Some(event) = self.spoke.poll_event() {
            if let FromHub::Answered { key, .. } | FromHub::Lost { key } = event {
                assert!(self.awaited.remove(&key) || self.chained.remove(&key), "answered twice");
            }
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        protocol: 1,
        hub: HubId::parse("h").expect("h is a name"),
        service: ServiceName::parse("s").expect("s is a name"),
        incarnation: 1,
        head: Position(0),
        now: Timestamp::default(),
        keep_alive_ms: 10_000,
    }
}
