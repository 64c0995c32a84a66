//! The thread that reads a file: rows in, batches out, in order.

use std::io;

use indicatif::ProgressBar;
use proto::Domain;
use tokio::sync::mpsc;

use super::csv_rows::{Columns, CsvRows, HeaderError};
use super::json_rows::JsonRows;
use super::row::{BadRow, Row, RowError};
use super::source::Source;
use super::{break_off, stop};
use crate::failure::{Failure, Outcome};

/// Batches that are read ahead. When they are there, reading waits for storing.
pub(super) const BATCHES_WAITING: usize = 2;

/// Rows of one batch: enough that a commit costs next to nothing for each, and few enough that
/// other publishers hardly wait for it.
const BATCH_ROWS: usize = 500;

/// Bytes of one batch, which has to fit into a frame with room to spare.
const BATCH_BYTES: usize = proto::limits::FRAME_BYTES_MAX / 2;

/// What the thread has read.
pub(super) enum Read {
    /// Rows to store, at least one.
    Rows(Vec<Row>),
    /// A row that was left out.
    Bad(BadRow),
}

/// The file and how to read it.
pub(super) struct Reading {
    source: Source,
    /// For a CSV file.
    columns: Option<(Domain, Columns)>,
    keep_going: bool,
    progress: ProgressBar,
}

impl Reading {
    pub(super) fn new(
        source: Source,
        columns: Option<(Domain, Columns)>,
        keep_going: bool,
        progress: ProgressBar,
    ) -> Self {
        Self { source, columns, keep_going, progress }
    }

    /// Reads all of it. Blocks while nobody takes the batches, and ends when nobody will.
    pub(super) fn run(self, to: &mpsc::Sender<Read>) -> Outcome {
        let name = self.source.name();
        let unopened = |error: io::Error| Failure::failed(format_args!("{name} cannot be opened: {error}"));
        let watch = |file| -> Box<dyn io::Read> { Box::new(self.progress.wrap_read(file)) };
        let file = self.source.open(watch).map_err(unopened)?;
        match &self.columns {
            Some((domain, columns)) => match CsvRows::new(file, domain.clone(), columns) {
                Ok(rows) => self.pass_on(rows, to),
                Err(error @ HeaderError::Unknown { .. }) => {
                    Err(Failure::usage(format_args!("{name}: {error}")))
                }
                Err(error) => Err(Failure::failed(format_args!("{name}: {error}"))),
            },
            None => self.pass_on(JsonRows::new(file), to),
        }
    }

    fn pass_on(&self, rows: impl Iterator<Item = Result<Row, RowError>>, to: &mpsc::Sender<Read>) -> Outcome {
        let mut batch = Batch::default();
        for row in rows {
            let passed_on = match row {
                Ok(row) => match batch.add(row) {
                    Some(full) => to.blocking_send(Read::Rows(full)),
                    None => Ok(()),
                },
                Err(RowError::Bad(bad)) if self.keep_going => to.blocking_send(Read::Bad(bad)),
                Err(RowError::Bad(bad)) => {
                    batch.end(to);
                    return Err(stop(&self.source.name(), &bad));
                }
                Err(RowError::Broken(bad)) => {
                    batch.end(to);
                    return Err(break_off(&self.source.name(), &bad));
                }
            };
            if passed_on.is_err() {
                return Ok(());
            }
        }
        batch.end(to);
        Ok(())
    }
}

/// Rows that go into one request.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: usize,
}

impl Batch {
    /// Passes on what is left.
    fn end(self, to: &mpsc::Sender<Read>) {
        if !self.rows.is_empty() {
            // A receiver that has gone has its own error to report.
            let _ = to.blocking_send(Read::Rows(self.rows));
        }
    }

    /// Adds a row, and gives back the rows before it if it does not fit to them.
    fn add(&mut self, row: Row) -> Option<Vec<Row>> {
        let bytes = row.wire_bytes();
        let fits = self.rows.len() < BATCH_ROWS && self.bytes + bytes <= BATCH_BYTES;
        if fits || self.rows.is_empty() {
            self.bytes += bytes;
            self.rows.push(row);
            return None;
        }
        self.bytes = bytes;
        Some(std::mem::replace(&mut self.rows, vec![row]))
    }
}

#[cfg(test)]
mod tests {
    use proto::{Data, EventId, EventName, NewEvent, Pid};

    use super::super::row::Publisher;
    use super::*;

    fn row(line: u64, data_bytes: usize) -> Row {
        let event = NewEvent {
            data: Data::parse(format!("\"{}\"", "x".repeat(data_bytes))).unwrap(),
            ..NewEvent::new(
                EventId::parse("e").unwrap(),
                Domain::parse("d").unwrap(),
                Pid::parse("p").unwrap(),
                EventName::parse("n").unwrap(),
            )
        };
        Row { line, event, publisher: Publisher::Importer }
    }

    #[test]
    fn a_batch_is_full_at_its_rows_or_its_bytes_and_a_large_row_goes_alone() {
        let mut batch = Batch::default();
        let full = (0..=BATCH_ROWS as u64).find_map(|line| batch.add(row(line, 1)));
        assert_eq!(full.unwrap().len(), BATCH_ROWS);
        assert_eq!(batch.add(row(0, BATCH_BYTES)).unwrap().len(), 1);
        assert_eq!(batch.add(row(1, 1)).unwrap().len(), 1);
        assert_eq!(batch.rows.len(), 1);
    }

    fn read(text: &str, keep_going: bool) -> (Vec<Read>, Outcome) {
        let file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let source = Source::new(file.path(), None).unwrap();
        let (to, mut from) = mpsc::channel(16);
        let outcome = Reading::new(source, None, keep_going, ProgressBar::hidden()).run(&to);
        drop(to);
        let read = std::iter::from_fn(|| from.blocking_recv()).collect();
        (read, outcome)
    }

    const GOOD: &str = r#"{"domain":"d","pid":"p","name":"n"}"#;

    #[test]
    fn a_bad_row_ends_the_reading_after_the_rows_before_it_were_passed_on() {
        let (read, outcome) = read(&format!("{GOOD}\nbad\n{GOOD}\n"), false);
        assert!(matches!(&read[..], [Read::Rows(rows)] if rows.len() == 1));
        assert!(outcome.unwrap_err().to_string().contains("line 2: it is not JSON"));
    }

    #[test]
    fn a_bad_row_is_passed_by_on_request() {
        let (read, outcome) = read(&format!("{GOOD}\nbad\n{GOOD}\n"), true);
        assert!(matches!(&read[..], [Read::Bad(bad), Read::Rows(rows)] if bad.line == 2 && rows.len() == 2));
        assert!(outcome.is_ok());
    }

    #[test]
    fn a_gzip_file_that_is_cut_off_ends_the_reading_whoever_wants_to_keep_going() {
        use std::io::Write;
        let file = tempfile::Builder::new().suffix(".jsonl.gz").tempfile().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        for number in 0..5_000 {
            writeln!(gzip, r#"{{"domain":"d","pid":"p{number}","name":"n"}}"#).unwrap();
        }
        let mut bytes = gzip.finish().unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(file.path(), bytes).unwrap();
        let source = Source::new(file.path(), None).unwrap();
        let (to, mut from) = mpsc::channel(64);
        let outcome = Reading::new(source, None, true, ProgressBar::hidden()).run(&to);
        assert!(outcome.unwrap_err().to_string().contains("gzip data is broken or cut off"));
        assert!(matches!(from.try_recv(), Ok(Read::Rows(_))));
    }
}
