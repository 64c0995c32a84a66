//! What may be asked about schedules.
//!
//! Nothing here tells the wheel: the writer does, after each commit.

use std::collections::HashMap;
use std::time::Duration;

use db::{Cancelled, Due, Schedule, ScheduleState as Stored, SeriesWish};
use proto::access::Action;
use proto::message::Reply;
use proto::schedule::{
    Recurring, ScheduleChange, ScheduleQuery, ScheduleReply, ScheduleReport, ScheduleRequest, ScheduleScope,
    ScheduleState, ScheduleWish, Scheduled, Standing, Timing, When, Which, occurrence_id,
};
use proto::{EventId, Refusal, ScheduleKey, Timestamp};

use super::read::PAGES_PASSED_OVER_MAX;
use super::{Caller, Commands};
use crate::access::{Permit, Target};
use crate::recurrence::Series;
use crate::schedule::recurring_of;

/// How far ahead a schedule may be due: ten years of 365.25 days. Further ahead is refused, because it is
/// a mistake.
const AHEAD_MAX: Duration = Duration::from_secs(315_576_000);

/// Lists of schedules that are read at a time. More wait for their turn.
pub(super) const LISTS_MAX: usize = 2;

/// Whether a report has its event's data.
#[derive(Clone, Copy)]
enum Details {
    All,
    WithoutData,
}

impl Commands {
    pub(super) async fn schedule(&self, caller: &Caller, request: ScheduleRequest) -> Result<Reply, Refusal> {
        let reply = match request {
            ScheduleRequest::Add(wish) => ScheduleReply::Added(self.add_schedule(caller, *wish).await?),
            ScheduleRequest::Change { which, change } => {
                ScheduleReply::Changed(self.change_schedule(caller, which, change).await?)
            }
            ScheduleRequest::Show(which) => {
                ScheduleReply::Shown(Box::new(self.show_schedule(caller, &which).await?))
            }
            ScheduleRequest::List(query) => ScheduleReply::Listed(self.list_schedules(caller, &query).await?),
        };
        Ok(Reply::Schedule(reply))
    }

    async fn add_schedule(&self, caller: &Caller, wish: ScheduleWish) -> Result<Scheduled, Refusal> {
        let ScheduleWish { event, when, key } = wish;
        let target = Target::Events(&event.domain, &event.name);
        let permit = self.reach(caller, Action::Schedule).permit(target)?;
        self.check_key(caller, &permit, key.as_ref()).await?;
        event.check().map_err(|error| invalid(format!("event {}: {error}", event.id)))?;
        let (now, publisher) = (self.clock.now(), caller.peer.service.clone());
        let added = match when {
            When::At(due) => {
                check_due(due, now)?;
                let wish = db::ScheduleWish { event, publisher, due, key, now };
                self.store.schedule(&permit, wish).await
            }
            When::Recurring(recurring) => {
                let first = first(&recurring, &event.id)?;
                check_due(first.due, now)?;
                let recurrence = serde_json::to_string(&*recurring)
                    .map_err(|error| invalid(format!("what it recurs by cannot be kept: {error}")))?;
                let wish = db::ScheduleWish { event, publisher, due: first.due, key, now };
                self.store.schedule_series(&permit, SeriesWish { wish, recurrence, first: first.at }).await
            }
        };
        let db::Scheduled { stored, due, replaced } = added?;
        let timing = if due > now { Timing::Ahead } else { Timing::Passed };
        Ok(Scheduled { stored, due, timing, replaced })
    }

    async fn change_schedule(
        &self,
        caller: &Caller,
        which: Which,
        change: ScheduleChange,
    ) -> Result<Standing, Refusal> {
        let now = self.clock.now();
        let Some((permit, which)) = self.permit_schedule(caller, which).await? else {
            return Ok(Standing::Unknown);
        };
        match change {
            ScheduleChange::Cancel => self.store.cancel(&permit, which, now).await.map(cancelled),
            ScheduleChange::Pause => {
                self.store.pause(&permit, which, now).await.map(|altered| altered.standing)
            }
            ScheduleChange::Resume => self.store.resume(&permit, which).await.map(|altered| altered.standing),
        }
    }

    async fn show_schedule(&self, caller: &Caller, which: &Which) -> Result<ScheduleReport, Refusal> {
        let what = match which {
            Which::Id(id) => format!("schedule {id}"),
            Which::Key(key) => format!("a schedule with the key {key}"),
        };
        let permitted = self.permit_schedule(caller, which.clone()).await?;
        let Some((permit, which)) = permitted else { return Err(Refusal::NotFound { what }) };
        let schedule = self.store.schedule_of(&permit, &which).await?;
        let schedule = schedule.ok_or(Refusal::NotFound { what })?;
        let mut reports = self.reports(&permit, vec![schedule], Details::All).await?;
        reports.pop().ok_or(Refusal::Stopping)
    }

    /// The right to see or change a schedule, and which one it is for certain. `None` if there is none that
    /// the caller may, whether there is another or not.
    pub(super) async fn permit_schedule(
        &self,
        caller: &Caller,
        which: Which,
    ) -> Result<Option<(Permit, Which)>, Refusal> {
        let reach = self.reach(caller, Action::Schedule);
        if let Some(permit) = reach.everything() {
            return Ok(Some((permit, which)));
        }
        let permit = reach.permit(Target::Something)?;
        let Some(schedule) = self.store.schedule_of(&permit, &which).await? else { return Ok(None) };
        let target = Target::Events(&schedule.event.domain, &schedule.event.name);
        if !reach.covers(target) {
            reach.hide("a schedule", target);
            return Ok(None);
        }
        // Meanwhile somebody else's may have taken the key.
        Ok(Some((permit, Which::Id(schedule.id))))
    }

    /// Refuses a key whose schedule is in force and not the caller's to replace.
    pub(super) async fn check_key(
        &self,
        caller: &Caller,
        permit: &Permit,
        key: Option<&ScheduleKey>,
    ) -> Result<(), Refusal> {
        let reach = self.reach(caller, Action::Schedule);
        let Some(key) = key.filter(|_| reach.everything().is_none()) else { return Ok(()) };
        let taken = self.store.schedule_of(permit, &Which::Key(key.clone())).await?;
        let Some(schedule) = taken.filter(|taken| match taken.state {
            Stored::Pending | Stored::Paused { .. } | Stored::Recurring => true,
            Stored::Fired { .. }
            | Stored::Cancelled { .. }
            | Stored::Failed { .. }
            | Stored::Ended { .. } => false,
        }) else {
            return Ok(());
        };
        if reach.covers(Target::Events(&schedule.event.domain, &schedule.event.name)) {
            return Ok(());
        }
        Err(invalid(format!(
            "the schedule key {key} is taken by a schedule that service {} may not replace; choose another key",
            caller.peer.service
        )))
    }

    /// Schedules that the caller may schedule itself. A page goes on after its last, so it is never empty
    /// before the end.
    async fn list_schedules(
        &self,
        caller: &Caller,
        query: &ScheduleQuery,
    ) -> Result<Vec<ScheduleReport>, Refusal> {
        let reach = self.reach(caller, Action::Schedule);
        let permit = match &query.domain {
            Some(domain) => reach.permit(Target::Domain(domain))?,
            None => reach.permit(Target::Something)?,
        };
        let _turn = self.lists.acquire().await;
        let pending_only = match query.scope {
            ScheduleScope::Pending => true,
            ScheduleScope::All => false,
        };
        let mut after = query.after.as_ref().map(|after| Due { at: after.due, id: after.id.clone() });
        for _ in 0..PAGES_PASSED_OVER_MAX {
            let domain = query.domain.as_ref();
            let page = self.store.schedules(&permit, pending_only, domain, after.as_ref(), query.limit);
            let mut page = page.await?;
            let last = page.last().map(|last| Due { at: last.due, id: last.id.clone() });
            page.retain(|found| reach.covers(Target::Events(&found.event.domain, &found.event.name)));
            if last.is_none() || !page.is_empty() {
                return self.reports(&permit, page, Details::WithoutData).await;
            }
            after = last;
        }
        Err(invalid(
            "too many schedules that you may not see lie before the next that you may; name the domain"
                .to_owned(),
        ))
    }

    /// Reports about `schedules`, with what is known of their series.
    async fn reports(
        &self,
        permit: &Permit,
        schedules: Vec<Schedule>,
        details: Details,
    ) -> Result<Vec<ScheduleReport>, Refusal> {
        let mut others: Vec<EventId> = schedules.iter().filter_map(other).collect();
        others.sort_unstable();
        others.dedup();
        let others =
            if others.is_empty() { Vec::new() } else { self.store.schedules_of(permit, &others).await? };
        let others: HashMap<_, _> = others.into_iter().map(|other| (other.id.clone(), other)).collect();
        let report = |schedule: Schedule| {
            let other = other(&schedule).and_then(|id| others.get(&id));
            report(schedule, other, details)
        };
        Ok(schedules.into_iter().map(report).collect())
    }
}

/// The row that tells the rest about `schedule`: of an occurrence its series, of a series the occurrence
/// that is pending.
fn other(schedule: &Schedule) -> Option<EventId> {
    let pending = |series: &db::SeriesState| occurrence_id(&schedule.id, series.occurrence);
    schedule.series.clone().or_else(|| schedule.recurring.as_ref().map(pending))
}

fn report(schedule: Schedule, other: Option<&Schedule>, details: Details) -> ScheduleReport {
    let recurring = recurring_of(&schedule).or_else(|| other.and_then(recurring_of)).and_then(Result::ok);
    let state = state(&schedule, other);
    let event = schedule.event;
    ScheduleReport {
        id: schedule.id,
        key: schedule.key.or_else(|| other.and_then(|other| other.key.clone())),
        due: schedule.due,
        domain: event.domain,
        pid: event.pid,
        name: event.name,
        publisher: schedule.publisher,
        created: schedule.created,
        state,
        series: schedule.series,
        recurring,
        data: match details {
            Details::All => Some(event.data),
            Details::WithoutData => None,
        },
    }
}

fn state(schedule: &Schedule, other: Option<&Schedule>) -> ScheduleState {
    let last = schedule.recurring.as_ref().and_then(|series| series.last);
    match schedule.state.clone() {
        Stored::Pending => ScheduleState::Pending,
        Stored::Paused { at } => ScheduleState::Paused { since: at },
        Stored::Fired { at, position } => ScheduleState::Fired { at, position },
        Stored::Cancelled { at, reason } => ScheduleState::Cancelled { at, reason },
        Stored::Failed { at, reason } => ScheduleState::Failed { at, reason },
        Stored::Recurring => ScheduleState::Recurring {
            next: other.map_or(schedule.due, |pending| pending.due),
            occurrence: other.map_or_else(|| schedule.id.clone(), |pending| pending.id.clone()),
            last,
        },
        Stored::Ended { at } => ScheduleState::Ended { at, last },
    }
}

/// The first occurrence of what is to recur.
pub(crate) fn first(recurring: &Recurring, id: &EventId) -> Result<crate::recurrence::Occurrence, Refusal> {
    let series = Series::compile(&recurring.recurrence, id.as_str(), recurring.start)
        .map_err(|error| invalid(error.to_string()))?;
    series.first().ok_or_else(|| invalid("it never occurs; choose a later end".to_owned()))
}

/// Whether a schedule may be due then.
pub(crate) fn check_due(due: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let latest = now.plus(AHEAD_MAX);
    if due <= latest {
        return Ok(());
    }
    Err(invalid(format!("{due} is more than ten years ahead; the latest time is {latest}")))
}

/// What is said of a cancellation.
pub(crate) fn cancelled(cancelled: Cancelled) -> Standing {
    match cancelled {
        Cancelled::Cancelled => Standing::Cancelled,
        Cancelled::Fired { position } => Standing::Fired { position },
        Cancelled::Failed { reason } => Standing::Failed { reason },
        Cancelled::Ended => Standing::Ended,
        Cancelled::Unknown => Standing::Unknown,
    }
}

fn invalid(reason: String) -> Refusal {
    Refusal::Invalid { reason }
}
