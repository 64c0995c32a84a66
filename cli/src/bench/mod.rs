//! `bench`: how fast the hub is on a database, measured against what that database can do.
//!
//! One run measures everything, because figures of different minutes cannot be compared: in each
//! round a hub is published to and consumed from, then the same rows go straight into a database
//! beside, which so grows as the log does. At the end come the latencies. Hub
//! and clients share the machine and talk over TLS, as they do elsewhere.

mod ceiling;
mod commits;
pub(crate) mod crowd;
mod handshakes;
mod hub_process;
mod latency;
mod load;
mod process;
mod report;
mod schedules;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use db::{Database, DatabaseUrl};
use hub::HubConfig;
use indicatif::ProgressBar;
use tokio::time::Instant;

use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::own_hub::OwnHub;
use crate::parse;
use crate::place::Place;
use crate::progress;

use commits::Commits;
use latency::Poison;
use load::{Group, MEMBERS, Maker, Names, PUBLISHERS};
use report::{Rate, Report};

/// What to measure.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    /// Events of one round, published once and once more to be consumed
    #[arg(long, value_name = "N", default_value = "100000", value_parser = clap::value_parser!(u64).range(1_000..))]
    events: u64,
    /// Rounds; the median counts
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Bytes of data of each event
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(9..100_000))]
    data_bytes: u32,
    /// How the names of the 10,000 processes sort that are going on
    #[arg(long, value_name = "HOW", default_value = "scattered")]
    names: Names,
    /// Events a second for the end-to-end latency
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long that rate is kept up
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse::seconds)]
    lasting: Duration,
    /// Measure schedules in place of all that: with N of them pending, what the hub costs while nothing is
    /// due, and how late it fires 10,000 within 10 s and --rate a second
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    schedules: Option<u64>,
    /// Measure handshakes in place of all that: how many one processor does, and what 500 new connections a
    /// second beside 500 half-open ones cost a spoke that publishes --rate events a second
    #[arg(long, conflicts_with = "schedules")]
    handshakes: bool,
}

const AFTER_HELP: &str = "\
Without --database it makes an SQLite file in the data folder and removes it in the end. A database \
that --database names must have no events; if it is missing, it is made, and so is the one for the raw \
ceiling, with _ceiling after the name. They keep the events of the benchmark: drop them afterwards.";

/// Where it is measured.
struct Bench {
    args: BenchArgs,
    folder: tempfile::TempDir,
    url: DatabaseUrl,
    progress: ProgressBar,
}

/// What the rounds found, each as (events a second, processor seconds for 100,000 events).
#[derive(Default)]
struct Rounds {
    publish: Vec<(f64, f64)>,
    cycle: Vec<(f64, f64)>,
    ceiling: Vec<(f64, f64)>,
    ceiling_outcomes: Vec<(f64, f64)>,
    batches: Vec<f64>,
    cycle_batches: Vec<f64>,
}

impl Rounds {
    /// Each round, which makes the log longer by two times `events`.
    fn by_round(&self, events: u64) -> Vec<report::Round> {
        let mut by_round = Vec::new();
        for ((ceiling, publish), cycle) in self.ceiling.iter().zip(&self.publish).zip(&self.cycle) {
            by_round.push(report::Round {
                log_events: by_round.len() as u64 * 2 * events,
                ceiling_per_second: ceiling.0,
                publish_per_second: publish.0,
                publish_cpu_seconds_per_100k: publish.1,
                cycle_per_second: cycle.0,
                cycle_cpu_seconds_per_100k: cycle.1,
            });
        }
        by_round
    }
}

/// Measures and reports.
pub(crate) async fn run(args: BenchArgs, place: &Place, output: &mut Output) -> Outcome {
    let folder = scratch(&place.data()?)?;
    let url = match &place.database {
        Some(_) => place.database()?,
        None => DatabaseUrl::sqlite(&folder.path().join("eventflow.db")),
    };
    let database = Database::open(&url).await?;
    database.migrate().await?;
    schedules::check_empty(&database, &url.to_string()).await?;
    database.close().await;
    // What a hub in a process of its own is told.
    let database = match &place.database {
        Some(url) => url.clone(),
        None => format!("sqlite:{}", folder.path().join("eventflow.db").display()),
    };
    if let Some(pending) = args.schedules {
        let (rate, lasting) = (args.rate, args.lasting);
        let plan = schedules::Plan { pending, rate, lasting, database, folder: folder.path() };
        let progress = progress::bar(None);
        progress.enable_steady_tick(Duration::from_millis(200));
        let found = schedules::measure(&plan, |what| progress.set_message(what)).await;
        progress.finish_and_clear();
        return output.show(&found?);
    }
    if args.handshakes {
        let (rate, lasting, rounds) = (args.rate, args.lasting, args.rounds);
        let plan = handshakes::Plan { rate, lasting, rounds, database, folder: folder.path() };
        let progress = progress::bar(None);
        progress.enable_steady_tick(Duration::from_millis(200));
        let found = handshakes::measure(&plan, |what| progress.set_message(what)).await;
        progress.finish_and_clear();
        return output.show(&found?);
    }
    let beside = Database::open(&url.beside("_ceiling")).await?;
    beside.migrate().await?;
    let progress = progress::bar(None);
    progress.enable_steady_tick(Duration::from_millis(200));
    let bench = Bench { args, folder, url, progress };
    let mut ceiling = beside.ceiling().await?;
    let report = bench.measure(&mut ceiling).await;
    ceiling.close().await;
    beside.close().await;
    bench.progress.finish_and_clear();
    output.show(&report?)
}

/// A folder beside the data, on the same disk, that is gone afterwards.
fn scratch(data: &Path) -> Outcome<tempfile::TempDir> {
    let unmade = |error: std::io::Error| {
        Failure::configuration(format_args!(
            "no folder can be made in {}: {error}; name another data folder with --data",
            data.display()
        ))
    };
    std::fs::create_dir_all(data).map_err(unmade)?;
    tempfile::Builder::new().prefix("bench-").tempdir_in(data).map_err(unmade)
}

impl Bench {
    async fn measure(&self, ceiling: &mut db::Ceiling) -> Outcome<Report> {
        let mut rounds = Rounds::default();
        let others = Others::start();
        process::forget_peak();
        let hub = self.hub().await?;
        for round in 1..=self.args.rounds {
            self.round(round, &hub, &mut rounds, ceiling).await?;
        }
        hub.stop().await?;
        let peak_memory_mib = process::peak_memory_mib();
        let database = Database::open(&self.url).await?;
        self.doing("bare commits".to_owned());
        let bare_commit = ceiling::bare_commits(ceiling, self.args.rate).await?;
        let log_events = database.reader().head().await.map_err(Failure::failed)?.position.0;
        let engine = database.engine().clone();
        database.close().await;
        let latency = self.latency("bench-latency", Poison::None).await?;
        let beside_poison = self.latency("bench-poison", Poison::OneInHundred).await?;

        let (publish, cycle) = (Rate::of(&rounds.publish), Rate::of(&rounds.cycle));
        let ceiling = Rate::of(&rounds.ceiling);
        let ceiling_outcomes = Rate::of(&rounds.ceiling_outcomes);
        Ok(Report {
            engine: engine.engine.to_string(),
            version: engine.version.clone(),
            settings: engine.settings.into_iter().map(|(name, value)| (name, value.into())).collect(),
            optimised: !cfg!(debug_assertions),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            processors_of_others: others.processors(),
            data_bytes: self.data_bytes(),
            names: self.args.names.to_string(),
            events: self.args.events,
            rounds: self.args.rounds,
            publishers: PUBLISHERS,
            in_flight: load::IN_FLIGHT,
            members: MEMBERS,
            batch_events: report::median(&rounds.batches),
            cycle_batch_events: report::median(&rounds.cycle_batches),
            publish_of_ceiling: publish.per_second / ceiling.per_second,
            cycle_of_ceiling: cycle.per_second / ceiling.per_second,
            cycle_of_ceiling_outcomes: cycle.per_second / ceiling_outcomes.per_second,
            ceiling,
            ceiling_outcomes,
            publish,
            cycle,
            peak_memory_mib,
            p50_in_bare_commits: latency.p50_ms / bare_commit.p50_ms,
            p99_in_bare_commits: latency.p99_ms / bare_commit.p50_ms,
            bare_commit,
            rate: self.args.rate,
            beside_poison_of_clean: beside_poison.p99_ms / latency.p99_ms,
            latency,
            beside_poison,
            log_events,
            by_round: rounds.by_round(self.args.events),
        })
    }

    /// Publishes, consumes, then inserts the same without a hub.
    async fn round(
        &self,
        round: u32,
        hub: &OwnHub,
        rounds: &mut Rounds,
        ceiling: &mut db::Ceiling,
    ) -> Outcome {
        let events = self.args.events;
        let publishers = load::connect(hub, "bench-publisher", PUBLISHERS).await?;
        let before = self.commits(hub).await?;

        self.doing(format!("round {round}: publishing"));
        let made = u64::from(round - 1) * events;
        let maker = Maker::new("bench", self.args.names, self.data_bytes())?.after(made);
        let used = process::processor_seconds();
        let taken = load::publish(&publishers, &maker, events).await?;
        rounds.publish.push(rate(events, taken, process::processor_seconds() - used));
        let between = self.commits(hub).await?;
        let batch = between.mean_since(before);
        rounds.batches.push(batch);

        self.doing(format!("round {round}: publishing and consuming"));
        let members = load::connect(hub, "bench-member", MEMBERS).await?;
        let cycled = Maker::new("bench-cycle", self.args.names, self.data_bytes())?.after(made);
        let group = Group::join(&members, "bench-member", cycled.domain()).await?;
        let (start, used) = (Instant::now(), process::processor_seconds());
        load::publish(&publishers, &cycled, events).await?;
        group.settled(events).await?;
        rounds.cycle.push(rate(events, start.elapsed(), process::processor_seconds() - used));
        rounds.cycle_batches.push(self.commits(hub).await?.mean_since(between));
        group.leave().await?;
        for spoke in publishers.into_iter().chain(members) {
            spoke.close().await.map_err(Failure::failed)?;
        }

        self.doing(format!("round {round}: the same without a hub"));
        let used = process::processor_seconds();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a batch has at most some thousand"
        )]
        let batch = batch.round() as u64;
        let taken = ceiling::insert(ceiling, &maker, events, batch, false).await?;
        rounds.ceiling.push(rate(events, taken, process::processor_seconds() - used));
        let used = process::processor_seconds();
        let taken = ceiling::insert(ceiling, &cycled, events, batch, true).await?;
        rounds.ceiling_outcomes.push(rate(events, taken, process::processor_seconds() - used));
        Ok(())
    }

    async fn latency(&self, domain: &str, poison: Poison) -> Outcome<latency::Latencies> {
        self.doing(format!("{} events a second, poison: {poison:?}", self.args.rate));
        let hub = self.hub().await?;
        let (publisher, member) = (hub.connect("bench-publisher").await?, hub.connect("bench-member").await?);
        let maker = Maker::new(domain, self.args.names, self.data_bytes())?;
        let latency =
            latency::measure(&publisher, &member, &maker, self.args.rate, self.args.lasting, poison).await?;
        hub.stop().await?;
        Ok(latency)
    }

    /// A hub of this bench on its database.
    async fn hub(&self) -> Outcome<OwnHub> {
        OwnHub::start(HubConfig {
            database: self.url.clone(),
            listen: "127.0.0.1:0".to_owned(),
            health: Some("127.0.0.1:0".to_owned()),
            ..HubConfig::new(PathBuf::from(self.folder.path()))
        })
        .await
    }

    async fn commits(&self, hub: &OwnHub) -> Outcome<Commits> {
        let address = hub.health().ok_or_else(|| Failure::failed("the hub serves no metrics"))?;
        Commits::of(address).await
    }

    fn data_bytes(&self) -> usize {
        self.args.data_bytes as usize
    }

    fn doing(&self, what: String) {
        self.progress.set_message(what);
    }
}

/// What else the machine has to do, from when it is made.
struct Others {
    since: Instant,
    machine: f64,
    own: f64,
}

impl Others {
    fn start() -> Self {
        let (machine, own) = (process::machine_seconds(), process::processor_seconds());
        Self { since: Instant::now(), machine, own }
    }

    /// Processors that others have used since, on average.
    fn processors(&self) -> f64 {
        let machine = process::machine_seconds() - self.machine;
        let own = process::processor_seconds() - self.own;
        (machine - own).max(0.0) / self.since.elapsed().as_secs_f64()
    }
}

/// Events a second, and processor seconds for 100,000 events.
fn rate(events: u64, taken: Duration, used: f64) -> (f64, f64) {
    let events = events as f64;
    (events / taken.as_secs_f64(), used * 100_000.0 / events)
}
