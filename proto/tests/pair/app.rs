//! The application on the spoke's side: it asks and listens at random and checks what it is told.

use std::collections::{BTreeMap, BTreeSet};

use eventflow_proto::chain::{Chain, Chained, Effect};
use eventflow_proto::message::{Answer, Reply, Request, Verdict};
use eventflow_proto::session::{FromHub, RequestKey, SpokeSession};
use eventflow_proto::{Attempt, Event, EventId, ListenerId, Position, Refusal, Start};

use crate::random::Random;
use crate::samples::{append, consumer, new_event, subscription};

const CONSUMERS: usize = 2;
const SUBSCRIPTIONS: usize = 2;

#[derive(Default)]
pub(crate) struct App {
    asked: BTreeMap<RequestKey, Vec<EventId>>,
    /// Acks with effects: the parent's position and the child's id.
    chained: BTreeMap<RequestKey, (Position, EventId)>,
    /// Parents whose chain was answered as committed, and their children.
    pub(crate) committed: Vec<(Position, EventId)>,
    pub(crate) lost_chains: usize,
    pub(crate) stored: Vec<EventId>,
    events: usize,
    consumers: BTreeMap<ListenerId, u32>,
    held: Vec<Held>,
    subscriptions: BTreeMap<ListenerId, Seen>,
    leaving: BTreeSet<ListenerId>,
    pub(crate) last_listener: u32,
    pub(crate) delivered: usize,
    pub(crate) stale_answers: usize,
    pub(crate) pushed: usize,
}

struct Held {
    link: u64,
    answer: Answer,
    is_child: bool,
    id: EventId,
}

#[derive(Default)]
struct Seen {
    through: Option<Position>,
    /// Events that are not given back.
    taken: u32,
    window: u32,
}

impl App {
    /// Does something new.
    pub(crate) fn act(&mut self, spoke: &mut SpokeSession, random: &mut Random) {
        match random.below(10) {
            0..=4 => self.ask(spoke, random),
            5 if self.consumers.len() < CONSUMERS => {
                let window = 1 + u32::try_from(random.below(5)).unwrap();
                let listener = spoke.listen(consumer(window)).unwrap();
                self.consumers.insert(listener, window);
                self.last_listener = listener.0;
            }
            6 if self.subscriptions.len() < SUBSCRIPTIONS => {
                let window = 1 + u32::try_from(random.below(8)).unwrap();
                let start = if random.once_in(2) { Start::Now } else { Start::Beginning };
                let listener = spoke.listen(subscription(start, window)).unwrap();
                self.subscriptions.insert(listener, Seen { window, ..Seen::default() });
                self.last_listener = listener.0;
            }
            7 if random.once_in(5) => self.leave(spoke, random),
            8 if random.once_in(5) => {
                if let Some((key, _)) = self.asked.pop_first() {
                    spoke.forget(key);
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, spoke: &mut SpokeSession, random: &mut Random) {
        if spoke.in_flight() >= 20 {
            return;
        }
        let count = random.below(4);
        let ids: Vec<_> = (self.events..self.events + count).map(|event| format!("e{event}")).collect();
        self.events += count;
        let body = if ids.is_empty() {
            Request::Groups { after: None }
        } else {
            append(ids.iter().map(|id| new_event(id)).collect())
        };
        let ids = ids.iter().map(|id| EventId::parse(id).unwrap()).collect();
        self.asked.insert(spoke.request(body).unwrap(), ids);
    }

    fn leave(&mut self, spoke: &mut SpokeSession, random: &mut Random) {
        let mut open: Vec<_> = self.consumers.keys().chain(self.subscriptions.keys()).copied().collect();
        open.retain(|listener| !self.leaving.contains(listener));
        if let Some(listener) = random.take(&mut open) {
            self.leaving.insert(listener);
            spoke.leave(listener);
        }
    }

    /// Answers a delivery, of this link or an earlier one, or gives back room.
    pub(crate) fn handle(&mut self, spoke: &mut SpokeSession, random: &mut Random) {
        // Some that are dead are answered, too.
        self.held.retain(|held| held.link + 1 >= spoke.link() || spoke.is_alive(held.link));
        if let Some(held) = random.take(&mut self.held) {
            if random.once_in(3) {
                return self.chain(spoke, &held);
            }
            let mut answer = held.answer.clone();
            answer.verdict = match random.below(6) {
                0 => Verdict::Progress,
                1 => Verdict::Release,
                2 => Verdict::Fail { reason: "not today".into(), after_ms: Some(1) },
                _ => Verdict::Ack,
            };
            let is_final = answer.verdict != Verdict::Progress;
            let taken = spoke.answer(held.link, answer);
            assert!(!taken || spoke.is_alive(held.link));
            self.stale_answers += usize::from(!taken);
            if !is_final {
                self.held.push(held);
            }
        }
        for (listener, seen) in &mut self.subscriptions {
            let back = random.below(seen.taken as usize + 1);
            let back = u32::try_from(back).unwrap();
            seen.taken -= back;
            spoke.credit(*listener, back);
        }
    }

    /// Acknowledges a delivery with a child, of the same id each time. A child has none of its own.
    fn chain(&mut self, spoke: &mut SpokeSession, held: &Held) {
        let Answer { listener, position, attempt, .. } = held.answer;
        let id = format!("c{position}");
        let effects = match held.is_child {
            true => Vec::new(),
            false => vec![Effect::Publish(new_event(&id))],
        };
        let chain = Chain { listener, position, attempt, effects, expectations: Vec::new() };
        match spoke.chain(held.link, Box::new(chain)).unwrap() {
            Some(key) => {
                assert!(spoke.is_alive(held.link));
                let child = if held.is_child { held.id.clone() } else { EventId::parse(&id).unwrap() };
                self.chained.insert(key, (position, child));
            }
            None => self.stale_answers += 1,
        }
    }

    /// Checks and notes what the session tells.
    pub(crate) fn told(&mut self, event: FromHub) {
        match event {
            FromHub::Welcome { .. } => {}
            FromHub::Lost { key } => {
                self.chained.remove(&key).expect("a chain was lost twice or after its answer");
                self.lost_chains += 1;
            }
            FromHub::Answered { key, outcome } if self.chained.contains_key(&key) => {
                let chained = self.chained.remove(&key).unwrap();
                match outcome {
                    Ok(Reply::Chained(Chained::Committed(_))) => self.committed.push(chained),
                    Ok(Reply::Chained(Chained::Stale)) | Err(Refusal::Stopping) => {}
                    other => panic!("a chain was answered {other:?}"),
                }
            }
            FromHub::Answered { key, outcome } => {
                let ids = self.asked.remove(&key).expect("a request was answered twice or never asked");
                match outcome.unwrap() {
                    Reply::Appended(appended) => assert_eq!(appended.len(), ids.len()),
                    Reply::Groups(_) => assert!(ids.is_empty()),
                    other => panic!("nobody asked for {other:?}"),
                }
                self.stored.extend(ids);
            }
            FromHub::ListenerOpen { listener, after } => self.opened(listener, after),
            FromHub::ListenerClosed { listener, .. } => {
                let known = self.consumers.remove(&listener).is_some()
                    | self.subscriptions.remove(&listener).is_some();
                assert!(known, "a listener was closed twice");
                self.leaving.remove(&listener);
                self.held.retain(|held| held.answer.listener != listener);
            }
            FromHub::Delivered { listener, link, attempt, event } => {
                self.delivered(listener, link, attempt, &event);
            }
            FromHub::Pushed { listener, event } => {
                let seen = self.subscriptions.get_mut(&listener).unwrap();
                assert_eq!(Some(event.position.previous()), seen.through, "a gap or a repeat");
                seen.through = Some(event.position);
                seen.taken += 1;
                self.pushed += 1;
                assert!(seen.taken <= seen.window, "more events than room");
            }
            FromHub::CaughtUp { listener, position } => {
                let seen = &self.subscriptions[&listener];
                assert_eq!(Some(position), seen.through, "caught up over a gap");
            }
            FromHub::Lagged { .. }
            | FromHub::GoAway { .. }
            | FromHub::Deadline { .. }
            | FromHub::Trust(_)
            | FromHub::Renew { .. }
            | FromHub::Expelled { .. } => {}
        }
    }

    fn opened(&mut self, listener: ListenerId, after: Position) {
        assert!(!self.leaving.contains(&listener));
        if let Some(seen) = self.subscriptions.get_mut(&listener) {
            assert!(seen.through.is_none_or(|through| through == after), "resumed elsewhere");
            seen.through = Some(after);
        }
    }

    fn delivered(&mut self, listener: ListenerId, link: u64, attempt: Attempt, event: &Event) {
        assert!(!self.leaving.contains(&listener));
        self.delivered += 1;
        let answer = Answer { listener, position: event.position, attempt, verdict: Verdict::Ack };
        let is_child = event.id.as_str().starts_with('c');
        self.held.push(Held { link, answer, is_child, id: event.id.clone() });
        let holds = |held: &&Held| held.link == link && held.answer.listener == listener;
        let in_flight = self.held.iter().filter(holds).count();
        assert!(in_flight <= self.consumers[&listener] as usize, "more deliveries than credit");
    }

    /// At the end: at least one consumer, so that everything is handled.
    pub(crate) fn settle(&mut self, spoke: &mut SpokeSession) {
        let stays = |listener: &&ListenerId| !self.leaving.contains(listener);
        if self.consumers.keys().find(stays).is_none() {
            let listener = spoke.listen(consumer(4)).unwrap();
            self.consumers.insert(listener, 4);
            self.last_listener = listener.0;
        }
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.asked.len() + self.chained.len()
    }

    /// Whether every subscription has seen everything.
    pub(crate) fn has_seen(&self, head: Position) -> bool {
        self.subscriptions.values().all(|seen| seen.through == Some(head))
    }
}
