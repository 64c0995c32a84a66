//! When the certificate is renewed: pure.
//!
//! At half of its life, and a random while later, so that not all spokes of a hub do it at once; earlier
//! if the hub asks for it; never twice at a time. What fails is tried again while the certificate in use
//! lasts, ever more often towards its end.

use std::ops::RangeInclusive;
use std::time::Duration;

use proto::Timestamp;

use crate::identity::Life;

/// A failed renewal is tried again after a twentieth to a tenth of what is left of the certificate.
const TRIES_OF_THE_REST: u32 = 20;

/// The least wait after a renewal that failed.
const AGAIN_MIN: Duration = Duration::from_millis(200);

/// The wait after a renewal that failed where the certificate's end is not known.
const AGAIN: Duration = Duration::from_secs(60);

/// Where the next certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The one that is kept, if it is newer than the one in use; else the hub.
    KeptOrHub,
    /// The hub, whatever is kept.
    Hub,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    UnderWay,
}

/// When to renew, and whether that is going on.
#[derive(Debug)]
pub(super) struct Renewal {
    stage: Stage,
    /// When it is to begin, in the session's time.
    due: Option<Duration>,
    /// When the certificate in use ends.
    ends: Option<Duration>,
    /// How often it has failed since it last did not.
    failures: u32,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Self { stage: Stage::Idle, due: None, ends: None, failures: 0 }
    }

    /// A link is open, with a certificate of this life, at `now`, which is `hub_now` for the hub.
    pub(super) fn linked(
        &mut self,
        life: Option<Life>,
        hub_now: Timestamp,
        now: Duration,
        random: impl Fn(RangeInclusive<u64>) -> u64,
    ) {
        self.stage = Stage::Idle;
        let at = |moment: Timestamp| {
            let millis = moment.millis().saturating_sub(hub_now.millis());
            now.saturating_add(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
        };
        self.ends = life.map(|life| at(life.ends()));
        self.due = life.map(|life| at(life.renew_at(&random)));
        // A renewal that breaks the link must not do so again and again.
        if self.failures > 0 {
            let again = now.saturating_add(self.wait(now, random));
            self.due = self.due.map(|due| due.max(again));
        }
    }

    /// The hub wants it within this span.
    pub(super) fn wanted(
        &mut self,
        within: Duration,
        now: Duration,
        random: impl FnOnce(RangeInclusive<u64>) -> u64,
    ) {
        let wait = random(0..=u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let at = now.saturating_add(Duration::from_millis(wait));
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Begins, if it is due.
    pub(super) fn begin(&mut self, now: Duration) -> Option<Source> {
        if self.due()? > now {
            return None;
        }
        self.due = None;
        self.stage = Stage::UnderWay;
        // One that was issued and did not work gets a second chance before another one is asked for.
        let again = self.failures > 0 && self.failures.is_multiple_of(2);
        Some(if again { Source::Hub } else { Source::KeptOrHub })
    }

    /// Whether one is going on.
    pub(super) fn is_under_way(&self) -> bool {
        self.stage == Stage::UnderWay
    }

    /// It did not work. Gives how long to wait before it is tried again.
    pub(super) fn failed(
        &mut self,
        now: Duration,
        random: impl FnOnce(RangeInclusive<u64>) -> u64,
    ) -> Duration {
        self.stage = Stage::Idle;
        self.failures = self.failures.saturating_add(1);
        let wait = self.wait(now, random);
        self.due = Some(now.saturating_add(wait));
        wait
    }

    /// It worked: the link of the new certificate is in use.
    pub(super) fn done(&mut self) {
        self.stage = Stage::Idle;
        self.failures = 0;
    }

    /// The link in use is gone; the next one says when.
    pub(super) fn unlinked(&mut self) {
        if self.is_under_way() {
            self.failures = self.failures.saturating_add(1);
        }
        (self.stage, self.due) = (Stage::Idle, None);
    }

    /// When [`Renewal::begin`] has something to do.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| self.stage == Stage::Idle)
    }

    fn wait(&self, now: Duration, random: impl FnOnce(RangeInclusive<u64>) -> u64) -> Duration {
        let Some(ends) = self.ends else { return AGAIN };
        let part = ends.saturating_sub(now) / TRIES_OF_THE_REST;
        let more = random(0..=u64::try_from(part.as_millis()).unwrap_or(u64::MAX));
        part.saturating_add(Duration::from_millis(more)).max(AGAIN_MIN)
    }
}

#[cfg(test)]
mod tests {
    use certs::IssuerKind;
    use proto::ServiceName;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NOW: Duration = Duration::from_secs(100);

    fn hub_now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000).unwrap()
    }

    /// A renewal of a certificate that was issued just now, for ten hours.
    fn renewal() -> Renewal {
        let mut renewal = Renewal::new();
        linked(&mut renewal, hub_now());
        renewal
    }

    fn linked(renewal: &mut Renewal, hub_now: Timestamp) {
        renewal.linked(Some(life()), hub_now, NOW, least);
    }

    fn life() -> Life {
        let now = hub_now();
        let issuer = certs::intermediate(&certs::root("test", now).unwrap(), IssuerKind::Spoke, now).unwrap();
        let (csr, _) = certs::spoke_request().unwrap();
        let service = ServiceName::parse("billing").unwrap();
        let leaf = certs::spoke_leaf(&issuer, &csr, &service, "1", now, 10 * HOUR).unwrap();
        Life::of(&leaf).unwrap().begun(now)
    }

    fn least(range: RangeInclusive<u64>) -> u64 {
        *range.start()
    }

    fn most(range: RangeInclusive<u64>) -> u64 {
        *range.end()
    }

    #[test]
    fn it_begins_at_half_of_the_life_by_the_hubs_clock_and_only_once() {
        let mut renewal = renewal();
        assert_eq!(renewal.due(), Some(NOW + 5 * HOUR));
        assert_eq!(renewal.begin(NOW + 5 * HOUR - Duration::from_millis(1)), None);
        assert_eq!(renewal.begin(NOW + 5 * HOUR), Some(Source::KeptOrHub));
        renewal.wanted(Duration::ZERO, NOW + 5 * HOUR, least);
        assert_eq!((renewal.begin(NOW + 6 * HOUR), renewal.due()), (None, None));
    }

    #[test]
    fn a_link_that_is_made_after_the_half_renews_at_once() {
        let mut renewal = Renewal::new();
        linked(&mut renewal, hub_now().plus(7 * HOUR));
        assert_eq!(renewal.begin(NOW), Some(Source::KeptOrHub));
    }

    #[test]
    fn the_hub_may_want_it_earlier_but_not_later() {
        let mut renewal = renewal();
        renewal.wanted(20 * HOUR, NOW, most);
        assert_eq!(renewal.due(), Some(NOW + 5 * HOUR));
        renewal.wanted(HOUR, NOW, most);
        assert_eq!(renewal.due(), Some(NOW + HOUR));
    }

    #[test]
    fn what_fails_is_tried_ever_more_often_and_every_second_time_with_another_certificate() {
        let mut renewal = renewal();
        let mut now = NOW + 5 * HOUR;
        let mut sources = Vec::new();
        let mut last = Duration::MAX;
        for _ in 0..5 {
            sources.push(renewal.begin(now).unwrap());
            let wait = renewal.failed(now, most);
            assert!(wait < last && wait >= AGAIN_MIN, "{wait:?}");
            (now, last) = (now + wait, wait);
        }
        assert!(now < NOW + 10 * HOUR);
        let (kept, hub) = (Source::KeptOrHub, Source::Hub);
        assert_eq!(sources, [kept, kept, hub, kept, hub]);
        assert_eq!(renewal.failed(NOW + 10 * HOUR, most), AGAIN_MIN);
    }

    #[test]
    fn a_renewal_that_breaks_the_link_is_not_repeated_at_once() {
        let mut renewal = Renewal::new();
        linked(&mut renewal, hub_now().plus(7 * HOUR));
        renewal.begin(NOW);
        renewal.unlinked();
        assert_eq!(renewal.due(), None);
        linked(&mut renewal, hub_now().plus(7 * HOUR));
        assert_eq!(renewal.due(), Some(NOW + 3 * HOUR / TRIES_OF_THE_REST));
        renewal.begin(NOW + HOUR);
        renewal.done();
        linked(&mut renewal, hub_now().plus(7 * HOUR));
        assert_eq!(renewal.due(), Some(NOW));
    }
}
