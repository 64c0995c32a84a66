//! Pauses schedules and resumes them, with the same care as cancelling.

use proto::schedule::{Standing, occurrence_id};
use proto::{EventId, Refusal, Timestamp};

use crate::schedule::{Due, Which};
use crate::statement::{Statement, Value};
use crate::write::change::{Change, Moment};
use crate::write::log::{Log, Trouble};
use crate::write::plan::{Fate, Kind, Known};
use crate::write::session::Session;

const PAUSE: Statement = Statement::same(include_str!("../../../sql/event_scheduled/pause.sql"));
const RESUME: Statement = Statement::same(include_str!("../../../sql/event_scheduled/resume.sql"));

/// What is to be done with a schedule that is to be fired yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Alteration {
    /// Not before it is resumed.
    Pause(Timestamp),
    /// When it is due.
    Resume,
}

/// How a schedule stands after it was to be paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// How it stands.
    pub standing: Standing,
    /// What is pending for it, if anything is.
    pub pending: Option<Due>,
}

/// An alteration of one schedule.
pub(crate) struct AlterOne {
    pub(crate) which: Which,
    pub(crate) alteration: Alteration,
}

impl Change for AlterOne {
    type Done = Altered;
    async fn make(&self, session: &mut Session, log: &mut Log, _: Moment) -> Result<Altered, Trouble> {
        session.lock_head().await?;
        log.refresh(session).await?;
        session.alter(&self.which, &self.alteration).await
    }
}

impl Session {
    async fn alter(&mut self, which: &Which, alteration: &Alteration) -> Result<Altered, Trouble> {
        let unaltered = |standing| Altered { standing, pending: None };
        let Some(known) = self.lock_schedule(which).await? else { return Ok(unaltered(Standing::Unknown)) };
        match (&known.fate, alteration) {
            (Fate::Pending, Alteration::Pause(now)) => {
                let now = Value::Integer(now.millis());
                for id in ids(&known) {
                    let matched = self.execute(&PAUSE, &[now, Value::Text(id.as_str())]).await?;
                    expect_one(matched)?;
                }
                Ok(unaltered(Standing::Paused))
            }
            (Fate::Paused, Alteration::Resume) => {
                for id in ids(&known) {
                    let matched = self.execute(&RESUME, &[Value::Text(id.as_str())]).await?;
                    expect_one(matched)?;
                }
                self.pending(&known).await
            }
            (Fate::Pending, Alteration::Resume) => self.pending(&known).await,
            (Fate::Paused, Alteration::Pause(_)) => Ok(unaltered(Standing::Paused)),
            (Fate::Ended, _) => Ok(unaltered(Standing::Ended)),
            (Fate::Fired { position }, _) => Ok(unaltered(Standing::Fired { position: *position })),
            (Fate::Cancelled { .. }, _) => Ok(unaltered(Standing::Cancelled)),
            (Fate::Failed { reason }, _) => Ok(unaltered(Standing::Failed { reason: reason.clone() })),
        }
    }

    /// What is pending for a schedule that is.
    async fn pending(&mut self, known: &Known) -> Result<Altered, Trouble> {
        let (id, due) = match known.kind {
            Kind::Once | Kind::Occurrence(_) => (known.id.clone(), known.due),
            Kind::Series { at, .. } => {
                let id = occurrence_id(&known.id, at);
                let occurrence = self.lock_schedules(&[&id]).await?.remove(&id);
                // Without it somebody has damaged the table; whoever fires finds no more.
                (id, occurrence.map_or(known.due, |occurrence| occurrence.due))
            }
        };
        let at = Timestamp::from_millis(due).map_err(|error| damaged(&id, &error.to_string()))?;
        Ok(Altered { standing: Standing::Pending { due: at }, pending: Some(Due { at, id }) })
    }
}

/// The rows that are paused and resumed together.
fn ids(known: &Known) -> Vec<EventId> {
    let mut ids = vec![known.id.clone()];
    if let Kind::Series { at, .. } = known.kind {
        ids.push(occurrence_id(&known.id, at));
    }
    ids
}

/// A due time that is none would stand for another one: nothing is resumed, and the row stays as it is.
fn damaged(id: &EventId, reason: &str) -> Trouble {
    let reason = format!(
        "schedule {id} has a due time that somebody has changed past eventflow: {reason}; cancel it and schedule it anew"
    );
    Trouble::Unfit(0, Refusal::Invalid { reason })
}

/// It was read as alive under the same lock; if it is not any more, look again.
fn expect_one(matched: u64) -> Result<(), Trouble> {
    if matched == 1 { Ok(()) } else { Err(Trouble::HeadMoved) }
}
