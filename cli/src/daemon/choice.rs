//! One value for each setting, out of four places, and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::Row;

/// Largest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A setting as it was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Chosen {
    setting: &'static str,
    value: String,
    from: String,
}

impl Row for Chosen {
    const COLUMNS: &'static [&'static str] = &["setting", "value", "from"];

    fn cells(&self) -> Vec<String> {
        vec![self.setting.to_owned(), self.value.clone(), self.from.clone()]
    }
}

/// Where values come from, and what was chosen so far.
pub(super) struct Choice<'a> {
    matches: &'a ArgMatches,
    file: Option<SettingsFile>,
    chosen: Vec<Chosen>,
}

/// How a setting is read from a file's text and shown again.
pub(super) struct Reading<T> {
    pub(super) parse: fn(&str) -> Result<T, String>,
    pub(super) show: fn(&T) -> String,
}

impl<'a> Choice<'a> {
    /// Choices between the command line and environment behind `matches`, and `file`.
    ///
    /// # Errors
    /// A wrong configuration if the file cannot be read.
    pub(super) fn new(matches: &'a ArgMatches, file: Option<&Path>) -> Outcome<Self> {
        Ok(Self { matches, file: file.map(SettingsFile::read).transpose()?, chosen: Vec::new() })
    }

    /// The value of `setting`: `given` if an option or the environment gave it, else the file's,
    /// else `default`.
    ///
    /// # Errors
    /// A wrong configuration if the file's value is none.
    pub(super) fn choose<T>(
        &mut self,
        setting: &'static str,
        given: Option<T>,
        default: impl FnOnce() -> Outcome<T>,
        reading: &Reading<T>,
    ) -> Outcome<T> {
        // It is looked up in any case, so that what is left in the file at the end is unknown.
        let in_file = match &mut self.file {
            Some(file) => file.take(setting)?.map(|text| (text, file.path.clone())),
            None => None,
        };
        let (value, from) = match (given, in_file) {
            (Some(value), _) => (value, self.given_by(setting)),
            (None, Some((text, path))) => {
                let value = (reading.parse)(&text).map_err(|reason| {
                    Failure::configuration(format_args!("{}: {setting} = {text:?}: {reason}", path.display()))
                })?;
                (value, format!("file {}", path.display()))
            }
            (None, None) => (default()?, "default".to_owned()),
        };
        self.chosen.push(Chosen { setting, value: (reading.show)(&value), from });
        Ok(value)
    }

    /// Everything that was chosen, in order.
    ///
    /// # Errors
    /// A wrong configuration if the file has settings that there are not.
    pub(super) fn done(self) -> Outcome<Vec<Chosen>> {
        match self.file.as_ref().and_then(|file| Some((file, file.values.keys().next()?))) {
            None => Ok(self.chosen),
            Some((file, unknown)) => {
                let known: Vec<&str> = self.chosen.iter().map(|chosen| chosen.setting).collect();
                Err(Failure::configuration(format_args!(
                    "{}: there is no setting {unknown:?}; there are {}",
                    file.path.display(),
                    known.join(", ")
                )))
            }
        }
    }

    fn given_by(&self, setting: &str) -> String {
        let id = setting.replace('-', "_");
        match self.matches.try_contains_id(&id).ok().and_then(|_| self.matches.value_source(&id)) {
            Some(ValueSource::EnvVariable) => format!("environment {}", variable(setting)),
            Some(_) | None => format!("option --{setting}"),
        }
    }
}

/// The environment variable of a setting.
fn variable(setting: &str) -> String {
    match setting {
        "passphrase-file" => hub::PASSPHRASE_FILE_VARIABLE.to_owned(),
        other => format!("EVENTFLOW_{}", other.replace('-', "_").to_uppercase()),
    }
}

/// A TOML file of settings, one `name = value` each.
struct SettingsFile {
    path: PathBuf,
    values: toml::Table,
}

impl SettingsFile {
    fn read(path: &Path) -> Outcome<Self> {
        let wrong = |reason: &dyn fmt::Display| {
            Failure::configuration(format_args!("the settings file {}: {reason}", path.display()))
        };
        let bytes = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(wrong(&format_args!("it has {bytes} bytes, which is too large to be one")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let values = text.parse().map_err(|error: toml::de::Error| wrong(&error.message()))?;
        Ok(Self { path: path.to_owned(), values })
    }

    /// Takes a setting out, as the text that an option would have.
    fn take(&mut self, setting: &str) -> Outcome<Option<String>> {
        match self.values.remove(setting) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(toml::Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(toml::Value::Float(number)) => Ok(Some(number.to_string())),
            Some(toml::Value::Boolean(flag)) => Ok(Some(flag.to_string())),
            Some(toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_)) => {
                Err(Failure::configuration(format_args!(
                    "{}: {setting} must be a text, a number, or true or false",
                    self.path.display()
                )))
            }
        }
    }
}
