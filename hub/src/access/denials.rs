//! What was denied: counted always, and told now and then.
//!
//! A peer that asks a thousand times a second for what it may not gets its answers, and one line in the
//! logs in ten seconds.

use std::sync::{Arc, Mutex, PoisonError};

use proto::access::Action;
use proto::{ServiceName, Timestamp};
use tracing::warn;

use super::authorize::Denied;
use crate::journal::Notes;
use crate::metrics::Metrics;
use crate::quiet::Quiet;

/// Counts and tells denials; clones do it together.
#[derive(Debug, Clone)]
pub(crate) struct Denials {
    metrics: Metrics,
    notes: Notes,
    said: Arc<Mutex<Said>>,
}

/// What is told once in a while: service, action and domain.
type Said = Quiet<(ServiceName, Action, Option<String>)>;

impl Denials {
    pub(crate) fn new(metrics: Metrics, notes: Notes) -> Self {
        Self { metrics, notes, said: Arc::default() }
    }

    /// Notes that something was denied.
    pub(crate) fn note(&self, denied: &Denied<'_>, now: Timestamp) {
        self.metrics.denied(denied.action);
        let domain = denied.domain().map(|domain| domain.as_str().to_owned());
        let told = (denied.service.clone(), denied.action, domain);
        let due = self.said.lock().unwrap_or_else(PoisonError::into_inner).is_due(told, now);
        if due {
            let domain = denied.domain().map_or("*", proto::Domain::as_str);
            warn!(service = %denied.service, action = %denied.action, domain, "denied: {denied}");
            self.notes.note(denied.service.as_str(), &format!("denied: {denied}"));
        }
    }
}
