//! A peer without a certificate: it enrols with a token, properly or not, from any loopback address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use certs::tls::{enrol_client_config, hub_name};
use proto::enrol::{EnrolReply, EnrolToken, TokenEnrolment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::within;

/// A TLS connection to a hub's enrolment, on which nothing was said.
#[derive(Debug)]
pub struct Stranger {
    stream: TlsStream<TcpStream>,
}

impl Stranger {
    /// Connects to the hub that `token` names.
    ///
    /// # Errors
    /// What TLS says against it.
    pub async fn connect(address: &str, token: &EnrolToken) -> std::io::Result<Self> {
        Self::connect_from(Ipv4Addr::LOCALHOST, address, token).await
    }

    /// Connects from a loopback address of one's own.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_from(from: Ipv4Addr, address: &str, token: &EnrolToken) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        let stream = socket.connect(address.parse().unwrap()).await?;
        let connector = TlsConnector::from(Arc::new(enrol_client_config(token.root).unwrap()));
        let stream = within("a TLS handshake", connector.connect(hub_name(), stream)).await?;
        Ok(Self { stream })
    }

    /// Sends one frame with this payload, and hears the answer; `None` if the hub closes without one.
    pub async fn ask(mut self, payload: &[u8]) -> Option<EnrolReply> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        drop(self.stream.write_all(&[&length, payload].concat()).await);
        drop(self.stream.flush().await);
        let length = within("an answer", self.stream.read_u32()).await.ok()?;
        let mut answer = vec![0; usize::try_from(length).unwrap()];
        within("the rest of an answer", self.stream.read_exact(&mut answer)).await.ok()?;
        Some(proto::wire::decode(&answer).unwrap())
    }

    /// Asks for a certificate for `csr` with `token`.
    pub async fn enrol(self, token: &EnrolToken, csr: Vec<u8>) -> Option<EnrolReply> {
        let request = TokenEnrolment { token: token.id, secret: token.secret, service: None, csr };
        let mut payload = Vec::new();
        proto::wire::encode(&request, &mut payload).unwrap();
        self.ask(&payload).await
    }
}
