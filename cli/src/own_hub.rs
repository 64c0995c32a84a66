//! A hub inside of this process, for `demo` and `bench`. Spokes reach it like any other hub: over
//! TLS, with certificates that it issues.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hub::{HubConfig, HubError, Ready, Stopped};
use proto::ServiceName;
use spoke::{Spoke, SpokeOptions};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Outcome};

/// A running hub. Dropping it ends it as a crash would.
pub(crate) struct OwnHub {
    ready: Ready,
    data: PathBuf,
    stop: CancellationToken,
    task: JoinSet<Result<Stopped, HubError>>,
}

impl OwnHub {
    /// Starts a hub and waits until it can be reached.
    ///
    /// # Errors
    /// What kept the hub from starting.
    pub(crate) async fn start(config: HubConfig) -> Outcome<Self> {
        let data = config.data.clone();
        let stop = CancellationToken::new();
        let (ready, started) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(hub::run(config, ready, stop.clone()));
        match started.await {
            Ok(ready) => Ok(Self { ready, data, stop, task }),
            Err(_) => Err(ended(task.join_next().await)),
        }
    }

    /// Where spokes connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.ready.address
    }

    /// Where health and metrics are served.
    pub(crate) fn health(&self) -> Option<SocketAddr> {
        self.ready.health
    }

    /// The data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Options for a service to connect with.
    pub(crate) fn options(&self, service: &str) -> Outcome<SpokeOptions> {
        let service = ServiceName::parse(service).map_err(Failure::failed)?;
        Ok(SpokeOptions::new(service, &self.data).hub(self.ready.address.to_string()))
    }

    /// Connects a service.
    pub(crate) async fn connect(&self, service: &str) -> Outcome<Spoke> {
        Ok(Spoke::connect(self.options(service)?).await?)
    }

    /// Stops the hub and waits until it has.
    ///
    /// # Errors
    /// What it ended with, if it did not end well.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.stop.cancel();
        match self.task.join_next().await {
            Some(Ok(Ok(_))) => Ok(()),
            other => Err(ended(other)),
        }
    }
}

fn ended(end: Option<Result<Result<Stopped, HubError>, tokio::task::JoinError>>) -> Failure {
    match end {
        Some(Ok(Err(error))) => Failure::with_code(error.exit_code(), error),
        Some(Err(panic)) => Failure::failed(format_args!("the hub broke off: {panic}")),
        Some(Ok(Ok(_))) | None => Failure::failed("the hub ended before it could be reached"),
    }
}
