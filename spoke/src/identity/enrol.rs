//! Asking the hub on this machine for a certificate, through the socket in its data folder.
//!
//! No ceremony: the kernel tells the hub whose process asks. One request, one answer, each one frame
//! with its length before it. The caller sets the deadline.

use std::io;
use std::path::Path;

use certs::CertError;
use proto::enrol::{EnrolReply, EnrolRequest};
use proto::limits::ENROLMENT_FRAME_BYTES_MAX;
use proto::{Refusal, ServiceName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::Identity;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// Nobody answers at the socket.
    #[error("nobody answers at the enrolment socket: {0}")]
    Unreachable(#[from] io::Error),
    /// The hub said no.
    #[error("the hub issued no certificate: {0}")]
    Refused(Refusal),
    /// The hub's answer is none.
    #[error("the hub's answer to the enrolment makes no sense: {0}")]
    Nonsense(String),
    /// No request could be made.
    #[error(transparent)]
    Request(#[from] CertError),
}

/// Makes a key and gets a certificate for it.
///
/// Cancel safe: a certificate that was issued and not received is never used.
pub(crate) async fn enrol(socket: &Path, service: &ServiceName) -> Result<Identity, EnrolError> {
    let (csr, key) = certs::spoke_request()?;
    let mut stream = UnixStream::connect(socket).await?;
    let request = EnrolRequest { service: service.clone(), csr };
    stream.write_all(&frame(&request)?).await?;
    let reply = answer(&mut stream).await?;
    match proto::wire::decode::<EnrolReply>(&reply) {
        Ok(EnrolReply::Issued(enrolled)) => Ok(Identity::issued(key, enrolled)),
        Ok(EnrolReply::Refused(refusal)) => Err(EnrolError::Refused(refusal)),
        Err(error) => Err(EnrolError::Nonsense(error.to_string())),
    }
}

fn frame(request: &EnrolRequest) -> Result<Vec<u8>, EnrolError> {
    let mut message = Vec::new();
    proto::wire::encode(request, &mut message).map_err(|error| EnrolError::Nonsense(error.to_string()))?;
    let length = u32::try_from(message.len()).map_err(|error| EnrolError::Nonsense(error.to_string()))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.append(&mut message);
    Ok(frame)
}

async fn answer(stream: &mut UnixStream) -> Result<Vec<u8>, EnrolError> {
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if length > ENROLMENT_FRAME_BYTES_MAX {
        return Err(EnrolError::Nonsense(format!(
            "it has {length} bytes, at most {ENROLMENT_FRAME_BYTES_MAX} are allowed"
        )));
    }
    let mut reply = vec![0; length];
    stream.read_exact(&mut reply).await?;
    Ok(reply)
}
