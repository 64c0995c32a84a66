//! Storing events: checked here, decided and committed by the writer.

use db::Append;
use proto::message::{Offer, Reply, Stored};
use proto::{Expectation, NewEvent, Refusal, ServiceName};

use super::{Caller, Commands};

impl Commands {
    pub(crate) async fn append(
        &self,
        caller: &Caller,
        events: Vec<NewEvent>,
        offer: Offer,
        expectations: Vec<Expectation>,
    ) -> Result<Reply, Refusal> {
        for (index, event) in events.iter().enumerate() {
            event.check().map_err(|error| Refusal::Invalid {
                reason: format!("event {} (number {} of {}): {error}", event.id, index + 1, events.len()),
            })?;
        }
        let publishers = publishers(&caller.peer.service, events.len(), offer)?;
        let append = Append::new(events, publishers, self.clock.now(), expectations);
        let waiting = self.metrics.append_waits();
        let appended = self.writer.append(append).await.map_err(crate::refuse::write)?;
        drop(waiting);
        let new = appended.iter().filter(|appended| appended.stored == Stored::Now).count();
        self.metrics.appended(new, appended.len() - new);
        Ok(Reply::Appended(appended))
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
