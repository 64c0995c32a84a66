//! When one peer is asked to renew its certificate.
//!
//! It is asked at half of its certificate's life, and again at half of what is left, as long as it stays:
//! a request may be lost with the answer to it. It is asked at once when what its certificate hangs from is
//! replaced, once for each version of what is trusted. Who has been given a new certificate over this
//! connection is not asked any more; it goes on with the next one.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of a life that nobody is asked in any more: there is no time to do it.
const TOO_LATE: Duration = Duration::from_secs(1);

/// The part of what is left over which a peer may spread what it is asked for.
const SPREAD_PART: u32 = 5;

/// What a connection knows about the renewal of its peer's certificate.
#[derive(Debug)]
pub(super) struct Renewing {
    ask_at: Option<Instant>,
    ends: Instant,
    asked_for: u64,
}

impl Renewing {
    /// For a certificate that is half through its life at `half_life` and counts until `ends`.
    pub(super) fn new(half_life: Instant, ends: Instant) -> Self {
        Self { ask_at: Some(half_life), ends, asked_for: 0 }
    }

    /// When to look again.
    pub(super) fn at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// The span in which the peer is to renew, if it is to be asked now because of its age.
    pub(super) fn of_age(&mut self, now: Instant) -> Option<Duration> {
        if now < self.ask_at? {
            return None;
        }
        let left = self.ends.saturating_duration_since(now);
        self.ask_at = (left / 2 > TOO_LATE).then(|| now + left / 2);
        Some(left / SPREAD_PART)
    }

    /// Whether the peer is to be asked because what its certificate hangs from is replaced, which it is
    /// in `version` of what is trusted.
    pub(super) fn replaced(&mut self, version: u64) -> bool {
        let is_new = self.ask_at.is_some() && version > self.asked_for;
        self.asked_for = self.asked_for.max(version);
        is_new
    }

    /// The peer has been given a new certificate.
    pub(super) fn renewed(&mut self) {
        self.ask_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_is_asked_at_half_of_its_certificates_life_and_again_while_it_stays() {
        let start = Instant::now();
        let mut renewing = Renewing::new(start + secs(50), start + secs(100));
        assert_eq!(renewing.of_age(start + secs(49)), None);
        assert_eq!(renewing.of_age(start + secs(50)), Some(secs(10)));
        assert_eq!(renewing.of_age(start + secs(51)), None);
        assert_eq!(renewing.at(), Some(start + secs(75)));
        assert_eq!(renewing.of_age(start + secs(75)), Some(secs(5)));
        assert!(renewing.of_age(start + secs(98)).is_some());
        assert_eq!(renewing.at(), None);
    }

    #[test]
    fn a_peer_is_asked_once_for_each_replacement() {
        let start = Instant::now();
        let mut renewing = Renewing::new(start + secs(50), start + secs(100));
        assert!(renewing.replaced(3));
        assert!(!renewing.replaced(3));
        assert!(renewing.replaced(5));
    }

    #[test]
    fn who_has_a_new_certificate_is_not_asked_any_more() {
        let start = Instant::now();
        let mut renewing = Renewing::new(start + secs(50), start + secs(100));
        renewing.renewed();
        assert_eq!(renewing.of_age(start + secs(60)), None);
        assert!(!renewing.replaced(3));
    }
}
