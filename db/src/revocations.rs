//! Revocations: certificates that do not count any more although they have not ended.
//!
//! The row of a certificate is what counts. A row in `revocation` tells every hub to look at the rows
//! of those whom it names: both are written in one transaction, so a hub that has seen the one and
//! then reads the other reads the truth.

use proto::limits::REASON_CHARS_MAX;
use proto::{ServiceName, Timestamp};
use sqlx::Error;

use crate::access_head::Counted;
use crate::audit::Audit;
use crate::database::Database;
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

const INSERT: Statement = Statement::same(include_str!("../../sql/revocation/insert.sql"));
const PAGE: Statement = Statement::same(include_str!("../../sql/revocation/page.sql"));
const REVOKE: Statement = Statement::same(include_str!("../../sql/certificate/revoke_fingerprint.sql"));
const OF_ID: Statement = Statement::same(include_str!("../../sql/certificate/counting_of_id.sql"));
const OF_SERVICE: Statement = Statement::same(include_str!("../../sql/certificate/counting_of_service.sql"));
const OF_ISSUER: Statement = Statement::same(include_str!("../../sql/certificate/counting_of_issuer.sql"));
const OF_FINGERPRINT: Statement =
    Statement::same(include_str!("../../sql/certificate/counting_of_fingerprint.sql"));
const REVOKED_OF_ISSUER: Statement =
    Statement::same(include_str!("../../sql/certificate/revoked_of_issuer.sql"));

/// Certificates that are revoked in one transaction.
const CERTIFICATES_AT_ONCE: i64 = 500;

/// How often a transaction is tried that met another one about the same certificates.
const TRIES: u32 = 5;

/// Rows of one page of revocations.
pub const REVOCATIONS_PER_PAGE: u32 = 1_000;

/// Entries of one revocation list. An issuer with more is refused a list: its reply would not fit.
pub const REVOKED_LISTED_MAX: usize = 10_000;

/// Whose certificates are not to count any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A spoke, by its id: service and instance with a `/` between.
    Spoke(String),
    /// All spokes of a service that there are now.
    Service(ServiceName),
    /// Everything that an issuing certificate has signed, by the issuer's id.
    Issuer(String),
    /// One certificate.
    Fingerprint([u8; 32]),
}

impl Holder {
    fn kind(&self) -> &'static str {
        match self {
            Self::Spoke(_) => "spoke",
            Self::Service(_) => "service",
            Self::Issuer(_) => "issuer",
            Self::Fingerprint(_) => "fingerprint",
        }
    }

    fn value(&self) -> String {
        match self {
            Self::Spoke(id) | Self::Issuer(id) => id.clone(),
            Self::Service(service) => service.to_string(),
            Self::Fingerprint(bytes) => hex::encode(bytes),
        }
    }

    fn parse(kind: &str, value: String) -> Result<Self, RowError> {
        let bad = |what: &str| RowError { reason: format!("a revocation names {what} {value:?}") };
        match kind {
            "spoke" => Ok(Self::Spoke(value)),
            "issuer" => Ok(Self::Issuer(value)),
            "service" => ServiceName::parse(&value).map(Self::Service).map_err(|_| bad("the service")),
            "fingerprint" => unhex(&value).map(Self::Fingerprint).ok_or_else(|| bad("the fingerprint")),
            _ => Err(bad(&format!("the unknown kind {kind:?}"))),
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind(), self.value())
    }
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Its number; later ones have larger ones.
    pub seq: u64,
    /// Whose certificates.
    pub holder: Holder,
}

/// A revoked certificate that would count otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The certificate, DER.
    pub cert: Vec<u8>,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// The revocations of a database.
#[derive(Debug, Clone)]
pub struct Revocations {
    database: Database,
}

impl Database {
    /// Revocations.
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        Revocations { database: self.clone() }
    }
}

impl Revocations {
    /// Revokes every certificate of `holder` that counts at `now`, and says how many they were. It goes
    /// page by page, each complete in itself: if it fails halfway, asking again does the rest.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] if there is none, and then nothing was written.
    pub async fn revoke(
        &self,
        holder: &Holder,
        reason: &str,
        agent: &str,
        now: Timestamp,
    ) -> Result<u64, RecordError> {
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let act = Act { holder, reason: &reason, agent, now };
        let mut revoked = 0;
        loop {
            let page = self.counting(holder, now).await?;
            if page.is_empty() {
                return match revoked {
                    0 => {
                        Err(RecordError::NotFound { what: format!("a certificate of {holder} that counts") })
                    }
                    revoked => Ok(revoked),
                };
            }
            revoked += self.revoke_page(act, &page).await?;
        }
    }

    /// Revocations after one, by number, of those made after `at`; at most [`REVOCATIONS_PER_PAGE`].
    /// None: there are no more.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn page(&self, after: u64, at: Timestamp) -> Result<Vec<Revocation>, RecordError> {
        let after = Value::Integer(i64::try_from(after).unwrap_or(i64::MAX));
        let values = [after, Value::Integer(at.millis()), Value::Integer(i64::from(REVOCATIONS_PER_PAGE))];
        let rows = self.database.reading().rows(&PAGE, &values).await?;
        let revocation = |row: &Row| {
            let holder = Holder::parse(&row.text(1)?, row.text(2)?)?;
            Ok(Revocation { seq: row.number(0)?, holder })
        };
        Ok(rows.iter().map(revocation).collect::<Result<_, RowError>>()?)
    }

    /// What an issuer has signed, was revoked, and would count at `now` otherwise; one more than
    /// [`REVOKED_LISTED_MAX`] at most, which means that there are too many.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn revoked_of(&self, issuer: &str, now: Timestamp) -> Result<Vec<Revoked>, RecordError> {
        let limit = i64::try_from(REVOKED_LISTED_MAX + 1).unwrap_or(i64::MAX);
        let values = [Value::Text(issuer), Value::Integer(now.millis()), Value::Integer(limit)];
        let rows = self.database.reading().rows(&REVOKED_OF_ISSUER, &values).await?;
        let revoked = |row: &Row| {
            let reason = row.text_or_null(3)?.unwrap_or_default();
            Ok(Revoked { cert: row.bytes(1)?, at: row.timestamp(2)?, reason })
        };
        Ok(rows.iter().map(revoked).collect::<Result<_, RowError>>()?)
    }

    /// Some of what counts of `holder`.
    async fn counting(&self, holder: &Holder, now: Timestamp) -> Result<Vec<Counting>, RecordError> {
        let now = Value::Integer(now.millis());
        let limit = Value::Integer(CERTIFICATES_AT_ONCE);
        let reading = self.database.reading();
        let rows = match holder {
            Holder::Spoke(id) => reading.rows(&OF_ID, &[Value::Text(id), now, limit]).await?,
            Holder::Service(service) => {
                reading.rows(&OF_SERVICE, &[Value::Text(service.as_str()), now, limit]).await?
            }
            Holder::Issuer(id) => {
                reading.rows(&OF_ISSUER, &[Value::Text(id), now, Value::Text(id), limit]).await?
            }
            Holder::Fingerprint(bytes) => reading.rows(&OF_FINGERPRINT, &[Value::Bytes(bytes), now]).await?,
        };
        let counting = |row: &Row| Ok(Counting { fingerprint: row.bytes(0)?, id: row.text(1)? });
        Ok(rows.iter().map(counting).collect::<Result<_, RowError>>()?)
    }

    /// Revokes these certificates, records it and tells all hubs, or does nothing.
    async fn revoke_page(&self, act: Act<'_>, page: &[Counting]) -> Result<u64, RecordError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_page(act, page).await {
                // Another revocation or a renewal of the same id took its version, or locks crossed.
                Err(error) if tries < TRIES && is_passing(&error) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn try_page(&self, act: Act<'_>, page: &[Counting]) -> Result<u64, Error> {
        let Act { holder, reason, agent, now } = act;
        let (value, now) = (holder.value(), Value::Integer(now.millis()));
        let mut transaction = self.database.side().await?;
        let mut revoked = 0;
        for Counting { fingerprint, id } in page {
            let values = [Value::Text(id), now, Value::Text(reason), now, Value::Bytes(fingerprint)];
            revoked += transaction.execute(&REVOKE, &values).await?;
        }
        // Its lock is held until the commit: numbers are given out in the order of commits, so nobody who
        // has read the one can come too late for the one before.
        Counted::Revocations.count(&mut transaction).await?;
        let values =
            [Value::Text(holder.kind()), Value::Text(&value), Value::Text(reason), Value::Text(agent), now];
        transaction.execute(&INSERT, &values).await?;
        let audit = Audit {
            agent: agent.to_owned(),
            act: "cert.revoke",
            subject: holder.to_string(),
            detail: format!("{revoked} certificates: {reason}"),
        };
        audit.write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(revoked)
    }
}

/// What is done, why and by whom.
#[derive(Debug, Clone, Copy)]
struct Act<'a> {
    holder: &'a Holder,
    reason: &'a str,
    agent: &'a str,
    now: Timestamp,
}

/// A certificate that is to be revoked.
struct Counting {
    fingerprint: Vec<u8>,
    id: String,
}

fn is_passing(error: &Error) -> bool {
    match failure::classify(error) {
        Failure::Taken | Failure::Contention => true,
        Failure::Lost | Failure::Refused => false,
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}
