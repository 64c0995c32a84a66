//! What the database can do without a hub, with the same rows: the measure for everything else.

use std::time::Duration;

use db::{Append, Ceiling};
use proto::{ServiceName, Timestamp};
use tokio::time::{Instant, interval};

use super::latency::Latencies;
use super::load::Maker;
use crate::failure::{Failure, Outcome};

/// Commits whose duration is measured.
const BARE_COMMITS: usize = 500;

/// Inserts so many events by one connection, `batch` with each commit, with or without a row for the
/// outcome of each. Tells how long the inserts took; making the events does not count.
pub(super) async fn insert(
    ceiling: &mut Ceiling,
    maker: &Maker,
    events: u64,
    batch: u64,
    outcomes: bool,
) -> Outcome<Duration> {
    let publisher = ServiceName::parse("bench-publisher").map_err(Failure::failed)?;
    let (mut taken, mut number, now) = (Duration::ZERO, 0, clock());
    while number < events {
        let until = events.min(number + batch.max(1));
        let rows = (number..until).map(|number| maker.event(number)).collect::<Outcome<Vec<_>>>()?;
        let publishers = vec![Some(publisher.clone()); rows.len()];
        let mut append = Append::new(rows, publishers, now, Vec::new());
        let start = Instant::now();
        ceiling.insert(&mut append, outcomes).await?;
        taken += start.elapsed();
        number = until;
    }
    Ok(taken)
}

/// How long a commit of one small change takes when there are `rate` of them a second, as there are of
/// events when their latency is measured: back to back, no thread and no disk ever goes to sleep.
pub(super) async fn bare_commits(ceiling: &mut Ceiling, rate: u32) -> Outcome<Latencies> {
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    let (mut taken, mut now) = (Vec::new(), clock());
    for _ in 0..BARE_COMMITS {
        ticks.tick().await;
        // SQLite does not write what is as it was: every commit has to change something.
        now = now.plus(Duration::from_millis(1));
        let start = Instant::now();
        ceiling.commit(now).await?;
        taken.push(start.elapsed());
    }
    Latencies::of(taken)
}

fn clock() -> Timestamp {
    hub::Clock::system().now()
}
