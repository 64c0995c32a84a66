//! TLS settings of both ends: 1.3 only, both show a certificate, no session is ever resumed.
//!
//! Resumption would skip the check of the client's certificate, so an expired or revoked client
//! could come back; the server keeps no sessions and sends no tickets. Who neither asks for the
//! hub by [`HUB_NAME`] nor speaks [`ALPN`] is turned away before the hub signs anything.
//!
//! A client's handshake may succeed although the server is about to refuse its certificate (the
//! refusal is an alert that comes with the first read), so a link is up only after Welcome.

use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use proto::Timestamp;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

mod enrol;

pub use enrol::{ALPN_ENROL, WrongRoot, enrol_client_config, enrol_server_config, is_wrong_root};
pub use proto::message::ALPN;

use crate::error::CertError;
use crate::key::SecretKey;

/// The name that every hub's certificate bears, wherever the hub runs.
pub const HUB_NAME: &str = "hub.eventflow.internal";

/// The crypto library, the same everywhere in eventflow.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// [`HUB_NAME`] in the form that a TLS connector asks for.
///
/// # Panics
/// Never: the name is a constant.
#[must_use]
pub fn hub_name() -> ServerName<'static> {
    ServerName::try_from(HUB_NAME).expect("the hub's name is a DNS name")
}

/// The settings of a hub: `roots` are what spokes' and hubs' chains must end at.
///
/// # Errors
/// [`CertError::Tls`] if a root is not a certificate or there is none.
pub fn server_config(
    roots: &[CertificateDer<'static>],
    leaf: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, CertError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store(roots)?), provider())
        .build()
        .map_err(|error| CertError::Tls { reason: error.to_string() })?;
    // The version is named because other crates of a build may compile older ones in.
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(leaf);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The settings of a spoke: it shows `chain`, the leaf first, and believes hubs under `roots`.
/// Connect with [`hub_name`].
///
/// # Errors
/// [`CertError::Tls`] if the key is not the chain's, or a root is not a certificate.
pub fn client_config(
    roots: &[CertificateDer<'static>],
    chain: Vec<CertificateDer<'static>>,
    key: &SecretKey,
) -> Result<ClientConfig, CertError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(store(roots)?)
        .with_client_auth_cert(chain, key.to_private_key_der())?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Whether a spoke that trusts `roots` would believe `chain`, the leaf first, to be a hub's.
pub(crate) fn verify_hub(
    roots: &[CertificateDer<'static>],
    chain: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<(), CertError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store(roots)?), provider())
        .build()
        .map_err(|error| CertError::Tls { reason: error.to_string() })?;
    let (leaf, above) = leaf_first(chain)?;
    verifier.verify_server_cert(leaf, above, &hub_name(), &[], moment(now)).map(drop)?;
    Ok(())
}

/// Whether a hub that trusts `roots` would believe `chain`, the leaf first, to be a spoke's.
pub(crate) fn verify_spoke(
    roots: &[CertificateDer<'static>],
    chain: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<(), CertError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store(roots)?), provider())
        .build()
        .map_err(|error| CertError::Tls { reason: error.to_string() })?;
    let (leaf, above) = leaf_first(chain)?;
    verifier.verify_client_cert(leaf, above, moment(now)).map(drop)?;
    Ok(())
}

type Der = CertificateDer<'static>;

fn leaf_first(chain: &[Der]) -> Result<(&Der, &[Der]), CertError> {
    chain.split_first().ok_or_else(|| CertError::Tls { reason: "there is no certificate".to_owned() })
}

fn moment(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(now.since(Timestamp::default()))
}

fn store(roots: &[CertificateDer<'static>]) -> Result<RootCertStore, CertError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    if store.is_empty() {
        return Err(CertError::Tls { reason: "there is no root to trust".to_owned() });
    }
    Ok(store)
}

/// The chain that a hub shows, which can be replaced while connections live: the next handshake
/// shows the new one.
#[derive(Debug)]
pub struct HubCertificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl HubCertificate {
    /// Shows `chain`, the leaf first.
    ///
    /// # Errors
    /// [`CertError::Tls`] if the key is not the leaf's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &SecretKey) -> Result<Self, CertError> {
        Ok(Self { current: RwLock::new(certified(chain, key)?) })
    }

    /// What is shown now.
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows `chain` from now on.
    ///
    /// # Errors
    /// [`CertError::Tls`] if the key is not the leaf's; the former chain is shown on.
    pub fn replace(&self, chain: Vec<CertificateDer<'static>>, key: &SecretKey) -> Result<(), CertError> {
        let next = certified(chain, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl ResolvesServerCert for HubCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The TLS library lets clients in that offer no protocol at all.
        let speaks_eventflow = hello.alpn().is_some_and(|mut offers| offers.any(|offer| offer == ALPN));
        if !speaks_eventflow || hello.server_name() != Some(HUB_NAME) {
            return None;
        }
        Some(self.current())
    }
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &SecretKey) -> Result<Arc<CertifiedKey>, CertError> {
    Ok(Arc::new(CertifiedKey::from_der(chain, key.to_private_key_der(), &provider())?))
}

#[cfg(test)]
mod tests;
