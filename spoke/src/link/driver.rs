//! The task that owns the session and the socket.

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Command, LinkState};
use crate::error::ConnectError;
use crate::options::SpokeOptions;

pub(super) struct Driver {}

impl Driver {
    pub(super) fn new(
        _options: SpokeOptions,
        _commands: mpsc::Receiver<Command>,
        _stop: CancellationToken,
        _first: oneshot::Sender<Result<watch::Receiver<LinkState>, ConnectError>>,
    ) -> Self {
        Self {}
    }

    pub(super) async fn run(self) {}
}
