//! The task of one consumer: takes deliveries, has them worked on, keeps them alive, answers them.

use std::time::Duration;

use proto::Position;
use proto::message::Verdict;
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::delivery::{Delivery, Dropped, Said};
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
    pub(super) fn new(inbox: Inbox, work: Work, held_max: usize, stop: CancellationToken) -> Self {
        let (seats, said) = mpsc::channel(held_max.max(1));
        let interval = DELIVERY_DEADLINE / 3;
        let mut alive = tokio::time::interval_at(Instant::now() + interval, interval);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let held = Held::new(inbox.listener());
        Self { inbox, held, work, seats, said, alive, stop, ending: None }
    }

    /// Runs until the hub ends it or it is stopped, and then until the last handler has ended.
    pub(super) async fn run(mut self) -> Result<(), ListenError> {
        loop {
            match self.wake().await {
                Woke::Stop => self.end(Ending::Stopped),
                Woke::Said(said) => self.held.answered(said.position, said.verdict),
                Woke::Worked(Step::Finished(position, verdict)) => self.finished(position, verdict),
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
            self.held.answered(said.position, said.verdict);
        }
    }

    fn finished(&mut self, position: Position, verdict: Verdict) {
        let mut finished = Some((position, verdict));
        for _ in 0..FINISHED_MAX {
            let Some((position, verdict)) = finished else { return };
            self.take_said();
            self.held.answered(position, verdict);
            finished = match &mut self.work {
                Work::Handlers(running) => running.try_finished(),
                Work::Stream(_) => None,
            };
        }
        if let Some((position, verdict)) = finished {
            self.held.answered(position, verdict);
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
            out.send(Delivery::new(event, attempt, Some(seat), Dropped::Releases));
        }
    }

    async fn send_answers(&mut self) {
        let answers = self.held.take_answers();
        if answers.is_empty() {
            return;
        }
        // If nobody takes them, the inbox says why it is over.
        let _ = self.inbox.link().answer(self.held.connection(), answers).await;
    }

    async fn leave(self, ending: Ending) -> Result<(), ListenError> {
        match ending {
            Ending::Stopped => Ok(self.inbox.link().leave(self.inbox.listener()).await?),
            Ending::Over(error) => Err(error),
        }
    }
}
