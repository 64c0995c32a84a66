//! What was denied: counted always, and told now and then.
//!
//! A peer that asks a thousand times a second for what it may not gets its answers, and one line in the
//! logs in ten seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use proto::access::Action;
use proto::{ServiceName, Timestamp};
use tracing::warn;

use super::authorize::Denied;
use crate::journal::Notes;
use crate::metrics::Metrics;

/// How long nothing more is said about the same service, action and domain.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// Combinations of service, action and domain that are remembered. While there are more, further ones are
/// only counted.
const REMEMBERED_MAX: usize = 1_024;

/// Counts and tells denials; clones do it together.
#[derive(Debug, Clone)]
pub(crate) struct Denials {
    metrics: Metrics,
    notes: Notes,
    said: Arc<Mutex<Said>>,
}

/// What was said when.
#[derive(Debug, Default)]
struct Said(HashMap<(ServiceName, Action, Option<String>), Timestamp>);

impl Denials {
    pub(crate) fn new(metrics: Metrics, notes: Notes) -> Self {
        Self { metrics, notes, said: Arc::default() }
    }

    /// Notes that something was denied.
    pub(crate) fn note(&self, denied: &Denied<'_>, now: Timestamp) {
        self.metrics.denied(denied.action);
        let due = self.said.lock().unwrap_or_else(PoisonError::into_inner).is_due(denied, now);
        if due {
            let domain = denied.domain().map_or("*", proto::Domain::as_str);
            warn!(service = %denied.service, action = %denied.action, domain, "denied: {denied}");
            self.notes.note(denied.service.as_str(), &format!("denied: {denied}"));
        }
    }
}

impl Said {
    /// Whether it is to be said now, and remembers that it was.
    fn is_due(&mut self, denied: &Denied<'_>, now: Timestamp) -> bool {
        let domain = denied.domain().map(|domain| domain.as_str().to_owned());
        let key = (denied.service.clone(), denied.action, domain);
        let is_recent = |said: &Timestamp| now.since(*said) < SILENT_FOR;
        if self.0.get(&key).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.retain(|_, said| is_recent(said));
        }
        let room = self.0.len() < REMEMBERED_MAX;
        if room {
            self.0.insert(key, now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use proto::Domain;

    use super::super::authorize::Target;
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    #[test]
    fn the_same_is_said_again_only_after_ten_seconds() {
        let (billing, orders) = (ServiceName::parse("billing").unwrap(), Domain::parse("order").unwrap());
        let denied = Denied { service: &billing, action: Action::Read, target: Target::Domain(&orders) };
        let mut said = Said::default();
        assert!(said.is_due(&denied, at(0)));
        assert!(!said.is_due(&denied, at(9_999)));
        assert!(said.is_due(&Denied { action: Action::Publish, ..denied }, at(9_999)));
        assert!(said.is_due(&Denied { target: Target::Everything, ..denied }, at(9_999)));
        assert!(said.is_due(&denied, at(10_000)));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_and_old_things_make_room() {
        let orders = Domain::parse("order").unwrap();
        let mut said = Said::default();
        let mut ask = |number: usize, now| {
            let service = ServiceName::parse(&format!("s{number}")).unwrap();
            let denied = Denied { service: &service, action: Action::Read, target: Target::Domain(&orders) };
            said.is_due(&denied, now)
        };
        assert!((0..REMEMBERED_MAX).all(|number| ask(number, at(0))));
        assert!(!ask(REMEMBERED_MAX, at(1)), "it is counted only");
        assert!(ask(REMEMBERED_MAX, at(10_000)));
        assert_eq!(said.0.len(), 1);
    }
}
