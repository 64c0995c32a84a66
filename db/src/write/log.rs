//! The writer's view of the log: where it ends, what it remembers of it, and one try of one batch.
//!
//! A try either commits and has an outcome for each request, or leaves the database as it was and
//! says why. [`crate::write::task`] decides what comes next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proto::{Event, EventId, Position, Refusal, Timestamp, Version};
use sqlx::Error;

use crate::write::append::Prepared;
use crate::write::batch::Batch;
use crate::write::chain::{Chain, together};
use crate::write::decide::{Decision, Draft, Eventlog, Undecided};
use crate::write::group::GroupId;
use crate::write::plan::Plan;
use crate::write::session::{LogEnd, Session, Then};
use crate::write::settle::Fence;
use crate::write::settlement::{ORPHANS, OrphanRun, Settlements};
use crate::write::versions::{Map, Versions};

/// Batches that look ids up beforehand after one held a repetition: repetitions come in crowds.
const LOOK_UPS_AFTER_REPETITION: u32 = 32;

/// Why a try did not commit.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Somebody else has moved the head.
    HeadMoved,
    /// A slot of these settlements, by their place in the batch, is not this hub's.
    Fenced(usize),
    /// The same settlements, by their place in the batch, cannot be written.
    Unfit(usize, Refusal),
    /// A slot of a chain of this group is not this hub's.
    ChainsFenced(GroupId),
    /// A chain, by its place in the batch, cannot be written.
    UnfitChain(usize, Refusal),
    /// The log itself is not the one that it was: nothing is appended any more.
    Closed(Refusal),
    /// The engine said so.
    Engine(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

/// How careful the next try is to be. It only ever becomes more so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Care {
    /// Look ids and settlements up before writing them.
    pub(crate) look_up: bool,
    /// Lock the head before anything is read.
    pub(crate) lock: bool,
}

pub(crate) struct Log {
    end: LogEnd,
    closed: Option<Refusal>,
    versions: Versions,
    look_ups: u32,
    /// Where ids were to go in a commit whose outcome is not known.
    in_doubt: HashMap<EventId, Position>,
    /// Schedules that such a commit may have stored.
    doubtful: HashSet<EventId>,
    hub: String,
}

impl Log {
    pub(crate) fn new(end: LogEnd, hub: String) -> Self {
        let versions = Versions::default();
        let (in_doubt, doubtful) = (HashMap::new(), HashSet::new());
        Self { end, closed: None, versions, look_ups: 0, in_doubt, doubtful, hub }
    }

    /// The hub that writes.
    pub(crate) fn hub(&self) -> &str {
        &self.hub
    }

    /// Where the log ends, and which log it is.
    pub(crate) fn place(&self) -> LogEnd {
        self.end
    }

    /// Takes note of a commit that was made past [`Log::attempt`], of events that follow on the end,
    /// and of the versions that their eventlogs have now.
    pub(crate) fn moved(&mut self, head: Position, versions: impl IntoIterator<Item = (Eventlog, Version)>) {
        self.end.position = head;
        versions.into_iter().for_each(|(eventlog, version)| self.versions.remember(eventlog, version));
    }

    pub(crate) fn end(&self) -> Position {
        self.end.position
    }

    /// Why nothing is appended any more, if that is so.
    pub(crate) fn closed(&self) -> Option<&Refusal> {
        self.closed.as_ref()
    }

    /// Reads where the log ends now. If it goes back, this log is closed for good: whoever had a
    /// position above it would read other events there.
    pub(crate) async fn refresh(&mut self, session: &mut Session) -> Result<(), Trouble> {
        let found = session.head().await?.ok_or_else(headless)?;
        let Refreshed { end, closed } = refreshed(self.end, found);
        if let Some(refusal) = closed {
            self.closed = Some(refusal.clone());
            return Err(Trouble::Closed(refusal));
        }
        if end != self.end {
            self.versions.clear();
            self.end = end;
        }
        Ok(())
    }

    /// One try of `batch`, whose settlements were checked. After one that failed, [`Log::forget`].
    pub(crate) async fn attempt(
        &mut self,
        session: &mut Session,
        batch: &mut Batch,
        care: Care,
    ) -> Result<Decision, Trouble> {
        if care.lock {
            session.begin().await?;
            session.lock_head().await?;
            self.refresh(session).await?;
        }
        if care.look_up {
            find_recorded(session, batch).await?;
        }
        let mut decision = self.decide(session, batch, care.look_up).await?;
        check_recorded(batch, &decision)?;
        decision.plan = self.plan(session, batch, care.look_up).await?;
        if decision.new.is_empty() {
            self.confirm(session, &decision).await?;
        }
        let work = Work { batch, decision: &decision, end: self.end, care, hub: &self.hub };
        work.carry_out(session).await?;
        self.end.position = decision.head;
        self.in_doubt.clear();
        self.doubtful.clear();
        Ok(decision)
    }

    /// Forgets versions that were counted for a try that failed.
    pub(crate) fn forget(&mut self) {
        self.versions.clear();
    }

    /// The decision on the appends, by what is known or read now.
    async fn decide(
        &mut self,
        session: &mut Session,
        batch: &mut Batch,
        look_up: bool,
    ) -> Result<Decision, Trouble> {
        let mut look_up = look_up || self.look_ups > 0;
        let mut draft = Draft::new(self.end.position);
        loop {
            if std::mem::take(&mut look_up) {
                draft.undo(batch.works(), &mut self.versions);
                let events = batch.works().flat_map(|work| &work.events);
                let taken = session.taken(&events.map(|event| &event.event.id).collect::<Vec<_>>()).await?;
                self.weigh(taken.is_empty());
                draft = Draft::looked_up(self.end.position, taken);
            }
            let (decided, versions) = (draft.decided(), &mut self.versions);
            let undecided = batch.works_mut().skip(decided);
            let outcome = { undecided }.try_for_each(|work| draft.decide(work, versions));
            match outcome {
                Ok(()) => break,
                Err(Undecided::LookUp) => look_up = true,
                Err(Undecided::Unknown) => self.learn(session, batch, draft.decided()).await?,
            }
        }
        let mut decision = draft.finish();
        self.claim_doubtful(batch, &mut decision);
        Ok(decision)
    }

    /// What becomes of the schedules. Only the log is read, unless there may be a repetition.
    async fn plan(&mut self, session: &mut Session, batch: &Batch, look_up: bool) -> Result<Plan, Error> {
        if batch.schedules.is_empty() {
            return Ok(Plan::default());
        }
        let ids: Vec<_> = batch.schedules.iter().map(|asked| &asked.work.event.id).collect();
        let logged = session.taken(&ids).await?;
        let look_up = look_up || self.look_ups > 0 || !logged.is_empty();
        let known = if look_up { session.known_schedules(&ids).await? } else { Map::default() };
        if !known.is_empty() {
            self.weigh(false);
        }
        let asked = batch.schedules.iter().map(|asked| &*asked.work);
        Ok(Plan::of(asked, &logged, &known, &self.doubtful))
    }

    /// Reads the last versions that are missing for the requests from `decided` on.
    async fn learn(&mut self, session: &mut Session, batch: &Batch, decided: usize) -> Result<(), Error> {
        let mut unknown = Vec::new();
        let mut seen = HashSet::new();
        for work in batch.works().skip(decided) {
            let events = work.events.iter().map(Eventlog::of);
            for eventlog in events.chain(work.expectations.iter().map(Eventlog::named_by)) {
                if self.versions.find(&eventlog).is_none() && seen.insert(eventlog.clone()) {
                    unknown.push(eventlog);
                }
            }
        }
        let read = session.last_versions(&unknown).await?;
        unknown
            .into_iter()
            .zip(read)
            .for_each(|(eventlog, version)| self.versions.remember(eventlog, version));
        Ok(())
    }

    /// Decides whether the next batches look their ids up.
    fn weigh(&mut self, all_new: bool) {
        self.look_ups = if all_new { self.look_ups.saturating_sub(1) } else { LOOK_UPS_AFTER_REPETITION };
    }

    /// Notes where events were to go in a commit whose outcome is not known.
    pub(crate) fn doubt(&mut self, batch: &Batch) {
        let events = batch.works().flat_map(|work| &work.events).map(|event| &event.event);
        let placed = events.filter(|event| event.position > Position(0));
        self.in_doubt.extend(placed.map(|event| (event.id.clone(), event.position)));
        self.doubtful.extend(batch.schedules.iter().map(|asked| asked.work.event.id.clone()));
    }

    /// What a commit of unknown outcome turns out to have stored was stored by this append.
    fn claim_doubtful(&self, batch: &Batch, decision: &mut Decision) {
        if self.in_doubt.is_empty() {
            return;
        }
        for (work, outcome) in batch.works().zip(&mut decision.outcomes) {
            let Ok(appended) = outcome else { continue };
            for (event, appended) in work.events.iter().zip(appended) {
                if self.in_doubt.get(&event.event.id) == Some(&appended.position) {
                    appended.stored = proto::message::Stored::Now;
                }
            }
        }
    }

    /// Makes sure that refusals for a wrong version belong to the log as it is now.
    async fn confirm(&mut self, session: &mut Session, decision: &Decision) -> Result<(), Trouble> {
        let wrong = |outcome: &Result<_, Refusal>| matches!(outcome, Err(Refusal::WrongVersion { .. }));
        if !decision.outcomes.iter().any(wrong) {
            return Ok(());
        }
        let before = self.end;
        self.refresh(session).await?;
        if self.end == before { Ok(()) } else { Err(Trouble::HeadMoved) }
    }
}

/// What a try brings to the database.
struct Work<'a> {
    batch: &'a Batch,
    decision: &'a Decision,
    end: LogEnd,
    care: Care,
    hub: &'a str,
}

impl Work<'_> {
    async fn carry_out(&self, session: &mut Session) -> Result<(), Trouble> {
        let Self { batch, decision, end, care, hub } = *self;
        let new: Vec<&Prepared> = decision.new.iter().filter_map(|place| prepared(batch, *place)).collect();
        let chains = together(granted(batch, decision));
        let settles = !batch.settlements.is_empty() || !batch.orphans.is_empty() || !chains.is_empty();
        let schedules: Vec<_> = decision.plan.new.iter().filter_map(|at| batch.schedules.get(*at)).collect();
        let more = settles || !schedules.is_empty();
        if !more && new.is_empty() {
            return Ok(session.rollback().await?);
        }
        let links = new.iter().any(|new| !new.event.eids.is_empty() || !new.event.cpids.is_empty());
        let then = if more || links { Then::More } else { Then::Commit };
        let claimed = match (care.lock, new.is_empty()) {
            (false, false) => session.append(end, newest(batch), &new, then).await?,
            (false, true) => session.begin().await.map(|()| true)?,
            // The head's lock is held, so nobody else can have moved it.
            (true, _) => {
                let claimed = session.claim(end, decision.head, newest(batch)).await?;
                session.insert_events(&new).await?;
                claimed
            }
        };
        if !claimed {
            return Err(Trouble::HeadMoved);
        }
        if links {
            session.insert_links(&new).await?;
        }
        let schedules = schedules.iter().map(|asked| asked.work.row(asked.work.now));
        session.insert_schedules(&schedules.collect::<Vec<_>>()).await?;
        for (place, asked) in batch.settlements.iter().enumerate() {
            settle(session, place, &asked.work, care.look_up, hub).await?;
        }
        for settlements in &chains {
            if session.settle(settlements, hub).await? == Fence::Lost {
                return Err(Trouble::ChainsFenced(settlements.group));
            }
        }
        for asked in &batch.orphans {
            let runs =
                if care.look_up { unrecorded(session, &asked.work).await? } else { asked.work.clone() };
            session.orphans(&runs, hub).await?;
        }
        if then == Then::More || care.lock {
            session.commit().await?;
        }
        Ok(())
    }
}

async fn settle(
    session: &mut Session,
    place: usize,
    settlements: &Settlements,
    look_up: bool,
    hub: &str,
) -> Result<(), Trouble> {
    if look_up && !settlements.runs.is_empty() {
        let firsts: Vec<_> = settlements.runs.iter().map(|run| run.first).collect();
        let found = session.settled(settlements.group, &firsts).await?;
        // A flush is written whole, so all of it says that a lost answer was a yes.
        if found.len() == firsts.len() {
            return Ok(());
        }
        if let Some(position) = found.into_iter().next() {
            let group = settlements.group;
            let reason = format!("position {position} of group {group} is settled already");
            return Err(Trouble::Unfit(place, Refusal::Invalid { reason }));
        }
    }
    match session.settle(settlements, hub).await? {
        Fence::Held => Ok(()),
        Fence::Lost => Err(Trouble::Fenced(place)),
    }
}

/// The head's row is made with the tables and never taken away.
pub(crate) fn headless() -> Error {
    Error::Decode("log_head has no row: the tables are damaged".into())
}

struct Refreshed {
    end: LogEnd,
    closed: Option<Refusal>,
}

/// What to make of a head that was read, after one that was known.
fn refreshed(known: LogEnd, found: LogEnd) -> Refreshed {
    let closed = if found.incarnation != known.incarnation {
        Some(Refusal::Invalid {
            reason: format!(
                "the database holds another log now (incarnation {}, it was {}); restart the hub",
                found.incarnation, known.incarnation
            ),
        })
    } else if found.position < known.position {
        Some(Refusal::LogRegressed { head: found.position, answered: known.position })
    } else {
        None
    };
    Refreshed { end: found, closed }
}

/// The events that are new, in order, for whoever passes commits on.
pub(crate) fn new_events(batch: &mut Batch, decision: &Decision) -> Vec<Arc<Event>> {
    let mut events = Vec::with_capacity(decision.new.len());
    let mut wanted = decision.new.iter().peekable();
    for (request, work) in batch.works_mut().enumerate() {
        for (at, prepared) in std::mem::take(&mut work.events).into_iter().enumerate() {
            if wanted.next_if(|place| **place == (request, at)).is_some() {
                events.push(Arc::new(prepared.event));
            }
        }
    }
    events
}

fn prepared(batch: &Batch, (request, event): (usize, usize)) -> Option<&Prepared> {
    let chain = || Some(&batch.chains.get(request.checked_sub(batch.appends.len())?)?.work.effects.append);
    let work = batch.appends.get(request).map(|asked| &asked.work).or_else(chain)?;
    work.events.get(event)
}

fn newest(batch: &Batch) -> Timestamp {
    batch.works().map(|work| work.now).max().unwrap_or_default()
}

/// The chains that are not refused.
fn granted<'a>(batch: &'a Batch, decision: &'a Decision) -> impl Iterator<Item = &'a Chain> {
    let outcomes = decision.outcomes.iter().skip(batch.appends.len());
    let granted = batch.chains.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok());
    granted.map(|(asked, _)| &*asked.work)
}

/// Finds out which chains an earlier try of them has committed.
async fn find_recorded(session: &mut Session, batch: &mut Batch) -> Result<(), Error> {
    let groups: HashSet<_> = batch.chains.iter().map(|asked| asked.work.settlement.group).collect();
    for group in groups {
        let mut chains: Vec<_> =
            batch.chains.iter_mut().filter(|asked| asked.work.settlement.group == group).collect();
        let firsts: Vec<_> = chains.iter().filter_map(|asked| asked.work.settles()).collect();
        let found = session.settled(group, &firsts).await?;
        chains.retain(|asked| asked.work.settles().is_some_and(|first| found.contains(&first)));
        chains.into_iter().for_each(|asked| asked.work.was_recorded());
    }
    Ok(())
}

fn check_recorded(batch: &Batch, decision: &Decision) -> Result<(), Trouble> {
    let first = batch.appends.len();
    for (place, asked) in batch.chains.iter().enumerate().filter(|(_, asked)| asked.work.recorded) {
        // Not by who stored what: what a commit of unknown outcome stored was stored by this chain.
        let new = decision.new.iter().filter(|(request, _)| *request == first + place).count();
        asked.work.check_recorded(new).map_err(|refusal| Trouble::UnfitChain(place, refusal))?;
    }
    Ok(())
}

async fn unrecorded(session: &mut Session, runs: &[OrphanRun]) -> Result<Vec<OrphanRun>, Error> {
    let firsts: Vec<_> = runs.iter().map(|run| run.first).collect();
    let found = session.settled(ORPHANS, &firsts).await?;
    Ok(runs.iter().filter(|run| !found.contains(&run.first)).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_went_back_is_closed() {
        let end = |position, incarnation| LogEnd { position: Position(position), incarnation };
        assert!(refreshed(end(5, 1), end(5, 1)).closed.is_none());
        assert!(refreshed(end(5, 1), end(9, 1)).closed.is_none());
        let closed = refreshed(end(5, 1), end(4, 1)).closed;
        assert_eq!(closed, Some(Refusal::LogRegressed { head: Position(4), answered: Position(5) }));
        assert!(refreshed(end(5, 1), end(9, 2)).closed.is_some());
    }
}
