//! The task of one consumer: takes deliveries, has them worked on, keeps them alive, answers them.

use std::time::Duration;

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

/// How long a member may be silent about a delivery before the hub counts it as failed.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);

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
        stop: CancellationToken,
    ) -> Self {
        let (seats, said) = mpsc::channel(held_max.max(1));
        let interval = DELIVERY_DEADLINE / 3;
        let mut alive = tokio::time::interval_at(Instant::now() + interval, interval);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let held = Held::new(inbox.listener());
        Self { inbox, held, work, group, seats, said, alive, stop, ending: None }
    }

    /// Runs until the hub ends it or it is stopped, and then until the last handler has ended.
    pub(super) async fn run(mut self) -> Result<(), ListenError> {
        loop {
            match self.wake().await {
                Woke::Stop => self.end(Ending::Stopped),
                Woke::Said(said) => self.held.answered(said.position, said.word),
                Woke::Worked(Step::Finished(position, word)) => self.finished(position, word),
                Woke::Worked(Step::Room(out, seat)) => self.give_out(out, seat),
                Woke::Worked(Step::Closed) => self.end(Ending::Stopped),
                Woke::Taken(Taken::Arrivals(arrivals)) => {
                    arrivals.into_iter().for_each(|arrival| self.held.arrived(arrival));
                }
                Woke::Taken(Taken::Connected(connection)) => self.held.connected(connection),
                Woke::Taken(Taken::Over(error)) => {
                    warn!(%error, "the consumer is over");
                    self.end(Ending::Over(error));
                }
                Woke::KeepAlive => self.held.keep_alive(),
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
            let Some((event, attempt)) = self.held.start() else { return };
            let seat = self.seats.clone().try_reserve_owned().ok();
            running.start(event, attempt, seat);
        }
    }

    fn give_out(&mut self, out: OwnedPermit<Delivery>, seat: OwnedPermit<Said>) {
        if let Some((event, attempt)) = self.held.start() {
            let collected = Collected::new(self.group.clone());
            out.send(Delivery::new(event, attempt, Some(seat), Dropped::Releases, collected));
        }
    }

    async fn send_answers(&mut self) {
        let (link, connection) = (self.inbox.link(), self.held.connection());
        let (answers, chains) = (self.held.take_answers(), self.held.take_chains());
        // If nobody takes them, the inbox says why it is over.
        if !answers.is_empty() {
            let _ = link.answer(connection, answers).await;
        }
        for (chain, told) in chains {
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
