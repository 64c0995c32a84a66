//! The command `eventflow`: a hub, and everything that people and scripts do with one.
//!
//! `command` says what there is; each command has a file. Only `output` prints, and `failure` says
//! what a command that did not work ends with.

mod command;

mod bench;
mod daemon;
mod demo;
mod export;
mod import;

mod ask;
mod connect;
mod failure;
mod logs;
mod output;
mod own_hub;
mod parse;
mod place;
mod progress;
mod shown;
mod stop;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use crate::command::Command;
use crate::failure::{Failure, Outcome};
use crate::logs::LogFormat;
use crate::output::{Output, complain};
use crate::place::Place;

/// Events are many small allocations that are made on one thread and freed on another; the system's
/// allocator spends a fifth of the hub's time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An event hub on SQL: stores each event before it says so, delivers it until it is settled.
#[derive(Debug, Parser)]
#[command(name = "eventflow", version, propagate_version = true, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 75 try again later, 78 wrong configuration."
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli, matches: &ArgMatches) -> Outcome {
    let none = ArgMatches::default();
    let matches = matches.subcommand().map_or(&none, |(_, matches)| matches);
    // A hub says in its settings what it logs; the other commands only warn.
    let quiet = match cli.command {
        Command::Hub(_) => None,
        // Its failures are part of the story and told there.
        Command::Demo | Command::Bench(_) | Command::BenchCrowd(_) => Some("error"),
        _ => Some("warn"),
    };
    if let Some(quiet) = quiet {
        let filter = std::env::var("EVENTFLOW_LOG").unwrap_or_else(|_| quiet.to_owned());
        logs::start(&filter, LogFormat::Text)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format_args!("no threads can be started: {error}")))?;
    let mut output = Output::standard(cli.place.format());
    let outcome = runtime.block_on(Box::pin(cli.command.run(matches, &cli.place, &mut output)));
    // What was written before a failure is part of the result, too.
    let flushed = output.flush();
    outcome?;
    flushed
}

/// One processor is left to the writer's thread and to the embedded database: a connection that
/// takes it from them makes everybody wait.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_of_every_command_stand_before_or_after_its_name() {
        for line in [["eventflow", "--json", "demo"], ["eventflow", "demo", "--json"]] {
            assert!(Cli::try_parse_from(line).unwrap().place.json);
        }
    }

    #[test]
    fn no_command_has_an_option_of_its_own_that_hides_one_of_every_command() {
        fn check(command: &clap::Command, taken: &[String]) {
            for own in command.get_arguments() {
                assert!(
                    !taken.contains(&own.get_id().to_string()),
                    "{} {}",
                    command.get_name(),
                    own.get_id()
                );
            }
            command.get_subcommands().for_each(|command| check(command, taken));
        }
        let command = Cli::command();
        let taken: Vec<_> = command.get_arguments().map(|own| own.get_id().to_string()).collect();
        command.get_subcommands().for_each(|command| check(command, &taken));
    }

    #[test]
    fn a_wrong_usage_ends_with_2() {
        let error = Cli::try_parse_from(["eventflow", "publish", "order"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
