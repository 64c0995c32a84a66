//! Handshakes: how many one processor does, and what a crowd at the door costs those who are inside.
//!
//! The first is both ends in memory, without sockets: the same certificates, the same settings as a hub
//! and a spoke. The second is a hub with a spoke that publishes at a fixed rate, alone and then while in
//! each second many others connect and many hang about without a word. All of them share the machine.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::tls::{self, HubCertificate};
use certs::{CertificateDer, IssuerKind, LEAF_LIFETIME};
use db::DatabaseUrl;
use hub::{Clock, ConnectionLimits, HubConfig};
use proto::{HubId, ServiceName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use serde::Serialize;
use spoke::Spoke;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::latency::Latencies;
use super::load::{Maker, Names};
use crate::failure::{Failure, Outcome};
use crate::output::Shown;
use crate::own_hub::OwnHub;

/// Connections that shake hands in each second of the crowd, and connections that hang half-open.
const CROWD: usize = 500;

/// Handshakes in memory.
const HANDSHAKES: u32 = 2_000;

/// Answers that the publisher may wait for at a time.
const UNANSWERED_MAX: usize = 4_096;

/// What is measured, and where.
pub(super) struct Plan<'a> {
    pub(super) rate: u32,
    pub(super) lasting: Duration,
    pub(super) database: DatabaseUrl,
    pub(super) folder: &'a std::path::Path,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    optimised: bool,
    /// By one processor that does both ends.
    handshakes_per_second: f64,
    /// By one processor that does the hub's end alone.
    hub_handshakes_per_second: f64,
    rate: u32,
    seconds: f64,
    clean: Latencies,
    crowd: usize,
    beside_crowd: Latencies,
    beside_crowd_of_clean: f64,
    /// Spokes of the crowd that were welcome, in all.
    welcomed: u64,
    /// Spokes of the crowd that were not, in all.
    turned_away: u64,
    /// Half-open connections that the hub closed and that came again.
    half_open_again: u64,
}

impl Shown for Found {
    fn for_people(&self) -> String {
        let latency = |latency: &Latencies| {
            format!(
                "p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
                latency.p50_ms, latency.p99_ms, latency.max_ms
            )
        };
        let mut text = format!(
            "handshakes      {:.0} a second by one processor for both ends, {:.0} for the hub's alone\n\
             publish         {} a second for {:.0} s, alone: {}\n\
             beside a crowd  {} new spokes each second and {} half-open connections: {}\n                \
             p99 {:.2} of the clean one; {} spokes were welcome, {} not; {} half-open ones closed",
            self.handshakes_per_second,
            self.hub_handshakes_per_second,
            self.rate,
            self.seconds,
            latency(&self.clean),
            self.crowd,
            self.crowd,
            latency(&self.beside_crowd),
            self.beside_crowd_of_clean,
            self.welcomed,
            self.turned_away,
            self.half_open_again,
        );
        if !self.optimised {
            text.push_str("\nThis program was built without optimisation: its figures mean nothing.");
        }
        text
    }
}

/// Measures.
pub(super) async fn measure(plan: &Plan<'_>, doing: impl Fn(String)) -> Outcome<Found> {
    doing(format!("{HANDSHAKES} handshakes in memory"));
    let (both, hub_alone) = tokio::task::spawn_blocking(in_memory).await.map_err(Failure::failed)??;
    let hub = start(plan).await?;
    let publisher = hub.connect("bench-publisher").await?;
    let maker = Maker::new("bench-handshakes", Names::Scattered, 200)?;
    doing(format!("{} events a second, alone", plan.rate));
    let clean = publish(&publisher, &maker, plan).await?;
    doing(format!("the same beside {CROWD} handshakes a second and {CROWD} half-open connections"));
    let crowd = Crowd::gather(&hub)?;
    let beside = publish(&publisher, &maker.after(1 << 20), plan).await?;
    let crowd = crowd.disperse().await;
    hub.stop().await?;
    let per_second = |taken: Duration| f64::from(HANDSHAKES) / taken.as_secs_f64();
    Ok(Found {
        optimised: !cfg!(debug_assertions),
        handshakes_per_second: per_second(both),
        hub_handshakes_per_second: per_second(hub_alone),
        rate: plan.rate,
        seconds: plan.lasting.as_secs_f64(),
        clean,
        crowd: CROWD,
        beside_crowd_of_clean: beside.p99_ms / clean.p99_ms,
        beside_crowd: beside,
        welcomed: crowd.welcomed,
        turned_away: crowd.turned_away,
        half_open_again: crowd.half_open_again,
    })
}

/// A hub that lets the whole crowd in: turning it away would be cheaper.
async fn start(plan: &Plan<'_>) -> Outcome<OwnHub> {
    let limits = ConnectionLimits {
        unauthenticated_max: 3 * CROWD,
        unauthenticated_per_address_max: 2 * CROWD,
        ..ConnectionLimits::default()
    };
    OwnHub::start(HubConfig {
        database: plan.database.clone(),
        listen: "127.0.0.1:0".to_owned(),
        health: None,
        limits,
        ..HubConfig::new(PathBuf::from(plan.folder))
    })
    .await
}

/// How long [`HANDSHAKES`] full handshakes take one processor, and the hub's end of them.
fn in_memory() -> Outcome<(Duration, Duration)> {
    let (server, client) = settings()?;
    let (start, mut hub_alone) = (Instant::now(), Duration::ZERO);
    for _ in 0..HANDSHAKES {
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

/// Publishes at the plan's rate, and tells how long each event took from when it was due to its answer.
async fn publish(spoke: &Spoke, maker: &Maker, plan: &Plan<'_>) -> Outcome<Latencies> {
    let gap = Duration::from_secs(1) / plan.rate;
    let start = Instant::now() + gap;
    let (told, mut answers) = mpsc::channel::<Outcome<Duration>>(UNANSWERED_MAX);
    let mut publishing = JoinSet::new();
    let mut taken = Vec::new();
    for number in 0_u32.. {
        let due = start + gap.mul_f64(f64::from(number));
        if due >= start + plan.lasting {
            break;
        }
        tokio::time::sleep_until(due).await;
        let (spoke, event, told) = (spoke.clone(), maker.event(u64::from(number))?, told.clone());
        publishing.spawn(async move {
            let published = spoke.publish(event).await.map_err(Failure::from);
            // Whoever has had enough does not want to know.
            let _ = told.send(published.map(|_| due.elapsed())).await;
        });
        while let Ok(answer) = answers.try_recv() {
            taken.push(answer?);
        }
        while publishing.try_join_next().is_some() {}
    }
    drop(told);
    while let Some(answer) = answers.recv().await {
        taken.push(answer?);
    }
    Latencies::of(taken)
}

/// Strangers at the door of a hub.
struct Crowd {
    stop: CancellationToken,
    tasks: JoinSet<Told>,
}

/// What became of some of them.
#[derive(Debug, Default)]
struct Told {
    welcomed: u64,
    turned_away: u64,
    half_open_again: u64,
}

impl Crowd {
    fn gather(hub: &OwnHub) -> Outcome<Self> {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..CROWD {
            tasks.spawn(hang_about(hub.address(), stop.clone()));
        }
        // One identity for all: it is shaking hands that is measured, not enrolment.
        let options = hub.options("bench-crowd")?;
        tasks.spawn(shake_hands(options, stop.clone()));
        Ok(Self { stop, tasks })
    }

    async fn disperse(mut self) -> Told {
        self.stop.cancel();
        let mut all = Told::default();
        while let Some(told) = self.tasks.join_next().await {
            let told = told.unwrap_or_default();
            all.welcomed += told.welcomed;
            all.turned_away += told.turned_away;
            all.half_open_again += told.half_open_again;
        }
        all
    }
}

/// A connection that never says a word; when the hub closes it, another one.
async fn hang_about(hub: std::net::SocketAddr, stop: CancellationToken) -> Told {
    let mut told = Told::default();
    let hang = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(hub).await {
                // Nothing comes; it ends when the hub closes.
                let _ = stream.read(&mut [0; 16]).await;
                told.half_open_again += 1;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = stop.run_until_cancelled(hang).await;
    told
}

/// In each second as many spokes as the crowd has connect and leave again.
async fn shake_hands(options: spoke::SpokeOptions, stop: CancellationToken) -> Told {
    let mut told = Told::default();
    let mut seconds = interval(Duration::from_secs(1));
    while stop.run_until_cancelled(seconds.tick()).await.is_some() {
        let mut spokes = JoinSet::new();
        for _ in 0..CROWD {
            let options = options.clone();
            spokes.spawn(async move { Spoke::connect(options).await.is_ok() });
        }
        while let Some(welcome) = spokes.join_next().await {
            match welcome.unwrap_or(false) {
                true => told.welcomed += 1,
                false => told.turned_away += 1,
            }
        }
    }
    told
}
