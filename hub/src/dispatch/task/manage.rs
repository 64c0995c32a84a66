//! Changes of groups: one after the other, durable first, then in force, then answered.
//!
//! It also sweeps away what removed groups have left in the tables, a page at a time between everything
//! else, and tells members how long they may keep a delivery without a word.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use db::{ChangedGroup, GroupAct, GroupChange, Swept, WriteError};
use proto::group::MembersFate;
use proto::{Refusal, SettingsChange};
use tokio::sync::mpsc::error::TrySendError;
use tracing::{info, warn};

use super::super::connection::PUSHES_MAX;
use super::super::group::{MemberKey, Standing};
use super::super::handle::{Changed, Outgoing};
use super::{DispatchTask, Done};

/// Changes that may wait for the one before. At it a further one is refused.
const CHANGES_WAITING_MAX: usize = 256;

/// The wait after a sweep that failed; nobody waits for it.
const SWEEP_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A change that somebody waits for.
struct Asked {
    change: GroupChange,
    members: MembersFate,
    reply: Changed,
}

/// The changes of this hub's groups.
#[derive(Default)]
pub(super) struct Changes {
    waiting: VecDeque<Asked>,
    /// The one that the writer has.
    busy: Option<Asked>,
    /// How many were made. A group that was read before the last of them may be out of date.
    made: u64,
    /// Members that have not been told their deadline: there was no room, or no time.
    untold: BTreeSet<MemberKey>,
    /// Members that have enough and have not been told that nothing more comes.
    pub(super) stopped: Vec<MemberKey>,
}

/// When a group was read from the tables, counted in changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadAt(u64);

impl Changes {
    pub(super) fn now(&self) -> ReadAt {
        ReadAt(self.made)
    }

    /// Whether a change may have been made since.
    pub(super) fn since(&self, read: ReadAt) -> bool {
        self.busy.is_some() || self.made > read.0
    }

    /// The member is to be told how long it may keep a delivery.
    pub(super) fn tell(&mut self, member: MemberKey) {
        self.untold.insert(member);
    }
}

impl DispatchTask {
    pub(super) fn change(&mut self, change: GroupChange, members: MembersFate, reply: Changed) {
        if self.changes.waiting.len() >= CHANGES_WAITING_MAX {
            let reason = format!("{CHANGES_WAITING_MAX} changes of groups wait already; try again later");
            let _asker_gone = reply.send(Err(Refusal::Unavailable { reason }));
            return;
        }
        self.changes.waiting.push_back(Asked { change, members, reply });
        self.next_change();
    }

    fn next_change(&mut self) {
        while self.changes.busy.is_none() {
            let Some(asked) = self.changes.waiting.pop_front() else { return };
            if let Err(refusal) = self.check(&asked) {
                let _asker_gone = asked.reply.send(Err(refusal));
                continue;
            }
            let (writer, change) = (self.log.writer.clone(), asked.change.clone());
            self.changes.busy = Some(asked);
            self.work.push(Box::pin(async move { Done::Changed(writer.change_groups(change).await) }));
        }
    }

    /// Refuses what cannot be in force. Whether there is such a group, the tables say.
    fn check(&self, asked: &Asked) -> Result<(), Refusal> {
        let Asked { change, members, .. } = asked;
        let groups = self.desk.named(&change.group, change.domain.as_ref());
        match &change.act {
            GroupAct::Set(settings) if *settings == SettingsChange::default() => {
                Err(Refusal::Invalid { reason: "no setting is named; say which is to be what".to_owned() })
            }
            GroupAct::Set(settings) => {
                let mut current = groups.iter().filter_map(|&group| self.desk.settings(group));
                let checked = current.try_for_each(|current| settings.check(current));
                checked.map_err(|error| Refusal::Invalid { reason: error.to_string() })
            }
            GroupAct::Remove if *members == MembersFate::Respected => {
                let connected: usize = groups.iter().map(|&group| self.desk.members(group).len()).sum();
                if connected == 0 {
                    return Ok(());
                }
                let reason = format!(
                    "group {} has {connected} connected members; stop them, or have them sent away",
                    change.group
                );
                Err(Refusal::Invalid { reason })
            }
            GroupAct::Remove | GroupAct::Pause(_) | GroupAct::Resume(_) => Ok(()),
        }
    }

    /// The change is durable, or it was not made.
    pub(super) fn changed(&mut self, outcome: Result<Vec<ChangedGroup>, WriteError>) {
        self.changes.made += 1;
        let Some(Asked { change, reply, .. }) = self.changes.busy.take() else { return };
        let standings = outcome.map_err(crate::refuse::write).map(|changed| self.follow(&change, changed));
        let _asker_gone = reply.send(standings);
        self.next_change();
    }

    fn follow(&mut self, change: &GroupChange, changed: Vec<ChangedGroup>) -> Vec<Standing> {
        let named = self.desk.named(&change.group, change.domain.as_ref());
        if change.act == GroupAct::Remove {
            let standings = self.desk.standings(named.iter().copied());
            for Standing { status, .. } in &standings {
                self.metrics.forget_group(&status.report.group, &status.report.domain);
            }
            for group in named {
                // Nothing of theirs is left to be recorded.
                for member in self.desk.leaving(group) {
                    if let Some(reply) = self.leaving.remove(&member) {
                        let _asker_gone = reply.send(());
                    }
                }
                self.drop_group(group);
                let reason = format!(
                    "group {} was removed by {}; consuming makes it anew",
                    change.group, change.agent
                );
                self.send_away(group, &Refusal::Invalid { reason });
            }
            self.sweep();
            return standings;
        }
        for changed in changed {
            let group = changed.group.id;
            info!(group = %changed.group.name, domain = %changed.group.topic.domain, agent = %change.agent, "group changed");
            self.desk.change(changed);
            self.changes.untold.extend(self.desk.members(group));
        }
        self.desk.standings(named)
    }

    /// Deletes a page of what removed groups have left, and the next one when that is done.
    pub(super) fn sweep(&mut self) {
        let writer = self.log.writer.clone();
        self.work.push(Box::pin(async move {
            let outcome = writer.sweep_groups().await;
            if outcome.is_err() {
                tokio::time::sleep(SWEEP_AGAIN_AFTER).await;
            }
            Done::Swept(outcome)
        }));
    }

    pub(super) fn swept(&mut self, outcome: Result<Swept, WriteError>) {
        match outcome {
            Ok(Swept::Everything) | Err(WriteError::Stopped) => return,
            Ok(Swept::More) => {}
            Err(error) => warn!(%error, "what a removed group has left is still there; trying again"),
        }
        // The next hub goes on with it.
        if !self.desk.is_closing() {
            self.sweep();
        }
    }

    /// Tells members how long they may keep a delivery, as far as their connections have room.
    pub(super) fn tell_deadlines(&mut self) {
        let Self { changes, consumers, desk, outboxes, .. } = self;
        changes.untold.retain(|member| {
            let Some(group) = consumers.get(member).copied().flatten() else { return false };
            let Some(settings) = desk.settings(group) else { return false };
            let Some(outbox) = outboxes.get(&member.connection) else { return false };
            // Deliveries have the room that they were counted with.
            if outbox.capacity() <= PUSHES_MAX {
                return true;
            }
            let within = Duration::from_millis(settings.deadline_ms.into());
            let outgoing = Outgoing::Deadline { listener: member.listener, within };
            matches!(outbox.try_send(outgoing), Err(TrySendError::Full(_)))
        });
        // Behind whatever was delivered to them before, in the same queue.
        changes.stopped.retain(|member| {
            let Some(outbox) = outboxes.get(&member.connection) else { return false };
            let outgoing = Outgoing::Enough { listener: member.listener };
            outbox.capacity() <= PUSHES_MAX || matches!(outbox.try_send(outgoing), Err(TrySendError::Full(_)))
        });
    }
}
