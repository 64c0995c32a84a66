//! Parked events: which there are, what to do with them, and what was done.
//!
//! A group gives an event up when it has failed too often, and keeps it aside: it is *parked*. It can be
//! *replayed*, which delivers it again, or *discarded*, which settles it as failed for good.

use crate::group::ParkPolicy;
use crate::name::{Domain, EventId, EventName, GroupName, Pid};
use crate::number::{Attempt, Position, Timestamp, Version};
use crate::read::Window;

/// What is asked about parked events.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ParkedRequest {
    /// Those that are selected, a page at a time.
    List {
        /// Which.
        selection: ParkedSelection,
        /// What the page before ended with; `None` starts.
        after: Option<ParkedCursor>,
        /// At most so many.
        limit: u32,
    },
    /// Takes the next batch of those that are selected, at most
    /// [`crate::limits::UNPARK_EVENTS_MAX`]. The answer has what was taken and how to go on.
    Unpark {
        /// Which.
        selection: ParkedSelection,
        /// What the batch before ended with; `None` starts.
        after: Option<ParkedCursor>,
        /// What to do with them.
        act: ParkedAct,
        /// Whether to do it.
        mode: UnparkMode,
    },
    /// What was done about an event while it was parked, in every group.
    History(EventId),
}

/// Which parked events: those for which everything holds that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ParkedSelection {
    /// Of this group.
    pub group: Option<GroupName>,
    /// Of this domain.
    pub domain: Option<Domain>,
    /// This event.
    pub id: Option<EventId>,
    /// Of this process.
    pub pid: Option<Pid>,
    /// Of this name.
    pub name: Option<EventName>,
    /// Those whose reason has this text in it, letter by letter.
    pub reason: Option<String>,
    /// Those that were parked within these times.
    pub window: Window,
}

/// Where to go on in the parked events of all groups.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ParkedCursor {
    /// The number of the group.
    pub group: u32,
    /// After this position in it.
    pub after: Position,
    /// A process whose parked events were not all looked at, and the last that was: the others come
    /// first, whatever was selected.
    pub rest: Option<(Pid, Position)>,
}

/// What to do with parked events.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ParkedAct {
    /// Deliver them again. Of a process that is parked as a whole all events come with the first.
    Replay,
    /// Settle them as failed, for good.
    Discard {
        /// Why, for people; cut to [`crate::limits::REASON_CHARS_MAX`].
        reason: String,
    },
}

/// Whether something is done or only said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum UnparkMode {
    /// Do it.
    Take,
    /// Say what would be taken.
    Look,
}

/// What was asked about parked events.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum ParkedReply {
    /// A page or a batch.
    Page(ParkedPage),
    /// What was done, the oldest first.
    History(Vec<ParkedChange>),
}

/// Parked events, by group and position.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct ParkedPage {
    /// They. A page may be empty and not be the last.
    pub events: Vec<ParkedEvent>,
    /// How to go on; `None` after the last.
    pub next: Option<ParkedCursor>,
}

/// A parked event.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct ParkedEvent {
    /// The group that has parked it.
    pub group: GroupName,
    /// Its domain.
    pub domain: Domain,
    /// Its id.
    pub id: EventId,
    /// Its position.
    pub position: Position,
    /// Its process.
    pub pid: Pid,
    /// Its version.
    pub version: Version,
    /// Its name.
    pub name: EventName,
    /// Its time.
    pub timestamp: Timestamp,
    /// When it was parked.
    pub parked: Timestamp,
    /// How often it was delivered until then; 0 if it was parked behind another one.
    pub attempts: Attempt,
    /// Why it was parked.
    pub reason: String,
    /// Who had it last: the service and instance of the member.
    pub consumer: String,
    /// Whether its whole process is parked with it.
    pub policy: ParkPolicy,
}

/// What was done about a parked event.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct ParkedChange {
    /// The group that had parked it.
    pub group: GroupName,
    /// Its domain.
    pub domain: Domain,
    /// What was done.
    #[serde(flatten)]
    pub done: Unparked,
    /// When.
    pub at: Timestamp,
    /// By whom: service and instance.
    pub by: String,
    /// When it was parked before that.
    pub parked: Timestamp,
    /// How often it was delivered until then.
    pub attempts: Attempt,
    /// Why it was parked.
    pub reason: String,
    /// Who had it last.
    pub consumer: String,
}

/// What became of a parked event.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Unparked {
    /// It is to be delivered again and has no outcome since.
    Replaying,
    /// It was delivered again, and has an outcome since.
    Replayed,
    /// It was discarded.
    Discarded {
        /// Why.
        why: String,
    },
}

impl ParkedReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Page(page) => page.events.iter().map(ParkedEvent::weight).sum(),
            Self::History(changes) => changes.iter().map(ParkedChange::weight).sum(),
        }
    }
}

/// The fixed part of a parked event, roughly.
const FIXED: usize = 96;

impl ParkedEvent {
    /// Bytes that it holds, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        let names = self.group.as_str().len() + self.domain.as_str().len() + self.id.as_str().len();
        let own = self.pid.as_str().len() + self.name.as_str().len();
        FIXED + names + own + self.reason.len() + self.consumer.len()
    }
}

impl ParkedChange {
    fn weight(&self) -> usize {
        let names = self.group.as_str().len() + self.domain.as_str().len();
        FIXED + names + self.by.len() + self.reason.len() + self.consumer.len()
    }
}
