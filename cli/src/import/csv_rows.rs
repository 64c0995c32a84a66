//! Rows of a CSV file as events: named columns say pid, name, time, id and entities, all others
//! that are not empty become the event's data, as strings and in the order of the columns.

use std::io::Read;

use csv::{ByteRecord, ErrorKind};
use proto::{Data, Domain, Eid, EventId, EventName, NewEvent, Pid, Timestamp};
use uuid::Uuid;

use super::derived_id::DerivedIds;
use super::row::{BadRow, Publisher, Row, RowError};
use super::source::{Bounded, RowBudget};

/// Which column says what, by its heading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Columns {
    /// The pid.
    pub(crate) pid: String,
    /// The event name.
    pub(crate) name: String,
    /// When it happened; without it, the hub's clock says.
    pub(crate) time: Option<String>,
    /// The event id; without it or where it is empty, one is derived from the content.
    pub(crate) id: Option<String>,
    /// Entities that the event concerns, where not empty.
    pub(crate) eids: Vec<String>,
}

/// Why a file cannot be read as asked, before its first row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// There is no such column.
    #[error("there is no column {asked:?}; the columns are: {}", there_are.join(", "))]
    Unknown {
        /// The column that was asked for.
        asked: String,
        /// Those that there are.
        there_are: Vec<String>,
    },
    /// Two columns share a heading, so one could not be told from the other.
    #[error("two columns are called {0:?}; give each a heading of its own")]
    Twice(String),
    /// The header line is not UTF-8.
    #[error("the header line is not UTF-8; convert the file")]
    NotUtf8,
    /// There is nothing in the file.
    #[error("it is empty; a header line is needed")]
    Empty,
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] csv::Error),
}

/// The rows of a CSV file, in order.
pub(crate) struct CsvRows<R> {
    reader: csv::Reader<Bounded<R>>,
    budget: RowBudget,
    domain: Domain,
    places: Places,
    ids: DerivedIds,
    record: ByteRecord,
}

/// Where in a record things are.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    pid: usize,
    name: usize,
    time: Option<usize>,
    id: Option<usize>,
    eids: Vec<usize>,
    /// The other columns, each with its heading as a JSON string.
    data: Vec<(usize, String)>,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header line of `from`.
    ///
    /// # Errors
    /// [`HeaderError`] says why its rows cannot be told apart.
    pub(crate) fn new(from: Bounded<R>, domain: Domain, columns: &Columns) -> Result<Self, HeaderError> {
        let budget = from.budget();
        let mut reader = csv::ReaderBuilder::new().buffer_capacity(64 * 1024).from_reader(from);
        let header = match reader.headers() {
            Ok(header) if header.is_empty() => return Err(HeaderError::Empty),
            Ok(header) => header.iter().map(str::to_owned).collect::<Vec<_>>(),
            Err(error) if matches!(error.kind(), ErrorKind::Utf8 { .. }) => return Err(HeaderError::NotUtf8),
            Err(error) => return Err(error.into()),
        };
        let places = Places::find(&header, columns)?;
        Ok(Self { reader, budget, domain, places, ids: DerivedIds::default(), record: ByteRecord::new() })
    }

    fn row(&mut self, line: u64) -> Result<Row, String> {
        let mut event = self.places.event(&self.domain, &self.record)?;
        event.check().map_err(|error| error.to_string())?;
        let id = match self.places.id.map(|at| field(&self.record, at)).transpose()? {
            Some(id) if !id.is_empty() => EventId::parse(id).map_err(|error| error.to_string())?,
            Some(_) | None => self.ids.next(&event),
        };
        event.id = id;
        Ok(Row { line, event, publisher: Publisher::Importer })
    }
}

impl<R: Read> Iterator for CsvRows<R> {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.budget.renew();
        let read = self.reader.read_byte_record(&mut self.record);
        let here = self.reader.position().line();
        match read {
            Ok(false) => None,
            Ok(true) => {
                let line = self.record.position().map_or(here, csv::Position::line);
                Some(self.row(line).map_err(|reason| RowError::Bad(BadRow { line, reason })))
            }
            Err(error) => {
                let line = error.position().map_or(here, csv::Position::line);
                Some(Err(match error.into_kind() {
                    ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        let reason = format!("it has {len} columns, the header line has {expected_len}");
                        RowError::Bad(BadRow { line, reason })
                    }
                    // The reader knows what its errors mean, so the text goes through unchanged.
                    ErrorKind::Io(error) => RowError::Broken(BadRow { line, reason: error.to_string() }),
                    other => RowError::Broken(BadRow { line, reason: format!("{other:?}") }),
                }))
            }
        }
    }
}

impl Places {
    fn find(header: &[String], columns: &Columns) -> Result<Self, HeaderError> {
        for (at, heading) in header.iter().enumerate() {
            if header.iter().take(at).any(|before| before == heading) {
                return Err(HeaderError::Twice(heading.clone()));
            }
        }
        let find = |asked: &String| {
            header
                .iter()
                .position(|heading| heading == asked)
                .ok_or_else(|| HeaderError::Unknown { asked: asked.clone(), there_are: header.to_vec() })
        };
        let mut places = Self {
            pid: find(&columns.pid)?,
            name: find(&columns.name)?,
            time: columns.time.as_ref().map(find).transpose()?,
            id: columns.id.as_ref().map(find).transpose()?,
            eids: columns.eids.iter().map(find).collect::<Result<_, _>>()?,
            data: Vec::new(),
        };
        places.data = header
            .iter()
            .enumerate()
            .filter(|(at, _)| !places.names(*at))
            .map(|(at, heading)| (at, serde_json::Value::from(heading.as_str()).to_string()))
            .collect();
        Ok(places)
    }

    /// Whether the column at `at` says something other than data.
    fn names(&self, at: usize) -> bool {
        at == self.pid
            || at == self.name
            || self.time == Some(at)
            || self.id == Some(at)
            || self.eids.contains(&at)
    }

    fn event(&self, domain: &Domain, record: &ByteRecord) -> Result<NewEvent, String> {
        let pid = Pid::parse(field(record, self.pid)?).map_err(|error| error.to_string())?;
        let name = EventName::parse(field(record, self.name)?).map_err(|error| error.to_string())?;
        // The id comes last, because it may be made from everything else.
        let mut event = NewEvent::new(EventId::from_uuid(Uuid::nil()), domain.clone(), pid, name);
        event.timestamp = match self.time {
            Some(at) => Some(Timestamp::parse(field(record, at)?).map_err(|error| error.to_string())?),
            None => None,
        };
        for at in &self.eids {
            let eid = field(record, *at)?;
            if !eid.is_empty() {
                event.eids.push(Eid::parse(eid).map_err(|error| error.to_string())?);
            }
        }
        event.data = Data::parse(self.data(record)?).map_err(|error| error.to_string())?;
        Ok(event)
    }

    fn data(&self, record: &ByteRecord) -> Result<Vec<u8>, String> {
        let mut json = vec![b'{'];
        for (at, heading) in &self.data {
            let value = field(record, *at)?;
            if value.is_empty() {
                continue;
            }
            if json.len() > 1 {
                json.push(b',');
            }
            json.extend_from_slice(heading.as_bytes());
            json.push(b':');
            serde_json::to_writer(&mut json, value).map_err(|error| error.to_string())?;
        }
        json.push(b'}');
        Ok(json)
    }
}

fn field(record: &ByteRecord, at: usize) -> Result<&str, String> {
    let bytes = record.get(at).unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| format!("column {} is not UTF-8", at + 1))
}

#[cfg(test)]
#[path = "csv_rows_tests.rs"]
mod tests;
