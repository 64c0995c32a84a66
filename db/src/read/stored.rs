//! Rows of the `event` table as events.
//!
//! Every statement that is read here names the same columns in the same order. A tombstone is a row
//! whose `deleted` is set: its place in the log is taken, but there is nothing to show.

use proto::{
    Data, Domain, Event, EventId, EventName, Metadata, NameFilter, Pid, Position, ServiceName, Timestamp,
};

use crate::row::{Row, RowError};

pub(super) const POSITION: usize = 0;
const ID: usize = 1;
const TIMESTAMP: usize = 2;
pub(super) const DOMAIN: usize = 3;
const PID: usize = 4;
const VERSION: usize = 5;
pub(super) const NAME: usize = 6;
const RID: usize = 7;
const PUBLISHER: usize = 8;
const PUBLISHED: usize = 9;
const METADATA: usize = 10;
const DATA: usize = 11;
const LINKS: usize = 12;
const DELETED: usize = 13;

/// One row of `event`, not decoded further than it has been asked.
pub(super) struct EventRow(pub(super) Row);

/// An event whose links may still have to be read.
pub(super) struct Stored {
    pub(super) event: Event,
    pub(super) linked: Linked,
    pub(super) bytes: usize,
}

/// Whether an event may have rows in the link tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linked {
    Never,
    Maybe,
}

impl EventRow {
    pub(super) fn position(&self) -> Result<Position, RowError> {
        self.0.position(POSITION)
    }

    pub(super) fn timestamp(&self) -> Result<Timestamp, RowError> {
        self.0.timestamp(TIMESTAMP)
    }

    pub(super) fn domain(&self) -> Result<&str, RowError> {
        self.0.text_ref(DOMAIN)
    }

    pub(super) fn pid(&self) -> Result<&str, RowError> {
        self.0.text_ref(PID)
    }

    /// Whether the event's name passes `names`.
    pub(super) fn is_named(&self, names: &NameFilter) -> Result<bool, RowError> {
        match names {
            NameFilter::All => Ok(true),
            NameFilter::Only(names) => {
                let name = self.0.text_ref(NAME)?;
                Ok(names.iter().any(|one| one.as_str() == name))
            }
        }
    }

    pub(super) fn published(&self) -> Result<Option<Timestamp>, RowError> {
        self.0.timestamp_or_null(PUBLISHED)
    }

    pub(super) fn deleted(&self) -> Result<Option<Timestamp>, RowError> {
        self.0.timestamp_or_null(DELETED)
    }

    /// The slot of the event's process, which a tombstone has too.
    pub(super) fn slot(&self) -> Result<u16, RowError> {
        Ok(proto::slot(&self.0.name(DOMAIN, Domain::parse)?, &self.0.name(PID, Pid::parse)?))
    }

    /// The event, its links left out. The row must not be a tombstone.
    pub(super) fn stored(&self) -> Result<Stored, RowError> {
        const FIXED: usize = 64;
        let row = &self.0;
        let metadata = row.text_or_null(METADATA)?;
        let data = row.text(DATA)?;
        let mut bytes = FIXED + data.len() + metadata.as_ref().map_or(0, String::len);
        for column in [ID, DOMAIN, PID, NAME] {
            bytes += row.text_ref(column)?.len();
        }
        let event = Event {
            position: row.position(POSITION)?,
            id: row.name(ID, EventId::parse)?,
            timestamp: row.timestamp(TIMESTAMP)?,
            domain: row.name(DOMAIN, Domain::parse)?,
            pid: row.name(PID, Pid::parse)?,
            version: row.version(VERSION)?,
            name: row.name(NAME, EventName::parse)?,
            rid: row.name_or_null(RID, EventId::parse)?,
            publisher: row.name_or_null(PUBLISHER, ServiceName::parse)?,
            metadata: metadata.map_or_else(|| Ok(Metadata::default()), |text| parse_metadata(&text))?,
            data: Data::from_stored(data),
            eids: Vec::new(),
            cpids: Vec::new(),
        };
        let linked = if row.integer(LINKS)? == 0 { Linked::Never } else { Linked::Maybe };
        Ok(Stored { event, linked, bytes })
    }
}

fn parse_metadata(text: &str) -> Result<Metadata, RowError> {
    serde_json::from_str(text).map_err(|error| RowError { reason: format!("metadata is not JSON: {error}") })
}
