//! `log`, `state` and `ls`: what is stored, read a page at a time.

use clap::Args;
use futures::{Stream, StreamExt, TryStreamExt};
use proto::{Domain, EventName, Pid, Timestamp};
use serde::Serialize;
use serde_json::Value;
use spoke::RequestError;

use crate::connect::connect;
use crate::failure::Outcome;
use crate::output::{Output, Shown};
use crate::place::Place;

/// Which events of a process.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The kind of process
    domain: Domain,
    /// The process
    pid: Pid,
    /// Only events of this name; may repeat
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<EventName>,
    /// Only events that happened at this time or later
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from_time: Option<Timestamp>,
    /// Only events that happened at this time or before
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    until_time: Option<Timestamp>,
}

/// Which process.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// The kind of process
    domain: Domain,
    /// The process
    pid: Pid,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The domain whose pids to list; without it, the domains are listed
    domain: Option<Domain>,
}

/// A name in a list.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Listed {
    Domain(Domain),
    Pid(Pid),
}

impl Shown for Listed {
    fn for_people(&self) -> String {
        match self {
            Self::Domain(domain) => domain.to_string(),
            Self::Pid(pid) => pid.to_string(),
        }
    }
}

/// The folded state of a process.
#[derive(Serialize)]
#[serde(transparent)]
struct State(Value);

impl Shown for State {
    fn for_people(&self) -> String {
        format!("{:#}", self.0)
    }
}

/// Prints the events of a process, in order.
pub(crate) async fn log(args: LogArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    let eventlog = spoke.eventlog(&args.domain, &args.pid).names(args.names);
    show_all(eventlog.between(args.from_time, args.until_time).events(), "there are no such events", output)
        .await
}

/// Prints what the events of a process amount to.
pub(crate) async fn state(args: StateArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    output.show(&State(spoke.state(&args.domain, &args.pid).await?))
}

/// Prints domains, or the pids of one.
pub(crate) async fn list(args: ListArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    match args.domain {
        Some(domain) => {
            let pids = spoke.pids(&domain).map_ok(Listed::Pid);
            show_all(pids, "there is no event of this domain", output).await
        }
        None => show_all(spoke.domains().map_ok(Listed::Domain), "there are no events yet", output).await,
    }
}

/// Shows what comes, page by page, or tells people that there is nothing.
async fn show_all<T: Shown>(
    records: impl Stream<Item = Result<T, RequestError>>,
    none: &str,
    output: &mut Output,
) -> Outcome {
    let mut records = std::pin::pin!(records);
    let mut some = false;
    while let Some(record) = records.next().await {
        output.show(&record?)?;
        some = true;
    }
    if some { Ok(()) } else { output.say(none) }
}
