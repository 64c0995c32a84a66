//! The rows of the chain: their making and their reading.

use super::error::IdentityError;
use super::standing::AuthorityId;
use certs::seal::{Dek, Sealed};
use certs::{Authority, CertificateDer, SecretKey};
use db::{CertificateRow, SealedKey};

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
    id: AuthorityId,
    issuer: AuthorityId,
    authority: &Authority,
    dek: &Dek,
) -> Result<CertificateRow, IdentityError> {
    let text = id.to_string();
    let sealed = dek.seal(&text, 0, authority.key().as_pkcs8())?;
    let key = SealedKey { dek_id: dek.id().to_owned(), nonce: sealed.nonce, sealed: sealed.bytes };
    let row = row(&text, id.kind.role(), "", &issuer.to_string(), authority.certificate())?;
    Ok(CertificateRow { key: Some(key), ..row })
}

/// Whether a row is what was once stored, its key included if that is here.
pub(super) fn check(row: &CertificateRow, dek: &Dek) -> Result<(), IdentityError> {
    if row.key.is_some() {
        return authority(row, dek).map(drop);
    }
    same_certificate(row)
}

fn same_certificate(row: &CertificateRow) -> Result<(), IdentityError> {
    if certs::fingerprint(&row.cert) == row.fingerprint {
        return Ok(());
    }
    let reason = "its fingerprint is another certificate's".to_owned();
    Err(IdentityError::BadRow { id: row.id.clone(), reason })
}

/// The authority of a stored row, its key opened.
pub(super) fn authority(row: &CertificateRow, dek: &Dek) -> Result<Authority, IdentityError> {
    let bad = |reason: String| IdentityError::BadRow { id: row.id.clone(), reason };
    same_certificate(row)?;
    let key = row.key.as_ref().ok_or_else(|| bad("its key is missing".to_owned()))?;
    if key.dek_id != dek.id() {
        return Err(bad(format!("its key is sealed under {}, the keyring holds {}", key.dek_id, dek.id())));
    }
    let sealed = Sealed { nonce: key.nonce.clone(), bytes: key.sealed.clone() };
    let opened = dek.open(&row.id, row.version, &sealed).map_err(|error| bad(error.to_string()))?;
    let key = SecretKey::from_pkcs8(opened).map_err(|error| bad(error.to_string()))?;
    Authority::new(CertificateDer::from(row.cert.clone()), key).map_err(|error| bad(error.to_string()))
}
