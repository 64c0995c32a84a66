//! Parked events, the processes that are parked as a whole, and what was done about them.

use proto::limits::PAGE_EVENTS_MAX;
use proto::parked::Unparked;
use proto::{Attempt, EventId, EventName, ParkPolicy, Pid, Position, Timestamp, Version};

use super::{ReadError, Reader, cursor};
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};
use crate::write::group::GroupId;
use crate::write::unpark::Replay;

/// Changes of one event that are told. Older ones come first; there are hardly ever more than a few.
const CHANGES_MAX: i64 = 1_000;

const OF_GROUP: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event_parked/of_group.sql"),
    include_str!("../../../sql/mysql/event_parked/of_group.sql"),
);
const OF_PID: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event_parked/of_pid.sql"),
    include_str!("../../../sql/mysql/event_parked/of_pid.sql"),
);
const PIDS: Statement = Statement::same(include_str!("../../../sql/parked_pid/of_group.sql"));
const PENDING: Statement = Statement::same(include_str!("../../../sql/event_unparked/pending.sql"));
const OF_EVENT: Statement = Statement::same(include_str!("../../../sql/event_unparked/of_event.sql"));

/// A parked event of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    /// Its position.
    pub position: Position,
    /// Its id.
    pub id: EventId,
    /// Its process.
    pub pid: Pid,
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: EventName,
    /// Its time.
    pub timestamp: Timestamp,
    /// When it was parked.
    pub parked: Timestamp,
    /// How often it was delivered until then.
    pub attempts: Attempt,
    /// Why it was parked.
    pub reason: String,
    /// Who had it last.
    pub consumer: String,
    /// Whether its process is parked with it.
    pub policy: ParkPolicy,
}

/// What was done about a parked event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedChangeRow {
    /// The group that had parked it.
    pub group: GroupId,
    /// What was done.
    pub done: Unparked,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub agent: String,
    /// When it was parked before that.
    pub parked: Timestamp,
    /// How often it was delivered until then.
    pub attempts: Attempt,
    /// Why it was parked.
    pub reason: String,
    /// Who had it last.
    pub consumer: String,
}

impl Reader {
    /// What a group has parked after a position, by position, of all processes or of one; fewer than
    /// `limit` (at most [`PAGE_EVENTS_MAX`]) are the last.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn parked(
        &self,
        group: GroupId,
        pid: Option<&Pid>,
        after: Position,
        limit: u32,
    ) -> Result<Vec<ParkedRow>, ReadError> {
        let group = Value::Integer(i64::from(group.0));
        let (after, limit) = (cursor(after), Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX))));
        let rows = match pid {
            None => self.pools.rows(&OF_GROUP, &[group, after, limit]).await?,
            Some(pid) => self.pools.rows(&OF_PID, &[group, Value::Text(pid.as_str()), after, limit]).await?,
        };
        Ok(rows.iter().map(parked).collect::<Result<_, _>>()?)
    }

    /// The processes of a group that are parked as a whole, by pid after `after`, each with the
    /// position from which on it is; fewer than `limit` (at most [`PAGE_EVENTS_MAX`]) are the last.
    /// One whose parked events were all deleted has no position any more.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn parked_pids(
        &self,
        group: GroupId,
        after: Option<&Pid>,
        limit: u32,
    ) -> Result<Vec<(Pid, Option<Position>)>, ReadError> {
        let after = Value::Text(after.map_or("", Pid::as_str));
        let limit = Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)));
        let rows = self.pools.rows(&PIDS, &[Value::Integer(i64::from(group.0)), after, limit]).await?;
        let pid = |row: &Row| -> Result<_, RowError> {
            let first = row.integer_or_null(1)?.map(|_| row.position(1)).transpose()?;
            Ok((row.name(0, Pid::parse)?, first))
        };
        Ok(rows.iter().map(pid).collect::<Result<_, _>>()?)
    }

    /// Events after a position that a group is to have again, by position; fewer than `limit` (at most
    /// [`PAGE_EVENTS_MAX`]) are the last.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn replays(
        &self,
        group: GroupId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Replay>, ReadError> {
        let limit = Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)));
        let values = [Value::Integer(i64::from(group.0)), cursor(after), limit];
        let rows = self.pools.rows(&PENDING, &values).await?;
        let replay = |row: &Row| -> Result<_, RowError> {
            Ok(Replay {
                position: row.position(0)?,
                pid: row.name(1, Pid::parse)?,
                attempts: Attempt(row.small(2)?),
            })
        };
        Ok(rows.iter().map(replay).collect::<Result<_, _>>()?)
    }

    /// Where the event `id` is; `None` if it was deleted.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there never was such an event.
    pub async fn position_of(&self, id: &EventId) -> Result<Option<Position>, ReadError> {
        let row = self.event_row(id).await?;
        Ok(if row.deleted()?.is_some() { None } else { Some(row.position()?) })
    }

    /// What was done about the event at `position` while groups had it parked, the oldest first.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn parked_changes(&self, position: Position) -> Result<Vec<ParkedChangeRow>, ReadError> {
        let rows = self.pools.rows(&OF_EVENT, &[cursor(position), Value::Integer(CHANGES_MAX)]).await?;
        Ok(rows.iter().map(change).collect::<Result<_, _>>()?)
    }
}

fn parked(row: &Row) -> Result<ParkedRow, RowError> {
    Ok(ParkedRow {
        position: row.position(0)?,
        id: row.name(1, EventId::parse)?,
        pid: row.name(2, Pid::parse)?,
        version: row.version(3)?,
        name: row.name(4, EventName::parse)?,
        timestamp: row.timestamp(5)?,
        parked: row.timestamp(6)?,
        attempts: Attempt(row.small(7)?),
        reason: row.text(8)?,
        consumer: row.text(9)?,
        policy: if row.integer(10)? == 0 { ParkPolicy::Event } else { ParkPolicy::Pid },
    })
}

fn change(row: &Row) -> Result<ParkedChangeRow, RowError> {
    let done = match (row.integer(1)?, row.integer_or_null(2)?) {
        (0, Some(_)) => Unparked::Replaying,
        (0, None) => Unparked::Replayed,
        _ => Unparked::Discarded { why: row.text_or_null(5)?.unwrap_or_default() },
    };
    Ok(ParkedChangeRow {
        group: GroupId(row.small(0)?),
        done,
        at: row.timestamp(3)?,
        agent: row.text(4)?,
        parked: row.timestamp(6)?,
        attempts: Attempt(row.small(7)?),
        reason: row.text(8)?,
        consumer: row.text(9)?,
    })
}
