//! Handshakes: how many one processor does, and what a crowd at the door costs those who are inside.
//!
//! The first is both ends in memory, without sockets: the same certificates, the same settings as a hub
//! and a spoke. For the second a hub, a crowd and whoever publishes at a fixed rate are a process each.
//! They share the machine, so the same is measured beside a crowd that is no concern of the hub's: its
//! handshakes are done elsewhere, by as many threads. What that costs is the machine's price, not the hub's.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use certs::tls::{self, HubCertificate};
use certs::{CertificateDer, IssuerKind, LEAF_LIFETIME};
use hub::Clock;
use proto::{HubId, ServiceName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use serde::Serialize;
use spoke::Spoke;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::crowd::{self, CROWD, Crowd, Manner, Told};
use super::hub_process::HubProcess;
use super::latency::{Latencies, wait_until};
use super::load::{Maker, Names};
use crate::failure::{Failure, Outcome};
use crate::output::Shown;

/// Handshakes in memory.
const HANDSHAKES: u32 = 2_000;

/// Answers that the publisher may wait for at a time.
const UNANSWERED_MAX: usize = 4_096;

/// Settings of a hub that lets the whole crowd in: turning it away would be cheaper.
const LETS_ALL_IN: [&str; 4] = ["--unauthenticated-max", "1500", "--unauthenticated-per-address-max", "1000"];

/// What is measured, and where.
pub(super) struct Plan<'a> {
    pub(super) rate: u32,
    pub(super) lasting: Duration,
    pub(super) rounds: u32,
    pub(super) database: String,
    pub(super) folder: &'a std::path::Path,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    optimised: bool,
    processors: usize,
    /// By one processor that does both ends.
    handshakes_per_second: f64,
    /// By one processor that does the hub's end alone.
    hub_handshakes_per_second: f64,
    rate: u32,
    seconds: f64,
    /// With nobody at the door, by round.
    clean: Vec<Clean>,
    /// New spokes a second, and half-open connections.
    crowd: u32,
    /// The round of each manner that is the median by its ratio.
    beside: Vec<Beside>,
}

/// What there is to compare with.
#[derive(Debug, Clone, Copy, Serialize)]
struct Clean {
    latencies: Latencies,
    hub_processors: f64,
}

/// What a crowd cost.
#[derive(Debug, Serialize)]
struct Beside {
    manner: Manner,
    latencies: Latencies,
    /// The p99, as so many times that of the same round with nobody at the door.
    p99_of_clean: f64,
    /// The same of every round.
    p99_of_clean_by_round: Vec<f64>,
    hub_processors: f64,
    crowd_processors: f64,
    #[serde(flatten)]
    told: Told,
}

impl Shown for Found {
    fn for_people(&self) -> String {
        let mut text = format!(
            "handshakes      {:.0} a second by one processor for both ends, {:.0} for the hub's alone\n\
             publish         {} events a second for {:.0} s at a time",
            self.handshakes_per_second, self.hub_handshakes_per_second, self.rate, self.seconds,
        );
        for clean in &self.clean {
            text.push_str(&format!(
                "\nalone           {}; the hub uses {:.2} processors",
                latency(&clean.latencies),
                clean.hub_processors
            ));
        }
        for beside in &self.beside {
            text.push_str(&beside.for_people(self.crowd));
        }
        text.push_str(&format!(
            "\nHub, publisher and crowd are a process each and share {} processors; the crowd has one thread, of \
             the lowest priority.",
            self.processors
        ));
        if !self.optimised {
            text.push_str("\nThis program was built without optimisation: its figures mean nothing.");
        }
        text
    }
}

impl Beside {
    fn for_people(&self, crowd: u32) -> String {
        let head = match self.manner {
            Manner::Burst => {
                format!(
                    "beside a burst  {crowd} new spokes at once each second, {crowd} half-open connections"
                )
            }
            Manner::Spread => {
                format!(
                    "beside a crowd  {crowd} new spokes evenly each second, {crowd} half-open connections"
                )
            }
            Manner::Elsewhere => {
                format!("the machine     {crowd} handshakes at once each second, none of them with the hub")
            }
        };
        let mut text = format!(
            "\n{head}: {}\n                p99 {:.1} of that of the same round alone (by round {}); the hub uses {:.2} \
             processors, the crowd {:.2}",
            latency(&self.latencies),
            self.p99_of_clean,
            self.p99_of_clean_by_round
                .iter()
                .map(|times| format!("{times:.1}"))
                .collect::<Vec<_>>()
                .join(", "),
            self.hub_processors,
            self.crowd_processors,
        );
        if self.manner != Manner::Elsewhere {
            let Told { welcomed, turned_away, half_open_again, .. } = self.told;
            text.push_str(&format!(
                "; {welcomed} spokes were welcome, {turned_away} not; {half_open_again} half-open ones closed"
            ));
        }
        text
    }
}

fn latency(latency: &Latencies) -> String {
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms", latency.p50_ms, latency.p99_ms, latency.max_ms)
}

/// Measures.
pub(super) async fn measure(plan: &Plan<'_>, doing: impl Fn(String)) -> Outcome<Found> {
    doing(format!("{HANDSHAKES} handshakes in memory"));
    let counted = tokio::task::spawn_blocking(|| in_memory(HANDSHAKES)).await;
    let (both, hub_alone) = counted.map_err(Failure::failed)??;
    let hub = HubProcess::start(plan.folder, &plan.database, &LETS_ALL_IN).await?;
    let publisher = Spoke::connect(hub.options("bench-publisher")?).await?;
    let maker = Maker::new("bench-handshakes", Names::Scattered, 200)?;
    // The first crowd would be issued a certificate each otherwise, with a commit each.
    let enrolled = Spoke::connect(hub.options(crowd::SERVICE)?).await?;
    enrolled.close().await.map_err(Failure::failed)?;
    let mut alone = Vec::new();
    let mut crowds = [Manner::Burst, Manner::Spread, Manner::Elsewhere].map(|manner| (manner, Vec::new()));
    for round in 1..=plan.rounds {
        doing(format!("round {round}: {} events a second, alone", plan.rate));
        let (clean, clean_hub_processors) = phase(&hub, &publisher, &maker, plan).await?;
        alone.push(Clean { latencies: clean, hub_processors: clean_hub_processors });
        for (manner, rounds) in &mut crowds {
            doing(format!("round {round}: the same beside {CROWD} handshakes a second: {manner:?}"));
            let crowd = Crowd::gather(*manner, hub.address(), hub.data())?;
            let start = Instant::now();
            let (latencies, hub_processors) = phase(&hub, &publisher, &maker, plan).await?;
            let lasted = start.elapsed();
            let told = crowd.disperse().await?;
            rounds.push(Beside {
                manner: *manner,
                latencies,
                p99_of_clean: latencies.p99_ms / clean.p99_ms,
                p99_of_clean_by_round: Vec::new(),
                hub_processors,
                crowd_processors: told.processor_seconds / lasted.as_secs_f64(),
                told,
            });
        }
    }
    publisher.close().await.map_err(Failure::failed)?;
    hub.stop().await;
    let per_second = |taken: Duration| f64::from(HANDSHAKES) / taken.as_secs_f64();
    Ok(Found {
        optimised: !cfg!(debug_assertions),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        handshakes_per_second: per_second(both),
        hub_handshakes_per_second: per_second(hub_alone),
        rate: plan.rate,
        seconds: plan.lasting.as_secs_f64(),
        clean: alone,
        crowd: CROWD,
        beside: crowds.into_iter().filter_map(|(_, rounds)| median(rounds)).collect(),
    })
}

/// The round in the middle by its ratio, with the ratios of all in their order.
fn median(mut rounds: Vec<Beside>) -> Option<Beside> {
    let by_round: Vec<_> = rounds.iter().map(|beside| beside.p99_of_clean).collect();
    rounds.sort_by(|a, b| a.p99_of_clean.total_cmp(&b.p99_of_clean));
    let middle = rounds.into_iter().nth(by_round.len().saturating_sub(1) / 2)?;
    Some(Beside { p99_of_clean_by_round: by_round, ..middle })
}

/// Publishes for a while: how long it took, and how many processors the hub used.
async fn phase(
    hub: &HubProcess,
    publisher: &Spoke,
    maker: &Maker,
    plan: &Plan<'_>,
) -> Outcome<(Latencies, f64)> {
    let (start, used) = (Instant::now(), hub.processor_seconds());
    let latencies = publish(publisher, maker, plan).await?;
    Ok((latencies, (hub.processor_seconds() - used) / start.elapsed().as_secs_f64()))
}

/// Publishes at the plan's rate, and tells how long each event took from when it was due to its answer.
///
/// A thread of its own tells when an event is due: the runtime's timers would add up to a millisecond.
async fn publish(spoke: &Spoke, maker: &Maker, plan: &Plan<'_>) -> Outcome<Latencies> {
    let (gap, lasting) = (Duration::from_secs(1) / plan.rate, plan.lasting);
    let start = Instant::now() + gap;
    let (tick, mut ticks) = mpsc::channel(UNANSWERED_MAX);
    let clock = tokio::task::spawn_blocking(move || {
        let moments = (0_u64..).map(|number| (number, start + gap.mul_f64(number as f64)));
        for (number, due) in moments.take_while(|(_, due)| *due < start + lasting) {
            wait_until(due);
            if tick.blocking_send((number, due)).is_err() {
                break;
            }
        }
    });
    let mut publishing = JoinSet::<Outcome<Duration>>::new();
    let mut taken = Vec::new();
    while let Some((number, due)) = ticks.recv().await {
        let (spoke, event) = (spoke.clone(), maker.event(number)?);
        publishing.spawn(async move {
            spoke.publish(event).await?;
            Ok(due.elapsed())
        });
        while let Some(published) = publishing.try_join_next() {
            taken.push(published.map_err(Failure::failed)??);
        }
    }
    while let Some(published) = publishing.join_next().await {
        taken.push(published.map_err(Failure::failed)??);
    }
    clock.await.map_err(Failure::failed)?;
    Latencies::of(taken)
}

/// How long `count` full handshakes take one processor, and the hub's end of them.
pub(super) fn in_memory(count: u32) -> Outcome<(Duration, Duration)> {
    let (server, client) = settings()?;
    let (start, mut hub_alone) = (Instant::now(), Duration::ZERO);
    for _ in 0..count {
        let mut spoke = ClientConnection::new(client.clone(), tls::hub_name()).map_err(Failure::failed)?;
        let mut hub = ServerConnection::new(server.clone()).map_err(Failure::failed)?;
        while spoke.is_handshaking() || hub.is_handshaking() {
            let mut said = Vec::new();
            spoke.write_tls(&mut said).map_err(Failure::failed)?;
            let turn = Instant::now();
            take(&said, |bytes| hub.read_tls(bytes))?;
            hub.process_new_packets().map_err(Failure::failed)?;
            let mut answered = Vec::new();
            while hub.wants_write() {
                hub.write_tls(&mut answered).map_err(Failure::failed)?;
            }
            hub_alone += turn.elapsed();
            take(&answered, |bytes| spoke.read_tls(bytes))?;
            spoke.process_new_packets().map_err(Failure::failed)?;
        }
        // A hub that has not read the client's last flight has not looked at its certificate.
        if hub.peer_certificates().is_none_or(<[_]>::is_empty) {
            return Err(Failure::failed("the handshake ended without the spoke's certificate"));
        }
        spoke.writer().flush().map_err(Failure::failed)?;
    }
    Ok((start.elapsed(), hub_alone))
}

fn take(bytes: &[u8], mut read: impl FnMut(&mut dyn Read) -> io::Result<usize>) -> Outcome {
    let mut bytes = bytes;
    while !bytes.is_empty() {
        read(&mut bytes).map_err(Failure::failed)?;
    }
    Ok(())
}

/// The TLS settings of a hub and of a spoke, with a chain made for them.
fn settings() -> Outcome<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let now = Clock::system().now();
    let root = certs::root("bench.internal", now).map_err(Failure::failed)?;
    let issuer = |kind| certs::intermediate(&root, kind, now).map_err(Failure::failed);
    let (hubs, spokes) = (issuer(IssuerKind::Hub)?, issuer(IssuerKind::Spoke)?);
    let hub = HubId::parse("1.bench").map_err(Failure::failed)?;
    let (leaf, key) = certs::hub_leaf(&hubs, &hub, now, LEAF_LIFETIME).map_err(Failure::failed)?;
    let shown = HubCertificate::new(vec![leaf, hubs.certificate().clone()], &key).map_err(Failure::failed)?;
    let roots: [CertificateDer<'static>; 1] = [root.certificate().clone()];
    let server = tls::server_config(&roots, Arc::new(shown)).map_err(Failure::failed)?;
    let (csr, key) = certs::spoke_request().map_err(Failure::failed)?;
    let service = ServiceName::parse("bench").map_err(Failure::failed)?;
    let leaf =
        certs::spoke_leaf(&spokes, &csr, &service, "1", now, LEAF_LIFETIME).map_err(Failure::failed)?;
    let chain = vec![leaf, spokes.certificate().clone()];
    let client = tls::client_config(&roots, chain, &key).map_err(Failure::failed)?;
    Ok((Arc::new(server), Arc::new(client)))
}
