//! How connections reach the dispatcher.

use std::sync::Arc;
use std::time::Duration;

use db::GroupChange;
use proto::group::MembersFate;

use db::{Act, Effects, GroupId};
use proto::chain::Chained;
use proto::message::{Answer, Consume, Subscribe, Wait};
use proto::report::{DeliveryStory, GroupReport};
use proto::{Attempt, Domain, Event, GroupName, ListenerId, Position, Refusal};
use tokio::sync::{mpsc, oneshot};

use super::connection::ConnectionId;
use super::group::Standing;
use super::waits::Found;

/// Inputs that may wait for the dispatcher. At it connections wait, and stop reading their sockets.
pub(super) const INPUTS_MAX: usize = 4_096;

/// What a connection is to send on.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// An event for a consumer.
    Deliver { listener: ListenerId, attempt: Attempt, event: Arc<Event> },
    /// An event for a subscription.
    Push { listener: ListenerId, event: Arc<Event> },
    /// A subscription is read on from the log.
    Lagged { listener: ListenerId, behind: u64 },
    /// A subscription has seen everything up to here.
    CaughtUp { listener: ListenerId, position: Position },
    /// A listener is over although the connection lives.
    Dropped { listener: ListenerId, refusal: Refusal },
    /// A consumer may keep deliveries for so long without a word.
    Deadline { listener: ListenerId, within: Duration },
    /// Nothing more is delivered to a consumer that wanted nothing more.
    Enough { listener: ListenerId },
}

/// What the dispatcher is told or asked.
#[derive(Debug)]
pub(super) enum Input {
    Connected { connection: ConnectionId, outbox: mpsc::Sender<Outgoing> },
    Gone(ConnectionId),
    Written { connection: ConnectionId, events: usize, bytes: usize },
    Consume { connection: ConnectionId, wish: Consume, label: Arc<str>, reply: Opened },
    Subscribe { connection: ConnectionId, wish: Subscribe, reply: Opened },
    Leave { connection: ConnectionId, listener: ListenerId, reply: oneshot::Sender<()> },
    Expel { connection: ConnectionId, listener: ListenerId, refusal: Refusal },
    Answers { connection: ConnectionId, answers: Vec<Answer> },
    Chain { connection: ConnectionId, work: Box<ChainWork>, reply: oneshot::Sender<Result<Chained, Refusal>> },
    Credit { connection: ConnectionId, listener: ListenerId, events: u32 },
    Enough { connection: ConnectionId, listener: ListenerId },
    Reports { after: Option<GroupName>, reply: oneshot::Sender<Vec<(GroupReport, Position)>> },
    Wait { wait: Wait, found: oneshot::Sender<Found>, reply: oneshot::Sender<Result<(), Refusal>> },
    Unpark { group: GroupId, wish: UnparkOrder, reply: Unparking },
    Stories { event: Box<Event>, reply: oneshot::Sender<Vec<DeliveryStory>> },
    Standings { page: GroupPage, reply: oneshot::Sender<Vec<Standing>> },
    Change { change: Box<GroupChange>, members: MembersFate, reply: Changed },
}

/// An ack with effects, as far as it could be prepared.
#[derive(Debug)]
pub(crate) struct ChainWork {
    pub(crate) listener: ListenerId,
    pub(crate) position: Position,
    pub(crate) attempt: Attempt,
    /// What is to be committed, or why that can never be.
    pub(crate) effects: Result<Effects, Refusal>,
}

/// A page of groups, by name and domain.
#[derive(Debug)]
pub(crate) struct GroupPage {
    /// Only groups of this name.
    pub(crate) group: Option<GroupName>,
    /// The last of the page before.
    pub(crate) after: Option<(GroupName, Domain)>,
    /// How many it may have.
    pub(crate) limit: usize,
}

/// How the groups of a change stand now, or why it was not made.
pub(super) type Changed = oneshot::Sender<Result<Vec<Standing>, Refusal>>;

/// Where a listener starts, or why there is none.
pub(super) type Opened = oneshot::Sender<Result<Position, Refusal>>;

/// What is to be done about parked events of one group.
#[derive(Debug)]
pub(crate) struct UnparkOrder {
    /// The events, each with its slot.
    pub(crate) events: Vec<(Position, u16)>,
    /// What to do.
    pub(crate) act: Act,
    /// Who wants it.
    pub(crate) agent: String,
}

/// Where what was taken goes.
pub(super) type Unparking = oneshot::Sender<Result<Vec<Position>, Refusal>>;

/// A cheap handle to the dispatcher.
#[derive(Debug, Clone)]
pub(crate) struct Dispatcher {
    inputs: mpsc::Sender<Input>,
}

impl Dispatcher {
    pub(super) fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs }
    }

    /// Says that a connection is there and where its pushes go.
    pub(crate) async fn connected(&self, connection: ConnectionId, outbox: mpsc::Sender<Outgoing>) {
        self.tell(Input::Connected { connection, outbox }).await;
    }

    /// Says that a connection is gone: what its members had goes to others.
    pub(crate) async fn gone(&self, connection: ConnectionId) {
        self.tell(Input::Gone(connection)).await;
    }

    /// Says how much of what a connection was sent it has written.
    pub(crate) async fn written(&self, connection: ConnectionId, events: usize, bytes: usize) {
        self.tell(Input::Written { connection, events, bytes }).await;
    }

    /// Joins a group; answers after which position it was made.
    pub(crate) async fn consume(
        &self,
        connection: ConnectionId,
        wish: Consume,
        label: Arc<str>,
    ) -> Result<Position, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Consume { connection, wish, label, reply }).await;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Starts a subscription; answers after which position it starts.
    pub(crate) async fn subscribe(
        &self,
        connection: ConnectionId,
        wish: Subscribe,
    ) -> Result<Position, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Subscribe { connection, wish, reply }).await;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Ends a listener; answers when everything that it answered is recorded.
    pub(crate) async fn leave(&self, connection: ConnectionId, listener: ListenerId) -> Result<(), Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Leave { connection, listener, reply }).await;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// Ends a listener that is not allowed any more. Its peer is told why, and what it has not answered goes
    /// to others.
    pub(crate) async fn expel(&self, connection: ConnectionId, listener: ListenerId, refusal: Refusal) {
        self.tell(Input::Expel { connection, listener, refusal }).await;
    }

    /// Passes on answers to deliveries.
    pub(crate) async fn answers(&self, connection: ConnectionId, answers: Vec<Answer>) {
        self.tell(Input::Answers { connection, answers }).await;
    }

    /// Passes on an ack with effects. Returns when the dispatcher will take it before everything that it is
    /// told later; what this gives says what came of it.
    pub(crate) async fn chain(
        &self,
        connection: ConnectionId,
        work: ChainWork,
    ) -> oneshot::Receiver<Result<Chained, Refusal>> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Chain { connection, work: Box::new(work), reply }).await;
        answer
    }

    /// Passes on credit.
    pub(crate) async fn credit(&self, connection: ConnectionId, listener: ListenerId, events: u32) {
        self.tell(Input::Credit { connection, listener, events }).await;
    }

    /// Says that a consumer takes nothing more and will answer what it has.
    pub(crate) async fn enough(&self, connection: ConnectionId, listener: ListenerId) {
        self.tell(Input::Enough { connection, listener }).await;
    }

    /// The groups after a name, each with how far it has read.
    pub(crate) async fn reports(
        &self,
        after: Option<GroupName>,
    ) -> Result<Vec<(GroupReport, Position)>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Reports { after, reply }).await;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// Puts a wait down; what is committed from now on is told through what this answers with.
    pub(crate) async fn wait(&self, wait: Wait) -> Result<oneshot::Receiver<Found>, Refusal> {
        let (found, told) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Wait { wait, found, reply }).await;
        answer.await.unwrap_or(Err(Refusal::Stopping)).map(|()| told)
    }

    /// Does something about parked events of a group; answers which of them it was done to.
    pub(crate) async fn unpark(&self, group: GroupId, wish: UnparkOrder) -> Result<Vec<Position>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Unpark { group, wish, reply }).await;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Why an event is not further, in each group that wants it.
    pub(crate) async fn stories(&self, event: Event) -> Result<Vec<DeliveryStory>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Stories { event: Box::new(event), reply }).await;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// How groups stand.
    pub(crate) async fn standings(&self, page: GroupPage) -> Result<Vec<Standing>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Standings { page, reply }).await;
        answer.await.map_err(|_| Refusal::Stopping)
    }

    /// Changes groups; answers when that is durable and in force.
    pub(crate) async fn change(
        &self,
        change: GroupChange,
        members: MembersFate,
    ) -> Result<Vec<Standing>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.tell(Input::Change { change: Box::new(change), members, reply }).await;
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// A dispatcher that has ended needs no telling, and who asks it learns by the dropped reply.
    async fn tell(&self, input: Input) {
        let _ended = self.inputs.send(input).await;
    }
}
