//! Schedules: what is due, one of them, and pages of them.
//!
//! A page goes on from a (time, id): first the rest of that millisecond, then what is later. As two
//! statements, each is one stretch of an index, however many schedules are due at the same time.

use std::ops::ControlFlow;

use proto::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use proto::{Domain, EventId, Timestamp};

use super::{ReadError, Reader};
use crate::row::{Row, RowError};
use crate::schedule::{Due, Schedule, ScheduleRow, Which};
use crate::statement::{Statement, Template, Value};

/// Schedules of one page of [`Reader::due`]. A larger wish is cut to it.
pub const DUE_PAGE_MAX: u32 = 10_000;

const DUE_AT: Statement = Statement::same(include_str!("../../../sql/event_scheduled/due_at.sql"));
const DUE_AFTER: Statement = Statement::same(include_str!("../../../sql/event_scheduled/due_after.sql"));
const PENDING_AT: Statement = Statement::same(include_str!("../../../sql/event_scheduled/pending_at.sql"));
const PENDING_AFTER: Statement =
    Statement::same(include_str!("../../../sql/event_scheduled/pending_after.sql"));
const PAGE_AT: Statement = Statement::same(include_str!("../../../sql/event_scheduled/page_at.sql"));
const PAGE_AFTER: Statement = Statement::same(include_str!("../../../sql/event_scheduled/page_after.sql"));
const OF_KEY: Statement = Statement::same(include_str!("../../../sql/event_scheduled/of_key.sql"));
static OF_IDS: Template = Template::same(&[include_str!("../../../sql/event_scheduled/of_ids.sql")]);

impl Reader {
    /// When the next pending schedules after `after` are due that are due at `until` or before, at most
    /// `limit` (and [`DUE_PAGE_MAX`]) of them, by time and id. Fewer than that means that there are no
    /// more for now; another one may be added anywhere at any time.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn due(
        &self,
        after: Option<&Due>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Due>, ReadError> {
        let limit = limit.clamp(1, DUE_PAGE_MAX);
        let mut page = Vec::new();
        if let Some(after) = after.filter(|after| after.at <= until) {
            let values =
                [time(Some(after)), Value::Text(after.id.as_str()), Value::Integer(i64::from(limit))];
            page = self.pools.rows(&DUE_AT, &values).await?;
        }
        let left = i64::from(limit).saturating_sub(i64::try_from(page.len()).unwrap_or(i64::MAX));
        if left > 0 {
            let values = [time(after), Value::Integer(until.millis()), Value::Integer(left)];
            page.extend(self.pools.rows(&DUE_AFTER, &values).await?);
        }
        Ok(page.iter().map(due).collect::<Result<_, _>>()?)
    }

    /// One schedule, whatever has become of it; by key the newest one of that key.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn schedule(&self, which: &Which) -> Result<Option<Schedule>, ReadError> {
        let rows = match which {
            Which::Id(id) => self.pools.rows(&OF_IDS.for_at_most(1).0, &[Value::Text(id.as_str())]).await?,
            Which::Key(key) => self.pools.rows(&OF_KEY, &[Value::Text(key.as_str())]).await?,
        };
        let row = rows.into_iter().next().map(ScheduleRow);
        Ok(row.map(|row| row.schedule()).transpose()?)
    }

    /// Those of `ids` (at most [`PAGE_EVENTS_MAX`]) that are schedules, in any order.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn schedules_of(&self, ids: &[EventId]) -> Result<Vec<Schedule>, ReadError> {
        let mut found = Vec::with_capacity(ids.len());
        let mut rest = ids.get(..PAGE_EVENTS_MAX as usize).unwrap_or(ids);
        while let Some(last) = rest.last() {
            let (statement, size) = OF_IDS.for_at_least(rest.len());
            let (part, others) = rest.split_at(size.min(rest.len()));
            // Repeating the last id fills up the size, and finds nothing twice.
            let mut values: Vec<_> = part.iter().map(|id| Value::Text(id.as_str())).collect();
            values.resize(size, Value::Text(last.as_str()));
            for row in self.pools.rows(&statement, &values).await? {
                found.push(ScheduleRow(row).schedule()?);
            }
            rest = others;
        }
        Ok(found)
    }

    /// The schedules after `after`, all or only the pending ones, of all domains or one, by time and
    /// id: at most `limit` (and [`PAGE_EVENTS_MAX`]) of them and about [`PAGE_BYTES_MAX`] bytes, but
    /// always one if there is one. None means that there are no more.
    ///
    /// It looks at all schedules on its way to those of a domain.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn schedules(
        &self,
        pending_only: bool,
        domain: Option<&Domain>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Schedule>, ReadError> {
        let (at, later) = if pending_only { (&PENDING_AT, &PENDING_AFTER) } else { (&PAGE_AT, &PAGE_AFTER) };
        let domain = Value::text_or_null(domain.map(Domain::as_str));
        let mut page = Page { schedules: Vec::new(), bytes: 0, full: false };
        let limit = limit.clamp(1, PAGE_EVENTS_MAX).min(self.rows_that_fit());
        if let Some(after) = after {
            let values = [time(Some(after)), Value::Text(after.id.as_str()), domain, page.left(limit)];
            self.pools.each(at, &values, |row| page.take(row, limit)).await?;
        }
        if !page.full {
            let values = [time(after), domain, page.left(limit)];
            self.pools.each(later, &values, |row| page.take(row, limit)).await?;
        }
        if !page.schedules.is_empty() {
            self.remember_size(page.bytes, page.schedules.len());
        }
        Ok(page.schedules)
    }
}

/// What was read of a page.
struct Page {
    schedules: Vec<Schedule>,
    bytes: usize,
    full: bool,
}

impl Page {
    /// How many more there may be.
    fn left(&self, limit: u32) -> Value<'static> {
        let taken = i64::try_from(self.schedules.len()).unwrap_or(i64::MAX);
        Value::Integer(i64::from(limit).saturating_sub(taken))
    }

    fn take(&mut self, row: Row, limit: u32) -> Result<ControlFlow<()>, ReadError> {
        let row = ScheduleRow(row);
        let bytes = row.bytes()?;
        if self.bytes + bytes > PAGE_BYTES_MAX && !self.schedules.is_empty() {
            self.full = true;
            return Ok(ControlFlow::Break(()));
        }
        self.bytes += bytes;
        self.schedules.push(row.schedule()?);
        self.full = u32::try_from(self.schedules.len()).is_ok_and(|taken| taken >= limit);
        Ok(if self.full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// The time of a cursor; without one, before all others.
fn time(after: Option<&Due>) -> Value<'static> {
    Value::Integer(after.map_or(i64::MIN, |after| after.at.millis()))
}

fn due(row: &Row) -> Result<Due, RowError> {
    Ok(Due { at: row.timestamp(0)?, id: row.name(1, EventId::parse)? })
}
