//! A crowd at the door of a hub, in a process of its own: `eventflow bench-crowd`, which `bench` starts.
//!
//! Crowds come from other machines. Here they share one, so this one has a single thread, which gives way
//! to everybody who wants a processor: what it costs a hub is then what its door costs, as far as two
//! processors can tell the one from the other. The crowd goes when its standard input is closed, so none
//! is left behind, and says what became of it.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::{Args, ValueEnum};
use proto::ServiceName;
use rustix::process::{setpriority_process, setsid};
use serde::{Deserialize, Serialize};
use spoke::{Spoke, SpokeOptions};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::handshakes::in_memory;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::place::Place;

/// Connections that shake hands in each second, and connections that hang half-open.
pub(super) const CROWD: u32 = 500;

/// Whom all of a crowd are: it is shaking hands that is measured, not enrolment.
pub(super) const SERVICE: &str = "bench-crowd";

/// The priority of a crowd: the least that there is.
const NICENESS: i32 = 19;

/// How long somebody whom the hub has closed waits before hanging about again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// How a crowd behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Manner {
    /// All of a second come in the same moment.
    Burst,
    /// They come evenly.
    Spread,
    /// None comes: two threads in place of hub and crowd shake hands in memory, as often as in a burst.
    Elsewhere,
}

/// What `bench` tells its crowd.
#[derive(Debug, Args)]
pub(crate) struct CrowdArgs {
    #[arg(long, value_name = "HOW")]
    manner: Manner,
    #[arg(long, value_name = "HOST:PORT")]
    door: SocketAddr,
}

/// What became of a crowd.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// Spokes that were welcome.
    pub(super) welcomed: u64,
    /// Spokes that were not.
    pub(super) turned_away: u64,
    /// Half-open connections that the hub closed and that came again.
    pub(super) half_open_again: u64,
    /// Processor time that it used, in seconds.
    pub(super) processor_seconds: f64,
}

impl Shown for Told {
    fn for_people(&self) -> String {
        format!("{self:?}")
    }
}

/// A crowd as `bench` holds it. Dropping it ends it.
pub(super) struct Crowd {
    child: Child,
}

impl Crowd {
    /// Sends a crowd to the hub at `door` whose data folder is `data`.
    pub(super) fn gather(manner: Manner, door: &str, data: &Path) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let manner = manner.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
        let child = Command::new(program)
            .args(["bench-crowd", "--json", "--manner", &manner, "--door", door])
            .env("EVENTFLOW_DATA", data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::failed(format_args!("the crowd cannot be started: {error}")))?;
        Ok(Self { child })
    }

    /// Ends it and tells what became of it.
    pub(super) async fn disperse(mut self) -> Outcome<Told> {
        drop(self.child.stdin.take());
        let ended = self.child.wait_with_output().await.map_err(Failure::failed)?;
        serde_json::from_slice(&ended.stdout)
            .map_err(|error| Failure::failed(format_args!("the crowd broke off, {}: {error}", ended.status)))
    }
}

/// Is a crowd until standard input is closed.
pub(crate) async fn run(args: CrowdArgs, place: &Place, output: &mut Output) -> Outcome {
    let service = ServiceName::parse(SERVICE).map_err(Failure::failed)?;
    let options = SpokeOptions::new(service, place.data()?).hub(args.door.to_string());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let waited = tokio::task::spawn_blocking(move || {
        // A thread of its own, because on Linux a priority is a thread's and its children's.
        let crowd = std::thread::spawn(move || gathered(&args, &options, &stopped));
        // Nothing comes; it ends when `bench` closes it, or is gone.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        stop.cancel();
        crowd.join()
    });
    let told = waited.await.map_err(Failure::failed)?;
    output.show(&told.map_err(|_| Failure::failed("the crowd panicked"))??)
}

/// All of a crowd, on this thread.
fn gathered(args: &CrowdArgs, options: &SpokeOptions, stop: &CancellationToken) -> Outcome<Told> {
    give_way()?;
    // Spokes read their files on threads for that, of which there would be one for each of the crowd: all
    // of them together give way to nobody.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).enable_all().build();
    let runtime = runtime.map_err(Failure::failed)?;
    let mut all = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        match args.manner {
            Manner::Elsewhere => {
                tasks.spawn(work(stop.clone()));
            }
            Manner::Burst | Manner::Spread => {
                for _ in 0..CROWD {
                    tasks.spawn(hang_about(args.door, stop.clone()));
                }
                tasks.spawn(shake_hands(options.clone(), args.manner, stop.clone()));
            }
        }
        let mut all = Told::default();
        while let Some(told) = tasks.join_next().await {
            let told = told.map_err(Failure::failed)??;
            all.welcomed += told.welcomed;
            all.turned_away += told.turned_away;
            all.half_open_again += told.half_open_again;
        }
        Ok::<_, Failure>(all)
    })?;
    all.processor_seconds = super::process::processor_seconds();
    Ok(all)
}

/// Takes the lowest priority, for this thread and those that it starts.
fn give_way() -> Outcome {
    setpriority_process(None, NICENESS).map_err(Failure::failed)?;
    // Linux may share the processors out among sessions first, so it takes one of its own with as little
    // weight. Whoever leads one already stays there; and where sessions do not count there is no file.
    let _ = setsid();
    let _ = std::fs::write("/proc/self/autogroup", NICENESS.to_string());
    Ok(())
}

/// A connection that never says a word; when the hub closes it, another one.
async fn hang_about(door: SocketAddr, stop: CancellationToken) -> Outcome<Told> {
    let mut told = Told::default();
    let hang = async {
        loop {
            if let Ok(mut stream) = TcpStream::connect(door).await {
                // Nothing comes; it ends when the hub closes.
                let _ = stream.read(&mut [0; 16]).await;
                told.half_open_again += 1;
            }
            sleep(AGAIN_AFTER).await;
        }
    };
    let _ = stop.run_until_cancelled(hang).await;
    Ok(told)
}

/// In each second as many spokes as the crowd has connect and leave again.
async fn shake_hands(options: SpokeOptions, manner: Manner, stop: CancellationToken) -> Outcome<Told> {
    let (every, at_once) = match manner {
        Manner::Spread => (Duration::from_secs(1) / CROWD, 1),
        Manner::Burst | Manner::Elsewhere => (Duration::from_secs(1), CROWD),
    };
    let mut moments = interval(every);
    // A crowd that comes too late does not come twice as fast.
    moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut spokes) = (Told::default(), JoinSet::new());
    while stop.run_until_cancelled(moments.tick()).await.is_some() {
        for _ in 0..at_once {
            let options = options.clone();
            spokes.spawn(async move { Spoke::connect(options).await.is_ok() });
        }
        // The next come when there is room: never more than the crowd has.
        while spokes.len() > (CROWD - at_once) as usize {
            told.count(spokes.join_next().await);
        }
    }
    while !spokes.is_empty() {
        told.count(spokes.join_next().await);
    }
    Ok(told)
}

impl Told {
    fn count(&mut self, welcome: Option<Result<bool, JoinError>>) {
        match welcome {
            Some(Ok(true)) => self.welcomed += 1,
            Some(Ok(false) | Err(_)) | None => self.turned_away += 1,
        }
    }
}

/// In each second as many handshakes as a burst has, by two threads that each do both ends of a half of
/// them: what the processors have to do with hub and crowd, without a hub.
async fn work(stop: CancellationToken) -> Outcome<Told> {
    let mut seconds = interval(Duration::from_secs(1));
    while stop.run_until_cancelled(seconds.tick()).await.is_some() {
        let other = tokio::task::spawn_blocking(|| in_memory(CROWD / 2));
        in_memory(CROWD / 2)?;
        other.await.map_err(Failure::failed)??;
    }
    Ok(Told::default())
}
