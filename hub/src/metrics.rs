//! What the hub counts, and how it tells Prometheus.
//!
//! Everything is an atomic number; counting never waits. Each metric's name, help and type stand
//! once, in [`Metrics::render`].

mod page;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db::{Outcome, Settlements};
use proto::access::Action;
use proto::{Domain, GroupName};
use tokio::time::Instant;

use crate::access::place;
use crate::identity::expiry::Essential;
use page::Page;

/// Groups whose lag is told. The lag of more is not: Prometheus would suffer before the hub does.
const GROUPS_MAX: usize = 1_000;

/// Bounds of the buckets for batches, in events.
const BATCH_BOUNDS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// Bounds of the buckets for waits, in microseconds.
const WAIT_BOUNDS: [u64; 14] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_024_000,
    5_000_000,
];

/// The answers that members give, as the dispatcher calls them. Any other counts as the last.
const ANSWERS: [&str; 7] = ["stale", "succeeded", "failed", "released", "parked", "progressing", "other"];

/// What settled events ended as, in the order of their counters.
const OUTCOMES: [&str; 3] = ["succeeded", "parked", "discarded"];

/// Why a connection did not get as far as its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandshakeFailure {
    /// TLS did not come about: no certificate, another root, another protocol.
    Tls,
    /// It took too long.
    Timeout,
    /// The certificate is not in the table.
    Unknown,
    /// The certificate was revoked.
    Revoked,
    /// The certificate is about to end.
    Expired,
    /// Too many connections.
    TooMany,
    /// The first message was not Hello.
    Protocol,
    /// The database did not answer whether the certificate counts.
    Unavailable,
}

impl HandshakeFailure {
    const LABELS: [&str; 8] =
        ["tls", "timeout", "unknown", "revoked", "expired", "too_many", "protocol", "unavailable"];
}

/// What came of an enrolment with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EnrolmentOutcome {
    /// A certificate was issued.
    Issued,
    /// None was.
    Refused,
    /// Too many came at once.
    Limited,
}

impl EnrolmentOutcome {
    const LABELS: [&str; 3] = ["issued", "refused", "limited"];
}

/// What came of rows of the outbox.
#[derive(Debug, Default)]
struct OutboxCounts {
    drained: AtomicU64,
    failed: AtomicU64,
    waited_ms: AtomicU64,
}

/// What comes of schedules.
#[derive(Debug, Default)]
struct ScheduleCounts {
    held: AtomicU64,
    reads: AtomicU64,
    lateness: Histogram<{ WAIT_BOUNDS.len() }>,
    failed: AtomicU64,
}

/// All that one hub counts; clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    connections_total: AtomicU64,
    handshake_failures: [AtomicU64; HandshakeFailure::LABELS.len()],
    enrolments: [AtomicU64; EnrolmentOutcome::LABELS.len()],
    denied: [AtomicU64; Action::ALL.len()],
    appended: AtomicU64,
    duplicates: AtomicU64,
    waits: Histogram<{ WAIT_BOUNDS.len() }>,
    waiting: AtomicU64,
    batches: Histogram<{ BATCH_BOUNDS.len() }>,
    deliveries: AtomicU64,
    redeliveries: AtomicU64,
    expired: AtomicU64,
    stalls: AtomicU64,
    in_flight: AtomicU64,
    outcome_waits: AtomicU64,
    answers: [AtomicU64; ANSWERS.len()],
    settled: [AtomicU64; OUTCOMES.len()],
    retries: AtomicU64,
    outbox: OutboxCounts,
    lag: Figures,
    age_ms: Figures,
    schedules: ScheduleCounts,
    certificate_seconds: [AtomicU64; Essential::ALL.len()],
}

/// One figure a group.
type Figures = Mutex<BTreeMap<(GroupName, Domain), u64>>;

impl Metrics {
    /// A connection was authenticated.
    pub(crate) fn connected(&self) {
        add(&self.0.connections, 1);
        add(&self.0.connections_total, 1);
    }

    /// An authenticated connection ended.
    pub(crate) fn disconnected(&self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection did not become one.
    pub(crate) fn handshake_failed(&self, why: HandshakeFailure) {
        if let Some(count) = self.0.handshake_failures.get(why as usize) {
            add(count, 1);
        }
    }

    /// Somebody has asked for a certificate with a token.
    pub(crate) fn enrolment(&self, outcome: EnrolmentOutcome) {
        if let Some(count) = self.0.enrolments.get(outcome as usize) {
            add(count, 1);
        }
    }

    /// A peer was denied something.
    pub(crate) fn denied(&self, action: Action) {
        if let Some(count) = self.0.denied.get(place(action)) {
            add(count, 1);
        }
    }

    /// An append was answered: so many events are new, so many were stored before.
    pub(crate) fn appended(&self, new: usize, duplicates: usize) {
        add(&self.0.appended, new as u64);
        add(&self.0.duplicates, duplicates as u64);
    }

    /// An append waits for its commit until what this returns is dropped.
    pub(crate) fn append_waits(&self) -> Waiting {
        add(&self.0.waiting, 1);
        Waiting { metrics: self.clone(), since: Instant::now() }
    }

    /// A transaction with so many events has committed.
    pub(crate) fn committed(&self, events: usize) {
        self.0.batches.observe(&BATCH_BOUNDS, events as u64);
    }

    /// A delivery was pushed, for the `attempt`th time.
    pub(crate) fn delivered(&self, attempt: u32) {
        add(&self.0.deliveries, 1);
        if attempt > 1 {
            add(&self.0.redeliveries, 1);
        }
    }

    /// So many deliveries were not answered in time.
    pub(crate) fn deliveries_expired(&self, late: usize) {
        add(&self.0.expired, late as u64);
    }

    /// The dispatcher was stuck.
    pub(crate) fn stalled(&self) {
        add(&self.0.stalls, 1);
    }

    /// A member answered, and this is what came of it.
    pub(crate) fn answered(&self, what: &'static str) {
        let at = ANSWERS.iter().position(|known| *known == what).unwrap_or(ANSWERS.len() - 1);
        if let Some(count) = self.0.answers.get(at) {
            add(count, 1);
        }
    }

    /// Settlements are on their way to the tables.
    pub(crate) fn settled(&self, settlements: &Settlements) {
        for run in &settlements.runs {
            let [succeeded, parked, discarded] = &self.0.settled;
            let count = match run.outcome {
                Outcome::Success => succeeded,
                Outcome::Parked { .. } => parked,
                Outcome::Discarded { .. } => discarded,
            };
            add(count, u64::from(run.events));
        }
        add(&self.0.retries, settlements.retries.len() as u64);
    }

    /// So many rows of the outbox are in the log now, and so many failed.
    pub(crate) fn outbox_drained(&self, drained: usize, failed: usize) {
        add(&self.0.outbox.drained, drained as u64);
        add(&self.0.outbox.failed, failed as u64);
    }

    /// The oldest row of the outbox that can be drained has waited so long.
    pub(crate) fn set_outbox_waited(&self, waited: Duration) {
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.0.outbox.waited_ms.store(millis, Ordering::Relaxed);
    }

    /// So many schedules are due soon.
    pub(crate) fn set_schedules_held(&self, held: usize) {
        self.0.schedules.held.store(u64::try_from(held).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The tables are read for what is due soon.
    pub(crate) fn schedules_read(&self) {
        add(&self.0.schedules.reads, 1);
    }

    /// A schedule was fired so long after it was due.
    pub(crate) fn schedule_fired(&self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.0.schedules.lateness.observe(&WAIT_BOUNDS, micros);
    }

    /// So many schedules failed for good.
    pub(crate) fn schedules_failed(&self, failed: usize) {
        add(&self.0.schedules.failed, failed as u64);
    }

    /// Something that this hub cannot do without ends in so long.
    pub(crate) fn set_certificate_expires(&self, essential: Essential, left: Duration) {
        if let Some(seconds) = self.0.certificate_seconds.get(essential as usize) {
            seconds.store(left.as_secs(), Ordering::Relaxed);
        }
    }

    /// So many deliveries are with members now.
    pub(crate) fn set_in_flight(&self, deliveries: u64) {
        self.0.in_flight.store(deliveries, Ordering::Relaxed);
    }

    /// So many waits go on now.
    pub(crate) fn set_waits(&self, waits: usize) {
        self.0.outcome_waits.store(u64::try_from(waits).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The oldest event of a group has waited for its outcome so many milliseconds.
    pub(crate) fn set_group_age(&self, group: &GroupName, domain: &Domain, millis: u64) {
        set(&self.0.age_ms, group, domain, millis);
    }

    /// A group is no more.
    pub(crate) fn forget_group(&self, group: &GroupName, domain: &Domain) {
        let key = (group.clone(), domain.clone());
        for figures in [&self.0.lag, &self.0.age_ms] {
            figures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
    }

    /// A group is so many events behind the log.
    pub(crate) fn set_group_lag(&self, group: &GroupName, domain: &Domain, events: u64) {
        set(&self.0.lag, group, domain, events);
    }

    /// Everything in Prometheus' text format 0.0.4.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        let counts = &*self.0;
        let mut page = Page::default();
        self.render_peers(&mut page);
        page.counter("events_appended_total", "Events stored.", &counts.appended);
        page.counter("duplicates_total", "Events published again and found stored.", &counts.duplicates);
        page.histogram("batch_events", "Events per commit.", &BATCH_BOUNDS, 1, &counts.batches);
        page.histogram(
            "append_seconds",
            "Time that an append waited for its commit.",
            &WAIT_BOUNDS,
            1_000_000,
            &counts.waits,
        );
        page.gauge("appends_waiting", "Appends that wait for their commit.", &counts.waiting);
        page.counter("deliveries_total", "Deliveries pushed, repeated ones included.", &counts.deliveries);
        page.counter("redeliveries_total", "Deliveries pushed again.", &counts.redeliveries);
        page.counter("deliveries_expired_total", "Deliveries not answered in time.", &counts.expired);
        page.counter(
            "stalls_total",
            "Times that the dispatcher was stuck, a fault of the hub.",
            &counts.stalls,
        );
        page.gauge("deliveries_in_flight", "Deliveries with members.", &counts.in_flight);
        page.gauge("waits", "Waits for an event of a process.", &counts.outcome_waits);
        page.labelled("answers_total", "Answers of members.", "outcome", &ANSWERS, &counts.answers);
        page.labelled("settled_total", "Events settled in groups.", "outcome", &OUTCOMES, &counts.settled);
        page.counter("retries_total", "Failed deliveries to be tried again.", &counts.retries);
        page.counter(
            "outbox_drained_total",
            "Rows of the outbox that are in the log.",
            &counts.outbox.drained,
        );
        page.counter("outbox_failed_total", "Rows of the outbox that failed.", &counts.outbox.failed);
        page.gauge(
            "outbox_oldest_waiting_milliseconds",
            "How long the oldest row of the outbox has waited.",
            &counts.outbox.waited_ms,
        );
        let groups = |figures: &Figures| figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        page.groups("group_lag_events", "Events that a group is behind the log.", 1, &groups(&counts.lag));
        page.groups(
            "group_oldest_unsettled_seconds",
            "For how long the oldest event of a group without an outcome has been published.",
            1_000,
            &groups(&counts.age_ms),
        );
        page.schedules(&counts.schedules);
        page.certificates(&counts.certificate_seconds);
        page.0
    }

    /// Who came, who did not get in, and who may not do what.
    fn render_peers(&self, page: &mut Page) {
        let counts = &*self.0;
        page.gauge("connections", "Authenticated connections.", &counts.connections);
        page.counter("connections_total", "Connections that were authenticated.", &counts.connections_total);
        page.labelled(
            "handshake_failures_total",
            "Connections that were turned away.",
            "reason",
            &HandshakeFailure::LABELS,
            &counts.handshake_failures,
        );
        page.labelled(
            "enrolments_total",
            "Enrolments with a token.",
            "outcome",
            &EnrolmentOutcome::LABELS,
            &counts.enrolments,
        );
        page.labelled(
            "denied_total",
            "What peers wanted and may not.",
            "action",
            &Action::ALL.map(Action::as_str),
            &counts.denied,
        );
    }
}

/// An append that waits. Dropping it ends the wait, whatever came of it.
#[derive(Debug)]
pub(crate) struct Waiting {
    metrics: Metrics,
    since: Instant,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let counts = &*self.metrics.0;
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        counts.waits.observe(&WAIT_BOUNDS, micros);
    }
}

/// How often a value fell below each bound. The bounds are a constant beside it.
#[derive(Debug)]
struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), above: AtomicU64::new(0), sum: 0.into() }
    }
}

impl<const N: usize> Histogram<N> {
    fn observe(&self, bounds: &[u64; N], value: u64) {
        let fits = bounds.iter().zip(&self.buckets).find(|(bound, _)| value <= **bound);
        add(fits.map_or(&self.above, |(_, bucket)| bucket), 1);
        add(&self.sum, value);
    }
}

fn set(figures: &Figures, group: &GroupName, domain: &Domain, figure: u64) {
    let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (group.clone(), domain.clone());
    if figures.len() < GROUPS_MAX || figures.contains_key(&key) {
        figures.insert(key, figure);
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
