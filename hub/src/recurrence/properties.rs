//! What is true of every rule, in every zone, at any time.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan, Zoned};
use proptest::prelude::*;
use proto::recurrence::{DoubledTime, Misfire, Recurrence, Rule, SkippedTime};
use proto::{CronText, Timestamp, ZoneName};

use super::{Occurrence, Series};

const ZONES: &[&str] = &[
    "Europe/Stockholm",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "UTC",
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Africa/Cairo",
];

/// A moment from 1970 to 2200.
fn moment() -> impl Strategy<Value = Timestamp> {
    (0..7_258_118_400_000_i64).prop_map(|millis| Timestamp::from_millis(millis).unwrap())
}

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        Just("*".to_owned()),
        (2..=most / 2).prop_map(|step| format!("*/{step}")),
        (least..=most).prop_map(|one| one.to_string()),
        prop::collection::btree_set(least..=most, 1..4).prop_map(|some| some
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",")),
        (least..most)
            .prop_flat_map(move |from| (Just(from), from + 1..=most))
            .prop_map(|(a, b)| format!("{a}-{b}")),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    let days = prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 28)];
    let months = prop_oneof![3 => Just("*".to_owned()), 1 => field(1, 12)];
    let week = prop_oneof![3 => Just("*".to_owned()), 1 => field(0, 6)];
    let clock = (field(0, 59), prop_oneof![2 => Just("2".to_owned()), 3 => field(0, 23)]);
    (prop::option::weighted(0.2, field(0, 59)), clock, days, months, week).prop_map(
        |(second, (minute, hour), day, month, week)| {
            let second = second.map_or_else(String::new, |second| format!("{second} "));
            format!("{second}{minute} {hour} {day} {month} {week}")
        },
    )
}

prop_compose! {
    fn cron()(
        expression in expression(),
        zone in prop::sample::select(ZONES),
        skipped in prop::sample::select(SkippedTime::ALL),
        doubled in prop::sample::select(DoubledTime::ALL),
        misfire in prop::sample::select(Misfire::ALL),
    ) -> Recurrence {
        let expression = CronText::parse(&expression).unwrap();
        let rule = Rule::Cron { expression, zone: ZoneName::parse(zone).unwrap() };
        Recurrence { skipped, doubled, misfire, ..Recurrence::new(rule) }
    }
}

prop_compose! {
    /// A rule and where to start: mostly in the hours before the clocks of its zone are changed.
    fn scene()(
        recurrence in cron(),
        any in moment(),
        hours_before in prop::option::weighted(0.8, 0..14_u32),
        minute in 0..60_i64,
    ) -> (Recurrence, Timestamp) {
        let Rule::Cron { zone, .. } = &recurrence.rule else { panic!("not a cron rule") };
        let zone = TimeZoneDatabase::bundled().get(zone.as_str()).unwrap();
        let from = jiff::Timestamp::from_millisecond(any.millis()).unwrap();
        let change = zone.following(from).next().map(|change| change.timestamp().as_millisecond());
        let start = match (hours_before, change) {
            (Some(hours), Some(change)) => change - (i64::from(hours) * 60 + minute) * 60_000,
            (None, _) | (_, None) => any.millis(),
        };
        (recurrence, Timestamp::from_millis(start.max(0)).unwrap())
    }
}

fn some(series: &Series, from: Timestamp) -> Vec<Occurrence> {
    std::iter::successors(series.next(from), |last| series.next(last.at)).take(40).collect()
}

/// A reader of the documentation: decides of a single moment, knowing nothing of what comes before it.
struct Reader {
    cron: croner::Cron,
    zone: TimeZone,
    skipped: SkippedTime,
    doubled: DoubledTime,
}

impl Reader {
    fn of(recurrence: &Recurrence) -> Self {
        let Rule::Cron { expression, zone } = &recurrence.rule else { panic!("not a cron rule") };
        let fields: Vec<_> = expression.as_str().split(' ').collect();
        let is_wildcard = fields[fields.len() - 4].starts_with('*');
        let skipped = match recurrence.skipped {
            SkippedTime::ByRule if is_wildcard => SkippedTime::Skip,
            SkippedTime::ByRule => SkippedTime::FireAfter,
            chosen => chosen,
        };
        let doubled = match recurrence.doubled {
            DoubledTime::ByRule if is_wildcard => DoubledTime::Twice,
            DoubledTime::ByRule => DoubledTime::First,
            chosen => chosen,
        };
        let zone = TimeZoneDatabase::bundled().get(zone.as_str()).unwrap();
        Self { cron: expression.as_str().parse().unwrap(), zone, skipped, doubled }
    }

    /// Whether there is an occurrence at this moment.
    fn counts(&self, at: Timestamp) -> bool {
        let at = Zoned::new(jiff::Timestamp::from_millisecond(at.millis()).unwrap(), self.zone.clone());
        let local = at.timestamp().as_millisecond() % 1_000 == 0 && self.matches(at.datetime());
        let wanted = match (self.zone.to_ambiguous_timestamp(at.datetime()).offset(), self.doubled) {
            (AmbiguousOffset::Fold { before, .. }, DoubledTime::First) => at.offset() == before,
            (AmbiguousOffset::Fold { after, .. }, DoubledTime::Second) => at.offset() == after,
            _ => true,
        };
        local && wanted || self.skipped == SkippedTime::FireAfter && self.ends_a_gap_with_an_occurrence(&at)
    }

    fn matches(&self, local: DateTime) -> bool {
        self.cron.is_time_matching(&local).unwrap()
    }

    fn ends_a_gap_with_an_occurrence(&self, at: &Zoned) -> bool {
        let second = SignedDuration::from_secs(1);
        let before = self.zone.to_offset(at.timestamp() - second);
        let mut swallowed = before.to_datetime(at.timestamp()).series(1.second());
        before < at.offset()
            && swallowed.by_ref().take_while(|local| *local < at.datetime()).any(|local| self.matches(local))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_comes_next_is_later_and_the_rule_has_it((recurrence, start) in scene()) {
        let Ok(series) = Series::compile(&recurrence, "property", start) else { return Ok(()) };
        let reader = Reader::of(&recurrence);
        let mut last = start;
        for occurrence in some(&series, start) {
            prop_assert!(occurrence.at > last);
            last = occurrence.at;
            prop_assert!(reader.counts(occurrence.at), "{} is not of the rule", occurrence.at);
        }
    }

    #[test]
    fn nothing_that_the_rule_has_is_left_out((recurrence, start) in scene()) {
        let Ok(series) = Series::compile(&recurrence, "property", start) else { return Ok(()) };
        let reader = Reader::of(&recurrence);
        let Rule::Cron { expression, .. } = &recurrence.rule else { return Ok(()) };
        let step = if expression.as_str().split(' ').count() == 5 { 60_000 } else { 1_000 };
        let mut at = Timestamp::from_millis(start.millis().div_euclid(60_000) * 60_000 + 60_000).unwrap();
        let mut expected = series.next(Timestamp::from_millis(at.millis() - 1).unwrap()).map(|next| next.at);
        for _ in 0..1_000 {
            prop_assert_eq!(reader.counts(at), expected == Some(at), "{}", at);
            if expected == Some(at) {
                expected = series.next(at).map(|next| next.at);
            }
            at = at.plus(Duration::from_millis(step));
        }
    }

    #[test]
    fn jitter_keeps_the_order_and_the_end((recurrence, start) in scene(), jitter in 1..900_u32, days in 1..60_u64) {
        let end = start.plus(Duration::from_hours(24 * days));
        let recurrence = Recurrence { jitter_ms: jitter, end: Some(end), ..recurrence };
        let Ok(series) = Series::compile(&recurrence, "property", start) else { return Ok(()) };
        let all = some(&series, start);
        for occurrence in &all {
            prop_assert!(occurrence.due >= occurrence.at && occurrence.due <= end);
            prop_assert!(occurrence.due.since(occurrence.at).as_millis() <= u128::from(jitter));
        }
        for pair in all.windows(2) {
            prop_assert!(pair[0].due < pair[1].at);
        }
    }

    #[test]
    fn catching_up_leaves_nothing_due_and_fires_nothing_twice(
        (recurrence, start) in scene(), late in 0..40_000_000_u64, jitter in 0..900_u32,
    ) {
        let recurrence = Recurrence { jitter_ms: jitter, ..recurrence };
        let Ok(series) = Series::compile(&recurrence, "property", start) else { return Ok(()) };
        let Some(first) = series.first() else { return Ok(()) };
        let now = first.at.plus(Duration::from_millis(late));
        let caught = series.catch_up(first.at, now, Duration::from_secs(5));
        prop_assert!(caught.fire.iter().all(|fired| fired.due <= now));
        prop_assert!(caught.fire.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(caught.next.is_none_or(|next| next.due > now));
        if let (Some(last), Some(next)) = (caught.fire.last(), caught.next) {
            prop_assert_eq!(series.next(last.at), Some(next));
        }
        if recurrence.misfire != Misfire::FireEach {
            prop_assert!(caught.fire.len() <= 1);
        }
    }

    #[test]
    fn no_text_makes_a_rule_panic(text in "[-0-9*,/#LW?+@A-Za-zåß ]{0,40}", zone in "[A-Za-z/_]{1,20}") {
        if let (Ok(expression), Ok(zone)) = (CronText::parse(&text), ZoneName::parse(&zone)) {
            for zone in [zone, ZoneName::parse("Europe/Stockholm").unwrap()] {
                let rule = Rule::Cron { expression: expression.clone(), zone };
                let start = Timestamp::from_millis(1_774_746_000_000).unwrap();
                if let Ok(series) = Series::compile(&Recurrence::new(rule), "property", start) {
                    some(&series, start);
                }
            }
        }
    }
}
