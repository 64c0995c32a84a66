//! What a benchmark found, with the conditions under which it did.

use serde::Serialize;

use super::latency::Latencies;
use super::load::{IN_FLIGHT, MEMBERS, PUBLISHERS};
use crate::output::Shown;

/// A rate that was measured some times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rate {
    /// Events a second: the median.
    pub(super) per_second: f64,
    /// The slowest round.
    pub(super) min: f64,
    /// The fastest round.
    pub(super) max: f64,
    /// Seconds of processor time for 100,000 events, of hub and clients together.
    pub(super) cpu_seconds_per_100k: f64,
}

impl Rate {
    /// The rate over rounds of (events a second, processor seconds for 100,000 events).
    pub(super) fn of(rounds: &[(f64, f64)]) -> Self {
        let rates: Vec<f64> = rounds.iter().map(|(rate, _)| *rate).collect();
        let cpu: Vec<f64> = rounds.iter().map(|(_, cpu)| *cpu).collect();
        Self {
            per_second: median(&rates),
            min: rates.iter().copied().fold(f64::INFINITY, f64::min),
            max: rates.iter().copied().fold(0.0, f64::max),
            cpu_seconds_per_100k: median(&cpu),
        }
    }
}

/// The middle one; of an even number, the lower of the two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// One round, and how long the log was when it began: what the length of the log costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Round {
    pub(super) log_events: u64,
    pub(super) ceiling_per_second: f64,
    pub(super) publish_per_second: f64,
    pub(super) publish_cpu_seconds_per_100k: f64,
    pub(super) cycle_per_second: f64,
    pub(super) cycle_cpu_seconds_per_100k: f64,
}

/// All that a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) engine: String,
    pub(super) version: String,
    pub(super) settings: serde_json::Map<String, serde_json::Value>,
    pub(super) optimised: bool,
    pub(super) processors: usize,
    /// Processors that others used meanwhile, on average; a database server is one of them.
    pub(super) processors_of_others: f64,
    pub(super) data_bytes: usize,
    pub(super) names: String,
    pub(super) events: u64,
    pub(super) rounds: u32,
    pub(super) publishers: usize,
    pub(super) in_flight: usize,
    pub(super) members: usize,
    pub(super) batch_events: f64,
    pub(super) cycle_batch_events: f64,
    /// Rows of events by one connection, in batches like the hub's.
    pub(super) ceiling: Rate,
    /// The same with a row for the outcome of each event.
    pub(super) ceiling_outcomes: Rate,
    pub(super) publish: Rate,
    pub(super) publish_of_ceiling: f64,
    pub(super) cycle: Rate,
    pub(super) cycle_of_ceiling: f64,
    pub(super) cycle_of_ceiling_outcomes: f64,
    pub(super) peak_memory_mib: f64,
    pub(super) bare_commit: Latencies,
    pub(super) rate: u32,
    pub(super) latency: Latencies,
    /// The same where one event in a hundred always fails, without those.
    pub(super) beside_poison: Latencies,
    /// Its p99 as a multiple of the clean one.
    pub(super) beside_poison_of_clean: f64,
    pub(super) p50_in_bare_commits: f64,
    pub(super) p99_in_bare_commits: f64,
    pub(super) log_events: u64,
    pub(super) by_round: Vec<Round>,
}

impl Shown for Report {
    fn for_people(&self) -> String {
        let mut lines = vec![
            format!("engine          {} {}", self.engine, self.version),
            format!("settings        {}", settings(&self.settings)),
            format!(
                "load            {} events of {} bytes of data a round, {} rounds, {} names; {PUBLISHERS} publishers with \
                 {IN_FLIGHT} in flight each, {MEMBERS} members, over TLS, all on {} processors",
                self.events, self.data_bytes, self.rounds, self.names, self.processors
            ),
            rate(
                "raw ceiling",
                &self.ceiling,
                &format!("one connection, {:.0} events a commit", self.batch_events),
            ),
            rate("  with outcomes", &self.ceiling_outcomes, "and a row for the outcome of each event"),
            rate("publish", &self.publish, &format!("{:.2} of the ceiling", self.publish_of_ceiling)),
            rate(
                "full cycle",
                &self.cycle,
                &format!(
                    "{:.2} of the ceiling, {:.2} of that with outcomes, {:.0} events a commit",
                    self.cycle_of_ceiling, self.cycle_of_ceiling_outcomes, self.cycle_batch_events
                ),
            ),
            latency("bare commit", &self.bare_commit, ""),
            latency(
                "end to end",
                &self.latency,
                &format!(
                    " at {} events/s; p50 = {:.1} and p99 = {:.1} bare commits",
                    self.rate, self.p50_in_bare_commits, self.p99_in_bare_commits
                ),
            ),
            latency(
                "beside poison",
                &self.beside_poison,
                &format!(
                    " where 1 % of the events always fail; p99 = {:.2} of the clean one",
                    self.beside_poison_of_clean
                ),
            ),
            format!(
                "peak memory     {:.0} MiB, hub and clients together, with {} events in the log",
                self.peak_memory_mib, self.log_events
            ),
            format!(
                "meanwhile       others used {:.2} of the processors, a database server included",
                self.processors_of_others
            ),
        ];
        lines.extend(self.by_round.iter().map(|round| {
            format!(
                "from {:>9}  ceiling {:.0}/s, publish {:.0}/s ({:.2} CPU s), full cycle {:.0}/s ({:.2} CPU s)",
                round.log_events,
                round.ceiling_per_second,
                round.publish_per_second,
                round.publish_cpu_seconds_per_100k,
                round.cycle_per_second,
                round.cycle_cpu_seconds_per_100k
            )
        }));
        if !self.optimised {
            lines.push("This program was built without optimisation: its figures mean nothing.".to_owned());
        }
        lines.join("\n")
    }
}

fn settings(settings: &serde_json::Map<String, serde_json::Value>) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    settings.iter().map(|(name, value)| format!("{name} = {}", text(value))).collect::<Vec<_>>().join(", ")
}

fn rate(what: &str, rate: &Rate, note: &str) -> String {
    let Rate { per_second, min, max, cpu_seconds_per_100k } = rate;
    format!(
        "{what:<15} {per_second:.0}/s (from {min:.0} to {max:.0}), {cpu_seconds_per_100k:.2} CPU s per 100,000; {note}"
    )
}

fn latency(what: &str, latency: &Latencies, note: &str) -> String {
    let Latencies { p50_ms, p99_ms, p999_ms, max_ms } = latency;
    format!(
        "{what:<15} p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, p99.9 {p999_ms:.2} ms, max {max_ms:.2} ms{note}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_median_of_its_rounds() {
        let rate = Rate::of(&[(30.0, 3.0), (10.0, 1.0), (20.0, 2.0)]);
        let expected = Rate { per_second: 20.0, min: 10.0, max: 30.0, cpu_seconds_per_100k: 2.0 };
        assert_eq!(rate, expected);
        assert_eq!(median(&[]), 0.0);
    }
}
