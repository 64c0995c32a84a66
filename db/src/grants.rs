//! Grants and roles as rows. What they amount to is the hub's matter.
//!
//! Whoever changes one counts up in the same transaction, before anything else: that row's lock
//! serialises all changes of grants of the database, so what is looked up is still so when it is changed,
//! and every hub sees within a second that its copy is old.

use proto::access::{Action, Grant, NewGrant, RoleMember, Subject};
use proto::limits::{GRANTS_MAX, PAGE_EVENTS_MAX};
use proto::{Pattern, RoleName, ServiceName, Timestamp};

use crate::access_head::Counted;
use crate::audit::Audit;
use crate::connection::Transaction;
use crate::database::Database;
use crate::record::RecordError;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};

const INSERT: Statement = Statement::same(include_str!("../../sql/access_grant/insert.sql"));
const FIND_SAME: Statement = Statement::same(include_str!("../../sql/access_grant/find_same.sql"));
const FIND: Statement = Statement::same(include_str!("../../sql/access_grant/find.sql"));
const DELETE: Statement = Statement::same(include_str!("../../sql/access_grant/delete.sql"));
const COUNT: Statement = Statement::same(include_str!("../../sql/access_grant/count.sql"));
const PAGE: Statement = Statement::same(include_str!("../../sql/access_grant/page.sql"));
const OF_SUBJECT: Statement = Statement::same(include_str!("../../sql/access_grant/of_subject.sql"));
const MEMBER_INSERT: Statement = Statement::same(include_str!("../../sql/role_member/insert.sql"));
const MEMBER_FIND: Statement = Statement::same(include_str!("../../sql/role_member/find.sql"));
const MEMBER_DELETE: Statement = Statement::same(include_str!("../../sql/role_member/delete.sql"));
const MEMBER_COUNT: Statement = Statement::same(include_str!("../../sql/role_member/count.sql"));
const OF_ROLE: Statement = Statement::same(include_str!("../../sql/role_member/of_role.sql"));
const AFTER_ROLE: Statement = Statement::same(include_str!("../../sql/role_member/after_role.sql"));

/// What came of something that was to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added<T> {
    /// It is there since now.
    Now(T),
    /// The same was there before, and nothing changed.
    Before(T),
    /// There are [`GRANTS_MAX`] already, and nothing changed.
    Full,
}

/// The grants and roles of a database.
#[derive(Debug, Clone)]
pub struct Grants {
    database: Database,
}

impl Database {
    /// Grants and roles.
    #[must_use]
    pub fn grants(&self) -> Grants {
        Grants { database: self.clone() }
    }
}

impl Grants {
    /// Adds a grant in the name of `agent`, and tells its number.
    ///
    /// # Errors
    /// [`RecordError`]; adding it again is safe.
    pub async fn add(
        &self,
        grant: &NewGrant,
        agent: &str,
        now: Timestamp,
    ) -> Result<Added<u64>, RecordError> {
        let mut transaction = self.database.side().await?;
        Counted::Grants.count(&mut transaction).await?;
        if let Some(id) = find_same(&mut transaction, grant).await? {
            return Ok(Added::Before(id));
        }
        if is_full(&mut transaction, &COUNT).await? {
            return Ok(Added::Full);
        }
        let (kind, subject) = subject(&grant.subject);
        let values = [
            kind,
            subject,
            Value::Text(grant.action.as_str()),
            Value::Text(grant.domain.as_str()),
            Value::text_or_null(grant.name.as_ref().map(Pattern::as_str)),
            Value::integer_or_null(grant.expires.map(Timestamp::millis)),
            Value::Text(agent),
            Value::Integer(now.millis()),
        ];
        transaction.execute(&INSERT, &values).await?;
        let id = find_same(&mut transaction, grant).await?;
        let id = id.ok_or_else(|| RecordError::NotFound { what: "a grant that was just added".into() })?;
        let detail = format!("grant {id}: {}", in_words(grant));
        audit("grant.add", agent, grant.subject.to_string(), detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Added::Now(id))
    }

    /// Takes a grant back in the name of `agent`. `false`: there is none of that number.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn remove(&self, id: u64, agent: &str) -> Result<bool, RecordError> {
        let mut transaction = self.database.side().await?;
        Counted::Grants.count(&mut transaction).await?;
        let found = transaction.rows(&FIND, &[Value::number(id)]).await?;
        let Some(grant) = found.first().map(grant).transpose()? else { return Ok(false) };
        transaction.execute(&DELETE, &[Value::number(id)]).await?;
        let Grant { subject, action, domain, name, expires, .. } = grant;
        let subject_text = subject.to_string();
        let detail =
            format!("grant {id}: {}", in_words(&NewGrant { subject, action, domain, name, expires }));
        audit("grant.remove", agent, subject_text, detail).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Grants by number after `after`, all or those of one subject; fewer than `limit` (at most
    /// [`PAGE_EVENTS_MAX`]) are the last.
    ///
    /// # Errors
    /// [`RecordError`]; nothing is lost by asking again.
    pub async fn page(
        &self,
        of: Option<&Subject>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Grant>, RecordError> {
        let (after, limit) = (Value::number(after), page_limit(limit));
        let pools = self.database.reading();
        let rows = match of.map(subject) {
            None => pools.rows(&PAGE, &[after, limit]).await?,
            Some((kind, subject)) => pools.rows(&OF_SUBJECT, &[kind, subject, after, limit]).await?,
        };
        Ok(rows.iter().map(grant).collect::<Result<_, _>>()?)
    }

    /// Gives a role to a service, in the name of `agent`.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn join(
        &self,
        role: &RoleName,
        service: &ServiceName,
        agent: &str,
        now: Timestamp,
    ) -> Result<Added<()>, RecordError> {
        let mut transaction = self.database.side().await?;
        Counted::Grants.count(&mut transaction).await?;
        let (role_text, service_text) = (Value::Text(role.as_str()), Value::Text(service.as_str()));
        if !transaction.rows(&MEMBER_FIND, &[role_text, service_text]).await?.is_empty() {
            return Ok(Added::Before(()));
        }
        if is_full(&mut transaction, &MEMBER_COUNT).await? {
            return Ok(Added::Full);
        }
        let values = [role_text, service_text, Value::Text(agent), Value::Integer(now.millis())];
        transaction.execute(&MEMBER_INSERT, &values).await?;
        let subject = format!("service {service}");
        audit("role.join", agent, subject, format!("role {role}")).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Added::Now(()))
    }

    /// Takes a role from a service, in the name of `agent`. `false`: it does not have it.
    ///
    /// # Errors
    /// [`RecordError`]; asking again is safe.
    pub async fn quit(
        &self,
        role: &RoleName,
        service: &ServiceName,
        agent: &str,
    ) -> Result<bool, RecordError> {
        let mut transaction = self.database.side().await?;
        Counted::Grants.count(&mut transaction).await?;
        let values = [Value::Text(role.as_str()), Value::Text(service.as_str())];
        if transaction.execute(&MEMBER_DELETE, &values).await? == 0 {
            return Ok(false);
        }
        let subject = format!("service {service}");
        audit("role.quit", agent, subject, format!("role {role}")).write(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Who has which role, by role and service after `after`, all or those of one role; fewer than
    /// `limit` (at most [`PAGE_EVENTS_MAX`]) are the last.
    ///
    /// # Errors
    /// [`RecordError`]; nothing is lost by asking again.
    pub async fn members(
        &self,
        of: Option<&RoleName>,
        after: Option<&(RoleName, ServiceName)>,
        limit: u32,
    ) -> Result<Vec<RoleMember>, RecordError> {
        let pools = self.database.reading();
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        let (role, service) = match after {
            Some((role, service)) => (Some(role), service.as_str()),
            None => (of, ""),
        };
        let mut rows = Vec::new();
        if let Some(role) = role.filter(|role| of.is_none_or(|of| of == *role)) {
            let values = [Value::Text(role.as_str()), Value::Text(service), page_limit(limit)];
            rows = pools.rows(&OF_ROLE, &values).await?;
        }
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if of.is_none() && left > 0 {
            let values = [Value::Text(role.map_or("", RoleName::as_str)), page_limit(left)];
            rows.extend(pools.rows(&AFTER_ROLE, &values).await?);
        }
        Ok(rows.iter().map(member).collect::<Result<_, _>>()?)
    }
}

async fn find_same(transaction: &mut Transaction, grant: &NewGrant) -> Result<Option<u64>, RecordError> {
    let (kind, subject) = subject(&grant.subject);
    let values = [
        kind,
        subject,
        Value::Text(grant.action.as_str()),
        Value::Text(grant.domain.as_str()),
        Value::Text(grant.name.as_ref().map_or("", Pattern::as_str)),
        Value::Integer(grant.expires.map_or(0, Timestamp::millis)),
    ];
    let rows = transaction.rows(&FIND_SAME, &values).await?;
    Ok(rows.first().map(|row| row.number(0)).transpose()?)
}

async fn is_full(transaction: &mut Transaction, count: &Statement) -> Result<bool, RecordError> {
    let rows = transaction.rows(count, &[]).await?;
    let found = rows.first().map(|row| row.number(0)).transpose()?;
    Ok(found.is_some_and(|found| found >= GRANTS_MAX))
}

fn audit(act: &'static str, agent: &str, subject: String, detail: String) -> Audit {
    Audit { agent: agent.to_owned(), act, subject, detail }
}

/// What is granted, in words that follow "may".
fn in_words(grant: &NewGrant) -> String {
    let name = grant.name.as_ref().map(|name| format!(", events {name}")).unwrap_or_default();
    let until = grant.expires.map(|expires| format!(", until {expires}")).unwrap_or_default();
    format!("{} in domain {}{name}{until}", grant.action, grant.domain)
}

fn page_limit(limit: u32) -> Value<'static> {
    Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)))
}

/// Kind and name of a subject.
fn subject(subject: &Subject) -> (Value<'static>, Value<'_>) {
    match subject {
        Subject::Service(service) => (Value::Integer(0), Value::Text(service.as_str())),
        Subject::Role(role) => (Value::Integer(1), Value::Text(role.as_str())),
    }
}

fn grant(row: &Row) -> Result<Grant, RowError> {
    let subject = match row.integer(1)? {
        0 => Subject::Service(row.name(2, ServiceName::parse)?),
        1 => Subject::Role(row.name(2, RoleName::parse)?),
        kind => return Err(RowError { reason: format!("there is no kind {kind} of subject") }),
    };
    let action: Result<Action, _> = row.text_ref(3)?.parse();
    Ok(Grant {
        id: row.number(0)?,
        subject,
        action: action.map_err(|error| RowError { reason: error.to_string() })?,
        domain: row.name(4, Pattern::parse)?,
        name: row.name_or_null(5, Pattern::parse)?,
        expires: row.timestamp_or_null(6)?,
        agent: row.text(7)?,
        created: row.timestamp(8)?,
    })
}

fn member(row: &Row) -> Result<RoleMember, RowError> {
    Ok(RoleMember {
        role: row.name(0, RoleName::parse)?,
        service: row.name(1, ServiceName::parse)?,
        agent: row.text(2)?,
        created: row.timestamp(3)?,
    })
}
