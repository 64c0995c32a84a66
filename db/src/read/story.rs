//! Everything that the tables know of one event: what `show` and `why` tell.

use std::sync::Arc;

use proto::{Attempt, Domain, Event, EventId, GroupName, NameFilter, Position, Timestamp};

use super::groups::name_filter;
use super::settlements::retry;
use super::sift::{Ended, Sifted};
use super::{ReadError, Reader};
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};
use crate::write::group::GroupId;
use crate::write::settlement::{Outcome, RUN_POSITIONS_MAX, Retry};

const OF_EVENT: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event_published/of_event.sql"),
    include_str!("../../../sql/mysql/event_published/of_event.sql"),
);
const ORPHAN: Statement = Statement::same(include_str!("../../../sql/event_published/orphan.sql"));
const RETRIES: Statement = Statement::same(include_str!("../../../sql/event_retry/of_event.sql"));

/// What is recorded of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStory {
    /// Its position.
    pub position: Position,
    /// The event; `None` if it was deleted. What became of it is gone with it.
    pub event: Option<Event>,
    /// When it was published; `None` if it was only persisted.
    pub published: Option<Timestamp>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
    /// Whether nobody wanted it when it was published.
    pub orphan: bool,
    /// Its outcomes, by group name.
    pub settlements: Vec<Settled>,
    /// Failed tries that are to be repeated.
    pub retries: Vec<(GroupId, Retry)>,
}

/// What became of one event in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub group_name: GroupName,
    /// Which try it was.
    pub attempts: Attempt,
    /// The service and instance of the member.
    pub consumer: Arc<str>,
    /// When it was settled.
    pub settled: Timestamp,
    /// How.
    pub outcome: Outcome,
}

impl Reader {
    /// What is recorded of the event `id`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there never was such an event; a deleted one has a story.
    pub async fn story(&self, id: &EventId) -> Result<StoredStory, ReadError> {
        let row = self.event_row(id).await?;
        let (position, published, deleted) = (row.position()?, row.published()?, row.deleted()?);
        let mut story = StoredStory {
            position,
            event: None,
            published,
            deleted,
            orphan: false,
            settlements: Vec::new(),
            retries: Vec::new(),
        };
        if deleted.is_some() {
            return Ok(story);
        }
        let slot = row.slot()?;
        let sifted = Sifted { stored: vec![row.stored()?], last: Some(position), ended: Ended::NoMoreRows };
        let event = self.with_links(sifted).await?.events.pop();
        // A run that has the event starts after this.
        let before =
            Value::Integer(i64::try_from(position.0.saturating_sub(RUN_POSITIONS_MAX)).unwrap_or(0) - 1);
        let at = Value::number(position.0);
        if let (Some(event), Some(_)) = (&event, published) {
            let runs = self.pools.rows(&OF_EVENT, &[before, at, at, Value::Integer(i64::from(slot))]).await?;
            for run in &runs {
                if has(run, event)? {
                    story.settlements.push(settled(run)?);
                }
            }
            story.orphan = !self.pools.rows(&ORPHAN, &[before, at, at]).await?.is_empty();
            for row in self.pools.rows(&RETRIES, &[at]).await? {
                story.retries.push((GroupId(row.small(0)?), retry(&row, 1)?));
            }
        }
        story.event = event;
        Ok(story)
    }
}

/// Whether a run of the event's slot and positions is one of its topic.
fn has(run: &Row, event: &Event) -> Result<bool, RowError> {
    if run.name(2, Domain::parse)? != event.domain {
        return Ok(false);
    }
    match name_filter(run.text_or_null(3)?.as_deref())? {
        NameFilter::All => Ok(true),
        NameFilter::Only(names) => Ok(names.contains(&event.name)),
    }
}

fn settled(run: &Row) -> Result<Settled, RowError> {
    let (success, failed) = (run.timestamp_or_null(6)?, run.timestamp_or_null(7)?);
    let reason = run.text_or_null(9)?.unwrap_or_default();
    let (settled, outcome) = match (success, failed) {
        (Some(at), None) => (at, Outcome::Success),
        (None, Some(at)) if run.integer_or_null(8)? == Some(1) => (at, Outcome::Parked { reason }),
        (None, Some(at)) => (at, Outcome::Discarded { reason }),
        (Some(_), Some(_)) | (None, None) => {
            return Err(RowError { reason: "a settlement is not either a success or a failure".to_owned() });
        }
    };
    Ok(Settled {
        group: GroupId(run.small(0)?),
        group_name: run.name(1, GroupName::parse)?,
        attempts: Attempt(run.small(5)?),
        consumer: Arc::from(run.text(4)?),
        settled,
        outcome,
    })
}
