//! The counters that tell every hub that its copy of grants, revocations or trust is old.
//!
//! Whoever changes one of the three counts up in the transaction of the change, so a hub that has
//! read a count and then the rows has seen at least what the count stands for.

use sqlx::Error;

use crate::connection::Transaction;
use crate::database::Database;
use crate::record::RecordError;
use crate::statement::Statement;

const READ: Statement = Statement::same(include_str!("../../sql/access_head/read.sql"));
const COUNT_GRANTS: Statement = Statement::same(include_str!("../../sql/access_head/count_grants.sql"));
const COUNT_REVOCATIONS: Statement =
    Statement::same(include_str!("../../sql/access_head/count_revocations.sql"));
const COUNT_TRUST: Statement = Statement::same(include_str!("../../sql/access_head/count_trust.sql"));

/// How often each was changed, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccessHead {
    /// Grants and roles.
    pub grants: u64,
    /// Revocations.
    pub revocations: u64,
    /// What is trusted: roots, issuers, and how far their replacement is.
    pub trust: u64,
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Grants,
    Revocations,
    Trust,
}

impl Counted {
    /// Counts up, in the transaction of the change.
    pub(crate) async fn count(self, transaction: &mut Transaction) -> Result<(), Error> {
        let statement = match self {
            Self::Grants => &COUNT_GRANTS,
            Self::Revocations => &COUNT_REVOCATIONS,
            Self::Trust => &COUNT_TRUST,
        };
        transaction.execute(statement, &[]).await.map(|_| ())
    }
}

impl Database {
    /// How often grants, revocations and trust were changed: one row, cheap enough for every second.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn access_head(&self) -> Result<AccessHead, RecordError> {
        let rows = self.reading().rows(&READ, &[]).await?;
        let row =
            rows.first().ok_or_else(|| RecordError::NotFound { what: "the row of access_head".into() })?;
        Ok(AccessHead { grants: row.number(0)?, revocations: row.number(1)?, trust: row.number(2)? })
    }
}
