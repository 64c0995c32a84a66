//! Requests for a certificate: the spoke's half, and what the hub takes from one.
//!
//! The hub takes the public key and that the asker holds its private half. Whatever else a request
//! wishes for (to be an authority, other names, other uses) is not read.

use rcgen::{CertificateParams, CertificateSigningRequestParams, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateSigningRequestDer;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use crate::error::CertError;
use crate::key::SecretKey;

/// Longest request, in bytes. Longer is refused before it is parsed.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// A new key and the request for a certificate for it, in DER. The key stays with the asker.
///
/// # Errors
/// [`CertError::Crypto`] if the crypto library fails.
pub fn spoke_request() -> Result<(Vec<u8>, SecretKey), CertError> {
    let key = SecretKey::generate()?;
    let csr = key.signing(|pair| {
        let request = CertificateParams::default()
            .serialize_request(pair)
            .map_err(CertError::crypto("signing a request"))?;
        Ok(request.der().to_vec())
    })?;
    Ok((csr, key))
}

/// The public key of the request `csr`, whose holder has signed it.
pub(crate) fn public_key(csr: &[u8]) -> Result<SubjectPublicKeyInfo, CertError> {
    let refused = |reason: String| CertError::Request { reason };
    if csr.len() > REQUEST_BYTES_MAX {
        return Err(refused(format!("it has {} bytes, at most {REQUEST_BYTES_MAX} are read", csr.len())));
    }
    let (rest, request) =
        X509CertificationRequest::from_der(csr).map_err(|error| refused(error.to_string()))?;
    if !rest.is_empty() {
        return Err(refused(format!("{} bytes follow it", rest.len())));
    }
    let public = &request.certification_request_info.subject_pki;
    match public.parsed() {
        Ok(PublicKey::EC(point)) if matches!(point.key_size(), 256 | 384) => {}
        _ => return Err(refused("its key is not ECDSA P-256 or P-384".to_owned())),
    }
    // Parsed a second time because this is what checks the signature.
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
        .map_err(|error| refused(error.to_string()))?;
    // The key is taken from its own algorithm identifier: rcgen's parsed request would take the
    // curve from the signature's.
    SubjectPublicKeyInfo::from_der(public.raw).map_err(|error| refused(error.to_string()))
}

/// The common name that the request `csr` asks for, and the trust domain of its one URI.
pub(crate) fn common_name_and_trust_domain(csr: &[u8]) -> Result<(String, String), CertError> {
    let refused = |reason: &str| CertError::Request { reason: reason.to_owned() };
    let (_, request) =
        X509CertificationRequest::from_der(csr).map_err(|error| refused(&error.to_string()))?;
    let subject = &request.certification_request_info.subject;
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok());
    let name = name.ok_or_else(|| refused("it has no common name"))?.to_owned();
    let names = request.requested_extensions().into_iter().flatten().find_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let domain = names.into_iter().flatten().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://"),
        _ => None,
    });
    Ok((name, domain.ok_or_else(|| refused("it names no trust domain"))?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::{LEAF_LIFETIME, spoke_leaf};
    use crate::scene::{Scene, now, service};
    use rcgen::{
        BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
        PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm,
    };

    fn issue(csr: &[u8]) -> Result<Vec<u8>, CertError> {
        let scene = Scene::new();
        spoke_leaf(&scene.spoke_issuer, csr, &service(), "i-1", now(), LEAF_LIFETIME).map(|der| der.to_vec())
    }

    fn plain(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_request_to_be_an_authority_with_foreign_names_gets_neither() {
        let mut wishes = CertificateParams::new(vec!["hub.eventflow.internal".to_owned()]).unwrap();
        wishes.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wishes.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        wishes.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let csr = wishes.serialize_request(&key).unwrap();
        let leaf = issue(csr.der()).unwrap();
        let leaf = crate::identity::parsed(&leaf).unwrap();
        assert!(!leaf.is_ca());
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1);
        let uses = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(uses.client_auth && !uses.server_auth);
        assert!(!leaf.key_usage().unwrap().unwrap().value.key_cert_sign());
    }

    #[test]
    fn only_ecdsa_p256_and_p384_keys_are_taken() {
        assert!(issue(&plain(&PKCS_ECDSA_P384_SHA384)).is_ok());
        for other in [&PKCS_ED25519, &PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P521_SHA512] {
            assert!(matches!(issue(&plain(other)), Err(CertError::Request { .. })));
        }
    }

    #[test]
    fn a_p384_key_keeps_its_curve() {
        let leaf = issue(&plain(&PKCS_ECDSA_P384_SHA384)).unwrap();
        let public = crate::identity::parsed(&leaf).unwrap().public_key().parsed().unwrap().key_size();
        assert_eq!(public, 384);
    }

    #[test]
    fn a_request_whose_signature_is_not_by_its_key_is_refused() {
        let (mut csr, _) = spoke_request().unwrap();
        let last = csr.len() - 1;
        csr[last] ^= 1;
        assert!(matches!(issue(&csr), Err(CertError::Request { .. })));
    }

    #[test]
    fn garbage_trailing_bytes_and_long_requests_are_refused() {
        let (csr, _) = spoke_request().unwrap();
        let longer = [csr.as_slice(), &[0]].concat();
        for bad in [vec![], vec![0xff; 64], longer, vec![0x30; REQUEST_BYTES_MAX + 1]] {
            assert!(matches!(issue(&bad), Err(CertError::Request { .. })));
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_from_a_peer_never_panic(bytes: Vec<u8>) {
            assert!(public_key(&bytes).is_err());
        }
    }
}
