//! Batches into the log, one request at a time. A batch is stored whole or not at all; if the hub
//! refuses one because of a row, it is halved until that row stands alone. So the rows before it are
//! stored, in order, and the message names the right line.

use proto::message::Stored;
use proto::{NewEvent, Refusal, ServiceName};
use spoke::{PublishError, Spoke};

use super::row::{Publisher, Row};
use crate::failure::Outcome;

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
        Batch { store: self, left: vec![rows] }
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
}

impl Batch<'_> {
    /// Stores the next rows; `None` when all are done.
    pub(super) async fn next(&mut self) -> Option<Outcome<Step>> {
        loop {
            let mut rows = self.left.pop()?;
            match self.store.append(&rows).await {
                Ok(step) => return Some(Ok(step)),
                Err(error) if !is_for_a_row(&error) => return Some(Err(error.into())),
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
