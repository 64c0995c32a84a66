//! Whose a certificate is and how long it lasts, read from its bytes.
//!
//! The identity is the one URI among the alternative names: `spiffe://<trust domain>/hub/<id>` or
//! `spiffe://<trust domain>/spoke/<service>/<instance>`. It says who the peer claims to be in a
//! certificate that TLS has verified; who it is, the row with the [`fingerprint`] says.

use proto::Timestamp;
use rcgen::{DistinguishedName, DnType, DnValue};
use sha2::{Digest, Sha256};
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::error::CertError;

/// What kind of peer a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A hub.
    Hub,
    /// A spoke.
    Spoke,
}

impl Role {
    /// The role's word in URIs and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Spoke => "spoke",
        }
    }
}

/// Whose a leaf is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Hub or spoke.
    pub role: Role,
    /// The service; `hub` for a hub.
    pub service: String,
    /// The instance of the service; the hub id for a hub.
    pub instance: String,
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before it.
    pub not_before: Timestamp,
    /// Not after it.
    pub not_after: Timestamp,
}

/// SHA-256 of the whole certificate: what a row is found by.
#[must_use]
pub fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Whose the leaf `der` is.
///
/// # Errors
/// [`CertError::NotACertificate`] or, if it does not name exactly one peer, [`CertError::NoIdentity`].
pub fn identity(der: &[u8]) -> Result<Identity, CertError> {
    let uri = only_uri(der)?;
    let odd = || CertError::NoIdentity { reason: format!("its URI is {:?}", shortened(&uri)) };
    let path = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or_else(odd)?.1;
    let parts: Vec<&str> = path.split('/').collect();
    if parts.iter().any(|part| crate::authority::fit("the URI", part).is_err()) {
        return Err(odd());
    }
    let owned = |text: &str| text.to_owned();
    match parts.as_slice() {
        ["hub", id] => Ok(Identity { role: Role::Hub, service: owned("hub"), instance: owned(id) }),
        ["spoke", service, instance] => {
            Ok(Identity { role: Role::Spoke, service: owned(service), instance: owned(instance) })
        }
        _ => Err(odd()),
    }
}

/// The trust domain that the authority `der` issues for.
///
/// # Errors
/// [`CertError::NotACertificate`] or [`CertError::NoIdentity`].
pub fn trust_domain(der: &[u8]) -> Result<String, CertError> {
    let uri = only_uri(der)?;
    match uri.strip_prefix("spiffe://") {
        Some(domain) if !domain.contains('/') => Ok(domain.to_owned()),
        _ => Err(CertError::NoIdentity { reason: format!("its URI is {:?}", shortened(&uri)) }),
    }
}

/// When the certificate `der` ends.
///
/// # Errors
/// [`CertError::NotACertificate`].
pub fn not_after(der: &[u8]) -> Result<Timestamp, CertError> {
    Ok(validity(der)?.not_after)
}

/// From when to when the certificate `der` is valid.
///
/// # Errors
/// [`CertError::NotACertificate`].
pub fn validity(der: &[u8]) -> Result<Validity, CertError> {
    let certificate = parsed(der)?;
    let millis = |at: x509_parser::time::ASN1Time| {
        Timestamp::from_millis(at.timestamp().saturating_mul(1000))
            .map_err(|error| CertError::NotACertificate { reason: error.to_string() })
    };
    let validity = certificate.validity();
    Ok(Validity { not_before: millis(validity.not_before)?, not_after: millis(validity.not_after)? })
}

/// The URI of a peer in a trust domain.
pub(crate) fn uri(trust_domain: &str, role: Role, path: &[&str]) -> String {
    format!("spiffe://{trust_domain}/{}/{}", role.as_str(), path.join("/"))
}

/// The certificate, if `der` is one and nothing else.
pub(crate) fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, CertError> {
    let (rest, certificate) = X509Certificate::from_der(der)
        .map_err(|error| CertError::NotACertificate { reason: error.to_string() })?;
    if rest.is_empty() {
        Ok(certificate)
    } else {
        Err(CertError::NotACertificate { reason: format!("{} bytes follow it", rest.len()) })
    }
}

/// The subject, for a certificate of the same name.
///
/// # Errors
/// [`CertError::Unfit`] if a part of it has a type that is not written here.
pub(crate) fn subject(certificate: &X509Certificate<'_>) -> Result<DistinguishedName, CertError> {
    let mut name = DistinguishedName::new();
    for part in certificate.subject().iter_attributes() {
        let oid: Vec<u64> = part.attr_type().iter().map(Iterator::collect).unwrap_or_default();
        let odd = || {
            let reason = format!("a part of its name ({}) is of another type than text", part.attr_type());
            CertError::Unfit { what: "the root", reason }
        };
        let text = part.as_str().map_err(|_| odd())?;
        let value = match part.attr_value().tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into().map_err(|_| odd())?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().map_err(|_| odd())?),
            _ => return Err(odd()),
        };
        name.push(DnType::from_oid(&oid), value);
    }
    Ok(name)
}

fn only_uri(der: &[u8]) -> Result<String, CertError> {
    let certificate = parsed(der)?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertError::NotACertificate { reason: error.to_string() })?
        .ok_or_else(|| CertError::NoIdentity { reason: "it has no alternative names".to_owned() })?;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        // The library's names; only URIs say who a peer is.
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Ok(uri.to_owned()),
        (None, _) => Err(CertError::NoIdentity { reason: "it has no URI".to_owned() }),
        (Some(_), Some(_)) => Err(CertError::NoIdentity { reason: "it has several URIs".to_owned() }),
    }
}

fn shortened(uri: &str) -> String {
    uri.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::uri as uri_name;
    use crate::key::SecretKey;
    use crate::scene::{Scene, now};
    use std::time::Duration;

    /// A certificate from our own issuer with these URIs.
    fn with_uris(uris: &[&str]) -> Vec<u8> {
        let scene = Scene::new();
        let mut wanted = rcgen::CertificateParams::default();
        wanted.subject_alt_names = uris.iter().map(|uri| uri_name((*uri).to_owned()).unwrap()).collect();
        let key = SecretKey::generate().unwrap();
        let made = key.signing(|pair| scene.spoke_issuer.issue(wanted, pair, now(), Duration::from_secs(60)));
        made.unwrap().to_vec()
    }

    #[test]
    fn exactly_one_uri_is_believed() {
        let good = "spiffe://acme/spoke/billing/i-1";
        assert!(identity(&with_uris(&[good])).is_ok());
        assert!(matches!(identity(&with_uris(&[])), Err(CertError::NoIdentity { .. })));
        assert!(matches!(identity(&with_uris(&[good, good])), Err(CertError::NoIdentity { .. })));
    }

    #[test]
    fn other_uris_name_nobody() {
        for odd in [
            "https://acme/spoke/billing/i-1",
            "spiffe://acme",
            "spiffe://acme/admin/billing/i-1",
            "spiffe://acme/spoke/billing",
            "spiffe://acme/spoke/billing/i-1/more",
            "spiffe://acme/spoke//i-1",
            "spiffe://acme/spoke/bil%6cing/i-1",
        ] {
            assert!(matches!(identity(&with_uris(&[odd])), Err(CertError::NoIdentity { .. })), "{odd}");
        }
    }

    #[test]
    fn bytes_after_the_certificate_are_refused() {
        let (leaf, _) = Scene::new().spoke();
        let mut longer = leaf.to_vec();
        longer.push(0);
        assert!(matches!(identity(&longer), Err(CertError::NotACertificate { .. })));
        assert!(matches!(not_after(&longer), Err(CertError::NotACertificate { .. })));
    }

    proptest::proptest! {
        #[test]
        fn bytes_from_a_peer_never_panic(bytes: Vec<u8>) {
            let _ = identity(&bytes);
        }

        #[test]
        fn a_damaged_certificate_never_panics(at: proptest::sample::Index, value: u8) {
            let (leaf, _) = Scene::new().spoke();
            let mut bytes = leaf.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = identity(&bytes);
            let _ = validity(&bytes);
        }
    }
}
