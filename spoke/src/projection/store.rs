//! Where a projection keeps its place: in the store of its effect, moved in the same transaction.
//!
//! The projection owns the rules (who may move the checkpoint from where to where, when a new build takes
//! the place of the one that is read); a store only has rows and transactions. `SqliteStore` and
//! `MySqlStore` are made of three small tables (feature `sql`); others follow this trait.

use std::fmt;

use proto::{Event, Position, ProjectionName};

/// Which build of a projection: 1, 2, 3, …; a number is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One build of one projection: what a checkpoint belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Build {
    /// The projection.
    pub name: ProjectionName,
    /// Which build of it.
    pub generation: Generation,
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "projection {} (generation {})", self.name, self.generation)
    }
}

/// Which builds of a projection there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generations {
    /// The one that readers are to use.
    pub serving: Generation,
    /// The one that was begun last.
    pub newest: Generation,
}

/// How far a build has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every event up to here, and none after it, has had its effect.
    pub position: Position,
    /// The log that the position is of.
    pub incarnation: u64,
    /// Whether it may still move.
    pub standing: Standing,
}

/// Whether a build goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is kept up to date.
    Current,
    /// Another build has taken its place: its checkpoint does not move any more.
    Retired,
}

/// One move of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where it must be for the move to be right.
    pub from: Position,
    /// Where it is afterwards.
    pub to: Position,
    /// The log that both are of.
    pub incarnation: u64,
}

/// What came of the wish to let another build be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// It is the one that is read, once the transaction is committed.
    Done,
    /// It is not as far as the one that is read now: readers would see the past.
    Behind,
    /// Another build is read by now than the one that it was to follow.
    Changed,
}

/// A store that moves a projection's checkpoint in the same transaction as the projection's effect.
///
/// A transaction that is dropped must be rolled back, and none may outlive its process. Two processes may
/// run the same projection at once: what keeps their effects apart is [`ProjectionStore::advance`].
pub trait ProjectionStore: Send + 'static {
    /// What the projector writes with.
    type Transaction: Send + 'static;
    /// Why the store could not do something. The projection tries again.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The builds of a projection; `None` if there has never been one.
    fn generations(
        &mut self,
        name: &ProjectionName,
    ) -> impl Future<Output = Result<Option<Generations>, Self::Error>> + Send;

    /// How far a build has come, as committed; `None` if it does not exist.
    fn checkpoint(
        &mut self,
        build: &Build,
    ) -> impl Future<Output = Result<Option<Checkpoint>, Self::Error>> + Send;

    /// Begins a transaction.
    fn begin(&mut self) -> impl Future<Output = Result<Self::Transaction, Self::Error>> + Send;

    /// Makes `build` the newest one, its checkpoint at `position` of the log `incarnation`. The first build of
    /// a projection serves at once. `false` if somebody else has begun this generation: nothing is changed.
    fn add(
        &mut self,
        transaction: &mut Self::Transaction,
        build: &Build,
        position: Position,
        incarnation: u64,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Moves the checkpoint if it is where `step` says, of that log, and not retired; else `false`. It must
    /// keep others from moving it until the transaction ends.
    fn advance(
        &mut self,
        transaction: &mut Self::Transaction,
        build: &Build,
        step: &Step,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Records that `event` was passed over because a person said so.
    fn skipped(
        &mut self,
        transaction: &mut Self::Transaction,
        build: &Build,
        event: &Event,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Retires the build `from` and lets `to` be read in its place, if `from` is read now and its checkpoint
    /// is not beyond that of `to`, which is `at`. A checkpoint of another log counts as not beyond.
    fn switch(
        &mut self,
        transaction: &mut Self::Transaction,
        from: &Build,
        to: &Build,
        at: Checkpoint,
    ) -> impl Future<Output = Result<Switched, Self::Error>> + Send;

    /// Forgets a build. `false` if it is the one that is read, or there is none.
    fn remove(
        &mut self,
        transaction: &mut Self::Transaction,
        build: &Build,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Commits, durably.
    fn commit(
        &mut self,
        transaction: Self::Transaction,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Undoes everything of the transaction.
    fn rollback(
        &mut self,
        transaction: Self::Transaction,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
