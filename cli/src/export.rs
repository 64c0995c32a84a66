//! `export`: the log, or one domain of it, as JSON Lines that `import` reads back event for event.
//!
//! It ends where the log ended when it began. A file gets its name only when it is whole and on
//! disk, so a broken export never looks like a good one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use proto::read::More;
use proto::{Domain, Event, Position};
use serde::Serialize;

use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown, json_line, note};
use crate::place::Place;
use crate::progress;

/// What to export and where to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write, compressed if it ends in .gz, or - for standard output
    file: PathBuf,
    /// Only events of this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
}

/// What was exported.
#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    events: u64,
    through: Position,
}

impl Shown for Exported {
    fn for_people(&self) -> String {
        format!("{} events up to position {} written to {}", self.events, self.through, self.file)
    }
}

/// Writes the file and says how many events are in it.
pub(crate) async fn run(args: ExportArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    let head = spoke.welcome().head;
    let mut target = Target::new(&args.file, output)?;
    let progress = progress::bar(Some(head.0));
    let (mut events, mut through, mut more) = (0, Position::default(), More::Maybe);
    while more == More::Maybe && through < head {
        let page = spoke.log_after(through).await?;
        for event in page.events.iter().take_while(|event| event.position <= head) {
            if args.domain.as_ref().is_none_or(|domain| *domain == event.domain) {
                target.write(&exported(event)?)?;
                events += 1;
            }
        }
        (through, more) = (page.through, page.more);
        progress.set_position(through.0);
    }
    progress.finish_and_clear();
    let exported = Exported { file: args.file.display().to_string(), events, through: through.min(head) };
    match target.finish()? {
        // The log itself went to standard output, so this goes beside it.
        Written::ToOutput => note(exported.for_people()),
        Written::ToFile => output.show(&exported)?,
    }
    Ok(())
}

/// An event as a line of a file.
///
/// Data that holds line ends between its tokens stands on one line with blanks in their place, and
/// once more in `data_exact` as it is, so that it comes back byte for byte.
fn exported(event: &Event) -> Outcome<Vec<u8>> {
    let mut line = json_line(event)?;
    let data = event.data.as_str();
    if data.contains(['\n', '\r']) {
        let exact = serde_json::Value::from(data);
        line.truncate(line.len().saturating_sub("}\n".len()));
        line.extend_from_slice(format!(",\"data_exact\":{exact}}}\n").as_bytes());
    }
    Ok(line)
}

/// Where the lines go.
enum Target<'a> {
    Output(&'a mut Output),
    File { to: Compressed, draft: tempfile::NamedTempFile, name: PathBuf },
}

/// Where the lines have gone.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    ToOutput,
    ToFile,
}

enum Compressed {
    No(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl<'a> Target<'a> {
    fn new(path: &Path, output: &'a mut Output) -> Outcome<Self> {
        if path == Path::new("-") {
            return Ok(Self::Output(output));
        }
        let name = path.to_owned();
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            Some(_) | None => Path::new("."),
        };
        let draft = tempfile::Builder::new().prefix(".eventflow-export-").tempfile_in(folder);
        let draft = draft.map_err(|error| unwritten(&name, &error))?;
        let file = BufWriter::new(draft.reopen().map_err(|error| unwritten(&name, &error))?);
        let to = match path.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("gz") => {
                Compressed::Gzip(GzEncoder::new(file, Compression::default()))
            }
            Some(_) | None => Compressed::No(file),
        };
        Ok(Self::File { to, draft, name })
    }

    fn write(&mut self, line: &[u8]) -> Outcome {
        match self {
            Self::Output(output) => output.bytes(line),
            Self::File { to: Compressed::No(file), name, .. } => {
                file.write_all(line).map_err(|error| unwritten(name, &error))
            }
            Self::File { to: Compressed::Gzip(file), name, .. } => {
                file.write_all(line).map_err(|error| unwritten(name, &error))
            }
        }
    }

    /// Makes a file whole and gives it its name.
    fn finish(self) -> Outcome<Written> {
        let (to, draft, name) = match self {
            Self::Output(_) => return Ok(Written::ToOutput),
            Self::File { to, draft, name } => (to, draft, name),
        };
        let whole = || -> io::Result<()> {
            let buffered = match to {
                Compressed::No(file) => file,
                Compressed::Gzip(file) => file.finish()?,
            };
            buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            draft.persist(&name).map_err(|error| error.error)?;
            Ok(())
        };
        whole().map_err(|error| unwritten(&name, &error))?;
        Ok(Written::ToFile)
    }
}

fn unwritten(name: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!("{} cannot be written: {error}", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::one_line_of;
    use crate::output::Format;

    fn event(data: &str) -> Event {
        let json = serde_json::json!({
            "position": 1, "id": "e", "timestamp": "2024-01-01T00:00:00Z", "domain": "order", "pid": "1",
            "version": 1, "name": "changed", "rid": null, "publisher": null, "metadata": {}, "data": null,
            "eids": [], "cpids": []
        });
        let mut event: Event = serde_json::from_value(json).unwrap();
        event.data = proto::Data::parse(data.to_owned()).unwrap();
        event
    }

    #[test]
    fn data_with_line_ends_stays_on_one_line_and_is_kept_exactly_beside_it() {
        let data = "{\n  \"a\": \"b\\n\"\r\n}";
        let line = exported(&event(data)).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let row: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(row["data_exact"], data);
        let shown = String::from_utf8(one_line_of(data).collect()).unwrap();
        assert!(String::from_utf8(line).unwrap().contains(&shown));
    }

    #[test]
    fn other_data_is_kept_as_it_is() {
        let line = String::from_utf8(exported(&event("{\"a\" : 1.0e5}")).unwrap()).unwrap();
        assert!(line.contains("\"data\":{\"a\" : 1.0e5}"));
        assert!(!line.contains("data_exact"));
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl.gz");
        let mut output = Output::to(Format::People, io::sink());
        let mut target = Target::new(&path, &mut output).unwrap();
        target.write(b"{}\n").unwrap();
        assert!(!path.exists());
        assert_eq!(target.finish().unwrap(), Written::ToFile);
        let mut text = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(File::open(&path).unwrap()), &mut text)
            .unwrap();
        assert_eq!(text, "{}\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
