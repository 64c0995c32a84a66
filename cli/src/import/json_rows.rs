//! Rows of a JSON Lines file as events: what `export` and `--json` write.
//!
//! `position` and `version` are the log's own: they may be there and are not looked at. Data goes
//! from file to log byte for byte. A row that names no publisher at all is published by whoever
//! imports it; one whose publisher is `null` was never published and is stored only.

use std::io::{self, BufRead, BufReader, Read};

use proto::{Cpid, Data, Domain, Eid, EventId, EventName, Metadata, NewEvent, Pid, ServiceName, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::derived_id::DerivedIds;
use super::row::{BadRow, Publisher, Row, RowError};
use super::source::{Bounded, RowBudget};

/// The rows of a JSON Lines file, in order. Empty lines are no rows.
pub(crate) struct JsonRows<R> {
    from: BufReader<Bounded<R>>,
    budget: RowBudget,
    ids: DerivedIds,
    line: u64,
    text: Vec<u8>,
}

/// An event as JSON, with what may be missing in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRow<'a> {
    #[serde(default, rename = "position")]
    _position: Option<u64>,
    #[serde(default, rename = "version")]
    _version: Option<u64>,
    id: Option<EventId>,
    timestamp: Option<Timestamp>,
    domain: Domain,
    pid: Pid,
    name: EventName,
    rid: Option<EventId>,
    #[serde(default, deserialize_with = "said")]
    publisher: Option<Option<ServiceName>>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    /// The data where it does not fit on one line as it is: see `export`.
    data_exact: Option<String>,
    #[serde(default)]
    eids: Vec<Eid>,
    #[serde(default)]
    cpids: Vec<Cpid>,
}

/// Tells a `null` from a field that is not there.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

impl<R: Read> JsonRows<R> {
    /// The rows of `from`.
    pub(crate) fn new(from: Bounded<R>) -> Self {
        let budget = from.budget();
        let from = BufReader::with_capacity(64 * 1024, from);
        Self { from, budget, ids: DerivedIds::default(), line: 0, text: Vec::new() }
    }

    /// Reads the next line that is not empty; `false` is the end.
    fn read_line(&mut self) -> io::Result<bool> {
        loop {
            self.text.clear();
            self.budget.renew();
            self.line += 1;
            if self.from.read_until(b'\n', &mut self.text)? == 0 {
                return Ok(false);
            }
            if !self.text.trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn row(&mut self) -> Result<Row, String> {
        let text = self.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.text);
        let Parsed { id, mut event, publisher } = parse_line(text)?;
        event.id = id.unwrap_or_else(|| self.ids.next(&event));
        Ok(Row { line: self.line, event, publisher })
    }
}

/// A line as an event, whose id is set only where it is said.
pub(crate) struct Parsed {
    pub(crate) id: Option<EventId>,
    pub(crate) event: NewEvent,
    pub(crate) publisher: Publisher,
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it, for people.
pub(crate) fn parse_line(text: &[u8]) -> Result<Parsed, String> {
    let row: JsonRow<'_> = serde_json::from_slice(text).map_err(|error| explain(&error))?;
    let data = match (row.data_exact, row.data) {
        (Some(exact), Some(data)) if !one_line_of(&exact).eq(data.get().bytes()) => {
            return Err("data and data_exact are not the same; leave one of them out".to_owned());
        }
        (Some(exact), _) => Data::parse(exact),
        (None, Some(data)) => Data::parse(data.get().to_owned()),
        (None, None) => Ok(Data::empty()),
    };
    let event = NewEvent {
        id: row.id.clone().unwrap_or_else(|| EventId::from_uuid(Uuid::nil())),
        timestamp: row.timestamp,
        domain: row.domain,
        pid: row.pid,
        name: row.name,
        rid: row.rid,
        metadata: row.metadata,
        data: data.map_err(|error| error.to_string())?,
        eids: row.eids,
        cpids: row.cpids,
    };
    event.check().map_err(|error| error.to_string())?;
    let publisher = match row.publisher {
        None => Publisher::Importer,
        Some(None) => Publisher::Nobody,
        Some(Some(service)) => Publisher::Service(service),
    };
    Ok(Parsed { id: row.id, event, publisher })
}

/// `json` with its line ends as blanks: what stands in a file of one row a line.
pub(crate) fn one_line_of(json: &str) -> impl Iterator<Item = u8> {
    json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })
}

impl<R: Read> Iterator for JsonRows<R> {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read_line() {
            Ok(false) => None,
            Ok(true) => {
                let line = self.line;
                Some(self.row().map_err(|reason| RowError::Bad(BadRow { line, reason })))
            }
            Err(error) => Some(Err(RowError::Broken(BadRow { line: self.line, reason: error.to_string() }))),
        }
    }
}

/// What serde says, with the place in the line: each row is parsed alone, so its "line 1" would mislead.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(text) if error.is_data() => text.to_owned(),
        Some(text) => format!("it is not JSON: {text} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Result<Row, RowError>> {
        JsonRows::new(Bounded::new(io::Cursor::new(text.to_owned()))).collect()
    }

    fn reason(text: &str) -> String {
        match rows(text).remove(0) {
            Err(RowError::Bad(bad)) => bad.reason,
            other => panic!("{other:?} should be a bad row"),
        }
    }

    const WHOLE: &str = r#"{"position":7,"id":"e-7","timestamp":"2011-10-11T11:45:40.276Z","domain":"permit","pid":"c","version":3,"name":"n","rid":"e-1","publisher":"shop","metadata":{"actor":"ann"},"data":{"b" : 1.0e5,  "a":"\u00f6"},"eids":["x"],"cpids":[{"domain":"d","pid":"p"}]}"#;

    #[test]
    fn an_exported_event_comes_back_byte_for_byte() {
        let row = rows(WHOLE).remove(0).unwrap();
        assert_eq!(row.event.id.as_str(), "e-7");
        assert_eq!(row.event.data.as_str(), r#"{"b" : 1.0e5,  "a":"\u00f6"}"#);
        assert_eq!(row.publisher, Publisher::Service(ServiceName::parse("shop").unwrap()));
        let back: proto::Event = serde_json::from_str(WHOLE).unwrap();
        assert_eq!((row.event.rid, row.event.metadata), (back.rid, back.metadata));
        assert_eq!((row.event.eids, row.event.cpids), (back.eids, back.cpids));
        assert_eq!(row.event.timestamp, Some(back.timestamp));
    }

    #[test]
    fn data_with_line_ends_comes_from_data_exact() {
        let row = |exact: &str| {
            format!(r#"{{"domain":"d","pid":"p","name":"n","data":{{ "a":1}},"data_exact":{exact}}}"#)
        };
        let good = rows(&row(r#""{\n\"a\":1}""#)).remove(0).unwrap();
        assert_eq!(good.event.data.as_str(), "{\n\"a\":1}");
        assert!(reason(&row(r#""{\n\"a\":2}""#)).contains("not the same"));
    }

    #[test]
    fn a_row_needs_only_domain_pid_and_name() {
        let row = rows(r#"{"domain":"d","pid":"p","name":"n"}"#).remove(0).unwrap();
        assert_eq!(row.publisher, Publisher::Importer);
        assert_eq!(row.event.data.as_str(), "{}");
        assert_eq!(row.event.timestamp, None);
    }

    #[test]
    fn a_publisher_of_null_means_never_published() {
        let row = rows(r#"{"domain":"d","pid":"p","name":"n","publisher":null}"#).remove(0).unwrap();
        assert_eq!(row.publisher, Publisher::Nobody);
    }

    #[test]
    fn a_bad_row_says_what_is_wrong_and_the_next_one_is_read() {
        let good = r#"{"domain":"d","pid":"p","name":"n"}"#;
        let rows = rows(&format!("{good}\n\n{{\"domain\":\n{good}"));
        assert!(
            matches!(&rows[1], Err(RowError::Bad(bad)) if bad.line == 3 && bad.reason.contains("not JSON"))
        );
        assert_eq!(rows[2].as_ref().unwrap().line, 4);
        assert_eq!(
            reason(r#"{"domain":"","pid":"p","name":"n"}"#),
            "the domain is empty; give it 1 to 128 characters"
        );
        assert!(reason(r#"{"domain":"d","pid":"p"}"#).contains("missing field `name`"));
        assert!(reason(r#"{"domain":"d","pid":"p","name":"n","dta":1}"#).contains("unknown field `dta`"));
    }
}
