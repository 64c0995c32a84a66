//! Where things are: the options that every command has, and what follows from them.

use std::path::PathBuf;

use clap::Args;
use db::DatabaseUrl;
use proto::ServiceName;

use crate::failure::{Failure, Outcome};
use crate::output::Format;

/// The service of commands that are told of none.
pub(crate) const DEFAULT_SERVICE: &str = "eventflow-cli";

/// Options that every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Place {
    /// The data folder: database file, keys, enrolment socket and hub.addr
    /// [default: $XDG_STATE_HOME/eventflow or ~/.local/state/eventflow]
    #[arg(long, global = true, value_name = "DIR", env = "EVENTFLOW_DATA", hide_env_values = true)]
    pub(crate) data: Option<PathBuf>,
    /// The database, for commands that work on it without a hub: sqlite:PATH or
    /// mysql://USER:PASSWORD@HOST:PORT/NAME [default: the SQLite file in the data folder]
    #[arg(long, global = true, value_name = "URL", env = "EVENTFLOW_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<String>,
    /// The hub to talk to [default: what hub.addr in the data folder says]
    #[arg(long, global = true, value_name = "HOST:PORT", env = "EVENTFLOW_HUB", hide_env_values = true)]
    pub(crate) hub: Option<String>,
    /// One JSON object a line in place of what people read; the same fields
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The service to be: it names the publisher and, without --group, the consumer group
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "EVENTFLOW_SERVICE",
        hide_env_values = true,
        default_value = DEFAULT_SERVICE,
        value_parser = ServiceName::parse
    )]
    pub(crate) service: ServiceName,
}

impl Place {
    /// The data folder.
    ///
    /// # Errors
    /// A wrong configuration if none is named and the user has no home.
    pub(crate) fn data(&self) -> Outcome<PathBuf> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        state_folder(std::env::var_os("XDG_STATE_HOME").map(PathBuf::from), std::env::home_dir()).ok_or_else(|| {
            Failure::configuration(
                "no data folder is named and the user has no home; name one with --data DIR or EVENTFLOW_DATA",
            )
        })
    }

    /// The database.
    ///
    /// # Errors
    /// A wrong configuration if the URL is not one.
    pub(crate) fn database(&self) -> Outcome<DatabaseUrl> {
        match &self.database {
            Some(url) => DatabaseUrl::parse(url).map_err(Failure::configuration),
            None => Ok(DatabaseUrl::sqlite(&self.data()?.join("eventflow.db"))),
        }
    }

    /// For whom the output is.
    pub(crate) fn format(&self) -> Format {
        if self.json { Format::Json } else { Format::People }
    }
}

/// The user's folder for our state. A relative `XDG_STATE_HOME` counts as none, as its standard says.
fn state_folder(state: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let ours = |folder: PathBuf| folder.join("eventflow");
    state
        .filter(|folder| folder.is_absolute())
        .or_else(|| home.filter(|home| home.is_absolute()).map(|home| home.join(".local/state")))
        .map(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_follows_the_xdg_rules() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(state_folder(path("/state"), path("/home/ann")), path("/state/eventflow"));
        assert_eq!(state_folder(None, path("/home/ann")), path("/home/ann/.local/state/eventflow"));
        assert_eq!(state_folder(path("state"), path("/home/ann")), path("/home/ann/.local/state/eventflow"));
        assert_eq!(state_folder(None, path("")), None);
    }
}
