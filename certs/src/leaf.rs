//! Leaves: what hubs and spokes show each other.
//!
//! Everything in a leaf is decided here. Of a request only the public key is taken.

use std::time::Duration;

use proto::{HubId, ServiceName, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    string::Ia5String,
};
use rustls::pki_types::CertificateDer;

use crate::authority::{Authority, fit, uri};
use crate::error::CertError;
use crate::identity::{self, Role};
use crate::key::SecretKey;
use crate::request;
use crate::tls::HUB_NAME;

/// How long a leaf lives.
pub const LEAF_LIFETIME: Duration = Duration::from_hours(24);

/// The attribute `UID` of a subject (RFC 4519).
const UID: &[u64] = &[0, 9, 2342, 19_200_300, 100, 1, 1];

/// A leaf for `hub` and its key: for servers and clients, under the name that all hubs share.
///
/// # Errors
/// [`CertError`] if the id cannot stand in a certificate, the issuer has ended or the crypto
/// library fails.
pub fn hub_leaf(
    issuer: &Authority,
    hub: &HubId,
    now: Timestamp,
    lifetime: Duration,
) -> Result<(CertificateDer<'static>, SecretKey), CertError> {
    let id = fit("the hub id", hub.as_str())?;
    let trust_domain = identity::trust_domain(issuer.certificate())?;
    let mut wanted = leaf_params("eventflow hub", id);
    let dns = Ia5String::try_from(HUB_NAME).map_err(CertError::crypto("writing the hub's name"))?;
    wanted.subject_alt_names =
        vec![SanType::DnsName(dns), uri(identity::uri(&trust_domain, Role::Hub, &[id]))?];
    wanted.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = SecretKey::generate()?;
    let certificate = key.signing(|pair| issuer.issue(wanted, pair, now, lifetime))?;
    Ok((certificate, key))
}

/// A leaf for one instance of `service`, for the public key of the request `csr`: for clients only.
///
/// # Errors
/// [`CertError::Request`] if the request is not one for a key that is taken, and as [`hub_leaf`].
pub fn spoke_leaf(
    issuer: &Authority,
    csr: &[u8],
    service: &ServiceName,
    instance: &str,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateDer<'static>, CertError> {
    let public = request::public_key(csr)?;
    let service = fit("the service name", service.as_str())?;
    let instance = fit("the instance", instance)?;
    let trust_domain = identity::trust_domain(issuer.certificate())?;
    let mut wanted = leaf_params("eventflow spoke", service);
    wanted.subject_alt_names = vec![uri(identity::uri(&trust_domain, Role::Spoke, &[service, instance]))?];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issuer.issue(wanted, &public, now, lifetime)
}

fn leaf_params(common_name: &str, uid: &str) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, common_name);
    // Common names end at 64 characters, ids at 128.
    wanted.distinguished_name.push(DnType::from_oid(UID), uid);
    wanted.is_ca = IsCa::ExplicitNoCa;
    wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, identity, validity};
    use crate::scene::{Scene, now, service};

    #[test]
    fn a_leaf_names_its_hub_or_its_spoke() {
        let scene = Scene::new();
        let (hub, _) = scene.hub();
        let (spoke, _) = scene.spoke();
        let hub_is = Identity { role: Role::Hub, service: "hub".to_owned(), instance: "1.HUB".to_owned() };
        let spoke_is =
            Identity { role: Role::Spoke, service: "billing".to_owned(), instance: "i-1".to_owned() };
        assert_eq!(identity(&hub), Ok(hub_is));
        assert_eq!(identity(&spoke), Ok(spoke_is));
    }

    #[test]
    fn a_leaf_lives_for_its_lifetime_from_ten_minutes_ago() {
        let (leaf, _) = Scene::new().spoke();
        let validity = validity(&leaf).unwrap();
        assert_eq!(validity.not_after.millis() - validity.not_before.millis(), (24 * 60 + 10) * 60_000);
    }

    #[test]
    fn a_short_lived_leaf_is_backdated_by_a_tenth_of_its_life() {
        let scene = Scene::new();
        let (csr, _) = request::spoke_request().unwrap();
        let life = Duration::from_secs(20);
        let leaf = spoke_leaf(&scene.spoke_issuer, &csr, &service(), "i-1", now(), life).unwrap();
        let validity = validity(&leaf).unwrap();
        assert_eq!(validity.not_after.millis() - validity.not_before.millis(), 22_000);
    }

    #[test]
    fn ids_that_would_change_the_uri_are_refused() {
        let scene = Scene::new();
        let hub = HubId::parse("1/../spoke/billing").unwrap();
        assert!(matches!(
            hub_leaf(&scene.hub_issuer, &hub, now(), LEAF_LIFETIME),
            Err(CertError::Name { .. })
        ));
        let (csr, _) = request::spoke_request().unwrap();
        let issued = spoke_leaf(&scene.spoke_issuer, &csr, &service(), "a/b", now(), LEAF_LIFETIME);
        assert!(matches!(issued, Err(CertError::Name { .. })));
    }

    #[test]
    fn two_leaves_for_one_key_have_different_serials_and_fingerprints() {
        let scene = Scene::new();
        let (csr, _) = request::spoke_request().unwrap();
        let issue =
            || spoke_leaf(&scene.spoke_issuer, &csr, &service(), "i-1", now(), LEAF_LIFETIME).unwrap();
        assert_ne!(crate::fingerprint(&issue()), crate::fingerprint(&issue()));
    }
}
