//! One row of a file: an event that is ready to be stored, or why it cannot be one.

use proto::{NewEvent, ServiceName};

/// An event and where in the file it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The line that it starts on, from 1.
    pub(crate) line: u64,
    /// The event, checked.
    pub(crate) event: NewEvent,
    /// In whose name it is stored.
    pub(crate) publisher: Publisher,
}

/// In whose name an event is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// The file does not say: in the name of whoever imports it.
    Importer,
    /// In the name of this service, which published it before.
    Service(ServiceName),
    /// It was never published: it is stored only.
    Nobody,
}

/// Why the next row of a file is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowError {
    /// This row is wrong; those after it can be read.
    Bad(BadRow),
    /// The file cannot be read any further, whoever wants to keep going.
    Broken(BadRow),
}

/// A row that is not an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// The line that it starts on, from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Row {
    /// Bytes that the event takes in a request, at most.
    pub(crate) fn wire_bytes(&self) -> usize {
        // Lengths, tags and numbers: at most nine bytes each, and there are fewer than twelve of them.
        const FIXED: usize = 128;
        const PER_LINK: usize = 9;
        let event = &self.event;
        let names = [event.id.as_str(), event.domain.as_str(), event.pid.as_str(), event.name.as_str()];
        let metadata = event.metadata.0.iter().map(|(key, value)| key.len() + value.len() + 2 * PER_LINK);
        let eids = event.eids.iter().map(|eid| eid.as_str().len() + PER_LINK);
        let cpids = event
            .cpids
            .iter()
            .map(|cpid| cpid.domain.as_str().len() + cpid.pid.as_str().len() + 2 * PER_LINK);
        FIXED
            + names.iter().map(|name| name.len()).sum::<usize>()
            + event.rid.as_ref().map_or(0, |rid| rid.as_str().len())
            + event.data.as_bytes().len()
            + metadata.chain(eids).chain(cpids).sum::<usize>()
    }
}
