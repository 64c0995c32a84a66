//! Replacements whose authorities are signed by a root whose key is elsewhere: the requests that wait for
//! that, and forgetting a root's key.
//!
//! Requests are stored in the transaction that begins their replacement, so no hub prepares by itself
//! what is to be signed elsewhere; they go with the step that takes what was signed, or when the
//! replacement is withdrawn.

use proto::rotation::{Pace, RotationKind, RotationStep};

use super::{
    OPEN, RotationRow, Rotations, STEP, audit, count, insert, now, rotation_row, step_values, stepped,
};
use crate::certificates::{CertificateRow, INSERT as INSERT_CERTIFICATE, certificate_row, insert_values};
use crate::connection::Transaction;
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::row::RowError;
use crate::statement::{Statement, Value};

const REQUESTS: Statement = Statement::same(include_str!("../../../sql/certificate/requests.sql"));
const DELETE_REQUESTS: Statement =
    Statement::same(include_str!("../../../sql/certificate/delete_requests.sql"));
const FORGET_ACTIVE_KEY: Statement =
    Statement::same(include_str!("../../../sql/certificate/forget_active_key.sql"));
const TELL: Statement = Statement::same(include_str!("../../../sql/ca_rotation/tell.sql"));

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

    /// Stores `requests` for the replacement of `kind` that has begun, or begins one with them. `true`: they
    /// were stored. `false`: the replacement that is returned has requests already, is of another kind, or
    /// is past its begin; nothing was changed.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn request(
        &self,
        kind: RotationKind,
        requests: &[CertificateRow],
        agent: &str,
    ) -> Result<(bool, RotationRow), RecordError> {
        loop {
            match self.try_request(kind, requests, agent).await {
                // Somebody has begun one at the same time: it is there at the next look.
                Err(error) if failure::classify(&error) == Failure::Taken => {}
                requested => return Ok(requested?),
            }
        }
    }

    /// Ends a replacement of which nothing was prepared yet. `false`: it is past its begin, or is none.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn withdraw(&self, row: &RotationRow, agent: &str) -> Result<bool, RecordError> {
        let mut transaction = self.database.side().await?;
        let trust = count(&mut transaction).await?;
        let ended = stepped(&row.rotation, RotationStep::Archived, now(&mut transaction).await?);
        if transaction.execute(&STEP, &step_values(&ended, trust, RotationStep::Begun)).await? == 0 {
            return Ok(false);
        }
        transaction.execute(&DELETE_REQUESTS, &[]).await?;
        let detail = format!("rotation {}, of which nothing was prepared", ended.id);
        audit(agent, "ca.withdraw", ended.kind.as_str().to_owned(), detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes the key of the root `id` from the database, while nothing is replaced.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn forget_root_key(
        &self,
        id: &str,
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
        let at = Value::Integer(now(&mut transaction).await?.millis());
        let values = [at, Value::Text(id), Value::Bytes(fingerprint)];
        if transaction.execute(&FORGET_ACTIVE_KEY, &values).await? == 0 {
            return Ok(ForgotKey::Gone);
        }
        audit(agent, "ca.forget", id.to_owned(), detail.to_owned()).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(ForgotKey::Done)
    }

    async fn try_request(
        &self,
        kind: RotationKind,
        requests: &[CertificateRow],
        agent: &str,
    ) -> Result<(bool, RotationRow), sqlx::Error> {
        let mut transaction = self.database.side().await?;
        let trust = count(&mut transaction).await?;
        let open = transaction.rows(&OPEN, &[]).await?.first().map(rotation_row).transpose()?;
        let mut row = match open {
            None => insert(&mut transaction, kind, Pace::Orderly, agent).await?,
            Some(row) => {
                let waits = row.rotation.kind == kind && row.rotation.step == RotationStep::Begun;
                if !waits || !transaction.rows(&REQUESTS, &[]).await?.is_empty() {
                    return Ok((false, row));
                }
                row
            }
        };
        row.trust = row.trust.max(trust);
        let told = [Value::number(row.trust), Value::number(row.rotation.id)];
        if transaction.execute(&TELL, &told).await? == 0 {
            return Ok((false, row));
        }
        for request in requests {
            transaction.execute(&INSERT_CERTIFICATE, &insert_values(request)).await?;
        }
        let detail = format!("rotation {}, to be signed elsewhere", row.rotation.id);
        audit(agent, "ca.request", kind.as_str().to_owned(), detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok((true, row))
    }
}

/// Requests that were signed, or that nobody will sign.
pub(super) async fn forget_requests(transaction: &mut Transaction) -> Result<(), sqlx::Error> {
    transaction.execute(&DELETE_REQUESTS, &[]).await.map(|_| ())
}
