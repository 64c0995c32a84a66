//! What applications ask about schedules, and whether they are told the truth.

use std::time::Duration;

use db::ScheduleState;
use proto::message::Request;
use proto::recurrence::{Misfire, Recurrence, Rule};
use proto::schedule::{
    Recurring, ScheduleChange, ScheduleReply, ScheduleRequest, ScheduleWish, Standing, When, Which,
};
use proto::{EventId, Position, ScheduleKey, Timestamp};

use super::super::broken::{Broken, rule};
use super::super::random::Random;
use super::super::tables::Tables;
use super::{Asked, Spoke, new_event};

/// How long a series of the simulation goes on at most, in milliseconds.
const SERIES_MS_MAX: usize = 40_000;

/// A request, and what was there when it was made.
#[derive(Debug)]
pub(super) struct Question {
    request: ScheduleRequest,
    was_there: bool,
}

impl Spoke {
    /// Schedules something, or changes what is scheduled. `times` are the hub's, and where its wheel ends.
    pub(in super::super) fn schedule(
        &mut self,
        random: &mut Random,
        next: &mut u64,
        times: (Timestamp, Timestamp),
        tables: &Tables,
    ) {
        if !self.has_room() {
            return;
        }
        let request = if random.once_in(3) {
            let Some(request) = change(random, tables) else { return };
            request
        } else {
            *next += 1;
            let event = new_event(&format!("s-{next}"), random);
            let when = if random.once_in(6) { series(random, times.0) } else { When::At(due(random, times)) };
            let key = random.once_in(2).then(|| key(random));
            ScheduleRequest::Add(Box::new(ScheduleWish { event, when, key }))
        };
        let was_there = match &request {
            ScheduleRequest::Change { which, .. } => tables.knows_schedule(which),
            ScheduleRequest::Add(_) | ScheduleRequest::Show(_) | ScheduleRequest::List(_) => false,
        };
        if let Ok(asked) = self.session.request(Request::Schedule(request.clone())) {
            self.asked.insert(asked, Asked::Schedule(Box::new(Question { request, was_there })));
        }
    }
}

impl Question {
    /// What is said of a fate that does not change any more is what the tables have.
    pub(super) fn check(&self, reply: &ScheduleReply, tables: &Tables) -> Result<(), Broken> {
        let seen = || format!("{:?} is answered with {reply:?}", self.request);
        match (&self.request, reply) {
            (ScheduleRequest::Add(wish), ScheduleReply::Added(added)) => {
                let row = tables.schedules.get(&wish.event.id);
                let kept = row.is_some_and(|row| row.event == wish.event && row.due == added.due);
                rule(kept, "a schedule that is answered is stored", seen)?;
                let replaced = added.replaced.as_ref();
                let gone = replaced.is_none_or(|id| is_cancelled(tables, id));
                rule(gone, "what a schedule has replaced is never fired", seen)
            }
            (ScheduleRequest::Change { which, .. }, ScheduleReply::Changed(standing)) => {
                self.check_standing(which, standing, tables)
            }
            _ => rule(false, "an answer is of the kind of its request", seen),
        }
    }

    fn check_standing(&self, which: &Which, standing: &Standing, tables: &Tables) -> Result<(), Broken> {
        // Of a key the newest is meant, which may be another one by now.
        let id = match which {
            Which::Id(id) => tables.series_of(id),
            Which::Key(_) => None,
        };
        let state = id.as_ref().and_then(|id| tables.schedules.get(id)).map(|row| row.state.clone());
        let true_of_id = id.is_none_or(|id| match standing {
            Standing::Cancelled => is_cancelled(tables, &id),
            Standing::Fired { position } => is_fired(state, *position) && tables.has_at(&id, *position),
            Standing::Ended => matches!(state, Some(ScheduleState::Ended { .. })),
            Standing::Failed { .. } => matches!(state, Some(ScheduleState::Failed { .. })),
            Standing::Unknown => !self.was_there,
            Standing::Pending { .. } | Standing::Paused => state.is_some(),
        });
        let truthful = true_of_id && (*standing != Standing::Unknown || !self.was_there);
        rule(truthful, "who asks about a schedule is told the truth", || {
            format!("{:?} is answered with {standing:?}", self.request)
        })
    }
}

fn is_fired(state: Option<ScheduleState>, at: Position) -> bool {
    matches!(state, Some(ScheduleState::Fired { position, .. }) if position == at)
}

/// It is cancelled, and no event of it is in the log that a firing has put there.
fn is_cancelled(tables: &Tables, id: &EventId) -> bool {
    let row = tables.schedules.get(id);
    row.is_some_and(|row| matches!(row.state, ScheduleState::Cancelled { .. }))
}

/// When something is due: long ago, soon, where the wheel ends, or later than that.
fn due(random: &mut Random, (now, edge): (Timestamp, Timestamp)) -> Timestamp {
    let mut within = |millis| Duration::from_millis(u64::try_from(random.below(millis)).unwrap_or(0));
    match within(8).as_millis() {
        0 => now,
        1..=3 => now.plus(within(4_000)),
        4 | 5 => Timestamp::from_millis(edge.millis() - 1).unwrap_or(edge).plus(within(3)),
        6 => now.plus(within(40_000)),
        _ => now.plus(within(90_000)),
    }
}

fn series(random: &mut Random, now: Timestamp) -> When {
    let millis =
        |random: &mut Random, from, below| u64::try_from(from + random.below(below)).unwrap_or(from as u64);
    let rule = Rule::Every { millis: millis(random, 1_000, 6_000) };
    let end = now.plus(Duration::from_millis(millis(random, 2_000, SERIES_MS_MAX)));
    let misfire = random.pick(Misfire::ALL).unwrap_or_default();
    let start = now.plus(Duration::from_millis(millis(random, 0, 2_000)));
    When::Recurring(Box::new(Recurring {
        start,
        recurrence: Recurrence { misfire, end: Some(end), ..Recurrence::new(rule) },
    }))
}

/// A cancellation, a pause or a resumption of something that is there, or never was.
fn change(random: &mut Random, tables: &Tables) -> Option<ScheduleRequest> {
    let known: Vec<_> = tables.schedules.keys().cloned().collect();
    let which = match random.below(8) {
        0 => Which::Id(EventId::parse("s-never").ok()?),
        1 | 2 => Which::Key(key(random)),
        _ => Which::Id(random.pick(&known)?),
    };
    let change = match random.below(4) {
        0 | 1 => ScheduleChange::Cancel,
        2 => ScheduleChange::Pause,
        _ => ScheduleChange::Resume,
    };
    Some(ScheduleRequest::Change { which, change })
}

fn key(random: &mut Random) -> ScheduleKey {
    ScheduleKey::parse(&format!("k{}", random.below(4))).expect("a letter and a digit make a key")
}
