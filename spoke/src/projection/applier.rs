//! One build of a projection and its store: what is done there, one transaction at a time.
//!
//! The checkpoint is moved first, by compare-and-set: its row keeps a second runner out until the
//! transaction ends, so that effects are applied by one of them and never by both.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use proto::{Event, Position};

use super::error::ProjectionError;
use super::projector::{ApplyError, Projector};
use super::store::{Build, Checkpoint, ProjectionStore, Standing, Step, Switched};

/// What came of a transaction.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The effects and the checkpoint are committed.
    Committed,
    /// The checkpoint was not where it should be.
    Taken,
    /// The store failed; whether it has committed may not be known.
    Away(String),
    /// The event with this index could not be applied.
    Failed { index: usize, reason: String },
    /// The projector panicked at the event with this index.
    Panicked { index: usize, reason: String },
}

/// What the store says of the checkpoint.
#[derive(Debug)]
pub(super) enum Place {
    /// It is here.
    At(Position),
    /// Another build has taken its place.
    Retired,
    /// The store does not answer.
    Away(String),
}

/// A build, and all that it takes to apply events to it.
pub(super) struct Applier<S, P> {
    pub(super) build: Build,
    /// The log that its positions are of.
    pub(super) incarnation: u64,
    pub(super) store: S,
    pub(super) projector: P,
    /// Positions that are passed over because a person said so.
    pub(super) skips: BTreeSet<Position>,
}

impl<S: ProjectionStore, P: Projector<S::Transaction>> Applier<S, P> {
    /// Applies `events` and moves the checkpoint from `from` to `to`, in one transaction.
    pub(super) async fn apply(&mut self, from: Position, to: Position, events: &[Arc<Event>]) -> Outcome {
        let step = Step { from, to, incarnation: self.incarnation };
        let mut transaction = match self.store.begin().await {
            Ok(transaction) => transaction,
            Err(error) => return Outcome::Away(causes(&error)),
        };
        match self.store.advance(&mut transaction, &self.build, &step).await {
            Ok(true) => {}
            Ok(false) => return self.undo(transaction, Outcome::Taken).await,
            Err(error) => return self.undo(transaction, Outcome::Away(causes(&error))).await,
        }
        for (index, event) in events.iter().enumerate() {
            if self.skips.contains(&event.position) {
                if let Err(error) = self.store.skipped(&mut transaction, &self.build, event).await {
                    return self.undo(transaction, Outcome::Away(causes(&error))).await;
                }
                continue;
            }
            let (projector, generation) = (&mut self.projector, self.build.generation);
            let applying = async { projector.apply(&mut transaction, event, generation).await };
            let outcome = match AssertUnwindSafe(applying).catch_unwind().await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => Outcome::Failed { index, reason: causes(&*error) },
                Err(panic) => Outcome::Panicked { index, reason: said(&*panic) },
            };
            return self.undo(transaction, outcome).await;
        }
        match self.store.commit(transaction).await {
            Ok(()) => Outcome::Committed,
            Err(error) => Outcome::Away(causes(&error)),
        }
    }

    /// Where the checkpoint is.
    ///
    /// # Errors
    /// [`ProjectionError`] if the build cannot go on from there.
    pub(super) async fn place(&mut self) -> Result<Place, ProjectionError> {
        let build = self.build.clone();
        match self.store.checkpoint(&build).await {
            Err(error) => Ok(Place::Away(causes(&error))),
            Ok(None) => Err(ProjectionError::Gone { build }),
            Ok(Some(Checkpoint { standing: Standing::Retired, .. })) => Ok(Place::Retired),
            Ok(Some(Checkpoint { position, incarnation, .. })) if incarnation != self.incarnation => {
                Err(ProjectionError::OtherLog { build, position, kept: incarnation, found: self.incarnation })
            }
            Ok(Some(Checkpoint { position, .. })) => Ok(Place::At(position)),
        }
    }

    /// Lets this build, which is at `at`, be read in place of the one that is read now.
    ///
    /// # Errors
    /// `Err(Ok(_))` if that can never be, `Err(Err(_))` with what the store said.
    pub(super) async fn switch(
        &mut self,
        at: Position,
    ) -> Result<Switched, Result<ProjectionError, S::Error>> {
        let to = self.build.clone();
        let Some(generations) = self.store.generations(&to.name).await.map_err(Err)? else {
            return Err(Ok(ProjectionError::Gone { build: to }));
        };
        let found = generations.serving;
        if found == to.generation {
            return Ok(Switched::Done);
        }
        if found > to.generation {
            return Err(Ok(ProjectionError::Overtaken { build: to, found }));
        }
        let from = Build { name: to.name.clone(), generation: found };
        let at = Checkpoint { position: at, incarnation: self.incarnation, standing: Standing::Current };
        let mut transaction = self.store.begin().await.map_err(Err)?;
        let switched = self.store.switch(&mut transaction, &from, &to, at).await.map_err(Err)?;
        match switched {
            Switched::Done => self.store.commit(transaction).await.map_err(Err)?,
            Switched::Behind | Switched::Changed => self.store.rollback(transaction).await.map_err(Err)?,
        }
        Ok(switched)
    }

    async fn undo(&mut self, transaction: S::Transaction, outcome: Outcome) -> Outcome {
        // A transaction that cannot be rolled back is not committed either.
        let _ = self.store.rollback(transaction).await;
        outcome
    }
}

/// Makes room for the build's generation.
///
/// # Errors
/// What the projector or the store said.
pub(super) async fn open<S: ProjectionStore, P: Projector<S::Transaction>>(
    store: &mut S,
    projector: &mut P,
    build: &Build,
) -> Result<(), ApplyError> {
    let mut transaction = store.begin().await?;
    projector.open(&mut transaction, build.generation).await?;
    Ok(store.commit(transaction).await?)
}

/// An error and what caused it.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Many errors repeat their cause.
        if !reason.contains(&more) {
            reason = format!("{reason}: {more}");
        }
        cause = error.source();
    }
    reason
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".to_owned())
}
