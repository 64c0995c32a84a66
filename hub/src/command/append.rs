//! Storing events: checked here, decided and committed by the writer.

use db::Append;
use proto::access::Action;
use proto::message::{Offer, Reply, Stored};
use proto::{Expectation, NewEvent, Refusal, ServiceName};

use super::{Caller, Commands};
use crate::access::{Permit, Target};

impl Commands {
    pub(crate) async fn append(
        &self,
        caller: &Caller,
        events: Vec<NewEvent>,
        offer: Offer,
        expectations: Vec<Expectation>,
    ) -> Result<Reply, Refusal> {
        let permit = self.permit_append(caller, &events, &offer, &expectations)?;
        for (index, event) in events.iter().enumerate() {
            event.check().map_err(|error| Refusal::Invalid {
                reason: format!("event {} (number {} of {}): {error}", event.id, index + 1, events.len()),
            })?;
        }
        let publishers = publishers(&caller.peer.service, events.len(), offer)?;
        let append = Append::new(events, publishers, self.clock.now(), expectations);
        let waiting = self.metrics.append_waits();
        let appended = self.store.append(&permit, append).await?;
        drop(waiting);
        let new = appended.iter().filter(|appended| appended.stored == Stored::Now).count();
        self.metrics.appended(new, appended.len() - new);
        Ok(Reply::Appended(appended))
    }

    /// The right to publish these events. What another log held is restored by administrators.
    fn permit_append(
        &self,
        caller: &Caller,
        events: &[NewEvent],
        offer: &Offer,
        expectations: &[Expectation],
    ) -> Result<Permit, Refusal> {
        match offer {
            Offer::Restore(_) => self.permit_admin(caller),
            Offer::Publish | Offer::Persist => {
                let targets = events.iter().map(|event| Target::Events(&event.domain, &event.name));
                let permit = self.reach(caller, Action::Publish).permit_all(targets)?;
                self.check_expectations(caller, expectations)?;
                Ok(permit)
            }
        }
    }

    /// Refuses expectations of eventlogs that `caller` neither publishes to nor reads: what became of them
    /// would tell how long those are.
    pub(super) fn check_expectations(
        &self,
        caller: &Caller,
        expectations: &[Expectation],
    ) -> Result<(), Refusal> {
        if expectations.is_empty() {
            return Ok(());
        }
        let (publish, read) = (self.reach(caller, Action::Publish), self.reach(caller, Action::Read));
        let others = expectations.iter().filter(|expectation| !publish.touches(&expectation.domain));
        read.permit_all(others.map(|expectation| Target::Domain(&expectation.domain))).map(drop)
    }
}

/// In whose name each event is published, if it is.
fn publishers(
    caller: &ServiceName,
    events: usize,
    offer: Offer,
) -> Result<Vec<Option<ServiceName>>, Refusal> {
    match offer {
        Offer::Publish => Ok(vec![Some(caller.clone()); events]),
        Offer::Persist => Ok(vec![None; events]),
        Offer::Restore(publishers) if publishers.len() == events => Ok(publishers),
        Offer::Restore(publishers) => Err(Refusal::Invalid {
            reason: format!(
                "{} publishers were given for {events} events; give one an event",
                publishers.len()
            ),
        }),
    }
}
