//! The hub's end of one connection: a session, and a driver that obeys the protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use eventflow_proto::chain::{Chain, Chained, Effect};
use eventflow_proto::message::{Answer, Reply, Request, Stored, Verdict};
use eventflow_proto::session::{FromSpoke, HubSession, Violation};
use eventflow_proto::{Attempt, ListenerId, Position, Refusal, RequestId, Start};

use crate::log::Log;
use crate::random::Random;
use crate::samples::{HUB, welcome};

pub(crate) struct HubEnd {
    pub(crate) session: HubSession,
    asked: Vec<(RequestId, Request)>,
    members: BTreeMap<ListenerId, Member>,
    feeds: BTreeMap<ListenerId, Feed>,
    /// Listeners up to this number were there before this connection.
    old_listeners: u32,
    hears_other_requests: bool,
    is_stopping: bool,
}

struct Member {
    credit: usize,
    in_flight: BTreeSet<(Position, Attempt)>,
}

struct Feed {
    credit: u32,
    through: Position,
}

impl HubEnd {
    pub(crate) fn new(now: Duration, old_listeners: u32) -> Self {
        Self {
            session: HubSession::new(HUB, now),
            asked: Vec::new(),
            members: BTreeMap::new(),
            feeds: BTreeMap::new(),
            old_listeners,
            hears_other_requests: false,
            is_stopping: false,
        }
    }

    pub(crate) fn hear(&mut self, frame: &[u8], now: Duration, log: &mut Log) -> Result<(), Violation> {
        match self.session.handle_frame(frame, now)? {
            Some(FromSpoke::Hello(_)) => self.session.welcome(welcome(1), now),
            Some(FromSpoke::Request { id, body }) => {
                self.check_order(&body);
                self.asked.push((id, body));
            }
            Some(FromSpoke::Answers(answers)) => {
                answers.into_iter().for_each(|answer| self.answered(answer, log));
            }
            Some(FromSpoke::Credit { listener, events }) => {
                if let Some(feed) = self.feeds.get_mut(&listener) {
                    feed.credit += events;
                }
                if let Some(member) = self.members.get_mut(&listener) {
                    member.credit += events as usize;
                }
            }
            Some(FromSpoke::Enough(listener)) => {
                if let Some(member) = self.members.get_mut(&listener) {
                    member.credit = 0;
                }
                self.session.enough(listener);
            }
            Some(FromSpoke::Goodbye | FromSpoke::TrustKept(_)) | None => {}
        }
        Ok(())
    }

    /// Listeners of earlier connections are said again before anything else.
    fn check_order(&mut self, body: &Request) {
        let listener = match body {
            Request::Consume(consume) => consume.listener,
            Request::Subscribe(subscribe) => subscribe.listener,
            _ => {
                self.hears_other_requests = true;
                return;
            }
        };
        let is_late = self.hears_other_requests && listener.0 <= self.old_listeners;
        assert!(!is_late, "listener {listener} was said again after a request");
    }

    fn answered(&mut self, answer: Answer, log: &mut Log) {
        // A consumer that this end has not opened yet has no deliveries to answer.
        let member = self.members.get_mut(&answer.listener).unwrap();
        let delivery = (answer.position, answer.attempt);
        assert!(member.in_flight.contains(&delivery), "an answer to a delivery that is not of this link");
        match answer.verdict {
            Verdict::Progress => return,
            Verdict::Ack => assert!(log.handled.insert(answer.position)),
            Verdict::Fail { .. } | Verdict::Release | Verdict::Park { .. } => {
                log.open.insert(answer.position);
            }
        }
        member.in_flight.remove(&delivery);
    }

    /// Listeners up to this number were there before this connection is used.
    pub(crate) fn old_listeners(&mut self, last: u32) {
        self.old_listeners = last;
    }

    /// Does one of the things that there are to do.
    pub(crate) fn work(&mut self, random: &mut Random, log: &mut Log) {
        match random.below(3) {
            0 => self.answer_one(random, log),
            1 => self.deliver_one(log),
            _ => self.push_one(random, log),
        }
    }

    fn answer_one(&mut self, random: &mut Random, log: &mut Log) {
        let Some((id, body)) = random.take(&mut self.asked) else { return };
        if self.is_stopping {
            return self.session.reply(id, Err(Refusal::Stopping));
        }
        let outcome = match body {
            Request::Append { events, .. } => {
                Ok(Reply::Appended(events.into_iter().map(|event| log.append(event)).collect()))
            }
            Request::Consume(consume) => {
                let member = Member { credit: consume.credit as usize, in_flight: BTreeSet::new() };
                self.members.insert(consume.listener, member);
                Ok(Reply::Listening { after: Position(0) })
            }
            Request::Subscribe(subscribe) => {
                let through = match subscribe.start {
                    Start::Beginning => Position(0),
                    Start::Now => log.head(),
                    Start::At(position) => position.previous(),
                };
                self.feeds.insert(subscribe.listener, Feed { credit: subscribe.credit, through });
                Ok(Reply::Listening { after: through })
            }
            Request::Leave(listener) if self.opens(listener) => {
                return self.asked.push((id, Request::Leave(listener)));
            }
            Request::Leave(listener) => {
                self.close(listener, log);
                Ok(Reply::Left)
            }
            Request::Groups { .. } => Ok(Reply::Groups(Vec::new())),
            Request::Chain(chain) => Ok(Reply::Chained(self.chained(*chain, log))),
            other => panic!("nobody asks for {other:?}"),
        };
        self.session.reply(id, outcome);
    }

    /// Settles and appends in one, if the delivery is still the member's.
    fn chained(&mut self, chain: Chain, log: &mut Log) -> Chained {
        let Some(member) = self.members.get_mut(&chain.listener) else { return Chained::Stale };
        if !member.in_flight.remove(&(chain.position, chain.attempt)) {
            return Chained::Stale;
        }
        assert!(log.handled.insert(chain.position));
        let appended = chain.effects.into_iter().map(|effect| match effect {
            Effect::Publish(event) => {
                let appended = log.append(event);
                assert_eq!(appended.stored, Stored::Now, "a chain took effect twice");
                appended
            }
            other => panic!("nobody asks for {other:?}"),
        });
        Chained::Committed(appended.collect())
    }

    /// Whether the request that opens `listener` is still to be answered.
    fn opens(&self, listener: ListenerId) -> bool {
        self.asked.iter().any(|(_, body)| match body {
            Request::Consume(consume) => consume.listener == listener,
            Request::Subscribe(subscribe) => subscribe.listener == listener,
            _ => false,
        })
    }

    fn deliver_one(&mut self, log: &mut Log) {
        for (listener, member) in &mut self.members {
            if member.in_flight.len() < member.credit
                && let Some(position) = log.open.pop_first()
            {
                let attempt = Attempt(log.next_attempt());
                member.in_flight.insert((position, attempt));
                return self.session.deliver(*listener, attempt, log.at(position).unwrap());
            }
        }
    }

    fn push_one(&mut self, random: &mut Random, log: &Log) {
        for (listener, feed) in &mut self.feeds {
            if feed.credit > 0
                && let Some(event) = log.at(feed.through.next())
            {
                feed.through = event.position;
                feed.credit -= 1;
                self.session.push(*listener, event);
            } else if feed.through == log.head() && random.once_in(10) {
                self.session.caught_up(*listener, feed.through);
            } else if random.once_in(50) {
                self.session.lagged(*listener, log.head().0 - feed.through.0);
            }
        }
    }

    /// Throws a listener out.
    pub(crate) fn drop_one(&mut self, log: &mut Log) {
        let first = self.members.keys().chain(self.feeds.keys()).next().copied();
        if let Some(listener) = first {
            self.close(listener, log);
            self.session.dropped(listener, Refusal::Denied { reason: "no more".into() });
        }
    }

    pub(crate) fn stop(&mut self, log: &mut Log) {
        self.is_stopping = true;
        self.session.go_away("update".into(), Duration::ZERO);
        for listener in self.members.keys().chain(self.feeds.keys()).copied().collect::<Vec<_>>() {
            self.close(listener, log);
            self.session.dropped(listener, Refusal::Stopping);
        }
    }

    fn close(&mut self, listener: ListenerId, log: &mut Log) {
        self.feeds.remove(&listener);
        if let Some(member) = self.members.remove(&listener) {
            log.open.extend(member.in_flight.into_iter().map(|(position, _)| position));
        }
    }

    /// The connection is gone: what was in flight comes again.
    pub(crate) fn gone(mut self, log: &mut Log) {
        for listener in self.members.keys().copied().collect::<Vec<_>>() {
            self.close(listener, log);
        }
    }
}
