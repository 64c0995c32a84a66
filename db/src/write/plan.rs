//! Decides which schedules of a batch are stored, and who is answered what.
//!
//! It is pure, like [`crate::write::decide`]. Not knowing of a schedule is no harm: its id is the key
//! of its row, so that the batch fails and is tried again by one who has looked.

use std::collections::HashSet;

use proto::message::Stored;
use proto::schedule::occurrence_id;
use proto::{Cpid, Eid, EventId, NewEvent, Position, Refusal, ScheduleKey, ServiceName, Timestamp, slot};

use crate::schedule::{Cancelled, Due, Occurrence, ScheduleWish, Scheduled, SeriesWish};
use crate::statement::Value;
use crate::write::decide::Taken;
use crate::write::versions::Map;

/// A schedule on its way into its table: everything that can be worked out before.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) event: NewEvent,
    pub(crate) key: Option<ScheduleKey>,
    pub(crate) due: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) bytes: usize,
    pub(crate) digest: [u8; 16],
    pub(crate) series: Option<Series>,
    publisher: ServiceName,
    slot: u16,
    metadata: Option<String>,
    eids: Option<String>,
    cpids: Option<String>,
}

/// What a series has besides.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) recurrence: String,
    pub(crate) first: Timestamp,
}

/// What is known of a schedule that is stored. It has texts and numbers as they are, so that a row
/// that somebody has damaged is no obstacle for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: EventId,
    pub(crate) key: Option<String>,
    pub(crate) due: i64,
    pub(crate) digest: Vec<u8>,
    pub(crate) created: i64,
    pub(crate) fate: Fate,
    pub(crate) bytes: usize,
    pub(crate) kind: Kind,
}

/// What kind of row a schedule is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is fired once.
    Once,
    /// It is an occurrence of this series.
    Occurrence(EventId),
    /// It is a series, and this occurrence of it is pending.
    Series { recurrence: String, at: Timestamp },
}

/// What has become of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is fired when it is due, or is a series that goes on.
    Pending,
    Paused,
    /// A series that came to its end.
    Ended,
    Fired {
        position: Position,
    },
    Cancelled {
        reason: Option<String>,
    },
    Failed {
        reason: String,
    },
}

/// What becomes of the schedules of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One for each.
    pub(crate) outcomes: Vec<Result<Scheduled, Refusal>>,
    /// Which are new, by their place in the batch.
    pub(crate) new: Vec<usize>,
}

impl Plan {
    /// The plan for `asked`, by what is known of their ids: events that are in the log, and stored
    /// schedules. `doubtful` are those that a commit of unknown outcome may have stored: found now, with
    /// the time of this very wish, they are this wish's own.
    pub(crate) fn of<'a>(
        asked: impl IntoIterator<Item = &'a Planned>,
        logged: &Map<EventId, Taken>,
        known: &Map<EventId, Known>,
        doubtful: &HashSet<EventId>,
    ) -> Self {
        let mut plan = Self::default();
        let mut own: Map<&EventId, &Planned> = Map::default();
        for (at, planned) in asked.into_iter().enumerate() {
            let id = &planned.event.id;
            let outcome = if let Some(known) = known.get(id) {
                let ours = doubtful.contains(id) && known.created == planned.now.millis();
                planned.repeated(known).map(|()| if ours { Stored::Now } else { Stored::Before })
            } else if let Some(first) = own.get(id) {
                let same = first.digest == planned.digest && first.due == planned.due;
                if same { Ok(Stored::Before) } else { Err(planned.conflict(Position(0))) }
            } else if let Some(taken) = logged.get(id) {
                Err(planned.conflict(taken.position))
            } else {
                own.insert(id, planned);
                plan.new.push(at);
                Ok(Stored::Now)
            };
            plan.outcomes.push(outcome.map(|stored| planned.scheduled(stored, None)));
        }
        plan
    }
}

impl Planned {
    /// A series, whose wish has the first occurrence.
    pub(crate) fn series(series: SeriesWish) -> Self {
        let SeriesWish { wish, recurrence, first } = series;
        Self { series: Some(Series { recurrence, first }), ..Self::new(wish) }
    }

    pub(crate) fn new(wish: ScheduleWish) -> Self {
        let ScheduleWish { mut event, publisher, due, key, now } = wish;
        let digest = event.digest();
        event.eids.sort_unstable();
        event.eids.dedup();
        event.cpids.sort_unstable();
        event.cpids.dedup();
        // Maps and lists of names always have a JSON form.
        let metadata = (!event.metadata.0.is_empty())
            .then(|| serde_json::to_string(&event.metadata).unwrap_or_else(|_| "{}".to_owned()));
        let list = |empty: bool, text: Result<String, _>| (!empty).then(|| text.unwrap_or_default());
        let eids = list(event.eids.is_empty(), serde_json::to_string::<Vec<Eid>>(&event.eids));
        let cpids = list(event.cpids.is_empty(), serde_json::to_string::<Vec<Cpid>>(&event.cpids));
        let texts = [&metadata, &eids, &cpids];
        let bytes = event.weight() + texts.into_iter().flatten().map(String::len).sum::<usize>();
        let slot = slot(&event.domain, &event.pid);
        let series = None;
        Self { event, key, due, now, bytes, digest, series, publisher, slot, metadata, eids, cpids }
    }

    /// What is pending once it is stored.
    pub(crate) fn pending(&self) -> Due {
        let id = match &self.series {
            Some(series) => occurrence_id(&self.event.id, series.first),
            None => self.event.id.clone(),
        };
        Due { at: self.due, id }
    }

    /// Whether nothing else has to change for it.
    pub(crate) fn is_alone(&self) -> bool {
        self.key.is_none() && self.series.is_none()
    }

    /// Its row while it is to be fired, as asked for at `created`.
    pub(crate) fn row(&self, created: Timestamp) -> Row<'_> {
        let due = Value::Integer(self.due.millis());
        let series = self.series.as_ref();
        let pending = if series.is_some() { Value::Null } else { due };
        let key = Value::text_or_null(self.key.as_ref().map(ScheduleKey::as_str));
        let occurrence = Value::integer_or_null(series.map(|series| series.first.millis()));
        let recurrence = Value::text_or_null(series.map(|series| series.recurrence.as_str()));
        let id = self.event.id.as_str();
        self.row_of(id, key, [due, pending], created, [Value::Null, occurrence, recurrence])
    }

    /// The row of a pending occurrence of this series, whose event has the id `id`.
    pub(crate) fn occurrence<'a>(&'a self, id: &'a EventId, when: Occurrence, created: Timestamp) -> Row<'a> {
        let (due, at) = (Value::Integer(when.due.millis()), Value::Integer(when.at.millis()));
        let series = Value::Text(self.event.id.as_str());
        self.row_of(id.as_str(), Value::Null, [due, due], created, [series, at, Value::Null])
    }

    fn row_of<'a>(
        &'a self,
        id: &'a str,
        key: Value<'a>,
        [due, pending]: [Value<'a>; 2],
        created: Timestamp,
        [series, occurrence, recurrence]: [Value<'a>; 3],
    ) -> Row<'a> {
        [
            Value::Text(id),
            key,
            key,
            due,
            pending,
            Value::Integer(i64::from(self.slot)),
            Value::Text(self.event.domain.as_str()),
            Value::Text(self.event.pid.as_str()),
            Value::Text(self.event.name.as_str()),
            Value::text_or_null(self.event.rid.as_ref().map(EventId::as_str)),
            Value::Text(self.publisher.as_str()),
            Value::integer_or_null(self.event.timestamp.map(Timestamp::millis)),
            Value::text_or_null(self.metadata.as_deref()),
            Value::Text(self.event.data.as_str()),
            Value::text_or_null(self.eids.as_deref()),
            Value::text_or_null(self.cpids.as_deref()),
            Value::Bytes(&self.digest),
            Value::Integer(created.millis()),
            series,
            occurrence,
            recurrence,
        ]
    }

    /// Whether this is what `known`, which has the same id, was stored for.
    pub(crate) fn repeated(&self, known: &Known) -> Result<(), Refusal> {
        let when = match (&self.series, &known.kind) {
            (None, Kind::Once) => known.due == self.due.millis(),
            (Some(series), Kind::Series { recurrence, .. }) => *recurrence == series.recurrence,
            (None, Kind::Occurrence(_) | Kind::Series { .. })
            | (Some(_), Kind::Once | Kind::Occurrence(_)) => false,
        };
        let same = known.digest == self.digest
            && when
            && known.key.as_deref() == self.key.as_ref().map(ScheduleKey::as_str);
        let position = if let Fate::Fired { position } = known.fate { position } else { Position(0) };
        if same { Ok(()) } else { Err(self.conflict(position)) }
    }

    pub(crate) fn conflict(&self, position: Position) -> Refusal {
        Refusal::Conflict { id: self.event.id.clone(), position }
    }

    pub(crate) fn scheduled(&self, stored: Stored, replaced: Option<EventId>) -> Scheduled {
        Scheduled { stored, due: self.due, replaced }
    }
}

/// The values of one row, as `insert.sql` wants them.
pub(crate) type Row<'a> = [Value<'a>; 21];

impl Known {
    /// Whether it can be fired yet, now or when it is resumed.
    pub(crate) fn is_alive(&self) -> bool {
        match self.fate {
            Fate::Pending | Fate::Paused => true,
            Fate::Ended | Fate::Fired { .. } | Fate::Cancelled { .. } | Fate::Failed { .. } => false,
        }
    }

    /// What a cancellation is answered that finds it so, or `None` if it can be cancelled.
    pub(crate) fn too_late(self) -> Option<Cancelled> {
        match self.fate {
            Fate::Pending | Fate::Paused => None,
            Fate::Ended => Some(Cancelled::Ended),
            Fate::Fired { position } => Some(Cancelled::Fired { position }),
            Fate::Cancelled { .. } => Some(Cancelled::Cancelled),
            Fate::Failed { reason } => Some(Cancelled::Failed { reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::{Domain, EventName, Pid, Version};

    use super::*;

    fn planned(id: &str, name: &str, due: i64) -> Planned {
        let (domain, pid) = (Domain::parse("order").unwrap(), Pid::parse("1").unwrap());
        let event = NewEvent::new(EventId::parse(id).unwrap(), domain, pid, EventName::parse(name).unwrap());
        let (due, now) = (Timestamp::from_millis(due).unwrap(), Timestamp::from_millis(7).unwrap());
        Planned::new(ScheduleWish {
            event,
            publisher: ServiceName::parse("shop").unwrap(),
            due,
            key: None,
            now,
        })
    }

    fn known(planned: &Planned, fate: Fate) -> Map<EventId, Known> {
        let id = planned.event.id.clone();
        let (due, digest) = (planned.due.millis(), planned.digest.to_vec());
        let known =
            Known { id: id.clone(), key: None, due, digest, created: 7, fate, bytes: 0, kind: Kind::Once };
        Map::from_iter([(id, known)])
    }

    fn outcomes(plan: Plan) -> Vec<Result<Stored, Position>> {
        let position = |refusal| match refusal {
            Refusal::Conflict { position, .. } => position,
            other => panic!("{other:?}"),
        };
        plan.outcomes.into_iter().map(|one| one.map(|done| done.stored).map_err(position)).collect()
    }

    #[test]
    fn one_batch_may_hold_the_same_schedule_twice_but_not_two_with_one_id() {
        let asked = [planned("a", "n", 1), planned("a", "n", 1), planned("a", "n", 2), planned("b", "n", 1)];
        let plan = Plan::of(&asked, &Map::default(), &Map::default(), &HashSet::new());
        assert_eq!(plan.new, [0, 3]);
        let expected = [Ok(Stored::Now), Ok(Stored::Before), Err(Position(0)), Ok(Stored::Now)];
        assert_eq!(outcomes(plan), expected);
    }

    #[test]
    fn a_fired_one_is_a_repetition_although_its_event_is_in_the_log() {
        let first = planned("a", "n", 1);
        let taken = Taken { position: Position(4), version: Version(1), digest: None };
        let logged = Map::from_iter([(first.event.id.clone(), taken)]);
        let fired = known(&first, Fate::Fired { position: Position(4) });
        let asked = [planned("a", "n", 1), planned("a", "other", 1)];
        let plan = Plan::of(&asked, &logged, &fired, &HashSet::new());
        assert_eq!(outcomes(plan), [Ok(Stored::Before), Err(Position(4))]);
        let unscheduled = Plan::of(&asked, &logged, &Map::default(), &HashSet::new());
        assert_eq!(outcomes(unscheduled), [Err(Position(4)), Err(Position(4))]);
    }

    #[test]
    fn what_a_commit_of_unknown_outcome_stored_was_stored_now() {
        let asked = [planned("a", "n", 1)];
        let doubtful = HashSet::from([asked[0].event.id.clone()]);
        let stored = known(&asked[0], Fate::Pending);
        assert_eq!(outcomes(Plan::of(&asked, &Map::default(), &stored, &doubtful)), [Ok(Stored::Now)]);
        assert_eq!(
            outcomes(Plan::of(&asked, &Map::default(), &stored, &HashSet::new())),
            [Ok(Stored::Before)]
        );
    }
}
