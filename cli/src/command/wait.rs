//! `wait`: the outcome of a process, whether it has happened already or comes yet.

use std::time::Duration;

use clap::Args;
use proto::{Domain, EventName, Pid, Position};

use crate::connect::connect;
use crate::failure::Outcome;
use crate::output::Output;
use crate::parse;
use crate::place::Place;

/// What to wait for.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct WaitArgs {
    /// The kind of process
    domain: Domain,
    /// The process
    pid: Pid,
    /// An event of this name; may repeat. Without it, `success` or `failed`
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<EventName>,
    /// How long; at most a day
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse::seconds)]
    timeout: Duration,
    /// Only an event after this position of the log
    #[arg(long, value_name = "POSITION", default_value = "0", value_parser = position)]
    since: Position,
}

const AFTER_HELP: &str = "\
It prints the first such event of the process, also if it happened long ago, and ends with 0. If there is none \
in time, it ends with 75.";

fn position(text: &str) -> Result<Position, String> {
    text.parse().map(Position).map_err(|_| "it is not a position: a whole number from 0".to_owned())
}

/// Prints the event that was waited for.
pub(crate) async fn run(args: WaitArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    let mut wait = spoke.wait(&args.domain, &args.pid).within(args.timeout).since(args.since);
    if !args.names.is_empty() {
        wait = wait.names(args.names);
    }
    output.show(&wait.await?)
}
