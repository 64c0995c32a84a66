//! Takes parked events up again: to be delivered once more, or settled as failed for good.
//!
//! One transaction: the fence first, like settlements; then the rows of what is parked go, and what
//! was done is recorded for each event and for the operator's log. A replayed event has no outcome
//! from then on but a row of `event_unparked` that is pending: whoever takes the group over next knows
//! by it that the event is to be delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proto::limits::REASON_CHARS_MAX;
use proto::{Attempt, Pid, Position, Refusal, Timestamp};
use sqlx::Error;

use crate::audit::Audit;
use crate::row::{Row, RowError};
use crate::statement::{Statement, TEMPLATE_ROWS_MAX, Template, Value};
use crate::write::change::{Change, Moment};
use crate::write::group::GroupId;
use crate::write::log::{Log, Trouble};
use crate::write::session::Session;
use crate::write::settle::{CONSUMER_CHARS_MAX, FENCE, cut};
use crate::write::settlement::SlotMove;

static FIND: Template = Template::same(&[include_str!("../../../sql/event_parked/find.sql")]);
static FIND_DONE: Template = Template::same(&[include_str!("../../../sql/event_unparked/find.sql")]);
static DELETE: Template = Template::same(&[include_str!("../../../sql/event_parked/delete.sql")]);
static UNSETTLE: Template = Template::same(&[include_str!("../../../sql/event_published/unsettle.sql")]);
static DISCARD: Template = Template::same(&[include_str!("../../../sql/event_published/discard.sql")]);
static RECORD: Template = Template::same(&[include_str!("../../../sql/event_unparked/replace.sql")]);
const FIRST_OF_PID: Statement = Statement::same(include_str!("../../../sql/event_parked/first_of_pid.sql"));
const DELETE_PID: Statement = Statement::same(include_str!("../../../sql/parked_pid/delete.sql"));

/// Characters of an agent in the operator's log.
const AGENT_CHARS_MAX: usize = 128;

/// What is to be done about parked events of one group: all of it, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpark {
    /// The group.
    pub group: GroupId,
    /// The group in words, for the operator's log.
    pub of: String,
    /// The events, each with its slot.
    pub events: Vec<(Position, u16)>,
    /// What to do.
    pub act: Act,
    /// When. The group never had another act at this time.
    pub at: Timestamp,
    /// Who wants it.
    pub agent: String,
    /// The slots of the events: the fence, as with settlements.
    pub moves: Vec<SlotMove>,
}

/// What to do about parked events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Deliver them again.
    Replay,
    /// Settle them as failed.
    Discard {
        /// Why.
        reason: String,
    },
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unparked {
    /// The events that were parked until now, by position.
    pub taken: Vec<Replay>,
    /// For each of their processes: from where on it is parked as a whole now; `None` if it is not.
    pub pids: Vec<(Pid, Option<Position>)>,
}

/// An event that is to be delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The event.
    pub position: Position,
    /// Its process.
    pub pid: Pid,
    /// How often it was delivered before.
    pub attempts: Attempt,
}

/// A row of `event_parked`.
struct Parked {
    replay: Replay,
    reason: String,
    consumer: String,
    parked: i64,
}

impl Change for Unpark {
    type Done = Unparked;
    async fn make(&self, session: &mut Session, log: &mut Log, _: Moment) -> Result<Unparked, Trouble> {
        let rows = session.parked(self).await?;
        // A try whose COMMIT was not answered may have done it.
        let mut taken = session.unparked_at(self).await?;
        if !rows.is_empty() {
            session.hold(self, &rows, log.hub()).await?;
            session.take_up(self, &rows).await?;
            session.record(self, &rows).await?;
        }
        let pids: BTreeSet<Pid> =
            rows.iter().map(|row| &row.replay).chain(&taken).map(|replay| replay.pid.clone()).collect();
        let pids = session.settle_pids(self.group, pids).await?;
        taken.extend(rows.into_iter().map(|row| row.replay));
        taken.sort_by_key(|replay| replay.position);
        Ok(Unparked { taken, pids })
    }
}

impl Session {
    async fn parked(&mut self, unpark: &Unpark) -> Result<Vec<Parked>, Error> {
        let mut found = Vec::with_capacity(unpark.events.len());
        for part in unpark.events.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, size) = FIND.for_at_least(part.len());
            let values = positions(&[Value::Integer(i64::from(unpark.group.0))], part, size);
            for row in self.rows(&statement, &values).await? {
                found.push(parked(&row)?);
            }
        }
        Ok(found)
    }

    /// What this very act has taken already.
    async fn unparked_at(&mut self, unpark: &Unpark) -> Result<Vec<Replay>, Error> {
        let mut found = Vec::new();
        for part in unpark.events.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, size) = FIND_DONE.for_at_least(part.len());
            let act = [Value::Integer(i64::from(unpark.group.0)), Value::Integer(unpark.at.millis())];
            for row in self.rows(&statement, &positions(&act, part, size)).await? {
                found.push(replay(&row)?);
            }
        }
        Ok(found)
    }

    /// Makes sure that the slots are this hub's, and counts.
    async fn hold(&mut self, unpark: &Unpark, rows: &[Parked], hub: &str) -> Result<(), Trouble> {
        let slots: BTreeMap<Position, u16> = unpark.events.iter().copied().collect();
        let mut counts: BTreeMap<u16, i64> = BTreeMap::new();
        for row in rows {
            if let Some(slot) = slots.get(&row.replay.position) {
                *counts.entry(*slot).or_default() += 1;
            }
        }
        let discards = i64::from(matches!(unpark.act, Act::Discard { .. }));
        let count = |slot: u16| counts.get(&slot).copied().unwrap_or_default();
        let moves: Vec<_> = unpark
            .moves
            .iter()
            .map(|moved| {
                [
                    Value::Integer(i64::from(moved.slot)),
                    Value::number(moved.epoch),
                    Value::number(moved.cursor.0),
                    Value::Integer(0),
                    Value::Integer(-count(moved.slot)),
                    Value::Integer(discards * count(moved.slot)),
                    Value::Null,
                ]
            })
            .collect();
        let after = [Value::Integer(i64::from(unpark.group.0)), Value::Text(hub)];
        let held = self.execute_rows(&FENCE, &[], &moves, &after).await?;
        if held == moves.len() as u64 {
            return Ok(());
        }
        let reason = format!("a slot of {} is another hub's now", unpark.of);
        Err(Trouble::Unfit(0, Refusal::Unavailable { reason }))
    }

    /// Takes the rows of `event_parked` away and changes the outcomes.
    async fn take_up(&mut self, unpark: &Unpark, rows: &[Parked]) -> Result<(), Trouble> {
        let group = Value::Integer(i64::from(unpark.group.0));
        let parked: Vec<_> = rows.iter().map(|row| [Value::number(row.replay.position.0)]).collect();
        let why = why(unpark);
        let (settled, before) = match &unpark.act {
            Act::Replay => (&UNSETTLE, vec![group]),
            Act::Discard { .. } => {
                let reason = Value::text_or_null(why.as_deref());
                (&DISCARD, vec![Value::Integer(unpark.at.millis()), reason, group])
            }
        };
        if self.execute_rows(&DELETE, &[group], &parked, &[]).await? != parked.len() as u64 {
            // One was deleted with its event since it was read: look again.
            return Err(Trouble::HeadMoved);
        }
        if self.execute_rows(settled, &before, &parked, &[]).await? != parked.len() as u64 {
            let reason = format!(
                "an event that {} has parked has no outcome: the tables are damaged, see docs/operations.md",
                unpark.of
            );
            return Err(Trouble::Unfit(0, Refusal::Invalid { reason }));
        }
        Ok(())
    }

    /// Records what was done: for each event, and for operators.
    async fn record(&mut self, unpark: &Unpark, rows: &[Parked]) -> Result<(), Error> {
        let why = why(unpark);
        let act = match &unpark.act {
            Act::Replay => 0,
            Act::Discard { .. } => 1,
        };
        let rows_of: Vec<_> = rows
            .iter()
            .map(|row| {
                let position = Value::number(row.replay.position.0);
                [
                    Value::Integer(i64::from(unpark.group.0)),
                    position,
                    Value::Integer(unpark.at.millis()),
                    Value::Integer(act),
                    if act == 0 { position } else { Value::Null },
                    Value::Text(row.replay.pid.as_str()),
                    Value::Text(cut(&unpark.agent, CONSUMER_CHARS_MAX)),
                    Value::text_or_null(why.as_deref()),
                    Value::Integer(row.parked),
                    Value::Integer(i64::from(row.replay.attempts.0)),
                    Value::Text(&row.reason),
                    Value::Text(&row.consumer),
                ]
            })
            .collect();
        self.execute_rows(&RECORD, &[], &rows_of, &[]).await?;
        let audit = Audit {
            agent: cut(&unpark.agent, AGENT_CHARS_MAX).to_owned(),
            act: match &unpark.act {
                Act::Replay => "parked.replay",
                Act::Discard { .. } => "parked.discard",
            },
            subject: unpark.of.clone(),
            detail: note(unpark, rows),
        };
        self.audit(&audit).await
    }

    /// From where on each of `pids` is parked now; the mark of those that are not any more goes.
    async fn settle_pids(
        &mut self,
        group: GroupId,
        pids: BTreeSet<Pid>,
    ) -> Result<Vec<(Pid, Option<Position>)>, Error> {
        let mut found = Vec::with_capacity(pids.len());
        for pid in pids {
            let values = [Value::Integer(i64::from(group.0)), Value::Text(pid.as_str())];
            let rows = self.rows(&FIRST_OF_PID, &values).await?;
            let first = rows.first().map(|row| row.position(0)).transpose()?;
            if first.is_none() {
                self.execute(&DELETE_PID, &values).await?;
            }
            found.push((pid, first));
        }
        Ok(found)
    }
}

/// `before`, and the positions of `events`, the last of them repeated to `size`.
fn positions<'a>(before: &[Value<'a>], events: &[(Position, u16)], size: usize) -> Vec<Value<'a>> {
    let last = events.last().map_or(0, |(position, _)| position.0);
    let mut values = before.to_vec();
    values.extend(events.iter().map(|(position, _)| Value::number(position.0)));
    values.resize(before.len() + size, Value::number(last));
    values
}

fn replay(row: &Row) -> Result<Replay, RowError> {
    Ok(Replay { position: row.position(0)?, pid: row.name(1, Pid::parse)?, attempts: Attempt(row.small(2)?) })
}

fn parked(row: &Row) -> Result<Parked, RowError> {
    Ok(Parked { replay: replay(row)?, reason: row.text(3)?, consumer: row.text(4)?, parked: row.integer(5)? })
}

/// The reason of a discarded event: who did it, and why.
fn why(unpark: &Unpark) -> Option<String> {
    match &unpark.act {
        Act::Replay => None,
        Act::Discard { reason } => {
            let why = format!("discarded by {}: {reason}", unpark.agent);
            Some(cut(&why, REASON_CHARS_MAX).to_owned())
        }
    }
}

/// What was done, in one line.
fn note(unpark: &Unpark, rows: &[Parked]) -> String {
    let (did, reason) = match &unpark.act {
        Act::Replay => ("replayed", String::new()),
        Act::Discard { reason } => ("discarded", format!(" ({reason})")),
    };
    let mut note = format!("{did} {} parked events of {}{reason}, positions", rows.len(), unpark.of);
    for row in rows {
        // Writing to a string cannot fail.
        let _ = write!(note, " {}", row.replay.position);
    }
    note
}
