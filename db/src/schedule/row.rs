//! Rows of the `event_scheduled` table as schedules.
//!
//! Every statement that is read here names the same columns in the same order.

use proto::{
    Cpid, Data, Domain, Eid, EventId, EventName, Metadata, NewEvent, Pid, Position, ScheduleKey, ServiceName,
};

use super::{Schedule, ScheduleState, SeriesState};
use crate::row::{Row, RowError};

const ID: usize = 0;
const KEY: usize = 1;
const DUE: usize = 2;
const PENDING: usize = 3;
const DOMAIN: usize = 4;
const PID: usize = 5;
const NAME: usize = 6;
const RID: usize = 7;
const PUBLISHER: usize = 8;
const TIMESTAMP: usize = 9;
const METADATA: usize = 10;
const DATA: usize = 11;
const EIDS: usize = 12;
const CPIDS: usize = 13;
const DIGEST: usize = 14;
const CREATED: usize = 15;
const SUCCESS: usize = 16;
const CANCELLED: usize = 17;
const FAILED: usize = 18;
const POSITION: usize = 19;
const REASON: usize = 20;
const EXECUTED: usize = 21;
const PAUSED: usize = 22;
const SERIES: usize = 23;
const OCCURRENCE: usize = 24;
const RECURRENCE: usize = 25;

/// One row of `event_scheduled`, not decoded further than it has been asked.
pub(crate) struct ScheduleRow(pub(crate) Row);

impl ScheduleRow {
    /// The id of its event.
    pub(crate) fn id(&self) -> Result<EventId, RowError> {
        self.0.name(ID, EventId::parse)
    }

    /// The row as a schedule.
    pub(crate) fn schedule(&self) -> Result<Schedule, RowError> {
        let row = &self.0;
        let id = row.name(ID, EventId::parse)?;
        let event = NewEvent {
            id: id.clone(),
            timestamp: row.timestamp_or_null(TIMESTAMP)?,
            domain: row.name(DOMAIN, Domain::parse)?,
            pid: row.name(PID, Pid::parse)?,
            name: row.name(NAME, EventName::parse)?,
            rid: row.name_or_null(RID, EventId::parse)?,
            metadata: json(row, METADATA, |text| serde_json::from_str::<Metadata>(text))?,
            data: Data::from_stored(row.text(DATA)?),
            eids: json(row, EIDS, |text| serde_json::from_str::<Vec<Eid>>(text))?,
            cpids: json(row, CPIDS, |text| serde_json::from_str::<Vec<Cpid>>(text))?,
        };
        Ok(Schedule {
            id,
            key: row.name_or_null(KEY, ScheduleKey::parse)?,
            due: row.timestamp(DUE)?,
            event,
            publisher: row.name(PUBLISHER, ServiceName::parse)?,
            created: row.timestamp(CREATED)?,
            state: state(row)?,
            series: row.name_or_null(SERIES, EventId::parse)?,
            recurring: series(row)?,
        })
    }

    /// What two wishes with the same id have to agree in, as it was when this one was stored.
    pub(crate) fn digest(&self) -> Result<Vec<u8>, RowError> {
        self.0.bytes(DIGEST)
    }

    /// Bytes that the row holds, roughly.
    pub(crate) fn bytes(&self) -> Result<usize, RowError> {
        const FIXED: usize = 256;
        let mut bytes = FIXED + self.0.text_ref(DATA)?.len();
        for column in [METADATA, EIDS, CPIDS] {
            bytes += self.0.text_or_null(column)?.map_or(0, |text| text.len());
        }
        Ok(bytes)
    }
}

/// What the row of a series has besides.
fn series(row: &Row) -> Result<Option<SeriesState>, RowError> {
    let Some(recurrence) = row.text_or_null(RECURRENCE)? else { return Ok(None) };
    let last = row.integer_or_null(POSITION)?.map(|position| Position(position.cast_unsigned()));
    Ok(Some(SeriesState { recurrence, occurrence: row.timestamp(OCCURRENCE)?, last }))
}

fn state(row: &Row) -> Result<ScheduleState, RowError> {
    let recurs = row.text_or_null(RECURRENCE)?.is_some();
    if row.integer_or_null(EXECUTED)?.is_none() {
        if let Some(at) = row.timestamp_or_null(PAUSED)? {
            return Ok(ScheduleState::Paused { at });
        }
        if row.integer_or_null(PENDING)?.is_some() {
            return Ok(ScheduleState::Pending);
        }
        if recurs {
            return Ok(ScheduleState::Recurring);
        }
    }
    if let Some(at) = row.timestamp_or_null(SUCCESS)?.filter(|_| recurs) {
        return Ok(ScheduleState::Ended { at });
    }
    if let Some(at) = row.timestamp_or_null(SUCCESS)? {
        return Ok(ScheduleState::Fired { at, position: row.position(POSITION)? });
    }
    if let Some(at) = row.timestamp_or_null(CANCELLED)? {
        return Ok(ScheduleState::Cancelled { at, reason: row.text_or_null(REASON)? });
    }
    let reason = row.text_or_null(REASON)?.unwrap_or_default();
    Ok(ScheduleState::Failed { at: row.timestamp(FAILED)?, reason })
}

/// A column that holds JSON, or null where there is nothing to say.
fn json<T: Default>(
    row: &Row,
    column: usize,
    parse: impl FnOnce(&str) -> Result<T, serde_json::Error>,
) -> Result<T, RowError> {
    let Some(text) = row.text_or_null(column)? else { return Ok(T::default()) };
    parse(&text)
        .map_err(|error| RowError { reason: format!("column {column} of a schedule is not JSON: {error}") })
}
