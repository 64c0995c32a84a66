//! Rows of the `event_outbox` table as events: everything that a stranger may have written is checked
//! here, and what is wrong with it is said in a sentence.

use proto::{Cpid, Data, Domain, Eid, EventId, EventName, Metadata, NewEvent, Pid, ServiceName};

use crate::row::{Row, RowError};

const SEQ: usize = 0;
const ID: usize = 1;
const PUBLISHER: usize = 2;
const DOMAIN: usize = 3;
const PID: usize = 4;
const NAME: usize = 5;
const DATA: usize = 6;
const RID: usize = 7;
const TIMESTAMP: usize = 8;
const METADATA: usize = 9;
const EIDS: usize = 10;
const CPIDS: usize = 11;

/// A row that a service has handed over.
pub(crate) struct Handed {
    pub(crate) row: i64,
    /// Its event and in whose name it is to be published, or why it cannot be.
    pub(crate) event: Result<(NewEvent, ServiceName), String>,
}

/// Reads one row.
pub(crate) fn handed(row: &Row) -> Result<Handed, RowError> {
    Ok(Handed { row: row.integer(SEQ)?, event: event(row).map_err(|error| error.reason) })
}

fn event(row: &Row) -> Result<(NewEvent, ServiceName), RowError> {
    let data = match row.text_or_null(DATA)? {
        Some(text) => Data::parse(text).map_err(|error| wrong(&error))?,
        None => Data::empty(),
    };
    let event = NewEvent {
        id: row.name(ID, EventId::parse)?,
        timestamp: row.timestamp_or_null(TIMESTAMP)?,
        domain: row.name(DOMAIN, Domain::parse)?,
        pid: row.name(PID, Pid::parse)?,
        name: row.name(NAME, EventName::parse)?,
        rid: row.name_or_null(RID, EventId::parse)?,
        metadata: json(row, METADATA, "metadata is to be a JSON object of texts", |text| {
            serde_json::from_str::<Metadata>(text)
        })?,
        data,
        eids: json(row, EIDS, "eids is to be a JSON array of names", |text| {
            serde_json::from_str::<Vec<Eid>>(text)
        })?,
        cpids: json(row, CPIDS, "cpids is to be a JSON array of objects with domain and pid", |text| {
            serde_json::from_str::<Vec<Cpid>>(text)
        })?,
    };
    event.check().map_err(|error| wrong(&error))?;
    Ok((event, row.name(PUBLISHER, ServiceName::parse)?))
}

fn wrong(error: &impl std::fmt::Display) -> RowError {
    RowError { reason: error.to_string() }
}

/// A column that holds JSON, or null where there is nothing to say.
fn json<T: Default>(
    row: &Row,
    column: usize,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, serde_json::Error>,
) -> Result<T, RowError> {
    let Some(text) = row.text_or_null(column)? else { return Ok(T::default()) };
    parse(&text).map_err(|error| RowError { reason: format!("{what}: {error}") })
}
