//! Writes schedules, and cancels them.
//!
//! Whoever changes a row of `event_scheduled` holds the lock of the log's head, firing too. So a
//! schedule has one fate, one key has one pending schedule, and each of them knows what the others
//! did. Rows without a key are only inserted, which needs no lock.

use proto::message::Stored;
use proto::{EventId, Position, ScheduleKey, Timestamp};
use sqlx::Error;

use crate::row::Row;
use crate::schedule::{Cancelled, ScheduleRow, Scheduled, Which};
use crate::statement::{Statement, TEMPLATE_ROWS_MAX, Template, Value};
use crate::write::change::{Change, Moment};
use crate::write::log::{Log, Trouble};
use crate::write::plan::{Fate, Known, Planned};
use crate::write::session::{STATEMENT_BYTES_MAX, Session};
use crate::write::versions::Map;

const SQLITE_INSERT: &str = include_str!("../../../sql/sqlite/event_scheduled/insert.sql");
const MYSQL_INSERT: &str = include_str!("../../../sql/mysql/event_scheduled/insert.sql");
static INSERT: Template = Template::passing(&[SQLITE_INSERT], MYSQL_INSERT);
const FIND_IDS: &str = include_str!("../../../sql/event_scheduled/find_ids.sql");
static FIND: Template = Template::same(&[FIND_IDS]);
/// SQLite lets one transaction write at a time, so finding is as good as locking.
static LOCK: Template =
    Template::each(&[FIND_IDS], include_str!("../../../sql/mysql/event_scheduled/lock_ids.sql"));
static OF_IDS: Template = Template::same(&[include_str!("../../../sql/event_scheduled/of_ids.sql")]);
static FIRE: Template = Template::same(&[include_str!("../../../sql/event_scheduled/fire.sql")]);
const LOCK_NEWEST: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event_scheduled/lock_newest.sql"),
    include_str!("../../../sql/mysql/event_scheduled/lock_newest.sql"),
);
const CANCEL: Statement = Statement::same(include_str!("../../../sql/event_scheduled/cancel.sql"));
const FAIL: Statement = Statement::same(include_str!("../../../sql/event_scheduled/fail.sql"));

/// A cancellation, and when it was asked for.
pub(crate) struct Cancellation {
    pub(crate) which: Which,
    pub(crate) now: Timestamp,
}

impl Change for Box<Planned> {
    type Done = Scheduled;
    async fn make(&self, session: &mut Session, log: &mut Log, moment: Moment) -> Result<Scheduled, Trouble> {
        session.lock_head().await?;
        log.refresh(session).await?;
        session.schedule(self, moment).await
    }
}

impl Change for Cancellation {
    type Done = Cancelled;
    async fn make(&self, session: &mut Session, log: &mut Log, _: Moment) -> Result<Cancelled, Trouble> {
        session.lock_head().await?;
        log.refresh(session).await?;
        session.cancel(&self.which, self.now).await
    }
}

impl Session {
    /// Stores a schedule in the place of the pending one of its key. The head is locked.
    pub(crate) async fn schedule(&mut self, planned: &Planned, moment: Moment) -> Result<Scheduled, Trouble> {
        let id = &planned.event.id;
        if let Some(known) = self.lock_schedules(&[id]).await?.remove(id) {
            planned.repeated(&known).map_err(refused)?;
            return Ok(self.repeated(planned, &known, moment).await?);
        }
        if let Some(taken) = self.taken(&[id]).await?.get(id) {
            return Err(refused(planned.conflict(taken.position)));
        }
        let newest = match &planned.key {
            Some(key) => self.lock_newest(key, i64::MAX).await?,
            None => None,
        };
        let created = created(planned, newest.as_ref());
        let pending = newest.filter(|newest| newest.fate == Fate::Pending).map(|newest| newest.id);
        if let Some(pending) = &pending {
            self.cancel_pending(pending, planned.now, Some(&replaced_by(id))).await?;
        }
        self.insert_schedules(&[planned.row(created)]).await?;
        Ok(planned.scheduled(Stored::Now, pending))
    }

    /// The answer to a wish whose schedule is stored, the same as the first time.
    async fn repeated(
        &mut self,
        planned: &Planned,
        known: &Known,
        moment: Moment,
    ) -> Result<Scheduled, Error> {
        let before = match &planned.key {
            Some(key) => self.lock_newest(key, known.created).await?,
            None => None,
        };
        // A try of this very wish, whose commit is in doubt, would have stored it so.
        let ours = moment.in_doubt && known.created == created(planned, before.as_ref()).millis();
        let replaced = before.filter(|before| match &before.fate {
            Fate::Cancelled { reason } => reason.as_deref() == Some(replaced_by(&known.id).as_str()),
            Fate::Pending | Fate::Fired { .. } | Fate::Failed { .. } => false,
        });
        let stored = if ours { Stored::Now } else { Stored::Before };
        Ok(planned.scheduled(stored, replaced.map(|before| before.id)))
    }

    /// Cancels a schedule if it is pending. The head is locked.
    pub(crate) async fn cancel(&mut self, which: &Which, now: Timestamp) -> Result<Cancelled, Trouble> {
        let found = match which {
            Which::Id(id) => self.lock_schedules(&[id]).await?.remove(id),
            Which::Key(key) => self.lock_newest(key, i64::MAX).await?,
        };
        let Some(known) = found else { return Ok(Cancelled::Unknown) };
        let id = known.id.clone();
        if let Some(answer) = known.too_late() {
            return Ok(answer);
        }
        self.cancel_pending(&id, now, None).await?;
        Ok(Cancelled::Cancelled)
    }

    async fn cancel_pending(
        &mut self,
        id: &EventId,
        now: Timestamp,
        reason: Option<&str>,
    ) -> Result<(), Trouble> {
        let at = Value::Integer(now.millis());
        let values = [at, at, Value::text_or_null(reason), Value::Text(id.as_str())];
        // It was read as pending under the same lock; if it is not any more, look again.
        if self.execute(&CANCEL, &values).await? == 1 { Ok(()) } else { Err(Trouble::HeadMoved) }
    }

    /// Inserts rows of pending schedules.
    pub(crate) async fn insert_schedules(&mut self, rows: &[[Value<'_>; 18]]) -> Result<(), Error> {
        let mut rest = rows;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|row| {
                bytes += row.iter().map(Value::bytes).sum::<usize>();
                bytes <= STATEMENT_BYTES_MAX
            });
            let (part, others) = rest.split_at(fits.count().clamp(1, rest.len()));
            self.execute_rows(&INSERT, &[], part, &[]).await?;
            rest = others;
        }
        Ok(())
    }

    /// Those of `ids` that are schedules.
    pub(crate) async fn known_schedules(&mut self, ids: &[&EventId]) -> Result<Map<EventId, Known>, Error> {
        let rows = self.rows_of_ids(&FIND, ids).await?;
        rows.iter().map(known).map(|known| known.map(|known| (known.id.clone(), known))).collect()
    }

    /// The same, with the locks of their rows.
    pub(crate) async fn lock_schedules(&mut self, ids: &[&EventId]) -> Result<Map<EventId, Known>, Error> {
        let rows = self.rows_of_ids(&LOCK, ids).await?;
        rows.iter().map(known).map(|known| known.map(|known| (known.id.clone(), known))).collect()
    }

    /// The newest schedule of a key that was made before `created`, with the lock of its row.
    async fn lock_newest(&mut self, key: &ScheduleKey, created: i64) -> Result<Option<Known>, Error> {
        let rows = self.rows(&LOCK_NEWEST, &[Value::Text(key.as_str()), Value::Integer(created)]).await?;
        rows.first().map(known).transpose()
    }

    /// The schedules `ids`, whole, in any order.
    pub(crate) async fn schedule_rows(&mut self, ids: &[&EventId]) -> Result<Vec<ScheduleRow>, Error> {
        Ok(self.rows_of_ids(&OF_IDS, ids).await?.into_iter().map(ScheduleRow).collect())
    }

    /// Marks pending schedules as fired whose events are in the log, and says how many were pending.
    pub(crate) async fn mark_fired(&mut self, ids: &[&EventId], now: Timestamp) -> Result<u64, Error> {
        let (mut marked, now) = (0, Value::Integer(now.millis()));
        for part in ids.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, values) = listed(&FIRE, &[now, now], part);
            marked += self.execute(&statement, &values).await?;
        }
        Ok(marked)
    }

    /// Marks a pending schedule as one whose event cannot be appended, and says whether it was pending
    /// by counting it.
    pub(crate) async fn mark_failed(
        &mut self,
        id: &EventId,
        now: Timestamp,
        reason: &str,
    ) -> Result<u64, Error> {
        let now = Value::Integer(now.millis());
        self.execute(&FAIL, &[now, now, Value::Text(reason), Value::Text(id.as_str())]).await
    }

    async fn rows_of_ids(&mut self, template: &Template, ids: &[&EventId]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::with_capacity(ids.len());
        for part in ids.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, values) = listed(template, &[], part);
            rows.extend(self.rows(&statement, &values).await?);
        }
        Ok(rows)
    }
}

/// One statement for all of `ids`, with `before` first: repeating the last id fills up the next larger
/// size, and changes nothing.
fn listed<'a>(template: &Template, before: &[Value<'a>], ids: &[&'a EventId]) -> (Statement, Vec<Value<'a>>) {
    let (statement, size) = template.for_at_least(ids.len());
    let last = ids.last().map_or("", |id| id.as_str());
    let mut values = before.to_vec();
    values.extend(ids.iter().map(|id| Value::Text(id.as_str())));
    values.resize(before.len() + size, Value::Text(last));
    (statement, values)
}

/// When a schedule counts as made: later than all others of its key, whatever the clocks of hubs say.
fn created(planned: &Planned, before: Option<&Known>) -> Timestamp {
    let after = before.and_then(|before| Timestamp::from_millis(before.created.saturating_add(1)).ok());
    after.map_or(planned.now, |after| after.max(planned.now))
}

/// What a schedule that was replaced has as its reason.
fn replaced_by(id: &EventId) -> String {
    format!("replaced by {id}")
}

fn refused(refusal: proto::Refusal) -> Trouble {
    Trouble::Unfit(0, refusal)
}

fn known(row: &Row) -> Result<Known, Error> {
    let position = row.integer_or_null(7)?;
    let reason = row.text_or_null(8)?;
    let fate = if row.integer_or_null(5)?.is_some() {
        Fate::Pending
    } else if row.integer_or_null(6)?.is_some() {
        Fate::Cancelled { reason }
    } else if let Some(position) = position {
        Fate::Fired { position: Position(position.cast_unsigned()) }
    } else {
        Fate::Failed { reason: reason.unwrap_or_default() }
    };
    Ok(Known {
        id: row.name(0, EventId::parse)?,
        key: row.text_or_null(1)?,
        due: row.integer(2)?,
        digest: row.bytes(3)?,
        created: row.integer(4)?,
        fate,
        bytes: row.small(9)?,
    })
}
