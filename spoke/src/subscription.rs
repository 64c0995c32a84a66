//! Being told of events: a subscription is a stream that everyone connected may have.
//!
//! A reconnect goes on after the last event that was told, so the stream has neither a gap nor a
//! repeat. A slow reader is not buffered without bound: the hub reads on from the log for it and the
//! stream says [`Told::Lagged`]. Nothing is answered; work that must be done belongs to a consumer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use proto::limits::{CREDIT_EVENTS_MAX, NAMES_PER_FILTER_MAX};
use proto::message::Scope;
use proto::session::Listen;
use proto::{Domain, Event, EventName, NameFilter, Position, Start, Topic};
use tokio_util::sync::PollSender;

use crate::error::ListenError;
use crate::link::{Command, Inbox, Link, Signals};

/// Events that may be under way to a subscription when it does not say.
const CREDIT: u32 = 1_024;

/// Which events a subscription is told of, and from where on.
///
/// ```
/// use eventflow_spoke::{Domain, EventName, Start, Subscription};
///
/// let orders = Subscription::topic(Domain::parse("order")?)
///     .name(EventName::parse("order placed")?)
///     .from(Start::Beginning);
/// let all = Subscription::everything().stored();
/// # let _ = (orders, all);
/// # Ok::<(), eventflow_spoke::NameError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Subscription {
    domain: Option<Domain>,
    names: Vec<EventName>,
    scope: Scope,
    start: Start,
    credit: u32,
}

impl Subscription {
    /// Published events of one domain, from now on.
    #[must_use]
    pub fn topic(domain: Domain) -> Self {
        Self { domain: Some(domain), ..Self::everything() }
    }

    /// Published events of every domain, from now on.
    #[must_use]
    pub fn everything() -> Self {
        Self { domain: None, names: Vec::new(), scope: Scope::Published, start: Start::Now, credit: CREDIT }
    }

    /// Only this name and the others that were given; without any, every name. A subscription to
    /// every domain has no names.
    #[must_use]
    pub fn name(mut self, name: EventName) -> Self {
        self.names.push(name);
        self
    }

    /// Starts somewhere else than now.
    #[must_use]
    pub fn from(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// Events that were only persisted, too.
    #[must_use]
    pub fn stored(self) -> Self {
        Self { scope: Scope::Stored, ..self }
    }

    /// How many events may be under way; from 1 to 4,096. Default 1,024.
    #[must_use]
    pub fn credit(self, events: u32) -> Self {
        Self { credit: events.clamp(1, CREDIT_EVENTS_MAX), ..self }
    }

    pub(crate) async fn open(self, link: &Link) -> Result<EventStream, ListenError> {
        let credit = self.credit;
        let names = NameFilter::of(self.names)
            .map_err(|found| ListenError::TooManyNames { found, max: NAMES_PER_FILTER_MAX })?;
        let wish = Listen::Subscribe {
            topic: self.domain.map(|domain| Topic { domain, names }),
            scope: self.scope,
            start: self.start,
            credit,
        };
        let inbox = link.listen(wish, credit).await?;
        Ok(EventStream::new(inbox, credit))
    }
}

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An event, in the order of the log.
    Event(Arc<Event>),
    /// This reader was too slow for live events; the hub reads on from the log. Nothing is lost.
    Lagged {
        /// How many positions it was behind.
        behind: u64,
    },
    /// Everything up to here has been told, also where nothing matched.
    CaughtUp {
        /// Up to here.
        position: Position,
    },
}

/// The stream of a subscription. It ends with the error that ended it; dropping it ends it.
pub struct EventStream {
    inbox: Inbox,
    commands: PollSender<Command>,
    credit: u32,
    /// Events taken since the hub was last given credit.
    taken: u32,
    last: Position,
    told: Signals,
    over: bool,
}

impl EventStream {
    fn new(inbox: Inbox, credit: u32) -> Self {
        let commands = PollSender::new(inbox.link().commands());
        let (last, told) = (Position::default(), Signals::default());
        Self { inbox, commands, credit, taken: 0, last, told, over: false }
    }

    /// The next thing told; `None` after the end.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Told, ListenError>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Gives credit for what was taken, an eighth of the grant at a time.
    fn poll_credit(&mut self, context: &mut Context<'_>) {
        if self.taken < self.credit.div_ceil(8) {
            return;
        }
        // While the queue is full this task is woken when it no longer is.
        if let Poll::Ready(Ok(())) = self.commands.poll_reserve(context) {
            let credit = Command::Credit { listener: self.inbox.listener(), events: self.taken };
            if self.commands.send_item(credit).is_ok() {
                self.taken = 0;
            }
        }
    }

    fn event(&mut self, event: Arc<Event>) -> Told {
        self.taken = self.taken.saturating_add(1);
        self.last = event.position;
        Told::Event(event)
    }

    /// What `newest` says that was not told yet.
    fn signal(&mut self, newest: &Signals) -> Option<Told> {
        if newest.lagged.times > self.told.lagged.times {
            self.told.lagged = newest.lagged;
            return Some(Told::Lagged { behind: newest.lagged.behind });
        }
        let caught_up = newest.caught_up.filter(|position| Some(*position) > self.told.caught_up)?;
        self.told.caught_up = Some(caught_up);
        // An event that came after the signal may have been told already.
        Some(Told::CaughtUp { position: caught_up.max(self.last) })
    }

    /// The newest signals, if they hold something that was not told.
    fn news(&self) -> Option<Signals> {
        let newest = self.inbox.signals();
        let is_new = newest.lagged.times > self.told.lagged.times || newest.caught_up > self.told.caught_up;
        is_new.then(|| newest.clone())
    }
}

impl Stream for EventStream {
    type Item = Result<Told, ListenError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut();
        if stream.over {
            return Poll::Ready(None);
        }
        stream.poll_credit(context);
        // Taken before the queue is looked at: what was signalled by now comes after everything that is in it.
        // A later signal may be about events that come into the queue only after that look.
        stream.inbox.wake_on_signal(context);
        let news = stream.news();
        let arrival = stream.inbox.poll(context);
        if let Poll::Ready(Some(arrival)) = arrival {
            return Poll::Ready(Some(Ok(stream.event(arrival.event))));
        }
        // A task that has done much is told that nothing is there, to let others run.
        if stream.inbox.is_empty()
            && let Some(told) = news.and_then(|news| stream.signal(&news))
        {
            return Poll::Ready(Some(Ok(told)));
        }
        match arrival {
            Poll::Ready(_) => {
                stream.over = true;
                Poll::Ready(Some(Err(stream.inbox.ended())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("last", &self.last).finish_non_exhaustive()
    }
}
