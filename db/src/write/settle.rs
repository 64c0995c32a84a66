//! Writes settlements: the fence first, then what was settled, parked and put off.

use std::collections::{HashMap, HashSet};

use proto::limits::{REASON_CHARS_MAX, SLOTS_PER_GROUP};
use proto::{Position, Refusal, Timestamp};
use sqlx::Error;

use crate::statement::{TEMPLATE_ROWS_MAX, Template, Value};
use crate::write::group::GroupId;
use crate::write::session::Session;
use crate::write::settlement::{
    Aside, ORPHANS, OUTS_PER_SLOT_MAX, OrphanRun, Outcome, RUN_POSITIONS_MAX, Run, Settlements, SlotMove,
};

/// Characters of a consumer that the tables hold.
pub(crate) const CONSUMER_CHARS_MAX: usize = 255;

pub(crate) static FENCE: Template = Template::passing(
    &[include_str!("../../../sql/sqlite/consumer_slot/settle.sql")],
    include_str!("../../../sql/mysql/consumer_slot/settle.sql"),
);
static INSERT: Template = Template::passing(
    &[include_str!("../../../sql/sqlite/event_published/insert.sql")],
    include_str!("../../../sql/mysql/event_published/insert.sql"),
);
static FIND: Template = Template::same(&[include_str!("../../../sql/event_published/find.sql")]);
static REPLACE_RETRIES: Template = Template::same(&[include_str!("../../../sql/event_retry/replace.sql")]);
pub(crate) static DELETE_RETRIES: Template =
    Template::same(&[include_str!("../../../sql/event_retry/delete.sql")]);
static REPLACE_PARKED: Template = Template::same(&[include_str!("../../../sql/event_parked/replace.sql")]);
static REPLACE_PARKED_PIDS: Template = Template::same(&[include_str!("../../../sql/parked_pid/replace.sql")]);
static SETTLE_REPLAYED: Template = Template::same(&[include_str!("../../../sql/event_unparked/settle.sql")]);

/// Whether all slots were this hub's, so that the settlements were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    Held,
    Lost,
}

/// Checks what the types do not say.
pub(crate) fn check(settlements: &Settlements) -> Result<(), Refusal> {
    let invalid = |reason: String| Err(Refusal::Invalid { reason });
    let mut slots = HashSet::new();
    for moved in &settlements.moves {
        if moved.slot >= SLOTS_PER_GROUP || !slots.insert(moved.slot) {
            return invalid(format!("slot {} does not exist or is moved twice", moved.slot));
        }
    }
    for run in &settlements.runs {
        let Run { first, last, .. } = *run;
        if !slots.contains(&run.slot) {
            return invalid(format!("slot {} is settled without being named in the moves", run.slot));
        }
        let length = last.0.checked_sub(first.0);
        if length.is_none_or(|length| length > RUN_POSITIONS_MAX) || run.events == 0 {
            return invalid(format!("a run from {first} to {last} with {} events is not one", run.events));
        }
        let alone = run.attempts.0 > 1 || run.outcome != Outcome::Success;
        if alone && (first != last || run.events != 1) {
            return invalid(format!(
                "the run from {first} to {last} is to be one event: it had a story of its own"
            ));
        }
    }
    if !settlements.retries.is_empty() && slots.is_empty() {
        return invalid("retries are recorded without naming their slots in the moves".to_owned());
    }
    Ok(())
}

/// Checks that one event is settled and nothing else said.
pub(crate) fn check_single(settlements: &Settlements) -> Result<(), Refusal> {
    let Settlements { runs, retries, moves, .. } = settlements;
    match (&runs[..], retries.len(), moves.len()) {
        ([run], 0, 1) if run.first == run.last => Ok(()),
        _ => Err(Refusal::Invalid { reason: "effects go with the settlement of one event".to_owned() }),
    }
}

impl Session {
    /// Writes `settlements`, whose [`check`] was made, inside a transaction. After [`Fence::Lost`]
    /// the transaction holds half of it and is to be rolled back.
    pub(crate) async fn settle(&mut self, settlements: &Settlements, hub: &str) -> Result<Fence, Error> {
        let group = Value::Integer(i64::from(settlements.group.0));
        let outs: HashMap<u16, String> =
            settlements.aside.outs.iter().map(|(slot, outs)| (*slot, list(outs))).collect();
        let moves: Vec<_> =
            settlements.moves.iter().map(|moved| fence_row(settlements, moved, &outs)).collect();
        let held = self.execute_rows(&FENCE, &[], &moves, &[group, Value::Text(hub)]).await?;
        if held != moves.len() as u64 {
            return Ok(Fence::Lost);
        }
        self.insert_runs(settlements.group, &settlements.runs, hub).await?;
        self.set_aside(settlements).await?;
        // Only what had failed before has a retry row, and its run is of one event.
        let tried = settlements.runs.iter().filter(|run| run.attempts.0 > 1);
        let tried: Vec<_> = tried.map(|run| [Value::number(run.first.0)]).collect();
        self.execute_rows(&DELETE_RETRIES, &[group], &tried, &[]).await?;
        let retries: Vec<_> = settlements
            .retries
            .iter()
            .map(|retry| {
                [
                    group,
                    Value::number(retry.position.0),
                    Value::Integer(i64::from(retry.attempts.0)),
                    Value::Integer(retry.retry_at.millis()),
                    Value::Text(cut(&retry.reason, REASON_CHARS_MAX)),
                    Value::Text(cut(&retry.consumer, CONSUMER_CHARS_MAX)),
                    Value::Integer(i64::from(retry.losses)),
                ]
            })
            .collect();
        self.execute_rows(&REPLACE_RETRIES, &[], &retries, &[]).await?;
        Ok(Fence::Held)
    }

    /// Records what was parked, and that what was replayed has an outcome.
    async fn set_aside(&mut self, settlements: &Settlements) -> Result<(), Error> {
        let Aside { replayed, blocking, pids, outs: _ } = &settlements.aside;
        let group = Value::Integer(i64::from(settlements.group.0));
        let blocking: HashSet<_> = blocking.iter().collect();
        // The hub may have given an event up before it heard that somebody had deleted it.
        let given_up = settlements.runs.iter().filter(|run| matches!(run.outcome, Outcome::Parked { .. }));
        let given_up: Vec<_> = given_up.map(|run| [Value::number(run.first.0)]).collect();
        let emptied = self.emptied(&given_up).await?;
        let parked: Vec<_> =
            settlements.runs.iter().filter_map(|run| parked_row(settlements.group, run, &blocking)).collect();
        self.execute_rows(&REPLACE_PARKED, &[], &parked, &[]).await?;
        self.unpark_emptied(&emptied).await?;
        let pids: Vec<_> = pids.iter().map(|pid| [group, Value::Text(pid.as_str())]).collect();
        self.execute_rows(&REPLACE_PARKED_PIDS, &[], &pids, &[]).await?;
        let replayed: Vec<_> = replayed.iter().map(|position| [Value::number(position.0)]).collect();
        self.execute_rows(&SETTLE_REPLAYED, &[group], &replayed, &[]).await.map(drop)
    }

    /// Records runs without looking at the fence.
    pub(crate) async fn insert_runs(&mut self, group: GroupId, runs: &[Run], hub: &str) -> Result<(), Error> {
        let rows: Vec<_> = runs.iter().map(|run| run_row(group, hub, run)).collect();
        self.execute_rows(&INSERT, &[], &rows, &[]).await.map(drop)
    }

    /// Records events that nobody wanted.
    pub(crate) async fn orphans(&mut self, runs: &[OrphanRun], hub: &str) -> Result<(), Error> {
        let rows: Vec<_> = runs.iter().map(|run| orphan_row(run, hub)).collect();
        self.execute_rows(&INSERT, &[], &rows, &[]).await.map(drop)
    }

    /// Those of `firsts` with which a run of the group starts already.
    pub(crate) async fn settled(
        &mut self,
        group: GroupId,
        firsts: &[Position],
    ) -> Result<HashSet<Position>, Error> {
        let mut found = HashSet::new();
        for part in firsts.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, size) = FIND.for_at_least(part.len());
            let last = part.last().map_or(0, |position| position.0);
            let mut values = vec![Value::Integer(i64::from(group.0))];
            values.extend(part.iter().map(|position| Value::number(position.0)));
            values.resize(size + 1, Value::number(last));
            for row in self.rows(&statement, &values).await? {
                found.insert(row.position(0)?);
            }
        }
        Ok(found)
    }
}

fn fence_row<'a>(
    settlements: &Settlements,
    moved: &SlotMove,
    outs: &'a HashMap<u16, String>,
) -> [Value<'a>; 7] {
    let sum = |counts: fn(&Outcome) -> bool| {
        let runs = settlements.runs.iter().filter(|run| run.slot == moved.slot && counts(&run.outcome));
        Value::number(runs.map(|run| u64::from(run.events)).sum())
    };
    [
        Value::Integer(i64::from(moved.slot)),
        Value::number(moved.epoch),
        Value::number(moved.cursor.0),
        sum(|outcome| matches!(outcome, Outcome::Success)),
        sum(|outcome| matches!(outcome, Outcome::Parked { .. })),
        sum(|outcome| matches!(outcome, Outcome::Discarded { .. })),
        Value::text_or_null(outs.get(&moved.slot).map(String::as_str)),
    ]
}

/// Positions with commas between them.
fn list(positions: &[Position]) -> String {
    let texts: Vec<_> = positions.iter().take(OUTS_PER_SLOT_MAX).map(Position::to_string).collect();
    texts.join(",")
}

fn run_row<'a>(group: GroupId, hub: &'a str, run: &'a Run) -> [Value<'a>; 15] {
    let settled = Value::Integer(run.settled.millis());
    let (success, failed, parked, reason) = match &run.outcome {
        Outcome::Success => (settled, Value::Null, Value::Null, None),
        Outcome::Parked { reason } => (Value::Null, settled, Value::Integer(1), Some(reason)),
        Outcome::Discarded { reason } => (Value::Null, settled, Value::Integer(0), Some(reason)),
    };
    [
        Value::Integer(i64::from(group.0)),
        Value::number(run.first.0),
        Value::number(run.last.0),
        Value::Integer(i64::from(run.slot)),
        Value::Integer(i64::from(run.events)),
        Value::Text(hub),
        Value::Text(cut(&run.consumer, CONSUMER_CHARS_MAX)),
        Value::Integer(i64::from(run.attempts.0)),
        Value::Integer(run.consumed_hub.millis()),
        Value::Integer(run.consumed_spoke.millis()),
        success,
        failed,
        Value::Null,
        parked,
        Value::text_or_null(reason.map(|reason| cut(reason, REASON_CHARS_MAX))),
    ]
}

fn orphan_row<'a>(run: &OrphanRun, hub: &'a str) -> [Value<'a>; 15] {
    let at = Value::Integer(run.at.millis());
    let none = Value::Integer(0);
    let events = run.last.0.saturating_sub(run.first.0).saturating_add(1);
    [
        Value::Integer(i64::from(ORPHANS.0)),
        Value::number(run.first.0),
        Value::number(run.last.0),
        none,
        Value::number(events),
        Value::Text(hub),
        Value::Text(""),
        none,
        at,
        at,
        Value::Null,
        Value::Null,
        at,
        Value::Null,
        Value::Null,
    ]
}

fn parked_row<'a>(group: GroupId, run: &'a Run, blocking: &HashSet<&Position>) -> Option<[Value<'a>; 8]> {
    let Outcome::Parked { reason } = &run.outcome else { return None };
    Some([
        Value::Integer(i64::from(group.0)),
        Value::number(run.first.0),
        Value::Integer(i64::from(run.attempts.0)),
        Value::Text(cut(reason, REASON_CHARS_MAX)),
        Value::Text(cut(&run.consumer, CONSUMER_CHARS_MAX)),
        Value::Integer(Timestamp::millis(run.settled)),
        Value::Integer(i64::from(blocking.contains(&run.first))),
        Value::number(run.first.0),
    ])
}

/// The first `chars` characters.
pub(crate) fn cut(text: &str, chars: usize) -> &str {
    match text.char_indices().nth(chars) {
        Some((at, _)) => text.get(..at).unwrap_or(text),
        None => text,
    }
}
