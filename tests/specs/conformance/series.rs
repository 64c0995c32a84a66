//! Schedules that recur, on a real log in simulated time: each occurrence once, and as the policies say.

use std::time::Duration;

use db::{Cancelled, Due, ScheduleState, ScheduleWish, SeriesWish, Which, WriteError};
use eventflow_tests::events::{id, name, shop, with_id};
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::{join, join_all};
use hub::SteppedSchedules;
use hub::recurrence::Series;
use proto::message::Stored;
use proto::recurrence::{Misfire, Recurrence, Rule};
use proto::schedule::{Recurring, Standing, occurrence_id};
use proto::{Position, ScheduleKey, Timestamp};

use super::schedules::{by_key, keyed, small};

const GRACE: Duration = Duration::from_secs(60);

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}

fn cron(expression: &str) -> Recurrence {
    Recurrence::new(Rule::Cron { expression: name(expression), zone: name("Europe/Stockholm") })
}

fn hourly(misfire: Misfire) -> Recurrence {
    Recurrence { misfire, ..Recurrence::new(Rule::Every { millis: 3_600_000 }) }
}

/// The wish for a series, as the hub makes it.
fn wish(one: &str, recurrence: Recurrence, start: Timestamp) -> SeriesWish {
    let first = Series::compile(&recurrence, one, start).unwrap().first().unwrap();
    let recurrence = serde_json::to_string(&Recurring { start, recurrence }).unwrap();
    let event = with_id(one, "order", one, "reported");
    let wish = ScheduleWish { event, publisher: shop(), due: first.due, key: None, now: start };
    SeriesWish { wish, recurrence, first: first.at }
}

fn with_key(key: &str, series: SeriesWish) -> SeriesWish {
    SeriesWish { wish: keyed(key, series.wish), ..series }
}

/// What fires schedules on `log` from `now` on.
fn wheel(log: &mut Log, now: Timestamp) -> SteppedSchedules {
    let pending = log.commits.pending_schedules().unwrap();
    SteppedSchedules::new(log.writer.clone(), log.reader.clone(), pending, GRACE, now)
}

/// Lets time pass until `until`, turn by turn.
async fn pass(wheel: &mut SteppedSchedules, from: Timestamp, until: Timestamp) {
    let mut now = from;
    while now <= until {
        now = within("a turn", wheel.turn(now)).await.unwrap();
    }
}

/// When the events of the log happened, which is when they were fired.
async fn fired(log: &Log) -> Vec<Timestamp> {
    log.everything().await.iter().map(|event| event.timestamp).collect()
}

async fn state(log: &Log, which: Which) -> ScheduleState {
    log.reader.schedule(&which).await.unwrap().unwrap().state
}

async fn pending(database: &TestDatabase) -> i64 {
    database.number("SELECT COUNT(*) FROM event_scheduled WHERE pending IS NOT NULL").await
}

on_every_engine! {
    async fn a_cron_over_both_changes_of_the_clocks_fires_as_its_policy_says(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let changes = [
            ("2026-03-28T20:00:00Z", "2026-03-30T03:00:00Z", ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
            ("2026-10-24T20:00:00Z", "2026-10-26T03:00:00Z", ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ];
        let mut wheel = wheel(&mut log, time(changes[0].0));
        let mut expected = Vec::new();
        for (round, (from, until, times)) in changes.into_iter().enumerate() {
            let series = wish(&format!("s{round}"), cron("30 2 * * *"), time(from));
            log.writer.schedule_series(series).await.unwrap();
            pass(&mut wheel, time(from), time(until)).await;
            expected.extend(times.map(time));
            assert_eq!(fired(&log).await, expected);
            log.writer.cancel(Which::Id(id(&format!("s{round}"))), time(until)).await.unwrap();
        }
        let events = log.everything().await;
        assert_eq!(events[0].id, occurrence_id(&id("s0"), expected[0]));
        log.close().await;
    }

    async fn a_series_whose_occurrence_somebody_has_deleted_holds_up_nobody(database: &TestDatabase) {
        let log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        log.writer.schedule_series(wish("s", hourly(Misfire::Skip), start)).await.unwrap();
        database.execute("DELETE FROM event_scheduled WHERE series = 's'").await;
        let paused = within("an answer", log.writer.pause(Which::Id(id("s")), start)).await;
        assert!(matches!(paused, Err(WriteError::Unavailable { .. })), "{paused:?}");
        let cancelled = within("an answer", log.writer.cancel(Which::Id(id("s")), start)).await;
        assert!(matches!(cancelled, Err(WriteError::Unavailable { .. })), "{cancelled:?}");
        log.writer.schedule(small("a", 5)).await.unwrap();
        assert_eq!(log.writer.fire(vec![id("a")], start).await.unwrap()[0].position(), Some(Position(1)));
        log.close().await;
    }

    async fn after_a_time_without_a_hub_the_misfire_policy_is_followed(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        let policies = [Misfire::FireOnceNow, Misfire::Skip, Misfire::FireEach];
        for policy in policies {
            log.writer.schedule_series(wish(policy.as_str(), hourly(policy), start)).await.unwrap();
        }
        let back = start.plus(hours(5) + Duration::from_secs(1_800));
        let mut wheel = wheel(&mut log, back);
        let next = within("a turn", wheel.turn(back)).await.unwrap();
        let events = log.everything().await;
        let of = |policy: Misfire| events.iter().filter(move |event| event.pid.as_str() == policy.as_str());
        assert_eq!(policies.map(|policy| of(policy).count()), [1, 0, 6]);
        let latest = occurrence_id(&id("fire_once_now"), start.plus(hours(5)));
        assert_eq!(of(Misfire::FireOnceNow).next().unwrap().id, latest, "the latest stands for all");
        pass(&mut wheel, next, start.plus(hours(6))).await;
        assert_eq!(log.everything().await.len(), 7 + 3, "each goes on with the next one");
        assert_eq!(pending(database).await, 3);
        let passed = occurrence_id(&id("skip"), start);
        let passed = state(&log, Which::Id(passed)).await;
        assert!(matches!(&passed, ScheduleState::Cancelled { reason: Some(reason), .. } if reason.contains("missed")), "{passed:?}");
        log.close().await;
    }

    async fn many_missed_occurrences_are_fired_in_order_and_part_by_part(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        log.writer.schedule_series(wish("s", hourly(Misfire::FireEach), start)).await.unwrap();
        let back = start.plus(hours(449));
        let mut wheel = wheel(&mut log, back);
        within("a turn", wheel.turn(back)).await.unwrap();
        let events = log.everything().await;
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        let expected: Vec<_> = (0..450).map(|hour| occurrence_id(&id("s"), start.plus(hours(hour)))).collect();
        assert_eq!(ids, expected);
        log.close().await;
    }

    async fn two_hubs_that_fire_the_same_series_append_each_occurrence_once(database: &TestDatabase) {
        let (mut one, mut other) = (Log::open_as(database, "one").await, Log::open_as(database, "other").await);
        let start = time("2026-01-01T00:00:00Z");
        for n in 0..5 {
            one.writer.schedule_series(wish(&format!("s{n}"), hourly(Misfire::FireEach), start)).await.unwrap();
        }
        let (mut first, mut second) = (wheel(&mut one, start), wheel(&mut other, start));
        for hour in 0..40 {
            let now = start.plus(hours(hour));
            let (a, b) = within("both", join(first.turn(now), second.turn(now))).await;
            a.unwrap();
            b.unwrap();
        }
        let mut ids: Vec<_> = one.everything().await.into_iter().map(|event| event.id).collect();
        ids.sort_unstable();
        let all = |n: u64| (0..40).map(move |hour| occurrence_id(&id(&format!("s{n}")), start.plus(hours(hour))));
        let mut expected: Vec<_> = (0..5).flat_map(all).collect();
        expected.sort_unstable();
        assert_eq!(ids, expected);
        assert_eq!(pending(database).await, 5);
        one.close().await;
        other.close().await;
    }

    async fn a_series_that_is_cancelled_has_no_occurrence_any_more(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        let series = with_key("k", wish("s", hourly(Misfire::FireEach), start));
        assert_eq!(log.writer.schedule_series(series.clone()).await.unwrap().stored, Stored::Now);
        assert_eq!(log.writer.schedule_series(series.clone()).await.unwrap().stored, Stored::Before);
        let mut wheel = wheel(&mut log, start);
        pass(&mut wheel, start, start.plus(hours(1))).await;
        // The occurrence that is to come stands for its series.
        let next = occurrence_id(&id("s"), start.plus(hours(2)));
        let now = start.plus(hours(1));
        assert_eq!(log.writer.cancel(Which::Id(next.clone()), now).await, Ok(Cancelled::Cancelled));
        assert_eq!(log.writer.cancel(by_key("k"), now).await, Ok(Cancelled::Cancelled), "again");
        assert_eq!(state(&log, Which::Id(next)).await, ScheduleState::Cancelled { at: now, reason: None });
        pass(&mut wheel, start.plus(hours(1)), start.plus(hours(9))).await;
        assert_eq!((fired(&log).await.len(), pending(database).await), (2, 0));
        assert_eq!(log.writer.schedule_series(series).await.unwrap().stored, Stored::Before, "whatever has become of it");
        let past = occurrence_id(&id("s"), start);
        let past = log.writer.cancel(Which::Id(past), now).await;
        assert_eq!(past, Ok(Cancelled::Fired { position: Position(1) }), "an occurrence that was fired speaks for itself");
        log.close().await;
    }

    async fn series_and_single_schedules_replace_each_other_by_key(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        log.writer.schedule(keyed("k", small("once", 5))).await.unwrap();
        let series = with_key("k", wish("s", hourly(Misfire::FireEach), start));
        let replaced = log.writer.schedule_series(series.clone()).await.unwrap().replaced;
        assert_eq!(replaced, Some(id("once")));
        let mut wheel = wheel(&mut log, start);
        pass(&mut wheel, start, start.plus(hours(1))).await;
        assert_eq!(fired(&log).await.len(), 2);
        assert_eq!(log.reader.schedule(&by_key("k")).await.unwrap().unwrap().id, id("s"), "the key is the series' own");
        let single = keyed("k", small("single", 5));
        let single = ScheduleWish { due: start.plus(hours(3)), now: start.plus(hours(1)), ..single };
        assert_eq!(log.writer.schedule(single).await.unwrap().replaced, Some(id("s")));
        pass(&mut wheel, start.plus(hours(1)), start.plus(hours(5))).await;
        assert_eq!(fired(&log).await.len(), 3, "the series is over, the single one was fired");
        let again = with_key("k", wish("t", hourly(Misfire::FireEach), start.plus(hours(9))));
        assert_eq!(log.writer.schedule_series(again).await.unwrap().replaced, None);
        let ScheduleState::Cancelled { reason, .. } = state(&log, Which::Id(id("s"))).await else { panic!("it goes on") };
        assert_eq!(reason.as_deref(), Some("replaced by single"));
        log.close().await;
    }

    async fn a_paused_series_goes_on_as_its_policy_says(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        log.writer.schedule_series(with_key("k", wish("s", hourly(Misfire::FireOnceNow), start))).await.unwrap();
        let mut wheel = wheel(&mut log, start);
        pass(&mut wheel, start, start).await;
        let paused = log.writer.pause(by_key("k"), start.plus(hours(0))).await.unwrap();
        assert_eq!((paused.standing, paused.pending), (Standing::Paused, None));
        pass(&mut wheel, start, start.plus(hours(7))).await;
        assert_eq!((fired(&log).await.len(), pending(database).await), (1, 0));
        let resumed = log.writer.resume(by_key("k")).await.unwrap();
        let due = start.plus(hours(1));
        let next = Due { at: due, id: occurrence_id(&id("s"), due) };
        assert_eq!((resumed.standing, resumed.pending), (Standing::Pending { due }, Some(next)));
        pass(&mut wheel, start.plus(hours(7)), start.plus(hours(8))).await;
        assert_eq!(fired(&log).await[1..], [start.plus(hours(7)), start.plus(hours(8))]);
        log.close().await;
    }

    async fn a_series_ends_with_its_last_occurrence_and_lets_its_key_go(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        let two = Recurrence { end: Some(start.plus(hours(1))), ..hourly(Misfire::FireEach) };
        log.writer.schedule_series(with_key("k", wish("s", two, start))).await.unwrap();
        let mut wheel = wheel(&mut log, start);
        pass(&mut wheel, start, start.plus(hours(5))).await;
        assert_eq!(fired(&log).await, [start, start.plus(hours(1))]);
        let ended = log.reader.schedule(&by_key("k")).await.unwrap().unwrap();
        assert_eq!(ended.state, ScheduleState::Ended { at: start.plus(hours(1)) });
        assert_eq!(ended.recurring.unwrap().last, Some(Position(2)));
        assert_eq!(log.writer.cancel(by_key("k"), start).await, Ok(Cancelled::Ended));
        assert_eq!(log.writer.resume(by_key("k")).await.unwrap().standing, Standing::Ended);
        let again = with_key("k", wish("t", hourly(Misfire::FireEach), start.plus(hours(9))));
        assert_eq!(log.writer.schedule_series(again).await.unwrap().replaced, None);
        log.close().await;
    }

    async fn a_series_that_cannot_be_understood_fails_alone(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        for one in ["a", "b", "c"] {
            log.writer.schedule_series(wish(one, hourly(Misfire::FireEach), start)).await.unwrap();
        }
        database.execute("UPDATE event_scheduled SET recurrence = '{}' WHERE id = 'a'").await;
        database.execute("UPDATE event_scheduled SET data = '[]' WHERE id = 'b'").await;
        let mut wheel = wheel(&mut log, start);
        pass(&mut wheel, start, start.plus(hours(1))).await;
        for one in ["a", "b"] {
            let failed = state(&log, Which::Id(id(one))).await;
            assert!(matches!(&failed, ScheduleState::Failed { .. }), "{one}: {failed:?}");
        }
        let pids: Vec<_> = log.everything().await.iter().map(|event| event.pid.to_string()).collect();
        assert_eq!((pids, pending(database).await), (vec!["c".to_owned(), "c".to_owned()], 1));
        log.close().await;
    }

    async fn cancelling_a_series_while_it_fires_never_leaves_an_occurrence(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let other = Log::open_as(database, "other").await;
        let start = time("2026-01-01T00:00:00Z");
        let mut wheel = wheel(&mut log, start);
        for round in 0..40 {
            let now = start.plus(hours(round));
            let series = format!("s{round}");
            log.writer.schedule_series(with_key("k", wish(&series, hourly(Misfire::FireEach), now))).await.unwrap();
            let cancel = other.writer.cancel(Which::Key(name::<ScheduleKey>("k")), now);
            let (turn, cancelled) = within("both", join(wheel.turn(now), cancel)).await;
            turn.unwrap();
            assert_eq!(cancelled, Ok(Cancelled::Cancelled), "a series is never too late to cancel");
            assert_eq!(pending(database).await, 0);
        }
        let events = log.everything().await.len();
        let rows = database.number("SELECT COUNT(*) FROM event_scheduled WHERE position IS NOT NULL AND series IS NOT NULL").await;
        assert_eq!(i64::try_from(events).unwrap(), rows, "what was fired is in the log");
        log.close().await;
        other.close().await;
    }

    async fn series_are_found_by_what_commits_them_and_by_a_restart(database: &TestDatabase) {
        let mut log = Log::open(database).await;
        let start = time("2026-01-01T00:00:00Z");
        let mut wheel = wheel(&mut log, start);
        within("a turn", wheel.turn(start)).await.unwrap();
        let wishes = (0..20).map(|n| log.writer.schedule_series(wish(&format!("s{n}"), hourly(Misfire::FireEach), start.plus(Duration::from_secs(n)))));
        for answer in join_all(wishes).await {
            answer.unwrap();
        }
        pass(&mut wheel, start, start.plus(Duration::from_secs(20))).await;
        assert_eq!(fired(&log).await.len(), 20);
        log.close().await;
        let mut log = Log::open(database).await;
        let mut again = self::wheel(&mut log, start.plus(hours(1)));
        pass(&mut again, start.plus(hours(1)), start.plus(hours(1) + Duration::from_secs(20))).await;
        assert_eq!(fired(&log).await.len(), 40);
        log.close().await;
    }
}
