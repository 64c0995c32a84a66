//! Schedules of a simulated hub: the real wheel and the real steps of series, with the tables between.
//!
//! Reads, firings and steps take their time and end in any order; the database may not answer, having
//! done what it was to do or not. After every turn the wheel's next waking is compared with the first
//! schedule that is pending.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use db::{Committed, Due, PendingNews, SeriesStep};
use proto::message::Reply;
use proto::schedule::{
    ScheduleChange, ScheduleReply, ScheduleRequest, Scheduled, Standing, Timing, When, Which,
};
use proto::{Refusal, RequestId, ServiceName, Timestamp};

use super::super::super::connection::ConnectionId;
use super::super::SERVICE;
use super::super::broken::{Broken, rule};
use super::super::random::Random;
use super::super::tables::Tables;
use super::{Hub, Job, New, Work};
use crate::command::{cancelled, check_due, first};
use crate::schedule::{Advanced, Bounds, Outcome, Step, Wheel, series_of, steps_of};

/// The lateness from which an occurrence counts as missed.
pub(in crate::dispatch::simulation) const GRACE: Duration = Duration::from_secs(2);

/// How long at most the wheel waits after a failure, as its promise says.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// How the database fails to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dispatch::simulation) enum Fault {
    /// It did nothing.
    Lost,
    /// It did what it was to do.
    Unheard,
}

/// A batch on its way through the tables.
#[derive(Debug)]
pub(in crate::dispatch::simulation) struct Firing {
    at: Timestamp,
    batch: Vec<Due>,
    recurring: Vec<Due>,
    steps: Vec<SeriesStep>,
    outcome: Outcome,
}

/// What fires schedules in one life of a hub.
#[derive(Debug)]
pub(in crate::dispatch::simulation) struct Schedules {
    wheel: Wheel,
    news: VecDeque<PendingNews>,
    /// How the database will fail next.
    pub(in crate::dispatch::simulation) fault: Option<Fault>,
    /// Where the last read ended: what is due about then is told of or read, and not neither.
    pub(in crate::dispatch::simulation) edge: Timestamp,
    /// What the wheel was told is done with, and not told of since.
    done: BTreeSet<Due>,
    /// What the wheel was told of since it began its batch: that may be fired once more, for nothing.
    told: BTreeSet<Due>,
    /// Until when the wheel may be late, because the database has failed.
    excused: Timestamp,
    /// Whether another hub has moved series on, of which nothing tells this one.
    pub(in crate::dispatch::simulation) outdone: bool,
    /// Reads and batches that are under way.
    under_way: usize,
}

impl Schedules {
    /// A wheel that is so small that all of its bounds are met, or one of full size.
    pub(super) fn start(random: &mut Random, now: Timestamp) -> Self {
        let page = 1 + random.below(4);
        let small = Bounds {
            held: 2 * page + random.below(4),
            page: u32::try_from(page).unwrap_or(1),
            meanwhile: random.below(3),
            fired: 1 + random.below(3),
        };
        let bounds = if random.once_in(3) { Bounds::default() } else { small };
        Self {
            wheel: Wheel::bounded(bounds, now),
            news: VecDeque::new(),
            fault: None,
            edge: now,
            done: BTreeSet::new(),
            told: BTreeSet::new(),
            excused: now,
            outdone: false,
            under_way: 0,
        }
    }

    /// The queue of news was full.
    pub(in crate::dispatch::simulation) fn miss_news(&mut self) {
        self.news.clear();
        self.news.push_back(PendingNews::Missed);
    }

    /// Tells the wheel some of what became pending.
    pub(in crate::dispatch::simulation) fn tell_news(&mut self, most: usize, now: Timestamp) {
        for _ in 0..most {
            match self.news.pop_front() {
                Some(PendingNews::Pending(due)) => {
                    self.done.remove(&due);
                    self.told.insert(due.clone());
                    self.wheel.pending(due);
                }
                Some(PendingNews::Missed) => self.wheel.missed(now),
                None => return,
            }
        }
    }

    /// Asks the wheel until it waits, and says how long.
    pub(super) fn turn(
        &mut self,
        now: Timestamp,
        queue: &mut VecDeque<Job>,
        work: &mut Vec<Work>,
        tables: &Tables,
    ) -> Result<Timestamp, Broken> {
        let until = loop {
            match self.wheel.poll(now) {
                Step::Read { after, until, limit } => {
                    (self.under_way, self.edge) = (self.under_way + 1, until);
                    work.push(Work::Due { after, until, limit, page: None });
                }
                Step::Fire(batch) => {
                    self.under_way += 1;
                    self.check_batch(&batch, now)?;
                    self.told.clear();
                    let (recurring, steps, outcome) = (Vec::new(), Vec::new(), Outcome::default());
                    queue.push_back(Job::Fire(Box::new(Firing {
                        at: now,
                        batch,
                        recurring,
                        steps,
                        outcome,
                    })));
                }
                Step::Wait(until) => break until,
            }
        };
        rule(until > now, "a wheel that waits does not spin", || format!("{until} at {now}"))?;
        let is_idle = self.under_way == 0 && self.news.is_empty() && !self.outdone;
        let mut pending = tables.pending().filter(|_| is_idle && now > self.excused);
        let forgotten = pending.find(|due| self.wheel.has_forgotten(due));
        rule(forgotten.is_none(), "a wheel holds all that is pending up to where it has read", || {
            format!("{forgotten:?} is not on it")
        })?;
        if let Some(next) = tables.first_due().filter(|_| is_idle) {
            let in_time = until <= next.at || until <= self.excused;
            rule(in_time, "a wheel wakes when the first schedule is due", || {
                format!("{next:?} is pending, the wheel of {} wakes at {until}", self.wheel.len())
            })?;
        }
        Ok(until)
    }

    fn check_batch(&self, batch: &[Due], now: Timestamp) -> Result<(), Broken> {
        let early = batch.iter().find(|due| due.at > now);
        rule(early.is_none(), "a wheel fires nothing before its time", || format!("{early:?} at {now}"))?;
        let again = batch.iter().find(|due| self.done.contains(due));
        rule(again.is_none(), "a wheel fires nothing again that is done with", || format!("{again:?}"))?;
        rule(!batch.is_empty() && batch.is_sorted(), "a wheel fires in order", || format!("{batch:?}"))
    }

    /// A page is here, or is not to come.
    fn read(&mut self, page: Option<Vec<Due>>, now: Timestamp) {
        self.under_way -= 1;
        match page {
            Some(page) => {
                self.done.retain(|due| !page.contains(due));
                self.told.extend(page.iter().cloned());
                self.wheel.read(page, now);
            }
            None => {
                self.wheel.read_failed(now);
                self.excused = now.plus(AGAIN_MAX);
            }
        }
    }

    fn fired(&mut self, firing: Firing, now: Timestamp) {
        self.under_way -= 1;
        let verdict = firing.outcome.verdict();
        if verdict == crate::schedule::Fired::All {
            self.done.extend(firing.batch.into_iter().filter(|due| !self.told.contains(due)));
        } else {
            self.excused = now.plus(AGAIN_MAX);
        }
        self.wheel.fired(verdict, now);
    }
}

impl Hub {
    /// Takes a request about schedules.
    pub(super) fn asked_schedule(
        &mut self,
        connection: ConnectionId,
        id: RequestId,
        request: ScheduleRequest,
    ) {
        self.queue.push_back(Job::Schedule { connection, id, request });
    }

    /// Does what was asked about a schedule. The answer may get lost on its way from the database.
    pub(super) fn write_schedule(
        &mut self,
        (connection, id): (ConnectionId, RequestId),
        request: ScheduleRequest,
        tables: &mut Tables,
        now: Duration,
    ) {
        let fault = self.schedules.fault.take();
        let mut outcome = Err(Refusal::Unavailable { reason: "the database does not answer".to_owned() });
        if fault != Some(Fault::Lost) {
            let (done, pending) = self.schedule(request, tables, now);
            self.schedules.news.extend(pending.filter(|_| fault.is_none()).map(PendingNews::Pending));
            outcome = if fault.is_none() { done } else { outcome };
        }
        if fault.is_some() {
            self.schedules.news.push_back(PendingNews::Missed);
        }
        let outcome = outcome.map(Reply::Schedule);
        self.work.push(Work::Reply { connection, id, outcome });
    }

    fn schedule(
        &self,
        request: ScheduleRequest,
        tables: &mut Tables,
        now: Duration,
    ) -> (Result<ScheduleReply, Refusal>, Option<Due>) {
        let at = self.at(now);
        match request {
            ScheduleRequest::Add(wish) => match add(*wish, tables, at) {
                Ok((added, pending)) => (Ok(ScheduleReply::Added(added)), Some(pending)),
                Err(refusal) => (Err(refusal), None),
            },
            ScheduleRequest::Change { which, change } => {
                let (standing, pending) = change_one(&which, change, tables, at);
                (Ok(ScheduleReply::Changed(standing)), pending)
            }
            ScheduleRequest::Show(_) | ScheduleRequest::List(_) => (Err(Refusal::Stopping), None),
        }
    }

    /// Fires a batch.
    pub(super) fn write_firing(
        &mut self,
        mut firing: Box<Firing>,
        new: &mut New,
        tables: &mut Tables,
    ) -> Result<(), Broken> {
        let fault = self.schedules.fault.take();
        if fault != Some(Fault::Lost) {
            let ids: Vec<_> = firing.batch.iter().map(|due| due.id.clone()).collect();
            let (shots, events) = tables.fire(&ids, firing.at)?;
            self.publish(events, fault, new, tables);
            firing.recurring = firing.outcome.shot(firing.batch.clone(), shots);
        }
        if fault.is_some() {
            firing.recurring.clear();
            firing.outcome = Outcome::unknown("the database does not answer".to_owned());
        }
        self.work.push(Work::Fired(firing));
        Ok(())
    }

    /// Lets series go on.
    pub(super) fn write_steps(
        &mut self,
        mut firing: Box<Firing>,
        new: &mut New,
        tables: &mut Tables,
    ) -> Result<(), Broken> {
        let fault = self.schedules.fault.take();
        if fault != Some(Fault::Lost) {
            let (answers, events) = tables.step(&firing.steps, firing.at)?;
            self.publish(events, fault, new, tables);
            if fault.is_none() {
                self.schedules.news.extend(told(&firing.steps, &answers).map(PendingNews::Pending));
            }
            let mut advanced = Advanced::default();
            advanced.stepped(&firing.steps, answers);
            firing.outcome.advanced(advanced);
        }
        if fault.is_some() {
            self.schedules.news.push_back(PendingNews::Missed);
            firing.outcome = Outcome::unknown("the database does not answer".to_owned());
        }
        (firing.recurring, firing.steps) = (Vec::new(), Vec::new());
        self.work.push(Work::Fired(firing));
        Ok(())
    }

    /// Tells of events, or that there are some.
    fn publish(&mut self, events: New, fault: Option<Fault>, new: &mut New, tables: &Tables) {
        match fault {
            None => new.extend(events),
            Some(_) => {
                if !new.is_empty() {
                    self.commits.push_back(Committed::Events(std::mem::take(new)));
                }
                self.commits.push_back(Committed::Missed { head: tables.head() });
            }
        }
    }

    /// Reads a page, and another time brings it.
    pub(super) fn read_due(
        &mut self,
        (after, until, limit): (Option<Due>, Timestamp, u32),
        page: Option<Vec<Due>>,
        tables: &Tables,
        now: Timestamp,
    ) {
        if page.is_some() {
            return self.schedules.read(page, now);
        }
        if self.schedules.fault.take().is_some() {
            return self.schedules.read(None, now);
        }
        let page = Some(tables.due(after.as_ref(), until, limit));
        self.work.push(Work::Due { after, until, limit, page });
    }

    /// What was fired is done with, but for series, which go on.
    pub(super) fn fired(&mut self, mut firing: Box<Firing>, tables: &Tables, now: Timestamp) {
        let ids: Vec<_> = firing.recurring.iter().map(|due| due.id.clone()).collect();
        let series = series_of(tables.schedules_of(&ids));
        let (steps, moved) = steps_of(tables.schedules_of(&series), &firing.recurring, firing.at, GRACE);
        firing.steps = steps;
        let mut advanced = Advanced::default();
        advanced.moved(moved);
        firing.outcome.advanced(advanced);
        if firing.steps.is_empty() {
            self.schedules.fired(*firing, now);
        } else {
            self.queue.push_back(Job::Step(firing));
        }
    }
}

fn add(
    wish: proto::schedule::ScheduleWish,
    tables: &mut Tables,
    now: Timestamp,
) -> Result<(Scheduled, Due), Refusal> {
    let proto::schedule::ScheduleWish { event, when, key } = wish;
    let publisher = ServiceName::parse(SERVICE).expect("a constant");
    let (due, series) = match when {
        When::At(due) => (due, None),
        When::Recurring(recurring) => {
            let first = first(&recurring, &event.id)?;
            let text = serde_json::to_string(&*recurring).expect("what was decoded can be written");
            (first.due, Some((text, first.at)))
        }
    };
    check_due(due, now)?;
    let (added, pending) = tables.schedule(db::ScheduleWish { event, publisher, due, key, now }, series)?;
    let db::Scheduled { stored, due, replaced } = added;
    let timing = if due > now { Timing::Ahead } else { Timing::Passed };
    Ok((Scheduled { stored, due, timing, replaced }, pending))
}

fn change_one(
    which: &Which,
    change: ScheduleChange,
    tables: &mut Tables,
    now: Timestamp,
) -> (Standing, Option<Due>) {
    let altered = match change {
        ScheduleChange::Cancel => return (cancelled(tables.cancel(which)), None),
        ScheduleChange::Pause => tables.alter(which, false, now),
        ScheduleChange::Resume => tables.alter(which, true, now),
    };
    (altered.standing, altered.pending)
}

/// What is pending after steps that were made, as the writer tells it.
fn told(steps: &[SeriesStep], answers: &[db::Stepped]) -> impl Iterator<Item = Due> {
    let next = |(step, answer): (&SeriesStep, &db::Stepped)| match (answer, &step.turn) {
        (db::Stepped::Made { .. }, db::Turn::On { next: Some(next), .. }) => {
            Some(Due { at: next.due, id: proto::schedule::occurrence_id(&step.series, next.at) })
        }
        _ => None,
    };
    steps.iter().zip(answers).filter_map(next)
}

/// Another hub fires what is due by its clock, and tells nobody here.
pub(in crate::dispatch::simulation) fn fire_elsewhere(
    tables: &mut Tables,
    now: Timestamp,
) -> Result<(), Broken> {
    let due = tables.due(None, now, 3);
    let ids: Vec<_> = due.iter().map(|due| due.id.clone()).collect();
    tables.fire(&ids, now)?;
    let series = series_of(tables.schedules_of(&ids));
    let (steps, _) = steps_of(tables.schedules_of(&series), &due, now, GRACE);
    tables.step(&steps, now).map(drop)
}
