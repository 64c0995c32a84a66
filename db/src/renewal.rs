//! Renewals: a further certificate for the same id, while the one in use goes on counting.
//!
//! The one in use moves aside, marked as superseded but not revoked: if the answer with the new one is
//! lost, its holder still has it. When the new one is shown for the first time, those that it has taken
//! the place of are revoked.

use proto::Timestamp;

use crate::audit::Audit;
use crate::certificates::{
    CertificateRow, Certificates, INSERT as INSERT_CERTIFICATE, certificate_row, insert_values,
};
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::statement::{Statement, Value};

const LEAF: Statement = Statement::same(include_str!("../../sql/certificate/leaf.sql"));
const HOLD: Statement = Statement::same(include_str!("../../sql/certificate/hold.sql"));
const SUPERSEDE: Statement = Statement::same(include_str!("../../sql/certificate/supersede.sql"));
const SUPERSEDED: Statement = Statement::same(include_str!("../../sql/certificate/superseded.sql"));
const REVOKE: Statement = Statement::same(include_str!("../../sql/certificate/revoke_fingerprint.sql"));
const REVOKE_SUPERSEDED: Statement =
    Statement::same(include_str!("../../sql/certificate/revoke_superseded.sql"));

/// Superseded certificates of one id that count beside its newest one. Of more, the oldest are revoked.
pub const SUPERSEDED_MAX: usize = 16;

/// Superseded certificates that are looked at when one is added.
const SUPERSEDED_READ_MAX: i64 = 64;

/// Why certificates that others have taken the place of are revoked.
const REASON: &str = "superseded";

/// A leaf with what decides about its renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRow {
    /// Its row.
    pub row: CertificateRow,
    /// When it was made, by the database's clock.
    pub created: Timestamp,
    /// When a later one has taken its place.
    pub superseded: Option<Timestamp>,
    /// Whether one that it, or another of its id, has taken the place of still counts.
    pub former_counts: bool,
}

/// What came of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The new certificate counts.
    Stored,
    /// The one that it was asked with does not count any more, and nothing was changed.
    NotCounting,
}

impl Certificates {
    /// The leaf with these SHA-256 bytes, and what decides about its renewal.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] if it was never stored.
    pub async fn leaf(&self, fingerprint: &[u8; 32]) -> Result<LeafRow, RecordError> {
        let rows = self.database().reading().rows(&LEAF, &[Value::Bytes(fingerprint)]).await?;
        let row = rows
            .first()
            .ok_or_else(|| RecordError::NotFound { what: "a certificate of this fingerprint".to_owned() })?;
        Ok(LeafRow {
            row: certificate_row(row)?,
            created: row.timestamp(14)?,
            superseded: row.timestamp_or_null(15)?,
            former_counts: row.integer_or_null(16)? == Some(1),
        })
    }

    /// Stores `next` as the active certificate of its id, asked for with the certificate `with`, which
    /// goes on counting, like the one that was active.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`] also if another renewal of the same id was under way; asking again
    /// is safe.
    pub async fn renew(
        &self,
        next: &CertificateRow,
        with: &[u8; 32],
        now: Timestamp,
    ) -> Result<Renewal, RecordError> {
        self.try_renew(next, with, now).await.map_err(|error| match failure::classify(&error) {
            Failure::Taken => {
                RecordError::Unavailable { reason: "another renewal was stored at the same time".to_owned() }
            }
            Failure::Lost | Failure::Contention | Failure::Refused => error.into(),
        })
    }

    /// Revokes all certificates of an id that others have taken the place of, and says how many.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn revoke_superseded(&self, id: &str, now: Timestamp) -> Result<u64, RecordError> {
        let mut transaction = self.database().side().await?;
        let at = Value::Integer(now.millis());
        let revoked = transaction.execute(&REVOKE_SUPERSEDED, &[at, at, Value::Text(id)]).await?;
        transaction.commit().await?;
        Ok(revoked)
    }

    async fn try_renew(
        &self,
        next: &CertificateRow,
        with: &[u8; 32],
        now: Timestamp,
    ) -> Result<Renewal, sqlx::Error> {
        let (id, at) = (Value::Text(&next.id), Value::Integer(now.millis()));
        let mut transaction = self.database().side().await?;
        // From here on it cannot be revoked before this is over, and a revocation that came first shows.
        if transaction.execute(&HOLD, &[at, Value::Bytes(with), at]).await? == 0 {
            return Ok(Renewal::NotCounting);
        }
        transaction.execute(&SUPERSEDE, &[id, at, at, id]).await?;
        let rows = transaction.rows(&SUPERSEDED, &[id, Value::Integer(SUPERSEDED_READ_MAX)]).await?;
        let superseded = rows.iter().map(|row| row.bytes(0)).collect::<Result<Vec<_>, _>>()?;
        for oldest in superseded.iter().skip(SUPERSEDED_MAX).filter(|oldest| oldest.as_slice() != with) {
            let values = [id, at, Value::Text(REASON), at, Value::Bytes(oldest)];
            transaction.execute(&REVOKE, &values).await?;
        }
        transaction.execute(&INSERT_CERTIFICATE, &insert_values(next)).await?;
        let audit = Audit {
            agent: next.id.clone(),
            act: "cert.renew",
            subject: next.id.clone(),
            detail: format!("by {}, until {}", next.issuer, next.not_after),
        };
        audit.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Renewal::Stored)
    }
}
