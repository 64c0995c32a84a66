//! Certificates and the keyring that seals their keys, as rows. What they mean is `certs`'s matter.
//!
//! An id has one active certificate, version 0. Revoking moves it to the next version above and so
//! frees the id. Whoever makes a certificate persists it and believes the answer: of several hubs
//! that start at once, one gets `true` and the others read what it has stored.

use proto::Timestamp;
use proto::limits::PAGE_EVENTS_MAX;
use sqlx::Error;

use crate::connection::Transaction;
use crate::database::Database;
use crate::failure::{self, Failure};
use crate::keyrings::Keyrings;
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};
use crate::tokens::Tokens;

pub(crate) const INSERT: Statement = Statement::each(
    include_str!("../../sql/sqlite/certificate/insert.sql"),
    include_str!("../../sql/mysql/certificate/insert.sql"),
);
const ANY: Statement = Statement::same(include_str!("../../sql/certificate/any.sql"));
const ACTIVE: Statement = Statement::same(include_str!("../../sql/certificate/active.sql"));
const BY_FINGERPRINT: Statement = Statement::same(include_str!("../../sql/certificate/by_fingerprint.sql"));
const PAGE: Statement = Statement::same(include_str!("../../sql/certificate/page.sql"));
const REVOKE: Statement = Statement::same(include_str!("../../sql/certificate/revoke.sql"));
const EXPIRED: Statement = Statement::same(include_str!("../../sql/certificate/expired.sql"));
const KEYRING_ACTIVE: Statement = Statement::same(include_str!("../../sql/keyring/active.sql"));
const KEYRING_INSERT: Statement = Statement::same(include_str!("../../sql/keyring/insert.sql"));

/// How often a revocation is tried that met another one of the same id.
const REVOKE_TRIES: u32 = 5;

/// Expired certificates that are looked up at once.
const EXPIRED_AT_ONCE: i64 = 100;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRow {
    /// What it is for: `root`, an issuer, a hub's or a spoke's id.
    pub id: String,
    /// The role of its holder.
    pub role: String,
    /// The service of its holder.
    pub service: String,
    /// SHA-256 over `cert`. No two rows have the same.
    pub fingerprint: [u8; 32],
    /// The certificate, DER.
    pub cert: Vec<u8>,
    /// Its private key; none if the holder keeps it.
    pub key: Option<SealedKey>,
    /// The id of the certificate that signed it.
    pub issuer: String,
    /// It is valid from here.
    pub not_before: Timestamp,
    /// It is valid until here.
    pub not_after: Timestamp,
    /// 0 if it is active, else which revoked one of its id it is. Persisting makes it active,
    /// whatever this says.
    pub version: u32,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// Why it was revoked, as the operator said.
    pub reason: Option<String>,
}

/// A private key under a data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// Which data key.
    pub dek_id: String,
    /// The nonce.
    pub nonce: Vec<u8>,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// How the data key is wrapped and how the key around it comes from the passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringRow {
    /// The key that wraps.
    pub kek_id: String,
    /// The name of the derivation.
    pub kdf: String,
    /// Its memory.
    pub memory_kib: u32,
    /// Its passes.
    pub passes: u32,
    /// Its lanes.
    pub lanes: u32,
    /// Its salt.
    pub salt: Vec<u8>,
    /// The key that is wrapped.
    pub dek_id: String,
    /// The wrapped key.
    pub wrapped: Vec<u8>,
    /// The nonce of the wrapping.
    pub nonce: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
}

/// The certificates of a database.
#[derive(Debug, Clone)]
pub struct Certificates {
    database: Database,
}

impl Database {
    /// Certificates and the keyring.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        Certificates { database: self.clone() }
    }
}

impl Certificates {
    /// The enrolment tokens of the same database.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.database.tokens()
    }

    /// The keyrings of the same database.
    #[must_use]
    pub fn keyrings(&self) -> Keyrings {
        self.database.keyrings()
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Stores an active certificate. `false`: its id has an active one already, and nothing changed.
    ///
    /// # Errors
    /// [`RecordError::Taken`] if the same certificate is stored under another id or was revoked.
    pub async fn persist(&self, certificate: &CertificateRow) -> Result<bool, RecordError> {
        if self.insert(&INSERT, &insert_values(certificate)).await? {
            return Ok(true);
        }
        match self.active(&certificate.id).await {
            Ok(_) => Ok(false),
            Err(RecordError::NotFound { .. }) => {
                Err(RecordError::Taken { what: format!("the certificate of {:?}", certificate.id) })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a certificate was ever stored, revoked ones included.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn any(&self) -> Result<bool, RecordError> {
        Ok(!self.database.reading().rows(&ANY, &[]).await?.is_empty())
    }

    /// The active certificate of an id.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] if it has none.
    pub async fn active(&self, id: &str) -> Result<CertificateRow, RecordError> {
        let rows = self.database.reading().rows(&ACTIVE, &[Value::Text(id)]).await?;
        one(&rows, || format!("an active certificate of {id:?}"))
    }

    /// The certificate with these SHA-256 bytes, active or revoked.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] if it was never stored.
    pub async fn by_fingerprint(&self, fingerprint: &[u8; 32]) -> Result<CertificateRow, RecordError> {
        let rows = self.database.reading().rows(&BY_FINGERPRINT, &[Value::Bytes(fingerprint)]).await?;
        one(&rows, || "a certificate of this fingerprint".to_owned())
    }

    /// The active certificates, or those after an id, by id; at most [`PAGE_EVENTS_MAX`]. None:
    /// there are no more.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn page(&self, after: Option<&str>, limit: u32) -> Result<Vec<CertificateRow>, RecordError> {
        let limit = Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)));
        let rows =
            self.database.reading().rows(&PAGE, &[Value::Text(after.unwrap_or_default()), limit]).await?;
        Ok(rows.iter().map(certificate_row).collect::<Result<_, _>>()?)
    }

    /// Revokes the active certificate of an id, which is free again then. `false`: it has none.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn revoke(&self, id: &str, at: Timestamp) -> Result<bool, RecordError> {
        let at = Value::Integer(at.millis());
        let values = [Value::Text(id), at, at, Value::Text(id)];
        let mut tries = 0;
        loop {
            tries += 1;
            match self.execute(&REVOKE, &values).await {
                Ok(matched) => return Ok(matched > 0),
                // Another revocation of the same id took the version, or the locks crossed.
                Err(error) if tries < REVOKE_TRIES && is_passing(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Revokes every active certificate whose validity ends at `now` or before, and says how many.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again revokes the rest.
    pub async fn revoke_expired(&self, now: Timestamp) -> Result<u64, RecordError> {
        let (mut revoked, mut after) = (0, String::new());
        loop {
            let values = [Value::Integer(now.millis()), Value::Text(&after), Value::Integer(EXPIRED_AT_ONCE)];
            let rows = self.database.reading().rows(&EXPIRED, &values).await?;
            let ids = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = ids.last() else {
                return Ok(revoked);
            };
            after.clone_from(last);
            for id in &ids {
                revoked += u64::from(self.revoke(id, now).await?);
            }
        }
    }

    /// The keyring in use, if there is one.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn keyring_active(&self) -> Result<Option<KeyringRow>, RecordError> {
        let rows = self.database.reading().rows(&KEYRING_ACTIVE, &[]).await?;
        Ok(rows.first().map(keyring_row).transpose()?)
    }

    /// Stores the keyring to use. `false`: there is one already, and nothing changed.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn persist_keyring(&self, keyring: &KeyringRow) -> Result<bool, RecordError> {
        self.insert(&KEYRING_INSERT, &keyring_values(keyring)).await
    }

    /// Inserts one row; `false`: one of its keys is taken.
    async fn insert(&self, statement: &Statement, values: &[Value<'_>]) -> Result<bool, RecordError> {
        match self.execute(statement, values).await {
            Ok(_) => Ok(true),
            Err(error) if failure::classify(&error) == Failure::Taken => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn execute(&self, statement: &Statement, values: &[Value<'_>]) -> Result<u64, Error> {
        let mut transaction = self.database.side().await?;
        let matched = transaction.execute(statement, values).await?;
        transaction.commit().await?;
        Ok(matched)
    }
}

/// Inserts an active certificate in a transaction that does more.
pub(crate) async fn insert(transaction: &mut Transaction, certificate: &CertificateRow) -> Result<(), Error> {
    transaction.execute(&INSERT, &insert_values(certificate)).await.map(|_| ())
}

/// What [`INSERT`] takes.
pub(crate) fn insert_values(certificate: &CertificateRow) -> [Value<'_>; 11] {
    let key = certificate.key.as_ref();
    [
        Value::Text(&certificate.id),
        Value::Text(&certificate.role),
        Value::Text(&certificate.service),
        Value::Bytes(&certificate.fingerprint),
        Value::Bytes(&certificate.cert),
        Value::text_or_null(key.map(|key| key.dek_id.as_str())),
        key.map_or(Value::Null, |key| Value::Bytes(&key.nonce)),
        key.map_or(Value::Null, |key| Value::Bytes(&key.sealed)),
        Value::Text(&certificate.issuer),
        Value::Integer(certificate.not_before.millis()),
        Value::Integer(certificate.not_after.millis()),
    ]
}

/// The values of a keyring's row.
pub(crate) fn keyring_values(keyring: &KeyringRow) -> [Value<'_>; 10] {
    [
        Value::Text(&keyring.kek_id),
        Value::Text(&keyring.kdf),
        Value::Integer(i64::from(keyring.memory_kib)),
        Value::Integer(i64::from(keyring.passes)),
        Value::Integer(i64::from(keyring.lanes)),
        Value::Bytes(&keyring.salt),
        Value::Text(&keyring.dek_id),
        Value::Bytes(&keyring.wrapped),
        Value::Bytes(&keyring.nonce),
        Value::Integer(keyring.created.millis()),
    ]
}

pub(crate) fn is_passing(error: &Error) -> bool {
    match failure::classify(error) {
        Failure::Taken | Failure::Contention => true,
        Failure::Lost | Failure::Refused => false,
    }
}

fn one(rows: &[Row], what: impl FnOnce() -> String) -> Result<CertificateRow, RecordError> {
    match rows.first() {
        Some(row) => Ok(certificate_row(row)?),
        None => Err(RecordError::NotFound { what: what() }),
    }
}

pub(crate) fn certificate_row(row: &Row) -> Result<CertificateRow, RowError> {
    let fingerprint = <[u8; 32]>::try_from(row.bytes(4)?)
        .map_err(|bytes| RowError { reason: format!("a fingerprint has {} bytes", bytes.len()) })?;
    let key = match (row.text_or_null(6)?, row.bytes_or_null(7)?, row.bytes_or_null(8)?) {
        (Some(dek_id), Some(nonce), Some(sealed)) => Some(SealedKey { dek_id, nonce, sealed }),
        (None, None, None) => None,
        _ => return Err(RowError { reason: "a certificate has half of a sealed key".to_owned() }),
    };
    Ok(CertificateRow {
        id: row.text(1)?,
        role: row.text(2)?,
        service: row.text(3)?,
        fingerprint,
        cert: row.bytes(5)?,
        key,
        issuer: row.text(9)?,
        not_before: row.timestamp(10)?,
        not_after: row.timestamp(11)?,
        version: row.small(0)?,
        revoked: row.timestamp_or_null(12)?,
        reason: row.text_or_null(13)?,
    })
}

pub(crate) fn keyring_row(row: &Row) -> Result<KeyringRow, RowError> {
    Ok(KeyringRow {
        kek_id: row.text(0)?,
        kdf: row.text(1)?,
        memory_kib: row.small(2)?,
        passes: row.small(3)?,
        lanes: row.small(4)?,
        salt: row.bytes(5)?,
        dek_id: row.text(6)?,
        wrapped: row.bytes(7)?,
        nonce: row.bytes(8)?,
        created: row.timestamp(9)?,
    })
}
