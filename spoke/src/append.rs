//! Appending: one or many events, over one or many eventlogs, all of them or none.

use proto::limits::{EVENTS_PER_APPEND_MAX, FRAME_BYTES_MAX};
use proto::message::{Appended, Offer, Reply, Request};
use proto::{Domain, Expectation, Expected, NewEvent, Pid};

use crate::error::PublishError;
use crate::link::{Link, Weight};
use crate::spoke::unexpected;

/// An append of several events that are stored together or not at all.
///
/// ```no_run
/// # use eventflow_spoke::{Domain, Expected, NewEvent, Pid, PublishError, Spoke, Version};
/// # async fn example(spoke: Spoke, placed: NewEvent, reserved: NewEvent) -> Result<(), PublishError> {
/// # let (order, id) = (Domain::parse("order").unwrap(), Pid::parse("4711").unwrap());
/// spoke.append()
///     .event(placed)
///     .event(reserved)
///     .expect(order, id, Expected::Exactly(Version(3)))
///     .send()
///     .await?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is stored before send()"]
pub struct AppendBuilder {
    link: Link,
    events: Vec<NewEvent>,
    offer: Offer,
    expectations: Vec<Expectation>,
}

impl AppendBuilder {
    pub(crate) fn new(link: Link) -> Self {
        Self { link, events: Vec::new(), offer: Offer::Publish, expectations: Vec::new() }
    }

    /// One more event.
    pub fn event(mut self, event: NewEvent) -> Self {
        self.events.push(event);
        self
    }

    /// More events.
    pub fn events(mut self, events: impl IntoIterator<Item = NewEvent>) -> Self {
        self.events.extend(events);
        self
    }

    /// They are offered to consumers. This is the default.
    pub fn publish(self) -> Self {
        Self { offer: Offer::Publish, ..self }
    }

    /// They are stored only.
    pub fn persist(self) -> Self {
        Self { offer: Offer::Persist, ..self }
    }

    /// What must be true of an eventlog before; else nothing is stored and the answer is
    /// [`proto::Refusal::WrongVersion`].
    pub fn expect(mut self, domain: Domain, pid: Pid, expected: Expected) -> Self {
        self.expectations.push(Expectation { domain, pid, expected });
        self
    }

    /// Stores them and returns once they are durable, with one entry an event, in their order.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was stored, except that after `Unavailable` it is not known.
    pub async fn send(self) -> Result<Vec<Appended>, PublishError> {
        append(&self.link, self.events, self.offer, self.expectations).await
    }
}

/// Checks the append here, where the caller can be told what is wrong, and asks for it.
pub(crate) async fn append(
    link: &Link,
    events: Vec<NewEvent>,
    offer: Offer,
    expectations: Vec<Expectation>,
) -> Result<Vec<Appended>, PublishError> {
    let Some(first) = events.first() else { return Ok(Vec::new()) };
    let id = first.id.clone();
    let weight = check(&events, &expectations)?;
    let body = Request::Append { events, offer, expectations };
    if let Weight::Append { bytes, .. } = weight
        && bytes > FRAME_BYTES_MAX / 2
    {
        check_frame(&body)?;
    }
    match link.ask(weight, body).await {
        Ok(Reply::Appended(appended)) => Ok(appended),
        Ok(reply) => Err(unexpected(reply).of_publication(id)),
        Err(error) => Err(error.of_publication(id)),
    }
}

fn check(events: &[NewEvent], expectations: &[Expectation]) -> Result<Weight, PublishError> {
    let max = EVENTS_PER_APPEND_MAX;
    for (what, found) in [("events", events.len()), ("expectations", expectations.len())] {
        if found > max {
            return Err(PublishError::TooLarge { what, found, max });
        }
    }
    for event in events {
        event.check().map_err(|source| PublishError::Event { id: event.id.clone(), source })?;
    }
    Ok(Weight::Append { events: events.len(), bytes: events.iter().map(NewEvent::weight).sum() })
}

/// Finds out exactly whether a large append fits one frame.
fn check_frame(body: &Request) -> Result<(), PublishError> {
    /// What the message around the request takes at most.
    const ENVELOPE_BYTES: usize = 16;
    let max = FRAME_BYTES_MAX - ENVELOPE_BYTES;
    match proto::wire::encoded_bytes(body) {
        found if found <= max => Ok(()),
        found => Err(PublishError::TooLarge { what: "bytes", found, max }),
    }
}

#[cfg(test)]
mod tests {
    use proto::{Data, Eid, EventId, EventName};

    use super::*;

    fn new_event(id: &str) -> NewEvent {
        NewEvent::new(
            EventId::parse(id).unwrap(),
            Domain::parse("order").unwrap(),
            Pid::parse("1").unwrap(),
            EventName::parse("order placed").unwrap(),
        )
    }

    #[test]
    fn an_event_with_too_many_links_is_named_before_anything_is_sent() {
        let mut bad = new_event("bad");
        bad.eids = (0..65).map(|n| Eid::parse(&n.to_string()).unwrap()).collect();
        let error = check(&[new_event("good"), bad], &[]).unwrap_err();
        assert!(matches!(&error, PublishError::Event { id, .. } if id.as_str() == "bad"), "{error}");
        assert!(!error.may_retry());
    }

    #[test]
    fn an_append_of_too_many_events_is_to_be_split() {
        let events = vec![new_event("e"); EVENTS_PER_APPEND_MAX + 1];
        let error = check(&events, &[]).unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { what: "events", found: 1001, max: 1000 }));
    }

    #[test]
    fn an_append_that_does_not_fit_a_frame_is_to_be_split() {
        let mut large = new_event("large");
        large.data = Data::parse(format!("\"{}\"", "x".repeat(700_000))).unwrap();
        let body = |events| Request::Append { events, offer: Offer::Publish, expectations: Vec::new() };
        assert!(check_frame(&body(vec![large.clone()])).is_ok());
        let error = check_frame(&body(vec![large.clone(), large])).unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { what: "bytes", .. }), "{error}");
    }
}
