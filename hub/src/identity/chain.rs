//! The rows of the chain: their ids, their making, when they are due.

use std::time::Duration;

use certs::seal::{Dek, Sealed};
use certs::{Authority, CertificateDer, SecretKey};
use db::{CertificateRow, SealedKey};
use proto::Timestamp;

use super::error::IdentityError;

/// The row of the root.
pub(super) const ROOT: &str = "root";

/// The row of the issuer of hubs.
pub(super) const HUB_ISSUER: &str = "issuer/hub";

/// The row of the issuer of spokes.
pub(super) const SPOKE_ISSUER: &str = "issuer/spoke";

/// How long before its end an issuer is replaced: long before any leaf would be cut short by it.
const ISSUER_REPLACED_BEFORE: Duration = Duration::from_hours(30 * 24);

/// Whether the issuer `certificate` is to be replaced.
pub(super) fn due(certificate: &[u8], now: Timestamp) -> Result<bool, IdentityError> {
    Ok(certs::not_after(certificate)?.since(now) < ISSUER_REPLACED_BEFORE)
}

/// The row of a certificate whose key is not stored.
pub(super) fn row(
    id: &str,
    role: &str,
    service: &str,
    issuer: &str,
    certificate: &CertificateDer<'_>,
) -> Result<CertificateRow, IdentityError> {
    let validity = certs::validity(certificate)?;
    Ok(CertificateRow {
        id: id.to_owned(),
        role: role.to_owned(),
        service: service.to_owned(),
        fingerprint: certs::fingerprint(certificate),
        cert: certificate.to_vec(),
        key: None,
        issuer: issuer.to_owned(),
        not_before: validity.not_before,
        not_after: validity.not_after,
        version: 0,
        revoked: None,
        reason: None,
    })
}

/// The row of an authority, its key sealed.
pub(super) fn authority_row(
    id: &'static str,
    role: &str,
    issuer: &str,
    authority: &Authority,
    dek: &Dek,
) -> Result<CertificateRow, IdentityError> {
    let sealed = dek.seal(id, 0, authority.key().as_pkcs8())?;
    let key = SealedKey { dek_id: dek.id().to_owned(), nonce: sealed.nonce, sealed: sealed.bytes };
    Ok(CertificateRow { key: Some(key), ..row(id, role, "", issuer, authority.certificate())? })
}

/// The authority of a stored row, its key opened.
pub(super) fn authority(row: CertificateRow, dek: &Dek) -> Result<Authority, IdentityError> {
    let bad = |reason: String| IdentityError::BadRow { id: row.id.clone(), reason };
    if certs::fingerprint(&row.cert) != row.fingerprint {
        return Err(bad("its fingerprint is another certificate's".to_owned()));
    }
    let key = row.key.as_ref().ok_or_else(|| bad("its key is missing".to_owned()))?;
    if key.dek_id != dek.id() {
        return Err(bad(format!("its key is sealed under {}, the keyring holds {}", key.dek_id, dek.id())));
    }
    let sealed = Sealed { nonce: key.nonce.clone(), bytes: key.sealed.clone() };
    let opened = dek.open(&row.id, row.version, &sealed).map_err(|error| bad(error.to_string()))?;
    let key = SecretKey::from_pkcs8(opened).map_err(|error| bad(error.to_string()))?;
    Authority::new(CertificateDer::from(row.cert.clone()), key).map_err(|error| bad(error.to_string()))
}
