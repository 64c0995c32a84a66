//! The task that owns the [`Desk`]: it feeds it and carries out what it asks for.

mod chains;
mod consuming;
mod gauges;
mod manage;
mod unpark;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use db::{
    ChangedGroup, Commits, Committed, GroupId, Matching, OrphanRun, Reader, Settlements, Swept, Unpark,
    Wanted, WriteError, Writer,
};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use proto::message::{Answer, Consume, Scope, Subscribe, Wait};
use proto::{Event, Pid, Position, Refusal, Start, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::gauges::{Age, Gauges};
use self::manage::{Changes, ReadAt};
use self::unpark::Asked;
use super::connection::ConnectionId;
use super::desk::{Desk, Generation, key};
use super::effect::{Effect, Hands, LoadFor};
use super::feed::Feed;
use super::group::{Caution, Ended, MemberKey, Recovered, Stall};
use super::handle::{Dispatcher, INPUTS_MAX, Input, Opened, Outgoing};
use super::recover::Log;
use super::rules::Rules;
use super::waits::{Found, WAITS_MAX, Waits};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// Inputs that are taken before the desk is pumped again.
const INPUTS_PER_TURN: usize = 256;

/// How often gauges are set.
const GAUGE_EVERY: Duration = Duration::from_secs(1);

/// What the task was doing outside the desk, done.
enum Done {
    Loaded {
        reader: LoadFor,
        after: Position,
        page: Matching,
    },
    Fetched {
        group: GroupId,
        position: Position,
        events: Vec<Arc<Event>>,
    },
    Settled {
        group: GroupId,
        generation: Option<Generation>,
        outcome: Result<(), WriteError>,
    },
    Orphans,
    Chained(Box<chains::Settled>),
    Changed(Result<Vec<ChangedGroup>, WriteError>),
    Swept(Result<Swept, WriteError>),
    Ages(Vec<Age>),
    Unparked(unpark::Done),
    Group {
        read: ReadAt,
        member: MemberKey,
        wish: Box<Consume>,
        label: Arc<str>,
        reply: Opened,
        group: Box<Result<Recovered, Refusal>>,
    },
}

/// The dispatcher task. [`start`] makes it.
pub(crate) struct DispatchTask {
    desk: Desk,
    log: Log,
    clock: Clock,
    metrics: Metrics,
    inputs: mpsc::Receiver<Input>,
    commits: Commits,
    outboxes: HashMap<ConnectionId, mpsc::Sender<Outgoing>>,
    /// Which group each consumer is in; `None` while it is being let in.
    consumers: HashMap<MemberKey, Option<GroupId>>,
    leaving: HashMap<MemberKey, oneshot::Sender<()>>,
    waits: Waits<oneshot::Sender<Found>>,
    changes: Changes,
    gauges: Gauges,
    unparks: Asked,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    effects: Vec<Effect>,
    gauged: Timestamp,
    on_stall: OnStall,
    /// What was stuck when it was looked last.
    stall: Option<Stall>,
    stalls: u64,
}

/// What happens when the dispatcher finds itself stuck: something could be delivered and was not for
/// a second. It is logged and counted in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnStall {
    /// The hub goes on.
    #[default]
    Report,
    /// The hub ends, to be started again by whoever watches it. Nothing is lost: the tables tell all.
    End,
}

/// What a stopped dispatcher leaves behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeftBehind {
    /// Deliveries that were not answered in time. They come again after the restart.
    pub(crate) unanswered: usize,
    /// How often it was stuck.
    pub(crate) stalls: u64,
}

/// What the dispatcher needs.
pub(crate) struct Parts {
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    pub(crate) commits: Commits,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) rules: Rules,
    pub(crate) on_stall: OnStall,
    /// How the hub before this one ended.
    pub(crate) caution: Caution,
}

/// Takes over all groups and makes the dispatcher.
///
/// # Errors
/// What the database said when the groups could not be read.
pub(crate) async fn start(parts: Parts) -> Result<(Dispatcher, DispatchTask), Refusal> {
    let Parts { writer, reader, commits, clock, metrics, rules, on_stall, caution } = parts;
    let log = Log { writer, reader };
    let head = log.reader.head().await.map_err(crate::refuse::read)?.position;
    let mut desk = Desk::new(rules, head, clock.now());
    for group in log.take_groups().await? {
        info!(group = %group.group.name, domain = %group.group.topic.domain, "group taken over");
        desk.add_group(group, clock.now());
    }
    if caution == Caution::Wary {
        desk.beware();
    }
    let (sender, inputs) = mpsc::channel(INPUTS_MAX);
    let mut task = DispatchTask {
        desk,
        log,
        clock,
        metrics,
        inputs,
        commits,
        outboxes: HashMap::new(),
        consumers: HashMap::new(),
        leaving: HashMap::new(),
        waits: Waits::default(),
        changes: Changes::default(),
        gauges: Gauges::default(),
        unparks: Asked::default(),
        work: FuturesUnordered::new(),
        effects: Vec::new(),
        gauged: clock.now(),
        on_stall,
        stall: None,
        stalls: 0,
    };
    task.sweep();
    Ok((Dispatcher::new(sender), task))
}

impl DispatchTask {
    /// Dispatches until `stop`, then waits up to `drain` for what is with members.
    pub(crate) async fn run(mut self, stop: CancellationToken, drain: Duration) -> LeftBehind {
        let mut batch = Vec::with_capacity(INPUTS_PER_TURN);
        let mut until = None;
        loop {
            let wake = self.clock.instant(self.desk.wake_at(self.clock.now()));
            // Once the last handle is gone an empty queue is always ready, and nothing else had a turn.
            let asked = !self.inputs.is_closed() || !self.inputs.is_empty();
            tokio::select! {
                biased;
                () = stop.cancelled(), if until.is_none() => {
                    self.desk.close();
                    until = Some(self.clock.now().plus(drain));
                }
                _ = self.inputs.recv_many(&mut batch, INPUTS_PER_TURN), if asked => {
                    batch.drain(..).for_each(|input| self.input(input));
                }
                Some(done) = self.work.next() => self.done(done),
                Some(committed) = self.commits.next() => self.committed(committed),
                () = sleep_until(wake) => {}
            }
            self.turn();
            if self.stalls > 0 && self.on_stall == OnStall::End {
                return self.end().await;
            }
            if until.is_some_and(|until| self.desk.is_quiet() || self.clock.now() >= until) {
                return self.end().await;
            }
        }
    }

    /// Records what is left and says what is not.
    async fn end(mut self) -> LeftBehind {
        self.desk.close();
        self.desk.sweep(&mut self.effects);
        self.carry_out();
        while let Some(done) = self.work.next().await {
            self.done(done);
            // A group that had a flush under way had no turn yet.
            self.desk.sweep(&mut self.effects);
            self.carry_out();
        }
        LeftBehind { unanswered: self.desk.out(), stalls: self.stalls }
    }

    fn turn(&mut self) {
        let now = self.clock.now();
        let late = self.desk.pump(now, &mut self.effects);
        self.metrics.deliveries_expired(late);
        self.carry_out();
        if now.since(self.gauged) >= GAUGE_EVERY {
            self.gauged = now;
            self.watch(now);
            self.waits.sweep(oneshot::Sender::is_closed);
            self.metrics.set_waits(self.waits.len());
            self.metrics.set_in_flight(u64::try_from(self.desk.out()).unwrap_or(u64::MAX));
            self.gauge_groups(now);
        }
        self.tell_deadlines();
    }

    /// Looks for what could go on and does not. What is found twice in a row was stuck for a second.
    fn watch(&mut self, now: Timestamp) {
        let stall = self.desk.stall(now);
        if let Some(stall) = stall.as_ref().filter(|stall| self.stall.as_ref() == Some(stall)) {
            self.stalls += 1;
            self.metrics.stalled();
            error!(group = %stall.group, position = %stall.position, fault = ?stall.fault, "the dispatcher is stuck, which is a fault of the hub; restart it, nothing is lost by that, and report this line");
        }
        self.stall = stall;
    }

    fn committed(&mut self, committed: Committed) {
        match committed {
            Committed::Events(events) => {
                self.metrics.committed(events.len());
                for (way, event) in self.waits.committed(&events) {
                    let _waits_no_more = way.send(Found::Event(event));
                }
                self.desk.committed(events, self.clock.now());
            }
            Committed::Missed { head } => {
                for way in self.waits.missed() {
                    let _waits_no_more = way.send(Found::Missed);
                }
                self.desk.missed(head);
            }
            Committed::Deleted(positions) => self.desk.deleted(&positions),
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Connected { connection, outbox } => {
                self.outboxes.insert(connection, outbox);
                self.desk.connected(connection);
            }
            Input::Gone(connection) => self.gone(connection),
            Input::Written { connection, events, bytes } => self.desk.written(connection, events, bytes),
            Input::Consume { connection, wish, label, reply } => self.consume(connection, wish, label, reply),
            Input::Subscribe { connection, wish, reply } => {
                let _asker_gone = reply.send(self.subscribe(connection, wish));
            }
            Input::Leave { connection, listener, reply } => self.leave(key(connection, listener), reply),
            Input::Expel { connection, listener, refusal } => self.expel(key(connection, listener), refusal),
            Input::Answers { connection, answers } => self.answers(connection, answers),
            Input::Chain { connection, work, reply } => self.chain(connection, *work, reply),
            Input::Credit { connection, listener, events } => {
                let key = key(connection, listener);
                let group = self.consumers.get(&key).copied().flatten();
                self.desk.credit(key, group, events);
            }
            Input::Enough { connection, listener } => {
                let key = key(connection, listener);
                if let Some(group) = self.consumers.get(&key).copied().flatten() {
                    self.desk.enough(key, group);
                    self.changes.stopped.push(key);
                }
            }
            Input::Reports { after, reply } => {
                let _asker_gone = reply.send(self.desk.reports(after.as_ref()));
            }
            Input::Wait { wait, found, reply } => {
                let _asker_gone = reply.send(self.wait(wait, found));
            }
            Input::Standings { page, reply } => {
                let groups = self.desk.after(page.group.as_ref(), page.after.as_ref(), page.limit);
                let _asker_gone = reply.send(self.desk.standings(groups));
            }
            Input::Change { change, members, reply } => self.change(*change, members, reply),
            Input::Unpark { group, wish, reply } => self.wish_unpark(group, wish, reply),
            Input::Stories { event, reply } => {
                let stories = self.desk.stories(&event).into_iter().map(|(_, story)| story).collect();
                let _asker_gone = reply.send(stories);
            }
        }
    }

    fn wait(&mut self, wait: Wait, found: oneshot::Sender<Found>) -> Result<(), Refusal> {
        if self.waits.add(wait, found).is_some() {
            let reason = format!("{WAITS_MAX} waits go on already; try again when some have ended");
            return Err(Refusal::Unavailable { reason });
        }
        Ok(())
    }

    fn gone(&mut self, connection: ConnectionId) {
        self.outboxes.remove(&connection);
        self.consumers.retain(|key, _| key.connection != connection);
        self.leaving.retain(|key, _| key.connection != connection);
        self.desk.gone(connection);
    }

    fn answers(&mut self, connection: ConnectionId, answers: Vec<Answer>) {
        let now = self.clock.now();
        for answer in answers {
            let key = key(connection, answer.listener);
            let ended = match self.consumers.get(&key).copied().flatten() {
                Some(group) => self.desk.answered(group, connection, answer, now),
                None => Ended::Stale,
            };
            self.metrics.answered(ended.label());
        }
    }

    fn subscribe(&mut self, connection: ConnectionId, wish: Subscribe) -> Result<Position, Refusal> {
        let head = self.desk.head();
        let after = match wish.start {
            Start::Beginning => Position(0),
            Start::Now => head,
            Start::At(position) if position <= head.next() => position.previous(),
            Start::At(position) => {
                let reason = format!(
                    "there is no position {position} to start at, the log ends at {head}; start at {} or below",
                    head.next()
                );
                return Err(Refusal::Invalid { reason });
            }
        };
        let feed = Feed::new(connection, wish.listener, wish.topic, wish.scope, after, wish.credit);
        if self.desk.subscribe(feed) { Ok(after) } else { Err(Refusal::Stopping) }
    }

    fn leave(&mut self, key: MemberKey, reply: oneshot::Sender<()>) {
        let group = self.consumers.remove(&key).flatten();
        self.leaving.insert(key, reply);
        self.desk.leave(key, group, &mut self.effects);
    }

    /// Ends a listener that did not ask for it. One that has is left to that.
    fn expel(&mut self, key: MemberKey, refusal: Refusal) {
        if self.leaving.contains_key(&key) {
            return;
        }
        let group = self.consumers.remove(&key).flatten();
        self.desk.leave(key, group, &mut self.effects);
        self.send(key.connection, Outgoing::Dropped { listener: key.listener, refusal });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Loaded { reader, after, page } => {
                let now = self.clock.now();
                self.desk.loaded(reader, after, &page, now, &mut self.effects);
            }
            Done::Fetched { group, position, events } => self.desk.fetched(group, position, &events),
            Done::Settled { group, generation, outcome } => self.settled(group, generation, outcome),
            Done::Orphans => self.desk.orphans_flushed(),
            Done::Chained(settled) => self.chained(*settled),
            Done::Unparked(done) => self.unparked(done),
            Done::Changed(outcome) => self.changed(outcome),
            Done::Swept(outcome) => self.swept(outcome),
            Done::Ages(ages) => self.aged(ages),
            Done::Group { read, member, wish, label, reply, group } => {
                self.group_ready(read, member, *wish, label, reply, *group);
            }
        }
    }

    /// Outcomes were recorded, or not: those of a group that was given up are nobody's by now.
    fn settled(&mut self, group: GroupId, generation: Option<Generation>, outcome: Result<(), WriteError>) {
        match outcome {
            Ok(()) => self.desk.flushed_in(group, generation, &mut self.effects),
            Err(error) if self.desk.generation(group) == generation => self.lost(group, &error),
            Err(_) => {}
        }
    }

    /// A group's outcomes cannot be recorded by this hub any more: its members must come again.
    fn lost(&mut self, group: GroupId, error: &WriteError) {
        if !self.desk.has_group(group) {
            return;
        }
        error!(group = group.0, %error, "outcomes of a group could not be recorded; its members are sent away and its events come again");
        self.drop_group(group);
        self.send_away(group, &Refusal::Unavailable { reason: error.to_string() });
    }

    /// Ends all consumers of a group that is not here any more.
    fn send_away(&mut self, group: GroupId, refusal: &Refusal) {
        let members: Vec<_> =
            self.consumers.iter().filter(|(_, of)| **of == Some(group)).map(|(&key, _)| key).collect();
        for member in members {
            self.consumers.remove(&member);
            let refusal = refusal.clone();
            self.send(member.connection, Outgoing::Dropped { listener: member.listener, refusal });
        }
    }

    fn carry_out(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            effect.carry_out(self);
        }
    }
}

impl Hands for DispatchTask {
    /// The connection's queue holds as much as the desk sends it, so a push that does not go in
    /// belongs to a connection that is ending; what it had is released when it is gone.
    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing) {
        if let Outgoing::Deliver { attempt, .. } = &outgoing {
            self.metrics.delivered(attempt.0);
        }
        let Some(outbox) = self.outboxes.get(&connection) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = outbox.try_send(outgoing) {
            warn!(connection = connection.0, "a connection's queue was full against its count; it is closed");
            self.outboxes.remove(&connection);
        }
    }

    fn left(&mut self, member: MemberKey) {
        if let Some(reply) = self.leaving.remove(&member) {
            let _asker_gone = reply.send(());
        }
    }

    fn load(&mut self, reader: LoadFor, wanted: Wanted, after: Position, limit: u32) {
        let log = self.log.clone();
        self.work.push(Box::pin(async move {
            let page = log.page(&wanted, after, limit).await;
            Done::Loaded { reader, after, page }
        }));
    }

    fn fetch(&mut self, group: GroupId, pid: Pid, position: Position) {
        let log = self.log.clone();
        let wanted = Wanted { topic: self.desk.topic(group), scope: Scope::Published, pid: Some(pid) };
        self.work.push(Box::pin(async move {
            let page = log.page(&wanted, position.previous(), super::group::KEPT_PER_PID_PAGE).await;
            Done::Fetched { group, position, events: page.events }
        }));
    }

    fn settle(&mut self, settlements: Settlements) {
        self.metrics.settled(&settlements);
        let (log, group) = (self.log.clone(), settlements.group);
        let generation = self.desk.generation(group);
        self.work.push(Box::pin(async move {
            Done::Settled { group, generation, outcome: log.settle(settlements).await }
        }));
    }

    fn orphans(&mut self, runs: Vec<OrphanRun>) {
        let log = self.log.clone();
        self.work.push(Box::pin(async move {
            log.orphans(runs).await;
            Done::Orphans
        }));
    }

    fn unpark(&mut self, ticket: u64, unpark: Unpark) {
        let log = self.log.clone();
        self.work.push(Box::pin(async move {
            let group = unpark.group;
            Done::Unparked(unpark::Done { group, ticket, outcome: log.unpark(unpark).await })
        }));
    }
}
