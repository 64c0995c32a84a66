//! Lets series go on whose occurrence is due: reads what they recur by, decides, and has it written.

use std::time::Duration;

use db::{Due, ReadError, Reader, Schedule, SeriesStep, Stepped, Turn, WriteError};
use proto::schedule::{Recurring, occurrence_id};
use proto::{EventId, Timestamp};
use tracing::{info, warn};

use super::task::Firing;
use crate::recurrence::{self, Series};

/// Occurrences of one series that are fired in one transaction, when many are to be caught up with.
const FIRED_AT_ONCE_MAX: usize = 100;

/// Bytes of their events, unless a single one has more.
const FIRED_BYTES_MAX: usize = 2 << 20;

/// What came of letting series go on.
#[derive(Debug, Default)]
pub(crate) struct Advanced {
    /// When those were due that were fired.
    pub(super) fired: Vec<Timestamp>,
    /// Series that have failed for good.
    pub(super) failed: usize,
    /// Whether some are where they were.
    pub(super) is_some_left: bool,
}

/// Why series did not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdvanceError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What a series recurs by, as it is stored.
pub(crate) fn recurring_of(schedule: &Schedule) -> Option<Result<Recurring, String>> {
    let state = schedule.recurring.as_ref()?;
    Some(serde_json::from_str(&state.recurrence).map_err(|error| {
        format!("what series {} recurs by cannot be read: {error}; schedule it anew", schedule.id)
    }))
}

/// Lets the series go on that `occurrences` are of.
pub(super) async fn advance(
    firing: &Firing,
    occurrences: &[Due],
    now: Timestamp,
) -> Result<Advanced, AdvanceError> {
    let mut advanced = Advanced::default();
    for part in occurrences.chunks(db::STEPS_MAX) {
        let steps = steps(&firing.reader, part, now, firing.grace, &mut advanced).await?;
        if steps.is_empty() {
            continue;
        }
        let answers = firing.writer.step(steps.clone(), now).await?;
        advanced.stepped(&steps, answers);
    }
    Ok(advanced)
}

impl Advanced {
    /// Takes note of series that another hub has moved on.
    pub(crate) fn moved(&mut self, moved: usize) {
        self.is_some_left |= moved > 0;
    }

    /// Takes note of what came of steps.
    pub(crate) fn stepped(&mut self, steps: &[SeriesStep], answers: Vec<Stepped>) {
        for (step, answer) in steps.iter().zip(answers) {
            match (answer, &step.turn) {
                (Stepped::Made { .. }, Turn::On { fire, .. }) => {
                    self.fired.extend(fire.iter().map(|occurrence| occurrence.due));
                }
                (Stepped::Failed, _) => self.failed += 1,
                // What is pending in place of it was told by whoever moved it, unless that was another hub.
                (Stepped::Refused | Stepped::Moved, _) => self.is_some_left = true,
                (Stepped::Made { .. }, _) => {}
            }
        }
    }
}

/// One step for each series that one of `occurrences` is of.
async fn steps(
    reader: &Reader,
    occurrences: &[Due],
    now: Timestamp,
    grace: Duration,
    advanced: &mut Advanced,
) -> Result<Vec<SeriesStep>, ReadError> {
    let ids: Vec<EventId> = occurrences.iter().map(|due| due.id.clone()).collect();
    let series = series_of(reader.schedules_of(&ids).await?);
    let (steps, moved) = steps_of(reader.schedules_of(&series).await?, occurrences, now, grace);
    advanced.moved(moved);
    Ok(steps)
}

/// The series that these occurrences are of, each once.
pub(crate) fn series_of(occurrences: Vec<Schedule>) -> Vec<EventId> {
    let mut series: Vec<_> = occurrences.into_iter().filter_map(|occurrence| occurrence.series).collect();
    series.sort_unstable();
    series.dedup();
    series
}

/// One step for each of these series whose pending occurrence is among `occurrences`, which are due; and
/// how many have another one pending by now, which only another hub can have made.
pub(crate) fn steps_of(
    mut series: Vec<Schedule>,
    occurrences: &[Due],
    now: Timestamp,
    grace: Duration,
) -> (Vec<SeriesStep>, usize) {
    series.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let (mut steps, mut moved) = (Vec::new(), 0);
    for schedule in series {
        let Some(pending) = schedule.recurring.as_ref().map(|state| state.occurrence) else { continue };
        let occurrence = occurrence_id(&schedule.id, pending);
        if occurrences.iter().all(|due| due.id != occurrence) {
            moved += 1;
            continue;
        }
        let turn = turn(&schedule, pending, now, grace);
        steps.push(SeriesStep { series: schedule.id, pending, turn });
    }
    (steps, moved)
}

/// How a series goes on whose occurrence at `pending` is due.
fn turn(schedule: &Schedule, pending: Timestamp, now: Timestamp, grace: Duration) -> Turn {
    let compiled = match recurring_of(schedule) {
        Some(Ok(recurring)) => Series::compile(&recurring.recurrence, schedule.id.as_str(), recurring.start)
            .map_err(|error| error.to_string()),
        Some(Err(reason)) => Err(reason),
        None => Err("it is no series".to_owned()),
    };
    let series = match compiled {
        Ok(series) => series,
        Err(reason) => return Turn::Fail(reason),
    };
    let mut catch_up = series.catch_up(pending, now, grace);
    if let Some(later) = catch_up.next.filter(|next| next.at == pending) {
        // Its row has another time than this program would give it; the row counts.
        catch_up = series.catch_up(pending, later.due, grace);
    }
    if catch_up.skipped != Some(0) {
        warn!(series = %schedule.id, skipped = ?catch_up.skipped, fired = catch_up.fire.len(), "occurrences were missed, and its misfire policy followed");
    }
    let at_once = (FIRED_BYTES_MAX / schedule.event.weight().max(1)).clamp(1, FIRED_AT_ONCE_MAX);
    let mut fire: Vec<_> = catch_up.fire.iter().copied().map(stored).collect();
    // The rest is decided about in the same way when the first of it is pending.
    let rest = fire.split_off(at_once.min(fire.len()));
    let next = rest.into_iter().next().or_else(|| catch_up.next.map(stored));
    if next.is_none() {
        info!(series = %schedule.id, "a series has come to its end");
    }
    Turn::On { fire, next }
}

/// An occurrence as the tables have it.
fn stored(occurrence: recurrence::Occurrence) -> db::Occurrence {
    db::Occurrence { at: occurrence.at, due: occurrence.due }
}

#[cfg(test)]
mod tests {
    use db::{ScheduleState, SeriesState};
    use proto::recurrence::{Recurrence, Rule};
    use proto::{Domain, EventName, NewEvent, Pid, ServiceName};

    use super::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    /// A series of every five seconds whose occurrence at `pending` is pending.
    fn series(pending: i64) -> Schedule {
        let recurrence = Recurrence::new(Rule::Every { millis: 5_000 });
        let recurrence = serde_json::to_string(&Recurring { start: at(0), recurrence }).unwrap();
        let id = EventId::parse("series").unwrap();
        let (domain, pid) = (Domain::parse("order").unwrap(), Pid::parse("p1").unwrap());
        Schedule {
            id: id.clone(),
            key: None,
            due: at(0),
            event: NewEvent::new(id, domain, pid, EventName::parse("due").unwrap()),
            publisher: ServiceName::parse("shop").unwrap(),
            created: at(0),
            state: ScheduleState::Recurring,
            series: None,
            recurring: Some(SeriesState { recurrence, occurrence: at(pending), last: None }),
        }
    }

    fn occurrence(millis: i64) -> Due {
        Due { at: at(millis), id: occurrence_id(&EventId::parse("series").unwrap(), at(millis)) }
    }

    #[test]
    fn a_series_that_another_hub_has_moved_on_is_not_fired_before_its_time() {
        let batch = [occurrence(5_000)];
        let (steps, moved) = steps_of(vec![series(10_000)], &batch, at(5_001), GRACE);
        assert_eq!((steps, moved), (Vec::new(), 1));

        let (steps, moved) = steps_of(vec![series(5_000)], &batch, at(5_001), GRACE);
        assert_eq!((steps.len(), moved), (1, 0));
    }
}
