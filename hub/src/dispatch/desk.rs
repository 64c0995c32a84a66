//! All groups and subscriptions of this hub as one pure state: events, answers and time come in,
//! effects come out.
//!
//! [`super::task`] feeds it and carries out what it asks. It never waits, so a test can drive it
//! through any order of events.

mod generation;
mod manage;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use db::{GroupId, Matching, Settlements, Unparked, Wanted};
use proto::message::{Answer, Scope};
use proto::report::{DeliveryStory, GroupReport};
use proto::{Attempt, Domain, Event, GroupName, ListenerId, Position, Refusal, Timestamp, Topic};

pub(super) use self::generation::Generation;
use super::connection::{ConnectionId, Rooms};
use super::effect::{Effect, LoadFor};
use super::feed::{Feed, Pace};
use super::group::{Committed, Ended, Group, MemberKey, Recovered, Stall, UnparkWish};
use super::orphans::Orphans;
use super::ring::Ring;
use super::rules::Rules;

/// Events that one read for a group or a subscription may bring.
const LOAD_EVENTS: u32 = 1_000;

/// How often deliveries are looked through for those that were not answered in time.
const EXPIRE_EVERY: Duration = Duration::from_millis(500);

/// The dispatcher's state.
#[derive(Debug)]
pub(crate) struct Desk {
    rules: Rules,
    ring: Ring,
    rooms: Rooms,
    groups: BTreeMap<GroupId, Group>,
    feeds: BTreeMap<MemberKey, Feed>,
    orphans: Orphans,
    expired: Timestamp,
    /// That of the group that was added last.
    generation: Generation,
    /// Set when the hub stops: nothing more goes out.
    closing: bool,
}

impl Desk {
    /// The state of a hub that starts on a log which ends at `head`.
    pub(super) fn new(rules: Rules, head: Position, now: Timestamp) -> Self {
        Self {
            rules,
            ring: Ring::new(head),
            rooms: Rooms::default(),
            groups: BTreeMap::new(),
            feeds: BTreeMap::new(),
            orphans: Orphans::default(),
            expired: now,
            generation: Generation::default(),
            closing: false,
        }
    }

    /// The last position of the log, as far as it is known here.
    pub(super) fn head(&self) -> Position {
        self.ring.head()
    }

    /// Takes what was just committed.
    pub(super) fn committed(&mut self, events: Vec<Arc<Event>>, now: Timestamp) {
        for event in &events {
            let wanted = event.publisher.is_none()
                || self.groups.values().any(|group| group.wants(event))
                || self.feeds.values().any(|feed| feed.wants(event));
            if !wanted {
                self.orphans.add(event.position, now);
            }
        }
        self.ring.push(events);
    }

    /// The log goes on to `head`; what is between must be read from the tables.
    pub(super) fn missed(&mut self, head: Position) {
        self.ring.missed(head);
    }

    /// Events were deleted.
    pub(super) fn deleted(&mut self, positions: &[Position]) {
        self.ring.deleted(positions);
        for group in self.groups.values_mut() {
            positions.iter().for_each(|&position| group.forget(position));
        }
    }

    /// A connection is there.
    pub(super) fn connected(&mut self, connection: ConnectionId) {
        self.rooms.open(connection);
    }

    /// A connection is gone, and with it its members and subscriptions.
    pub(super) fn gone(&mut self, connection: ConnectionId) {
        self.rooms.close(connection);
        self.groups.values_mut().for_each(|group| group.gone(connection));
        self.feeds.retain(|key, _| key.connection != connection);
    }

    /// A connection has written so much of what it was sent.
    pub(super) fn written(&mut self, connection: ConnectionId, events: usize, bytes: usize) {
        self.rooms.written(connection, events, bytes);
    }

    /// Adds a group that this hub now has; one that is here already is left as it is.
    pub(super) fn add_group(&mut self, recovered: Recovered, now: Timestamp) {
        let rules = self.rules;
        if let Entry::Vacant(place) = self.groups.entry(recovered.group.id) {
            self.generation = self.generation.next();
            place.insert(Group::new(recovered, self.generation, rules, now));
        }
    }

    /// The hub before this one died: nothing goes out of a group before that is noted.
    pub(super) fn beware(&mut self) {
        self.groups.values_mut().for_each(Group::beware);
    }

    /// Drops a group that is not this hub's any more; the acts on parked events that end with it.
    pub(super) fn drop_group(&mut self, group: GroupId) -> Vec<u64> {
        self.groups.remove(&group).map_or_else(Vec::new, |group| group.tickets().collect())
    }

    /// Takes a wish to do something about parked events of a group. [`Effect::Unpark`] begins it.
    ///
    /// # Errors
    /// Why not now.
    pub(super) fn wish_unpark(&mut self, group: GroupId, wish: UnparkWish) -> Result<(), Refusal> {
        match self.groups.get_mut(&group) {
            Some(group) => group.wish_unpark(wish),
            None => {
                let reason = "the group is being taken over".to_owned();
                Err(Refusal::Unavailable { reason })
            }
        }
    }

    /// An act on parked events was done, or not.
    pub(super) fn unparked(
        &mut self,
        group: GroupId,
        ticket: u64,
        unparked: Option<&Unparked>,
        now: Timestamp,
    ) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.unparked(ticket, unparked, now);
        }
    }

    /// Lets a member into a group; false if its connection is gone meanwhile.
    pub(super) fn join(&mut self, group: GroupId, key: MemberKey, label: Arc<str>, credit: u32) -> bool {
        let open = self.rooms.is_open(key.connection);
        if let Some(group) = self.groups.get_mut(&group).filter(|_| open) {
            group.join(key, label, credit);
        }
        open
    }

    /// Starts a subscription; false if its connection is gone meanwhile.
    pub(super) fn subscribe(&mut self, feed: Feed) -> bool {
        let open = self.rooms.is_open(feed.connection);
        if open {
            let key = MemberKey { connection: feed.connection, listener: feed.listener };
            self.feeds.insert(key, feed);
        }
        open
    }

    /// Ends a consumer or a subscription. [`Effect::Left`] says when it is over.
    pub(super) fn leave(&mut self, key: MemberKey, group: Option<GroupId>, effects: &mut Vec<Effect>) {
        match group.and_then(|group| self.groups.get_mut(&group)) {
            Some(group) => group.leave(key, effects),
            None => {
                self.feeds.remove(&key);
                effects.push(Effect::Left { connection: key.connection, listener: key.listener });
            }
        }
    }

    /// Allows more to be in flight to a listener.
    pub(super) fn credit(&mut self, key: MemberKey, group: Option<GroupId>, events: u32) {
        if let Some(group) = group.and_then(|group| self.groups.get_mut(&group)) {
            group.credit(key, events);
        } else if let Some(feed) = self.feeds.get_mut(&key) {
            feed.credit(events);
        }
    }

    /// Nothing more goes to a member, which still answers what it has.
    pub(super) fn enough(&mut self, key: MemberKey, group: GroupId) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.enough(key);
        }
    }

    /// Takes an answer to a delivery.
    pub(super) fn answered(
        &mut self,
        group: GroupId,
        connection: ConnectionId,
        answer: Answer,
        now: Timestamp,
    ) -> Ended {
        let key = MemberKey { connection, listener: answer.listener };
        match self.groups.get_mut(&group) {
            Some(group) => group.answered(key, answer, now),
            None => Ended::Stale,
        }
    }

    /// Takes an answer with effects: what is to be settled with them, or `None` if it is stale.
    pub(super) fn chain(
        &mut self,
        group: GroupId,
        key: MemberKey,
        position: Position,
        attempt: Attempt,
        now: Timestamp,
    ) -> Option<Settlements> {
        self.groups.get_mut(&group)?.chain(key, position, attempt, now)
    }

    /// The writer is done with a chain.
    pub(super) fn chained(
        &mut self,
        group: GroupId,
        position: Position,
        committed: Committed,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Ended {
        match self.groups.get_mut(&group) {
            Some(group) => group.chained(position, committed, now, effects),
            None => Ended::Stale,
        }
    }

    /// A page that was asked for is here: what comes after `after`.
    ///
    /// A group that was given up and taken again meanwhile reads from elsewhere, and passes it over.
    pub(super) fn loaded(
        &mut self,
        reader: LoadFor,
        after: Position,
        page: &Matching,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        match reader {
            LoadFor::Group(id) => {
                let waits = |group: &&mut Group| group.loading && group.read_through() == after;
                let Some(group) = self.groups.get_mut(&id).filter(waits) else { return };
                group.loading = false;
                page.events.iter().for_each(|event| group.take(event, now));
                group.read_to(page.through);
            }
            LoadFor::Feed(connection, listener) => {
                let Some(feed) = self.feeds.get_mut(&MemberKey { connection, listener }) else { return };
                feed.loading = false;
                let rooms = &mut self.rooms;
                if page.events.iter().all(|event| feed.take(event, rooms, effects) == Pace::Going) {
                    feed.read_to(page.through);
                }
            }
        }
    }

    /// The data of events that were in hand without it is here.
    pub(super) fn fetched(&mut self, group: GroupId, position: Position, events: &[Arc<Event>]) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.fetched(position, events);
        }
    }

    /// The writer has recorded a group's outcomes.
    pub(super) fn flushed(&mut self, group: GroupId, effects: &mut Vec<Effect>) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.flushed(&mut self.rooms, effects);
        }
    }

    /// The writer has recorded orphans.
    pub(super) fn orphans_flushed(&mut self) {
        self.orphans.flushed();
    }

    /// Does everything that can be done now.
    pub(super) fn pump(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> usize {
        let mut late = 0;
        let expire = now.since(self.expired) >= EXPIRE_EVERY;
        if expire {
            self.expired = now;
        }
        for group in self.groups.values_mut() {
            if expire {
                late += group.expire(now);
            }
            if !self.closing {
                read_on(group, &self.ring, now, effects);
                group.pump(now, &mut self.rooms, effects);
            }
            group.flush(now, effects);
            group.begin_unpark(now, effects);
        }
        if !self.closing {
            for feed in self.feeds.values_mut() {
                feed_on(feed, &self.ring, &mut self.rooms, effects);
                if expire {
                    feed.tell_again(effects);
                }
            }
        }
        effects.extend(self.orphans.flush(now).map(Effect::Orphans));
        late
    }

    /// When [`Desk::pump`] must be called again at the latest.
    pub(super) fn wake_at(&self, now: Timestamp) -> Timestamp {
        let groups = self.groups.values().filter_map(Group::wake_at);
        groups.chain(self.orphans.due_at()).fold(now.plus(EXPIRE_EVERY), Timestamp::min)
    }

    /// Sends nothing more out; answers are still taken and recorded.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether nothing is sent out any more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Moves every cursor on as far as it goes, before the hub ends.
    pub(super) fn sweep(&mut self, effects: &mut Vec<Effect>) {
        self.groups.values_mut().for_each(|group| group.last_sweep(effects));
    }

    /// Whether nothing is with members or waiting to be recorded.
    pub(super) fn is_quiet(&self) -> bool {
        self.orphans.is_quiet() && self.groups.values().all(Group::is_quiet)
    }

    /// Deliveries that members have now.
    pub(super) fn out(&self) -> usize {
        self.groups.values().map(Group::out).sum()
    }

    /// The groups after `after`, by name and domain, with how far each has read.
    pub(super) fn reports(&self, after: Option<&GroupName>) -> Vec<(GroupReport, Position)> {
        let mut reports: Vec<_> = self
            .groups
            .values()
            .filter(|group| after.is_none_or(|after| group.name > *after))
            .map(|group| (group.report(self.head()), group.read_through()))
            .collect();
        reports.sort_by(|(a, _), (b, _)| (&a.group, &a.domain).cmp(&(&b.group, &b.domain)));
        reports
    }

    /// How many positions each group is behind the head.
    pub(super) fn lags(&self) -> impl Iterator<Item = (&GroupName, &Domain, u64)> {
        self.groups.values().map(|group| {
            let behind = self.head().0.saturating_sub(group.settled_through().0);
            (&group.name, &group.topic.domain, behind)
        })
    }

    /// Why `event` is not further in each group that wants it.
    pub(super) fn stories(&self, event: &Event) -> Vec<(GroupId, DeliveryStory)> {
        self.groups.iter().filter_map(|(&id, group)| Some((id, group.story(event)?))).collect()
    }

    /// Something that could go on and does not, right after [`Desk::pump`]: a fault of the dispatcher.
    pub(super) fn stall(&self, now: Timestamp) -> Option<Stall> {
        if self.closing {
            return None;
        }
        self.groups.values().find_map(|group| group.stall(&self.ring, &self.rooms, now))
    }

    /// Who has an event now.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn holder(&self, group: GroupId, position: Position) -> Option<MemberKey> {
        self.groups.get(&group)?.holder(position)
    }

    /// What a group consumes, if it is here.
    pub(super) fn topic(&self, group: GroupId) -> Option<Topic> {
        self.groups.get(&group).map(|group| group.topic.clone())
    }
}

/// Lets a group take what it has room for: from the ring if that goes back far enough, else from
/// the tables.
fn read_on(group: &mut Group, ring: &Ring, now: Timestamp, effects: &mut Vec<Effect>) {
    while let Some(after) = group.reads_after().filter(|&after| after < ring.head()) {
        if !ring.covers(after) {
            group.loading = true;
            let wanted = Wanted { topic: Some(group.topic.clone()), scope: Scope::Published, pid: None };
            effects.push(Effect::Load {
                reader: LoadFor::Group(group.id),
                wanted,
                after,
                limit: LOAD_EVENTS,
            });
            return;
        }
        for (position, event) in ring.after(after) {
            match event {
                Some(event) => group.take(event, now),
                None => group.read_to(position),
            }
            if group.reads_after().is_none() {
                return;
            }
        }
    }
}

/// Lets a subscription have what it can take.
fn feed_on(feed: &mut Feed, ring: &Ring, rooms: &mut Rooms, effects: &mut Vec<Effect>) {
    if let Some(after) = feed.reads_after().filter(|&after| after < ring.head()) {
        if ring.covers(after) {
            for (position, event) in ring.after(after) {
                match event {
                    Some(event) if feed.take(event, rooms, effects) == Pace::Stopped => break,
                    Some(_) => {}
                    None => feed.read_to(position),
                }
            }
        } else {
            feed.loading = true;
            let (reader, limit) =
                (LoadFor::Feed(feed.connection, feed.listener), feed.room().min(LOAD_EVENTS));
            effects.push(Effect::Load { reader, wanted: feed.wanted(), after, limit });
        }
    }
    feed.tell(ring.head(), effects);
}

/// A listener's key.
pub(super) fn key(connection: ConnectionId, listener: ListenerId) -> MemberKey {
    MemberKey { connection, listener }
}
