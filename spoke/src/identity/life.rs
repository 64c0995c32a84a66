//! From when to when a certificate counts, and when it is to be replaced: pure.

use std::ops::RangeInclusive;

use certs::CertificateDer;
use proto::Timestamp;

/// A certificate is issued so long before the moment of its issue, at most, for clocks that are behind.
const BACKDATED_MS: i64 = 10 * 60 * 1_000;

/// So long before its end a certificate is not used for a new link any more, at most.
const SPARE_MS: i64 = 10 * 60 * 1_000;

/// Which part of a short life those times are.
const SHORT: i64 = 10;

/// The life of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// When it was issued, as far as can be told.
    issued: Timestamp,
    ends: Timestamp,
}

impl Life {
    /// The life of `leaf`, if it is a certificate.
    pub(crate) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let validity = certs::validity(leaf).ok()?;
        let (begins, ends) = (validity.not_before, validity.not_after);
        let span = ends.millis().saturating_sub(begins.millis()).max(0);
        // Of a life and its tenth before it, the tenth is an eleventh.
        let backdated = BACKDATED_MS.min(span / (SHORT + 1));
        let issued = Timestamp::from_millis(begins.millis().saturating_add(backdated)).ok()?;
        Some(Self { issued, ends })
    }

    /// The same life, known to have begun at `now`.
    pub(crate) fn begun(self, now: Timestamp) -> Self {
        Self { issued: now.min(self.ends), ..self }
    }

    /// When it ends.
    pub(crate) fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Whether a link that is made at `now` would last for a while.
    pub(crate) fn is_usable(&self, now: Timestamp) -> bool {
        let spare = SPARE_MS.min(self.span_ms() / SHORT);
        self.ends.millis() - spare > now.millis()
    }

    /// When it is to be renewed: at half of it and up to a tenth later, so that not all do so at once.
    pub(crate) fn renew_at(&self, random: impl FnOnce(RangeInclusive<u64>) -> u64) -> Timestamp {
        let span = self.span_ms();
        let jitter = random(0..=u64::try_from(span / 10).unwrap_or(0));
        let after = span / 2 + i64::try_from(jitter).unwrap_or(0);
        Timestamp::from_millis(self.issued.millis().saturating_add(after)).unwrap_or(self.ends)
    }

    fn span_ms(&self) -> i64 {
        self.ends.millis().saturating_sub(self.issued.millis()).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60 * 1_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn life(millis: i64) -> Life {
        Life { issued: at(0), ends: at(millis) }
    }

    #[test]
    fn a_certificate_counts_as_ended_ten_minutes_before_its_end() {
        assert!(life(DAY_MS).is_usable(at(DAY_MS - 11 * MINUTE_MS)));
        assert!(!life(DAY_MS).is_usable(at(DAY_MS - 9 * MINUTE_MS)));
    }

    #[test]
    fn a_short_one_counts_as_ended_a_tenth_before_its_end() {
        assert!(life(12_000).is_usable(at(10_700)));
        assert!(!life(12_000).is_usable(at(10_900)));
    }

    #[test]
    fn it_is_renewed_at_half_of_its_life_and_up_to_a_tenth_later() {
        assert_eq!(life(DAY_MS).renew_at(|range| *range.start()), at(DAY_MS / 2));
        assert_eq!(life(DAY_MS).renew_at(|range| *range.end()), at(DAY_MS / 2 + DAY_MS / 10));
        assert_eq!(life(12_000).begun(at(2_000)).renew_at(|range| *range.start()), at(7_000));
    }

    #[test]
    fn the_moment_of_issue_is_found_in_long_and_short_lives() {
        for seconds in [10, 12, 3_600, 24 * 3_600] {
            let (key, now) = (certs::spoke_request().unwrap(), at(1_700_000_000_000));
            let root = certs::root("test", now).unwrap();
            let issuer = certs::intermediate(&root, certs::IssuerKind::Spoke, now).unwrap();
            let service = proto::ServiceName::parse("billing").unwrap();
            let lifetime = std::time::Duration::from_secs(seconds);
            let leaf = certs::spoke_leaf(&issuer, &key.0, &service, "1", now, lifetime).unwrap();
            let life = Life::of(&leaf).unwrap();
            assert!(life.issued <= now.max(life.issued) && life.ends == now.plus(lifetime));
            assert!(life.renew_at(|range| *range.end()) < life.ends);
        }
    }
}
