//! Consuming: a group shares the events of a domain, each goes to one member, which answers for it.
//!
//! Within a process (pid) events come one by one in their order; events of different processes come
//! at the same time, up to the concurrency. An event whose handler fails comes again. An event may
//! come twice (a member died, a link was cut after the work was done), so a handler should either be
//! safe to run twice or record its effect under the event's id. What it wants of the hub itself it collects
//! in its delivery, and that is committed once, together with its ack.

mod chain;
mod delivery;
mod handlers;
mod held;
mod map;
mod task;
mod work;

use std::fmt;
use std::time::Duration;

use futures::Stream;
use proto::limits::{CREDIT_EVENTS_MAX, NAMES_PER_FILTER_MAX};
use proto::session::Listen;
use proto::{Domain, EventName, GroupName, NameFilter, Order, ServiceName, Start, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::error::{ClosedReason, ListenError};
use crate::link::Link;

pub(crate) use chain::Told;
pub use chain::{ChainError, EffectError};
pub use delivery::{Delivery, Failure};
pub use map::{ConsumerMap, Consumers};

use handlers::Handlers;
use task::Task;
use work::Work;

/// Handlers that run at once when the consumer does not say.
const CONCURRENCY: usize = 32;

/// How long a handler may take when the consumer does not say.
const HANDLE_WITHIN: Duration = Duration::from_secs(60 * 60);

/// Says what a consumer gets and what it does with it; [`ConsumerBuilder::start`] starts it.
#[must_use = "nothing is consumed before start()"]
pub struct ConsumerBuilder {
    link: Link,
    group: GroupName,
    domain: Domain,
    names: Vec<EventName>,
    handlers: Handlers,
    start: Start,
    order: Order,
    concurrency: usize,
    credit: Option<u32>,
    handle_within: Duration,
}

impl ConsumerBuilder {
    pub(crate) fn new(link: Link, service: &ServiceName, domain: Domain) -> Self {
        let group = GroupName::parse(service.as_str()).expect("a service name is a group name, too");
        Self {
            link,
            group,
            domain,
            names: Vec::new(),
            handlers: Handlers::default(),
            start: Start::Now,
            order: Order::ByPid,
            concurrency: CONCURRENCY,
            credit: None,
            handle_within: HANDLE_WITHIN,
        }
    }

    /// The group whose work is shared. By default it bears the service's name, so replicas of a
    /// service share and other services get events of their own.
    pub fn group(self, group: GroupName) -> Self {
        Self { group, ..self }
    }

    /// Handles events of this name. What it returns is the answer: `Ok` is done, [`Failure`] says
    /// what else; a panic is a failure.
    pub fn name<F, A>(mut self, name: EventName, handler: F) -> Self
    where
        F: Fn(Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.handlers.name(name, handler);
        self
    }

    /// Handles events that have no handler of their own. Without it, only named events come.
    pub fn any<F, A>(mut self, handler: F) -> Self
    where
        F: Fn(Delivery) -> A + Send + Sync + 'static,
        A: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.handlers.any(handler);
        self
    }

    /// Only these names come, besides those that have a handler of their own. Part of the group: all
    /// of its members must say the same.
    pub fn names(mut self, names: impl IntoIterator<Item = EventName>) -> Self {
        self.names.extend(names);
        self
    }

    /// Where the group starts if this makes it. Default now; a group that exists goes on where it is.
    pub fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Events of one process may come at the same time and in any order.
    pub fn unordered(self) -> Self {
        Self { order: Order::None, ..self }
    }

    /// How many handlers run at once; at least 1. Default 32.
    pub fn concurrency(self, handlers: usize) -> Self {
        Self { concurrency: handlers.max(1), ..self }
    }

    /// How many events this member may hold, waiting ones included; from 1 to 4,096. Default twice
    /// the concurrency, so that the next ones are here when a handler ends.
    pub fn credit(self, events: u32) -> Self {
        Self { credit: Some(events.clamp(1, CREDIT_EVENTS_MAX)), ..self }
    }

    /// The longest that one handler may take. Default an hour.
    ///
    /// As long as a handler lives, the group's deadline is extended by itself; after this the delivery
    /// is failed, which counts as a try, and the handler's future is dropped. That is noticed within a
    /// third of the deadline. A handler that blocks its thread cannot be dropped: it keeps its place among
    /// the handlers that run at once. Who takes deliveries from a [`DeliveryStream`] is not stopped, but
    /// the event comes again.
    pub fn handle_within(self, longest: Duration) -> Self {
        Self { handle_within: longest, ..self }
    }

    /// Joins the group and runs the handlers.
    ///
    /// # Errors
    /// [`ListenError`] says why the hub did not let it join.
    pub async fn start(mut self) -> Result<Consumer, ListenError> {
        if self.handlers.is_empty() {
            return Err(ListenError::NoHandler { domain: self.domain.to_string() });
        }
        let names = self.handlers.filter(std::mem::take(&mut self.names));
        let handlers = std::mem::take(&mut self.handlers);
        let group = self.group.clone();
        self.open(names, |concurrency| Work::handlers(handlers, concurrency, group)).await
    }

    /// Joins the group and gives the deliveries out one by one, for tools that answer by themselves.
    /// Handlers that were given are not used.
    ///
    /// # Errors
    /// [`ListenError`] says why the hub did not let it join.
    pub async fn deliveries(mut self) -> Result<(Consumer, DeliveryStream), ListenError> {
        let names = std::mem::take(&mut self.names);
        let (out, deliveries) = mpsc::channel(1);
        let consumer = self.open(names, |_| Work::stream(out)).await?;
        Ok((consumer, DeliveryStream { deliveries }))
    }

    async fn open(
        self,
        names: Vec<EventName>,
        work: impl FnOnce(usize) -> Work,
    ) -> Result<Consumer, ListenError> {
        let names = NameFilter::of(names)
            .map_err(|found| ListenError::TooManyNames { found, max: NAMES_PER_FILTER_MAX })?;
        let credit = self.credit.unwrap_or_else(|| prefetch(self.concurrency));
        let span = tracing::info_span!("consumer", group = %self.group, domain = %self.domain);
        let group = self.group.clone();
        let wish = Listen::Consume {
            group: self.group,
            topic: Topic { domain: self.domain, names },
            start: self.start,
            order: self.order,
            credit,
        };
        // A reconnect may bring the next deliveries before the task has put the dead ones away.
        let inbox = self.link.listen(wish, credit.saturating_mul(2)).await?;
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let held_max = self.concurrency.max(usize::try_from(credit).unwrap_or(usize::MAX));
        let work = work(self.concurrency);
        let run = Task::new(inbox, work, group, held_max, self.handle_within, stop.clone()).run();
        task.spawn(run.instrument(span));
        Ok(Consumer { task, stop })
    }
}

impl fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("group", &self.group)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// The credit that keeps so many handlers busy.
fn prefetch(concurrency: usize) -> u32 {
    u32::try_from(concurrency.saturating_mul(2)).unwrap_or(u32::MAX).min(CREDIT_EVENTS_MAX)
}

/// A member of a group. Dropping it stops its handlers where they are: what they had comes again.
#[must_use = "a dropped consumer consumes nothing"]
pub struct Consumer {
    task: JoinSet<Result<(), ListenError>>,
    stop: CancellationToken,
}

impl Consumer {
    /// Takes no more, waits for the handlers, sends their answers and leaves the group. Returns when
    /// the hub has recorded the answers. What a [`DeliveryStream`] gave out and nobody has answered
    /// by then is released.
    ///
    /// If the link is cut meanwhile, events that were answered just before may come again.
    ///
    /// # Errors
    /// [`ListenError`] if it had ended by itself, or the hub did not confirm in time.
    pub async fn stop(mut self) -> Result<(), ListenError> {
        self.stop.cancel();
        self.ended().await
    }

    /// Waits until it ends by itself: the hub dropped it, or the spoke is closed.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ListenError`] says why it ended.
    pub async fn ended(&mut self) -> Result<(), ListenError> {
        match self.task.join_next().await {
            Some(Ok(outcome)) => outcome,
            // Its handlers cannot make it panic; what else might is a defect that has been logged.
            Some(Err(_)) | None => Err(ListenError::Closed { reason: ClosedReason::ByOwner }),
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("stopping", &self.stop.is_cancelled()).finish_non_exhaustive()
    }
}

/// The deliveries of a consumer, each to be answered. It ends when the consumer does.
#[derive(Debug)]
pub struct DeliveryStream {
    deliveries: mpsc::Receiver<Delivery>,
}

impl DeliveryStream {
    /// The next delivery; `None` after the end, of which [`Consumer::ended`] tells more.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }
}

impl Stream for DeliveryStream {
    type Item = Delivery;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Delivery>> {
        self.deliveries.poll_recv(context)
    }
}
