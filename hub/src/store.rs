//! What is done for a peer: every way from a command to the writer, the log and the dispatcher.
//!
//! Each function asks for a [`Permit`], so a command that has not asked whether its caller may does not
//! compile. What comes without one is bound to a listener that was permitted, or tells nothing.
//! The hub's own tasks are no peers; they hold writer and reader themselves.

use std::sync::Arc;

use db::{Altered, Cancelled, Schedule, ScheduleWish, Scheduled, SeriesWish, StoredStory, Writer};
use db::{
    Append, Due, Effects, Group, GroupChange, GroupId, Head, OutboxRow, ParkedChangeRow, ParkedRow, Reader,
};
use proto::chain::Chained;
use proto::group::{GroupStatus, MembersFate};
use proto::message::{Answer, Appended, Consume, Link, Subscribe, Wait};
use proto::read::{Page, Query};
use proto::report::{DeliveryStory, GroupReport};
use proto::schedule::Which;
use proto::{
    Domain, Event, EventId, EventName, GroupName, ListenerId, Pid, Position, Refusal, Timestamp, Topic,
};
use tokio::sync::{mpsc, oneshot};

use crate::access::Permit;
use crate::dispatch::{
    ChainWork, ConnectionId, Dispatcher, Effort, Found, GroupPage, Outgoing, Standing, UnparkOrder, oldest,
};
use crate::refuse;

/// Writer, log and dispatcher as peers reach them. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: Writer,
    reader: Reader,
    dispatcher: Dispatcher,
}

impl Store {
    pub(crate) fn new(writer: Writer, reader: Reader, dispatcher: Dispatcher) -> Self {
        Self { writer, reader, dispatcher }
    }

    /// Where the log ends, which every peer is told.
    pub(crate) async fn head(&self) -> Result<Head, Refusal> {
        self.reader.head().await.map_err(refuse::read)
    }
}

/// Writing.
impl Store {
    pub(crate) async fn append(&self, _: &Permit, append: Append) -> Result<Vec<Appended>, Refusal> {
        self.writer.append(append).await.map_err(refuse::write)
    }

    pub(crate) async fn link(&self, _: &Permit, link: Link) -> Result<u64, Refusal> {
        self.writer.link(link).await.map_err(refuse::write)
    }

    pub(crate) async fn delete_event(
        &self,
        _: &Permit,
        id: EventId,
        agent: &str,
    ) -> Result<Vec<Position>, Refusal> {
        self.writer.delete_event(id, agent).await.map_err(refuse::write)
    }

    pub(crate) async fn delete_eventlog(
        &self,
        _: &Permit,
        domain: Domain,
        pid: Pid,
        agent: &str,
    ) -> Result<Vec<Position>, Refusal> {
        self.writer.delete_eventlog(domain, pid, agent).await.map_err(refuse::write)
    }

    pub(crate) async fn schedule(&self, _: &Permit, wish: ScheduleWish) -> Result<Scheduled, Refusal> {
        self.writer.schedule(wish).await.map_err(refuse::write)
    }

    pub(crate) async fn schedule_series(&self, _: &Permit, wish: SeriesWish) -> Result<Scheduled, Refusal> {
        self.writer.schedule_series(wish).await.map_err(refuse::write)
    }

    pub(crate) async fn cancel(
        &self,
        _: &Permit,
        which: Which,
        now: Timestamp,
    ) -> Result<Cancelled, Refusal> {
        self.writer.cancel(which, now).await.map_err(refuse::write)
    }

    pub(crate) async fn pause(&self, _: &Permit, which: Which, now: Timestamp) -> Result<Altered, Refusal> {
        self.writer.pause(which, now).await.map_err(refuse::write)
    }

    pub(crate) async fn resume(&self, _: &Permit, which: Which) -> Result<Altered, Refusal> {
        self.writer.resume(which).await.map_err(refuse::write)
    }
}

/// Reading.
impl Store {
    pub(crate) async fn page(&self, _: &Permit, query: &Query) -> Result<Page, Refusal> {
        self.reader.page(query).await.map_err(refuse::read)
    }

    /// The domain of an event, and its name unless it was deleted; `None` if there never was one.
    pub(crate) async fn origin(
        &self,
        _: &Permit,
        id: &EventId,
    ) -> Result<Option<(Domain, Option<EventName>)>, Refusal> {
        match self.reader.origin(id).await.map_err(refuse::read) {
            Ok(origin) => Ok(Some(origin)),
            Err(Refusal::NotFound { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    pub(crate) async fn story(&self, _: &Permit, id: &EventId) -> Result<StoredStory, Refusal> {
        self.reader.story(id).await.map_err(refuse::read)
    }

    pub(crate) async fn count_published(
        &self,
        _: &Permit,
        topic: &Topic,
        after: Position,
        until: Position,
    ) -> Result<u64, Refusal> {
        self.reader.count_published(topic, after, until).await.map_err(refuse::read)
    }

    /// Takes the count of parked events from the tables: one that is deleted leaves them past the dispatcher.
    pub(crate) async fn count_parked(&self, _: &Permit, report: &mut GroupReport) -> Result<(), Refusal> {
        let parked = self.reader.parked_count(&report.group, &report.domain).await;
        if let Some(parked) = parked.map_err(refuse::read)? {
            report.parked = parked;
        }
        Ok(())
    }

    pub(crate) async fn handed_over(&self, _: &Permit, id: &EventId) -> Result<Option<OutboxRow>, Refusal> {
        self.reader.handed_over(id).await.map_err(refuse::read)
    }

    pub(crate) async fn position_of(&self, _: &Permit, id: &EventId) -> Result<Option<Position>, Refusal> {
        self.reader.position_of(id).await.map_err(refuse::read)
    }

    pub(crate) async fn groups(
        &self,
        _: &Permit,
        after: Option<&GroupName>,
        limit: u32,
    ) -> Result<Vec<Group>, Refusal> {
        self.reader.groups(after, limit).await.map_err(refuse::read)
    }

    pub(crate) async fn parked(
        &self,
        _: &Permit,
        group: GroupId,
        pid: Option<&Pid>,
        after: Position,
        limit: u32,
    ) -> Result<Vec<ParkedRow>, Refusal> {
        self.reader.parked(group, pid, after, limit).await.map_err(refuse::read)
    }

    pub(crate) async fn parked_changes(
        &self,
        _: &Permit,
        position: Position,
    ) -> Result<Vec<ParkedChangeRow>, Refusal> {
        self.reader.parked_changes(position).await.map_err(refuse::read)
    }

    pub(crate) async fn schedule_of(&self, _: &Permit, which: &Which) -> Result<Option<Schedule>, Refusal> {
        self.reader.schedule(which).await.map_err(refuse::read)
    }

    pub(crate) async fn schedules_of(&self, _: &Permit, ids: &[EventId]) -> Result<Vec<Schedule>, Refusal> {
        self.reader.schedules_of(ids).await.map_err(refuse::read)
    }

    pub(crate) async fn schedules(
        &self,
        _: &Permit,
        pending_only: bool,
        domain: Option<&Domain>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Schedule>, Refusal> {
        self.reader.schedules(pending_only, domain, after, limit).await.map_err(refuse::read)
    }

    /// Adds to how a group stands what only the tables know.
    pub(crate) async fn complete(
        &self,
        permit: &Permit,
        standing: Standing,
        now: Timestamp,
    ) -> Result<GroupStatus, Refusal> {
        let Standing { status, topic, read_through, .. } = &standing;
        let (head, mut unread) = (status.report.head, 0);
        if *read_through < head {
            unread = self.count_published(permit, topic, *read_through, head).await?;
        }
        let oldest = oldest(&self.reader, &standing, Effort::Whatever, now).await.map_err(refuse::read)?;
        let mut status = standing.status;
        status.report.pending += unread;
        self.count_parked(permit, &mut status.report).await?;
        status.oldest = oldest;
        Ok(status)
    }
}

/// What the dispatcher is asked.
impl Store {
    pub(crate) async fn consume(
        &self,
        _: &Permit,
        connection: ConnectionId,
        wish: Consume,
        label: Arc<str>,
    ) -> Result<Position, Refusal> {
        self.dispatcher.consume(connection, wish, label).await
    }

    pub(crate) async fn subscribe(
        &self,
        _: &Permit,
        connection: ConnectionId,
        wish: Subscribe,
    ) -> Result<Position, Refusal> {
        self.dispatcher.subscribe(connection, wish).await
    }

    pub(crate) async fn wait(&self, _: &Permit, wait: Wait) -> Result<oneshot::Receiver<Found>, Refusal> {
        self.dispatcher.wait(wait).await
    }

    pub(crate) async fn reports(
        &self,
        _: &Permit,
        after: Option<GroupName>,
    ) -> Result<Vec<(GroupReport, Position)>, Refusal> {
        self.dispatcher.reports(after).await
    }

    pub(crate) async fn stories(&self, _: &Permit, event: Event) -> Result<Vec<DeliveryStory>, Refusal> {
        self.dispatcher.stories(event).await
    }

    pub(crate) async fn standings(&self, _: &Permit, page: GroupPage) -> Result<Vec<Standing>, Refusal> {
        self.dispatcher.standings(page).await
    }

    pub(crate) async fn change(
        &self,
        _: &Permit,
        change: GroupChange,
        members: MembersFate,
    ) -> Result<Vec<Standing>, Refusal> {
        self.dispatcher.change(change, members).await
    }

    pub(crate) async fn unpark(
        &self,
        _: &Permit,
        group: GroupId,
        order: UnparkOrder,
    ) -> Result<Vec<Position>, Refusal> {
        self.dispatcher.unpark(group, order).await
    }

    /// Passes on the answer of `chain` with its effects, or why there can be none: the delivery has failed
    /// then.
    pub(crate) async fn chain(
        &self,
        connection: ConnectionId,
        chain: (ListenerId, Position, proto::Attempt),
        effects: Result<(Permit, Effects), Refusal>,
    ) -> oneshot::Receiver<Result<Chained, Refusal>> {
        let (listener, position, attempt) = chain;
        let effects = effects.map(|(_, effects)| effects);
        self.dispatcher.chain(connection, ChainWork { listener, position, attempt, effects }).await
    }
}

/// What concerns a connection and the listeners that it was permitted.
impl Store {
    pub(crate) async fn connected(&self, connection: ConnectionId, outbox: mpsc::Sender<Outgoing>) {
        self.dispatcher.connected(connection, outbox).await;
    }

    pub(crate) async fn gone(&self, connection: ConnectionId) {
        self.dispatcher.gone(connection).await;
    }

    pub(crate) async fn written(&self, connection: ConnectionId, events: usize, bytes: usize) {
        self.dispatcher.written(connection, events, bytes).await;
    }

    pub(crate) async fn leave(&self, connection: ConnectionId, listener: ListenerId) -> Result<(), Refusal> {
        self.dispatcher.leave(connection, listener).await
    }

    pub(crate) async fn expel(&self, connection: ConnectionId, listener: ListenerId, refusal: Refusal) {
        self.dispatcher.expel(connection, listener, refusal).await;
    }

    pub(crate) async fn answers(&self, connection: ConnectionId, answers: Vec<Answer>) {
        self.dispatcher.answers(connection, answers).await;
    }

    /// Nothing more is delivered to a listener, which is about to leave.
    pub(crate) async fn enough(&self, connection: ConnectionId, listener: ListenerId) {
        self.dispatcher.enough(connection, listener).await;
    }

    pub(crate) async fn credit(&self, connection: ConnectionId, listener: ListenerId, events: u32) {
        self.dispatcher.credit(connection, listener, events).await;
    }
}
