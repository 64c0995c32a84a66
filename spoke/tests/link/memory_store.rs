//! A projection's store in memory, with faults: a store of the caller's own, as the trait describes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use eventflow_spoke::{
    Build, Checkpoint, Event, Generation, Generations, Position, ProjectionName, ProjectionStore, Standing,
    Step, Switched,
};

/// What goes wrong with the next transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be begun.
    Begin,
    /// It is not committed.
    Commit,
    /// It is committed, but the answer is lost.
    Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store is away")]
pub(crate) struct Away;

/// All that is committed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) rows: Vec<(Generation, u64)>,
    pub(crate) generations: Option<(Generation, Generation)>,
    pub(crate) checkpoints: BTreeMap<Generation, Checkpoint>,
    pub(crate) skipped: Vec<u64>,
    commits: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    faults: Arc<Mutex<VecDeque<Fault>>>,
}

impl MemoryStore {
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    /// The positions that a generation has applied, in that order.
    pub(crate) fn applied(&self, generation: u32) -> Vec<u64> {
        let of = |(found, position): &(Generation, u64)| (found.0 == generation).then_some(*position);
        self.tables().rows.iter().filter_map(of).collect()
    }

    fn fails(&self, fault: Fault) -> bool {
        self.faults.lock().unwrap().pop_front_if(|next| *next == fault).is_some()
    }
}

impl ProjectionStore for MemoryStore {
    type Transaction = Tables;
    type Error = Away;

    async fn generations(&mut self, _: &ProjectionName) -> Result<Option<Generations>, Away> {
        Ok(self.tables().generations.map(|(serving, newest)| Generations { serving, newest }))
    }

    async fn checkpoint(&mut self, build: &Build) -> Result<Option<Checkpoint>, Away> {
        Ok(self.tables().checkpoints.get(&build.generation).copied())
    }

    async fn begin(&mut self) -> Result<Tables, Away> {
        if self.fails(Fault::Begin) { Err(Away) } else { Ok(self.tables().clone()) }
    }

    async fn add(
        &mut self,
        tables: &mut Tables,
        build: &Build,
        position: Position,
        incarnation: u64,
    ) -> Result<bool, Away> {
        let serving = tables.generations.map_or(build.generation, |(serving, _)| serving);
        tables.generations = Some((serving, build.generation));
        let checkpoint = Checkpoint { position, incarnation, standing: Standing::Current };
        tables.checkpoints.insert(build.generation, checkpoint);
        Ok(true)
    }

    async fn advance(&mut self, tables: &mut Tables, build: &Build, step: &Step) -> Result<bool, Away> {
        let Some(found) = tables.checkpoints.get_mut(&build.generation) else { return Ok(false) };
        let from =
            Checkpoint { position: step.from, incarnation: step.incarnation, standing: Standing::Current };
        if *found != from {
            return Ok(false);
        }
        found.position = step.to;
        Ok(true)
    }

    async fn skipped(&mut self, tables: &mut Tables, _: &Build, event: &Event) -> Result<(), Away> {
        tables.skipped.push(event.position.0);
        Ok(())
    }

    async fn switch(
        &mut self,
        tables: &mut Tables,
        from: &Build,
        to: &Build,
        at: Checkpoint,
    ) -> Result<Switched, Away> {
        let old = tables.checkpoints.get_mut(&from.generation).unwrap();
        if old.position > at.position {
            return Ok(Switched::Behind);
        }
        old.standing = Standing::Retired;
        tables.generations = tables.generations.map(|(_, newest)| (to.generation, newest));
        Ok(Switched::Done)
    }

    async fn remove(&mut self, tables: &mut Tables, build: &Build) -> Result<bool, Away> {
        let serves = tables.generations.is_some_and(|(serving, _)| serving == build.generation);
        Ok(!serves && tables.checkpoints.remove(&build.generation).is_some())
    }

    async fn commit(&mut self, mut tables: Tables) -> Result<(), Away> {
        // Whoever commits in between wins: the other's transaction fails.
        if self.fails(Fault::Commit) || self.tables().commits != tables.commits {
            return Err(Away);
        }
        tables.commits += 1;
        *self.tables() = tables;
        if self.fails(Fault::Answer) { Err(Away) } else { Ok(()) }
    }

    async fn rollback(&mut self, _: Tables) -> Result<(), Away> {
        Ok(())
    }
}
