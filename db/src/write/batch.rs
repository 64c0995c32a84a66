//! Commands that share one transaction, and their answers.

use proto::Refusal;
use proto::message::Appended;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::WriteError;
use crate::schedule::Scheduled;
use crate::write::append::Append;
use crate::write::chain::{Chain, not_taken};
use crate::write::group::GroupId;
use crate::write::plan::Planned;
use crate::write::settlement::{OrphanRun, Settlements};
use crate::write::writer::{Answer, Command};

/// Events of one batch, scheduled ones too; a single larger append still goes in whole.
const BATCH_EVENTS_MAX: usize = 1_000;

/// Bytes of events of one batch; a single larger append still goes in whole.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Settled runs, retries and orphans of one batch.
const BATCH_SETTLEMENTS_MAX: usize = 4_096;

/// Work and where its answer goes.
pub(crate) struct Asked<W, T> {
    pub(crate) work: W,
    answer: Answer<T>,
    _bytes: Option<OwnedSemaphorePermit>,
}

impl<W, T> Asked<W, T> {
    fn new(work: W, answer: Answer<T>) -> Self {
        Self { work, answer, _bytes: None }
    }

    /// Whoever asked may have gone; that is theirs to know.
    pub(crate) fn answer(self, outcome: Result<T, WriteError>) {
        let _ = self.answer.send(outcome);
    }
}

#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) appends: Vec<Asked<Append, Vec<Appended>>>,
    pub(crate) settlements: Vec<Asked<Settlements, ()>>,
    pub(crate) orphans: Vec<Asked<Vec<OrphanRun>, ()>>,
    /// Those without a key: nothing else has to change for them.
    pub(crate) schedules: Vec<Asked<Box<Planned>, Scheduled>>,
    /// Those that only append and settle.
    pub(crate) chains: Vec<Asked<Box<Chain>, Vec<Appended>>>,
    events: usize,
    bytes: usize,
    settled: usize,
}

impl Batch {
    /// Takes `command` if it may share a transaction with what is here and there is room, else
    /// gives it back.
    pub(crate) fn take(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Append(work, answer, permit) => {
                let (events, bytes) = (self.events + work.events.len(), self.bytes + work.bytes);
                let full = events > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX;
                if full && !self.appends.is_empty() {
                    return Some(Command::Append(work, answer, permit));
                }
                (self.events, self.bytes) = (events, bytes);
                self.appends.push(Asked { work, answer, _bytes: Some(permit) });
            }
            Command::Settle(work, answer) => {
                let settled = self.settled + work.runs.len() + work.retries.len() + 1;
                if settled > BATCH_SETTLEMENTS_MAX && !self.settlements.is_empty() {
                    return Some(Command::Settle(work, answer));
                }
                self.settled = settled;
                self.settlements.push(Asked::new(work, answer));
            }
            Command::Orphans(work, answer) => {
                let settled = self.settled + work.len();
                if settled > BATCH_SETTLEMENTS_MAX && !self.orphans.is_empty() {
                    return Some(Command::Orphans(work, answer));
                }
                self.settled = settled;
                self.orphans.push(Asked::new(work, answer));
            }
            Command::Schedule(work, answer, permit) if work.key.is_none() => {
                let (events, bytes) = (self.events + 1, self.bytes + work.bytes);
                let full = events > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX;
                if full && !self.schedules.is_empty() {
                    return Some(Command::Schedule(work, answer, permit));
                }
                (self.events, self.bytes) = (events, bytes);
                self.schedules.push(Asked { work, answer, _bytes: Some(permit) });
            }
            Command::Chain(work, answer, permit) if work.shares() => {
                let events = self.events + work.effects.append.events.len();
                let (bytes, settled) = (self.bytes + work.effects.bytes, self.settled + 2);
                let full = events > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX;
                if (full || settled > BATCH_SETTLEMENTS_MAX) && !self.is_empty() {
                    return Some(Command::Chain(work, answer, permit));
                }
                (self.events, self.bytes, self.settled) = (events, bytes, settled);
                self.chains.push(Asked { work, answer, _bytes: Some(permit) });
            }
            other => return Some(other),
        }
        None
    }

    /// All that is to be appended, in the order in which it is decided: appends, then those of chains.
    pub(crate) fn works(&self) -> impl Iterator<Item = &Append> {
        let chains = self.chains.iter().map(|asked| &asked.work.effects.append);
        self.appends.iter().map(|asked| &asked.work).chain(chains)
    }

    /// The same, to be changed.
    pub(crate) fn works_mut(&mut self) -> impl Iterator<Item = &mut Append> {
        let chains = self.chains.iter_mut().map(|asked| &mut asked.work.effects.append);
        self.appends.iter_mut().map(|asked| &mut asked.work).chain(chains)
    }

    pub(crate) fn requests(&self) -> usize {
        let settling = self.settlements.len() + self.orphans.len() + self.chains.len();
        self.appends.len() + self.schedules.len() + settling
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests() == 0
    }

    /// A batch for each request, so that one that fails does so alone.
    pub(crate) fn split(self) -> Vec<Self> {
        let appends = self.appends.into_iter().map(|asked| Self { appends: vec![asked], ..Self::default() });
        let settlements =
            self.settlements.into_iter().map(|asked| Self { settlements: vec![asked], ..Self::default() });
        let orphans = self.orphans.into_iter().map(|asked| Self { orphans: vec![asked], ..Self::default() });
        let schedules =
            self.schedules.into_iter().map(|asked| Self { schedules: vec![asked], ..Self::default() });
        let chains = self.chains.into_iter().map(|asked| Self { chains: vec![asked], ..Self::default() });
        appends.chain(settlements).chain(orphans).chain(schedules).chain(chains).collect()
    }

    /// Answers all with the same error.
    pub(crate) fn fail(self, error: &WriteError) {
        self.appends.into_iter().for_each(|asked| asked.answer(Err(error.clone())));
        self.settlements.into_iter().for_each(|asked| asked.answer(Err(error.clone())));
        self.orphans.into_iter().for_each(|asked| asked.answer(Err(error.clone())));
        self.schedules.into_iter().for_each(|asked| asked.answer(Err(error.clone())));
        self.chains.into_iter().for_each(|asked| asked.answer(Err(error.clone())));
    }

    /// Refuses chains that the engine does not take, for this reason.
    pub(crate) fn refuse_chains(&mut self, reason: &str) {
        let refusal = WriteError::Refused(not_taken(reason));
        self.chains.drain(..).for_each(|asked| asked.answer(Err(refusal.clone())));
    }

    /// Answers the chains of a group that is not this hub's any more.
    pub(crate) fn fence_chains(&mut self, group: GroupId) {
        let of_group = |asked: &mut Asked<Box<Chain>, _>| asked.work.settlement.group == group;
        let fenced = self.chains.extract_if(.., of_group);
        fenced.for_each(|asked| asked.answer(Err(WriteError::Fenced { group })));
    }

    /// Answers all appends, schedules, which are appends to come, and chains with the same refusal and
    /// keeps the rest.
    pub(crate) fn refuse_appends(&mut self, refusal: &Refusal) {
        for asked in self.appends.drain(..) {
            asked.answer(Err(WriteError::Refused(refusal.clone())));
        }
        for asked in self.schedules.drain(..) {
            asked.answer(Err(WriteError::Refused(refusal.clone())));
        }
        for asked in self.chains.drain(..) {
            asked.answer(Err(WriteError::Refused(refusal.clone())));
        }
    }
}
