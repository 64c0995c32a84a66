//! Acks that bring effects with them: from a connection through the desk to the writer, and back.

use db::{Effects, Settlements, WriteError};
use proto::chain::Chained;
use proto::message::{Answer, Appended, Verdict};
use proto::{Position, Refusal};
use tokio::sync::oneshot;

use super::{DispatchTask, Done};
use crate::dispatch::connection::ConnectionId;
use crate::dispatch::desk::key;
use crate::dispatch::group::{Committed, Ended};
use crate::dispatch::handle::ChainWork;

/// A chain that the writer is done with.
pub(super) struct Settled {
    settlement: Settlements,
    outcome: Result<Vec<Appended>, WriteError>,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<Chained, Refusal>>;

impl DispatchTask {
    /// Takes an ack with effects, unless its delivery is somebody else's by now.
    pub(super) fn chain(&mut self, connection: ConnectionId, work: ChainWork, reply: Reply) {
        let now = self.clock.now();
        let ChainWork { listener, position, attempt, effects } = work;
        let key = key(connection, listener);
        let group = self.consumers.get(&key).copied().flatten();
        let settlement = match (&effects, group) {
            (Ok(_), Some(group)) => self.desk.chain(group, key, position, attempt, now),
            (Ok(_), None) | (Err(_), _) => None,
        };
        match (effects, settlement) {
            (Ok(effects), Some(settlement)) => self.commit(effects, settlement, reply),
            (Ok(_), None) => self.say_chained(Ended::Stale, Ok(Chained::Stale), reply),
            (Err(refusal), _) => {
                let verdict = Verdict::Fail { reason: refusal.to_string(), after_ms: None };
                let answer = Answer { listener, position, attempt, verdict };
                let ended = match group {
                    Some(group) => self.desk.answered(group, connection, answer, now),
                    None => Ended::Stale,
                };
                let outcome = if ended == Ended::Stale { Ok(Chained::Stale) } else { Err(refusal) };
                self.say_chained(ended, outcome, reply);
            }
        }
    }

    fn commit(&mut self, effects: Effects, settlement: Settlements, reply: Reply) {
        let log = self.log.clone();
        self.work.push(Box::pin(async move {
            let outcome = log.chain(effects, &settlement).await;
            Done::Chained(Box::new(Settled { settlement, outcome, reply }))
        }));
    }

    /// Takes note of what the writer has done, and tells the member.
    pub(super) fn chained(&mut self, settled: Settled) {
        let Settled { settlement, outcome, reply } = settled;
        let group = settlement.group;
        let position = settlement.runs.first().map_or(Position(0), |run| run.first);
        let committed = match &outcome {
            Ok(_) => {
                self.metrics.settled(&settlement);
                Committed::Yes
            }
            Err(WriteError::Refused(refusal)) if is_for_the_handler(refusal) => {
                Committed::Refused(refusal.to_string())
            }
            Err(error) => Committed::PutOff(error.to_string()),
        };
        let now = self.clock.now();
        let ended = self.desk.chained(group, position, committed, now, &mut self.effects);
        // A group that has gone and come again since is another one: it knows nothing of this chain.
        if let Err(error @ WriteError::Fenced { .. }) = &outcome
            && ended != Ended::Stale
        {
            self.lost(group, error);
        }
        self.say_chained(ended, outcome.map(Chained::Committed).map_err(crate::refuse::write), reply);
    }

    fn say_chained(&self, ended: Ended, outcome: Result<Chained, Refusal>, reply: Reply) {
        self.metrics.answered(ended.label());
        let _asker_gone = reply.send(outcome);
    }
}

/// Whether a refusal is about what the handler wants, and not about the log that nobody can write to.
fn is_for_the_handler(refusal: &Refusal) -> bool {
    !matches!(refusal, Refusal::LogRegressed { .. } | Refusal::Unavailable { .. } | Refusal::Stopping)
}
