//! Who is connected, and what each has kept of what is trusted.
//!
//! A connection enters when it is welcomed and leaves when it is dropped, so there are never more entries
//! than connections are allowed. The replacement of authorities waits for those that are behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::dispatch::ConnectionId;

/// Spokes that are named of those that are behind. Further ones are only counted.
pub(crate) const NAMED_MAX: usize = 16;

/// The live connections of this hub. Its lock is never held across a wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roster(Arc<Mutex<HashMap<ConnectionId, Entry>>>);

#[derive(Debug)]
struct Entry {
    who: Arc<str>,
    kept: u64,
}

/// One connection on the roster; dropping it strikes it off.
#[derive(Debug)]
pub(crate) struct Present {
    roster: Roster,
    id: ConnectionId,
}

/// Spokes that have not kept something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Behind {
    /// So many.
    pub(crate) count: u64,
    /// Some of them: service and instance.
    pub(crate) named: Vec<String>,
}

impl Roster {
    /// A connection was welcomed and told what to trust.
    pub(crate) fn enter(&self, id: ConnectionId, who: Arc<str>) -> Present {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Entry { who, kept: 0 });
        Present { roster: self.clone(), id }
    }

    /// The newest version of what is trusted that all have kept; `None` if nobody is here.
    pub(crate) fn kept(&self) -> Option<u64> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.values().map(|entry| entry.kept).min()
    }

    /// Who has not kept `version`.
    pub(crate) fn behind(&self, version: u64) -> Behind {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut behind = Behind::default();
        for entry in entries.values().filter(|entry| entry.kept < version) {
            behind.count += 1;
            if behind.named.len() < NAMED_MAX {
                behind.named.push(entry.who.to_string());
            }
        }
        behind.named.sort();
        behind
    }
}

impl Present {
    /// It has kept what is trusted up to `version`.
    pub(crate) fn kept(&self, version: u64) {
        let mut entries = self.roster.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&self.id) {
            entry.kept = entry.kept.max(version);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.roster.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_have_kept_is_what_the_slowest_has_kept() {
        let roster = Roster::default();
        assert_eq!(roster.kept(), None);
        let slow = roster.enter(ConnectionId(1), "billing/1".into());
        let fast = roster.enter(ConnectionId(2), "billing/2".into());
        fast.kept(7);
        assert_eq!(roster.kept(), Some(0));
        slow.kept(5);
        slow.kept(4);
        assert_eq!(roster.kept(), Some(5));
        assert_eq!(roster.behind(7), Behind { count: 1, named: vec!["billing/1".to_owned()] });
        drop(slow);
        assert_eq!(roster.kept(), Some(7));
        drop(fast);
        assert_eq!(roster.kept(), None);
    }
}
