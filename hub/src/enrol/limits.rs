//! How many may enrol at a time: token buckets, one an address and one for all. Pure: the time is an
//! argument.
//!
//! A secret cannot be guessed, so this is not about guessing: enrolments cost the database, which
//! everybody else needs too.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Enrolments a second of one address, after [`PER_ADDRESS_BURST`] at once. More are told to come later.
const PER_ADDRESS_RATE: u32 = 5;

/// Enrolments of one address at once.
const PER_ADDRESS_BURST: u32 = 10;

/// Enrolments a second in all, and at once. More are told to come later.
const RATE: u32 = 50;

/// Addresses whose buckets are kept. One more that finds none to forget is told to come later.
const ADDRESSES_MAX: usize = 4_096;

/// What one enrolment takes from a bucket; a bucket gets as much in a second as its rate times this.
const ONE: u64 = 1_000_000;

/// A bucket of permits that fills by itself.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: u64,
    at: Duration,
}

impl Bucket {
    fn full(burst: u32, now: Duration) -> Self {
        Self { level: u64::from(burst) * ONE, at: now }
    }

    fn fill(&mut self, rate: u32, burst: u32, now: Duration) {
        let passed = u64::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(u64::MAX);
        let more = passed.saturating_mul(u64::from(rate));
        self.level = self.level.saturating_add(more).min(u64::from(burst) * ONE);
        self.at = now;
    }
}

/// Who has enrolled lately.
#[derive(Debug)]
pub(super) struct EnrolLimits {
    all: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
}

impl EnrolLimits {
    /// Nobody has, at `now`. Times only rise.
    pub(super) fn new(now: Duration) -> Self {
        Self { all: Bucket::full(RATE, now), addresses: HashMap::new() }
    }

    /// Takes the place of one enrolment from `address`; if there is none, says after how long there can be.
    pub(super) fn admit(&mut self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let address = network(address);
        self.all.fill(RATE, RATE, now);
        if self.all.level < ONE {
            return Err(wait(RATE));
        }
        if !self.addresses.contains_key(&address) && self.addresses.len() >= ADDRESSES_MAX {
            self.forget_full(now);
            if self.addresses.len() >= ADDRESSES_MAX {
                return Err(wait(PER_ADDRESS_RATE));
            }
        }
        let full = Bucket::full(PER_ADDRESS_BURST, now);
        let bucket = self.addresses.entry(address).or_insert(full);
        bucket.fill(PER_ADDRESS_RATE, PER_ADDRESS_BURST, now);
        if bucket.level < ONE {
            return Err(wait(PER_ADDRESS_RATE));
        }
        bucket.level -= ONE;
        self.all.level -= ONE;
        Ok(())
    }

    /// Forgets addresses whose buckets are as those of new ones.
    fn forget_full(&mut self, now: Duration) {
        self.addresses.retain(|_, bucket| {
            bucket.fill(PER_ADDRESS_RATE, PER_ADDRESS_BURST, now);
            bucket.level < u64::from(PER_ADDRESS_BURST) * ONE
        });
    }
}

/// Until there is one more.
fn wait(rate: u32) -> Duration {
    Duration::from_secs(1) / rate
}

/// Whoever has one IPv6 address has the 2^64 of its network, so they count together.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn admitted(limits: &mut EnrolLimits, address: IpAddr, tries: u32, now: Duration) -> u32 {
        (0..tries).map(|_| u32::from(limits.admit(address, now).is_ok())).sum()
    }

    #[test]
    fn an_address_may_do_ten_at_once_and_five_a_second_after_that() {
        let mut limits = EnrolLimits::new(millis(0));
        assert_eq!(admitted(&mut limits, address(1), 20, millis(0)), 10);
        assert_eq!(limits.admit(address(1), millis(199)), Err(millis(200)));
        assert_eq!(admitted(&mut limits, address(1), 20, millis(1_000)), 5);
        assert_eq!(admitted(&mut limits, address(1), 20, millis(60_000)), 10);
    }

    #[test]
    fn one_address_that_is_over_its_limit_keeps_no_other_out() {
        let mut limits = EnrolLimits::new(millis(0));
        assert_eq!(admitted(&mut limits, address(1), 1_000, millis(0)), 10);
        assert_eq!(admitted(&mut limits, address(2), 10, millis(0)), 10);
    }

    #[test]
    fn all_addresses_together_may_do_fifty_a_second() {
        let mut limits = EnrolLimits::new(millis(0));
        let together = |limits: &mut EnrolLimits, from: u32, now| -> u32 {
            (from..from + 100).map(|n| admitted(limits, address(n), 1, now)).sum()
        };
        assert_eq!(together(&mut limits, 0, millis(0)), 50);
        assert_eq!(together(&mut limits, 1_000, millis(100)), 5);
        assert_eq!(together(&mut limits, 2_000, millis(1_100)), 50);
    }

    #[test]
    fn an_address_of_ipv6_counts_with_its_network_and_a_mapped_one_as_what_it_is() {
        let mut limits = EnrolLimits::new(millis(0));
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(admitted(&mut limits, parse("2001:db8::1"), 10, millis(0)), 10);
        assert!(limits.admit(parse("2001:db8::ffff:2"), millis(0)).is_err());
        assert!(limits.admit(parse("2001:db8:0:1::1"), millis(0)).is_ok());
        assert_eq!(admitted(&mut limits, parse("10.0.0.1"), 10, millis(0)), 10);
        assert!(limits.admit(parse("::ffff:10.0.0.1"), millis(0)).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_has_waited_long_enough() {
        let mut limits = EnrolLimits::new(millis(0));
        let mut now = 0;
        for n in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 500 {
            // Just as fast as all together may, so that each address is counted.
            now += 20;
            assert!(limits.admit(address(n), millis(now)).is_ok(), "{n}");
        }
        assert!(limits.addresses.len() <= ADDRESSES_MAX);
    }

    #[test]
    fn a_full_table_of_busy_addresses_lets_no_further_one_in_until_they_have_waited() {
        let mut limits = EnrolLimits::new(millis(0));
        let busy = Bucket { level: 0, at: millis(1_000) };
        limits.addresses = (0..4_096).map(|n| (address(n), busy)).collect();
        assert!(limits.admit(address(9_999), millis(1_000)).is_err());
        assert!(limits.admit(address(9_999), millis(3_000)).is_ok());
    }
}
