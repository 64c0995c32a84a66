//! Replacements of leaves and authorities: their rows, and the authorities that they work on.
//!
//! Each step is one transaction: it moves `step` by compare-and-set, changes the certificates that the
//! step is about, counts up `access_head.trust` and writes who did it. So after a crash a step has been
//! done as a whole or not at all, and of several hubs that try the same step one does it. What the steps
//! mean, and when each is due, is the hub's matter.

use proto::rotation::{Begun, HubTrust, Pace, Rotation, RotationKind, RotationStep};
use proto::{HubId, Timestamp};

use crate::access_head::Counted;
use crate::audit::Audit;
use crate::certificates::{
    CertificateRow, Certificates, INSERT as INSERT_CERTIFICATE, certificate_row, insert_values,
};
use crate::connection::Transaction;
use crate::database::Database;
use crate::failure::{self, Failure};
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

mod elsewhere;

pub use elsewhere::{AuthorityMark, ForgotKey, Requested};

const OPEN: Statement = Statement::same(include_str!("../../sql/ca_rotation/open.sql"));
const LATEST: Statement = Statement::same(include_str!("../../sql/ca_rotation/latest.sql"));
const LEAVES_ACTIVATED: Statement =
    Statement::same(include_str!("../../sql/ca_rotation/leaves_activated.sql"));
const INSERT: Statement = Statement::same(include_str!("../../sql/ca_rotation/insert.sql"));
const HASTEN: Statement = Statement::same(include_str!("../../sql/ca_rotation/hasten.sql"));
const STEP: Statement = Statement::same(include_str!("../../sql/ca_rotation/step.sql"));
const AUTHORITIES: Statement = Statement::same(include_str!("../../sql/certificate/authorities.sql"));
const ACTIVE: Statement = Statement::same(include_str!("../../sql/certificate/active.sql"));
const REVOKE: Statement = Statement::same(include_str!("../../sql/certificate/revoke_fingerprint.sql"));
const FORGET_KEY: Statement = Statement::same(include_str!("../../sql/certificate/forget_key.sql"));
const HANGING: Statement = Statement::same(include_str!("../../sql/certificate/hanging.sql"));
const HANGING_PAGE: Statement = Statement::same(include_str!("../../sql/certificate/hanging_page.sql"));
const REVOCATION: Statement = Statement::same(include_str!("../../sql/revocation/insert.sql"));
const ACCESS_HEAD: Statement = Statement::same(include_str!("../../sql/access_head/read.sql"));
const NOTE_TRUST: Statement = Statement::same(include_str!("../../sql/hub/trust.sql"));
const TRUSTS: Statement = Statement::each(
    include_str!("../../sql/sqlite/hub/trusts.sql"),
    include_str!("../../sql/mysql/hub/trusts.sql"),
);
const NOW: Statement = Statement::each(
    include_str!("../../sql/sqlite/engine/now.sql"),
    include_str!("../../sql/mysql/engine/now.sql"),
);

/// Certificates that are revoked in one transaction.
const REVOKED_AT_ONCE: i64 = 200;

/// A rotation and the count of trust that its last step was told by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationRow {
    /// The rotation.
    pub rotation: Rotation,
    /// What `access_head.trust` was counted up to by the last step.
    pub trust: u64,
}

/// What a step changes beside itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepChanges {
    /// Certificates to store. If one of their ids is taken nothing is done.
    pub stored: Vec<CertificateRow>,
    /// Active certificates that do not count any more, by id.
    pub retired: Vec<String>,
    /// Retired certificates whose keys are deleted, by id.
    pub forgotten: Vec<String>,
    /// What stored roots are known by whose keys are elsewhere.
    pub marks: Vec<AuthorityMark>,
    /// What else the operator's log is to say.
    pub note: Option<String>,
}

/// Certificates that count and hang from something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hanging {
    /// So many.
    pub leaves: u64,
    /// When the last of them ends; `None` if there are none.
    pub until: Option<Timestamp>,
}

/// Which certificates hang from something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HangingFrom {
    /// Those that these have signed, by id.
    pub issuers: Vec<String>,
    /// Only those made before this.
    pub made_before: Option<Timestamp>,
}

/// The rotations of a database.
#[derive(Debug, Clone)]
pub struct Rotations {
    database: Database,
}

impl Database {
    /// Replacements of leaves and authorities.
    #[must_use]
    pub fn rotations(&self) -> Rotations {
        Rotations { database: self.clone() }
    }
}

impl Certificates {
    /// Replacements of leaves and authorities.
    #[must_use]
    pub fn rotations(&self) -> Rotations {
        self.database().rotations()
    }
}

impl Rotations {
    /// The time of the database, which all times of rotations are.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn now(&self) -> Result<Timestamp, RecordError> {
        let rows = self.database.reading().rows(&NOW, &[]).await?;
        Ok(first(&rows)?.timestamp(0)?)
    }

    /// The rotation under way, if there is one.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn open(&self) -> Result<Option<RotationRow>, RecordError> {
        let rows = self.database.reading().rows(&OPEN, &[]).await?;
        Ok(rows.first().map(rotation_row).transpose()?)
    }

    /// The newest rotation, if there ever was one.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn latest(&self) -> Result<Option<RotationRow>, RecordError> {
        let rows = self.database.reading().rows(&LATEST, &[]).await?;
        Ok(rows.first().map(rotation_row).transpose()?)
    }

    /// Since when leaves are to be newer than they were, and by which rotation.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn leaves_activated(&self) -> Result<Option<(u64, Timestamp)>, RecordError> {
        let rows = self.database.reading().rows(&LEAVES_ACTIVATED, &[]).await?;
        Ok(rows.first().map(|row| Ok::<_, RowError>((row.number(0)?, row.timestamp(1)?))).transpose()?)
    }

    /// Roots, issuers and cross-certificates, active or not, by id.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn authorities(&self) -> Result<Vec<CertificateRow>, RecordError> {
        let rows = self.database.reading().rows(&AUTHORITIES, &[]).await?;
        Ok(rows.iter().map(certificate_row).collect::<Result<_, _>>()?)
    }

    /// Begins a rotation, or says which one is under way. One of the same kind that is to be hasty now
    /// waits for nothing from here on.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn begin(
        &self,
        kind: RotationKind,
        pace: Pace,
        agent: &str,
    ) -> Result<(Begun, RotationRow), RecordError> {
        loop {
            match self.try_begin(kind, pace, agent).await {
                // Somebody has begun one at the same time: it is there at the next look.
                Err(error) if failure::classify(&error) == Failure::Taken => {}
                begun => return Ok(begun?),
            }
        }
    }

    /// Moves `from` on to `to` with what that changes. `false`: it was not at its step any more, and
    /// nothing was changed.
    ///
    /// # Errors
    /// [`RecordError::Taken`] if something that is to be stored has an id that is taken,
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn step(
        &self,
        from: &RotationRow,
        to: RotationStep,
        changes: &StepChanges,
        agent: &str,
    ) -> Result<bool, RecordError> {
        let stepped = self.try_step(from, to, changes, agent).await;
        stepped.map_err(|error| match failure::classify(&error) {
            Failure::Taken => RecordError::Taken { what: "an authority of this rotation".to_owned() },
            Failure::Lost | Failure::Contention | Failure::Refused => error.into(),
        })
    }

    /// How many certificates that count at `now` hang from what is named.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn hanging(&self, from: &HangingFrom, now: Timestamp) -> Result<Hanging, RecordError> {
        let mut hanging = Hanging::default();
        for issuer in &from.issuers {
            let values = hanging_values(issuer, from.made_before, now);
            let rows = self.database.reading().rows(&HANGING, &values).await?;
            let row = first(&rows)?;
            hanging.leaves += row.number(0)?;
            hanging.until = hanging.until.max(row.timestamp_or_null(1)?);
        }
        Ok(hanging)
    }

    /// Revokes some of the certificates that hang from what is named, and tells every hub to look at
    /// those whom it serves. How many; 0: there are no more.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again revokes the rest.
    pub async fn revoke_hanging(
        &self,
        from: &HangingFrom,
        reason: &str,
        agent: &str,
    ) -> Result<u64, RecordError> {
        let mut transaction = self.database.side().await?;
        let now = now(&mut transaction).await?;
        let (mut revoked, at) = (0, Value::Integer(now.millis()));
        for issuer in &from.issuers {
            let [issuer_value, valid, made] = hanging_values(issuer, from.made_before, now);
            let values = [issuer_value, valid, made, Value::Integer(REVOKED_AT_ONCE)];
            let rows = transaction.rows(&HANGING_PAGE, &values).await?;
            for row in &rows {
                let (id, fingerprint) = (row.text(0)?, row.bytes(2)?);
                let values = [Value::Text(&id), at, Value::Text(reason), at, Value::Bytes(&fingerprint)];
                revoked += transaction.execute(&REVOKE, &values).await?;
            }
        }
        if revoked > 0 {
            // Before they get their numbers, which are given out in the order of commits by that.
            Counted::Revocations.count(&mut transaction).await?;
            for issuer in &from.issuers {
                let (kind, issuer) = (Value::Text("issuer"), Value::Text(issuer));
                let values = [kind, issuer, Value::Text(reason), Value::Text(agent), at];
                transaction.execute(&REVOCATION, &values).await?;
            }
            let subject = from.issuers.join(" ");
            let detail = format!("{revoked} certificates: {reason}");
            audit(agent, "cert.revoke", subject, detail).write(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(revoked)
    }

    /// What each hub with a lease works with and what its spokes have kept.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn hubs(&self) -> Result<Vec<HubTrust>, RecordError> {
        let rows = self.database.reading().rows(&TRUSTS, &[]).await?;
        let trust = |row: &Row| {
            Ok(HubTrust { hub: row.name(0, HubId::parse)?, loaded: row.number(1)?, kept: row.number(2)? })
        };
        Ok(rows.iter().map(trust).collect::<Result<_, RowError>>()?)
    }

    /// Records what this hub works with and what its spokes have kept.
    ///
    /// # Errors
    /// [`RecordError::Unavailable`]; asking again is safe.
    pub async fn note_trust(&self, trust: &HubTrust) -> Result<(), RecordError> {
        let mut transaction = self.database.side().await?;
        let values =
            [Value::number(trust.loaded), Value::number(trust.kept), Value::Text(trust.hub.as_str())];
        transaction.execute(&NOTE_TRUST, &values).await?;
        Ok(transaction.commit().await?)
    }

    async fn try_begin(
        &self,
        kind: RotationKind,
        pace: Pace,
        agent: &str,
    ) -> Result<(Begun, RotationRow), sqlx::Error> {
        let mut transaction = self.database.side().await?;
        let under_way = transaction.rows(&OPEN, &[]).await?.first().map(rotation_row).transpose()?;
        let Some(mut row) = under_way else {
            let row = insert(&mut transaction, kind, pace, agent).await?;
            transaction.commit().await?;
            return Ok((Begun::New, row));
        };
        let same = row.rotation.kind == kind;
        if !same || pace == Pace::Orderly || row.rotation.pace == Pace::Hasty {
            return Ok((Begun::UnderWay, row));
        }
        let trust = count(&mut transaction).await?;
        let values = [Value::number(trust), Value::number(row.rotation.id)];
        if transaction.execute(&HASTEN, &values).await? == 0 {
            return Ok((Begun::UnderWay, row));
        }
        row.rotation.pace = Pace::Hasty;
        row.trust = trust;
        let detail = format!("rotation {} at step {}", row.rotation.id, row.rotation.step.as_str());
        audit(agent, "ca.hasten", kind.as_str().to_owned(), detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok((Begun::Hastened, row))
    }

    async fn try_step(
        &self,
        from: &RotationRow,
        to: RotationStep,
        changes: &StepChanges,
        agent: &str,
    ) -> Result<bool, sqlx::Error> {
        let mut transaction = self.database.side().await?;
        let now = now(&mut transaction).await?;
        // The row of the count is locked first, so steps of several hubs come one after the other.
        let trust = count(&mut transaction).await?;
        let rotation = stepped(&from.rotation, to, now);
        if transaction.execute(&STEP, &step_values(&rotation, trust, from)).await? == 0 {
            return Ok(false);
        }
        for row in &changes.stored {
            transaction.execute(&INSERT_CERTIFICATE, &insert_values(row)).await?;
        }
        for id in &changes.retired {
            retire(&mut transaction, id, now).await?;
            elsewhere::delete_mark(&mut transaction, id).await?;
        }
        for mark in &changes.marks {
            elsewhere::insert_mark(&mut transaction, mark, now).await?;
        }
        if to == RotationStep::Prepared {
            elsewhere::forget_requests(&mut transaction).await?;
        }
        for id in &changes.forgotten {
            transaction.execute(&FORGET_KEY, &[Value::Integer(now.millis()), Value::Text(id)]).await?;
        }
        audit(agent, act(to), rotation.kind.as_str().to_owned(), detail(&rotation, changes))
            .write(&mut transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

async fn insert(
    transaction: &mut Transaction,
    kind: RotationKind,
    pace: Pace,
    agent: &str,
) -> Result<RotationRow, sqlx::Error> {
    let begun = now(transaction).await?;
    let trust = count(transaction).await?;
    let last = transaction.rows(&LATEST, &[]).await?.first().map(|row| row.number(0)).transpose()?;
    let rotation = Rotation {
        id: last.unwrap_or_default() + 1,
        kind,
        pace,
        step: RotationStep::Begun,
        agent: agent.to_owned(),
        begun,
        prepared: None,
        activated: None,
        retired: None,
        archived: None,
    };
    let values = [
        Value::number(rotation.id),
        Value::Text(kind.as_str()),
        Value::Integer(i64::from(pace == Pace::Hasty)),
        Value::Text(agent),
        Value::number(trust),
        Value::Integer(begun.millis()),
    ];
    transaction.execute(&INSERT, &values).await?;
    let pace = match pace {
        Pace::Orderly => "orderly",
        Pace::Hasty => "hasty",
    };
    let detail = format!("rotation {}, {pace}", rotation.id);
    audit(agent, "ca.rotate", kind.as_str().to_owned(), detail).write(transaction).await?;
    Ok(RotationRow { rotation, trust })
}

/// An active certificate does not count any more, if there is one of this id.
async fn retire(transaction: &mut Transaction, id: &str, now: Timestamp) -> Result<(), sqlx::Error> {
    let found = transaction.rows(&ACTIVE, &[Value::Text(id)]).await?;
    let Some(row) = found.first() else { return Ok(()) };
    let (at, fingerprint) = (Value::Integer(now.millis()), row.bytes(4)?);
    let values = [Value::Text(id), at, Value::Text("rotated"), at, Value::Bytes(&fingerprint)];
    transaction.execute(&REVOKE, &values).await.map(|_| ())
}

/// Counts up what every hub looks at, and says how far.
async fn count(transaction: &mut Transaction) -> Result<u64, sqlx::Error> {
    Counted::Trust.count(transaction).await?;
    let rows = transaction.rows(&ACCESS_HEAD, &[]).await?;
    Ok(first(&rows)?.number(2)?)
}

async fn now(transaction: &mut Transaction) -> Result<Timestamp, sqlx::Error> {
    let rows = transaction.rows(&NOW, &[]).await?;
    Ok(first(&rows)?.timestamp(0)?)
}

fn first(rows: &[Row]) -> Result<&Row, RowError> {
    rows.first().ok_or_else(|| RowError { reason: "a row that is always there is missing".to_owned() })
}

fn hanging_values(issuer: &str, made_before: Option<Timestamp>, now: Timestamp) -> [Value<'_>; 3] {
    let made_before = made_before.map_or(i64::MAX, |at| at.millis());
    [Value::Text(issuer), Value::Integer(now.millis()), Value::Integer(made_before)]
}

/// The rotation after it has been moved to `to`.
fn stepped(rotation: &Rotation, to: RotationStep, now: Timestamp) -> Rotation {
    let mut next = Rotation { step: to, ..rotation.clone() };
    match to {
        RotationStep::Begun => {}
        RotationStep::Prepared => next.prepared = Some(now),
        RotationStep::Activated => next.activated = Some(now),
        RotationStep::Retired => next.retired = Some(now),
        RotationStep::Archived => next.archived = Some(now),
    }
    next
}

fn step_values(rotation: &Rotation, trust: u64, from: &RotationRow) -> [Value<'static>; 10] {
    let at = |at: Option<Timestamp>| Value::integer_or_null(at.map(|at| at.millis()));
    let open = if rotation.step == RotationStep::Archived { Value::Null } else { Value::Integer(1) };
    [
        Value::Integer(i64::from(rotation.step.number())),
        open,
        Value::number(trust),
        at(rotation.prepared),
        at(rotation.activated),
        at(rotation.retired),
        at(rotation.archived),
        Value::number(rotation.id),
        Value::Integer(i64::from(from.rotation.step.number())),
        Value::number(from.trust),
    ]
}

fn act(step: RotationStep) -> &'static str {
    match step {
        RotationStep::Begun => "ca.rotate",
        RotationStep::Prepared => "ca.prepare",
        RotationStep::Activated => "ca.activate",
        RotationStep::Retired => "ca.retire",
        RotationStep::Archived => "ca.archive",
    }
}

fn detail(rotation: &Rotation, changes: &StepChanges) -> String {
    let mut detail = format!("rotation {}", rotation.id);
    let stored: Vec<_> = changes.stored.iter().map(|row| row.id.as_str()).collect();
    let retired: Vec<_> = changes.retired.iter().map(String::as_str).collect();
    let forgotten: Vec<_> = changes.forgotten.iter().map(String::as_str).collect();
    for (what, ids) in [("stored", stored), ("retired", retired), ("deleted the keys of", forgotten)] {
        if !ids.is_empty() {
            detail = format!("{detail}; {what} {}", ids.join(", "));
        }
    }
    if let Some(note) = &changes.note {
        detail = format!("{detail}; {note}");
    }
    detail
}

fn audit(agent: &str, act: &'static str, subject: String, detail: String) -> Audit {
    Audit { agent: agent.to_owned(), act, subject, detail }
}

fn rotation_row(row: &Row) -> Result<RotationRow, RowError> {
    let odd = |what: &str| RowError { reason: format!("a rotation has a {what} that there is not") };
    let rotation = Rotation {
        id: row.number(0)?,
        kind: RotationKind::parse(&row.text(1)?).ok_or_else(|| odd("kind"))?,
        step: RotationStep::of_number(row.small(2)?).ok_or_else(|| odd("step"))?,
        pace: if row.integer(3)? == 0 { Pace::Orderly } else { Pace::Hasty },
        agent: row.text(4)?,
        begun: row.timestamp(6)?,
        prepared: row.timestamp_or_null(7)?,
        activated: row.timestamp_or_null(8)?,
        retired: row.timestamp_or_null(9)?,
        archived: row.timestamp_or_null(10)?,
    };
    Ok(RotationRow { rotation, trust: row.number(5)? })
}
