//! A peer that says whatever a test wants: raw bytes, raw TLS, raw frames.

use std::path::Path;
use std::sync::Arc;

use certs::SecretKey;
use certs::tls::{client_config, hub_name, provider};
use futures::{SinkExt, StreamExt};
use proto::enrol::{EnrolReply, EnrolRequest, Enrolled};
use proto::message::{HubMessage, PROTOCOL_VERSION, Reply, Request, SpokeMessage};
use proto::{Refusal, RequestId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::events::name;
use crate::within;

/// What a spoke needs to be let in.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    roots: Vec<CertificateDer<'static>>,
    key: SecretKey,
}

impl Credentials {
    /// Enrols `service` over the socket in a hub's data folder.
    pub async fn enrol(data: &Path, service: &str) -> Self {
        let (csr, key) = certs::spoke_request().unwrap();
        let mut request = Vec::new();
        proto::wire::encode(&EnrolRequest { service: name(service), csr }, &mut request).unwrap();
        let socket = UnixStream::connect(data.join("enrol.sock")).await.unwrap();
        let mut frames = Framed::new(socket, LengthDelimitedCodec::new());
        frames.send(tokio_util::bytes::Bytes::from(request)).await.unwrap();
        let answer = within("the enrolment", frames.next()).await.unwrap().unwrap();
        let EnrolReply::Issued(Enrolled { chain, roots, .. }) = proto::wire::decode(&answer).unwrap() else {
            panic!("the hub did not enrol {service}");
        };
        Self { chain: der(chain), roots: der(roots), key }
    }

    /// Renews these over a connection that was made with them.
    ///
    /// # Errors
    /// What the hub says against it.
    pub async fn renewed(&self, peer: &mut Peer) -> Result<Self, Refusal> {
        let (csr, key) = certs::spoke_request().unwrap();
        match peer.ask(Request::Renew { csr }).await? {
            Reply::Renewed(renewed) => Ok(Self { chain: der(renewed.chain), roots: der(renewed.roots), key }),
            other => panic!("expected a certificate, got {other:?}"),
        }
    }

    /// TLS settings as a spoke has them.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        client_config(&self.roots, self.chain.clone(), &self.key).unwrap()
    }

    /// TLS settings of somebody who shows this certificate and believes the hub of `other`.
    #[must_use]
    pub fn config_towards(&self, other: &Self) -> ClientConfig {
        client_config(&other.roots, self.chain.clone(), &self.key).unwrap()
    }

    /// TLS settings of somebody who shows another certificate and believes the same hub.
    #[must_use]
    pub fn with(&self, chain: Vec<CertificateDer<'static>>, key: &SecretKey) -> ClientConfig {
        client_config(&self.roots, chain, key).unwrap()
    }

    /// TLS settings that show no certificate.
    #[must_use]
    pub fn anonymous(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        self.roots.iter().for_each(|root| roots.add(root.clone()).unwrap());
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![proto::message::ALPN.to_vec()];
        config
    }
}

/// A TLS connection that says raw frames.
#[derive(Debug)]
pub struct Peer {
    stream: TlsStream<TcpStream>,
    asked: u64,
}

impl Peer {
    /// Connects to a hub.
    ///
    /// # Errors
    /// What TLS says against it.
    pub async fn connect(address: &str, config: ClientConfig) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        let stream =
            within("a TLS handshake", TlsConnector::from(Arc::new(config)).connect(hub_name(), socket));
        Ok(Self { stream: stream.await?, asked: 0 })
    }

    /// Connects and is welcomed.
    pub async fn welcomed(address: &str, config: ClientConfig) -> Self {
        let mut peer = Self::connect(address, config).await.unwrap();
        peer.say(&hello()).await;
        match peer.hear().await {
            Some(HubMessage::Welcome(_)) => peer,
            other => panic!("expected a Welcome, got {other:?}"),
        }
    }

    /// Sends bytes as they are. A peer that has closed does not hear them.
    pub async fn send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    /// Sends one frame with this payload.
    pub async fn frame(&mut self, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.send(&[&length, payload].concat()).await;
    }

    /// Sends one message.
    pub async fn say(&mut self, message: &SpokeMessage) {
        let mut payload = Vec::new();
        proto::wire::encode(message, &mut payload).unwrap();
        self.frame(&payload).await;
    }

    /// The next message that the hub says; `None` when it has closed.
    pub async fn hear(&mut self) -> Option<HubMessage> {
        let length = within("a message", self.stream.read_u32()).await.ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        within("the rest of a message", self.stream.read_exact(&mut payload)).await.ok()?;
        Some(proto::wire::decode(&payload).unwrap())
    }

    /// Asks for something and waits for the answer, passing over whatever else the hub says.
    ///
    /// # Errors
    /// What the hub says against it.
    pub async fn ask(&mut self, body: Request) -> Result<Reply, Refusal> {
        self.asked += 1;
        let id = RequestId(self.asked);
        self.say(&SpokeMessage::Request { id, body }).await;
        loop {
            match self.hear().await {
                Some(HubMessage::Reply { id: answered, outcome }) if answered == id => return outcome,
                Some(_) => {}
                None => panic!("the hub has closed without an answer"),
            }
        }
    }

    /// Waits until the hub has closed, whatever it says before.
    pub async fn is_closed(mut self) {
        until_closed(&mut self.stream).await;
    }
}

fn der(list: Vec<Vec<u8>>) -> Vec<CertificateDer<'static>> {
    list.into_iter().map(CertificateDer::from).collect()
}

/// The first message of a connection.
#[must_use]
pub fn hello() -> SpokeMessage {
    let (protocol_min, protocol_max) = (PROTOCOL_VERSION, PROTOCOL_VERSION);
    SpokeMessage::Hello(proto::message::Hello { protocol_min, protocol_max, software: "a test".to_owned() })
}

/// Reads until the other end has closed or reset. Returns what it said.
pub async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is as good an end as any.
    drop(within("the other end to close", stream.read_to_end(&mut said)).await);
    said
}
