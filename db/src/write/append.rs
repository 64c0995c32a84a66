//! Events on their way into the log: everything that can be worked out before the lock is taken.

use proto::{Event, Expectation, NewEvent, Position, ServiceName, Timestamp, Version};

/// Events that are to be stored together or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    pub(crate) events: Vec<Prepared>,
    pub(crate) expectations: Vec<Expectation>,
    /// With fewer events it is refused.
    pub(crate) events_min: usize,
    pub(crate) bytes: usize,
    pub(crate) now: Timestamp,
}

/// One event of an append. Position and version are filled in by the writer.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) event: Event,
    pub(crate) published: Option<Timestamp>,
    pub(crate) digest: [u8; 16],
    pub(crate) metadata: Option<String>,
    pub(crate) bytes: usize,
}

impl Append {
    /// Prepares `events`, the one at index i published in the name of `publishers[i]`, or only
    /// stored where that is `None` or missing. Events without a time of their own happened `now`.
    ///
    /// The caller has called [`NewEvent::check`] on each: nothing here looks at data again, and
    /// what is stored is handed to every consumer.
    #[must_use]
    pub fn new(
        events: Vec<NewEvent>,
        publishers: Vec<Option<ServiceName>>,
        now: Timestamp,
        expectations: Vec<Expectation>,
    ) -> Self {
        let publishers = publishers.into_iter().chain(std::iter::repeat(None));
        let events: Vec<_> = events
            .into_iter()
            .zip(publishers)
            .map(|(event, publisher)| Prepared::new(event, publisher, now))
            .collect();
        let bytes = events.iter().map(|event| event.bytes).sum();
        Self { events, expectations, events_min: 1, bytes, now }
    }
}

impl Prepared {
    /// `event`, published `now` in the name of `publisher` or only stored; as happened now if it does not
    /// say when.
    pub(crate) fn new(event: NewEvent, publisher: Option<ServiceName>, now: Timestamp) -> Self {
        let digest = event.digest();
        // A map of strings always has a JSON form.
        let metadata = (!event.metadata.0.is_empty())
            .then(|| serde_json::to_string(&event.metadata).unwrap_or_else(|_| "{}".to_owned()));
        let bytes = event.weight() + metadata.as_ref().map_or(0, String::len);
        let (mut eids, mut cpids) = (event.eids, event.cpids);
        eids.sort_unstable();
        eids.dedup();
        cpids.sort_unstable();
        cpids.dedup();
        let published = publisher.is_some().then_some(now);
        let event = Event {
            position: Position(0),
            id: event.id,
            timestamp: event.timestamp.unwrap_or(now),
            domain: event.domain,
            pid: event.pid,
            version: Version(0),
            name: event.name,
            rid: event.rid,
            publisher,
            metadata: event.metadata,
            data: event.data,
            eids,
            cpids,
        };
        Self { event, published, digest, metadata, bytes }
    }
}
