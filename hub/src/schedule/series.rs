//! Lets series go on whose occurrence is due: reads what they recur by, decides, and has it written.

use std::collections::HashMap;
use std::time::Duration;

use db::{Due, ReadError, Reader, Schedule, SeriesStep, Stepped, Turn, WriteError};
use proto::schedule::Recurring;
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
pub(super) struct Advanced {
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
        let steps = steps(&firing.reader, part, now, firing.grace).await?;
        if steps.is_empty() {
            continue;
        }
        let answers = firing.writer.step(steps.clone(), now).await?;
        for (step, answer) in steps.iter().zip(answers) {
            match (answer, &step.turn) {
                (Stepped::Made { .. }, Turn::On { fire, .. }) => {
                    advanced.fired.extend(fire.iter().map(|occurrence| occurrence.due));
                }
                (Stepped::Failed, _) => advanced.failed += 1,
                // What is pending in place of it was told by whoever moved it, unless that was another hub.
                (Stepped::Refused | Stepped::Moved, _) => advanced.is_some_left = true,
                (Stepped::Made { .. }, _) => {}
            }
        }
    }
    Ok(advanced)
}

/// One step for each series that one of `occurrences` is of.
async fn steps(
    reader: &Reader,
    occurrences: &[Due],
    now: Timestamp,
    grace: Duration,
) -> Result<Vec<SeriesStep>, ReadError> {
    let ids: Vec<EventId> = occurrences.iter().map(|due| due.id.clone()).collect();
    let mut series: Vec<EventId> =
        reader.schedules_of(&ids).await?.into_iter().filter_map(|occurrence| occurrence.series).collect();
    series.sort_unstable();
    series.dedup();
    let found = reader.schedules_of(&series).await?;
    let found: HashMap<_, _> = found.into_iter().map(|series| (series.id.clone(), series)).collect();
    let step = |id: EventId| {
        let schedule = found.get(&id)?;
        let pending = schedule.recurring.as_ref()?.occurrence;
        let turn = turn(schedule, pending, now, grace);
        Some(SeriesStep { series: id, pending, turn })
    };
    Ok(series.into_iter().filter_map(step).collect())
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
