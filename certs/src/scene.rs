//! What the tests of this crate start from: a root, its issuers, a hub and a spoke.

use proto::{HubId, ServiceName, Timestamp};

use crate::authority::{Authority, IssuerKind, intermediate, root};
use crate::key::SecretKey;
use crate::leaf::{LEAF_LIFETIME, hub_leaf, spoke_leaf};
use crate::request::spoke_request;

/// A fixed moment, also for the TLS clocks of the tests.
pub(crate) fn now() -> Timestamp {
    Timestamp::parse("2031-03-04T05:06:07.000Z").unwrap()
}

pub(crate) fn service() -> ServiceName {
    ServiceName::parse("billing").unwrap()
}

/// A certificate chain and the key of its leaf.
pub(crate) type Chain = (Vec<rustls::pki_types::CertificateDer<'static>>, SecretKey);

pub(crate) struct Scene {
    pub(crate) root: Authority,
    pub(crate) hub_issuer: Authority,
    pub(crate) spoke_issuer: Authority,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let root = root("acme.internal", now()).unwrap();
        let hub_issuer = intermediate(&root, IssuerKind::Hub, now()).unwrap();
        let spoke_issuer = intermediate(&root, IssuerKind::Spoke, now()).unwrap();
        Self { root, hub_issuer, spoke_issuer }
    }

    /// A hub's leaf and its key.
    pub(crate) fn hub(&self) -> (rustls::pki_types::CertificateDer<'static>, SecretKey) {
        hub_leaf(&self.hub_issuer, &HubId::parse("1.HUB").unwrap(), now(), LEAF_LIFETIME).unwrap()
    }

    /// A spoke's leaf and its key.
    pub(crate) fn spoke(&self) -> (rustls::pki_types::CertificateDer<'static>, SecretKey) {
        let (csr, key) = spoke_request().unwrap();
        let leaf = spoke_leaf(&self.spoke_issuer, &csr, &service(), "i-1", now(), LEAF_LIFETIME).unwrap();
        (leaf, key)
    }

    pub(crate) fn hub_chain(&self) -> Chain {
        let (leaf, key) = self.hub();
        (vec![leaf, self.hub_issuer.certificate().clone()], key)
    }

    pub(crate) fn spoke_chain(&self) -> Chain {
        let (leaf, key) = self.spoke();
        (vec![leaf, self.spoke_issuer.certificate().clone()], key)
    }
}
