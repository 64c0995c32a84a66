//! The rows of the chain: their making and their reading.

use std::time::Duration;

use super::error::IdentityError;
use super::standing::{AuthorityId, AuthorityKind};
use certs::seal::{Dek, Sealed};
use certs::{Authority, CertificateDer, IssuerRequest, SecretKey};
use db::{AuthorityMark, CertificateRow, SealedKey};
use proto::Timestamp;

/// The word in the columns `role` and `issuer` of what waits to be signed elsewhere.
const REQUEST: &str = "request";

/// How long a request is shown as valid: longer than anybody takes to sign it. It goes with its replacement.
const REQUEST_KEPT: Duration = Duration::from_hours(24 * 3653);

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
    let key = sealed(&text, authority.key(), dek)?;
    let row = row(&text, id.kind.role(), "", &issuer.to_string(), authority.certificate())?;
    Ok(CertificateRow { key: Some(key), ..row })
}

/// The row of a request for an issuer, its key sealed. It counts for nothing.
pub(super) fn request_row(
    id: &str,
    request: &IssuerRequest,
    dek: &Dek,
    now: Timestamp,
) -> Result<CertificateRow, IdentityError> {
    Ok(CertificateRow {
        id: id.to_owned(),
        role: REQUEST.to_owned(),
        service: String::new(),
        fingerprint: certs::fingerprint(&request.csr),
        cert: request.csr.clone(),
        key: Some(sealed(&request_name(id, &request.csr), &request.key, dek)?),
        issuer: REQUEST.to_owned(),
        not_before: now,
        not_after: now.plus(REQUEST_KEPT),
        version: 0,
        revoked: None,
        reason: None,
    })
}

/// What the key of a request is sealed for: this very request, because ids of requests come again.
fn request_name(id: &str, csr: &[u8]) -> String {
    format!("{id}/{}", hex::encode(certs::fingerprint(csr)))
}

/// The key of a request, opened, which is the one that the request is for.
pub(super) fn requested(row: &CertificateRow, dek: &Dek) -> Result<SecretKey, IdentityError> {
    let key = key(row, &request_name(&row.id, &row.cert), dek)?;
    certs::check_request(&row.cert, &key).map_err(|error| bad(row, error.to_string()))?;
    Ok(key)
}

/// What a root is known by whose key is elsewhere: its fingerprint, sealed for its id.
pub(super) fn mark(id: &str, fingerprint: &[u8; 32], dek: &Dek) -> Result<AuthorityMark, IdentityError> {
    let sealed = dek.seal(&mark_name(id), 0, fingerprint)?;
    let sealed = SealedKey { dek_id: dek.id().to_owned(), nonce: sealed.nonce, sealed: sealed.bytes };
    Ok(AuthorityMark { id: id.to_owned(), sealed })
}

fn mark_name(id: &str) -> String {
    format!("mark/{id}")
}

fn sealed(id: &str, key: &SecretKey, dek: &Dek) -> Result<SealedKey, IdentityError> {
    let sealed = dek.seal(id, 0, key.as_pkcs8())?;
    Ok(SealedKey { dek_id: dek.id().to_owned(), nonce: sealed.nonce, sealed: sealed.bytes })
}

/// Whether a row is what was once stored, its key included if that is here. A root whose key is not has to
/// have its mark. A cross-certificate needs none: peers believe it by the root that has signed it.
pub(super) fn check(row: &CertificateRow, marks: &[AuthorityMark], dek: &Dek) -> Result<(), IdentityError> {
    if row.key.is_some() {
        return authority(row, dek).map(drop);
    }
    same_certificate(row)?;
    // By its id, which decides what it counts for; its other columns decide nothing.
    if AuthorityId::parse(&row.id).is_some_and(|id| id.kind == AuthorityKind::Cross) {
        return Ok(());
    }
    let mark = marks.iter().find(|mark| mark.id == row.id);
    let unknown = "its key is not here, and no mark says that it was taken out or imported";
    let mark = mark.ok_or_else(|| bad(row, unknown.to_owned()))?;
    let sealed = Sealed { nonce: mark.sealed.nonce.clone(), bytes: mark.sealed.sealed.clone() };
    let marked = dek.open(&mark_name(&row.id), 0, &sealed).map_err(|error| bad(row, error.to_string()))?;
    if *marked == row.fingerprint {
        return Ok(());
    }
    Err(bad(row, "its mark is another certificate's".to_owned()))
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
    let key = key(row, &row.id, dek)?;
    Authority::new(CertificateDer::from(row.cert.clone()), key).map_err(|error| bad(row, error.to_string()))
}

/// The key of a stored row, opened as the one that was sealed for `name`.
fn key(row: &CertificateRow, name: &str, dek: &Dek) -> Result<SecretKey, IdentityError> {
    same_certificate(row)?;
    let key = row.key.as_ref().ok_or_else(|| bad(row, "its key is missing".to_owned()))?;
    if key.dek_id != dek.id() {
        let reason = format!("its key is sealed under {}, the keyring holds {}", key.dek_id, dek.id());
        return Err(bad(row, reason));
    }
    let sealed = Sealed { nonce: key.nonce.clone(), bytes: key.sealed.clone() };
    let opened = dek.open(name, row.version, &sealed).map_err(|error| bad(row, error.to_string()))?;
    SecretKey::from_pkcs8(opened).map_err(|error| bad(row, error.to_string()))
}

fn bad(row: &CertificateRow, reason: String) -> IdentityError {
    IdentityError::BadRow { id: row.id.clone(), reason }
}
