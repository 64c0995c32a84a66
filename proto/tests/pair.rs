//! Both ends against each other, over links that are slow, cut anywhere, silent, or end because the
//! hub stops. A seed decides everything, so a failure can be run again.

// What serves several tests is test code too, which clippy does not see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

#[path = "pair/app.rs"]
mod app;
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
}

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
    links: usize,
    silenced: usize,
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
            links: 0,
            silenced: 0,
        }
    }

    fn step(&mut self) {
        self.trouble();
        match self.random.below(12) {
            0 => self.app.act(&mut self.spoke, &mut self.random),
            1 => self.app.handle(&mut self.spoke, &mut self.random),
            2 => self.spoke_says(),
            3 => self.hub_says(),
            4 => self.to_hub.flow(&mut self.random),
            5 => self.to_spoke.flow(&mut self.random),
            6 => self.hub_hears(),
            7 => self.spoke_hears(),
            8 if self.random.once_in(2) => self.time_passes(),
            _ => {
                if let Some(hub) = &mut self.hub {
                    hub.work(&mut self.random, &mut self.log);
                }
            }
        }
        self.tell_app();
    }

    fn trouble(&mut self) {
        let Trouble { cut, silence, stop, drop } = self.trouble;
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
        if let Some(hub) = self.hub.take() {
            hub.gone(&mut self.log);
        }
        self.spoke.disconnected();
        self.to_hub = Pipe::default();
        self.to_spoke = Pipe::default();
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
        self.trouble = Trouble { cut: NONE, silence: NONE, stop: NONE, drop: NONE };
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
        panic!("it does not come to an end");
    }

    fn is_settled(&self) -> bool {
        let head = self.log.head();
        self.app.unanswered() == 0
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
        happened.stored += world.app.stored.len();
        happened.delivered += world.app.delivered;
        happened.stale_answers += world.app.stale_answers;
        happened.pushed += world.app.pushed;
    }
    happened
}

#[test]
fn a_good_link_is_never_given_up() {
    let happened = run(0..50, Trouble { cut: NONE, silence: NONE, stop: NONE, drop: 500 });
    // One, and one to settle.
    assert_eq!((happened.links, happened.silenced), (100, 0));
}

#[test]
fn every_request_is_answered_once_and_nothing_is_lost_over_cut_links() {
    let happened = run(100..150, Trouble { cut: 150, silence: NONE, stop: NONE, drop: 700 });
    assert!(happened.links > 1_500 && happened.stored > 500, "{happened:?}");
    let happened = run(200..250, Trouble { cut: 300, silence: NONE, stop: NONE, drop: 2_000 });
    assert!(happened.delivered > 2_000 && happened.pushed > 2_000, "{happened:?}");
    assert!(happened.stale_answers > 50, "{happened:?}");
    assert!(happened.chained > 500 && happened.lost_chains > 50, "{happened:?}");
}

#[test]
fn a_link_that_falls_silent_is_noticed_and_replaced() {
    let happened = run(300..350, Trouble { cut: NONE, silence: 600, stop: NONE, drop: NONE });
    assert!(happened.silenced > 100, "{happened:?}");
}

#[test]
fn a_hub_that_stops_hands_everything_to_the_next_one() {
    let happened = run(400..450, Trouble { cut: 1_000, silence: 2_000, stop: 200, drop: NONE });
    assert!(happened.links > 500 && happened.delivered > 2_000, "{happened:?}");
}
