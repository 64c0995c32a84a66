//! The task of one consumer: takes deliveries, has them worked on, keeps them alive, answers them.
//!
//! As long as a handler lives, its delivery is kept alive, three times within the group's deadline. What
//! has not ended after the longest time that a handler may take is failed.

use std::time::Duration;

use proto::message::Verdict;
use proto::{GroupName, Position};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::chain::Collected;
use super::delivery::{Delivery, Dropped, Said, Word};
use super::held::Held;
use super::work::{Step, Work};
use crate::error::ListenError;
use crate::link::{Inbox, Taken};

/// How long a member may be silent about a delivery, until the hub says what its group allows.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);

/// Signs of life come no more often than this, whatever the hub says.
const ALIVE_EVERY_MIN: Duration = Duration::from_millis(100);

/// Handlers that are looked after at a time before answers are sent.
const FINISHED_MAX: usize = 256;

pub(super) struct Task {
    inbox: Inbox,
    held: Held,
    work: Work,
    group: GroupName,
    seats: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
    alive: Interval,
    /// The longest that a delivery may be worked on.
    handle_within: Duration,
    stop: CancellationToken,
    ending: Option<Ending>,
}

/// Why the task is about to end.
enum Ending {
    Stopped,
    Over(ListenError),
}

/// What woke the task.
enum Woke {
    Stop,
    Said(Said),
    Worked(Step),
    Taken(Taken),
    KeepAlive,
}

impl Task {
    /// A task that holds at most `held_max` deliveries which are started and not answered.
    pub(super) fn new(
        inbox: Inbox,
        work: Work,
        group: GroupName,
        held_max: usize,
        handle_within: Duration,
        stop: CancellationToken,
    ) -> Self {
        let (seats, said) = mpsc::channel(held_max.max(1));
        let alive = alive(DELIVERY_DEADLINE, handle_within);
        let held = Held::new(inbox.listener());
        Self { inbox, held, work, group, seats, said, alive, handle_within, stop, ending: None }
    }

    /// Runs until the hub ends it or it is stopped, and then until the last handler has ended.
    pub(super) async fn run(mut self) -> Result<(), ListenError> {
        loop {
            match self.wake().await {
                Woke::Stop => self.end(Ending::Stopped),
                Woke::Said(said) => self.held.answered(said.position, said.word),
                Woke::Worked(Step::Finished(position, word)) => self.finished(position, word),
                Woke::Worked(Step::Room(out, seat)) => self.give_out(out, seat),
                Woke::Worked(Step::Gone) => {}
                Woke::Worked(Step::Closed) => self.end(Ending::Stopped),
                Woke::Taken(Taken::Arrivals(links, arrivals)) => {
                    self.held.linked(links);
                    arrivals.into_iter().for_each(|arrival| self.held.arrived(arrival));
                }
                Woke::Taken(Taken::Links(links)) => self.held.linked(links),
                Woke::Taken(Taken::Deadline(deadline)) => self.alive = alive(deadline, self.handle_within),
                Woke::Taken(Taken::Over(error)) => {
                    warn!(%error, "the consumer is over");
                    self.end(Ending::Over(error));
                }
                Woke::KeepAlive => self.keep_alive(),
            }
            self.take_said();
            self.start_handlers();
            self.send_answers().await;
            if self.work.is_idle()
                && let Some(ending) = self.ending.take()
            {
                return self.leave(ending).await;
            }
        }
    }

    async fn wake(&mut self) -> Woke {
        let over = matches!(self.ending, Some(Ending::Over(_)));
        tokio::select! {
            biased;
            () = self.stop.cancelled(), if self.ending.is_none() => Woke::Stop,
            Some(said) = self.said.recv() => Woke::Said(said),
            step = self.work.next(self.held.has_waiting(), &self.seats) => Woke::Worked(step),
            taken = self.inbox.take(), if !over => Woke::Taken(taken),
            _ = self.alive.tick() => Woke::KeepAlive,
        }
    }

    /// Takes nothing more; what is started is waited for.
    fn end(&mut self, ending: Ending) {
        debug!("the consumer takes nothing more");
        self.work.stop();
        self.ending = Some(ending);
    }

    /// Fails what has been worked on for too long, and keeps the rest alive.
    fn keep_alive(&mut self) {
        let since = Instant::now().checked_sub(self.handle_within);
        for position in since.map(|since| self.held.started_before(since)).unwrap_or_default() {
            warn!(%position, within = ?self.handle_within, "a handler did not come to its end; its event comes again");
            let reason = format!("the handler did not end within {:?}", self.handle_within);
            self.held.answered(position, Verdict::Fail { reason, after_ms: None });
            self.work.give_up(position);
        }
        self.held.keep_alive();
    }

    /// What was said of a delivery goes before what its handler returns.
    fn take_said(&mut self) {
        while let Ok(said) = self.said.try_recv() {
            self.held.answered(said.position, said.word);
        }
    }

    fn finished(&mut self, position: Position, word: Word) {
        let mut finished = Some((position, word));
        for _ in 0..FINISHED_MAX {
            let Some((position, word)) = finished else { return };
            self.take_said();
            self.held.answered(position, word);
            finished = match &mut self.work {
                Work::Handlers(running) => running.try_finished(),
                Work::Stream(_) => None,
            };
        }
        if let Some((position, word)) = finished {
            self.held.answered(position, word);
        }
    }

    fn start_handlers(&mut self) {
        let Work::Handlers(running) = &mut self.work else { return };
        while running.has_room() {
            let Some((event, attempt)) = self.held.start(Instant::now()) else { return };
            let seat = self.seats.clone().try_reserve_owned().ok();
            running.start(event, attempt, seat);
        }
    }

    fn give_out(&mut self, out: OwnedPermit<Delivery>, seat: OwnedPermit<Said>) {
        if let Some((event, attempt)) = self.held.start(Instant::now()) {
            let collected = Collected::new(self.group.clone());
            out.send(Delivery::new(event, attempt, Some(seat), Dropped::Releases, collected));
        }
    }

    async fn send_answers(&mut self) {
        let link = self.inbox.link();
        let (answers, chains) = (self.held.take_answers(), self.held.take_chains());
        // If nobody takes them, the inbox says why it is over.
        for (connection, answers) in answers {
            let _ = link.answer(connection, answers).await;
        }
        for (connection, chain, told) in chains {
            let _ = link.chain(connection, chain, told).await;
        }
    }

    async fn leave(self, ending: Ending) -> Result<(), ListenError> {
        match ending {
            Ending::Stopped => Ok(self.inbox.link().leave(self.inbox.listener()).await?),
            Ending::Over(error) => Err(error),
        }
    }
}

/// When signs of life are due: three times within the deadline, and often enough to notice a handler
/// that takes too long.
fn alive(deadline: Duration, handle_within: Duration) -> Interval {
    let every = (deadline / 3).min(handle_within / 2).max(ALIVE_EVERY_MIN);
    let mut alive = tokio::time::interval_at(Instant::now() + every, every);
    alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    alive
}
