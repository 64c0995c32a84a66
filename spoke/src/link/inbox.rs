//! What comes for one listener, from the driver to whoever reads it.
//!
//! Events go through a queue that is as long as the credit that was granted, so the driver never
//! finds it full while the hub keeps to its credit. Everything else (caught up, lagged, the end, which
//! connections are up) is a state of which only the newest matters: it travels in a `watch`, with a waker
//! for readers that poll.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::AtomicWaker;
use proto::{Attempt, Event, ListenerId, Position};
use tokio::sync::{mpsc, watch};

use super::{Link, Links};
use crate::error::ListenError;

/// An event for a listener.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) event: Arc<Event>,
    /// Which try; 0 for a subscription, where nothing is tried again.
    pub(crate) attempt: Attempt,
    /// Over which connection it came, counted from 1.
    pub(crate) connection: u64,
}

/// The newest of everything that is not an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// The connections that are up.
    pub(crate) links: Links,
    /// How often and, the last time, how far the subscription fell behind.
    pub(crate) lagged: Lagged,
    /// Up to where everything has been seen.
    pub(crate) caught_up: Option<Position>,
    /// How long a member may keep a delivery without a word, as far as the hub has said.
    pub(crate) deadline: Option<Duration>,
    /// Why the listener is over.
    pub(crate) ended: Option<ListenError>,
}

/// How often a subscription fell behind, and how far the last time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lagged {
    pub(crate) times: u64,
    pub(crate) behind: u64,
}

/// The driver's end.
pub(crate) struct Outlet {
    arrivals: mpsc::Sender<Arrival>,
    signals: watch::Sender<Signals>,
    waker: Arc<AtomicWaker>,
}

/// What became of an arrival that was passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It is in the queue.
    On,
    /// The queue is full: the hub sent more than it was allowed to.
    Full,
    /// Nobody listens any more.
    Gone,
}

impl Outlet {
    pub(super) fn pass(&self, arrival: Arrival) -> Passed {
        match self.arrivals.try_send(arrival) {
            Ok(()) => Passed::On,
            Err(mpsc::error::TrySendError::Full(_)) => Passed::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Passed::Gone,
        }
    }

    pub(super) fn signal(&self, change: impl FnOnce(&mut Signals)) {
        self.signals.send_modify(change);
        self.waker.wake();
    }

    /// Tells why it is over. The reader still gets what is in the queue.
    pub(super) fn end(self, why: ListenError) {
        self.signal(|signals| signals.ended = Some(why));
    }
}

/// What a reader that waits has got.
#[derive(Debug)]
pub(crate) enum Taken {
    /// These, and the connections that are up since they came.
    Arrivals(Links, Vec<Arrival>),
    /// Other connections are up than before.
    Links(Links),
    /// A member may keep deliveries for so long without a word.
    Deadline(Duration),
    /// Nothing more will come.
    Over(ListenError),
}

/// Arrivals that are taken at a time.
const TAKEN_MAX: usize = 256;

/// The reader's end. Dropping it closes the listener.
pub(crate) struct Inbox {
    link: Link,
    listener: ListenerId,
    /// The connections that were told of.
    links: Links,
    /// The newest deadline that was told of.
    deadline: Option<Duration>,
    arrivals: mpsc::Receiver<Arrival>,
    signals: watch::Receiver<Signals>,
    waker: Arc<AtomicWaker>,
}

/// The reader's end before the hub has opened the listener.
pub(super) struct Opening {
    arrivals: mpsc::Receiver<Arrival>,
    signals: watch::Receiver<Signals>,
    waker: Arc<AtomicWaker>,
}

/// Both ends for a listener that is granted `credit` events.
pub(super) fn channel(credit: u32) -> (Outlet, Opening) {
    let room = usize::try_from(credit.max(1)).unwrap_or(usize::MAX);
    let (arrivals, queue) = mpsc::channel(room);
    let (signals, newest) = watch::channel(Signals::default());
    let waker = Arc::new(AtomicWaker::new());
    let opening = Opening { arrivals: queue, signals: newest, waker: Arc::clone(&waker) };
    (Outlet { arrivals, signals, waker }, opening)
}

impl Inbox {
    pub(super) fn new(link: Link, listener: ListenerId, opening: Opening) -> Self {
        let Opening { arrivals, signals, waker } = opening;
        Self { link, listener, links: Links::default(), deadline: None, arrivals, signals, waker }
    }

    pub(crate) fn listener(&self) -> ListenerId {
        self.listener
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Waits for arrivals, for other connections and for another deadline.
    ///
    /// Cancel safe.
    pub(crate) async fn take(&mut self) -> Taken {
        // Arrivals that never end must not keep it from being heard.
        if let Some(news) = self.news() {
            return news;
        }
        let mut arrivals = Vec::new();
        let (links, deadline) = (self.links, self.deadline);
        let changed = |signals: &Signals| signals.links != links || signals.deadline != deadline;
        tokio::select! {
            biased;
            _ = self.arrivals.recv_many(&mut arrivals, TAKEN_MAX) => {}
            Ok(_) = self.signals.wait_for(changed) => {}
        }
        if arrivals.is_empty() {
            return self.news().unwrap_or_else(|| Taken::Over(self.ended()));
        }
        // Looked at after the arrivals came, so it knows of every connection that they came over.
        self.links = self.signals.borrow().links;
        Taken::Arrivals(self.links, arrivals)
    }

    /// What was signalled and not told yet.
    fn news(&mut self) -> Option<Taken> {
        let (links, deadline) = {
            let signals = self.signals.borrow();
            (signals.links, signals.deadline)
        };
        if links != self.links {
            self.links = links;
            return Some(Taken::Links(links));
        }
        let deadline = deadline.filter(|_| deadline != self.deadline)?;
        self.deadline = Some(deadline);
        Some(Taken::Deadline(deadline))
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Arrival>> {
        self.arrivals.poll_recv(context)
    }

    /// Whether nothing is in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Wakes the task of `context` with the next signal.
    pub(crate) fn wake_on_signal(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// The newest signals.
    pub(crate) fn signals(&self) -> watch::Ref<'_, Signals> {
        self.signals.borrow()
    }

    /// Why it is over.
    pub(crate) fn ended(&self) -> ListenError {
        let ended = self.signals.borrow().ended.clone();
        ended.unwrap_or_else(|| self.link.closed().into())
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.link.leave_soon(self.listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::event;

    fn arrival(position: u64) -> Arrival {
        Arrival { event: Arc::new(event(position)), attempt: Attempt(1), connection: 1 }
    }

    #[test]
    fn a_queue_holds_what_was_granted_and_says_when_it_is_full() {
        let (outlet, mut opening) = channel(2);
        assert_eq!(outlet.pass(arrival(1)), Passed::On);
        assert_eq!(outlet.pass(arrival(2)), Passed::On);
        assert_eq!(outlet.pass(arrival(3)), Passed::Full);
        assert_eq!(opening.arrivals.try_recv().unwrap().event.position, Position(1));
        assert_eq!(outlet.pass(arrival(3)), Passed::On);
        drop(opening);
        assert_eq!(outlet.pass(arrival(4)), Passed::Gone);
    }

    #[test]
    fn the_end_is_told_after_what_is_still_in_the_queue() {
        let (outlet, mut opening) = channel(2);
        outlet.pass(arrival(1));
        outlet.end(ListenError::Refused(proto::Refusal::Stopping));
        assert!(opening.arrivals.try_recv().is_ok());
        assert!(matches!(opening.arrivals.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        assert!(matches!(opening.signals.borrow().ended, Some(ListenError::Refused(_))));
    }
}
