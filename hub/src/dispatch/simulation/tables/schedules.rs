//! The table of schedules, as simple as can be: a row has one fate, and what the writer does in one
//! transaction is one call.
//!
//! What a series has to fire is worked out here from its interval alone, and compared with what the
//! real rules say.

use std::sync::Arc;
use std::time::Duration;

use db::{
    Altered, Cancelled, Due, Occurrence, Schedule, ScheduleState, ScheduleWish, Scheduled, SeriesState,
    SeriesStep, Shot, Stepped, Turn, Which,
};
use proto::message::Stored;
use proto::recurrence::{Misfire, Rule};
use proto::schedule::{Recurring, Standing, occurrence_id};
use proto::{Event, EventId, NewEvent, Position, Refusal, Timestamp};

use super::super::broken::{Broken, rule};
use super::super::hub::GRACE;
use super::Tables;

/// What a transaction answers for each, and the events that it appended.
type Made<T> = Result<(Vec<T>, Vec<Arc<Event>>), Broken>;

impl Tables {
    /// Stores a schedule in the place of the pending one of its key; a series with its first occurrence.
    pub(in super::super) fn schedule(
        &mut self,
        wish: ScheduleWish,
        series: Option<(String, Timestamp)>,
    ) -> Result<(Scheduled, Due), Refusal> {
        let ScheduleWish { event, publisher, due, key, .. } = wish;
        let id = event.id.clone();
        let pending =
            Due { at: due, id: series.as_ref().map_or_else(|| id.clone(), |at| occurrence_id(&id, at.1)) };
        if let Some(known) = self.schedules.get(&id) {
            if known.event != event || known.due != due {
                return Err(Refusal::Conflict { id, position: Position(0) });
            }
            return Ok((Scheduled { stored: Stored::Before, due, replaced: None }, pending));
        }
        if let Some(&(position, ..)) = self.ids.get(&id) {
            return Err(Refusal::Conflict { id, position });
        }
        let before = key.clone().and_then(|key| self.newest(&Which::Key(key))).filter(is_alive);
        let replaced = before.map(|before| self.retire(before));
        self.scheduled += 1;
        let mut row = Schedule {
            id: id.clone(),
            key,
            due,
            event,
            publisher,
            // Rows of one key differ in it, whatever the clocks of hubs say.
            created: Timestamp::default().plus(Duration::from_millis(self.scheduled)),
            state: ScheduleState::Pending,
            series: None,
            recurring: None,
        };
        if let Some((recurrence, first)) = series {
            row.state = ScheduleState::Recurring;
            row.recurring = Some(SeriesState { recurrence, occurrence: first, last: None });
            self.insert_occurrence(&row, Occurrence { at: first, due });
        }
        self.schedules.insert(id, row);
        Ok((Scheduled { stored: Stored::Now, due, replaced }, pending))
    }

    /// Adds the row of an occurrence; false if it is there already.
    fn insert_occurrence(&mut self, series: &Schedule, when: Occurrence) -> bool {
        let id = occurrence_id(&series.id, when.at);
        let row = Schedule {
            id: id.clone(),
            key: None,
            due: when.due,
            event: NewEvent { id: id.clone(), ..series.event.clone() },
            state: ScheduleState::Pending,
            series: Some(series.id.clone()),
            recurring: None,
            ..series.clone()
        };
        self.schedules.insert(id, row).is_none()
    }

    /// What is pending after `after` up to `until`, by time.
    pub(in super::super) fn due(&self, after: Option<&Due>, until: Timestamp, limit: u32) -> Vec<Due> {
        let mut due: Vec<_> = self.pending().filter(|due| due.at <= until).collect();
        due.retain(|due| after.is_none_or(|after| due > after));
        due.sort_unstable();
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        due
    }

    /// The first that is pending.
    pub(in super::super) fn first_due(&self) -> Option<Due> {
        self.pending().min()
    }

    /// Events that schedules have made.
    pub(in super::super) fn fired(&self) -> usize {
        self.schedules.values().filter(|row| matches!(row.state, ScheduleState::Fired { .. })).count()
    }

    /// All that is pending.
    pub(in super::super) fn pending(&self) -> impl Iterator<Item = Due> {
        let pending = self.schedules.values().filter(|row| row.state == ScheduleState::Pending);
        pending.map(|row| Due { at: row.due, id: row.id.clone() })
    }

    /// Whether there is such a schedule.
    pub(in super::super) fn knows_schedule(&self, which: &Which) -> bool {
        self.newest(which).is_some()
    }

    /// The schedule that an answer about `id` is of; of an occurrence it may be its series, by now or then.
    pub(in super::super) fn series_of(&self, id: &EventId) -> Option<EventId> {
        let row = self.schedules.get(id)?;
        if row.series.is_some() { None } else { Some(row.id.clone()) }
    }

    /// Whether the event `id` is stored at `position`.
    pub(in super::super) fn has_at(&self, id: &EventId, position: Position) -> bool {
        self.ids.get(id).is_some_and(|&(at, ..)| at == position)
    }

    pub(in super::super) fn schedules_of(&self, ids: &[EventId]) -> Vec<Schedule> {
        ids.iter().filter_map(|id| self.schedules.get(id).cloned()).collect()
    }

    /// Appends the events of what is pending, and marks it.
    pub(in super::super) fn fire(&mut self, ids: &[EventId], now: Timestamp) -> Made<Shot> {
        let (mut shots, mut new) = (Vec::new(), Vec::new());
        for id in ids {
            let row = self.schedules.get(id).filter(|row| row.state == ScheduleState::Pending).cloned();
            shots.push(match row {
                None => Shot::Gone,
                Some(row) if row.series.is_some() => Shot::Recurring,
                Some(row) => match self.shoot(&row, now, &mut new)? {
                    Some(position) => Shot::Fired { position },
                    None => Shot::Failed,
                },
            });
        }
        Ok((shots, new))
    }

    /// Appends one event, unless its id is in the log.
    fn shoot(
        &mut self,
        row: &Schedule,
        now: Timestamp,
        new: &mut Vec<Arc<Event>>,
    ) -> Result<Option<Position>, Broken> {
        rule(row.due <= now, "no schedule is fired before its time", || {
            format!("{} is due at {} and fired at {now}", row.id, row.due)
        })?;
        let position = match self.ids.get(&row.id) {
            Some((position, _, digest)) if *digest == row.event.digest() => Some(*position),
            Some(_) => None,
            None => {
                let event = Arc::new(self.store(&row.event, Some(&row.publisher), now));
                self.events.push(Some(Arc::clone(&event)));
                new.push(Arc::clone(&event));
                Some(event.position)
            }
        };
        let state = match position {
            Some(position) => ScheduleState::Fired { at: now, position },
            None => ScheduleState::Failed { at: now, reason: "its id is taken".to_owned() },
        };
        self.set_state(&row.id, state);
        Ok(position)
    }

    /// Lets series go on that are where their steps start from.
    pub(in super::super) fn step(&mut self, steps: &[SeriesStep], now: Timestamp) -> Made<Stepped> {
        let (mut answers, mut new) = (Vec::new(), Vec::new());
        for step in steps {
            answers.push(self.step_one(step, now, &mut new)?);
        }
        Ok((answers, new))
    }

    fn step_one(
        &mut self,
        step: &SeriesStep,
        now: Timestamp,
        new: &mut Vec<Arc<Event>>,
    ) -> Result<Stepped, Broken> {
        let pending = occurrence_id(&step.series, step.pending);
        let is_pending = self.schedules.get(&pending).is_some_and(|row| row.state == ScheduleState::Pending);
        let series = self.schedules.get(&step.series).cloned();
        let Some(mut series) = series.filter(|series| {
            let at = series.recurring.as_ref().map(|series| series.occurrence);
            is_pending && series.state == ScheduleState::Recurring && at == Some(step.pending)
        }) else {
            return Ok(Stepped::Moved);
        };
        let seen = || format!("{step:?} at {now}");
        let Turn::On { fire, next } = &step.turn else {
            return rule(false, "a series that can go on does", seen).map(|()| Stepped::Failed);
        };
        check_turn(&series, step, now)?;
        let mut fired = Vec::new();
        for when in fire {
            if when.at != step.pending {
                let is_new = self.insert_occurrence(&series, *when);
                rule(is_new, "an occurrence is made once", seen)?;
            }
            let row = self.schedules.get(&occurrence_id(&series.id, when.at)).cloned();
            let position = row.map(|row| self.shoot(&row, now, new)).transpose()?.flatten();
            fired.extend(position);
        }
        if fire.iter().all(|when| when.at != step.pending) {
            self.set_state(&pending, ScheduleState::Cancelled { at: now, reason: None });
        }
        if let Some(when) = next {
            let is_new = self.insert_occurrence(&series, *when);
            rule(is_new, "an occurrence is made once", seen)?;
        } else {
            series.state = ScheduleState::Ended { at: now };
        }
        if let Some(state) = &mut series.recurring {
            state.occurrence = next.map_or(state.occurrence, |next| next.at);
            state.last = fired.last().copied().or(state.last);
        }
        self.schedules.insert(series.id.clone(), series);
        Ok(Stepped::Made { fired })
    }

    /// Cancels what is to be fired yet.
    pub(in super::super) fn cancel(&mut self, which: &Which) -> Cancelled {
        let Some(row) = self.meant(which) else { return Cancelled::Unknown };
        match row.state.clone() {
            ScheduleState::Fired { position, .. } => Cancelled::Fired { position },
            ScheduleState::Failed { reason, .. } => Cancelled::Failed { reason },
            ScheduleState::Ended { .. } => Cancelled::Ended,
            ScheduleState::Cancelled { .. } => Cancelled::Cancelled,
            ScheduleState::Pending | ScheduleState::Paused { .. } | ScheduleState::Recurring => {
                self.retire(row);
                Cancelled::Cancelled
            }
        }
    }

    /// Pauses what is to be fired yet, or takes that back.
    pub(in super::super) fn alter(&mut self, which: &Which, resumes: bool, now: Timestamp) -> Altered {
        let standing = |standing| Altered { standing, pending: None };
        let Some(row) = self.meant(which) else { return standing(Standing::Unknown) };
        match row.state.clone() {
            ScheduleState::Fired { position, .. } => standing(Standing::Fired { position }),
            ScheduleState::Failed { reason, .. } => standing(Standing::Failed { reason }),
            ScheduleState::Ended { .. } => standing(Standing::Ended),
            ScheduleState::Cancelled { .. } => standing(Standing::Cancelled),
            ScheduleState::Pending | ScheduleState::Paused { .. } | ScheduleState::Recurring => {
                let occurrence = occurrence_of(&row);
                let pauses = ScheduleState::Paused { at: now };
                let goes_on =
                    if row.recurring.is_some() { ScheduleState::Recurring } else { ScheduleState::Pending };
                self.set_state(&row.id, if resumes { goes_on } else { pauses.clone() });
                if occurrence != row.id {
                    self.set_state(&occurrence, if resumes { ScheduleState::Pending } else { pauses });
                }
                if !resumes {
                    return standing(Standing::Paused);
                }
                let due = self.schedules.get(&occurrence).map_or(row.due, |row| row.due);
                let pending = Some(Due { at: due, id: occurrence });
                Altered { standing: Standing::Pending { due }, pending }
            }
        }
    }

    /// The row that is meant; an occurrence that is to be fired yet stands for its series.
    fn meant(&self, which: &Which) -> Option<Schedule> {
        let row = self.newest(which)?;
        let series = row.series.clone().filter(|_| is_alive(&row));
        series.map_or(Some(row), |series| self.schedules.get(&series).cloned())
    }

    fn newest(&self, which: &Which) -> Option<Schedule> {
        match which {
            Which::Id(id) => self.schedules.get(id).cloned(),
            Which::Key(key) => {
                let of_key = self.schedules.values().filter(|row| row.key.as_ref() == Some(key));
                of_key.max_by_key(|row| row.created).cloned()
            }
        }
    }

    fn retire(&mut self, row: Schedule) -> EventId {
        let cancelled = ScheduleState::Cancelled { at: row.created, reason: None };
        self.set_state(&occurrence_of(&row), cancelled.clone());
        self.set_state(&row.id, cancelled);
        row.id
    }

    fn set_state(&mut self, id: &EventId, state: ScheduleState) {
        if let Some(row) = self.schedules.get_mut(id) {
            row.state = state;
        }
    }
}

/// The row that is pending for a schedule that is alive.
fn occurrence_of(row: &Schedule) -> EventId {
    row.recurring.as_ref().map_or_else(|| row.id.clone(), |series| occurrence_id(&row.id, series.occurrence))
}

fn is_alive(row: &Schedule) -> bool {
    match row.state {
        ScheduleState::Pending | ScheduleState::Paused { .. } | ScheduleState::Recurring => true,
        ScheduleState::Fired { .. }
        | ScheduleState::Cancelled { .. }
        | ScheduleState::Failed { .. }
        | ScheduleState::Ended { .. } => false,
    }
}

/// A step is what the interval and the misfire policy of its series ask for, and nothing else.
fn check_turn(series: &Schedule, step: &SeriesStep, now: Timestamp) -> Result<(), Broken> {
    let recurrence = series.recurring.as_ref().map(|series| series.recurrence.as_str()).unwrap_or_default();
    let Ok(Recurring { recurrence, .. }) = serde_json::from_str(recurrence) else { return Ok(()) };
    let Rule::Every { millis } = recurrence.rule else { return Ok(()) };
    let every = Duration::from_millis(millis);
    let mut next = Some(step.pending);
    let mut due = Vec::new();
    while let Some(at) = next.filter(|at| *at <= now) {
        due.push(at);
        next = Some(at.plus(every)).filter(|at| recurrence.end.is_none_or(|end| *at <= end));
    }
    let in_time = due.last().is_some_and(|last| now.since(*last) <= GRACE);
    let keep = match recurrence.misfire {
        Misfire::FireEach => due.len(),
        Misfire::FireOnceNow => 1,
        Misfire::Skip => usize::from(in_time),
    };
    let fire = due.split_off(due.len().saturating_sub(keep));
    let right = match &step.turn {
        Turn::On { fire: fired, next: then } => {
            fired.iter().map(|when| when.at).eq(fire.iter().copied()) && then.map(|when| when.at) == next
        }
        Turn::Fail(_) => false,
    };
    rule(right, "a series fires what its interval and its policy say, each once", || {
        format!("{:?} at {now}, where {fire:?} are to be fired and {next:?} is next", step.turn)
    })
}
