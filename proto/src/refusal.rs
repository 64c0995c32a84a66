//! What a hub says no with: one variant per thing that the caller does differently.

use crate::filter::Expected;
use crate::name::{Domain, EventId, Pid};
use crate::number::{Position, Version};

/// Why a request was refused. Nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The id is taken by an event with other content, or by a schedule for one.
    #[error("{}", conflict(id, *position))]
    Conflict {
        /// The id.
        id: EventId,
        /// Where its event is; 0 if it is scheduled and not in the log (yet).
        position: Position,
    },
    /// An eventlog is not as expected.
    #[error(
        "eventlog {domain}/{pid} is at version {actual}, expected was {expected:?}; read it again and decide anew"
    )]
    WrongVersion {
        /// The eventlog's domain.
        domain: Domain,
        /// The eventlog's pid.
        pid: Pid,
        /// What was expected.
        expected: Expected,
        /// The version of its last event.
        actual: Version,
    },
    /// The request is not one that can be granted, now or later.
    #[error("{reason}")]
    Invalid {
        /// What is wrong and what to do.
        reason: String,
    },
    /// What was named does not exist.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The caller may not do this.
    #[error("not allowed: {reason}")]
    Denied {
        /// Which right is missing.
        reason: String,
    },
    /// The database did not do it in time. Asking again is safe.
    #[error("the database did not answer ({reason}); try again, that is safe")]
    Unavailable {
        /// What the database said.
        reason: String,
    },
    /// The log is behind what this hub has answered: somebody restored an older copy.
    #[error(
        "the log ends at position {head}, but {answered} was answered: an older copy of the database was restored; the hub refuses to append until a person has decided (docs/operations.md, LOG_REGRESSED)"
    )]
    LogRegressed {
        /// Where the log ends.
        head: Position,
        /// What this hub had answered.
        answered: Position,
    },
    /// The hub is stopping. Ask another one, or again after the reconnect.
    #[error("the hub is stopping; the spoke will connect again and ask again")]
    Stopping,
}

fn conflict(id: &EventId, position: Position) -> String {
    let taken = match position {
        Position(0) => "is scheduled already".to_owned(),
        position => format!("is stored already at position {position}"),
    };
    format!("event {id} {taken} with other content; give this one an id of its own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_with_a_schedule_does_not_name_a_position_that_is_none() {
        let conflict = |position| {
            let id = EventId::parse("e").unwrap();
            Refusal::Conflict { id, position: Position(position) }.to_string()
        };
        assert!(conflict(0).starts_with("event e is scheduled already with other content"));
        assert!(conflict(7).starts_with("event e is stored already at position 7 with other content"));
    }
}
