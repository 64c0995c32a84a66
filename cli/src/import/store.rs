//! Batches into the log, one request at a time. A batch is stored whole or not at all; if the hub
//! refuses one because of a row, it is halved until that row stands alone. So the rows before it are
//! stored, in order, and the message names the right line.
//!
//! An event that was published without a time has one in an exported file, so the hub takes the row
//! for another event of the same id. Before a batch is halved, rows that say what is stored anyway
//! are looked up and taken out: a log takes its own export as already there.

use futures::{StreamExt, stream};
use proto::message::Stored;
use proto::{Event, NewEvent, Refusal, ServiceName};
use spoke::{PublishError, RequestError, Spoke};

use super::row::{Publisher, Row};
use crate::failure::Outcome;

/// Rows that are looked up at once.
const LOOKED_UP_AT_ONCE: usize = 64;

/// The log, as an import sees it.
#[derive(Clone)]
pub(super) struct Store {
    spoke: Spoke,
    /// Nobody is offered anything.
    persist: bool,
}

/// What came of some rows.
pub(super) enum Step {
    /// They are stored.
    Stored {
        /// So many by this import.
        new: u64,
        /// So many before.
        already_there: u64,
    },
    /// The hub does not take this row.
    Refused(Refused),
}

/// A row that the hub does not take.
pub(super) struct Refused {
    /// Its line.
    pub(super) line: u64,
    /// Why.
    pub(super) reason: String,
}

impl Store {
    pub(super) fn new(spoke: Spoke, persist: bool) -> Self {
        Self { spoke, persist }
    }

    /// Rows to store, not begun yet.
    pub(super) fn batch(&self, rows: Vec<Row>) -> Batch<'_> {
        Batch { store: self, left: vec![rows], looked_up: false }
    }

    /// Those of `rows` that are not stored as they are.
    async fn missing(&self, rows: Vec<Row>) -> Result<Vec<Row>, RequestError> {
        let look_up = |row: Row| async move {
            match self.spoke.read(&row.event.id).await {
                Ok(event) => Ok((!says_the_same(&row.event, &event)).then_some(row)),
                Err(RequestError::NotFound { .. }) => Ok(Some(row)),
                Err(error) => Err(error),
            }
        };
        let mut found = stream::iter(rows).map(look_up).buffered(LOOKED_UP_AT_ONCE);
        let mut missing = Vec::new();
        while let Some(row) = found.next().await {
            missing.extend(row?);
        }
        Ok(missing)
    }

    async fn append(&self, rows: &[Row]) -> Result<Step, PublishError> {
        let events = rows.iter().map(|row| row.event.clone());
        let appended = if self.persist {
            self.spoke.append().events(events).persist().send().await?
        } else if rows.iter().all(|row| row.publisher == Publisher::Importer) {
            self.spoke.publish_all(events.collect()).await?
        } else {
            let publisher = |row: &Row| publisher(&row.publisher, self.spoke.service());
            let events: Vec<(NewEvent, _)> = events.zip(rows.iter().map(publisher)).collect();
            self.spoke.restore(events).await?
        };
        let new = appended.iter().filter(|event| event.stored == Stored::Now).count();
        Ok(Step::Stored { new: new as u64, already_there: (appended.len() - new) as u64 })
    }
}

/// Whether a row says what is stored under its id. A row without a time leaves it to the hub.
fn says_the_same(row: &NewEvent, stored: &Event) -> bool {
    let (mut eids, mut cpids) = (row.eids.clone(), row.cpids.clone());
    eids.sort_unstable();
    eids.dedup();
    cpids.sort_unstable();
    cpids.dedup();
    (&row.domain, &row.pid, &row.name, &row.rid) == (&stored.domain, &stored.pid, &stored.name, &stored.rid)
        && row.timestamp.is_none_or(|time| time == stored.timestamp)
        && (&row.metadata, &row.data, &eids, &cpids)
            == (&stored.metadata, &stored.data, &stored.eids, &stored.cpids)
}

fn publisher(said: &Publisher, importer: &ServiceName) -> Option<ServiceName> {
    match said {
        Publisher::Importer => Some(importer.clone()),
        Publisher::Service(service) => Some(service.clone()),
        Publisher::Nobody => None,
    }
}

/// Rows on their way into the log.
pub(super) struct Batch<'a> {
    store: &'a Store,
    /// What is left, the next rows last.
    left: Vec<Vec<Row>>,
    /// Rows that are stored already were taken out.
    looked_up: bool,
}

impl Batch<'_> {
    /// Stores the next rows; `None` when all are done.
    pub(super) async fn next(&mut self) -> Option<Outcome<Step>> {
        loop {
            let mut rows = self.left.pop()?;
            if rows.is_empty() {
                continue;
            }
            match self.store.append(&rows).await {
                Ok(step) => return Some(Ok(step)),
                Err(error) if !is_for_a_row(&error) => return Some(Err(error.into())),
                Err(PublishError::Refused(Refusal::Conflict { .. })) if !self.looked_up => {
                    self.looked_up = true;
                    let count = rows.len();
                    match self.store.missing(rows).await {
                        Ok(missing) => rows = missing,
                        Err(error) => return Some(Err(error.into())),
                    }
                    let already_there = (count - rows.len()) as u64;
                    self.left.push(rows);
                    return Some(Ok(Step::Stored { new: 0, already_there }));
                }
                Err(error) => match &rows[..] {
                    [row] => {
                        return Some(Ok(Step::Refused(Refused {
                            line: row.line,
                            reason: error.to_string(),
                        })));
                    }
                    _ => {
                        let rest = rows.split_off(rows.len() / 2);
                        self.left.push(rest);
                        self.left.push(rows);
                    }
                },
            }
        }
    }
}

/// Whether one row is to blame, so that others may still be stored.
fn is_for_a_row(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::Event { .. }
            | PublishError::TooLarge { .. }
            | PublishError::Refused(Refusal::Conflict { .. } | Refusal::Invalid { .. })
    )
}

#[cfg(test)]
mod tests {
    use proto::{Data, Domain, Eid, EventId, EventName, Pid, Timestamp};

    use super::*;

    fn row() -> NewEvent {
        NewEvent {
            data: Data::parse(r#"{"a":1}"#).unwrap(),
            eids: vec![Eid::parse("y").unwrap(), Eid::parse("x").unwrap(), Eid::parse("x").unwrap()],
            ..NewEvent::new(
                EventId::parse("e").unwrap(),
                Domain::parse("d").unwrap(),
                Pid::parse("p").unwrap(),
                EventName::parse("n").unwrap(),
            )
        }
    }

    fn stored() -> Event {
        serde_json::from_value(serde_json::json!({
            "position": 1, "id": "e", "timestamp": "2024-01-01T00:00:00Z", "domain": "d", "pid": "p", "version": 1,
            "name": "n", "rid": null, "publisher": null, "metadata": {}, "data": {"a": 1}, "eids": ["x", "y"],
            "cpids": []
        }))
        .unwrap()
    }

    #[test]
    fn a_row_without_a_time_says_the_same_as_the_event_that_the_hub_gave_one() {
        assert!(says_the_same(&row(), &stored()));
        let time = |text| NewEvent { timestamp: Some(Timestamp::parse(text).unwrap()), ..row() };
        assert!(says_the_same(&time("2024-01-01T00:00:00Z"), &stored()));
        assert!(!says_the_same(&time("2024-01-02T00:00:00Z"), &stored()));
    }

    #[test]
    fn other_content_is_another_event() {
        let other = NewEvent { data: Data::parse(r#"{"a":2}"#).unwrap(), ..row() };
        assert!(!says_the_same(&other, &stored()));
        assert!(!says_the_same(&NewEvent { eids: Vec::new(), ..row() }, &stored()));
    }
}
