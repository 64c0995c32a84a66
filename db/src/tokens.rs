//! Enrolment tokens as rows, and the one transaction that turns a use of one into a certificate.
//!
//! A use is taken by compare-and-set in the transaction that stores the certificate and the line of the
//! audit: there is never a certificate too many, and a use is not lost because something else failed.
//! Of a secret only its SHA-256 is stored.

use proto::enrol::{SecretDigest, TokenId};
use proto::limits::TOKENS_PER_PAGE;
use proto::{ServiceName, Timestamp};
use sqlx::Error;

use crate::audit::Audit;
use crate::certificates::{self, CertificateRow, is_passing};
use crate::database::Database;
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

const FIND: Statement = Statement::same(include_str!("../../sql/enrol_token/find.sql"));
const PAGE: Statement = Statement::same(include_str!("../../sql/enrol_token/page.sql"));
const INSERT: Statement = Statement::same(include_str!("../../sql/enrol_token/insert.sql"));
const USE: Statement = Statement::same(include_str!("../../sql/enrol_token/use.sql"));
const WITHDRAW: Statement = Statement::same(include_str!("../../sql/enrol_token/withdraw.sql"));
const SWEEP: Statement = Statement::same(include_str!("../../sql/enrol_token/sweep.sql"));

/// How often a transaction is tried that met another one.
const TRIES: u32 = 5;

/// How long a token that has ended is still listed, in milliseconds: 30 days.
const KEPT_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// One token.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Which one.
    pub id: TokenId,
    /// The service that certificates are for.
    pub service: ServiceName,
    /// What is stored of its secret.
    pub secret: SecretDigest,
    /// So many certificates were issued for it.
    pub uses: u32,
    /// So many can be.
    pub uses_max: u32,
    /// When it ends.
    pub expires: Timestamp,
    /// Who made it.
    pub agent: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was made useless.
    pub withdrawn: Option<Timestamp>,
}

/// What came of recording an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentRow {
    /// The certificate is stored and may be handed out.
    Stored,
    /// The token has no use left, has ended or was withdrawn by now. Nothing was stored.
    Spent,
    /// Another certificate has its id. Nothing was stored, and no use was taken.
    Taken,
}

/// The enrolment tokens of a database.
#[derive(Debug, Clone)]
pub struct Tokens {
    database: Database,
}

impl Database {
    /// Enrolment tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Tokens { database: self.clone() }
    }
}

impl Tokens {
    /// Stores a new token, and forgets those that ended long before it was made. `uses` and `withdrawn`
    /// are those of a new one, whatever the row says.
    ///
    /// # Errors
    /// [`RecordError::Taken`] if there is one with its id.
    pub async fn create(&self, token: &TokenRow, audit: &Audit) -> Result<(), RecordError> {
        let id = token.id.to_string();
        let values = [
            Value::Text(&id),
            Value::Text(token.service.as_str()),
            Value::Bytes(&token.secret.0),
            Value::Integer(i64::from(token.uses_max)),
            Value::Integer(token.expires.millis()),
            Value::Text(&token.agent),
            Value::Integer(token.created.millis()),
        ];
        let inserted = async {
            let mut transaction = self.database.side().await?;
            let forgotten = Value::Integer(token.created.millis().saturating_sub(KEPT_MS));
            transaction.execute(&SWEEP, &[forgotten]).await?;
            transaction.execute(&INSERT, &values).await?;
            audit.write(&mut transaction).await?;
            transaction.commit().await
        };
        inserted.await.map_err(|error: Error| match failure::classify(&error) {
            Failure::Taken => RecordError::Taken { what: format!("token {id}") },
            Failure::Lost | Failure::Contention | Failure::Refused => error.into(),
        })
    }

    /// A token.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] if there is none with this id.
    pub async fn find(&self, id: TokenId) -> Result<TokenRow, RecordError> {
        let text = id.to_string();
        let rows = self.database.reading().rows(&FIND, &[Value::Text(&text)]).await?;
        match rows.first() {
            Some(row) => Ok(token_row(row)?),
            None => Err(RecordError::NotFound { what: format!("token {id}") }),
        }
    }

    /// The tokens after one, by id; at most [`TOKENS_PER_PAGE`]. None: there are no more.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn page(&self, after: Option<TokenId>) -> Result<Vec<TokenRow>, RecordError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let values = [Value::Text(&after), Value::Integer(i64::from(TOKENS_PER_PAGE))];
        let rows = self.database.reading().rows(&PAGE, &values).await?;
        Ok(rows.iter().map(token_row).collect::<Result<_, _>>()?)
    }

    /// Makes a token useless. `false`: it was before, or there is none; nothing was written.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn withdraw(&self, id: TokenId, at: Timestamp, audit: &Audit) -> Result<bool, RecordError> {
        let id = id.to_string();
        let values = [Value::Integer(at.millis()), Value::Text(&id)];
        let mut transaction = self.database.side().await?;
        if transaction.execute(&WITHDRAW, &values).await? == 0 {
            return Ok(false);
        }
        audit.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes a use of `token`, if one is given, and stores `certificate`: both or neither. `now` is what
    /// the token's end is compared with.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]: a use may have been taken, for a certificate that nobody has.
    pub async fn enrol(
        &self,
        token: Option<TokenId>,
        certificate: &CertificateRow,
        audit: &Audit,
        now: Timestamp,
    ) -> Result<EnrolmentRow, RecordError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_to_enrol(token, certificate, audit, now).await {
                Ok(row) => return Ok(row),
                Err(error) if failure::classify(&error) == Failure::Taken => return Ok(EnrolmentRow::Taken),
                // Whoever was in the way is done or rolled back.
                Err(error) if tries < TRIES && is_passing(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn try_to_enrol(
        &self,
        token: Option<TokenId>,
        certificate: &CertificateRow,
        audit: &Audit,
        now: Timestamp,
    ) -> Result<EnrolmentRow, Error> {
        let mut transaction = self.database.side().await?;
        if let Some(token) = token {
            let id = token.to_string();
            let values = [Value::Text(&id), Value::Integer(now.millis())];
            if transaction.execute(&USE, &values).await? == 0 {
                return Ok(EnrolmentRow::Spent);
            }
        }
        certificates::insert(&mut transaction, certificate).await?;
        audit.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(EnrolmentRow::Stored)
    }
}

fn token_row(row: &Row) -> Result<TokenRow, RowError> {
    let bad = |reason: String| RowError { reason };
    let secret = <[u8; 32]>::try_from(row.bytes(2)?)
        .map_err(|bytes| bad(format!("the digest of a token's secret has {} bytes", bytes.len())))?;
    Ok(TokenRow {
        id: row.text(0)?.parse().map_err(|_| bad("a token's id is none".to_owned()))?,
        service: row.name(1, ServiceName::parse)?,
        secret: SecretDigest(secret),
        uses: row.small(3)?,
        uses_max: row.small(4)?,
        expires: row.timestamp(5)?,
        agent: row.text(6)?,
        created: row.timestamp(7)?,
        withdrawn: row.timestamp_or_null(8)?,
    })
}
