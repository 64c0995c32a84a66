//! What Prometheus is told.

use super::*;
use std::collections::BTreeSet;

fn has(metrics: &Metrics, line: &str) -> bool {
    let page = metrics.render();
    assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    true
}

#[test]
fn what_was_counted_is_told() {
    let metrics = Metrics::default();
    metrics.connected();
    metrics.connected();
    metrics.disconnected();
    metrics.handshake_failed(HandshakeFailure::Unavailable);
    metrics.appended(5, 2);
    metrics.delivered(1);
    metrics.delivered(2);
    metrics.answered("succeeded");
    metrics.answered("never heard of");
    has(&metrics, "eventflow_connections 1");
    has(&metrics, "eventflow_connections_total 2");
    has(&metrics, "eventflow_handshake_failures_total{reason=\"unavailable\"} 1");
    has(&metrics, "eventflow_events_appended_total 5");
    has(&metrics, "eventflow_duplicates_total 2");
    has(&metrics, "eventflow_redeliveries_total 1");
    has(&metrics, "eventflow_answers_total{outcome=\"succeeded\"} 1");
    has(&metrics, "eventflow_answers_total{outcome=\"other\"} 1");
}

#[test]
fn buckets_hold_all_that_is_not_above_their_bound() {
    let metrics = Metrics::default();
    metrics.committed(1);
    metrics.committed(7);
    metrics.committed(2_000);
    has(&metrics, "eventflow_batch_events_bucket{le=\"1\"} 1");
    has(&metrics, "eventflow_batch_events_bucket{le=\"10\"} 2");
    has(&metrics, "eventflow_batch_events_bucket{le=\"1000\"} 2");
    has(&metrics, "eventflow_batch_events_bucket{le=\"+Inf\"} 3");
    has(&metrics, "eventflow_batch_events_sum 2008");
    has(&metrics, "eventflow_batch_events_count 3");
}

#[tokio::test(start_paused = true)]
async fn an_append_counts_as_waiting_until_its_answer() {
    let metrics = Metrics::default();
    let (one, other) = (metrics.append_waits(), metrics.append_waits());
    has(&metrics, "eventflow_appends_waiting 2");
    tokio::time::advance(Duration::from_micros(251)).await;
    drop(one);
    tokio::time::advance(Duration::from_secs(6)).await;
    drop(other);
    has(&metrics, "eventflow_appends_waiting 0");
    has(&metrics, "eventflow_append_seconds_bucket{le=\"0.00025\"} 0");
    has(&metrics, "eventflow_append_seconds_bucket{le=\"0.0005\"} 1");
    has(&metrics, "eventflow_append_seconds_bucket{le=\"5\"} 1");
    has(&metrics, "eventflow_append_seconds_count 2");
    has(&metrics, "eventflow_append_seconds_sum 6.000502");
}

#[test]
fn names_of_groups_cannot_break_the_format() {
    let metrics = Metrics::default();
    let group = GroupName::parse(r#"a"b\c"#).unwrap();
    metrics.set_group_lag(&group, &Domain::parse("order").unwrap(), 3);
    metrics.set_group_lag(&group, &Domain::parse("order").unwrap(), 4);
    has(&metrics, r#"eventflow_group_lag_events{group="a\"b\\c",domain="order"} 4"#);
}

#[test]
fn every_metric_is_described_once_and_before_its_values() {
    let page = Metrics::default().render();
    let described: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let names: BTreeSet<&str> = described.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names.len(), described.len());
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        assert!(names.iter().any(|name| line.starts_with(name)), "{line}");
    }
    assert!(page.ends_with('\n'));
}
