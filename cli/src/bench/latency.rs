//! End to end at a fixed rate: from the moment an event was due to be published until a member has
//! it in hand. An event that is published late is late: waiting is not left out of the count.
//! Some events may be poison, whose handler always fails: what the others suffer by that.

use std::sync::Arc;
use std::time::Duration;

use proto::GroupName;
use serde::{Deserialize, Serialize};
use spoke::{Delivery, Spoke};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::load::Maker;
use crate::failure::{Failure, Outcome};

/// Events that may be under way; the publisher waits at it, and what it then publishes is late.
const UNDER_WAY_MAX: usize = 4_096;

/// How long the last event may take.
const LAST_WITHIN: Duration = Duration::from_secs(60);

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Latencies {
    /// Half of all are at most this.
    pub(super) p50_ms: f64,
    /// 99 of 100 are at most this.
    pub(super) p99_ms: f64,
    /// 999 of 1000 are at most this.
    pub(super) p999_ms: f64,
    /// None is more than this.
    pub(super) max_ms: f64,
}

impl Latencies {
    /// The percentiles of `taken`, which must have some.
    pub(super) fn of(mut taken: Vec<Duration>) -> Outcome<Self> {
        taken.sort_unstable();
        let at = |per_mille: usize| -> Outcome<f64> {
            let rank = (taken.len() * per_mille).div_ceil(1_000).saturating_sub(1);
            let latency = taken.get(rank).ok_or_else(|| Failure::failed("nothing was measured"))?;
            Ok(latency.as_secs_f64() * 1e3)
        };
        Ok(Self { p50_ms: at(500)?, p99_ms: at(990)?, p999_ms: at(999)?, max_ms: at(1_000)? })
    }
}

/// Which events are poison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poison {
    /// None.
    None,
    /// One in a hundred, all of processes that have no other.
    OneInHundred,
}

impl Poison {
    fn is(self, number: u64) -> bool {
        match self {
            Self::None => false,
            Self::OneInHundred => number.is_multiple_of(100),
        }
    }
}

/// What an event of this load says.
#[derive(Deserialize)]
struct Numbered {
    n: String,
}

/// Publishes at `rate` events a second for `lasting`, and tells how long each that is not poison took
/// to its member.
pub(super) async fn measure(
    publisher: &Spoke,
    member: &Spoke,
    maker: &Maker,
    rate: u32,
    lasting: Duration,
    poison: Poison,
) -> Outcome<Latencies> {
    let count = (f64::from(rate) * lasting.as_secs_f64()).max(1.0).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and at least 1")]
    let count = count as u64;
    let (arrived, mut arrivals) = mpsc::channel(UNDER_WAY_MAX);
    let handler = move |delivery: Delivery| {
        let (now, arrived) = (Instant::now(), arrived.clone());
        async move {
            let numbered: Numbered = delivery.event.data.to()?;
            let number = numbered.n.parse::<u64>()?;
            if poison.is(number) {
                return Err(spoke::Failure::retry("poison"));
            }
            // Whoever counts may have had enough.
            let _ = arrived.send((number, now)).await;
            Ok(())
        }
    };
    let expected = (0..count).filter(|number| !poison.is(*number)).count();
    let group = GroupName::parse(maker.domain().as_str()).map_err(Failure::failed)?;
    let consumer = member.consumer(maker.domain().clone()).group(group).any(handler).start().await?;

    let (start, gap) = (Instant::now() + Duration::from_millis(100), Duration::from_secs(1) / rate);
    let due = move |number: u64| start + gap.mul_f64(number as f64);
    let mut publishing: JoinSet<Outcome> = JoinSet::new();
    let (tick, mut ticks) = mpsc::channel(UNDER_WAY_MAX);
    publishing.spawn_blocking(move || {
        for number in 0..count {
            wait_until(due(number));
            if tick.blocking_send(number).is_err() {
                break;
            }
        }
        Ok(())
    });
    let (spoke, maker) = (publisher.clone(), Arc::new(maker.clone()));
    publishing.spawn(async move {
        let mut answers = JoinSet::new();
        while let Some(number) = ticks.recv().await {
            let (spoke, maker) = (spoke.clone(), maker.clone());
            answers.spawn(async move { spoke.publish(maker.event(number)?).await.map_err(Failure::from) });
            while let Some(answered) = answers.try_join_next() {
                answered.map_err(Failure::failed)??;
            }
        }
        while let Some(answered) = answers.join_next().await {
            answered.map_err(Failure::failed)??;
        }
        Ok(())
    });
    let taken = collect(&mut arrivals, expected, due).await;
    while let Some(published) = publishing.join_next().await {
        published.map_err(Failure::failed)??;
    }
    consumer.stop().await?;
    Latencies::of(taken?)
}

/// How long each of `count` events took.
async fn collect(
    arrivals: &mut mpsc::Receiver<(u64, Instant)>,
    count: usize,
    due: impl Fn(u64) -> Instant,
) -> Outcome<Vec<Duration>> {
    let mut taken = Vec::new();
    for _ in 0..count {
        let arrival = timeout(LAST_WITHIN, arrivals.recv()).await;
        match arrival {
            Ok(Some((number, at))) => taken.push(at.saturating_duration_since(due(number))),
            Ok(None) | Err(_) => {
                let have = taken.len();
                return Err(Failure::failed(format_args!("{have} of {count} events arrived, then no more")));
            }
        }
    }
    Ok(taken)
}

/// Sleeps on a thread of its own, to some hundredths of a millisecond: the runtime's timers would add
/// up to a whole one, which is more than what is measured.
pub(super) fn wait_until(moment: Instant) {
    #[expect(clippy::disallowed_methods, reason = "this is not a runtime thread")]
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_values_at_their_rank() {
        let taken = (1..=1_000).rev().map(Duration::from_millis).collect();
        let expected = Latencies { p50_ms: 500.0, p99_ms: 990.0, p999_ms: 999.0, max_ms: 1_000.0 };
        assert_eq!(Latencies::of(taken).unwrap(), expected);
        assert!(Latencies::of(Vec::new()).is_err());
    }

    #[test]
    fn one_value_is_every_percentile() {
        let one = Latencies::of(vec![Duration::from_millis(3)]).unwrap();
        assert_eq!((one.p50_ms, one.p99_ms, one.max_ms), (3.0, 3.0, 3.0));
    }
}
