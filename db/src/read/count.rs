//! How much of the log a listener has before it, and for how long: counted in the database.

use proto::{EventName, Position, Timestamp, Topic};

use super::{ReadError, Reader, cursor};
use crate::statement::{Statement, Value};

const COUNT_PUBLISHED: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/count_published.sql"),
    include_str!("../../../sql/mysql/event/count_published.sql"),
);

const PUBLISHED: Statement = Statement::same(include_str!("../../../sql/event/published.sql"));

impl Reader {
    /// How many published events `topic` wants of the positions after `after` up to `through`.
    ///
    /// It looks at every row between: it is for a person's question, not for a loop.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn count_published(
        &self,
        topic: &Topic,
        after: Position,
        through: Position,
    ) -> Result<u64, ReadError> {
        let values = [cursor(after), cursor(through), Value::Text(topic.domain.as_str())];
        let mut wanted = 0;
        for row in &self.pools.rows(&COUNT_PUBLISHED, &values).await? {
            if topic.names.matches(&row.name(0, EventName::parse)?) {
                wanted += row.number(1)?;
            }
        }
        Ok(wanted)
    }

    /// When the event at a position was published; `None` if there is none, or it was only persisted.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn published(&self, position: Position) -> Result<Option<Timestamp>, ReadError> {
        let rows = self.pools.rows(&PUBLISHED, &[cursor(position)]).await?;
        Ok(rows.first().map(|row| row.timestamp_or_null(0)).transpose()?.flatten())
    }
}
