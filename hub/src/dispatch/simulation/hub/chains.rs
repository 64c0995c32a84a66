//! Acks with effects in the simulation: from a connection through the desk to the tables, and back.

use std::sync::Arc;
use std::time::Duration;

use db::Settlements;
use proto::chain::{Chain, Chained, Effect};
use proto::message::{Appended, Reply};
use proto::{Attempt, Event, NewEvent, Position, Refusal, RequestId, ServiceName};

use super::super::super::connection::ConnectionId;
use super::super::super::desk::key;
use super::super::super::group::{Committed, Ended, MemberKey};
use super::super::SERVICE;
use super::super::broken::Broken;
use super::super::tables::{Tables, Written};
use super::{Hub, Job, Work};

/// A chain that the writer has, or is done with.
#[derive(Debug)]
pub(in crate::dispatch::simulation) struct UnderWay {
    connection: ConnectionId,
    id: RequestId,
    member: MemberKey,
    attempt: Attempt,
    events: Vec<NewEvent>,
    settlement: Settlements,
}

impl UnderWay {
    fn position(&self) -> Position {
        self.settlement.runs.first().map_or(Position(0), |run| run.first)
    }
}

impl Hub {
    /// Takes an ack with effects.
    pub(super) fn chain(&mut self, connection: ConnectionId, id: RequestId, chain: Chain, now: Duration) {
        let Chain { listener, position, attempt, effects, .. } = chain;
        let member = key(connection, listener);
        let group = self.consumers.get(&member).copied().flatten();
        let at = self.at(now);
        let settlement = group.and_then(|group| self.desk.chain(group, member, position, attempt, at));
        let Some(settlement) = settlement else {
            self.watch.back(member, (position, attempt));
            return self.reply(connection, id, Ok(Reply::Chained(Chained::Stale)));
        };
        let events = effects.iter().filter_map(Effect::event).cloned().collect();
        let under_way = UnderWay { connection, id, member, attempt, events, settlement };
        self.queue.push_back(Job::Chain(Box::new(under_way)));
    }

    /// Commits a chain, or leaves it; what is new goes to `new`.
    pub(super) fn write_chain(
        &mut self,
        chain: Box<UnderWay>,
        new: &mut Vec<Arc<Event>>,
        tables: &mut Tables,
        now: Duration,
    ) -> Result<(), Broken> {
        let publisher = ServiceName::parse(SERVICE).ok();
        let written = tables.chain(&chain.events, publisher.as_ref(), self.at(now), &chain.settlement)?;
        let (group, given) = (chain.settlement.group, (chain.position(), chain.attempt));
        let outcome = match written {
            Written::Fenced => None,
            Written::Refused(refusal) => {
                self.watch.answered(tables, group, chain.member, given, Ended::Failed)?;
                Some(Err(refusal))
            }
            Written::Stored(appended, stored) => {
                // Whoever had it meanwhile would have been given what is settled.
                self.watch.answered(tables, group, chain.member, given, Ended::Succeeded)?;
                new.extend(stored);
                Some(Ok(appended))
            }
        };
        self.work.push(Work::Chained(chain, outcome));
        Ok(())
    }

    /// The writer is done with a chain; without an outcome the group is not this hub's any more.
    pub(super) fn chained(
        &mut self,
        chain: &UnderWay,
        outcome: Option<Result<Vec<Appended>, Refusal>>,
        now: Duration,
    ) -> Result<(), Broken> {
        let group = chain.settlement.group;
        self.watch.back(chain.member, (chain.position(), chain.attempt));
        let reason = "the group has gone to another hub".to_owned();
        let committed = match &outcome {
            Some(Ok(_)) => Committed::Yes,
            Some(Err(refusal)) => Committed::Refused(refusal.to_string()),
            None => Committed::PutOff(reason.clone()),
        };
        let at = self.at(now);
        let ended = self.desk.chained(group, chain.position(), committed, at, &mut self.effects);
        if outcome.is_none() && ended != Ended::Stale {
            self.lost(group)?;
        }
        let outcome = outcome.unwrap_or(Err(Refusal::Unavailable { reason }));
        let outcome = outcome.map(|appended| Reply::Chained(Chained::Committed(appended)));
        self.reply(chain.connection, chain.id, outcome);
        Ok(())
    }
}
