//! A hub in a process of its own, as people run it: what it uses is its own, and nobody who measures
//! shares a runtime with it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use proto::ServiceName;
use serde::Deserialize;
use spoke::SpokeOptions;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use super::{commits, process};
use crate::failure::{Failure, Outcome};

/// A hub that can be reached. Dropping it kills it.
pub(super) struct HubProcess {
    child: Child,
    _lines: BufReader<ChildStdout>,
    address: String,
    health: String,
    data: PathBuf,
}

#[derive(Deserialize)]
struct Said {
    address: String,
    health: String,
}

impl HubProcess {
    /// Starts a hub with these settings beside the usual ones, and waits until it can be reached.
    pub(super) async fn start(data: &Path, database: &str, settings: &[&str]) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let mut child = Command::new(program)
            .args(["hub", "--json", "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0", "--log", "warn"])
            .args(settings)
            .env("EVENTFLOW_DATA", data)
            .env("EVENTFLOW_DATABASE", database)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::failed(format_args!("the hub cannot be started: {error}")))?;
        let stdout = child.stdout.take().ok_or_else(|| Failure::failed("the hub says nothing"))?;
        let (mut lines, mut line) = (BufReader::new(stdout), String::new());
        lines.read_line(&mut line).await.map_err(Failure::failed)?;
        let said: Said = serde_json::from_str(&line)
            .map_err(|error| Failure::failed(format_args!("the hub did not start ({error}): {line}")))?;
        Ok(Self { child, _lines: lines, address: said.address, health: said.health, data: data.to_owned() })
    }

    /// Where spokes connect.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Its data folder.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Options for a service to connect with.
    pub(super) fn options(&self, service: &str) -> Outcome<SpokeOptions> {
        let service = ServiceName::parse(service).map_err(Failure::failed)?;
        Ok(SpokeOptions::new(service, &self.data).hub(self.address.clone()))
    }

    /// The value of one of its metrics.
    pub(super) async fn metric(&self, name: &str) -> Outcome<f64> {
        let address = self.health.parse().map_err(Failure::failed)?;
        Ok(commits::value(&commits::page(address).await?, name))
    }

    /// A size of `/proc/PID/status`, in MiB; 0 where it cannot be read.
    pub(super) fn memory_mib(&self, field: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id().unwrap_or_default());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        kib.unwrap_or_default() / 1024.0
    }

    /// Seconds of processor time that all of its threads have used; 0 where it cannot be read.
    pub(super) fn processor_seconds(&self) -> f64 {
        process::processor_seconds_of(self.child.id().unwrap_or_default())
    }

    /// Ends it.
    pub(super) async fn stop(mut self) {
        // Nothing of it is used any more, so it may end as in a crash.
        let _ended = self.child.kill().await;
    }
}
