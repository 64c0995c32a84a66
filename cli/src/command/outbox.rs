//! `outbox ls`, `outbox retry` and `outbox discard`: what services handed over through the database and
//! what is not in the log, without a hub.
//!
//! Whoever may use these commands has the database's password, so nobody else is asked. Each change
//! leaves a line in the journal.

use clap::{Args, Subcommand};
use db::{Database, Outbox, OutboxRow, OutboxRows};
use proto::Timestamp;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::{Output, Row, Shown};
use crate::place::Place;

/// Rows of one page, and of one change.
const PAGE: u32 = 500;

/// What to do with the outbox.
#[derive(Debug, Subcommand)]
pub(crate) enum OutboxArgs {
    /// The rows that wait and those that failed, as a table
    Ls {
        /// Only those that failed
        #[arg(long)]
        failed: bool,
    },
    /// Let failed rows be tried again
    Retry(Chosen),
    /// Take failed rows away for good: their events will never be in the log
    Discard(Chosen),
}

/// Which failed rows.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Chosen {
    /// Numbers of rows, as `outbox ls` shows them
    #[arg(value_name = "ROW", allow_negative_numbers = true)]
    rows: Vec<i64>,
    /// All that have failed
    #[arg(long)]
    all_failed: bool,
}

/// What is done with failed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    Retry,
    Discard,
}

/// A row of the outbox.
#[derive(Debug, Serialize)]
struct Listed {
    row: i64,
    state: &'static str,
    id: String,
    publisher: String,
    domain: String,
    pid: String,
    name: String,
    bytes: u64,
    created: Timestamp,
    failed: Option<Timestamp>,
    reason: Option<String>,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] =
        &["#row", "state", "since", "id", "publisher", "domain", "pid", "name", "#bytes", "reason"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.row.to_string(),
            self.state.to_owned(),
            self.failed.unwrap_or(self.created).to_string(),
            plain(&self.id),
            plain(&self.publisher),
            plain(&self.domain),
            plain(&self.pid),
            plain(&self.name),
            self.bytes.to_string(),
            plain(self.reason.as_deref().unwrap_or_default()),
        ]
    }
}

impl From<OutboxRow> for Listed {
    fn from(row: OutboxRow) -> Self {
        let (failed, reason) = row.failed.unzip();
        Self {
            row: row.row,
            state: if failed.is_some() { "failed" } else { "waiting" },
            id: row.id,
            publisher: row.publisher,
            domain: row.domain,
            pid: row.pid,
            name: row.name,
            bytes: row.bytes,
            created: row.created,
            failed,
            reason,
        }
    }
}

/// A text that somebody wrote, on one line of a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What was done.
#[derive(Debug, Serialize)]
struct Acted {
    act: Act,
    rows: u64,
}

impl Shown for Acted {
    fn for_people(&self) -> String {
        match self.act {
            Act::Retry => format!("{} rows will be tried again", self.rows),
            Act::Discard => format!("{} rows are discarded", self.rows),
        }
    }
}

/// Does one of them.
pub(crate) async fn run(args: OutboxArgs, place: &Place, output: &mut Output) -> Outcome {
    let database = Database::open(&place.database()?).await?;
    database.check_schema().await?;
    let outcome = match args {
        OutboxArgs::Ls { failed } => {
            list(&database.outbox(), if failed { OutboxRows::Failed } else { OutboxRows::All }, output).await
        }
        OutboxArgs::Retry(chosen) => act(&database, Act::Retry, chosen, output).await,
        OutboxArgs::Discard(chosen) => act(&database, Act::Discard, chosen, output).await,
    };
    database.close().await;
    outcome
}

async fn list(outbox: &Outbox, rows: OutboxRows, output: &mut Output) -> Outcome {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = outbox.page(rows, after, PAGE).await.map_err(Failure::failed)?;
        let Some(last) = page.last() else { break };
        after = Some(last.row);
        listed.extend(page.into_iter().map(Listed::from));
    }
    output.table(&listed, "there are no such rows")
}

async fn act(database: &Database, act: Act, chosen: Chosen, output: &mut Output) -> Outcome {
    let outbox = database.outbox();
    let mut acted = Acted { act, rows: 0 };
    if chosen.all_failed {
        let mut after = None;
        loop {
            let page = outbox.page(OutboxRows::Failed, after, PAGE).await.map_err(Failure::failed)?;
            let Some(last) = page.last() else { break };
            after = Some(last.row);
            let rows: Vec<i64> = page.iter().map(|row| row.row).collect();
            acted.rows += change(database, act, &rows).await?;
        }
    } else {
        for row in &chosen.rows {
            if change(database, act, std::slice::from_ref(row)).await? == 0 {
                return Err(Failure::failed(format_args!(
                    "row {row} of the outbox has not failed, or is not there; see outbox ls --failed"
                )));
            }
            acted.rows += 1;
        }
    }
    output.show(&acted)
}

/// Changes failed rows, and writes down who did it.
async fn change(database: &Database, act: Act, rows: &[i64]) -> Outcome<u64> {
    let outbox = database.outbox();
    let (changed, what) = match act {
        Act::Retry => (outbox.retry(rows).await, "to be tried again"),
        Act::Discard => (outbox.discard(rows).await, "discarded"),
    };
    let changed = changed.map_err(Failure::failed)?;
    if changed > 0 {
        let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
        let (first, last) = (rows.first().copied().unwrap_or(0), rows.last().copied().unwrap_or(0));
        let message = format!("{changed} failed rows of the outbox, from {first} to {last}: {what}");
        let agent = format!("eventflow outbox ({user})");
        database.journal().write(&agent, &message, None).await.map_err(Failure::failed)?;
    }
    Ok(changed)
}
