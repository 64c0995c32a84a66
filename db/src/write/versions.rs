//! The last versions of the eventlogs that were written to lately.
//!
//! It is true as long as the log ends where this writer left it. Two generations bound it: when the
//! young one is full it becomes the old one, and what is asked for becomes young again.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use proto::Version;

use crate::write::decide::Eventlog;

/// Eventlogs of one generation. There are two: at most twice as many are kept.
const GENERATION_EVENTLOGS_MAX: usize = 50_000;

/// A map for what is looked at several times an event.
pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

#[derive(Debug, Default)]
pub(crate) struct Versions {
    young: Map<Eventlog, Version>,
    old: Map<Eventlog, Version>,
}

impl Versions {
    /// The last version, if it is remembered.
    pub(crate) fn find(&mut self, eventlog: &Eventlog) -> Option<Version> {
        if let Some(version) = self.young.get(eventlog) {
            return Some(*version);
        }
        let version = self.old.remove(eventlog)?;
        self.remember(eventlog.clone(), version);
        Some(version)
    }

    pub(crate) fn remember(&mut self, eventlog: Eventlog, version: Version) {
        if self.young.len() >= GENERATION_EVENTLOGS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(eventlog, version);
    }

    /// One more event of an eventlog, whose last version is remembered: its version.
    pub(crate) fn count(&mut self, eventlog: Eventlog) -> Version {
        if let Some(version) = self.young.get_mut(&eventlog) {
            *version = Version(version.0.saturating_add(1));
            return *version;
        }
        let version = Version(self.find(&eventlog).unwrap_or_default().0.saturating_add(1));
        self.remember(eventlog, version);
        version
    }

    /// Takes one event of an eventlog back.
    pub(crate) fn uncount(&mut self, eventlog: &Eventlog) {
        let version = self.young.get_mut(eventlog).or_else(|| self.old.get_mut(eventlog));
        if let Some(version) = version {
            *version = Version(version.0.saturating_sub(1));
        }
    }

    /// Forgets everything: somebody else has written.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proto::{Domain, Pid};

    use super::*;

    fn eventlog(number: usize) -> Eventlog {
        Eventlog { domain: Domain::parse("order").unwrap(), pid: Pid::parse(&number.to_string()).unwrap() }
    }

    #[test]
    fn the_newest_version_is_found_and_memory_stays_bounded() {
        let mut versions = Versions::default();
        versions.remember(eventlog(0), Version(1));
        for number in 1..3 * GENERATION_EVENTLOGS_MAX {
            versions.remember(eventlog(number), Version(1));
            // What is used stays, with its newest version.
            if number % 1_000 == 0 {
                let before = versions.find(&eventlog(0)).unwrap();
                versions.remember(eventlog(0), Version(before.0 + 1));
            }
        }
        assert!(versions.young.len() + versions.old.len() <= 2 * GENERATION_EVENTLOGS_MAX);
        assert_eq!(versions.find(&eventlog(0)), Some(Version(150)));
        assert_eq!(versions.find(&eventlog(1)), None);
    }
}
