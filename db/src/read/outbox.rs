//! Whether an event is in the outbox, for people who look for it.

use proto::EventId;

use super::{ReadError, Reader};
use crate::outbox::{OutboxRow, PAGE, listed};
use crate::statement::{Statement, Value};

/// Stretches of 10,000 rows that are looked through for one event. What is behind them is not found: a
/// hub that drains is far from having so many.
const STRETCHES_MAX: usize = 10;

const OF_EVENT: Statement = Statement::same(include_str!("../../../sql/event_outbox/of_event.sql"));

impl Reader {
    /// The first row of the outbox that has the event `id`, among the first 100,000.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn handed_over(&self, id: &EventId) -> Result<Option<OutboxRow>, ReadError> {
        let mut after = i64::MIN;
        for _ in 0..STRETCHES_MAX {
            let rows = self.pools.rows(&OF_EVENT, &[Value::Text(id.as_str()), Value::Integer(after)]).await?;
            let Some(row) = rows.first() else { return Ok(None) };
            if let Some(found) = row.integer_or_null(1)? {
                return self.outbox_row(found).await;
            }
            let Some(last) = row.integer_or_null(0)? else { return Ok(None) };
            after = last;
        }
        Ok(None)
    }

    /// One row, if it has not been drained since it was found.
    async fn outbox_row(&self, row: i64) -> Result<Option<OutboxRow>, ReadError> {
        let values = [Value::Integer(row.saturating_sub(1)), Value::Integer(0), Value::Integer(1)];
        let rows = self.pools.rows(&PAGE, &values).await?;
        let found = rows.first().map(listed).transpose()?;
        Ok(found.filter(|found| found.row == row))
    }
}
