//! `bench --schedules N`: what a hub costs that has N schedules pending, and how late it fires.
//!
//! The hub is a process of its own, so that its memory is its own. The schedules that only wait are put
//! into the tables past it; those that are measured are asked for like anybody would. Lateness is from due
//! until a subscriber has the event in hand: the commit and the push are part of it.

use std::time::Duration;

use db::{Database, ScheduleWish, WriterOptions};
use futures::stream::{StreamExt, TryStreamExt};
use hub::Clock;
use proto::{Data, Domain, EventName, HubId, NewEvent, Pid, Position, ServiceName, Timestamp};
use serde::{Deserialize, Serialize};
use spoke::{EventStream, Spoke, Subscription, Told};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::hub_process::HubProcess;
use super::latency::Latencies;
use crate::failure::{Failure, Outcome};
use crate::output::Shown;

/// Schedules that are asked for at a time.
const ASKED_AT_ONCE: usize = 512;

/// Events of the burst, and how long it lasts.
const BURST: usize = 10_000;
const BURST_SECONDS: u64 = 10;

/// How much later than when it is asked for the first of a load is due.
const LEAD: Duration = Duration::from_secs(5);

/// How often a hub has read what is due, on its page of metrics.
const READS: &str = "eventflow_schedule_reads_total";

/// How long the last event of a load may take after it was due.
const LAST_WITHIN: Duration = Duration::from_secs(120);

/// Where it is measured, and how.
pub(super) struct Plan<'a> {
    pub(super) pending: u64,
    pub(super) rate: u32,
    pub(super) lasting: Duration,
    pub(super) database: String,
    pub(super) folder: &'a std::path::Path,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    engine: String,
    version: String,
    optimised: bool,
    pending: u64,
    fill_seconds: f64,
    /// Memory of the hub when it had done nothing but wait, and the most that it ever had.
    idle_memory_mib: f64,
    peak_memory_mib: f64,
    idle_seconds: f64,
    /// How often the tables were read for what is due; each is at most two queries.
    idle_reads: f64,
    idle_queries_per_minute_at_most: f64,
    burst: usize,
    burst_seconds: u64,
    burst_lateness: Latencies,
    rate: u32,
    rate_seconds: f64,
    rate_lateness: Latencies,
}

impl Shown for Found {
    fn for_people(&self) -> String {
        let lateness = |lateness: &Latencies| {
            format!(
                "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                lateness.p50_ms, lateness.p99_ms, lateness.max_ms
            )
        };
        let mut text = format!(
            "schedules       {} pending on {} {}, filled in {:.1} s\n\
             hub memory      {:.0} MiB while nothing is due, {:.0} MiB at most\n\
             idle queries    at most {:.1} a minute ({:.0} reads in {:.0} s)\n\
             burst           {} due within {} s, all fired; late {}\n\
             steady          {} a second for {:.0} s; late {}",
            self.pending,
            self.engine,
            self.version,
            self.fill_seconds,
            self.idle_memory_mib,
            self.peak_memory_mib,
            self.idle_queries_per_minute_at_most,
            self.idle_reads,
            self.idle_seconds,
            self.burst,
            self.burst_seconds,
            lateness(&self.burst_lateness),
            self.rate,
            self.rate_seconds,
            lateness(&self.rate_lateness),
        );
        if !self.optimised {
            text.push_str("\nThis program was built without optimisation: its figures mean nothing.");
        }
        text
    }
}

/// Measures.
pub(super) async fn measure(plan: &Plan<'_>, doing: impl Fn(String)) -> Outcome<Found> {
    let url = db::DatabaseUrl::parse(&plan.database).map_err(Failure::configuration)?;
    let clock = Clock::system();
    doing(format!("filling in {} schedules", plan.pending));
    let database = Database::open(&url).await?;
    let engine = database.engine().clone();
    let began = clock.now();
    fill(&database, plan.pending, began).await?;
    database.close().await;
    let fill_seconds = clock.now().since(began).as_secs_f64();

    let hub = HubProcess::start(plan.folder, &plan.database, &[]).await?;
    doing(format!("waiting {:?} while nothing is due", plan.lasting));
    let before = hub.metric(READS).await?;
    sleep(plan.lasting).await;
    let idle_reads = hub.metric(READS).await? - before;
    let idle_memory_mib = hub.memory_mib("VmRSS:");

    let publisher = Spoke::connect(hub.options("bench-scheduler")?).await?;
    let reader = Spoke::connect(hub.options("bench-reader")?).await?;
    doing(format!("{BURST} within {BURST_SECONDS} s"));
    let gap = Duration::from_secs(BURST_SECONDS) / u32::try_from(BURST).unwrap_or(u32::MAX);
    let burst_lateness = load(&publisher, &reader, clock, "bench-burst", BURST, gap).await?;
    doing(format!("{} a second", plan.rate));
    let count = (f64::from(plan.rate) * plan.lasting.as_secs_f64()).max(1.0).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and at least 1")]
    let count = count as usize;
    let gap = Duration::from_secs(1) / plan.rate;
    let rate_lateness = load(&publisher, &reader, clock, "bench-steady", count, gap).await?;
    let peak_memory_mib = hub.memory_mib("VmHWM:");
    hub.stop().await;
    let idle_seconds = plan.lasting.as_secs_f64();
    Ok(Found {
        engine: engine.engine.to_string(),
        version: engine.version,
        optimised: !cfg!(debug_assertions),
        pending: plan.pending,
        fill_seconds,
        idle_memory_mib,
        peak_memory_mib,
        idle_seconds,
        idle_reads,
        idle_queries_per_minute_at_most: idle_reads * 2.0 * 60.0 / idle_seconds,
        burst: BURST,
        burst_seconds: BURST_SECONDS,
        burst_lateness,
        rate: plan.rate,
        rate_seconds: idle_seconds,
        rate_lateness,
    })
}

/// Puts schedules into the tables that are due in two hours to a month.
async fn fill(database: &Database, pending: u64, now: Timestamp) -> Outcome {
    let (hub, stop) = (HubId::parse("bench.filler").map_err(Failure::failed)?, CancellationToken::new());
    let (writer, commits, tasks) = database.writer(WriterOptions { hub, stop: stop.clone() }).await?;
    // Nobody fires anything here.
    drop(commits);
    let mut writing = JoinSet::new();
    writing.spawn(tasks.run());
    let (first, last) = (Duration::from_secs(2 * 3_600), Duration::from_secs(30 * 86_400));
    let domain = Domain::parse("bench-waiting").map_err(Failure::failed)?;
    let name = EventName::parse("reminded").map_err(Failure::failed)?;
    let publisher = ServiceName::parse("bench").map_err(Failure::failed)?;
    let wishes = futures::stream::iter(0..pending).map(|n| {
        let ahead = first + (last - first).mul_f64(n as f64 / pending as f64);
        let (writer, domain, name) = (writer.clone(), domain.clone(), name.clone());
        let (publisher, due) = (publisher.clone(), now.plus(ahead));
        async move {
            let pid = Pid::parse(&format!("p{n}")).map_err(Failure::failed)?;
            let event = NewEvent::new(spoke::generate_id(), domain, pid, name);
            let wish = ScheduleWish { event, publisher, due, key: None, now };
            writer.schedule(wish).await.map_err(Failure::failed)
        }
    });
    let outcome = wishes.buffer_unordered(2 * ASKED_AT_ONCE).try_for_each(async |_| Ok(())).await;
    stop.cancel();
    while writing.join_next().await.is_some() {}
    outcome
}

/// What an event of a load says.
#[derive(Serialize, Deserialize)]
struct Load {
    /// When it was due, in milliseconds since 1970.
    due: i64,
}

/// Schedules `count` events, `gap` apart, and tells how late each came.
async fn load(
    publisher: &Spoke,
    reader: &Spoke,
    clock: Clock,
    domain: &str,
    count: usize,
    gap: Duration,
) -> Outcome<Latencies> {
    let domain = Domain::parse(domain).map_err(Failure::failed)?;
    let name = EventName::parse("reminded").map_err(Failure::failed)?;
    let told = reader.subscribe(Subscription::topic(domain.clone())).await;
    let told = told.map_err(Failure::failed)?;
    let lead = LEAD + Duration::from_secs(1).mul_f64(count as f64 / 2_000.0);
    let first = clock.now().plus(lead);
    let wishes = futures::stream::iter(0..count).map(|n| {
        let (domain, name) = (domain.clone(), name.clone());
        async move {
            let due = first.plus(gap.mul_f64(n as f64));
            let pid = Pid::parse(&format!("p{n}")).map_err(Failure::failed)?;
            let mut event = NewEvent::new(spoke::generate_id(), domain, pid, name);
            let data = serde_json::to_vec(&Load { due: due.millis() }).map_err(Failure::failed)?;
            event.data = Data::parse(data).map_err(Failure::failed)?;
            publisher.schedule(due, event).await.map_err(Failure::from)
        }
    });
    let asking = wishes.buffer_unordered(ASKED_AT_ONCE).try_for_each(async |_| Ok(()));
    let last_within = lead + gap.mul_f64(count as f64) + LAST_WITHIN;
    let arriving = timeout(last_within, arrivals(told, clock, count));
    let (asked, arrived) = futures::future::join(asking, arriving).await;
    asked?;
    let late = arrived.map_err(|_| {
        Failure::failed(format_args!("not all of {count} schedules were fired within {last_within:?}"))
    })??;
    Latencies::of(late)
}

/// How late each of `count` events comes.
async fn arrivals(mut told: EventStream, clock: Clock, count: usize) -> Outcome<Vec<Duration>> {
    let mut late = Vec::with_capacity(count);
    while late.len() < count {
        match told.next().await {
            Some(Ok(Told::Event(event))) => {
                let load: Load = event.data.to().map_err(Failure::failed)?;
                let due = Timestamp::from_millis(load.due).map_err(Failure::failed)?;
                late.push(clock.now().since(due));
            }
            Some(Ok(Told::Lagged { .. } | Told::CaughtUp { .. })) => {}
            Some(Err(error)) => return Err(Failure::failed(error)),
            None => return Err(Failure::failed("the subscription has ended")),
        }
    }
    Ok(late)
}

/// A database that must have no events yet.
pub(super) async fn check_empty(database: &Database, name: &str) -> Outcome {
    match database.reader().head().await.map_err(Failure::failed)?.position {
        Position(0) => Ok(()),
        events => Err(Failure::failed(format_args!(
            "{name} has {events} events; name a database without any: if it is missing, it is made"
        ))),
    }
}
