//! Replacements whose authorities are signed by a root whose key is elsewhere: the requests that wait for
//! that, and forgetting a root's key.
//!
//! Requests are stored in the transaction that begins their replacement, so no hub prepares by itself
//! what is to be signed elsewhere; they go with the step that takes what was signed, or when the
//! replacement is withdrawn.

use proto::Timestamp;
use proto::rotation::{Pace, RotationKind, RotationStep};

use super::{
    OPEN, RotationRow, Rotations, STEP, audit, count, insert, now, rotation_row, step_values, stepped,
};
use crate::certificates::{
    CertificateRow, INSERT as INSERT_CERTIFICATE, SealedKey, certificate_row, insert_values,
};
use crate::connection::Transaction;
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

const REQUESTS: Statement = Statement::same(include_str!("../../../sql/certificate/requests.sql"));
const DELETE_REQUESTS: Statement =
    Statement::same(include_str!("../../../sql/certificate/delete_requests.sql"));
const FORGET_ACTIVE_KEY: Statement =
    Statement::same(include_str!("../../../sql/certificate/forget_active_key.sql"));
const MARKS: Statement = Statement::same(include_str!("../../../sql/authority_mark/list.sql"));
const INSERT_MARK: Statement = Statement::same(include_str!("../../../sql/authority_mark/insert.sql"));
const DELETE_MARK: Statement = Statement::same(include_str!("../../../sql/authority_mark/delete.sql"));
const TELL: Statement = Statement::same(include_str!("../../../sql/ca_rotation/tell.sql"));

/// What a root is known by whose key is elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityMark {
    /// The root's id.
    pub id: String,
    /// Its fingerprint, sealed.
    pub sealed: SealedKey,
}

/// How often requests are stored anew when others do so at the same time.
const REQUEST_TRIES: u32 = 5;

/// What came of a wish to have something signed elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// The requests are stored, for this replacement.
    Stored(RotationRow),
    /// This replacement has requests already, is of another kind, or is past its begin. Nothing was changed.
    UnderWay(RotationRow),
}

/// What came of a wish to forget the key of a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForgotKey {
    /// It is not in the database any more.
    Done,
    /// A replacement is under way that may need it. Nothing was changed.
    UnderWay(Box<RotationRow>),
    /// The certificate was replaced, or its key was gone before.
    Gone,
}

impl Rotations {
    /// The requests that wait to be signed elsewhere, the one for hubs first; none if nothing waits.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn requests(&self) -> Result<Vec<CertificateRow>, RecordError> {
        let rows = self.database.reading().rows(&REQUESTS, &[]).await?;
        Ok(rows.iter().map(certificate_row).collect::<Result<_, RowError>>()?)
    }

    /// Stores `requests` for the replacement of `kind` that has begun, or begins one with them.
    ///
    /// # Errors
    /// [`RecordError::Taken`] if others stored some again and again, [`RecordError::Unavailable`]; asking
    /// again is safe.
    pub async fn request(
        &self,
        kind: RotationKind,
        requests: &[CertificateRow],
        agent: &str,
    ) -> Result<Requested, RecordError> {
        for _ in 0..REQUEST_TRIES {
            match self.try_request(kind, requests, agent).await {
                // Somebody has begun one at the same time: it is there at the next look.
                Err(error) if failure::classify(&error) == Failure::Taken => {}
                requested => return Ok(requested?),
            }
        }
        Err(RecordError::Taken { what: "the requests of a replacement".to_owned() })
    }

    /// Ends a replacement of which nothing was prepared yet. `false`: it is past its begin, or is none.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn withdraw(&self, row: &RotationRow, agent: &str) -> Result<bool, RecordError> {
        let mut transaction = self.database.side().await?;
        let trust = count(&mut transaction).await?;
        let ended = stepped(&row.rotation, RotationStep::Archived, now(&mut transaction).await?);
        if row.rotation.step != RotationStep::Begun
            || transaction.execute(&STEP, &step_values(&ended, trust, row)).await? == 0
        {
            return Ok(false);
        }
        forget_requests(&mut transaction).await?;
        let detail = format!("rotation {}, of which nothing was prepared", ended.id);
        audit(agent, "ca.withdraw", ended.kind.as_str().to_owned(), detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// What roots are known by whose keys are elsewhere.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn marks(&self) -> Result<Vec<AuthorityMark>, RecordError> {
        let rows = self.database.reading().rows(&MARKS, &[]).await?;
        let mark = |row: &Row| {
            let sealed = SealedKey { dek_id: row.text(1)?, nonce: row.bytes(2)?, sealed: row.bytes(3)? };
            Ok(AuthorityMark { id: row.text(0)?, sealed })
        };
        Ok(rows.iter().map(mark).collect::<Result<_, RowError>>()?)
    }

    /// Deletes the key of a root from the database, while nothing is replaced, and leaves a mark of it.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn forget_root_key(
        &self,
        mark: &AuthorityMark,
        fingerprint: &[u8; 32],
        detail: &str,
        agent: &str,
    ) -> Result<ForgotKey, RecordError> {
        let mut transaction = self.database.side().await?;
        // Locked first, like every step: no replacement begins or goes on beside this.
        count(&mut transaction).await?;
        if let Some(row) = transaction.rows(&OPEN, &[]).await?.first() {
            return Ok(ForgotKey::UnderWay(Box::new(rotation_row(row)?)));
        }
        let at = now(&mut transaction).await?;
        let values = [Value::Integer(at.millis()), Value::Text(&mark.id), Value::Bytes(fingerprint)];
        if transaction.execute(&FORGET_ACTIVE_KEY, &values).await? == 0 {
            return Ok(ForgotKey::Gone);
        }
        insert_mark(&mut transaction, mark, at).await?;
        audit(agent, "ca.forget", mark.id.clone(), detail.to_owned()).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(ForgotKey::Done)
    }

    async fn try_request(
        &self,
        kind: RotationKind,
        requests: &[CertificateRow],
        agent: &str,
    ) -> Result<Requested, sqlx::Error> {
        let mut transaction = self.database.side().await?;
        let trust = count(&mut transaction).await?;
        let open = transaction.rows(&OPEN, &[]).await?.first().map(rotation_row).transpose()?;
        let mut row = match open {
            None => {
                // Nobody waits for what may have been left.
                forget_requests(&mut transaction).await?;
                insert(&mut transaction, kind, Pace::Orderly, agent).await?
            }
            Some(row) => {
                let waits = row.rotation.kind == kind && row.rotation.step == RotationStep::Begun;
                if !waits || !transaction.rows(&REQUESTS, &[]).await?.is_empty() {
                    return Ok(Requested::UnderWay(row));
                }
                row
            }
        };
        row.trust = row.trust.max(trust);
        let told = [Value::number(row.trust), Value::number(row.rotation.id)];
        if transaction.execute(&TELL, &told).await? == 0 {
            return Ok(Requested::UnderWay(row));
        }
        for request in requests {
            transaction.execute(&INSERT_CERTIFICATE, &insert_values(request)).await?;
        }
        let detail = format!("rotation {}, to be signed elsewhere", row.rotation.id);
        audit(agent, "ca.request", kind.as_str().to_owned(), detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Requested::Stored(row))
    }
}

/// A root whose key is elsewhere is known from now on.
pub(super) async fn insert_mark(
    transaction: &mut Transaction,
    mark: &AuthorityMark,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let AuthorityMark { id, sealed: SealedKey { dek_id, nonce, sealed } } = mark;
    let values = [
        Value::Text(id),
        Value::Text(dek_id),
        Value::Bytes(nonce),
        Value::Bytes(sealed),
        Value::Integer(at.millis()),
    ];
    transaction.execute(&INSERT_MARK, &values).await.map(|_| ())
}

/// A root that is replaced is not known any more.
pub(super) async fn delete_mark(transaction: &mut Transaction, id: &str) -> Result<(), sqlx::Error> {
    transaction.execute(&DELETE_MARK, &[Value::Text(id)]).await.map(|_| ())
}

/// Requests that were signed, or that nobody will sign.
pub(super) async fn forget_requests(transaction: &mut Transaction) -> Result<(), sqlx::Error> {
    transaction.execute(&DELETE_REQUESTS, &[]).await.map(|_| ())
}
