//! Leaves that were in no row a moment ago, so that whoever shows one again and again does not make the hub ask
//! the database each time.
//!
//! A leaf is stored before its holder gets it, so one that was not there when it was shown is nobody's; that
//! is forgotten after a few seconds all the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use proto::Timestamp;

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Leaves that are remembered. Further ones are asked for each time.
const REMEMBERED_MAX: usize = 1_024;

/// Leaves by their SHA-256, and when they were asked for. Private to this file: a memory, nothing that two
/// tasks decide by.
#[derive(Debug, Default)]
pub(super) struct Unknown(Mutex<HashMap<[u8; 32], Timestamp>>);

impl Unknown {
    /// Whether a leaf was in no row a moment before `now`.
    pub(super) fn holds(&self, fingerprint: &[u8; 32], now: Timestamp) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(fingerprint).is_some_and(|asked| is_recent(*asked, now))
    }

    /// A leaf was in no row at `now`.
    pub(super) fn remember(&self, fingerprint: [u8; 32], now: Timestamp) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= REMEMBERED_MAX {
            asked.retain(|_, asked| is_recent(*asked, now));
        }
        if asked.len() < REMEMBERED_MAX {
            asked.insert(fingerprint, now);
        }
    }
}

/// A clock that was set back forgets.
fn is_recent(asked: Timestamp, now: Timestamp) -> bool {
    asked <= now && now.since(asked) < REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn leaf(number: usize) -> [u8; 32] {
        let mut leaf = [0; 32];
        leaf[..8].copy_from_slice(&(number as u64).to_be_bytes());
        leaf
    }

    #[test]
    fn a_leaf_is_remembered_for_five_seconds() {
        let unknown = Unknown::default();
        unknown.remember(leaf(1), at(10_000));
        assert!(unknown.holds(&leaf(1), at(10_000)) && unknown.holds(&leaf(1), at(14_999)));
        assert!(!unknown.holds(&leaf(1), at(15_000)) && !unknown.holds(&leaf(1), at(9_999)));
        assert!(!unknown.holds(&leaf(2), at(10_000)));
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_makes_room_with_time() {
        let unknown = Unknown::default();
        (0..=REMEMBERED_MAX).for_each(|number| unknown.remember(leaf(number), at(0)));
        assert!(
            unknown.holds(&leaf(REMEMBERED_MAX - 1), at(0)) && !unknown.holds(&leaf(REMEMBERED_MAX), at(0))
        );
        unknown.remember(leaf(REMEMBERED_MAX), at(5_000));
        assert!(unknown.holds(&leaf(REMEMBERED_MAX), at(5_000)));
    }
}
