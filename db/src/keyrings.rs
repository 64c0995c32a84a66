//! Keyrings over their life: one is active, former ones may open beside it until they are retired.
//!
//! All of them wrap the same data key, so what that key has sealed never changes with a passphrase.

use proto::Timestamp;

use crate::audit::Audit;
use crate::certificates::{KeyringRow, keyring_row, keyring_values};
use crate::database::Database;
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::row::RowError;
use crate::statement::{Statement, Value};

const OPENABLE: Statement = Statement::same(include_str!("../../sql/keyring/openable.sql"));
const LIST: Statement = Statement::same(include_str!("../../sql/keyring/list.sql"));
const INSERT: Statement = Statement::same(include_str!("../../sql/keyring/insert.sql"));
const REPLACE: Statement = Statement::same(include_str!("../../sql/keyring/replace.sql"));
const RETIRE: Statement = Statement::each(
    include_str!("../../sql/sqlite/keyring/retire.sql"),
    include_str!("../../sql/mysql/keyring/retire.sql"),
);
const COUNT_SEALED: Statement = Statement::same(include_str!("../../sql/certificate/count_sealed.sql"));

/// Keyrings that may open at a time. Each costs a start with a wrong passphrase one more derivation, so
/// a further rotation that keeps the former one is refused.
pub const KEYRINGS_OPEN_MAX: usize = 4;

/// Keyrings that are listed: a passphrase that is changed each month fills this in eighty years.
const LISTED_MAX: i64 = 1_000;

/// What becomes of the keyring that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// Its passphrase opens nothing any more.
    Retired,
    /// Hubs that still have its passphrase can start, until it is retired.
    Kept,
}

/// How a keyring stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringState {
    /// The one whose passphrase hubs are given.
    Active,
    /// A former one that still opens.
    Kept,
    /// A former one that opens nothing any more.
    Retired {
        /// Since when.
        at: Timestamp,
    },
}

/// A keyring and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingKeyring {
    /// The keyring.
    pub row: KeyringRow,
    /// How it stands.
    pub state: KeyringState,
    /// How many private keys its data key seals.
    pub seals: u64,
}

/// The keyrings of a database.
#[derive(Debug, Clone)]
pub struct Keyrings {
    database: Database,
}

impl Database {
    /// Keyrings.
    #[must_use]
    pub fn keyrings(&self) -> Keyrings {
        Keyrings { database: self.clone() }
    }
}

impl Keyrings {
    /// Those that a passphrase may open, the active one first; at most [`KEYRINGS_OPEN_MAX`].
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn openable(&self) -> Result<Vec<KeyringRow>, RecordError> {
        let limit = Value::Integer(i64::try_from(KEYRINGS_OPEN_MAX).unwrap_or(i64::MAX));
        let rows = self.database.reading().rows(&OPENABLE, &[limit]).await?;
        Ok(rows.iter().map(keyring_row).collect::<Result<_, _>>()?)
    }

    /// All of them, the oldest first.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn list(&self) -> Result<Vec<StandingKeyring>, RecordError> {
        let rows = self.database.reading().rows(&LIST, &[Value::Integer(LISTED_MAX)]).await?;
        let mut keyrings = Vec::with_capacity(rows.len());
        for row in &rows {
            let state = match (row.integer_or_null(10)?, row.timestamp_or_null(11)?) {
                (Some(1), None) => KeyringState::Active,
                (None, None) => KeyringState::Kept,
                (None, Some(at)) => KeyringState::Retired { at },
                _ => return Err(RowError { reason: "a keyring is active and retired".to_owned() }.into()),
            };
            let row = keyring_row(row)?;
            let counted = self.database.reading().rows(&COUNT_SEALED, &[Value::Text(&row.dek_id)]).await?;
            let seals = counted.first().map(|count| count.number(0)).transpose()?.unwrap_or(0);
            keyrings.push(StandingKeyring { row, state, seals });
        }
        Ok(keyrings)
    }

    /// Makes `next` the active keyring in place of `former`. `false`: another one is active by now, and
    /// nothing changed.
    ///
    /// # Errors
    /// [`RecordError::Taken`] if as many as may be are open already and `former` is to be kept.
    pub async fn replace(
        &self,
        former: &str,
        next: &KeyringRow,
        fate: Former,
        agent: &str,
    ) -> Result<bool, RecordError> {
        if fate == Former::Kept && self.openable().await?.len() >= KEYRINGS_OPEN_MAX {
            let what = format!("the last of {KEYRINGS_OPEN_MAX} places of keyrings that open");
            return Err(RecordError::Taken { what });
        }
        let mut transaction = self.database.side().await?;
        if transaction.execute(&REPLACE, &[Value::Text(former)]).await? != 1 {
            return Ok(false);
        }
        if fate == Former::Retired {
            let values = [Value::Integer(next.created.millis()), Value::Text(former)];
            transaction.execute(&RETIRE, &values).await?;
        }
        match transaction.execute(&INSERT, &keyring_values(next)).await {
            Ok(_) => {}
            Err(error) if failure::classify(&error) == Failure::Taken => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let kept = match fate {
            Former::Retired => "retired",
            Former::Kept => "kept",
        };
        let audit = Audit {
            agent: agent.to_owned(),
            act: "keyring.rotate",
            subject: next.kek_id.clone(),
            detail: format!("in place of {former}, which is {kept}"),
        };
        audit.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Retires a keyring that is kept. `false`: it is the active one, retired already, or none.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn retire(&self, kek_id: &str, agent: &str, now: Timestamp) -> Result<bool, RecordError> {
        let mut transaction = self.database.side().await?;
        let values = [Value::Integer(now.millis()), Value::Text(kek_id)];
        let retired = transaction.execute(&RETIRE, &values).await? == 1;
        if retired {
            let audit = Audit {
                agent: agent.to_owned(),
                act: "keyring.retire",
                subject: kek_id.to_owned(),
                detail: "its passphrase opens nothing any more".to_owned(),
            };
            audit.write(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(retired)
    }
}
