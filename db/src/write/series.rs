//! Lets series go on: appends what is fired of them, and makes their next occurrences pending, in one
//! transaction.
//!
//! The id of an occurrence follows from its series and its time, and a step names the occurrence that it
//! starts from. So whatever crashes and whoever else tries, each occurrence has one row and one event.

use proto::schedule::occurrence_id;
use proto::{EventId, Position, Timestamp, Version};
use sqlx::Error;
use tracing::{error, warn};

use crate::error::WriteError;
use crate::failure::Failure;
use crate::schedule::{Due, Occurrence, ScheduleWish, SeriesStep, Stepped, Turn};
use crate::statement::{Statement, Value};
use crate::write::append::Prepared;
use crate::write::change::{Change, Moment, Undone};
use crate::write::decide::Eventlog;
use crate::write::fire::{FIRE_BYTES_MAX, Verdicts, cut, place, prepared};
use crate::write::log::{Log, Trouble};
use crate::write::plan::{Fate, Kind, Known, Planned};
use crate::write::session::Session;
use crate::write::task::Task;
use crate::write::versions::Map;

const MOVE: Statement = Statement::same(include_str!("../../../sql/event_scheduled/move_series.sql"));
const END: Statement = Statement::same(include_str!("../../../sql/event_scheduled/end_series.sql"));

/// What an occurrence has as its reason that nobody fired in time.
const PASSED_OVER: &str = "missed, and passed over as the misfire policy of its series says";

/// As many of these steps as fit one transaction.
struct Steps<'a> {
    steps: &'a [SeriesStep],
    now: Timestamp,
}

/// What a transaction did.
struct Made {
    /// For the first of the steps, one for each.
    answers: Vec<Stepped>,
    events: Vec<Prepared>,
    head: Position,
    versions: Map<Eventlog, Version>,
    /// Whether an earlier try may have been committed without our hearing of it.
    in_doubt: bool,
}

/// A step that can be made.
struct Ready {
    planned: Planned,
    event: Prepared,
    pending: EventId,
    fire: Vec<(EventId, Occurrence)>,
    next: Option<(EventId, Occurrence)>,
}

/// What becomes of one step.
enum Verdict {
    Go(Box<Ready>),
    Fail { pending: EventId, reason: String },
    Moved,
}

impl Task {
    /// Lets series go on, and tells of their events.
    pub(crate) async fn step(
        &mut self,
        steps: &[SeriesStep],
        now: Timestamp,
    ) -> Result<Vec<Stepped>, WriteError> {
        let mut answers: Vec<Stepped> = Vec::with_capacity(steps.len());
        let mut together = steps.len();
        while answers.len() < steps.len() {
            let rest = steps.get(answers.len()..).unwrap_or_default();
            let part = rest.get(..together).unwrap_or(rest);
            let series = part.first().map(|step| &step.series);
            match self.make(&Steps { steps: part, now }).await {
                Ok(Made { answers: more, events, head, versions, in_doubt }) => {
                    self.tell_fired(events, head, versions).await;
                    if in_doubt {
                        self.telling.schedules.missed();
                    }
                    for (step, answer) in part.iter().zip(&more) {
                        self.tell_next(step, answer);
                    }
                    answers.extend(more);
                }
                // Each in a transaction of its own, so that only the bad one does not go on.
                Err(Undone::Engine(Failure::Refused, _)) if part.len() > 1 => together = 1,
                Err(Undone::Engine(Failure::Refused, reason)) => {
                    error!(
                        ?series,
                        reason,
                        "a series does not go on: the database refuses its event; see what is wrong with its row"
                    );
                    answers.push(Stepped::Refused);
                }
                Err(undone) => {
                    self.telling.schedules.missed();
                    return Err(undone.into());
                }
            }
        }
        Ok(answers)
    }

    fn tell_next(&self, step: &SeriesStep, answer: &Stepped) {
        if let (Stepped::Made { .. }, Turn::On { next: Some(next), .. }) = (answer, &step.turn) {
            let id = occurrence_id(&step.series, next.at);
            self.telling.schedules.pending(Due { at: next.due, id });
        }
    }
}

impl Change for Steps<'_> {
    type Done = Made;
    async fn make(&self, session: &mut Session, log: &mut Log, moment: Moment) -> Result<Made, Trouble> {
        session.lock_head().await?;
        log.refresh(session).await?;
        let (part, ready) = self.weigh(session).await?;

        let fired: Vec<&EventId> = ready.iter().flat_map(Verdict::fired).collect();
        let taken = session.taken(&fired).await?;
        let mut verdicts = Verdicts::default();
        for verdict in &ready {
            let Verdict::Go(ready) = verdict else { continue };
            for (id, _) in &ready.fire {
                verdicts.judge(id, ready.event_of(id), taken.get(id));
            }
        }
        let versions = place(session, &mut verdicts.new, log.end()).await?;
        self.insert_rows(session, &ready).await?;
        verdicts.write(session, log, self.now).await?;

        let end = log.end();
        let head = verdicts.new.last().map_or(end, |event| event.event.position);
        let placed = verdicts.new.iter().map(|new| (&new.event.id, new.event.position));
        let at: Map<&EventId, Position> =
            placed.chain(verdicts.stored.iter().map(|(id, position)| (*id, *position))).collect();
        let mut answers = Vec::with_capacity(ready.len());
        for (step, verdict) in part.iter().zip(&ready) {
            answers.push(self.conclude(session, step, verdict, &at).await?);
        }
        Ok(Made { answers, events: verdicts.new, head, versions, in_doubt: moment.in_doubt })
    }
}

impl<'a> Steps<'a> {
    /// What becomes of those steps that fit one transaction. Their rows are locked.
    async fn weigh(&self, session: &mut Session) -> Result<(&'a [SeriesStep], Vec<Verdict>), Trouble> {
        let pending: Vec<_> =
            self.steps.iter().map(|step| occurrence_id(&step.series, step.pending)).collect();
        let ids: Vec<_> = self.steps.iter().map(|step| &step.series).chain(&pending).collect();
        let known = session.lock_schedules(&ids).await?;
        let part = self.steps.get(..fitting(self.steps, &known)).unwrap_or(self.steps);

        let series: Vec<_> = part.iter().map(|step| &step.series).collect();
        let mut templates = Map::default();
        for row in session.schedule_rows(&series).await? {
            templates.insert(row.id().map_err(Error::from)?, row);
        }
        let mut verdicts = Vec::with_capacity(part.len());
        for (step, pending) in part.iter().zip(pending) {
            let verdict = match (&step.turn, templates.get(&step.series)) {
                (_, Some(_)) if !is_at(step, &pending, &known) => Verdict::Moved,
                (_, None) => Verdict::Moved,
                (Turn::Fail(reason), _) => Verdict::Fail { pending, reason: reason.clone() },
                (Turn::On { fire, next }, Some(row)) => match prepared(row, self.now) {
                    Err(error) => Verdict::Fail { pending, reason: cut(error) },
                    Ok(event) => {
                        let schedule = row.schedule().map_err(Error::from)?;
                        let (publisher, due) = (schedule.publisher, schedule.due);
                        let (event_wanted, now) = (schedule.event, self.now);
                        let wish = ScheduleWish { event: event_wanted, publisher, due, key: None, now };
                        let named = |when: &Occurrence| (occurrence_id(&step.series, when.at), *when);
                        Verdict::Go(Box::new(Ready {
                            planned: Planned::new(wish),
                            event,
                            pending,
                            fire: fire.iter().map(named).collect(),
                            next: next.as_ref().map(named),
                        }))
                    }
                },
            };
            verdicts.push(verdict);
        }
        self.refuse_known(session, &mut verdicts).await?;
        Ok((part, verdicts))
    }

    /// An occurrence that is to come has no row yet, unless somebody has made one.
    async fn refuse_known(&self, session: &mut Session, verdicts: &mut [Verdict]) -> Result<(), Trouble> {
        let known = {
            let ids: Vec<_> = verdicts.iter().flat_map(Verdict::rows_to_come).map(|(id, _)| id).collect();
            session.known_schedules(&ids).await?
        };
        for verdict in verdicts {
            let clash =
                verdict.rows_to_come().find(|(id, _)| known.contains_key(id)).map(|(id, _)| id.clone());
            if let (Some(clash), Verdict::Go(ready)) = (clash, &*verdict) {
                let reason = format!("its occurrence {clash} is there already; schedule it anew");
                *verdict = Verdict::Fail { pending: ready.pending.clone(), reason };
            }
        }
        Ok(())
    }

    async fn insert_rows(&self, session: &mut Session, verdicts: &[Verdict]) -> Result<(), Trouble> {
        let mut rows = Vec::new();
        for verdict in verdicts {
            let Verdict::Go(ready) = verdict else { continue };
            let new = verdict.rows_to_come();
            rows.extend(new.map(|(id, when)| ready.planned.occurrence(id, *when, self.now)));
        }
        Ok(session.insert_schedules(&rows).await?)
    }

    /// Writes down how a series stands, once its events are in the log at `at`.
    async fn conclude(
        &self,
        session: &mut Session,
        step: &SeriesStep,
        verdict: &Verdict,
        at: &Map<&EventId, Position>,
    ) -> Result<Stepped, Trouble> {
        let (id, now) = (Value::Text(step.series.as_str()), Value::Integer(self.now.millis()));
        let ready = match verdict {
            Verdict::Moved => return Ok(Stepped::Moved),
            Verdict::Fail { pending, reason } => {
                warn!(series = %step.series, reason, "a series has failed for good");
                expect_one(session.mark_failed(&step.series, self.now, reason).await?)?;
                expect_one(session.mark_failed(pending, self.now, reason).await?)?;
                return Ok(Stepped::Failed);
            }
            Verdict::Go(ready) => ready,
        };
        if ready.fire.iter().all(|(id, _)| *id != ready.pending) {
            session.cancel_pending(&ready.pending, self.now, Some(PASSED_OVER)).await?;
        }
        let fired: Vec<_> = ready.fire.iter().filter_map(|(id, _)| at.get(id).copied()).collect();
        let last = fired.last().map_or(Value::Null, |position| Value::number(position.0));
        let matched = match &ready.next {
            Some((_, next)) => session.execute(&MOVE, &[Value::Integer(next.at.millis()), last, id]).await?,
            None => session.execute(&END, &[now, now, last, id]).await?,
        };
        expect_one(matched)?;
        Ok(Stepped::Made { fired })
    }
}

impl Verdict {
    /// Whose events are to be appended.
    fn fired(&self) -> impl Iterator<Item = &EventId> {
        self.ready().into_iter().flat_map(|ready| &ready.fire).map(|(id, _)| id)
    }

    /// Occurrences without a row yet.
    fn rows_to_come(&self) -> impl Iterator<Item = &(EventId, Occurrence)> {
        self.ready()
            .into_iter()
            .flat_map(|ready| ready.fire.iter().filter(|(id, _)| *id != ready.pending).chain(&ready.next))
    }

    fn ready(&self) -> Option<&Ready> {
        match self {
            Self::Go(ready) => Some(ready),
            Self::Fail { .. } | Self::Moved => None,
        }
    }
}

impl Ready {
    /// The event of the occurrence with this id.
    fn event_of(&self, id: &EventId) -> Prepared {
        let mut event = self.event.clone();
        event.event.id = id.clone();
        event
    }
}

/// Whether the series is where the step starts from.
fn is_at(step: &SeriesStep, pending: &EventId, known: &Map<EventId, Known>) -> bool {
    let series = known.get(&step.series).is_some_and(|series| {
        series.fate == Fate::Pending && matches!(&series.kind, Kind::Series { at, .. } if *at == step.pending)
    });
    series && known.get(pending).is_some_and(|pending| pending.fate == Fate::Pending)
}

/// How many of `steps` fit one transaction, at least one.
fn fitting(steps: &[SeriesStep], known: &Map<EventId, Known>) -> usize {
    let mut bytes = 0;
    let fits = steps.iter().take_while(|step| {
        let events = match &step.turn {
            Turn::On { fire, next } => fire.len() + usize::from(next.is_some()),
            Turn::Fail(_) => 0,
        };
        bytes += known.get(&step.series).map_or(0, |series| series.bytes) * events;
        bytes <= FIRE_BYTES_MAX
    });
    fits.count().max(1)
}

/// It was read as alive under the same lock; if it is not any more, look again.
fn expect_one(matched: u64) -> Result<(), Trouble> {
    if matched == 1 { Ok(()) } else { Err(Trouble::HeadMoved) }
}
