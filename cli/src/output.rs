//! The only place that prints.
//!
//! People get lines and aligned tables; with `--json` every record is one JSON object on one line,
//! with the same fields. Results go to standard output, notes about them to standard error. A
//! reader that closes the pipe ends the command quietly ([`Failure::OutputClosed`]).

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::failure::{Failure, Outcome, writing};

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// People: lines and tables.
    People,
    /// Programs: one JSON object a line.
    Json,
}

/// A record that is shown by itself.
pub(crate) trait Shown: Serialize {
    /// The lines that people read, without the last line end.
    fn for_people(&self) -> String;
}

/// A record that is a row of a table.
pub(crate) trait Row: Serialize {
    /// The headings. A column whose heading starts with `#` holds numbers and is aligned right.
    const COLUMNS: &'static [&'static str];
    /// One text a column.
    fn cells(&self) -> Vec<String>;
}

/// Where results go.
pub(crate) struct Output {
    format: Format,
    to: BufWriter<Box<dyn Write + Send>>,
}

impl Output {
    /// Standard output.
    pub(crate) fn standard(format: Format) -> Self {
        Self::to(format, io::stdout())
    }

    /// Any other writer.
    pub(crate) fn to(format: Format, to: impl Write + Send + 'static) -> Self {
        Self { format, to: BufWriter::with_capacity(64 * 1024, Box::new(to)) }
    }

    /// Shows one record.
    pub(crate) fn show(&mut self, record: &impl Shown) -> Outcome {
        match self.format {
            Format::People => self.line(&record.for_people()),
            Format::Json => self.object(record),
        }
    }

    /// Shows `rows` as a table, or says `empty` to people if there are none.
    pub(crate) fn table<R: Row>(&mut self, rows: &[R], empty: &str) -> Outcome {
        match self.format {
            Format::Json => rows.iter().try_for_each(|row| self.object(row)),
            Format::People if rows.is_empty() => self.line(empty),
            Format::People => self.line(&table(rows)),
        }
    }

    /// Shows one record of many to programs; people do not get it.
    pub(crate) fn show_to_programs(&mut self, record: &impl Serialize) -> Outcome {
        match self.format {
            Format::People => Ok(()),
            Format::Json => self.object(record),
        }
    }

    /// A line for people; programs do not get it.
    pub(crate) fn say(&mut self, text: &str) -> Outcome {
        match self.format {
            Format::People => self.line(text),
            Format::Json => Ok(()),
        }
    }

    /// `text` and a line end, for both.
    pub(crate) fn line(&mut self, text: &str) -> Outcome {
        writeln!(self.to, "{text}").map_err(|error| writing(&error))
    }

    /// `bytes` as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        self.to.write_all(bytes).map_err(|error| writing(&error))
    }

    /// Makes sure that the reader has everything so far.
    pub(crate) fn flush(&mut self) -> Outcome {
        self.to.flush().map_err(|error| writing(&error))
    }

    fn object(&mut self, record: &impl Serialize) -> Outcome {
        self.bytes(&json_line(record)?)
    }
}

/// `record` as one line of JSON, with its line end.
pub(crate) fn json_line(record: &impl Serialize) -> Outcome<Vec<u8>> {
    let mut line = serde_json::to_vec(record)
        .map_err(|error| Failure::failed(format!("a record cannot be written as JSON: {error}")))?;
    // Event data is kept byte for byte and may hold line ends, as white space between its tokens
    // (inside of strings they are escaped). A blank means the same and keeps the line one line.
    line.iter_mut().filter(|byte| matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    line.push(b'\n');
    Ok(line)
}

/// Waits until nobody reads standard output any more. If it is a file or a terminal, that is never.
///
/// Without it, a command that waits for events would learn of a closed pipe only with the next one.
///
/// Cancel safe.
pub(crate) async fn reader_gone() {
    #[expect(
        deprecated,
        reason = "the descriptor is our own and stays open; the new function is unsafe code"
    )]
    let pipe = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(|pipe| AsyncFd::with_interest(pipe, Interest::ERROR));
    match &pipe {
        // Only its end makes a pipe that is written to report an error.
        Ok(pipe) if pipe.ready(Interest::ERROR).await.is_ok() => {}
        Ok(_) | Err(_) => std::future::pending().await,
    }
}

/// A note for people that is not part of the result. It goes to standard error, and a standard
/// error that cannot be written is no reason to stop.
pub(crate) fn note(text: impl std::fmt::Display) {
    // One write, so that notes of several processes on one terminal do not mix.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Passes on what a command that we run says on its standard error.
pub(crate) fn pass_on(said: &[u8]) {
    let _ = io::stderr().write_all(said);
}

/// Says why the command failed.
pub(crate) fn complain(failure: &Failure) {
    if failure.is_worth_saying() {
        note(format_args!("error: {failure}"));
    }
}

fn table<R: Row>(rows: &[R]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    let heading = |column: &'static str| column.trim_start_matches('#');
    let widths: Vec<usize> = R::COLUMNS
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let widest = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(heading(column).chars().count())
        })
        .collect();
    let headings = R::COLUMNS.iter().map(|column| heading(column).to_uppercase()).collect();
    let mut text = String::new();
    for row in std::iter::once(headings).chain(cells) {
        if !text.is_empty() {
            text.push('\n');
        }
        let start = text.len();
        for ((cell, width), column) in row.iter().zip(&widths).zip(R::COLUMNS) {
            let gap = if text.len() == start { "" } else { "  " };
            // Writing to a String cannot fail.
            let _ = if column.starts_with('#') {
                write!(text, "{gap}{cell:>width$}")
            } else {
                write!(text, "{gap}{cell:<width$}")
            };
        }
        text.truncate(text.trim_end_matches(' ').len());
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer whose bytes the test can look at.
    #[derive(Clone, Default)]
    pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Serialize)]
    struct Sheep {
        name: &'static str,
        legs: u32,
    }

    impl Row for Sheep {
        const COLUMNS: &'static [&'static str] = &["name", "#legs"];
        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.legs.to_string()]
        }
    }

    const FLOCK: [Sheep; 2] = [Sheep { name: "Dolly", legs: 4 }, Sheep { name: "Ö", legs: 12 }];

    fn shown(format: Format, rows: &[Sheep]) -> String {
        let paper = Paper::default();
        let mut output = Output::to(format, paper.clone());
        output.table(rows, "no sheep").unwrap();
        output.flush().unwrap();
        paper.text()
    }

    #[test]
    fn people_see_an_aligned_table_and_programs_the_same_fields() {
        assert_eq!(shown(Format::People, &FLOCK), "NAME   LEGS\nDolly     4\nÖ        12\n");
        assert_eq!(
            shown(Format::Json, &FLOCK),
            "{\"name\":\"Dolly\",\"legs\":4}\n{\"name\":\"Ö\",\"legs\":12}\n"
        );
    }

    #[test]
    fn an_empty_table_tells_people_so_and_programs_nothing() {
        assert_eq!(shown(Format::People, &[]), "no sheep\n");
        assert_eq!(shown(Format::Json, &[]), "");
    }

    #[test]
    fn a_record_stays_on_one_line_whatever_white_space_its_data_holds() {
        let raw = serde_json::value::RawValue::from_string("{\n\"a\":\r\n\"b\\n\"}".to_owned()).unwrap();
        assert_eq!(json_line(&raw).unwrap(), b"{ \"a\":  \"b\\n\"}\n");
    }

    #[test]
    fn a_reader_that_has_gone_ends_the_command_quietly() {
        let mut output = Output::to(Format::People, Closed);
        output.line("who is there?").unwrap();
        assert!(matches!(output.flush(), Err(Failure::OutputClosed)));
    }
}
