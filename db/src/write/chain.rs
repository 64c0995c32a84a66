//! Acks that bring effects with them: what is appended, scheduled, cancelled and linked is committed in one
//! transaction with the settlement of the event that it follows from, or nothing is.
//!
//! Chains that only append share the commit of a batch. The others change rows that only whoever holds the
//! head's lock may change, and have a transaction of their own.

use proto::message::{Appended, Link};
use proto::{Position, Refusal, Version};
use sqlx::Error;

use crate::error::WriteError;
use crate::failure::Failure;
use crate::schedule::{ScheduleWish, Which};
use crate::write::append::{Append, Prepared};
use crate::write::change::{Change, Moment, Undone};
use crate::write::decide::{Decision, Draft, Eventlog};
use crate::write::log::{Log, Trouble};
use crate::write::plan::Planned;
use crate::write::session::Session;
use crate::write::settle::Fence;
use crate::write::settlement::Settlements;
use crate::write::task::Task;
use crate::write::versions::Versions;

/// What is to take effect with an ack: first the events, all of them, then the changes in their order.
#[derive(Debug, Clone)]
pub struct Effects {
    pub(crate) append: Append,
    changes: Vec<SideEffect>,
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone)]
enum SideEffect {
    Schedule(Box<Planned>),
    Cancel(Which),
    Link(Link),
}

/// Effects and the settlement that they are committed with.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) effects: Effects,
    pub(crate) settlement: Settlements,
    /// The tables have the settlement: an earlier try of this very chain was committed.
    pub(crate) recorded: bool,
}

impl Effects {
    /// Effects that append these events, which may be none.
    #[must_use]
    pub fn new(mut append: Append) -> Self {
        append.events_min = 0;
        let bytes = append.bytes;
        Self { append, changes: Vec::new(), bytes }
    }

    /// Also stores an event that is to be published later.
    #[must_use]
    pub fn schedule(mut self, wish: ScheduleWish) -> Self {
        let planned = Box::new(Planned::new(wish));
        self.bytes += planned.bytes;
        self.changes.push(SideEffect::Schedule(planned));
        self
    }

    /// Also cancels a schedule. One that is not pending any more is no obstacle.
    #[must_use]
    pub fn cancel(mut self, which: Which) -> Self {
        self.changes.push(SideEffect::Cancel(which));
        self
    }

    /// Also changes a link.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.changes.push(SideEffect::Link(link));
        self
    }
}

impl Chain {
    /// Whether it can share a commit. An expectation without an event to append has nothing that would
    /// claim the head, so it needs the head's lock.
    pub(crate) fn shares(&self) -> bool {
        let append = &self.effects.append;
        self.effects.changes.is_empty() && (append.expectations.is_empty() || !append.events.is_empty())
    }

    /// The event that it settles.
    pub(crate) fn settles(&self) -> Option<Position> {
        self.settlement.runs.first().map(|run| run.first)
    }

    /// Takes note that an earlier try was committed. What was expected then is not asked again.
    pub(crate) fn was_recorded(&mut self) {
        self.recorded = true;
        self.effects.append.expectations.clear();
    }

    /// A chain that was recorded has stored its events; if `new` ones are to be stored, another one was.
    pub(crate) fn check_recorded(&self, new: usize) -> Result<(), Refusal> {
        if self.recorded && new > 0 {
            let (group, position) = (self.settlement.group, self.settles().unwrap_or_default());
            let reason =
                format!("position {position} of group {group} is settled already, with other effects");
            return Err(Refusal::Invalid { reason });
        }
        Ok(())
    }
}

/// The settlements of `chains` in as few as can be written together: one a group, as a rule.
pub(crate) fn together<'a>(chains: impl IntoIterator<Item = &'a Chain>) -> Vec<Settlements> {
    let mut all: Vec<Settlements> = Vec::new();
    for chain in chains.into_iter().filter(|chain| !chain.recorded) {
        let one = &chain.settlement;
        let Some(many) = all.iter_mut().find(|many| is_of_one_fence(many, one)) else {
            all.push(one.clone());
            continue;
        };
        many.runs.extend_from_slice(&one.runs);
        for moved in &one.moves {
            match many.moves.iter_mut().find(|known| known.slot == moved.slot) {
                Some(known) => known.cursor = known.cursor.max(moved.cursor),
                None => many.moves.push(*moved),
            }
        }
    }
    all
}

fn is_of_one_fence(many: &Settlements, one: &Settlements) -> bool {
    let agrees = |moved: &crate::write::settlement::SlotMove| {
        many.moves.iter().all(|known| known.slot != moved.slot || known.epoch == moved.epoch)
    };
    many.group == one.group && one.moves.iter().all(agrees)
}

/// What a transaction of its own did.
pub(crate) struct Alone {
    appended: Vec<Appended>,
    events: Vec<Prepared>,
    head: Position,
    versions: Vec<(Eventlog, Version)>,
}

impl Task {
    /// Commits a chain in a transaction of its own, and tells of its events.
    pub(crate) async fn chain(&mut self, chain: &Chain) -> Result<Vec<Appended>, WriteError> {
        let made = self.make(chain).await;
        self.tell_schedules(chain, &made);
        match made {
            Ok(Alone { appended, events, head, versions }) => {
                self.log.moved(head, versions);
                let events = events.into_iter().map(|prepared| prepared.event.into()).collect();
                self.telling.fired(events, head).await;
                Ok(appended)
            }
            Err(Undone::Fenced) => Err(WriteError::Fenced { group: chain.settlement.group }),
            Err(Undone::Engine(Failure::Refused, reason)) => Err(WriteError::Refused(not_taken(&reason))),
            Err(undone @ (Undone::Refused(_) | Undone::Engine(..))) => Err(undone.into()),
        }
    }
}

impl Task {
    /// Tells what became pending; after an outcome that is not known, that something may have.
    fn tell_schedules(&self, chain: &Chain, made: &Result<Alone, Undone>) {
        for change in &chain.effects.changes {
            let SideEffect::Schedule(planned) = change else { continue };
            match made {
                Ok(_) => self.telling.schedules.pending(planned.pending()),
                Err(Undone::Engine(..)) => self.telling.schedules.missed(),
                Err(Undone::Refused(_) | Undone::Fenced) => {}
            }
        }
    }
}

/// What the engine does not take now it does not take later: that is for whoever made the chain to know.
pub(crate) fn not_taken(reason: &str) -> Refusal {
    Refusal::Invalid { reason: format!("the database does not take what is to be stored: {reason}") }
}

impl Change for Chain {
    type Done = Alone;
    async fn make(&self, session: &mut Session, log: &mut Log, moment: Moment) -> Result<Alone, Trouble> {
        session.lock_head().await?;
        log.refresh(session).await?;
        let mut chain = Self { effects: self.effects.clone(), settlement: self.settlement.clone(), ..*self };
        if let Some(first) = chain.settles()
            && !session.settled(chain.settlement.group, &[first]).await?.is_empty()
        {
            chain.was_recorded();
        }
        let append = &mut chain.effects.append;
        let (mut decision, mut versions) = decide(session, log.end(), append).await?;
        let outcome = decision.outcomes.pop().unwrap_or_else(|| Ok(Vec::new()));
        let appended = outcome.map_err(|refusal| Trouble::Unfit(0, refusal))?;
        chain.check_recorded(decision.new.len()).map_err(|refusal| Trouble::Unfit(0, refusal))?;
        let new: Vec<_> = decision.new.iter().map(|(_, at)| *at).collect();
        let mut events = std::mem::take(&mut chain.effects.append.events);
        let mut at = 0..;
        events.retain(|_| at.next().is_some_and(|at| new.contains(&at)));
        if !chain.recorded {
            chain.write(session, log, moment, &events).await?;
        }
        let versions = events.iter().map(Eventlog::of).map(|eventlog| {
            let version = versions.find(&eventlog).unwrap_or_default();
            (eventlog, version)
        });
        let versions = versions.collect();
        Ok(Alone { appended, events, head: decision.head, versions })
    }
}

impl Chain {
    /// Writes everything but what is there already. The head is locked, the new events have their places.
    async fn write(
        &self,
        session: &mut Session,
        log: &Log,
        moment: Moment,
        new: &[Prepared],
    ) -> Result<(), Trouble> {
        let now = self.effects.append.now;
        if let Some(last) = new.last() {
            if !session.claim(log.place(), last.event.position, now).await? {
                return Err(Trouble::HeadMoved);
            }
            let new: Vec<_> = new.iter().collect();
            session.insert_events(&new).await?;
            session.insert_links(&new).await?;
        }
        for change in &self.effects.changes {
            match change {
                SideEffect::Schedule(planned) => drop(session.schedule(planned, moment).await?),
                SideEffect::Cancel(which) => drop(session.cancel(which, now).await?),
                SideEffect::Link(link) => drop(session.link(link).await?),
            }
        }
        match session.settle(&self.settlement, log.hub()).await? {
            Fence::Held => Ok(()),
            Fence::Lost => Err(Trouble::Fenced(0)),
        }
    }
}

/// The decision on one append by one who has looked everything up, and the versions after it.
async fn decide(
    session: &mut Session,
    end: Position,
    append: &mut Append,
) -> Result<(Decision, Versions), Error> {
    let ids: Vec<_> = append.events.iter().map(|event| &event.event.id).collect();
    let taken = session.taken(&ids).await?;
    let events = append.events.iter().map(Eventlog::of);
    let mut eventlogs: Vec<_> = events.chain(append.expectations.iter().map(Eventlog::named_by)).collect();
    let mut seen = std::collections::HashSet::new();
    eventlogs.retain(|eventlog| seen.insert(eventlog.clone()));
    let mut versions = Versions::default();
    if !eventlogs.is_empty() {
        let read = session.last_versions(&eventlogs).await?;
        eventlogs.into_iter().zip(read).for_each(|(log, version)| versions.remember(log, version));
    }
    let mut draft = Draft::looked_up(end, taken);
    // Everything that it could ask for was looked up.
    let _decided = draft.decide(append, &mut versions);
    Ok((draft.finish(), versions))
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod example;

#[cfg(test)]
mod tests {
    use proto::Timestamp;

    use super::example::example;
    use super::*;
    use crate::write::group::GroupId;
    use crate::write::settlement::SlotMove;

    fn chain(group: u32, slot: u16, epoch: u64, position: u64, cursor: u64) -> Chain {
        let moved = SlotMove { slot, epoch, cursor: Position(cursor) };
        let append = Append::new(Vec::new(), Vec::new(), Timestamp::default(), Vec::new());
        example(GroupId(group), Position(position), moved, append)
    }

    #[test]
    fn chains_of_one_group_are_settled_by_one_fence_that_names_each_slot_once() {
        let mut recorded = chain(1, 5, 1, 30, 0);
        recorded.was_recorded();
        let chains = [
            chain(1, 5, 1, 10, 9),
            chain(2, 5, 1, 10, 0),
            chain(1, 5, 1, 12, 11),
            chain(1, 6, 1, 11, 3),
            recorded,
        ];
        let all = together(&chains);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].runs.len(), 3);
        let moves: Vec<_> = all[0].moves.iter().map(|moved| (moved.slot, moved.cursor.0)).collect();
        assert_eq!(moves, [(5, 11), (6, 3)]);
    }

    #[test]
    fn a_slot_in_two_epochs_has_two_fences() {
        assert_eq!(together(&[chain(1, 5, 1, 10, 0), chain(1, 5, 2, 10, 0)]).len(), 2);
    }
}
