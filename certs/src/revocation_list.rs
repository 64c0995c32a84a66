//! Lists of revoked certificates (RFC 5280), for others: hubs themselves look at their tables.

use std::time::Duration;

use proto::Timestamp;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use crate::authority::{Authority, moment};
use crate::error::CertError;
use crate::identity::parsed;

/// How long a list counts. Whoever uses lists fetches a new one well before.
pub const REVOCATION_LIST_LIFETIME: Duration = Duration::from_hours(24);

/// A list of what `issuer` has signed and was revoked, in DER. Each entry is a certificate and since
/// when it does not count; `number` grows from list to list.
///
/// # Errors
/// [`CertError`] if an entry is not a certificate, or the crypto library fails.
pub fn revocation_list(
    issuer: &Authority,
    revoked: &[(CertificateDer<'_>, Timestamp)],
    number: u64,
    now: Timestamp,
) -> Result<Vec<u8>, CertError> {
    let entry = |(certificate, at): &(CertificateDer<'_>, Timestamp)| {
        Ok(RevokedCertParams {
            serial_number: SerialNumber::from_slice(parsed(certificate)?.raw_serial()),
            revocation_time: moment(at.millis())?,
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        })
    };
    let revoked_certs = revoked.iter().map(entry).collect::<Result<_, CertError>>()?;
    let wanted = CertificateRevocationListParams {
        this_update: moment(now.millis())?,
        next_update: moment(now.plus(REVOCATION_LIST_LIFETIME).millis())?,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    issuer.key().signing(|pair| {
        let signer = Issuer::from_ca_cert_der(issuer.certificate(), pair)
            .map_err(CertError::crypto("reading the issuing certificate"))?;
        let list =
            wanted.signed_by(&signer).map_err(CertError::crypto("signing a list of revoked certificates"))?;
        Ok(list.der().to_vec())
    })
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{CertificateRevocationList, FromDer};

    use super::*;
    use crate::scene::{Scene, now};

    #[test]
    fn a_list_names_what_was_revoked_and_is_signed_by_the_issuer() {
        let scene = Scene::new();
        let (leaf, _) = scene.spoke();
        let (other, _) = scene.spoke();
        let der = revocation_list(&scene.spoke_issuer, &[(leaf.clone(), now())], 7, now()).unwrap();
        let (rest, list) = CertificateRevocationList::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let serials: Vec<_> =
            list.iter_revoked_certificates().map(|entry| entry.raw_serial().to_vec()).collect();
        assert_eq!(serials, [parsed(&leaf).unwrap().raw_serial()]);
        assert_ne!(serials, [parsed(&other).unwrap().raw_serial()]);
        assert_eq!(list.crl_number().unwrap().to_u64_digits(), [7]);
        let issuer = parsed(scene.spoke_issuer.certificate()).unwrap();
        assert_eq!(list.issuer().to_string(), issuer.subject().to_string());
        let day = REVOCATION_LIST_LIFETIME.as_secs();
        let span = list.next_update().unwrap().timestamp() - list.last_update().timestamp();
        assert_eq!(u64::try_from(span).unwrap(), day);
    }

    #[test]
    fn an_entry_that_is_no_certificate_is_refused() {
        let scene = Scene::new();
        let garbage = CertificateDer::from(vec![0xff; 8]);
        let list = revocation_list(&scene.spoke_issuer, &[(garbage, now())], 1, now());
        assert!(matches!(list, Err(CertError::NotACertificate { .. })));
    }
}
