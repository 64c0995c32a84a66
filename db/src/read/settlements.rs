//! What a group has settled, and what it will try again: for a dispatcher that starts.

use std::sync::Arc;

use proto::limits::PAGE_EVENTS_MAX;
use proto::{Position, Timestamp};

use super::{ReadError, Reader, cursor};
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};
use crate::write::group::GroupId;
use crate::write::settlement::Retry;

const OF_GROUP: Statement = Statement::same(include_str!("../../../sql/event_published/of_group.sql"));
const LAST_ACT: Statement = Statement::same(include_str!("../../../sql/event_unparked/last.sql"));
const OUTS: Statement = Statement::same(include_str!("../../../sql/consumer_slot/outs.sql"));
const RETRIES: Statement = Statement::same(include_str!("../../../sql/event_retry/of_group.sql"));

/// All events that a group gets of one slot in `first..=last`: they have an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledRun {
    /// The slot.
    pub slot: u16,
    /// The first event.
    pub first: Position,
    /// The last event.
    pub last: Position,
}

impl Reader {
    /// Settled runs that start after a position, by their first position; fewer than `limit`
    /// (at most [`PAGE_EVENTS_MAX`]) are the last.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn settled(
        &self,
        group: GroupId,
        after_first: Position,
        limit: u32,
    ) -> Result<Vec<SettledRun>, ReadError> {
        let rows = self.pools.rows(&OF_GROUP, &page_of(group, after_first, limit)).await?;
        let run = |row: &Row| -> Result<_, RowError> {
            Ok(SettledRun { slot: row.small(0)?, first: row.position(1)?, last: row.position(2)? })
        };
        Ok(rows.iter().map(run).collect::<Result<_, _>>()?)
    }

    /// Events that members had when the slots of the group were last written.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn outs(&self, group: GroupId) -> Result<Vec<Position>, ReadError> {
        let rows = self.pools.rows(&OUTS, &[Value::Integer(i64::from(group.0))]).await?;
        let mut outs = Vec::new();
        for row in &rows {
            outs.extend(positions(row.text_ref(0)?)?);
        }
        Ok(outs)
    }

    /// When the last act on parked events of the group was; long ago if there never was one.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn last_act(&self, group: GroupId) -> Result<Timestamp, ReadError> {
        let rows = self.pools.rows(&LAST_ACT, &[Value::Integer(i64::from(group.0))]).await?;
        let last = rows.first().map(|row| row.timestamp_or_null(0)).transpose()?;
        Ok(last.flatten().unwrap_or_default())
    }

    /// Failed tries that have no outcome yet, by position; fewer than `limit`
    /// (at most [`PAGE_EVENTS_MAX`]) are the last.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn retries(
        &self,
        group: GroupId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<Retry>, ReadError> {
        let rows = self.pools.rows(&RETRIES, &page_of(group, after, limit)).await?;
        Ok(rows.iter().map(|row| retry(row, 0)).collect::<Result<_, _>>()?)
    }
}

fn positions(text: &str) -> Result<Vec<Position>, RowError> {
    let position = |text: &str| text.parse().map(Position);
    text.split(',').map(position).collect::<Result<_, _>>().map_err(|_| RowError {
        reason: format!("what a slot has out is {text:?}, which is no list of positions"),
    })
}

/// A retry whose columns start at `column`.
pub(super) fn retry(row: &Row, column: usize) -> Result<Retry, RowError> {
    Ok(Retry {
        position: row.position(column)?,
        attempts: proto::Attempt(row.small(column + 1)?),
        retry_at: row.timestamp(column + 2)?,
        reason: row.text(column + 3)?,
        consumer: Arc::from(row.text(column + 4)?),
        losses: row.small(column + 5)?,
    })
}

fn page_of(group: GroupId, after: Position, limit: u32) -> [Value<'static>; 3] {
    let limit = limit.clamp(1, PAGE_EVENTS_MAX);
    [Value::Integer(i64::from(group.0)), cursor(after), Value::Integer(i64::from(limit))]
}
