//! Links beside the one in use: the next one, until it is open, and earlier ones that retire.

use std::time::Duration;

use eventflow_proto::session::SpokeSession;

use crate::hub::HubEnd;
use crate::link::Pipe;
use crate::log::Log;
use crate::random::Random;

/// Whose link it is at the spoke's end.
pub(crate) enum Place {
    Next(Box<SpokeSession>),
    Retiring(u64),
}

pub(crate) struct Beside {
    pub(crate) place: Place,
    pub(crate) hub: HubEnd,
    pub(crate) to_hub: Pipe,
    pub(crate) to_spoke: Pipe,
}

impl Beside {
    /// A further link, on which nothing has been said.
    pub(crate) fn next(spoke: &SpokeSession, now: Duration, last_listener: u32) -> Self {
        Self {
            place: Place::Next(Box::new(spoke.successor(now))),
            hub: HubEnd::new(now, last_listener),
            to_hub: Pipe::default(),
            to_spoke: Pipe::default(),
        }
    }

    /// Does one of the things that there are to do.
    pub(crate) fn work(
        &mut self,
        spoke: &mut SpokeSession,
        random: &mut Random,
        now: Duration,
        log: &mut Log,
    ) {
        match random.below(7) {
            0 => self.spoke_says(spoke),
            1 => self.hub_says(),
            2 => self.to_hub.flow(random),
            3 => self.to_spoke.flow(random),
            4 => self.hub_hears(now, log),
            5 => self.spoke_hears(spoke, now),
            _ => self.hub.work(random, log),
        }
    }

    /// Does all of the things that there are to do, once.
    pub(crate) fn work_all(
        &mut self,
        spoke: &mut SpokeSession,
        random: &mut Random,
        now: Duration,
        log: &mut Log,
    ) {
        self.spoke_says(spoke);
        self.hub_says();
        self.to_hub.flow_all();
        self.to_spoke.flow_all();
        self.hub_hears(now, log);
        self.spoke_hears(spoke, now);
        self.hub.work(random, log);
    }

    /// Whether the spoke closes it.
    pub(crate) fn is_retired(&self, spoke: &SpokeSession) -> bool {
        matches!(self.place, Place::Retiring(link) if spoke.is_retired(link))
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(&self.place, Place::Next(next) if next.is_open())
    }

    fn spoke_says(&mut self, spoke: &mut SpokeSession) {
        let mut payload = Vec::new();
        let says = match &mut self.place {
            Place::Next(next) => next.poll_frame(&mut payload),
            Place::Retiring(link) => spoke.poll_retiring_frame(*link, &mut payload),
        };
        if says {
            self.to_hub.send(&payload);
        }
    }

    fn hub_says(&mut self) {
        let mut payload = Vec::new();
        if self.hub.session.poll_frame(&mut payload) {
            self.to_spoke.send(&payload);
        }
    }

    fn hub_hears(&mut self, now: Duration, log: &mut Log) {
        if self.hub.session.may_read()
            && let Some(frame) = self.to_hub.frame()
        {
            self.hub.hear(&frame, now, log).unwrap();
        }
    }

    fn spoke_hears(&mut self, spoke: &mut SpokeSession, now: Duration) {
        let Some(frame) = self.to_spoke.frame() else { return };
        match &mut self.place {
            Place::Next(next) => next.handle_frame(&frame, now).unwrap(),
            Place::Retiring(link) => spoke.handle_retiring_frame(*link, &frame, now).unwrap(),
        }
    }
}
