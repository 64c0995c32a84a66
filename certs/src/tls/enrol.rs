//! TLS settings of an enrolment: the hub shows its chain with the root, the spoke shows nothing yet and
//! believes nobody but the root whose SHA-256 its token names.
//!
//! The check is part of the handshake, so a spoke that reaches somebody else never sends its secret.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

pub use proto::message::ALPN_ENROL;

use super::{HUB_NAME, HubCertificate, provider, store};
use crate::error::CertError;
use crate::identity::fingerprint;

/// The hub's chain does not end at the root that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hub's chain does not hold the root that the token names")]
pub struct WrongRoot;

/// The settings of a hub for peers that have no certificate yet. It shows what `shown` shows, and `roots`
/// after it, so that a peer that knows only a root's SHA-256 finds it there.
///
/// # Errors
/// [`CertError::Tls`] if the TLS library takes none of it.
pub fn enrol_server_config(
    shown: Arc<HubCertificate>,
    roots: Vec<CertificateDer<'static>>,
) -> Result<ServerConfig, CertError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(WithRoots { shown, roots }));
    config.alpn_protocols = vec![ALPN_ENROL.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The settings of a spoke that enrols with a token: it believes a hub under the root whose SHA-256 is
/// `root`, and shows nothing. Connect with [`super::hub_name`].
///
/// # Errors
/// [`CertError::Tls`] if the TLS library takes none of it.
pub fn enrol_client_config(root: [u8; 32]) -> Result<ClientConfig, CertError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { root }))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_ENROL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Whether `error` says that the hub's root is another one.
#[must_use]
pub fn is_wrong_root(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            reason.downcast_ref::<WrongRoot>().is_some()
        }
        _ => false,
    }
}

/// The chain that a hub shows, and the roots behind it.
#[derive(Debug)]
struct WithRoots {
    shown: Arc<HubCertificate>,
    roots: Vec<CertificateDer<'static>>,
}

impl ResolvesServerCert for WithRoots {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let enrols = hello.alpn().is_some_and(|mut offers| offers.any(|offer| offer == ALPN_ENROL));
        if !enrols || hello.server_name() != Some(HUB_NAME) {
            return None;
        }
        let current = self.shown.current();
        let chain = current.cert.iter().chain(&self.roots).cloned().collect();
        Some(Arc::new(CertifiedKey::new(chain, Arc::clone(&current.key))))
    }
}

/// Believes a chain that ends at one root, of which only the SHA-256 is known before.
#[derive(Debug)]
struct Pinned {
    root: [u8; 32],
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let wrong = || CertificateError::Other(OtherError(Arc::new(WrongRoot)));
        let root = intermediates.iter().find(|shown| fingerprint(shown) == self.root).ok_or_else(wrong)?;
        // Names, dates and uses are checked as they are when the root is known: by the same code.
        let unusable = |error: CertError| rustls::Error::General(error.to_string());
        let roots = store(&[root.clone().into_owned()]).map_err(unusable)?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{At, handshake};
    use super::*;
    use crate::leaf::{LEAF_LIFETIME, hub_leaf};
    use crate::scene::{Chain, Scene, now};
    use crate::tls::hub_name;

    fn hub((chain, key): Chain, root: &CertificateDer<'static>) -> Arc<ServerConfig> {
        let shown = Arc::new(HubCertificate::new(chain, &key).unwrap());
        let mut config = enrol_server_config(shown, vec![root.clone()]).unwrap();
        config.time_provider = Arc::new(At(now()));
        Arc::new(config)
    }

    fn spoke(root: &CertificateDer<'static>) -> ClientConfig {
        let mut config = enrol_client_config(fingerprint(root)).unwrap();
        config.time_provider = Arc::new(At(now()));
        config
    }

    fn refused(client: ClientConfig, server: &Arc<ServerConfig>) -> rustls::Error {
        match handshake(&Arc::new(client), server, hub_name()) {
            Ok(_) => panic!("they have met"),
            Err(error) => error,
        }
    }

    #[test]
    fn a_spoke_that_knows_only_the_roots_digest_meets_its_hub() {
        let scene = Scene::new();
        let root = scene.root.certificate();
        let server = hub(scene.hub_chain(), root);
        let (client, _) = handshake(&Arc::new(spoke(root)), &server, hub_name()).unwrap();
        assert_eq!(client.alpn_protocol(), Some(ALPN_ENROL));
        assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }

    #[test]
    fn a_hub_under_another_root_is_named_as_such() {
        let (ours, theirs) = (Scene::new(), Scene::new());
        let server = hub(theirs.hub_chain(), theirs.root.certificate());
        assert!(is_wrong_root(&refused(spoke(ours.root.certificate()), &server)));
        assert!(!is_wrong_root(&rustls::Error::General(String::new())));
    }

    #[test]
    fn who_only_shows_the_right_root_behind_a_chain_of_its_own_is_not_believed() {
        let (ours, theirs) = (Scene::new(), Scene::new());
        let root = ours.root.certificate();
        let server = hub(theirs.hub_chain(), root);
        let error = refused(spoke(root), &server);
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    }

    #[test]
    fn the_issuer_of_spokes_can_make_no_hub_to_enrol_at() {
        let scene = Scene::new();
        let root = scene.root.certificate();
        let id = proto::HubId::parse("1.ROGUE").unwrap();
        let (leaf, key) = hub_leaf(&scene.spoke_issuer, &id, now(), LEAF_LIFETIME).unwrap();
        let rogue = (vec![leaf, scene.spoke_issuer.certificate().clone()], key);
        let error = refused(spoke(root), &hub(rogue, root)).to_string();
        assert!(error.contains("does not allow extended key usage for server"), "{error}");
    }

    #[test]
    fn a_hub_whose_time_is_over_is_not_believed() {
        let scene = Scene::new();
        let root = scene.root.certificate();
        let mut late = spoke(root);
        late.time_provider = Arc::new(At(now().plus(LEAF_LIFETIME * 2)));
        let error = refused(late, &hub(scene.hub_chain(), root)).to_string();
        assert!(error.contains("expired"), "{error}");
    }

    #[test]
    fn who_asks_for_another_protocol_or_host_is_turned_away_before_anything_is_signed() {
        let scene = Scene::new();
        let root = scene.root.certificate();
        let server = hub(scene.hub_chain(), root);
        for protocols in [vec![], vec![b"eventflow/1".to_vec()], vec![b"h2".to_vec()]] {
            let mut other = spoke(root);
            other.alpn_protocols = protocols;
            refused(other, &server);
        }
        let elsewhere = ServerName::try_from("localhost").unwrap();
        assert!(handshake(&Arc::new(spoke(root)), &server, elsewhere).is_err());
    }
}
