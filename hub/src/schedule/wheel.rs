//! What is due soon, and what to do about it: a pure state machine.
//!
//! It holds all that is pending up to its *horizon*, ordered by time. [`Wheel::poll`] says what to do next:
//! read on beyond the horizon, fire what is due, or wait. While nothing is due that is one read a
//! [`WINDOW`], whatever is pending later.
//!
//! Nothing is missed between a read and what is committed meanwhile: whoever commits tells
//! [`Wheel::pending`] afterwards. What is within the horizon goes on the wheel, what is within a read that is
//! under way is kept until that is there, and anything later is in the tables before they are read.

use std::collections::BTreeSet;
use std::time::Duration;

use db::{DUE_PAGE_MAX, Due, FIRE_SCHEDULES_MAX};
use proto::limits::EVENT_ID_CHARS_MAX;
use proto::{EventId, Timestamp};

/// How far the wheel moves on with one read.
pub(super) const WINDOW: Duration = Duration::from_secs(30);

/// How long before the wheel runs out it is read on, so that a slow read delays nothing.
const AHEAD: Duration = Duration::from_secs(5);

/// Schedules on the wheel. At it the latest are let go: the horizon moves back, and they are read when
/// there is room again.
pub(super) const HELD_MAX: usize = 20_000;

/// Schedules that are told of while the tables are read. At it what was read is thrown away and read
/// again.
const MEANWHILE_MAX: usize = 10_000;

/// The first pause after the database has failed; it doubles with each further failure.
const AGAIN_FIRST: Duration = Duration::from_millis(250);

/// The longest pause. As often, rows that the database refuses are tried again.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// How much a wheel holds and does at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Schedules on the wheel, at least two pages.
    pub(crate) held: usize,
    /// Schedules of one read.
    pub(crate) page: u32,
    /// Schedules that are told of while the tables are read.
    pub(crate) meanwhile: usize,
    /// Schedules that are fired at once.
    pub(crate) fired: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { held: HELD_MAX, page: DUE_PAGE_MAX, meanwhile: MEANWHILE_MAX, fired: FIRE_SCHEDULES_MAX }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read what is pending after `after`, up to `until`.
    Read { after: Option<Due>, until: Timestamp, limit: u32 },
    /// Fire these: they are due.
    Fire(Vec<Due>),
    /// Nothing before that.
    Wait(Timestamp),
}

/// What came of firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fired {
    /// All of them are done with.
    All,
    /// Some are pending still, and their turn comes again.
    SomeLeft,
    /// It is not known of any.
    Unknown,
}

/// A read that is under way.
#[derive(Debug)]
struct Reading {
    after: Option<Due>,
    until: Timestamp,
    limit: u32,
    /// What was told meanwhile beyond the horizon.
    meanwhile: BTreeSet<Due>,
    /// Whether what it finds is not to be used.
    spoilt: bool,
}

/// What is due soon.
#[derive(Debug)]
pub(crate) struct Wheel {
    bounds: Bounds,
    held: BTreeSet<Due>,
    /// Everything that is pending up to it is held; `None` means nothing was read yet.
    horizon: Option<Due>,
    /// Whether there is more before the end of the window than is held.
    cut: bool,
    reading: Option<Reading>,
    firing: bool,
    read_at: Timestamp,
    /// When everything is read anew, because something may be pending that is not held.
    anew_at: Option<Timestamp>,
    /// Reads and firings that have failed in a row.
    reads_failed: u32,
    firings_failed: u32,
}

impl Wheel {
    /// An empty wheel, which reads what is overdue first.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self::bounded(Bounds::default(), now)
    }

    /// The same, with bounds of its own.
    pub(crate) fn bounded(bounds: Bounds, now: Timestamp) -> Self {
        Self {
            bounds,
            held: BTreeSet::new(),
            horizon: None,
            cut: false,
            reading: None,
            firing: false,
            read_at: now,
            anew_at: None,
            reads_failed: 0,
            firings_failed: 0,
        }
    }

    /// How many schedules it holds.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// What to do next. What it says is under way until it is told what came of it, so it may be asked
    /// until it says to wait.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Step {
        if self.anew_at.is_some_and(|at| at <= now) {
            self.start_anew(now);
        }
        if !self.firing
            && let Some(batch) = self.take_due(now)
        {
            self.firing = true;
            return Step::Fire(batch);
        }
        if self.read_on_at().is_some_and(|at| at <= now) {
            return self.start_read(now);
        }
        Step::Wait(self.wake_at())
    }

    /// A schedule was committed as pending.
    pub(crate) fn pending(&mut self, due: Due) {
        if self.horizon.as_ref().is_some_and(|horizon| due <= *horizon) {
            self.held.insert(due);
            self.let_go();
        } else if let Some(reading) = self.reading.as_mut().filter(|reading| due.at <= reading.until) {
            reading.meanwhile.insert(due);
            reading.spoilt |= reading.meanwhile.len() > self.bounds.meanwhile;
            if reading.spoilt {
                reading.meanwhile.clear();
            }
        }
    }

    /// Something was committed that [`Wheel::pending`] was not told of.
    pub(crate) fn missed(&mut self, now: Timestamp) {
        self.anew_at = Some(now);
    }

    /// A read has found `page`, at most as many as its limit.
    pub(crate) fn read(&mut self, page: Vec<Due>, now: Timestamp) {
        let Some(reading) = self.reading.take() else { return };
        self.reads_failed = 0;
        if reading.spoilt {
            self.missed(now);
            return;
        }
        if reading.after != self.horizon {
            // What lies before it was let go meanwhile: it is read from there when there is room.
            return;
        }
        self.cut = page.len() >= reading.limit as usize;
        let last = page.last().cloned().filter(|_| self.cut);
        let horizon = last.unwrap_or_else(|| end_of(reading.until));
        self.held.extend(page);
        self.held.extend(reading.meanwhile.into_iter().filter(|due| *due <= horizon));
        self.horizon = Some(horizon);
        self.read_at = if self.cut { now } else { before(reading.until, AHEAD) };
        self.let_go();
    }

    /// A read has failed.
    pub(crate) fn read_failed(&mut self, now: Timestamp) {
        self.reading = None;
        self.read_at = now.plus(pause(&mut self.reads_failed));
    }

    /// What was to be fired has been tried.
    pub(crate) fn fired(&mut self, fired: Fired, now: Timestamp) {
        self.firing = false;
        let again = match fired {
            Fired::All => {
                if self.anew_at.is_none() {
                    self.firings_failed = 0;
                }
                return;
            }
            Fired::SomeLeft => now.plus(AGAIN_MAX),
            Fired::Unknown => now.plus(pause(&mut self.firings_failed)),
        };
        self.anew_at = Some(self.anew_at.map_or(again, |at| at.min(again)));
    }

    /// All that is due, as much as is fired at once.
    fn take_due(&mut self, now: Timestamp) -> Option<Vec<Due>> {
        self.held.first().filter(|first| first.at <= now)?;
        let mut batch = Vec::new();
        while batch.len() < self.bounds.fired
            && let Some(due) = self.held.pop_first()
        {
            if due.at > now {
                self.held.insert(due);
                break;
            }
            batch.push(due);
        }
        Some(batch)
    }

    /// Whether it takes itself to hold what is pending at `due`, and does not.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has_forgotten(&self, due: &Due) -> bool {
        self.horizon.as_ref().is_some_and(|horizon| due <= horizon) && !self.held.contains(due)
    }

    /// When it is to be read on; `None` until there is room for what is found.
    fn read_on_at(&self) -> Option<Timestamp> {
        let has_room = self.held.len() + self.bounds.page as usize <= self.bounds.held;
        (self.reading.is_none() && (has_room || !self.cut)).then_some(self.read_at)
    }

    fn start_read(&mut self, now: Timestamp) -> Step {
        let until = now.plus(WINDOW + AHEAD);
        let limit = self.bounds.page;
        let after = self.horizon.clone();
        self.reading =
            Some(Reading { after: after.clone(), until, limit, meanwhile: BTreeSet::new(), spoilt: false });
        Step::Read { after, until, limit }
    }

    /// Forgets what is held and reads from the beginning.
    fn start_anew(&mut self, now: Timestamp) {
        self.anew_at = None;
        self.held.clear();
        self.horizon = None;
        self.cut = false;
        self.read_at = now;
        if let Some(reading) = &mut self.reading {
            // It goes on from a horizon that is no more.
            reading.spoilt = true;
        }
    }

    /// Lets the latest go if there are too many.
    fn let_go(&mut self) {
        while self.held.len() > self.bounds.held {
            self.held.pop_last();
            self.horizon = self.held.last().cloned();
            (self.cut, self.read_at) = (true, Timestamp::default());
        }
    }

    fn wake_at(&self) -> Timestamp {
        let fire = self.held.first().filter(|_| !self.firing).map(|first| first.at);
        [fire, self.read_on_at(), self.anew_at].into_iter().flatten().min().unwrap_or_else(end_of_time)
    }
}

/// The pause after one more failure.
fn pause(failures: &mut u32) -> Duration {
    let pause = AGAIN_FIRST.saturating_mul(1 << (*failures).min(10)).min(AGAIN_MAX);
    *failures = failures.saturating_add(1);
    pause
}

/// After everything that is due at `at` or before: no id is larger than its.
fn end_of(at: Timestamp) -> Due {
    let id = "\u{10FFFF}".repeat(EVENT_ID_CHARS_MAX);
    Due { at, id: EventId::parse(&id).expect("the largest characters make an id of full length") }
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().saturating_sub(span)).unwrap_or(at)
}

fn end_of_time() -> Timestamp {
    Timestamp::default().plus(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn due(millis: i64, id: &str) -> Due {
        Due { at: at(millis), id: EventId::parse(id).unwrap() }
    }

    /// A wheel that has read `page` at 0.
    fn wheel(page: Vec<Due>) -> Wheel {
        let mut wheel = Wheel::new(at(0));
        assert!(matches!(wheel.poll(at(0)), Step::Read { after: None, .. }));
        wheel.read(page, at(0));
        wheel
    }

    #[test]
    fn while_nothing_is_due_it_reads_twice_a_minute() {
        let mut wheel = Wheel::new(at(0));
        let (mut now, mut reads) = (at(0), 0);
        while now < at(600_000) {
            match wheel.poll(now) {
                Step::Read { .. } => {
                    reads += 1;
                    wheel.read(Vec::new(), now);
                }
                Step::Wait(until) => now = until,
                Step::Fire(batch) => panic!("{batch:?}"),
            }
        }
        assert_eq!(reads, 20, "reads in ten minutes");
    }

    #[test]
    fn each_read_starts_where_the_one_before_ended() {
        let mut wheel = wheel(Vec::new());
        assert_eq!(wheel.poll(at(1)), Step::Wait(at(30_000)));
        let Step::Read { after: Some(after), until, .. } = wheel.poll(at(30_000)) else { panic!("no read") };
        assert_eq!((after, until), (end_of(at(35_000)), at(65_000)));
    }

    #[test]
    fn what_is_due_is_fired_in_its_order_and_not_before() {
        let mut wheel = wheel(vec![due(5, "a"), due(5, "b"), due(7, "c")]);
        assert_eq!(wheel.poll(at(4)), Step::Wait(at(5)));
        assert_eq!(wheel.poll(at(5)), Step::Fire(vec![due(5, "a"), due(5, "b")]));
        assert_eq!(wheel.poll(at(9)), Step::Wait(at(30_000)), "one batch at a time");
        wheel.fired(Fired::All, at(9));
        assert_eq!(wheel.poll(at(9)), Step::Fire(vec![due(7, "c")]));
    }

    #[test]
    fn what_is_committed_within_the_horizon_is_fired_without_a_read() {
        let mut wheel = wheel(Vec::new());
        wheel.pending(due(34_999, "later"));
        wheel.pending(due(3, "soon"));
        wheel.pending(due(35_001, "beyond"));
        assert_eq!(wheel.len(), 2);
        assert_eq!(wheel.poll(at(3)), Step::Fire(vec![due(3, "soon")]));
    }

    #[test]
    fn what_is_committed_while_the_tables_are_read_is_not_missed() {
        let mut wheel = wheel(Vec::new());
        assert!(matches!(wheel.poll(at(30_000)), Step::Read { .. }));
        wheel.pending(due(50_000, "unseen"));
        wheel.pending(due(70_000, "beyond"));
        wheel.read(vec![due(40_000, "seen")], at(30_100));
        assert_eq!(wheel.poll(at(40_000)), Step::Fire(vec![due(40_000, "seen")]));
        wheel.fired(Fired::All, at(40_001));
        assert_eq!(wheel.poll(at(50_000)), Step::Fire(vec![due(50_000, "unseen")]));
    }

    #[test]
    fn of_a_crowd_it_holds_the_first_and_reads_on_when_these_are_fired() {
        let crowd = |from: i64| (from..from + i64::from(DUE_PAGE_MAX)).map(|n| due(n, &n.to_string()));
        let mut wheel = wheel(crowd(100_000).map(|due| Due { at: at(1_000), ..due }).collect());
        let Step::Read { after: Some(after), .. } = wheel.poll(at(10)) else { panic!("room for a page") };
        assert_eq!(after.at, at(1_000));
        wheel.read(crowd(2_000).collect(), at(20));
        assert_eq!((wheel.len(), wheel.poll(at(30))), (HELD_MAX, Step::Wait(at(1_000))));
        wheel.pending(due(500, "first"));
        assert_eq!(wheel.len(), HELD_MAX, "the latest was let go");
        let (mut now, mut fired, mut read) = (at(30), 0, false);
        while !read {
            match wheel.poll(now) {
                Step::Fire(batch) => {
                    fired += batch.len();
                    wheel.fired(Fired::All, now);
                }
                Step::Read { after: Some(after), .. } => {
                    assert_eq!(after, due(11_998, "11998"), "from the last one that was not let go");
                    read = true;
                }
                Step::Read { after: None, .. } => panic!("it started anew"),
                Step::Wait(until) => now = until,
            }
        }
        assert!(fired >= HELD_MAX - DUE_PAGE_MAX as usize, "{fired}");
    }

    #[test]
    fn what_was_let_go_while_the_tables_are_read_is_read_again() {
        let bounds = Bounds { held: 2, page: 1, ..Bounds::default() };
        let mut wheel = Wheel::bounded(bounds, at(0));
        for page in [vec![due(31_000, "a")], Vec::new()] {
            assert!(matches!(wheel.poll(at(0)), Step::Read { .. }));
            wheel.read(page, at(0));
        }
        assert!(matches!(wheel.poll(at(30_000)), Step::Read { after: Some(_), .. }));
        wheel.pending(due(32_000, "b"));
        wheel.pending(due(33_000, "c"));
        assert_eq!(wheel.len(), 2, "c was let go");
        wheel.read(Vec::new(), at(30_001));

        assert_eq!(wheel.poll(at(31_000)), Step::Fire(vec![due(31_000, "a")]));
        wheel.fired(Fired::All, at(31_000));
        let Step::Read { after, .. } = wheel.poll(at(31_000)) else { panic!("c is forgotten") };
        assert_eq!(after, Some(due(32_000, "b")));
    }

    #[test]
    fn what_it_was_not_told_of_is_read_anew_at_once() {
        let mut wheel = wheel(vec![due(5_000, "a")]);
        wheel.missed(at(10));
        assert!(matches!(wheel.poll(at(10)), Step::Read { after: None, .. }));
        wheel.missed(at(11));
        assert_eq!(wheel.poll(at(11)), Step::Wait(end_of_time()), "one read at a time");
        wheel.read(vec![due(5_000, "a")], at(12));
        assert!(matches!(wheel.poll(at(12)), Step::Read { after: None, .. }), "what it found is too old");
    }

    #[test]
    fn what_the_database_did_not_fire_comes_again_ever_more_seldom() {
        let mut wheel = wheel(vec![due(5, "bad")]);
        let (mut now, mut tries) = (at(5), 0);
        while now < at(300_000) {
            match wheel.poll(now) {
                Step::Fire(_) => {
                    tries += 1;
                    wheel.fired(Fired::Unknown, now);
                }
                Step::Read { after, .. } => {
                    wheel.read(if after.is_none() { vec![due(5, "bad")] } else { Vec::new() }, now);
                }
                Step::Wait(until) => {
                    assert!(until > now, "it spins");
                    now = until;
                }
            }
        }
        assert!((10..=40).contains(&tries), "{tries} tries in five minutes");
    }

    #[test]
    fn a_row_that_is_refused_keeps_nobody_waiting() {
        let mut wheel = wheel(vec![due(5, "bad"), due(6, "good")]);
        assert_eq!(wheel.poll(at(5)), Step::Fire(vec![due(5, "bad")]));
        wheel.fired(Fired::SomeLeft, at(5));
        assert_eq!(wheel.poll(at(6)), Step::Fire(vec![due(6, "good")]));
    }

    #[test]
    fn a_read_that_failed_is_made_again_after_a_pause() {
        let mut wheel = Wheel::new(at(0));
        assert!(matches!(wheel.poll(at(0)), Step::Read { .. }));
        wheel.read_failed(at(0));
        assert_eq!(wheel.poll(at(0)), Step::Wait(at(250)));
        assert!(matches!(wheel.poll(at(250)), Step::Read { after: None, .. }));
        wheel.read_failed(at(250));
        assert_eq!(wheel.poll(at(250)), Step::Wait(at(750)));
    }
}
