//! The page that Prometheus reads: each metric with its help and its type, once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use proto::{Domain, GroupName};

use super::{Histogram, ScheduleCounts, WAIT_BOUNDS};
use crate::identity::expiry::Essential;

/// The text as it grows. Writing to a `String` cannot fail, so results are dropped.
#[derive(Default)]
pub(super) struct Page(pub(super) String);

impl Page {
    pub(super) fn head(&mut self, name: &str, help: &str, kind: &str) {
        writeln!(self.0, "# HELP eventflow_{name} {help}\n# TYPE eventflow_{name} {kind}").ok();
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, count: &AtomicU64) {
        self.head(name, help, "counter");
        writeln!(self.0, "eventflow_{name} {}", count.load(Ordering::Relaxed)).ok();
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, count: &AtomicU64) {
        self.head(name, help, "gauge");
        writeln!(self.0, "eventflow_{name} {}", count.load(Ordering::Relaxed)).ok();
    }

    pub(super) fn labelled(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
        counts: &[AtomicU64],
    ) {
        self.head(name, help, "counter");
        for (value, count) in values.iter().zip(counts) {
            let count = count.load(Ordering::Relaxed);
            writeln!(self.0, "eventflow_{name}{{{label}=\"{value}\"}} {count}").ok();
        }
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[u64; N],
        unit: u32,
        histogram: &Histogram<N>,
    ) {
        self.head(name, help, "histogram");
        let mut total = 0;
        for (bound, bucket) in bounds.iter().zip(&histogram.buckets) {
            total += bucket.load(Ordering::Relaxed);
            let bound = fraction(*bound, unit);
            writeln!(self.0, "eventflow_{name}_bucket{{le=\"{bound}\"}} {total}").ok();
        }
        total += histogram.above.load(Ordering::Relaxed);
        let sum = fraction(histogram.sum.load(Ordering::Relaxed), unit);
        writeln!(self.0, "eventflow_{name}_bucket{{le=\"+Inf\"}} {total}").ok();
        writeln!(self.0, "eventflow_{name}_sum {sum}\neventflow_{name}_count {total}").ok();
    }

    pub(super) fn schedules(&mut self, counts: &ScheduleCounts) {
        self.gauge("schedules_held", "Schedules that are due soon, in memory.", &counts.held);
        self.counter("schedule_reads_total", "Reads of what is due soon.", &counts.reads);
        let late = "Time from due to fired; its count is that of all fired.";
        self.histogram("schedule_lateness_seconds", late, &WAIT_BOUNDS, 1_000_000, &counts.lateness);
        self.counter("schedules_failed_total", "Schedules that failed for good.", &counts.failed);
    }

    pub(super) fn certificates(&mut self, seconds: &[AtomicU64]) {
        let name = "certificate_expires_seconds";
        self.head(name, "Time until a certificate that the hub cannot do without ends.", "gauge");
        for (label, left) in Essential::LABELS.iter().zip(seconds) {
            let left = left.load(Ordering::Relaxed);
            writeln!(self.0, "eventflow_{name}{{certificate=\"{label}\"}} {left}").ok();
        }
    }

    pub(super) fn groups(
        &mut self,
        name: &str,
        help: &str,
        unit: u32,
        figures: &BTreeMap<(GroupName, Domain), u64>,
    ) {
        self.head(name, help, "gauge");
        for ((group, domain), figure) in figures {
            let (group, domain) = (escaped(group.as_str()), escaped(domain.as_str()));
            let figure = fraction(*figure, unit);
            writeln!(self.0, "eventflow_{name}{{group=\"{group}\",domain=\"{domain}\"}} {figure}").ok();
        }
    }
}

/// `value / unit` without loss, for example `0.00025`.
fn fraction(value: u64, unit: u32) -> String {
    let (whole, rest) = (value / u64::from(unit), value % u64::from(unit));
    if rest == 0 {
        return whole.to_string();
    }
    let digits = format!("{rest:0width$}", width = unit.ilog10() as usize);
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
