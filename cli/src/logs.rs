//! Logs on standard error, as text for people or as JSON for collectors.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::failure::{Failure, Outcome};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging what `filter` lets through, for example `info` or `warn,eventflow_hub=debug`.
///
/// # Errors
/// A wrong configuration if the filter is not one.
pub(crate) fn start(filter: &str, format: LogFormat) -> Outcome {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        Failure::configuration(format_args!(
            "the log filter {filter:?} is not one ({error}); use error, warn, info, debug or trace"
        ))
    })?;
    let logs = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => logs.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    // The one way to fail is that there are logs already, which is what was asked for.
    drop(started);
    Ok(())
}
