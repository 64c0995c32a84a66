//! Tells whoever fires schedules what has just been committed as pending.
//!
//! It comes from the writer and not from those who ask it to write, because they may have gone by the time
//! of the commit. The channel never holds the writer up: what does not fit, or what may have been
//! committed in a commit of unknown outcome, is [`PendingNews::Missed`]: read the tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::schedule::Due;

/// Schedules that may wait for their reader. When it is full, the reader will have missed some.
const NEWS_QUEUED_MAX: usize = 8_192;

/// What was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingNews {
    /// A schedule is pending; perhaps it was before.
    Pending(Due),
    /// Others may be, too.
    Missed,
}

/// The reading end. There is one for a writer.
#[derive(Debug)]
pub struct PendingSchedules {
    queue: mpsc::Receiver<PendingNews>,
    missed: Arc<AtomicBool>,
}

/// The writer's end.
#[derive(Debug, Clone)]
pub(crate) struct PendingTeller {
    queue: mpsc::Sender<PendingNews>,
    missed: Arc<AtomicBool>,
}

/// Both ends.
pub(crate) fn channel() -> (PendingTeller, PendingSchedules) {
    let (sender, queue) = mpsc::channel(NEWS_QUEUED_MAX);
    let missed = Arc::new(AtomicBool::new(false));
    (PendingTeller { queue: sender, missed: Arc::clone(&missed) }, PendingSchedules { queue, missed })
}

impl PendingTeller {
    /// Says what is pending now.
    pub(crate) fn pending(&self, due: Due) {
        self.say(PendingNews::Pending(due));
    }

    /// Says that something may be pending that was not said.
    pub(crate) fn missed(&self) {
        self.say(PendingNews::Missed);
    }

    fn say(&self, news: PendingNews) {
        // A full queue wakes the reader, who then finds this.
        if self.queue.try_send(news).is_err() {
            self.missed.store(true, Ordering::Release);
        }
    }
}

impl PendingSchedules {
    /// What was committed next; `None` when the writer has stopped and everything was taken.
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<PendingNews> {
        if self.missed.swap(false, Ordering::AcqRel) {
            return Some(PendingNews::Missed);
        }
        self.queue.recv().await
    }

    /// The same, if there is something already.
    pub fn try_next(&mut self) -> Option<PendingNews> {
        if self.missed.swap(false, Ordering::AcqRel) {
            return Some(PendingNews::Missed);
        }
        self.queue.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use proto::{EventId, Timestamp};

    use super::*;

    #[tokio::test]
    async fn who_does_not_keep_up_hears_that_something_was_missed() {
        let (teller, mut news) = channel();
        let due = Due { at: Timestamp::default(), id: EventId::parse("e").unwrap() };
        for _ in 0..=NEWS_QUEUED_MAX {
            teller.pending(due.clone());
        }
        assert_eq!(news.next().await, Some(PendingNews::Missed));
        assert_eq!(news.next().await, Some(PendingNews::Pending(due)));
        drop(teller);
        while news.try_next().is_some() {}
        assert_eq!(news.next().await, None);
    }
}
