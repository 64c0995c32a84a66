//! Who did what: the operator's log on the wire.

use crate::number::Timestamp;

/// A wish to read lines that say who did what.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct AuditRequest {
    /// Only lines after this number; 0 is from the beginning.
    pub after: u64,
    /// Only what was done since then.
    pub since: Option<Timestamp>,
    /// Only acts that begin like this, such as `token.`.
    pub act: Option<String>,
    /// At most so many, cut to [`crate::limits::PAGE_EVENTS_MAX`].
    pub limit: u32,
}

/// Lines in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct AuditReply {
    /// The lines; none: there are no more.
    pub lines: Vec<AuditLine>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct AuditLine {
    /// Its number.
    pub id: u64,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// Who.
    pub agent: String,
    /// What, such as `token.create`.
    pub act: String,
    /// To what or whom.
    pub subject: String,
    /// The rest, for people.
    pub detail: String,
}

impl AuditReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        let line = |line: &AuditLine| {
            size_of::<AuditLine>()
                + line.agent.len()
                + line.act.len()
                + line.subject.len()
                + line.detail.len()
        };
        self.lines.iter().map(line).sum()
    }
}
