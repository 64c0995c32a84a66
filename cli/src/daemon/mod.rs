//! `hub`: a hub with settings from the command line, the environment and a file.
//!
//! For each setting the first of these that says something wins: option, environment variable,
//! file, default. `--print-config` shows what came of it and where it came from.

mod args;
mod choice;
mod memory;

use clap::ArgMatches;
use hub::Ready;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::failure::{Failure, Outcome};
use crate::logs;
use crate::output::{Output, Shown, note};
use crate::place::Place;
use crate::stop;

pub(crate) use args::HubArgs;

/// A hub that can be reached.
#[derive(Debug, Serialize)]
struct Listening {
    hub: String,
    address: String,
    health: Option<String>,
}

impl Shown for Listening {
    fn for_people(&self) -> String {
        let Self { hub, address, health } = self;
        let health = health.as_ref().map(|at| format!(", health on http://{at}/ready")).unwrap_or_default();
        format!("hub {hub} listens on {address}{health}")
    }
}

/// Runs a hub until a signal comes, or prints what it would run with.
pub(crate) async fn run(args: HubArgs, matches: &ArgMatches, place: &Place, output: &mut Output) -> Outcome {
    let print_config = args.print_config;
    let settings = args.settle(matches, place)?;
    if print_config {
        return output.table(&settings.chosen, "there are no settings");
    }
    logs::start(&settings.log, settings.log_format)?;
    memory::keep_private();
    let mut tasks = JoinSet::new();
    let stop = stop::on_signal(&mut tasks)?;
    let (ready, started) = oneshot::channel::<Ready>();
    let announce = async {
        if let Ok(ready) = started.await {
            let listening = Listening {
                hub: ready.hub.to_string(),
                address: ready.address.to_string(),
                health: ready.health.map(|address| address.to_string()),
            };
            // A hub that nobody reads goes on all the same: hub.addr says it, too.
            let _ = output.show(&listening).and_then(|()| output.flush());
        }
    };
    let (stopped, ()) = tokio::join!(hub::run(settings.config, ready, stop), announce);
    match stopped {
        Ok(stopped) => {
            if stopped.unanswered > 0 {
                note(format_args!(
                    "stopped; {} deliveries were not answered in time and come again after the next start",
                    stopped.unanswered
                ));
            }
            Ok(())
        }
        Err(error) => Err(Failure::with_code(error.exit_code(), error)),
    }
}
