//! Schedules and recurrences: one value for every variant.

use eventflow_proto::message::{Reply, Request, Stored};
use eventflow_proto::recurrence::{DoubledTime, Misfire, Recurrence, Rule, SkippedTime};
use eventflow_proto::schedule::{
    Recurring, ScheduleChange, ScheduleCursor, ScheduleQuery, ScheduleReply, ScheduleReport, ScheduleRequest,
    ScheduleScope, ScheduleState, ScheduleWish, Scheduled, Standing, Timing, When, Which,
};
use eventflow_proto::{CronText, NewEvent, Position, ScheduleKey, ZoneName};

use super::{domain, id, name, pid, service, time};
use crate::{Golden, golden};

pub(super) fn all() -> Vec<Golden> {
    [requests(), replies(), states(), rules()].into_iter().flatten().collect()
}

fn requests() -> Vec<Golden> {
    let event = NewEvent::new(id(), domain(), pid(), name());
    let wish = ScheduleWish { event, when: When::At(time(1_760_000_000_123)), key: Some(key()) };
    let query = ScheduleQuery {
        scope: ScheduleScope::Pending,
        domain: Some(domain()),
        after: Some(ScheduleCursor { due: time(-1), id: id() }),
        limit: 200,
    };
    let change = |change| ScheduleRequest::Change { which: Which::Id(id()), change };
    vec![
        golden("Request/Schedule", Request::Schedule(ScheduleRequest::Show(Which::Key(key())))),
        golden("ScheduleRequest/Add", ScheduleRequest::Add(Box::new(wish))),
        golden("ScheduleRequest/Change", change(ScheduleChange::Cancel)),
        golden("ScheduleRequest/Show", ScheduleRequest::Show(Which::Id(id()))),
        golden("ScheduleRequest/List", ScheduleRequest::List(query)),
        golden("When/At", When::At(time(0))),
        golden("When/Recurring", When::Recurring(Box::new(recurring()))),
        golden("ScheduleChange/Cancel", ScheduleChange::Cancel),
        golden("ScheduleChange/Pause", ScheduleChange::Pause),
        golden("ScheduleChange/Resume", ScheduleChange::Resume),
        golden("ScheduleScope/Pending", ScheduleScope::Pending),
        golden("ScheduleScope/All", ScheduleScope::All),
    ]
}

fn replies() -> Vec<Golden> {
    let added = Scheduled { stored: Stored::Now, due: time(5), timing: Timing::Passed, replaced: Some(id()) };
    let standing = Standing::Fired { position: Position(300) };
    vec![
        golden("Reply/Schedule", Reply::Schedule(ScheduleReply::Changed(Standing::Unknown))),
        golden("ScheduleReply/Added", ScheduleReply::Added(added)),
        golden("ScheduleReply/Changed", ScheduleReply::Changed(standing.clone())),
        golden("ScheduleReply/Shown", ScheduleReply::Shown(Box::new(report()))),
        golden("ScheduleReply/Listed", ScheduleReply::Listed(vec![report()])),
        golden("Timing/Ahead", Timing::Ahead),
        golden("Timing/Passed", Timing::Passed),
        golden("Standing/Pending", Standing::Pending { due: time(9) }),
        golden("Standing/Paused", Standing::Paused),
        golden("Standing/Fired", standing),
        golden("Standing/Cancelled", Standing::Cancelled),
        golden("Standing/Failed", Standing::Failed { reason: "taken".into() }),
        golden("Standing/Ended", Standing::Ended),
        golden("Standing/Unknown", Standing::Unknown),
    ]
}

fn states() -> Vec<Golden> {
    let (at, last) = (time(7), Some(Position(251)));
    vec![
        golden("ScheduleState/Pending", ScheduleState::Pending),
        golden("ScheduleState/Paused", ScheduleState::Paused { since: at }),
        golden("ScheduleState/Fired", ScheduleState::Fired { at, position: Position(4) }),
        golden("ScheduleState/Cancelled", ScheduleState::Cancelled { at, reason: None }),
        golden("ScheduleState/Failed", ScheduleState::Failed { at, reason: "no".into() }),
        golden("ScheduleState/Recurring", ScheduleState::Recurring { next: at, occurrence: id(), last }),
        golden("ScheduleState/Ended", ScheduleState::Ended { at, last: None }),
    ]
}

fn rules() -> Vec<Golden> {
    vec![
        golden("Rule/Cron", recurring().recurrence.rule),
        golden("Rule/Every", Rule::Every { millis: 300_000 }),
        golden("Misfire/FireOnceNow", Misfire::FireOnceNow),
        golden("Misfire/Skip", Misfire::Skip),
        golden("Misfire/FireEach", Misfire::FireEach),
        golden("SkippedTime/ByRule", SkippedTime::ByRule),
        golden("SkippedTime/Skip", SkippedTime::Skip),
        golden("SkippedTime/FireAfter", SkippedTime::FireAfter),
        golden("DoubledTime/ByRule", DoubledTime::ByRule),
        golden("DoubledTime/First", DoubledTime::First),
        golden("DoubledTime/Second", DoubledTime::Second),
        golden("DoubledTime/Twice", DoubledTime::Twice),
    ]
}

fn recurring() -> Recurring {
    let expression = CronText::parse("30 2 * * MON-FRI").unwrap();
    let zone = ZoneName::parse("Europe/Stockholm").unwrap();
    let mut recurrence = Recurrence::new(Rule::Cron { expression, zone });
    (recurrence.end, recurrence.jitter_ms) = (Some(time(1_800_000_000_000)), 5_000);
    Recurring { start: time(1_760_000_000_000), recurrence }
}

fn report() -> ScheduleReport {
    ScheduleReport {
        id: id(),
        key: Some(key()),
        due: time(1),
        domain: domain(),
        pid: pid(),
        name: name(),
        publisher: service(),
        created: time(0),
        state: ScheduleState::Pending,
        series: Some(id()),
        recurring: Some(recurring()),
        data: None,
    }
}

fn key() -> ScheduleKey {
    ScheduleKey::parse("remind/4711").unwrap()
}
