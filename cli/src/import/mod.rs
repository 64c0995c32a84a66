//! `import`: a file of events into the log, in its order, each stored once however often it is imported.
//!
//! A thread reads rows and turns them into checked events; meanwhile the batch before is stored.
//! One batch is stored at a time: its answer comes before the next is sent, so a row that is
//! refused stops the import with everything before it stored and nothing after it.

mod csv_rows;
mod derived_id;
mod json_rows;
mod reading;
mod row;
mod source;
mod store;

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use proto::Domain;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown, note};
use crate::place::Place;
use crate::progress;

use csv_rows::Columns;
use reading::{BATCHES_WAITING, Read, Reading};
use row::BadRow;
use source::{RowFormat, Source};
use store::{Refused, Store};

#[cfg(test)]
pub(crate) use json_rows::one_line_of;
pub(crate) use json_rows::{Parsed, parse_line};
pub(crate) use row::Publisher;

/// What to import and how to read it.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct ImportArgs {
    /// A .csv or .jsonl file, or one of them as .gz, or - for standard input
    file: PathBuf,
    /// How the file is written, where its name does not say
    #[arg(long, value_name = "FORMAT")]
    format: Option<RowFormat>,
    /// Store only: consumers and subscribers do not get the events
    #[arg(long)]
    persist: bool,
    /// Leave bad rows out, say which, and count them, in place of stopping at the first
    #[arg(long)]
    keep_going: bool,
    /// Read and check everything, store nothing; needs no hub
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    csv: CsvArgs,
}

/// Which column of a CSV file says what.
#[derive(Debug, Args)]
#[command(next_help_heading = "CSV options")]
struct CsvArgs {
    /// The domain of all events
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// The column with the pid
    #[arg(long, value_name = "COLUMN")]
    pid_column: Option<String>,
    /// The column with the event name
    #[arg(long, value_name = "COLUMN")]
    name_column: Option<String>,
    /// The column with the time that it happened [default: the hub's clock]
    #[arg(long, value_name = "COLUMN")]
    time_column: Option<String>,
    /// The column with the event id [default: an id made from the row's content]
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// A column with an entity that the event concerns; may repeat
    #[arg(long = "eid-column", value_name = "COLUMN")]
    eid_columns: Vec<String>,
}

const AFTER_HELP: &str = "\
CSV: the columns that no option names become the event's data, as strings, where they are not empty.

JSON Lines: one event a line, as `export`, `log --json` and `tail --json` write it. Needed are domain, \
pid and name. Position and version are the log's own and are not looked at. An event whose publisher \
is null is stored only; one that names no publisher at all is published by this service.

An event without an id gets one that is made from its content, so importing a file again adds nothing.";

/// What came of an import.
#[derive(Debug, Default, Serialize)]
struct Imported {
    file: String,
    rows: u64,
    new: u64,
    already_there: u64,
    bad: u64,
    #[serde(skip)]
    checked_only: bool,
}

impl Shown for Imported {
    fn for_people(&self) -> String {
        let Self { rows, new, already_there, bad, .. } = self;
        let bad = if *bad == 0 { String::new() } else { format!(", {bad} bad") };
        if self.checked_only {
            format!("{rows} rows checked{bad}; nothing was stored")
        } else {
            format!("{rows} rows, {new} new, {already_there} already there{bad}")
        }
    }
}

/// Imports the file and says how many rows were new.
pub(crate) async fn run(args: ImportArgs, place: &Place, output: &mut Output) -> Outcome {
    let source = Source::new(&args.file, args.format)?;
    let columns = args.csv.columns(source.format)?;
    let store = match args.check {
        true => None,
        false => Some(Store::new(connect(place).await?, args.persist)),
    };
    let progress = progress::bar(source.bytes());
    let reading = Reading::new(source.clone(), columns, args.keep_going, progress.clone());
    let (batches, inbox) = mpsc::channel(BATCHES_WAITING);
    let mut tasks = JoinSet::new();
    tasks.spawn_blocking(move || reading.run(&batches));

    let mut importing = Importing {
        imported: Imported { file: source.name(), checked_only: args.check, ..Imported::default() },
        keep_going: args.keep_going,
        progress: progress.clone(),
        store,
    };
    let stored = importing.take(inbox).await;
    let read = tasks.join_next().await.unwrap_or(Ok(Ok(())));
    progress.finish_and_clear();
    let outcome = stored.and_then(|()| match read {
        Ok(read) => read,
        Err(panic) => Err(Failure::failed(format_args!("reading the file broke off: {panic}"))),
    });
    if importing.imported.rows > 0 || outcome.is_ok() {
        output.show(&importing.imported)?;
    }
    outcome?;
    match importing.imported.bad {
        // To find bad rows is what a check is for.
        1.. if args.check => Err(Failure::failed(format_args!("{} has bad rows", source.name()))),
        _ => Ok(()),
    }
}

/// An import under way.
struct Importing {
    imported: Imported,
    keep_going: bool,
    progress: ProgressBar,
    /// Nothing is stored without one.
    store: Option<Store>,
}

impl Importing {
    async fn take(&mut self, mut inbox: mpsc::Receiver<Read>) -> Outcome {
        while let Some(read) = inbox.recv().await {
            match read {
                Read::Bad(bad) => self.bad(&bad),
                Read::Rows(rows) => match self.store.clone() {
                    None => self.imported.rows += rows.len() as u64,
                    Some(store) => {
                        let mut batch = store.batch(rows);
                        while let Some(step) = batch.next().await {
                            self.count(step?)?;
                        }
                    }
                },
            }
            self.progress.set_message(format!("{} rows", self.imported.rows));
        }
        Ok(())
    }

    fn count(&mut self, step: store::Step) -> Outcome {
        match step {
            store::Step::Stored { new, already_there } => {
                self.imported.rows += new + already_there;
                self.imported.new += new;
                self.imported.already_there += already_there;
                Ok(())
            }
            store::Step::Refused(Refused { line, reason }) if self.keep_going => {
                self.bad(&BadRow { line, reason });
                Ok(())
            }
            store::Step::Refused(Refused { line, reason }) => {
                Err(stop(&self.imported.file, &BadRow { line, reason }))
            }
        }
    }

    fn bad(&mut self, bad: &BadRow) {
        self.imported.rows += 1;
        self.imported.bad += 1;
        let file = &self.imported.file;
        self.progress.suspend(|| note(format_args!("{file}, line {}: {}", bad.line, bad.reason)));
    }
}

/// The end of an import at a row that cannot be stored.
fn stop(file: &str, bad: &BadRow) -> Failure {
    Failure::failed(format_args!(
        "{file}, line {}: {}; the rows before it are done: correct it and import again, or leave bad rows out with --keep-going",
        bad.line, bad.reason
    ))
}

/// The end of an import where the file cannot be read any further.
fn break_off(file: &str, bad: &BadRow) -> Failure {
    Failure::failed(format_args!("{file}, line {}: {}; the rows before it are done", bad.line, bad.reason))
}

impl CsvArgs {
    /// Domain and columns for a CSV file; nothing for another.
    fn columns(self, format: RowFormat) -> Outcome<Option<(Domain, Columns)>> {
        let Self { domain, pid_column, name_column, time_column: time, id_column: id, eid_columns: eids } =
            self;
        match (format, domain, pid_column, name_column) {
            (RowFormat::Csv, Some(domain), Some(pid), Some(name)) => {
                Ok(Some((domain, Columns { pid, name, time, id, eids })))
            }
            (RowFormat::Csv, _, _, _) => {
                Err(Failure::usage("a CSV file needs --domain, --pid-column and --name-column"))
            }
            (RowFormat::Jsonl, None, None, None) if time.is_none() && id.is_none() && eids.is_empty() => {
                Ok(None)
            }
            (RowFormat::Jsonl, _, _, _) => Err(Failure::usage(
                "--domain and the --…-column options are for CSV files; JSON Lines name their fields",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_was_new_and_what_was_there() {
        let mut imported = Imported { rows: 8577, already_there: 8577, ..Imported::default() };
        assert_eq!(imported.for_people(), "8577 rows, 0 new, 8577 already there");
        imported.bad = 2;
        assert_eq!(imported.for_people(), "8577 rows, 0 new, 8577 already there, 2 bad");
    }

    #[test]
    fn csv_files_need_their_columns_and_others_have_none() {
        let none = || CsvArgs {
            domain: None,
            pid_column: None,
            name_column: None,
            time_column: None,
            id_column: None,
            eid_columns: Vec::new(),
        };
        assert!(matches!(none().columns(RowFormat::Csv), Err(Failure::Usage(_))));
        assert!(matches!(none().columns(RowFormat::Jsonl), Ok(None)));
        let time = CsvArgs { time_column: Some("t".to_owned()), ..none() };
        assert!(matches!(time.columns(RowFormat::Jsonl), Err(Failure::Usage(_))));
    }
}
