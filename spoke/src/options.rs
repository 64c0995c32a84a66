//! What a spoke needs to know before it connects: who it is, where its hub is, how long to wait.
//!
//! Every setting has a default; what a setting does when it is too small or too large is said at it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::enrol::EnrolToken;
use proto::{NameError, ServiceName};

use crate::identity::TokenSource;

/// Events that may be unanswered before `publish` waits.
const WINDOW_EVENTS: usize = 1_024;

/// Bytes of events that may be unanswered before `publish` waits.
const WINDOW_BYTES: usize = 8 << 20;

/// Why options cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// The service name is not one.
    #[error(transparent)]
    Service(#[from] NameError),
    /// No data folder was named and the user has no home folder.
    #[error(
        "no data folder: neither EVENTFLOW_DATA nor XDG_STATE_HOME nor HOME is set; set EVENTFLOW_DATA to the hub's data folder"
    )]
    NoDataFolder,
}

/// How a spoke connects and how long it waits.
///
/// ```
/// use std::time::Duration;
/// use eventflow_spoke::SpokeOptions;
///
/// let options = SpokeOptions::local("billing")?
///     .data("/var/lib/eventflow")
///     .request_timeout(Duration::from_secs(5));
/// assert_eq!(options.service().as_str(), "billing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SpokeOptions {
    pub(crate) service: ServiceName,
    pub(crate) data: PathBuf,
    pub(crate) hub: Option<String>,
    pub(crate) token: TokenSource,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) dial_timeout: Duration,
    pub(crate) window_events: usize,
    pub(crate) window_bytes: usize,
    pub(crate) software: String,
}

impl SpokeOptions {
    /// Options for a hub on this machine: its data folder is `EVENTFLOW_DATA`, else `eventflow` in
    /// the user's state folder.
    ///
    /// # Errors
    /// [`OptionsError`] if `service` is not a service name or there is no such folder.
    pub fn local(service: &str) -> Result<Self, OptionsError> {
        let service = ServiceName::parse(service)?;
        let data = default_data_folder().ok_or(OptionsError::NoDataFolder)?;
        Ok(Self::new(service, data))
    }

    /// Options for the hub whose data folder is `data`.
    #[must_use]
    pub fn new(service: ServiceName, data: impl Into<PathBuf>) -> Self {
        Self {
            service,
            data: data.into(),
            hub: None,
            token: TokenSource::Environment,
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(5),
            window_events: WINDOW_EVENTS,
            window_bytes: WINDOW_BYTES,
            software: concat!("eventflow-spoke ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The data folder: identities are kept in it, and `hub.addr` and `enrol.sock` are looked for there.
    #[must_use]
    pub fn data(self, folder: impl Into<PathBuf>) -> Self {
        Self { data: folder.into(), ..self }
    }

    /// The hub's `host:port`, in place of the data folder's `hub.addr` and of where the hub that issued the
    /// identity said that it is.
    #[must_use]
    pub fn hub(self, address: impl Into<String>) -> Self {
        Self { hub: Some(address.into()), ..self }
    }

    /// The enrolment token to use if there is neither an identity in the data folder nor a hub on this
    /// machine that gives one. By default it is looked for in `EVENTFLOW_ENROLL_TOKEN`, or in the file that
    /// `EVENTFLOW_ENROLL_TOKEN_FILE` names.
    #[must_use]
    pub fn enrol_token(self, token: EnrolToken) -> Self {
        Self { token: TokenSource::Given(token), ..self }
    }

    /// The file with the enrolment token. It is read only when the token is needed, and may be gone later.
    #[must_use]
    pub fn enrol_token_file(self, path: impl Into<PathBuf>) -> Self {
        Self { token: TokenSource::File(path.into()), ..self }
    }

    /// How long a request may take, its wait for the window and for a reconnect included. Default 30 s.
    #[must_use]
    pub fn request_timeout(self, timeout: Duration) -> Self {
        Self { request_timeout: timeout, ..self }
    }

    /// How long `connect` tries when there should be a hub but none answers. Default 10 s.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// How long one try may take: TCP, TLS, Hello and Welcome together. Default 5 s.
    #[must_use]
    pub fn dial_timeout(self, timeout: Duration) -> Self {
        Self { dial_timeout: timeout, ..self }
    }

    /// How many events may be unanswered before `publish` waits; at least 1. Default 1,024.
    ///
    /// More than the hub takes from one connection gains nothing: it stops reading then.
    #[must_use]
    pub fn publish_window(self, events: usize) -> Self {
        Self { window_events: events.clamp(1, 1 << 20), ..self }
    }

    /// How many bytes of events may be unanswered before `publish` waits. Default 8 MiB.
    ///
    /// An event that is larger than the whole window waits until it is empty.
    #[must_use]
    pub fn publish_window_bytes(self, bytes: usize) -> Self {
        Self { window_bytes: bytes.clamp(1, 1 << 30), ..self }
    }

    /// What the hub's logs call this program; cut to 64 characters.
    #[must_use]
    pub fn software(self, name: &str) -> Self {
        Self { software: name.chars().filter(|c| !c.is_control()).take(64).collect(), ..self }
    }

    /// The service that this spoke is a member of.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The data folder.
    #[must_use]
    pub fn data_folder(&self) -> &Path {
        &self.data
    }
}

/// Where a hub on this machine keeps its data: `EVENTFLOW_DATA`, else `eventflow` in
/// `XDG_STATE_HOME`, else in `HOME`'s `.local/state`.
#[must_use]
pub fn default_data_folder() -> Option<PathBuf> {
    data_folder(|variable| std::env::var_os(variable))
}

fn data_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("EVENTFLOW_DATA")
        // The XDG rules tell to ignore a relative path.
        .or_else(|| {
            set("XDG_STATE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("eventflow"))
        })
        .or_else(|| set("HOME").map(|path| path.join(".local/state/eventflow")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(set: &[(&str, &str)]) -> Option<PathBuf> {
        data_folder(|wanted| set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_data_folder_is_the_named_one_then_the_state_folder_then_below_home() {
        let all = [("EVENTFLOW_DATA", "d"), ("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
        assert_eq!(folder(&all), Some("d".into()));
        assert_eq!(folder(&all[1..]), Some("/s/eventflow".into()));
        assert_eq!(folder(&all[2..]), Some("/h/.local/state/eventflow".into()));
        assert_eq!(folder(&[]), None);
    }

    #[test]
    fn an_empty_variable_and_a_relative_state_folder_do_not_count() {
        let set = [("EVENTFLOW_DATA", ""), ("XDG_STATE_HOME", "s"), ("HOME", "/h")];
        assert_eq!(folder(&set), Some("/h/.local/state/eventflow".into()));
    }

    #[test]
    fn a_window_is_never_empty() {
        let service = ServiceName::parse("billing").unwrap();
        let options = SpokeOptions::new(service, "d").publish_window(0).publish_window_bytes(0);
        assert_eq!((options.window_events, options.window_bytes), (1, 1));
    }

    #[test]
    fn a_service_that_is_no_name_is_refused() {
        assert!(matches!(SpokeOptions::local("Billing!"), Err(OptionsError::Service(_))));
    }
}
