//! What the writer has just committed, in order, for whoever passes it on.
//!
//! The channel never holds the writer up. What does not fit is left out, and the reader, who counts
//! positions, says [`Committed::Missed`] in its place: read the tables.

use std::sync::Arc;

use proto::{Event, Position};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};

use crate::write::pending::{self, PendingSchedules, PendingTeller};

/// Commits that may wait for their reader. When it is full, the reader will have missed some.
const COMMITS_QUEUED_MAX: usize = 64;

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Events at consecutive positions.
    Events(Vec<Arc<Event>>),
    /// Events that were not passed on: read the tables up to `head`.
    Missed {
        /// The last position that was missed.
        head: Position,
    },
    /// Events that were emptied.
    Deleted(Vec<Position>),
}

/// The reading end. There is one for a writer.
#[derive(Debug)]
pub struct Commits {
    queue: mpsc::Receiver<Committed>,
    head: watch::Receiver<Position>,
    seen: Position,
    held: Option<Committed>,
    schedules: Option<PendingSchedules>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Teller {
    queue: mpsc::Sender<Committed>,
    head: watch::Sender<Position>,
    pub(crate) schedules: PendingTeller,
}

/// Both ends, for a log that ends at `head`.
pub(crate) fn channel(head: Position) -> (Teller, Commits) {
    let (sender, queue) = mpsc::channel(COMMITS_QUEUED_MAX);
    let (head_sender, head_receiver) = watch::channel(head);
    let (schedules, pending) = pending::channel();
    let teller = Teller { queue: sender, head: head_sender, schedules };
    let schedules = Some(pending);
    (teller, Commits { queue, head: head_receiver, seen: head, held: None, schedules })
}

impl Teller {
    /// Passes on events that end at `head`, or leaves the reader to find that it missed them.
    pub(crate) fn events(&self, events: Vec<Arc<Event>>, head: Position) {
        if !events.is_empty() {
            // Full: the head, told next, shows the reader that it missed something.
            let _ = self.queue.try_send(Committed::Events(events));
        }
        self.head(head);
    }

    /// Says where the log ends, whoever wrote it.
    pub(crate) fn head(&self, head: Position) {
        self.head.send_if_modified(|told| {
            let news = head > *told;
            *told = head.max(*told);
            news
        });
    }

    /// Whether a deletion would be told. The writer is the only sender, so the room stays.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.capacity() > 0 || self.queue.is_closed()
    }

    /// Passes on what was emptied, after [`Teller::has_room`].
    pub(crate) fn deleted(&self, positions: Vec<Position>) {
        // Closed: nobody reads commits, so nobody misses one.
        let _ = self.queue.try_send(Committed::Deleted(positions));
    }
}

impl Commits {
    /// What is committed as pending, for whoever fires schedules: it is handed out once.
    pub fn pending_schedules(&mut self) -> Option<PendingSchedules> {
        self.schedules.take()
    }

    /// The next commit; `None` when the writer has stopped and everything was taken.
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Committed> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        loop {
            // The head is read before the queue: what was queued up to it is then in the queue.
            let head = *self.head.borrow_and_update();
            match self.queue.try_recv() {
                Ok(committed) => return Some(self.in_order(committed)),
                Err(_) if head > self.seen => {
                    self.seen = head;
                    return Some(Committed::Missed { head });
                }
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            tokio::select! {
                biased;
                committed = self.queue.recv() => match committed {
                    Some(committed) => return Some(self.in_order(committed)),
                    None => continue,
                },
                // An error says that the writer has stopped; the queue then says so too.
                _ = self.head.changed() => {}
            }
        }
    }

    /// Puts what was missed before events that do not follow on what was seen.
    fn in_order(&mut self, committed: Committed) -> Committed {
        let Committed::Events(events) = &committed else { return committed };
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return committed };
        let (first, last) = (first.position, last.position);
        let missed = first > self.seen.next();
        self.seen = self.seen.max(last);
        if missed {
            self.held = Some(committed);
            return Committed::Missed { head: first.previous() };
        }
        committed
    }
}

#[cfg(test)]
mod tests {
    use proto::{Domain, EventId, EventName, Metadata, Pid, Timestamp, Version};

    use super::*;

    fn event(position: u64) -> Vec<Arc<Event>> {
        vec![Arc::new(Event {
            position: Position(position),
            id: EventId::parse(&format!("e{position}")).unwrap(),
            timestamp: Timestamp::default(),
            domain: Domain::parse("order").unwrap(),
            pid: Pid::parse("1").unwrap(),
            version: Version(position),
            name: EventName::parse("placed").unwrap(),
            rid: None,
            publisher: None,
            metadata: Metadata::default(),
            data: proto::Data::empty(),
            eids: Vec::new(),
            cpids: Vec::new(),
        })]
    }

    async fn positions(commits: &mut Commits) -> Vec<(u64, bool)> {
        let mut all = Vec::new();
        while let Some(committed) = commits.next().await {
            all.push(match committed {
                Committed::Events(events) => (events[0].position.0, true),
                Committed::Missed { head } => (head.0, false),
                Committed::Deleted(_) => continue,
            });
        }
        all
    }

    #[tokio::test]
    async fn what_did_not_fit_is_said_to_be_missed_in_its_place() {
        let (teller, mut commits) = channel(Position(0));
        let full = COMMITS_QUEUED_MAX as u64;
        (1..=full + 2).for_each(|at| teller.events(event(at), Position(at)));
        assert!(matches!(commits.next().await, Some(Committed::Events(_))));
        teller.events(event(full + 3), Position(full + 3));
        drop(teller);
        let told = positions(&mut commits).await;
        assert_eq!(told[told.len() - 3..], [(full, true), (full + 2, false), (full + 3, true)]);
    }

    #[tokio::test]
    async fn missed_events_are_told_also_if_nothing_follows() {
        let (teller, mut commits) = channel(Position(7));
        teller.head(Position(9));
        assert_eq!(commits.next().await, Some(Committed::Missed { head: Position(9) }));
        drop(teller);
        assert_eq!(commits.next().await, None);
    }

    #[tokio::test]
    async fn a_deletion_waits_for_a_free_place_instead_of_going_untold() {
        let (teller, mut commits) = channel(Position(0));
        (1..=COMMITS_QUEUED_MAX as u64).for_each(|at| teller.events(event(at), Position(at)));
        assert!(!teller.has_room());
        commits.next().await;
        assert!(teller.has_room());
        teller.deleted(vec![Position(1)]);
        drop(teller);
        let mut last = None;
        while let Some(committed) = commits.next().await {
            last = Some(committed);
        }
        assert_eq!(last, Some(Committed::Deleted(vec![Position(1)])));
    }
}
