//! By how much an occurrence is fired later: the same on every hub, different for every series.

use std::time::Duration;

use proto::Timestamp;

/// The jitter of one series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jitter {
    seed: u64,
    most: u32,
}

impl Jitter {
    /// Of at most `most` milliseconds, for the series `id`.
    pub(super) fn new(id: &str, most: u32) -> Self {
        let seed = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self { seed, most }
    }

    /// The share of the occurrence `at`, from nothing to the most; `None` if there is no jitter.
    ///
    /// Rows hold what came of it and other hubs compute it again, so it must never change: FNV-1a of the
    /// id, the time, and the finish of splitmix64.
    pub(super) fn of(&self, at: Timestamp) -> Option<Duration> {
        if self.most == 0 {
            return None;
        }
        let mut mixed = self.seed ^ at.millis().cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        Some(Duration::from_millis(mixed % (u64::from(self.most) + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jitter_of_an_occurrence_never_changes() {
        let shares = |id: &str| -> Vec<_> {
            let at = |days: i64| Timestamp::from_millis(days * 86_400_000).unwrap();
            (0..4).map(|day| Jitter::new(id, 60_000).of(at(day)).unwrap().as_millis()).collect()
        };
        assert_eq!(shares("a"), AS_RECORDED_A);
        assert_eq!(shares("b"), AS_RECORDED_B);
    }
    const AS_RECORDED_A: [u128; 4] = [23_933, 13_091, 16_730, 37_389];
    const AS_RECORDED_B: [u128; 4] = [36_096, 14_640, 17_439, 2_353];

    #[test]
    fn occurrences_are_spread_over_all_of_the_jitter() {
        let share = |day: i64| {
            let at = Timestamp::from_millis(day * 86_400_000).unwrap();
            Jitter::new("spread", 9).of(at).unwrap().as_millis()
        };
        let mut seen = [0_u32; 10];
        (0..10_000).for_each(|day| seen[usize::try_from(share(day)).unwrap()] += 1);
        assert!(seen.iter().all(|times| (850..1_150).contains(times)), "{seen:?}");
    }
}
