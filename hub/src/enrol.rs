//! Enrolment without ceremony: a socket in the data folder, for processes of the hub's own user.
//!
//! Who may connect is decided by the system: the kernel says which user the peer runs as, and only
//! the hub's own user and root are answered. They can always be the operator; to be another service
//! there, local enrolment must be on. One request, one answer, each one frame.

mod limits;
mod port;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use proto::access::OPERATOR;
use proto::enrol::{EnrolReply, EnrolRequest};
use proto::limits::ENROLMENT_FRAME_BYTES_MAX;
use proto::{Refusal, ServiceName, wire};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::LocalEnrolment;
use crate::data_folder::{DataFolder, ENROLMENT_SOCKET};
use crate::identity::HubIdentity;

pub(crate) use port::{EnrolmentPort, TokenFault};

/// Enrolments at one time. More wait to be accepted.
const ENROLMENTS_MAX: usize = 16;

/// How long a peer may take to ask, and to take the answer. Then the connection is closed.
const PEER_WITHIN: Duration = Duration::from_secs(2);

/// How long the database may take to store a row. Then the peer is told to try again.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// Pause after a failed accept, which mostly means that the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Longest path of a socket, in bytes: what the system has room for.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Opens the socket in `folder` for a hub that listens at `address`, and says whom it admits. A hub with
/// local enrolment off needs it for operators only, and works on if it cannot be opened.
///
/// # Errors
/// As [`listen`].
pub(crate) fn open(
    folder: &DataFolder,
    local: LocalEnrolment,
    address: SocketAddr,
) -> io::Result<Option<(UnixListener, Admits)>> {
    let admits = if local.is_on(address) { Admits::AllServices } else { Admits::OperatorOnly };
    match (listen(folder), admits) {
        (Ok(socket), admits) => Ok(Some((socket, admits))),
        (Err(error), Admits::AllServices) => Err(error),
        (Err(error), Admits::OperatorOnly) => {
            tracing::error!(%error, "no operator can enrol on this machine: there is no enrolment socket");
            Ok(None)
        }
    }
}

/// Opens the socket in `folder`, for the hub's user only.
///
/// # Errors
/// What the system says; for a path that is too long, what to do about it.
pub(crate) fn listen(folder: &DataFolder) -> io::Result<UnixListener> {
    let path = folder.path(ENROLMENT_SOCKET);
    let bytes = path.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the path of the enrolment socket, {}, has {bytes} bytes, at most {SOCKET_PATH_BYTES_MAX} are \
                 possible; use a data folder with a shorter path",
                path.display()
            ),
        ));
    }
    // Only the holder of the folder's lock comes here, so what is there was left behind.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Which services are issued certificates at the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    /// Every one.
    AllServices,
    /// Only the operator.
    OperatorOnly,
}

/// Answers requests on `listener` until `stop`. `address` is where spokes connect then.
pub(crate) async fn serve(
    listener: UnixListener,
    identity: Arc<HubIdentity>,
    address: String,
    admits: Admits,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut enrolments = JoinSet::new();
    let room = Arc::new(Semaphore::new(ENROLMENTS_MAX));
    let desk = Desk { identity, address: Arc::from(address), admits, clock, own_user: own_user() };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = enrolments.join_next() => {}
            (stream, permit) = accept(&listener, &room) => {
                enrolments.spawn(desk.clone().enrol(stream, permit));
            }
        }
    }
    // An enrolment under way is worth its second or two; the deadlines above bound the wait.
    while enrolments.join_next().await.is_some() {}
}

/// The user that this process runs as, by asking the system about a connection to itself.
fn own_user() -> Option<u32> {
    let (end, _other) = UnixStream::pair().ok()?;
    Some(end.peer_cred().ok()?.uid())
}

/// The next connection, once there is room for it. Cancel safe.
async fn accept(listener: &UnixListener, room: &Arc<Semaphore>) -> (UnixStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "an enrolment connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What an enrolment needs.
#[derive(Clone)]
struct Desk {
    identity: Arc<HubIdentity>,
    address: Arc<str>,
    admits: Admits,
    clock: Clock,
    own_user: Option<u32>,
}

impl Desk {
    async fn enrol(self, stream: UnixStream, _permit: OwnedSemaphorePermit) {
        let user = stream.peer_cred().ok().map(|peer| peer.uid());
        let codec = LengthDelimitedCodec::builder().max_frame_length(ENROLMENT_FRAME_BYTES_MAX).new_codec();
        let mut frames = Framed::new(stream, codec);
        let Ok(Some(Ok(frame))) = timeout(PEER_WITHIN, frames.next()).await else {
            return tracing::debug!(?user, "an enrolment connection asked for nothing that could be read");
        };
        let reply = match self.permitted(user) {
            Ok(()) => self.answer(&frame, user).await,
            Err(refusal) => EnrolReply::Refused(refusal),
        };
        let mut bytes = Vec::new();
        if let Err(error) = wire::encode(&reply, &mut bytes) {
            return tracing::error!(%error, "an enrolment was not answered; report this as a bug");
        }
        // Whoever has gone enrols again; the row of an unused certificate harms nobody.
        timeout(PEER_WITHIN, frames.send(Bytes::from(bytes))).await.ok();
    }

    fn permitted(&self, user: Option<u32>) -> Result<(), Refusal> {
        match user {
            Some(user) if user == 0 || Some(user) == self.own_user => Ok(()),
            Some(_) | None => {
                tracing::warn!(?user, "an enrolment was refused: the peer runs as another user");
                let reason = "only processes of the hub's own user may enrol over its socket".to_owned();
                Err(Refusal::Denied { reason })
            }
        }
    }

    fn admitted(&self, service: &ServiceName) -> Result<(), Refusal> {
        match self.admits {
            Admits::AllServices => Ok(()),
            Admits::OperatorOnly if service.as_str() == OPERATOR => Ok(()),
            Admits::OperatorOnly => Err(Refusal::Denied {
                reason: format!(
                    "local enrolment is off at this hub, so only service {OPERATOR} is issued a certificate at \
                     its socket; enrol {service} with a token (`eventflow token create`), or start the hub with \
                     --local-enrolment true"
                ),
            }),
        }
    }

    async fn answer(&self, frame: &[u8], user: Option<u32>) -> EnrolReply {
        let request: EnrolRequest = match wire::decode(frame) {
            Ok(request) => request,
            Err(error) => return EnrolReply::Refused(Refusal::Invalid { reason: error.to_string() }),
        };
        if let Err(refusal) = self.admitted(&request.service) {
            tracing::warn!(service = %request.service, ?user, %refusal, "an enrolment was refused");
            return EnrolReply::Refused(refusal);
        }
        let issued = self.identity.issue_spoke(&request.csr, &request.service, self.clock.now());
        match timeout(STORED_WITHIN, issued).await {
            Ok(Ok(mut enrolled)) => {
                enrolled.hubs = vec![self.address.to_string()];
                tracing::info!(service = %request.service, ?user, "a spoke has enrolled");
                EnrolReply::Issued(enrolled)
            }
            Ok(Err(error)) => {
                tracing::warn!(service = %request.service, ?user, %error, "an enrolment was refused");
                EnrolReply::Refused(error.to_refusal())
            }
            Err(_) => EnrolReply::Refused(Refusal::Unavailable {
                reason: format!("the certificate was not stored within {STORED_WITHIN:?}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
