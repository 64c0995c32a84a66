//! Both ends against each other, over links that are slow, cut anywhere, silent, or end because the
//! hub stops; and one link after the other takes the place of the one before. A seed decides everything, so
//! a failure can be run again.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

#[path = "pair/app.rs"]
mod app;
#[path = "pair/beside.rs"]
mod beside;
#[path = "pair/hub.rs"]
mod hub;
#[path = "pair/link.rs"]
mod link;
#[path = "pair/log.rs"]
mod log;
#[path = "pair/random.rs"]
mod random;

use std::time::Duration;

use eventflow_proto::session::{SpokeSession, Violation};

use self::app::App;
use self::beside::{Beside, Place};
use self::hub::HubEnd;
use self::link::Pipe;
use self::log::Log;
use self::random::Random;

/// What goes wrong with the links of a world, each once in so many steps.
#[derive(Clone, Copy)]
struct Trouble {
    cut: usize,
    silence: usize,
    stop: usize,
    drop: usize,
    renew: usize,
    cut_beside: usize,
}

const NOTHING: Trouble =
    Trouble { cut: NONE, silence: NONE, stop: NONE, drop: NONE, renew: NONE, cut_beside: NONE };

const NONE: usize = usize::MAX;

struct World {
    random: Random,
    trouble: Trouble,
    now: Duration,
    spoke: SpokeSession,
    app: App,
    hub: Option<HubEnd>,
    log: Log,
    to_hub: Pipe,
    to_spoke: Pipe,
    beside: Vec<Beside>,
    links: usize,
    silenced: usize,
    handed_over: usize,
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        Self {
            random: Random::new(seed),
            trouble,
            now: Duration::ZERO,
            spoke: SpokeSession::new(samples::spoke()),
            app: App::default(),
            hub: None,
            log: Log::default(),
            to_hub: Pipe::default(),
            to_spoke: Pipe::default(),
            beside: Vec::new(),
            links: 0,
            silenced: 0,
            handed_over: 0,
        }
    }

    fn step(&mut self) {
        self.trouble();
        match self.random.below(if self.beside.is_empty() { 12 } else { 20 }) {
            0 => self.app.act(&mut self.spoke, &mut self.random),
            1 => self.app.handle(&mut self.spoke, &mut self.random),
            2 => self.spoke_says(),
            3 => self.hub_says(),
            4 => self.to_hub.flow(&mut self.random),
            5 => self.to_spoke.flow(&mut self.random),
            6 => self.hub_hears(),
            7 => self.spoke_hears(),
            8 if self.random.once_in(2) => self.time_passes(),
            12.. => self.work_beside(),
            _ => {
                if let Some(hub) = &mut self.hub {
                    hub.work(&mut self.random, &mut self.log);
                }
            }
        }
        self.tell_app();
    }

    fn trouble(&mut self) {
        let Trouble { cut, silence, stop, drop, renew, cut_beside } = self.trouble;
        if self.random.once_in(cut_beside) && !self.beside.is_empty() {
            let index = self.random.below(self.beside.len());
            self.cut_beside(index);
        }
        let may_renew =
            self.spoke.is_open() && !self.beside.iter().any(|link| matches!(link.place, Place::Next(_)));
        if may_renew && self.random.once_in(renew) {
            self.beside.push(Beside::next(&self.spoke, self.now, self.app.last_listener));
        }
        let Some(hub) = &mut self.hub else { return self.connect() };
        if self.random.once_in(cut) {
            self.cut();
        } else if self.random.once_in(silence) {
            self.to_hub.is_dead = true;
            self.to_spoke.is_dead = true;
        } else if self.random.once_in(stop) {
            hub.stop(&mut self.log);
        } else if self.random.once_in(drop) {
            hub.drop_one(&mut self.log);
        }
    }

    fn connect(&mut self) {
        self.links += 1;
        self.spoke.connected(self.now);
        self.hub = Some(HubEnd::new(self.now, self.app.last_listener));
    }

    fn cut(&mut self) {
        // A driver gives up a link that is not in use yet.
        if let Some(index) = self.beside.iter().position(|link| matches!(link.place, Place::Next(_))) {
            self.cut_beside(index);
        }
        if let Some(hub) = self.hub.take() {
            hub.gone(&mut self.log);
        }
        self.spoke.disconnected();
        self.to_hub = Pipe::default();
        self.to_spoke = Pipe::default();
    }

    /// A link beside the one in use does something.
    fn work_beside(&mut self) {
        let index = self.random.below(self.beside.len());
        let link = &mut self.beside[index];
        link.work(&mut self.spoke, &mut self.random, self.now, &mut self.log);
        self.look_beside(index);
    }

    /// Goes over to a link that is open, and closes one that has said its last word.
    fn look_beside(&mut self, index: usize) {
        let link = &self.beside[index];
        if link.is_retired(&self.spoke) {
            self.cut_beside(index);
        } else if link.is_open()
            && let Some(hub) = &mut self.hub
        {
            self.handed_over += 1;
            let before = self.spoke.link();
            let mut link = self.beside.remove(index);
            std::mem::swap(hub, &mut link.hub);
            std::mem::swap(&mut self.to_hub, &mut link.to_hub);
            std::mem::swap(&mut self.to_spoke, &mut link.to_spoke);
            let Place::Next(next) = std::mem::replace(&mut link.place, Place::Retiring(before)) else {
                panic!("a link that retires is not open");
            };
            assert!(self.spoke.hand_over(*next));
            hub.old_listeners(self.app.last_listener);
            self.beside.push(link);
        }
    }

    fn cut_beside(&mut self, index: usize) {
        let link = self.beside.remove(index);
        link.hub.gone(&mut self.log);
        if let Place::Retiring(link) = link.place {
            self.spoke.retired(link);
        }
    }

    fn spoke_says(&mut self) {
        let mut payload = Vec::new();
        if self.spoke.poll_frame(&mut payload) {
            self.to_hub.send(&payload);
        }
    }

    fn hub_says(&mut self) {
        let mut payload = Vec::new();
        if self.hub.as_mut().is_some_and(|hub| hub.session.poll_frame(&mut payload)) {
            self.to_spoke.send(&payload);
        }
    }

    fn hub_hears(&mut self) {
        let Some(hub) = &mut self.hub else { return };
        if hub.session.may_read()
            && let Some(frame) = self.to_hub.frame()
        {
            hub.hear(&frame, self.now, &mut self.log).unwrap();
        }
    }

    fn spoke_hears(&mut self) {
        if let Some(frame) = self.to_spoke.frame() {
            self.spoke.handle_frame(&frame, self.now).unwrap();
            self.tell_app();
            // A driver whose hub goes away closes when nothing is owed any more.
            let is_over = self.hub.is_some() && !self.spoke.is_open() && self.spoke.said() == 0;
            if is_over && self.random.once_in(5) && self.spoke.poll_timeout().is_some() && self.said_welcome()
            {
                self.cut();
            }
        }
    }

    fn said_welcome(&self) -> bool {
        self.spoke.frame_bytes_max() == eventflow_proto::limits::FRAME_BYTES_MAX
    }

    fn time_passes(&mut self) {
        let step = if self.to_hub.is_dead { 2_000 } else { 20 };
        self.now += Duration::from_millis(self.random.below(step) as u64);
        // Whichever wakes up first.
        let spoke_first = self.random.once_in(2);
        for spoke in [spoke_first, !spoke_first] {
            let outcome = match &mut self.hub {
                _ if spoke => self.spoke.handle_timeout(self.now),
                Some(hub) => hub.session.handle_timeout(self.now),
                None => Ok(()),
            };
            match outcome {
                Ok(()) => {}
                Err(Violation::Silent { .. } | Violation::Late { .. }) if self.to_hub.is_dead => {
                    self.silenced += 1;
                    self.cut();
                }
                Err(violation) => panic!("{violation}"),
            }
        }
    }

    fn tell_app(&mut self) {
        while let Some(event) = self.spoke.poll_event() {
            self.app.told(event);
        }
    }

    /// No more trouble and no more requests: everything comes to its end.
    fn settle(&mut self) {
        self.trouble = NOTHING;
        self.cut();
        self.tell_app();
        self.app.settle(&mut self.spoke);
        for _ in 0..5_000 {
            if self.hub.is_none() {
                self.connect();
            }
            for _ in 0..20 {
                self.spoke_says();
                self.hub_says();
                self.to_hub.flow_all();
                self.to_spoke.flow_all();
                self.hub_hears();
                self.spoke_hears();
                for index in (0..self.beside.len()).rev() {
                    let link = &mut self.beside[index];
                    link.work_all(&mut self.spoke, &mut self.random, self.now, &mut self.log);
                    self.look_beside(index);
                }
                self.app.handle(&mut self.spoke, &mut self.random);
                if let Some(hub) = &mut self.hub {
                    hub.work(&mut self.random, &mut self.log);
                }
                self.tell_app();
            }
            if self.is_settled() {
                return;
            }
        }
        let beside = self.beside.iter().map(|link| link.is_retired(&self.spoke)).collect::<Vec<_>>();
        let (head, handled) = (self.log.head(), self.log.handled.len());
        panic!(
            "it does not come to an end: {beside:?} {} asked, {handled} of {head} handled: {:?}",
            self.app.unanswered(),
            self.spoke,
        );
    }

    fn is_settled(&self) -> bool {
        let head = self.log.head();
        self.beside.is_empty()
            && self.app.unanswered() == 0
            && self.spoke.in_flight() == 0
            && self.log.handled.len() as u64 == head.0
            && self.app.has_seen(head)
    }
}

/// What happened in some worlds.
#[derive(Debug, Default)]
struct Happened {
    links: usize,
    silenced: usize,
    stored: usize,
    delivered: usize,
    stale_answers: usize,
    pushed: usize,
    chained: usize,
    lost_chains: usize,
    handed_over: usize,
}

fn run(seeds: std::ops::Range<u64>, trouble: Trouble) -> Happened {
    let mut happened = Happened::default();
    for seed in seeds {
        let mut world = World::new(seed, trouble);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..5_000 {
                world.step();
            }
            world.settle();
        }));
        assert!(outcome.is_ok(), "seed {seed} failed");
        let lost = world.app.stored.iter().find(|id| !world.log.holds(id));
        assert_eq!(lost, None, "an event was answered as stored and is not");
        let app = &world.app;
        let uncommitted = app
            .committed
            .iter()
            .find(|(parent, child)| !world.log.handled.contains(parent) || !world.log.holds(child));
        assert_eq!(uncommitted, None, "a chain was answered as committed and is not");
        happened.chained += app.committed.len();
        happened.lost_chains += app.lost_chains;
        happened.links += world.links;
        happened.silenced += world.silenced;
        happened.handed_over += world.handed_over;
        happened.stored += world.app.stored.len();
        happened.delivered += world.app.delivered;
        happened.stale_answers += world.app.stale_answers;
        happened.pushed += world.app.pushed;
    }
    happened
}

#[test]
fn a_good_link_is_never_given_up() {
    let happened = run(0..50, Trouble { drop: 500, ..NOTHING });
    // One, and one to settle.
    assert_eq!((happened.links, happened.silenced), (100, 0));
}

#[test]
fn every_request_is_answered_once_and_nothing_is_lost_over_cut_links() {
    let happened = run(100..150, Trouble { cut: 150, drop: 700, ..NOTHING });
    assert!(happened.links > 1_500 && happened.stored > 500, "{happened:?}");
    let happened = run(200..250, Trouble { cut: 300, drop: 2_000, ..NOTHING });
    assert!(happened.delivered > 2_000 && happened.pushed > 2_000, "{happened:?}");
    assert!(happened.stale_answers > 50, "{happened:?}");
    assert!(happened.chained > 500 && happened.lost_chains > 50, "{happened:?}");
}

#[test]
fn a_link_that_falls_silent_is_noticed_and_replaced() {
    let happened = run(300..350, Trouble { silence: 600, ..NOTHING });
    assert!(happened.silenced > 100, "{happened:?}");
}

#[test]
fn a_hub_that_stops_hands_everything_to_the_next_one() {
    let happened = run(400..450, Trouble { cut: 1_000, silence: 2_000, stop: 200, ..NOTHING });
    assert!(happened.links > 500 && happened.delivered > 2_000, "{happened:?}");
}

#[test]
fn one_link_after_the_other_takes_over_and_no_answer_is_stale() {
    let happened = run(500..600, Trouble { renew: 150, ..NOTHING });
    // One each, and one to settle.
    assert_eq!(happened.links, 200, "{happened:?}");
    assert!(happened.handed_over > 500 && happened.delivered > 2_000, "{happened:?}");
    assert!(happened.chained > 500 && happened.pushed > 2_000, "{happened:?}");
}

#[test]
fn links_that_take_over_and_links_that_retire_may_break_at_any_time() {
    let happened = run(600..650, Trouble { renew: 150, cut_beside: 400, ..NOTHING });
    assert!(happened.handed_over > 300 && happened.lost_chains > 0, "{happened:?}");
    let trouble = Trouble { renew: 150, cut_beside: 800, cut: 600, stop: 900, drop: 2_000, ..NOTHING };
    let happened = run(700..750, trouble);
    assert!(happened.handed_over > 100 && happened.links > 300, "{happened:?}");
}
