//! How a projection starts: which build it is, that it is of the hub's log, and then its task.
//!
//! Whatever is wrong here is told to the caller at once. Afterwards the task tries again by itself.

use proto::{Position, ProjectionName};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::applier::{Applier, causes, open};
use super::error::ProjectionError;
use super::progress::Reporter;
use super::projector::Projector;
use super::source::Source;
use super::store::{Build, Checkpoint, Generation, ProjectionStore};
use super::task::{Memory, Task};
use super::{Projection, ProjectionBuilder};

/// Tries to begin a build when others begin some at the same time.
const CLAIMS_MAX: usize = 16;

/// What a projection is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To keep the build up to date that is read.
    Serve,
    /// To make one that takes its place.
    Rebuild,
}

pub(super) async fn start<S, P>(
    builder: ProjectionBuilder,
    mut store: S,
    mut projector: P,
    purpose: Purpose,
) -> Result<Projection, ProjectionError>
where
    S: ProjectionStore,
    P: Projector<S::Transaction>,
{
    let mut source = Source::new(builder.link.clone(), builder.wish());
    let incarnation = source.incarnation();
    let log = Log { incarnation, start_after: builder.start_after };
    let (build, checkpoint) = choose(&mut store, &builder.name, log, purpose).await?;
    let head = source.head().await?;
    check(&build, checkpoint, source.incarnation(), head)?;
    source.open(checkpoint.position).await?;
    // It may have been opened on another connection than that which told of the log.
    check(&build, checkpoint, source.incarnation(), head)?;
    let opened = open(&mut store, &mut projector, &build).await;
    opened.map_err(|error| ProjectionError::Open { build: build.clone(), reason: causes(&*error) })?;

    let at = checkpoint.position;
    let reporter = Reporter::new(build.generation, at, head);
    let progress = reporter.watch();
    let stop = CancellationToken::new();
    let (switches, waiting) = mpsc::channel(1);
    let span = tracing::info_span!("projection", name = %build.name, generation = %build.generation);
    let applier = Applier { build: build.clone(), incarnation, store, projector, skips: builder.skips };
    let task = Task {
        source,
        applier,
        rules: builder.rules,
        reporter,
        stop: stop.clone(),
        switches: waiting,
        at,
        through: at,
        memory: Memory::default(),
    };
    let mut running = JoinSet::new();
    running.spawn(task.run().instrument(span));
    Ok(Projection { build, task: running, stop, progress, switches })
}

/// The log that a new build is of, and where it starts there.
#[derive(Debug, Clone, Copy)]
struct Log {
    incarnation: u64,
    start_after: Position,
}

/// The build to run, begun if need be.
async fn choose<S: ProjectionStore>(
    store: &mut S,
    name: &ProjectionName,
    log: Log,
    purpose: Purpose,
) -> Result<(Build, Checkpoint), ProjectionError> {
    for _ in 0..CLAIMS_MAX {
        let failed = failed(name, "read its generations");
        let generations = store.generations(name).await.map_err(failed)?;
        let (there, next) = match (generations, purpose) {
            (None, _) => (None, Generation(1)),
            (Some(found), Purpose::Serve) => (Some(found.serving), found.newest),
            (Some(found), Purpose::Rebuild) => {
                let broken_off = (found.newest > found.serving).then_some(found.newest);
                (broken_off, Generation(found.newest.0.saturating_add(1)))
            }
        };
        if let Some(generation) = there {
            let build = Build { name: name.clone(), generation };
            let failed = self::failed(name, "read its checkpoint");
            let checkpoint = store.checkpoint(&build).await.map_err(failed)?;
            match (checkpoint, purpose) {
                (Some(checkpoint), Purpose::Serve) => return Ok((build, checkpoint)),
                (None, Purpose::Serve) => return Err(ProjectionError::Gone { build }),
                (Some(checkpoint), Purpose::Rebuild) if checkpoint.incarnation == log.incarnation => {
                    return Ok((build, checkpoint));
                }
                // It was removed, or is of another log.
                (Some(_) | None, Purpose::Rebuild) => {}
            }
        }
        // Whether or not somebody else was quicker, the next round finds what there is.
        let build = Build { name: name.clone(), generation: next };
        add(store, &build, log).await?;
    }
    let reason = "others begin generations all the time".to_owned();
    Err(ProjectionError::Store { name: name.clone(), doing: "begin a generation", reason })
}

async fn add<S: ProjectionStore>(store: &mut S, build: &Build, log: Log) -> Result<bool, ProjectionError> {
    let failed = || failed(&build.name, "begin a generation");
    let mut transaction = store.begin().await.map_err(failed())?;
    let added =
        store.add(&mut transaction, build, log.start_after, log.incarnation).await.map_err(failed())?;
    let ended = if added { store.commit(transaction).await } else { store.rollback(transaction).await };
    ended.map_err(failed()).map(|()| added)
}

/// Whether the checkpoint is of the log that is read.
fn check(build: &Build, checkpoint: Checkpoint, found: u64, head: Position) -> Result<(), ProjectionError> {
    let (build, position) = (build.clone(), checkpoint.position);
    if checkpoint.incarnation != found {
        return Err(ProjectionError::OtherLog { build, position, kept: checkpoint.incarnation, found });
    }
    if position > head {
        return Err(ProjectionError::AheadOfLog { build, position, head });
    }
    Ok(())
}

/// Forgets a build that is not read.
pub(super) async fn remove<S: ProjectionStore>(
    store: &mut S,
    build: &Build,
) -> Result<bool, ProjectionError> {
    let failed = || failed(&build.name, "remove a generation");
    let mut transaction = store.begin().await.map_err(failed())?;
    let removed = store.remove(&mut transaction, build).await.map_err(failed())?;
    store.commit(transaction).await.map_err(failed())?;
    Ok(removed)
}

fn failed<E: std::error::Error + 'static>(
    name: &ProjectionName,
    doing: &'static str,
) -> impl FnOnce(E) -> ProjectionError {
    let name = name.clone();
    move |error| ProjectionError::Store { name, doing, reason: causes(&error) }
}
