//! Asking a hub for a certificate: through the socket in its data folder, or with a token through TLS.
//!
//! At the socket there is no ceremony: the kernel tells the hub whose process asks. A token names the
//! root of its hub, and the handshake fails at any other, before the secret is sent. One request, one
//! answer, each one frame with its length before it. The caller sets the deadline.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use certs::tls::{ALPN_ENROL, enrol_client_config, hub_name, is_wrong_root};
use certs::{CertError, SecretKey};
use proto::enrol::{EnrolReply, EnrolRequest, EnrolToken, TokenEnrolment};
use proto::limits::ENROLMENT_FRAME_BYTES_MAX;
use proto::wire::{self, EncodeError};
use proto::{Refusal, ServiceName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;

use super::Identity;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// Nobody answers there, or not to the end.
    #[error("no answer to the enrolment: {0}")]
    Unreachable(#[from] io::Error),
    /// Who answers has another root than the token names. The secret was not sent.
    #[error("the hub's root is not the one that the token names")]
    WrongRoot,
    /// The hub said no.
    #[error("the hub issued no certificate: {0}")]
    Refused(Refusal),
    /// The hub has too much to do.
    #[error("too many enrol at this hub at once; try again in {0:?}")]
    Busy(Duration),
    /// The hub's answer is none.
    #[error("the hub's answer to the enrolment makes no sense: {0}")]
    Nonsense(String),
    /// No request could be made.
    #[error(transparent)]
    Request(#[from] CertError),
}

/// A certificate that was issued, and where hubs are.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) identity: Identity,
    pub(crate) hubs: Vec<String>,
}

/// Makes a key and gets a certificate for it at the socket of the hub on this machine.
///
/// Cancel safe: a certificate that was issued and not received is never used.
pub(crate) async fn enrol(socket: &Path, service: &ServiceName) -> Result<Identity, EnrolError> {
    let (csr, key) = certs::spoke_request()?;
    let stream = UnixStream::connect(socket).await?;
    let request = EnrolRequest { service: service.clone(), csr };
    let request = frame(|to| wire::encode(&request, to))?;
    Ok(ask(stream, &request, key).await?.identity)
}

/// Makes a key and gets a certificate for it with `token` from the hub at `address`. With `service`, only
/// if the token is for that one.
///
/// Dropping the future may cost a use of the token: a certificate that was not received is never used.
pub(crate) async fn enrol_with_token(
    address: &str,
    token: &EnrolToken,
    service: Option<&ServiceName>,
) -> Result<Issued, EnrolError> {
    let (csr, key) = certs::spoke_request()?;
    let stream = reach(address, token).await?;
    let (id, secret, service) = (token.id, token.secret, service.cloned());
    let request = TokenEnrolment { token: id, secret, service: service.clone(), csr };
    let request = frame(|to| wire::encode(&request, to))?;
    let issued = ask(stream, &request, key).await?;
    match (issued.identity.service(), service) {
        (Some(got), Some(wanted)) if got != wanted => {
            Err(EnrolError::Nonsense(format!("the certificate is for service {got}, not {wanted}")))
        }
        (None, _) => Err(EnrolError::Nonsense("the certificate names no service".to_owned())),
        (Some(_), _) => Ok(issued),
    }
}

/// A connection to the hub whose root the token names.
async fn reach(address: &str, token: &EnrolToken) -> Result<TlsStream<TcpStream>, EnrolError> {
    let config = enrol_client_config(token.root)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let met = TlsConnector::from(Arc::new(config)).connect(hub_name(), stream).await;
    let stream = met.map_err(|error| {
        let reason = error.get_ref().and_then(|reason| reason.downcast_ref::<rustls::Error>());
        if reason.is_some_and(is_wrong_root) { EnrolError::WrongRoot } else { error.into() }
    })?;
    // The secret is for who has agreed to enrol, and for nobody else.
    match stream.get_ref().1.alpn_protocol() {
        Some(agreed) if agreed == ALPN_ENROL => Ok(stream),
        Some(_) | None => Err(EnrolError::Nonsense("it does not enrol at this port".to_owned())),
    }
}

async fn ask<S>(mut stream: S, request: &[u8], key: SecretKey) -> Result<Issued, EnrolError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await?;
    stream.flush().await?;
    let reply = answer(&mut stream).await?;
    match wire::decode::<EnrolReply>(&reply) {
        Ok(EnrolReply::Issued(enrolled)) => {
            let hubs = enrolled.hubs.clone();
            let identity = Identity::issued(key, enrolled);
            // One that cannot be shown must not take the place of one that can.
            identity.client_config().map_err(|error| EnrolError::Nonsense(error.to_string()))?;
            Ok(Issued { identity, hubs })
        }
        Ok(EnrolReply::Refused(refusal)) => Err(EnrolError::Refused(refusal)),
        Ok(EnrolReply::Busy { retry_after_ms }) => {
            Err(EnrolError::Busy(Duration::from_millis(retry_after_ms.into())))
        }
        Err(error) => Err(EnrolError::Nonsense(error.to_string())),
    }
}

/// A frame with what `encode` writes.
fn frame(encode: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>) -> Result<Vec<u8>, EnrolError> {
    let mut message = Vec::new();
    encode(&mut message).map_err(|error| EnrolError::Nonsense(error.to_string()))?;
    let length = u32::try_from(message.len()).map_err(|error| EnrolError::Nonsense(error.to_string()))?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.append(&mut message);
    Ok(frame)
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, EnrolError> {
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

#[cfg(test)]
mod tests {
    use certs::tls::{HubCertificate, enrol_server_config};
    use certs::{IssuerKind, LEAF_LIFETIME};
    use proto::enrol::{TokenId, TokenSecret};
    use proto::{HubId, Timestamp};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// Somebody who would take an enrolment, and notes what is sent.
    struct Recorder {
        address: String,
        root: [u8; 32],
        said: JoinSet<Vec<u8>>,
    }

    /// The time of day, because TLS asks the machine's clock, too.
    fn now() -> Timestamp {
        let since_1970 = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_millis(i64::try_from(since_1970.as_millis()).unwrap()).unwrap()
    }

    impl Recorder {
        async fn start() -> Self {
            let now = now();
            let root = certs::root("recorder", now).unwrap();
            let issuer = certs::intermediate(&root, IssuerKind::Hub, now).unwrap();
            let hub = HubId::parse("1.recorder").unwrap();
            let (leaf, key) = certs::hub_leaf(&issuer, &hub, now, LEAF_LIFETIME).unwrap();
            let shown = HubCertificate::new(vec![leaf, issuer.certificate().clone()], &key).unwrap();
            let root = root.certificate().clone();
            let config = enrol_server_config(Arc::new(shown), vec![root.clone()]).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let mut listening = JoinSet::new();
            listening.spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut said = Vec::new();
                if let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                    let mut some = [0; 1_024];
                    // Until a request is whole, or the other end has gone.
                    while said.len() < 200 {
                        match stream.read(&mut some).await {
                            Ok(0) | Err(_) => break,
                            Ok(read) => said.extend_from_slice(&some[..read]),
                        }
                    }
                }
                said
            });
            Self { address, root: certs::fingerprint(&root), said: listening }
        }
    }

    impl Recorder {
        /// Everything that was said after the handshake.
        async fn said(mut self) -> Vec<u8> {
            self.said.join_next().await.unwrap().unwrap()
        }
    }

    fn token(root: [u8; 32]) -> EnrolToken {
        EnrolToken { id: TokenId(1), secret: TokenSecret([0xa5; 32]), root }
    }

    fn holds_the_secret(said: &[u8]) -> bool {
        said.windows(32).any(|window| window == [0xa5; 32])
    }

    #[tokio::test]
    async fn a_hub_with_another_root_never_gets_a_byte_of_the_request() {
        let recorder = Recorder::start().await;
        let refused = enrol_with_token(&recorder.address, &token([1; 32]), None).await;
        assert!(matches!(refused, Err(EnrolError::WrongRoot)), "{refused:?}");
        assert_eq!(recorder.said().await, b"");
    }

    #[tokio::test]
    async fn the_hub_that_the_token_names_gets_the_request() {
        let recorder = Recorder::start().await;
        let token = token(recorder.root);
        let asked = enrol_with_token(&recorder.address, &token, None);
        // It closes without an answer once it has the request.
        assert!(matches!(asked.await, Err(EnrolError::Unreachable(_))));
        assert!(holds_the_secret(&recorder.said().await));
    }

    #[tokio::test]
    async fn an_answer_that_is_longer_than_allowed_is_not_read() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_u32(u32::MAX).await.unwrap();
        assert!(matches!(answer(&mut near).await, Err(EnrolError::Nonsense(_))));
    }
}
