//! The writer's connection, and the statements of the append path.
//!
//! What is read before the transaction is true inside of it if the head can be claimed: every append
//! of every hub moves the head, and [`Session::claim`] takes its lock and compares in one.

use proto::{EventId, Position, Timestamp, Version};
use sqlx::Error;

use crate::connection::Connection;
use crate::failure::{Failure, classify};
use crate::statement::{Statement, TEMPLATE_ROWS_MAX, Template, Value};
use crate::turn::{Held, Turn};
use crate::write::append::Prepared;
use crate::write::decide::{Eventlog, Taken};
use crate::write::versions::Map;

/// Bytes of events in one statement, unless a single event has more.
pub(crate) const STATEMENT_BYTES_MAX: usize = 4 << 20;

const BEGIN: Statement = Statement::each(SQLITE_BEGIN, "");
const COMMIT: Statement = Statement::same("COMMIT");
const ROLLBACK: Statement = Statement::same("ROLLBACK");
const READ_HEAD: Statement = Statement::same(include_str!("../../../sql/log_head/read.sql"));
const LOCK_HEAD: Statement = Statement::same(include_str!("../../../sql/log_head/lock.sql"));
const CLAIM: Statement = Statement::each(SQLITE_CLAIM, include_str!("../../../sql/mysql/log_head/claim.sql"));

const SQLITE_BEGIN: &str = "BEGIN IMMEDIATE";
const SQLITE_CLAIM: &str = include_str!("../../../sql/sqlite/log_head/claim.sql");
const SQLITE_INSERT: &str = include_str!("../../../sql/sqlite/event/insert.sql");
const MYSQL_INSERT: &str = include_str!("../../../sql/mysql/event/insert.sql");
static INSERT_EVENTS_SQLITE: Template = Template::passing(&[SQLITE_INSERT], "");
static INSERT_EVENTS_MYSQL: Template = Template::same(&[MYSQL_INSERT]).fine();
static APPEND: Template = Template::passing(&[SQLITE_BEGIN, SQLITE_CLAIM, SQLITE_INSERT], "");
static APPEND_ALONE: Template = Template::passing(&[SQLITE_BEGIN, SQLITE_CLAIM, SQLITE_INSERT, "COMMIT"], "");

const LAST_VERSIONS: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/last_versions.sql"),
    include_str!("../../../sql/mysql/event/last_versions.sql"),
);
static FIND_IDS: Template = Template::same(&[include_str!("../../../sql/event/find_ids.sql")]);
pub(crate) static INSERT_EIDS: Template = Template::passing(
    &[include_str!("../../../sql/sqlite/event_eid/insert.sql")],
    include_str!("../../../sql/mysql/event_eid/insert.sql"),
);
pub(crate) static INSERT_CPIDS: Template = Template::passing(
    &[include_str!("../../../sql/sqlite/event_cpid/insert.sql")],
    include_str!("../../../sql/mysql/event_cpid/insert.sql"),
);

/// What comes after the events of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing: the transaction ends with them.
    Commit,
    /// Something else, in the same transaction.
    More,
}

/// Where the log ends, and which log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub(crate) position: Position,
    pub(crate) incarnation: i64,
}

/// A connection, in a transaction or not. Dropped, it rolls back.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    turn: Turn,
    taken: Option<Held>,
    committing: bool,
    /// Calls of the engine, for tests that count them.
    #[cfg(test)]
    pub(crate) calls: usize,
}

impl Session {
    pub(crate) fn new(connection: Connection, turn: Turn) -> Self {
        Self {
            connection,
            turn,
            taken: None,
            committing: false,
            #[cfg(test)]
            calls: 0,
        }
    }

    /// Whether a COMMIT was sent whose outcome is not known.
    pub(crate) fn in_doubt(&self) -> bool {
        self.committing
    }

    /// Starts a transaction. A server has done so by itself; SQLite takes the lock for writing.
    pub(crate) async fn begin(&mut self) -> Result<(), Error> {
        if matches!(self.connection, Connection::Sqlite(_)) {
            self.taken = Some(self.turn.take().await);
            self.connection.run(&BEGIN).await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        self.committing = true;
        self.connection.run(&COMMIT).await?;
        self.committing = false;
        self.taken = None;
        Ok(())
    }

    /// Ends a transaction, if there is one, as if it had not been.
    pub(crate) async fn rollback(&mut self) -> Result<(), Error> {
        let begun = matches!(self.connection, Connection::MySql(_)) || self.taken.is_some();
        if begun {
            self.connection.run(&ROLLBACK).await?;
        }
        self.taken = None;
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.connection.close().await;
    }

    pub(crate) async fn execute(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<u64, Error> {
        #[cfg(test)]
        {
            self.calls += 1;
        }
        self.connection.execute(statement, values).await
    }

    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<crate::row::Row>, Error> {
        #[cfg(test)]
        {
            self.calls += 1;
        }
        self.connection.rows(statement, values).await
    }

    /// Runs a template over `rows`, each of `N` values, with `before` and `after` around them, and
    /// says how many rows it matched.
    pub(crate) async fn execute_rows<const N: usize>(
        &mut self,
        template: &Template,
        before: &[Value<'_>],
        rows: &[[Value<'_>; N]],
        after: &[Value<'_>],
    ) -> Result<u64, Error> {
        let (mut rest, mut matched) = (rows, 0);
        while !rest.is_empty() {
            let fewer = template.passes() && self.is_sqlite();
            let (statement, size) =
                if fewer { template.for_at_least(rest.len()) } else { template.for_at_most(rest.len()) };
            let (part, others) = rest.split_at(size.min(rest.len()));
            matched += if before.is_empty() && after.is_empty() {
                self.execute(&statement, part.as_flattened()).await?
            } else {
                let mut values = [before, part.as_flattened()].concat();
                if !after.is_empty() {
                    values.resize(before.len() + size * N, Value::Null);
                    values.extend_from_slice(after);
                }
                self.execute(&statement, &values).await?
            };
            rest = others;
        }
        Ok(matched)
    }

    fn is_sqlite(&self) -> bool {
        matches!(self.connection, Connection::Sqlite(_))
    }

    /// The head; `None` if its row is missing, which is damage.
    pub(crate) async fn head(&mut self) -> Result<Option<LogEnd>, Error> {
        let rows = self.rows(&READ_HEAD, &[]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(LogEnd { position: row.position(0)?, incarnation: row.integer(1)? }))
    }

    /// Takes the head's lock without moving it, so that what is read next stays true.
    pub(crate) async fn lock_head(&mut self) -> Result<(), Error> {
        self.execute(&LOCK_HEAD, &[]).await.map(drop)
    }

    /// Moves the head to `to` and keeps its lock, if it is where `from` says.
    pub(crate) async fn claim(&mut self, from: LogEnd, to: Position, now: Timestamp) -> Result<bool, Error> {
        let values = self.claim_values(from, to, now);
        match self.execute(&CLAIM, &values).await {
            Ok(matched) => Ok(matched == 1),
            Err(error) if is_moved(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn claim_values(&self, from: LogEnd, to: Position, now: Timestamp) -> [Value<'static>; 4] {
        let (known, which) = (Value::number(from.position.0), Value::Integer(from.incarnation));
        let (new, now) = (Value::number(to.0), Value::Integer(now.millis()));
        if self.is_sqlite() { [known, which, new, now] } else { [new, now, known, which] }
    }

    /// Starts a transaction, claims the head and inserts `events`, which have their places and,
    /// before [`Then::Commit`], no links. `false` if somebody else has moved the head.
    ///
    /// With SQLite this is one call: each one wakes a thread, which costs more than a row.
    pub(crate) async fn append(
        &mut self,
        from: LogEnd,
        now: Timestamp,
        events: &[&Prepared],
        then: Then,
    ) -> Result<bool, Error> {
        let to = events.last().map_or(from.position, |event| event.event.position);
        if !self.is_sqlite() || events.len() > TEMPLATE_ROWS_MAX {
            self.begin().await?;
            if !self.claim(from, to, now).await? {
                return Ok(false);
            }
            self.insert_events(events).await?;
            if then == Then::Commit {
                self.commit().await?;
            }
            return Ok(true);
        }
        let template = if then == Then::Commit { &APPEND_ALONE } else { &APPEND };
        let mut values = Vec::with_capacity(4 + 14 * events.len());
        values.extend(self.claim_values(from, to, now));
        values.extend(events.iter().flat_map(|event| event_row(event)));
        self.taken = Some(self.turn.take().await);
        self.committing = then == Then::Commit;
        match self.execute(&template.for_at_least(events.len()).0, &values).await {
            Ok(_) => {
                if then == Then::Commit {
                    self.committing = false;
                    self.taken = None;
                }
                Ok(true)
            }
            Err(error) => {
                // An error ends the call, so one that COMMIT cannot have says that it was not reached.
                if is_moved(&error) || classify(&error) == Failure::Taken {
                    self.committing = false;
                }
                if is_moved(&error) { Ok(false) } else { Err(error) }
            }
        }
    }

    /// The last version of each eventlog, in order.
    pub(crate) async fn last_versions(&mut self, eventlogs: &[Eventlog]) -> Result<Vec<Version>, Error> {
        let mut versions = vec![Version(0); eventlogs.len()];
        let names: Vec<_> = eventlogs.iter().map(|log| [log.domain.as_str(), log.pid.as_str()]).collect();
        // Lists of texts always have a JSON form.
        let names = serde_json::to_string(&names).unwrap_or_default();
        for row in self.rows(&LAST_VERSIONS, &[Value::Text(&names)]).await? {
            let version = row.integer_or_null(1)?.unwrap_or_default();
            if let Some(place) = versions.get_mut(row.small::<usize>(0)?) {
                *place = Version(version.cast_unsigned());
            }
        }
        Ok(versions)
    }

    /// Those of `ids` that are in the log.
    pub(crate) async fn taken(&mut self, ids: &[&EventId]) -> Result<Map<EventId, Taken>, Error> {
        let mut found = Map::default();
        for part in ids.chunks(TEMPLATE_ROWS_MAX) {
            // Repeating the last id fills up the next larger size: one statement in place of several.
            let (statement, size) = FIND_IDS.for_at_least(part.len());
            let last = part.last().map_or("", |id| id.as_str());
            let mut values: Vec<_> = part.iter().map(|id| Value::Text(id.as_str())).collect();
            values.resize(size, Value::Text(last));
            for row in self.rows(&statement, &values).await? {
                let deleted = row.integer_or_null(4)?.is_some();
                let digest = <[u8; 16]>::try_from(row.bytes(3)?).ok().filter(|_| !deleted);
                let taken = Taken { position: row.position(1)?, version: row.version(2)?, digest };
                found.insert(row.name(0, EventId::parse)?, taken);
            }
        }
        Ok(found)
    }

    /// Inserts events that have their places, without their links.
    pub(crate) async fn insert_events(&mut self, events: &[&Prepared]) -> Result<(), Error> {
        let mut rest = events;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|event| {
                bytes += event.bytes;
                bytes <= STATEMENT_BYTES_MAX
            });
            let (part, others) = rest.split_at(fits.count().clamp(1, rest.len()));
            let rows: Vec<_> = part.iter().map(|event| event_row(event)).collect();
            let insert = if self.is_sqlite() { &INSERT_EVENTS_SQLITE } else { &INSERT_EVENTS_MYSQL };
            self.execute_rows(insert, &[], &rows, &[]).await?;
            rest = others;
        }
        Ok(())
    }

    /// Inserts the links of events that have their places.
    pub(crate) async fn insert_links(&mut self, events: &[&Prepared]) -> Result<(), Error> {
        let linked = || events.iter().map(|prepared| &prepared.event);
        let eids: Vec<_> = linked()
            .flat_map(|event| {
                event.eids.iter().map(|eid| [Value::number(event.position.0), Value::Text(eid.as_str())])
            })
            .collect();
        self.execute_rows(&INSERT_EIDS, &[], &eids, &[]).await?;
        let cpids: Vec<_> = linked()
            .flat_map(|event| {
                event.cpids.iter().map(|cpid| {
                    let (domain, pid) = (cpid.domain.as_str(), cpid.pid.as_str());
                    [Value::number(event.position.0), Value::Text(domain), Value::Text(pid)]
                })
            })
            .collect();
        self.execute_rows(&INSERT_CPIDS, &[], &cpids, &[]).await.map(drop)
    }
}

fn event_row(prepared: &Prepared) -> [Value<'_>; 14] {
    let event = &prepared.event;
    [
        Value::number(event.position.0),
        Value::Text(event.id.as_str()),
        Value::Integer(event.timestamp.millis()),
        Value::Text(event.domain.as_str()),
        Value::Text(event.pid.as_str()),
        Value::number(event.version.0),
        Value::Text(event.name.as_str()),
        Value::text_or_null(event.rid.as_ref().map(EventId::as_str)),
        Value::text_or_null(event.publisher.as_ref().map(proto::ServiceName::as_str)),
        Value::integer_or_null(prepared.published.map(Timestamp::millis)),
        Value::Bytes(&prepared.digest),
        Value::text_or_null(prepared.metadata.as_deref()),
        Value::Text(event.data.as_str()),
        Value::Integer(i64::from(!event.eids.is_empty() || !event.cpids.is_empty())),
    ]
}

/// Whether SQLite's claim found the head elsewhere: it then puts nothing where a position must be.
fn is_moved(error: &Error) -> bool {
    matches!(error, Error::Database(database) if database.message().contains("log_head.position"))
}
