//! One spoke with its applications: the real session, and callers that publish, consume, subscribe
//! and wait at random and check what they are told.

mod schedules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proto::chain::{Chain, Chained, Effect};
use proto::message::{Answer, Offer, Reply, Request, Scope, Verdict, Wait};
use proto::session::{FromHub, Listen, RequestKey, SpokeSession, SpokeSessionConfig};
use proto::{
    Attempt, Domain, Event, EventId, EventName, GroupName, ListenerId, NameFilter, NewEvent, Order, Pid,
    Position, Priority, Refusal, Start, Topic,
};

use super::super::connection::ConnectionId;
use super::broken::{Broken, rule};
use super::random::Random;
use super::tables::Tables;

/// Groups of the simulation.
pub(super) const GROUPS: usize = 4;

/// Requests that a spoke of the simulation has open at a time.
const ASKED_MAX: usize = 24;

/// One spoke.
#[derive(Debug)]
pub(super) struct Spoke {
    pub(super) session: SpokeSession,
    pub(super) link: Option<ConnectionId>,
    asked: BTreeMap<RequestKey, Asked>,
    consumers: BTreeMap<ListenerId, ()>,
    subscriptions: BTreeMap<ListenerId, Subscription>,
    held: Vec<Held>,
    leaving: Vec<ListenerId>,
}

#[derive(Debug)]
enum Asked {
    /// An ack with these events.
    Chain(Vec<NewEvent>),
    Append(Vec<NewEvent>),
    Wait(Box<Wait>),
    Delete,
    /// Something about a schedule that was there, or was not, when it was asked for.
    Schedule(Box<schedules::Question>),
}

#[derive(Debug)]
struct Held {
    link: u64,
    listener: ListenerId,
    attempt: Attempt,
    event: Arc<Event>,
}

#[derive(Debug)]
struct Subscription {
    topic: Option<Topic>,
    scope: Scope,
    through: Option<Position>,
    taken: u32,
}

impl Subscription {
    fn wants(&self, event: &Event) -> bool {
        (self.scope == Scope::Stored || event.publisher.is_some())
            && self.topic.as_ref().is_none_or(|topic| topic.matches(event))
    }
}

/// How an application treats what it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temper {
    /// Acks, fails, releases, parks, dawdles.
    Moody,
    /// Acks, but what always fails.
    Diligent,
}

impl Spoke {
    pub(super) fn new() -> Self {
        let config =
            SpokeSessionConfig { software: "simulation".to_owned(), welcome_within: Duration::from_secs(5) };
        Self {
            session: SpokeSession::new(config),
            link: None,
            asked: BTreeMap::new(),
            consumers: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            held: Vec::new(),
            leaving: Vec::new(),
        }
    }

    /// Whether a request of its may still be added.
    fn has_room(&self) -> bool {
        self.asked.len() < ASKED_MAX
    }

    // ---- what its applications do

    /// Publishes or persists some events, now and then ones that somebody has stored already.
    pub(super) fn publish(&mut self, random: &mut Random, next: &mut u64, tables: &Tables) {
        if !self.has_room() {
            return;
        }
        let mut events = Vec::new();
        for _ in 0..=random.below(3) {
            *next += 1;
            events.push(new_event(&format!("e-{next}"), random));
        }
        let known: Vec<_> = tables.events().cloned().collect();
        if random.once_in(8)
            && let Some(event) = random.pick(&known)
        {
            events.push(again(&event));
        }
        let offer = if random.once_in(10) { Offer::Persist } else { Offer::Publish };
        let body = Request::Append { events: events.clone(), offer, expectations: Vec::new() };
        if let Ok(key) = self.session.request(body) {
            self.asked.insert(key, Asked::Append(events));
        }
    }

    /// Waits for an event of a process that may be there, may come, or never comes.
    pub(super) fn wait(&mut self, random: &mut Random, tables: &Tables) {
        if !self.has_room() {
            return;
        }
        let names = NameFilter::of([name(random)]).unwrap_or(NameFilter::All);
        let after = if random.once_in(2) { Position(0) } else { tables.head() };
        let wait = Wait { domain: domain(random), pid: pid(random), names, after, within_ms: 86_400_000 };
        if let Ok(key) = self.session.request(Request::Wait(wait.clone())) {
            self.asked.insert(key, Asked::Wait(Box::new(wait)));
        }
    }

    /// Deletes an event.
    pub(super) fn delete(&mut self, random: &mut Random, tables: &Tables) {
        let known: Vec<_> = tables.events().map(|event| event.position).collect();
        if let Some(position) = random.pick(&known)
            && let Ok(id) = EventId::parse(&format!("d-{position}"))
            && let Ok(key) = self.session.request(Request::DeleteEvent(id))
        {
            self.asked.insert(key, Asked::Delete);
        }
    }

    /// Opens a consumer of one of a few groups.
    pub(super) fn consume(&mut self, random: &mut Random) {
        if self.consumers.len() >= 3 {
            return;
        }
        let which = random.below(GROUPS);
        let credit = [1, 2, 5, 40].get(random.below(4)).copied().unwrap_or(1);
        if let Ok(listener) = self.session.listen(group(which, credit)) {
            self.consumers.insert(listener, ());
        }
    }

    /// Opens a subscription.
    pub(super) fn subscribe(&mut self, random: &mut Random) {
        if self.subscriptions.len() >= 2 {
            return;
        }
        let topic = (!random.once_in(3)).then(|| Topic { domain: domain(random), names: NameFilter::All });
        let scope = if random.once_in(2) { Scope::Published } else { Scope::Stored };
        let start = if random.once_in(2) { Start::Now } else { Start::Beginning };
        let credit = u32::try_from(1 + random.below(12)).unwrap_or(1);
        let listen = Listen::Subscribe { topic: topic.clone(), scope, start, credit };
        if let Ok(listener) = self.session.listen(listen) {
            self.subscriptions.insert(listener, Subscription { topic, scope, through: None, taken: 0 });
        }
    }

    /// Closes a consumer or a subscription.
    pub(super) fn leave(&mut self, random: &mut Random) {
        let mut open: Vec<_> = self.consumers.keys().chain(self.subscriptions.keys()).copied().collect();
        open.retain(|listener| !self.leaving.contains(listener));
        if let Some(listener) = random.take(&mut open) {
            self.leaving.push(listener);
            self.session.leave(listener);
        }
    }

    /// Answers one delivery, of this link or an earlier one.
    pub(super) fn answer(&mut self, random: &mut Random, temper: Temper) {
        let Some(held) = random.take(&mut self.held) else { return };
        let verdict = verdict(&held.event, random, temper);
        if verdict == Verdict::Ack && self.has_room() && random.once_in(8) {
            return self.chain(held, random);
        }
        let is_final = verdict != Verdict::Progress;
        let answer =
            Answer { listener: held.listener, position: held.event.position, attempt: held.attempt, verdict };
        let taken = self.session.answer(held.link, answer);
        if taken && !is_final {
            self.held.push(held);
        }
    }

    /// Acks a delivery with a child of its event, now and then with one that cannot be stored.
    fn chain(&mut self, held: Held, random: &mut Random) {
        let Held { link, listener, attempt, event } = held;
        let position = event.position;
        let mut effects = Vec::new();
        // A child has none of its own, or there would be no end of them.
        if !event.id.as_str().starts_with('c') {
            let id = EventId::parse(&format!("c-{position}")).expect("a letter and digits make an id");
            let name = EventName::parse("paid").expect("a constant");
            let child = NewEvent::new(id, event.domain.clone(), event.pid.clone(), name.clone());
            effects.push(Effect::Publish(child));
            if random.once_in(6) {
                let other = Pid::parse("other").expect("a constant");
                let taken = NewEvent::new(event.id.clone(), event.domain.clone(), other, name);
                effects.push(Effect::Persist(taken));
            }
        }
        let events = effects.iter().filter_map(Effect::event).cloned().collect();
        let chain = Chain { listener, position, attempt, effects, expectations: Vec::new() };
        if let Ok(Some(key)) = self.session.chain(link, Box::new(chain)) {
            self.asked.insert(key, Asked::Chain(events));
        }
    }

    /// Gives room back to subscriptions.
    pub(super) fn give_back(&mut self, random: &mut Random, temper: Temper) {
        for (listener, subscription) in &mut self.subscriptions {
            let all = usize::try_from(subscription.taken).unwrap_or(usize::MAX);
            let back = if temper == Temper::Diligent { all } else { random.below(all + 1) };
            let back = u32::try_from(back).unwrap_or(u32::MAX);
            subscription.taken -= back;
            self.session.credit(*listener, back);
        }
    }

    pub(super) fn holds(&self) -> usize {
        self.held.len()
    }

    // ---- what it is told

    /// Checks everything that the session has to tell.
    pub(super) fn listen(&mut self, tables: &Tables) -> Result<(), Broken> {
        while let Some(event) = self.session.poll_event() {
            self.told(event, tables)?;
        }
        Ok(())
    }

    fn told(&mut self, event: FromHub, tables: &Tables) -> Result<(), Broken> {
        match event {
            FromHub::Answered { key, outcome } => self.answered(key, outcome, tables),
            FromHub::ListenerOpen { listener, after } => {
                if let Some(subscription) = self.subscriptions.get_mut(&listener) {
                    let through = subscription.through;
                    rule(
                        through.is_none_or(|at| at == after),
                        "a subscription goes on where it was",
                        || format!("it was at {through:?} and goes on after {after}"),
                    )?;
                    subscription.through = Some(after);
                }
                Ok(())
            }
            FromHub::ListenerClosed { listener, .. } => {
                self.consumers.remove(&listener);
                self.subscriptions.remove(&listener);
                self.leaving.retain(|leaving| *leaving != listener);
                self.held.retain(|held| held.listener != listener);
                Ok(())
            }
            FromHub::Delivered { listener, link, attempt, event } => {
                self.held.push(Held { link, listener, attempt, event });
                Ok(())
            }
            FromHub::Pushed { listener, event } => self.pushed(listener, &event, tables),
            FromHub::CaughtUp { listener, position } => self.caught_up(listener, position, tables),
            FromHub::Lost { key } => {
                let asked = self.asked.remove(&key);
                rule(matches!(asked, Some(Asked::Chain(_))), "only chains are lost, and once", || {
                    format!("{key:?}: {asked:?}")
                })
            }
            FromHub::Welcome { .. }
            | FromHub::Lagged { .. }
            | FromHub::GoAway { .. }
            | FromHub::Trust(_)
            | FromHub::Renew { .. }
            | FromHub::Expelled { .. }
            | FromHub::Deadline { .. } => Ok(()),
        }
    }

    fn answered(
        &mut self,
        key: RequestKey,
        outcome: Result<Reply, Refusal>,
        tables: &Tables,
    ) -> Result<(), Broken> {
        let Some(asked) = self.asked.remove(&key) else {
            return rule(false, "a request is answered once", || format!("{key:?}: {outcome:?}"));
        };
        match (asked, outcome) {
            (Asked::Append(events), Ok(Reply::Appended(appended)))
            | (Asked::Chain(events), Ok(Reply::Chained(Chained::Committed(appended)))) => {
                for (event, appended) in events.iter().zip(&appended) {
                    let stored = tables.event(appended.position);
                    let kept = stored
                        .is_some_and(|stored| stored.id == event.id && stored.data == event.data)
                        || tables.deleted.contains(&appended.position);
                    rule(kept, "what is answered is stored, where the answer says", || {
                        format!("{event:?} is said to be at {appended:?}, where {stored:?} is")
                    })?;
                }
                Ok(())
            }
            (Asked::Wait(wait), Ok(Reply::Waited(Some(event)))) => {
                let first = tables.first(&wait).map(|event| event.position);
                // An earlier one may have been deleted since, a later one never comes in its place.
                let right = event.domain == wait.domain
                    && event.pid == wait.pid
                    && event.position > wait.after
                    && wait.names.matches(&event.name)
                    && first.is_none_or(|first| event.position <= first);
                rule(right, "a wait is answered with the first event that it is for", || {
                    format!("{wait:?} is answered with {}, the first is {first:?}", event.position)
                })
            }
            (Asked::Schedule(question), Ok(Reply::Schedule(reply))) => question.check(&reply, tables),
            (Asked::Chain(_), Ok(Reply::Chained(Chained::Stale))) | (Asked::Delete, _) | (_, Err(_)) => {
                Ok(())
            }
            (asked, Ok(reply)) => {
                rule(false, "an answer is of the kind of its request", || format!("{asked:?}: {reply:?}"))
            }
        }
    }

    fn pushed(&mut self, listener: ListenerId, event: &Event, tables: &Tables) -> Result<(), Broken> {
        let Some(subscription) = self.subscriptions.get_mut(&listener) else { return Ok(()) };
        let Some(through) = subscription.through else {
            return rule(false, "nothing is pushed before a subscription is open", || format!("{event:?}"));
        };
        let skipped = tables.events().find(|other| {
            other.position > through && other.position < event.position && subscription.wants(other)
        });
        rule(
            skipped.is_none() && event.position > through,
            "a subscription has no gap and no repeat",
            || format!("{} comes after {through}, between is {skipped:?}", event.position),
        )?;
        subscription.through = Some(event.position);
        subscription.taken += 1;
        Ok(())
    }

    fn caught_up(&mut self, listener: ListenerId, position: Position, tables: &Tables) -> Result<(), Broken> {
        let Some(subscription) = self.subscriptions.get_mut(&listener) else { return Ok(()) };
        let Some(through) = subscription.through else { return Ok(()) };
        let skipped = tables.events().find(|other| {
            other.position > through && other.position <= position && subscription.wants(other)
        });
        rule(skipped.is_none(), "who is told to have caught up has seen everything", || {
            format!("caught up at {position}, not seen {skipped:?}")
        })?;
        subscription.through = Some(through.max(position));
        Ok(())
    }

    /// What is still owed to its applications when everything is calm.
    pub(super) fn owed(&self, tables: &Tables) -> Option<String> {
        for asked in self.asked.values() {
            match asked {
                Asked::Wait(wait) if tables.first(wait).is_none() => {}
                Asked::Append(_) | Asked::Delete | Asked::Wait(_) | Asked::Chain(_) | Asked::Schedule(_) => {
                    return Some(format!("{asked:?}"));
                }
            }
        }
        for (listener, subscription) in &self.subscriptions {
            let unseen = tables.events().find(|event| {
                subscription.through.is_none_or(|through| event.position > through)
                    && subscription.wants(event)
            });
            if unseen.is_some() {
                return Some(format!("{listener}: {subscription:?} has not seen {unseen:?}"));
            }
        }
        None
    }
}

/// What the application makes of an event. Some events are poison: they fail always.
fn verdict(event: &Event, random: &mut Random, temper: Temper) -> Verdict {
    let fail = Verdict::Fail { reason: "poison".to_owned(), after_ms: None };
    if event.position.0.is_multiple_of(23) {
        return fail;
    }
    if temper == Temper::Diligent {
        return Verdict::Ack;
    }
    match random.below(20) {
        0 | 1 => fail,
        2 => Verdict::Fail { reason: "not yet".to_owned(), after_ms: Some(700) },
        3 | 4 => Verdict::Release,
        5 => Verdict::Park { reason: "never".to_owned() },
        6 | 7 => Verdict::Progress,
        _ => Verdict::Ack,
    }
}

/// One of the groups of the simulation.
pub(super) fn group(which: usize, credit: u32) -> Listen {
    let (name, domain, names, order, start) = match which {
        0 => ("audit", "order", NameFilter::All, Order::ByPid, Start::Beginning),
        1 => ("mail", "order", named("paid"), Order::ByPid, Start::Now),
        2 => ("count", "permit", NameFilter::All, Order::None, Start::Beginning),
        _ => ("audit", "permit", NameFilter::All, Order::ByPid, Start::Beginning),
    };
    Listen::Consume {
        group: GroupName::parse(name).expect("a constant"),
        topic: Topic { domain: Domain::parse(domain).expect("a constant"), names },
        start,
        order,
        credit,
    }
}

fn named(name: &str) -> NameFilter {
    NameFilter::of([EventName::parse(name).expect("a constant")]).expect("one name is not too many")
}

fn domain(random: &mut Random) -> Domain {
    Domain::parse(if random.once_in(3) { "permit" } else { "order" }).expect("a constant")
}

/// One of a few processes, some much busier than others.
fn pid(random: &mut Random) -> Pid {
    let which = if random.once_in(2) { 0 } else { random.below(6) };
    Pid::parse(&format!("p{which}")).expect("a letter and a digit make a name")
}

fn name(random: &mut Random) -> EventName {
    EventName::parse(if random.once_in(3) { "paid" } else { "placed" }).expect("a constant")
}

fn new_event(id: &str, random: &mut Random) -> NewEvent {
    let id = EventId::parse(id).expect("a letter and digits make an id");
    let event = NewEvent::new(id, domain(random), pid(random), name(random));
    let priority = Priority::of(u8::try_from(random.below(10)).unwrap_or(0)).unwrap_or_default();
    if random.once_in(4) { event.with_priority(priority) } else { event }
}

/// The same event once more.
fn again(event: &Event) -> NewEvent {
    let (domain, pid, name) = (event.domain.clone(), event.pid.clone(), event.name.clone());
    NewEvent::new(event.id.clone(), domain, pid, name)
}
