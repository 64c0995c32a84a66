//! The file behind an import: opened, unpacked, read with bounds.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::failure::{Failure, Outcome};

/// How the rows of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line, as `export` and `--json` write events.
    Jsonl,
}

/// A file to import, not opened yet.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    path: PathBuf,
    packed: Packed,
    pub(crate) format: RowFormat,
}

/// Whether a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    No,
    Gzip,
}

impl Source {
    /// The file at `path`, or standard input for `-`. The ending says how it is written unless
    /// `format` does.
    ///
    /// # Errors
    /// A wrong usage if neither says it.
    pub(crate) fn new(path: &Path, format: Option<RowFormat>) -> Outcome<Self> {
        let name = path.to_string_lossy().to_lowercase();
        let (name, packed) = match name.strip_suffix(".gz") {
            Some(name) => (name, Packed::Gzip),
            None => (name.as_str(), Packed::No),
        };
        let by_ending = match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("csv") => Some(RowFormat::Csv),
            Some("jsonl" | "ndjson" | "json") => Some(RowFormat::Jsonl),
            Some(_) | None => None,
        };
        let format = format.or(by_ending).ok_or_else(|| {
            Failure::usage(format_args!(
                "{} ends neither in .csv nor in .jsonl (nor in one of them and .gz); say what it is with --format",
                path.display()
            ))
        })?;
        Ok(Self { path: path.to_owned(), packed, format })
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        if self.is_standard_input() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// The size on disk, if there is one.
    pub(crate) fn bytes(&self) -> Option<u64> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        (metadata.is_file() && !self.is_standard_input()).then_some(metadata.len())
    }

    /// Opens it for reading. What is read from disk goes through `watch` first.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn open(
        &self,
        watch: impl FnOnce(Box<dyn Read>) -> Box<dyn Read>,
    ) -> io::Result<Bounded<Box<dyn Read>>> {
        let file: Box<dyn Read> =
            if self.is_standard_input() { Box::new(io::stdin()) } else { Box::new(File::open(&self.path)?) };
        let file = watch(file);
        Ok(Bounded::new(match self.packed {
            Packed::No => file,
            Packed::Gzip => Box::new(Unpacked(MultiGzDecoder::new(BufReader::new(file)))),
        }))
    }

    fn is_standard_input(&self) -> bool {
        self.path == Path::new("-")
    }
}

/// A gzip file's content, with errors that say what to do.
struct Unpacked<R>(MultiGzDecoder<R>);

impl<R: io::BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let text = format!("its gzip data is broken or cut off ({error}); fetch the file again");
            io::Error::new(error.kind(), text)
        })
    }
}

/// Bytes that one row may take in a file: the largest event, with all of its text escaped.
pub(crate) const ROW_BYTES_MAX: usize = 4 * proto::limits::FRAME_BYTES_MAX;

/// A reader that stops inside of a row without end, so that a forgotten quote or a file without
/// line ends cannot fill the memory.
pub(crate) struct Bounded<R> {
    from: R,
    row: RowBudget,
}

/// Bytes that the row under way may still take.
#[derive(Clone)]
pub(crate) struct RowBudget(Rc<Cell<usize>>);

impl RowBudget {
    /// A new row starts.
    pub(crate) fn renew(&self) {
        self.0.set(ROW_BYTES_MAX);
    }
}

impl<R: Read> Bounded<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, row: RowBudget(Rc::new(Cell::new(ROW_BYTES_MAX))) }
    }

    /// The budget, to be renewed with each row.
    pub(crate) fn budget(&self) -> RowBudget {
        self.row.clone()
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.row.0.get();
        if left == 0 {
            let text = format!(
                "a row has more than {ROW_BYTES_MAX} bytes; is a closing quote or a line end missing?"
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        let read = self.from.read(buffer)?;
        self.row.0.set(left.saturating_sub(read));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_how_a_file_is_written_and_the_option_goes_before_it() {
        let source = |path: &str, format| Source::new(Path::new(path), format);
        assert_eq!(source("a.csv", None).unwrap().format, RowFormat::Csv);
        assert_eq!(source("A.CSV.GZ", None).unwrap().packed, Packed::Gzip);
        assert_eq!(source("a.jsonl.gz", None).unwrap().format, RowFormat::Jsonl);
        assert_eq!(source("a.csv", Some(RowFormat::Jsonl)).unwrap().format, RowFormat::Jsonl);
        assert!(matches!(source("a.txt", None), Err(Failure::Usage(_))));
        assert!(matches!(source("-", None), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_row_without_end_is_given_up_and_memory_stays_bounded() {
        let mut endless = Bounded::new(io::repeat(b'x'));
        let error = io::copy(&mut endless, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        endless.budget().renew();
        assert!(endless.read(&mut [0; 8]).is_ok());
    }
}
