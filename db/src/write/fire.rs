//! Fires schedules: appends their events and marks their rows, in one transaction.
//!
//! The head's lock is taken first, so nothing that is read then can change until COMMIT. An event that
//! is in the log already is not appended again: its id is the key, also after a commit of unknown
//! outcome. A row that cannot be appended is marked and is in nobody's way.

use std::sync::Arc;

use proto::limits::REASON_CHARS_MAX;
use proto::{EventId, Position, Timestamp, Version};
use sqlx::Error;
use tracing::{error, warn};

use crate::error::WriteError;
use crate::failure::Failure;
use crate::row::RowError;
use crate::schedule::ScheduleRow;
use crate::write::append::Prepared;
use crate::write::change::{Change, Moment, Undone};
use crate::write::decide::{Eventlog, Taken};
use crate::write::log::{Log, Trouble};
use crate::write::plan::{Fate, Known};
use crate::write::session::Session;
use crate::write::task::Task;
use crate::write::versions::Map;

/// Bytes of the schedules of one transaction, unless a single one has more.
const FIRE_BYTES_MAX: usize = 4 << 20;

/// As many of these schedules as fit one transaction.
struct Fire<'a> {
    ids: &'a [EventId],
    now: Timestamp,
}

/// What a transaction did.
struct Fired {
    /// For the first of the ids, one for each.
    answers: Vec<Option<Position>>,
    events: Vec<Prepared>,
    head: Position,
    versions: Map<Eventlog, Version>,
}

impl Task {
    /// Fires those of `ids` that are pending, and tells of their events.
    pub(crate) async fn fire(
        &mut self,
        ids: &[EventId],
        now: Timestamp,
    ) -> Result<Vec<Option<Position>>, WriteError> {
        let mut answers: Vec<Option<Position>> = Vec::with_capacity(ids.len());
        let (mut together, mut refused) = (ids.len(), 0);
        while answers.len() < ids.len() {
            let rest = ids.get(answers.len()..).unwrap_or_default();
            let part = rest.get(..together).unwrap_or(rest);
            let (id, alone) = (part.first(), part.len() == 1);
            match self.make(&Fire { ids: part, now }).await {
                Ok(fired) => answers.extend(self.fired(fired).await),
                // Each in a transaction of its own, so that only the bad one is not fired.
                Err(Undone::Engine(Failure::Refused, _)) if !alone => together = 1,
                Err(Undone::Engine(Failure::Refused, reason)) if refused + 1 < ids.len() => {
                    error!(
                        ?id,
                        reason,
                        "a schedule stays pending: the database refuses its event; see what is wrong with its row"
                    );
                    refused += 1;
                    answers.push(None);
                }
                Err(undone) => return Err(undone.into()),
            }
        }
        Ok(answers)
    }

    /// Takes note of what was committed, and tells it.
    async fn fired(&mut self, fired: Fired) -> Vec<Option<Position>> {
        let Fired { answers, events, head, versions } = fired;
        self.log.moved(head, versions);
        let events = events.into_iter().map(|prepared| Arc::new(prepared.event)).collect();
        self.telling.fired(events, head).await;
        answers
    }
}

impl Change for Fire<'_> {
    type Done = Fired;
    async fn make(&self, session: &mut Session, log: &mut Log, moment: Moment) -> Result<Fired, Trouble> {
        session.lock_head().await?;
        log.refresh(session).await?;
        let ids: Vec<_> = self.ids.iter().collect();
        let known = session.lock_schedules(&ids).await?;
        let part = self.ids.get(..fitting(self.ids, &known)).unwrap_or(self.ids);
        let mut pending: Vec<&EventId> = Vec::with_capacity(part.len());
        pending.extend(part.iter().filter(|id| is_pending(&known, id)));
        let mut seen = Map::default();
        pending.retain(|id| seen.insert(*id, ()).is_none());

        let mut verdicts = judge(session, &pending, self.now).await?;
        let versions = place(session, &mut verdicts.new, log.end()).await?;
        verdicts.write(session, log, self.now).await?;

        let end = log.end();
        let head = verdicts.new.last().map_or(end, |event| event.event.position);
        let placed = verdicts.new.iter().map(|new| (&new.event.id, new.event.position));
        let at: Map<&EventId, Position> =
            placed.chain(verdicts.stored.iter().map(|(id, position)| (*id, *position))).collect();
        let answer = |id: &EventId| match known.get(id).map(|known| &known.fate) {
            // An earlier try of this very call may have fired it without our hearing of it.
            Some(Fate::Fired { position }) if moment.in_doubt => Some(*position),
            Some(Fate::Pending | Fate::Fired { .. } | Fate::Cancelled { .. } | Fate::Failed { .. })
            | None => at.get(id).copied(),
        };
        let answers = part.iter().map(answer).collect();
        Ok(Fired { answers, events: verdicts.new, head, versions })
    }
}

fn is_pending(known: &Map<EventId, Known>, id: &EventId) -> bool {
    known.get(id).is_some_and(|known| known.fate == Fate::Pending)
}

/// How many of `ids` fit one transaction, at least one.
fn fitting(ids: &[EventId], known: &Map<EventId, Known>) -> usize {
    let mut bytes = 0;
    let fits = ids.iter().take_while(|id| {
        bytes += known.get(*id).filter(|known| known.fate == Fate::Pending).map_or(0, |known| known.bytes);
        bytes <= FIRE_BYTES_MAX
    });
    fits.count().max(1)
}

/// What is to be done about pending schedules.
#[derive(Default)]
struct Verdicts<'a> {
    /// Events to append, in order.
    new: Vec<Prepared>,
    /// The same event is in the log, here.
    stored: Vec<(&'a EventId, Position)>,
    /// Never to be appended, for this reason.
    failed: Vec<(&'a EventId, String)>,
}

async fn judge<'a>(
    session: &mut Session,
    pending: &[&'a EventId],
    now: Timestamp,
) -> Result<Verdicts<'a>, Error> {
    let rows = session.schedule_rows(pending).await?;
    let mut rows: Map<EventId, ScheduleRow> =
        rows.into_iter().map(|row| Ok((row.id()?, row))).collect::<Result<_, RowError>>()?;
    let taken = session.taken(pending).await?;
    let mut verdicts = Verdicts::default();
    for id in pending {
        // It was locked a moment ago, and rows are never taken away.
        let Some(row) = rows.remove(*id) else { continue };
        match (prepared(&row, now), taken.get(*id)) {
            (Err(error), _) => {
                verdicts.failed.push((id, error.reason.chars().take(REASON_CHARS_MAX).collect()))
            }
            (Ok(new), None) => verdicts.new.push(new),
            (Ok(new), Some(taken)) if is_same(&new, taken) => verdicts.stored.push((id, taken.position)),
            (Ok(_), Some(taken)) => {
                let reason = format!(
                    "event {id} is stored already at position {} with other content; schedule it with another id",
                    taken.position
                );
                verdicts.failed.push((id, reason));
            }
        }
    }
    Ok(verdicts)
}

/// An emptied event takes every repetition, as it does for appends.
fn is_same(new: &Prepared, taken: &Taken) -> bool {
    taken.digest.is_none_or(|digest| digest == new.digest)
}

fn prepared(row: &ScheduleRow, now: Timestamp) -> Result<Prepared, RowError> {
    let schedule = row.schedule()?;
    let prepared = Prepared::new(schedule.event, Some(schedule.publisher), now);
    if row.digest()? == prepared.digest {
        Ok(prepared)
    } else {
        let reason = "the row is not what was scheduled: somebody has changed it; schedule the event anew";
        Err(RowError { reason: reason.to_owned() })
    }
}

/// Gives each event the next position and version, and says which versions their eventlogs then have.
pub(crate) async fn place(
    session: &mut Session,
    new: &mut [Prepared],
    mut end: Position,
) -> Result<Map<Eventlog, Version>, Error> {
    let mut versions: Map<Eventlog, Version> =
        new.iter().map(|event| (Eventlog::of(event), Version::default())).collect();
    let eventlogs: Vec<_> = versions.keys().cloned().collect();
    if !eventlogs.is_empty() {
        versions = eventlogs.iter().cloned().zip(session.last_versions(&eventlogs).await?).collect();
    }
    for event in new {
        end = end.next();
        let version = versions.entry(Eventlog::of(event)).or_default();
        *version = Version(version.0.saturating_add(1));
        (event.event.position, event.event.version) = (end, *version);
    }
    Ok(versions)
}

impl Verdicts<'_> {
    /// Appends what is new after the head, which is locked, and marks all rows.
    async fn write(&self, session: &mut Session, log: &Log, now: Timestamp) -> Result<(), Trouble> {
        let new: Vec<&Prepared> = self.new.iter().collect();
        if let Some(last) = new.last() {
            if !session.claim(log.place(), last.event.position, now).await? {
                return Err(Trouble::HeadMoved);
            }
            session.insert_events(&new).await?;
            session.insert_links(&new).await?;
        }
        let fired = new.iter().map(|new| &new.event.id).chain(self.stored.iter().map(|(id, _)| *id));
        let fired: Vec<_> = fired.collect();
        let mut marked = session.mark_fired(&fired, now).await?;
        for (id, reason) in &self.failed {
            warn!(?id, reason, "a schedule has failed for good");
            marked += session.mark_failed(id, now, reason).await?;
        }
        // They were read as pending under the same lock; if one is not any more, look again.
        let all = fired.len() + self.failed.len();
        if marked == all as u64 { Ok(()) } else { Err(Trouble::HeadMoved) }
    }
}
