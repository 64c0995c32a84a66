//! The writer's connection, and the statements of the append path.
//!
//! What is read before the transaction is true inside of it if the head can be claimed: every append
//! of every hub moves the head, and [`Session::claim`] takes its lock and compares in one.

use std::collections::HashMap;

use proto::{EventId, Position, Timestamp, Version};
use sqlx::Error;
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::{Connection, Turn};
use crate::statement::{Statement, TEMPLATE_ROWS_MAX, Template, Value};
use crate::write::append::Prepared;
use crate::write::decide::{Eventlog, Taken};

/// Bytes of events in one statement, unless a single event has more.
const STATEMENT_BYTES_MAX: usize = 4 << 20;

const BEGIN: Statement = Statement::each("BEGIN IMMEDIATE", "");
const COMMIT: Statement = Statement::same("COMMIT");
const ROLLBACK: Statement = Statement::same("ROLLBACK");
const READ_HEAD: Statement = Statement::same(include_str!("../../../sql/log_head/read.sql"));
const LOCK_HEAD: Statement = Statement::same(include_str!("../../../sql/log_head/lock.sql"));
const CLAIM: Statement = Statement::same(include_str!("../../../sql/log_head/claim.sql"));
static LAST_VERSIONS: Template = Template::same(include_str!("../../../sql/event/last_versions.sql"));
static FIND_IDS: Template = Template::same(include_str!("../../../sql/event/find_ids.sql"));
static INSERT_EVENTS: Template = Template::same(include_str!("../../../sql/event/insert.sql"));
static INSERT_EIDS: Template = Template::same(include_str!("../../../sql/event_eid/insert.sql"));
static INSERT_CPIDS: Template = Template::same(include_str!("../../../sql/event_cpid/insert.sql"));

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
    taken: Option<OwnedSemaphorePermit>,
    committing: bool,
}

impl Session {
    pub(crate) fn new(connection: Connection, turn: Turn) -> Self {
        Self { connection, turn, taken: None, committing: false }
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
        self.connection.execute(statement, values).await
    }

    pub(crate) async fn rows(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
    ) -> Result<Vec<crate::row::Row>, Error> {
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
            let (statement, taken) = template.for_at_most(rest.len());
            let (part, others) = rest.split_at(taken.min(rest.len()));
            matched += if before.is_empty() && after.is_empty() {
                self.execute(&statement, part.as_flattened()).await?
            } else {
                self.execute(&statement, &[before, part.as_flattened(), after].concat()).await?
            };
            rest = others;
        }
        Ok(matched)
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
        let values = [
            Value::number(to.0),
            Value::Integer(now.millis()),
            Value::number(from.position.0),
            Value::Integer(from.incarnation),
        ];
        Ok(self.execute(&CLAIM, &values).await? == 1)
    }

    /// The last version of each eventlog, in order.
    pub(crate) async fn last_versions(&mut self, eventlogs: &[Eventlog]) -> Result<Vec<Version>, Error> {
        let mut versions = vec![Version(0); eventlogs.len()];
        let wanted: Vec<_> = (0_i64..)
            .zip(eventlogs)
            .map(|(at, log)| {
                [Value::Integer(at), Value::Text(log.domain.as_str()), Value::Text(log.pid.as_str())]
            })
            .collect();
        let mut rest = wanted.as_slice();
        while !rest.is_empty() {
            let (statement, taken) = LAST_VERSIONS.for_at_most(rest.len());
            let (part, others) = rest.split_at(taken.min(rest.len()));
            for row in self.rows(&statement, part.as_flattened()).await? {
                let version = row.integer_or_null(1)?.unwrap_or_default();
                if let Some(place) = versions.get_mut(row.small::<usize>(0)?) {
                    *place = Version(version.cast_unsigned());
                }
            }
            rest = others;
        }
        Ok(versions)
    }

    /// Those of `ids` that are in the log.
    pub(crate) async fn taken(&mut self, ids: &[&EventId]) -> Result<HashMap<EventId, Taken>, Error> {
        let mut found = HashMap::new();
        for part in ids.chunks(TEMPLATE_ROWS_MAX) {
            // Repeating the last id fills up the next larger size: one statement in place of several.
            let (statement, size) = FIND_IDS.for_at_most(part.len().next_power_of_two());
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

    /// Inserts events that have their places, with their links.
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
            self.execute_rows(&INSERT_EVENTS, &[], &rows, &[]).await?;
            rest = others;
        }
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
