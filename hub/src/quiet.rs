//! What is worth a line in the log: the same thing once in a while, not each time.
//!
//! Who knocks a thousand times a second gets a thousand answers and one line in ten seconds.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use proto::Timestamp;

/// How long nothing more is said about the same thing.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// Things that are remembered. While there are more, further ones are not told, only counted.
const REMEMBERED_MAX: usize = 1_024;

/// What was said when.
#[derive(Debug)]
pub(crate) struct Quiet<K>(HashMap<K, Timestamp>);

impl<K> Default for Quiet<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Quiet<K> {
    /// Whether `thing` is to be said at `now`, and remembers that it was.
    pub(crate) fn is_due(&mut self, thing: K, now: Timestamp) -> bool {
        let is_recent = |said: &Timestamp| now.since(*said) < SILENT_FOR;
        if self.0.get(&thing).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.retain(|_, said| is_recent(said));
        }
        let has_room = self.0.len() < REMEMBERED_MAX;
        if has_room {
            self.0.insert(thing, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn the_same_is_said_again_only_after_ten_seconds() {
        let mut quiet = Quiet::default();
        assert!(quiet.is_due("a", at(0)));
        assert!(!quiet.is_due("a", at(9_999)));
        assert!(quiet.is_due("b", at(9_999)));
        assert!(quiet.is_due("a", at(10_000)));
        assert!(!quiet.is_due("a", at(19_999)));
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_makes_room_with_time() {
        let mut quiet = Quiet::default();
        for thing in 0..REMEMBERED_MAX {
            assert!(quiet.is_due(thing, at(0)));
        }
        assert!(!quiet.is_due(REMEMBERED_MAX, at(1)));
        assert!(quiet.is_due(REMEMBERED_MAX, at(10_000)));
        assert_eq!(quiet.0.len(), 1);
    }
}
