//! Local times of a zone as moments, with what its changes of the clocks do to them.
//!
//! A zone is a row of stretches with one offset each. Within a stretch local times are moments, one to
//! one; only where two stretches meet are some skipped or doubled. So the search goes stretch by stretch,
//! which keeps occurrences in order by itself.

use jiff::Timestamp as Moment;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan};
use proto::recurrence::{DoubledTime, SkippedTime};
use proto::{Timestamp, ZoneName};

use super::cron::{Cron, Hours};
use super::error::RecurrenceError;

/// No clock was ever set by more than a day; twice that is on the safe side.
const CHANGE_MAX: SignedDuration = SignedDuration::from_hours(48);

/// Zones that are suggested in place of one that does not exist.
const SUGGESTED_MAX: usize = 3;

/// Letters in which a suggestion may differ from what was asked for.
const LETTERS_APART_MAX: usize = 2;

/// A time zone, and what is wanted where its clocks change.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    zone: TimeZone,
    skipped: Skipped,
    doubled: Doubled,
}

/// [`SkippedTime`] for a certain rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipped {
    Skip,
    FireAfter,
}

/// [`DoubledTime`] for a certain rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubled {
    First,
    Second,
    Twice,
}

impl Zone {
    /// Finds the zone `name` among those in this binary.
    pub(super) fn find(
        name: &ZoneName,
        skipped: SkippedTime,
        doubled: DoubledTime,
        hours: Hours,
    ) -> Result<Self, RecurrenceError> {
        let zones = TimeZoneDatabase::bundled();
        let zone = zones.get(name.as_str()).map_err(|_| RecurrenceError::UnknownZone {
            zone: name.clone(),
            near: near(&zones, name.as_str()),
        })?;
        let skipped = match (skipped, hours) {
            (SkippedTime::Skip, _) | (SkippedTime::ByRule, Hours::Wildcard) => Skipped::Skip,
            (SkippedTime::FireAfter, _) | (SkippedTime::ByRule, Hours::Named) => Skipped::FireAfter,
        };
        let doubled = match (doubled, hours) {
            (DoubledTime::First, _) | (DoubledTime::ByRule, Hours::Named) => Doubled::First,
            (DoubledTime::Second, _) => Doubled::Second,
            (DoubledTime::Twice, _) | (DoubledTime::ByRule, Hours::Wildcard) => Doubled::Twice,
        };
        Ok(Self { zone, skipped, doubled })
    }

    /// The first moment at or after `from` at which `cron` is to occur here.
    pub(super) fn at_or_after(&self, cron: &Cron, from: Timestamp) -> Option<Timestamp> {
        let seconds = from.millis().div_euclid(1_000) + i64::from(from.millis().rem_euclid(1_000) != 0);
        let found = self.search(cron, Moment::from_second(seconds).ok()?)?;
        Timestamp::from_millis(found.as_millisecond()).ok()
    }

    fn search(&self, cron: &Cron, mut from: Moment) -> Option<Moment> {
        loop {
            if self.skipped == Skipped::FireAfter && self.has_skipped(cron, from) {
                return Some(from);
            }
            let offset = self.zone.to_offset(from);
            let end = self.zone.following(from).next().map(|change| change.timestamp());
            let mut local = offset.to_datetime(from);
            loop {
                let matching = cron.at_or_after(local)?;
                let moment = offset.to_timestamp(matching).ok()?;
                if let Some(end) = end.filter(|end| moment >= *end) {
                    // Between here and there no local time matches, so no change in between matters.
                    from = end.max(moment.checked_sub(CHANGE_MAX).ok()?);
                    break;
                }
                if self.counts(matching, offset) {
                    return Some(moment);
                }
                local = matching.checked_add(1.second()).ok()?;
            }
        }
    }

    /// Whether the clock was set forward at just this moment, over a local time that matches.
    fn has_skipped(&self, cron: &Cron, at: Moment) -> bool {
        let Ok(before) = at.checked_sub(SignedDuration::from_secs(1)) else { return false };
        let (before, after) = (self.zone.to_offset(before), self.zone.to_offset(at));
        after > before
            && cron
                .at_or_after(before.to_datetime(at))
                .is_some_and(|matching| matching < after.to_datetime(at))
    }

    /// Whether a local time that has this offset counts, should there be a second one like it.
    fn counts(&self, local: DateTime, offset: Offset) -> bool {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => true,
            AmbiguousOffset::Fold { before, .. } => match self.doubled {
                Doubled::Twice => true,
                Doubled::First => offset == before,
                Doubled::Second => offset != before,
            },
        }
    }
}

/// Zones that `asked` may have been meant to be.
fn near(zones: &TimeZoneDatabase, asked: &str) -> Vec<String> {
    let asked = asked.to_lowercase().replace(' ', "_");
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let mut found: Vec<(usize, String)> = zones
        .available()
        .filter_map(|zone| {
            let name = zone.as_str().to_lowercase();
            let apart = letters_apart(&asked, &name).min(letters_apart(&city(&asked), &city(&name)));
            (apart <= LETTERS_APART_MAX).then(|| (apart, zone.to_string()))
        })
        .collect();
    found.sort();
    found.truncate(SUGGESTED_MAX);
    found.into_iter().map(|(_, name)| name).collect()
}

/// Letters to add, take away or replace to get from one text to the other.
fn letters_apart(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().expect("a row has a first cell"), line + 1);
        let mut before = line + 1;
        for (right, cell) in to.chars().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            before = replaced.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}
