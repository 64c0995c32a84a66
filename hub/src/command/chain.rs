//! An ack that brings effects with it: checked here, committed with its settlement by the writer.

use db::{Append, Effects, ScheduleWish};
use proto::access::Action;
use proto::chain::{Chain, Chained, Effect, Later};
use proto::message::{Reply, Stored};
use proto::schedule::Which;
use proto::{Refusal, Timestamp};

use super::schedule::check_due;
use super::{Caller, Commands};
use crate::access::{Permit, Target};

impl Commands {
    /// Hands `chain` to the dispatcher, in turn with what the caller says before and after it. What this
    /// gives waits for what came of it.
    pub(crate) async fn chain(
        &self,
        caller: &Caller,
        chain: Chain,
    ) -> impl Future<Output = Result<Reply, Refusal>> + Send + use<> {
        let answered = (chain.listener, chain.position, chain.attempt);
        // What cannot be granted is for the dispatcher to know, too: the delivery has failed.
        let effects = self.permitted(caller, chain).await;
        let answer = self.store.chain(caller.connection, answered, effects).await;
        let metrics = self.metrics.clone();
        async move {
            let chained = answer.await.unwrap_or(Err(Refusal::Stopping))?;
            if let Chained::Committed(appended) = &chained {
                let new = appended.iter().filter(|appended| appended.stored == Stored::Now).count();
                metrics.appended(new, appended.len() - new);
            }
            Ok(Reply::Chained(chained))
        }
    }

    /// What the writer is to do, if the caller may have all of it. For the ack itself it needs no right but
    /// the delivery.
    async fn permitted(&self, caller: &Caller, chain: Chain) -> Result<(Permit, Effects), Refusal> {
        let chain = self.resolve(caller, chain).await?;
        let publish = chain.effects.iter().filter_map(|effect| match effect {
            Effect::Publish(event) | Effect::Persist(event) => {
                Some(Target::Events(&event.domain, &event.name))
            }
            Effect::Schedule(_) | Effect::Cancel(_) | Effect::Link(_) => None,
        });
        let permit = self.reach(caller, Action::Publish).permit_all(publish)?;
        self.check_expectations(caller, &chain.expectations)?;
        Ok((permit, effects(caller, chain, self.clock.now())?))
    }

    /// Asks for the rights that are about what is in the tables. A schedule that the caller may not cancel
    /// is left out, like one that there is not.
    async fn resolve(&self, caller: &Caller, mut chain: Chain) -> Result<Chain, Refusal> {
        let mut effects = Vec::with_capacity(chain.effects.len());
        for effect in chain.effects {
            match &effect {
                Effect::Publish(_) | Effect::Persist(_) => {}
                Effect::Schedule(Later { event, key, .. }) => {
                    let target = Target::Events(&event.domain, &event.name);
                    let permit = self.reach(caller, Action::Schedule).permit(target)?;
                    self.check_key(caller, &permit, key.as_ref()).await?;
                }
                Effect::Cancel(which) => {
                    let permitted = self.permit_schedule(caller, which.clone()).await?;
                    effects.extend(permitted.map(|(_, which)| Effect::Cancel(which)));
                    continue;
                }
                Effect::Link(link) => {
                    self.permit_event(caller, Action::Publish, link.event()).await?;
                }
            }
            effects.push(effect);
        }
        chain.effects = effects;
        Ok(chain)
    }
}

/// What the writer is to do, in the name of the caller.
fn effects(caller: &Caller, chain: Chain, now: Timestamp) -> Result<Effects, Refusal> {
    let count = chain.effects.len();
    for (index, effect) in chain.effects.iter().enumerate() {
        let Some(event) = effect.event() else { continue };
        event.check().map_err(|error| Refusal::Invalid {
            reason: format!("event {} (effect {} of {count}): {error}", event.id, index + 1),
        })?;
        if let Effect::Schedule(later) = effect {
            check_due(later.due, now)?;
        }
    }
    let service = &caller.peer.service;
    let (mut events, mut publishers, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for effect in chain.effects {
        match effect {
            Effect::Publish(event) => {
                events.push(event);
                publishers.push(Some(service.clone()));
            }
            Effect::Persist(event) => {
                events.push(event);
                publishers.push(None);
            }
            change @ (Effect::Schedule(_) | Effect::Cancel(_) | Effect::Link(_)) => changes.push(change),
        }
    }
    let effects = Effects::new(Append::new(events, publishers, now, chain.expectations));
    Ok(changes.into_iter().fold(effects, |effects, change| match change {
        Effect::Schedule(Later { event, due, key }) => {
            effects.schedule(ScheduleWish { event, publisher: service.clone(), due, key, now })
        }
        Effect::Cancel(Which::Id(id)) => effects.cancel(Which::Id(id)),
        Effect::Cancel(Which::Key(key)) => effects.cancel(Which::Key(key)),
        Effect::Link(link) => effects.link(link),
        // They are in the append.
        Effect::Publish(_) | Effect::Persist(_) => effects,
    }))
}
