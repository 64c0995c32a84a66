//! Consumer groups as people manage them: settings, pauses, removal, and how each one stands.
//!
//! A group is one for each (name, domain). What names a group without a domain means all groups of
//! that name.

use crate::filter::Order;
use crate::limits::{
    CREDIT_EVENTS_MAX, GROUP_ATTEMPTS_MAX, GROUP_BACKOFF_MS_MAX, GROUP_DEADLINE_MS_MAX, GROUP_DEADLINE_MS_MIN,
};
use crate::name::{Domain, GroupName, Pid};
use crate::number::{Position, Timestamp};
use crate::report::GroupReport;

/// What is parked when an event of a group has failed for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkPolicy {
    /// The event: its process goes on with the next one.
    #[default]
    Event,
    /// The event and all later ones of its process.
    Pid,
}

/// The rules of one group, as they are in force.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct GroupSettings {
    /// Failures after which an event is parked; 1 to [`GROUP_ATTEMPTS_MAX`].
    pub attempts_max: u32,
    /// Milliseconds until the second try; it doubles with each further failure. 1 to
    /// [`GROUP_BACKOFF_MS_MAX`], and no more than `backoff_max_ms`.
    pub backoff_first_ms: u32,
    /// The longest wait between two tries, in milliseconds; at most [`GROUP_BACKOFF_MS_MAX`].
    pub backoff_max_ms: u32,
    /// Milliseconds that a member may keep a delivery without an answer or a sign of progress;
    /// [`GROUP_DEADLINE_MS_MIN`] to [`GROUP_DEADLINE_MS_MAX`]. A change counts for deliveries and signs
    /// of progress after it.
    pub deadline_ms: u32,
    /// Events that any one member may have in flight, whatever credit it gives; 1 to
    /// [`CREDIT_EVENTS_MAX`].
    pub credit_max: u32,
    /// Whether a process's events come one by one.
    pub order: Order,
    /// What is parked with an event that has failed for good.
    pub park: ParkPolicy,
}

/// Which settings are to be others. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct SettingsChange {
    /// As [`GroupSettings::attempts_max`].
    pub attempts_max: Option<u32>,
    /// As [`GroupSettings::backoff_first_ms`].
    pub backoff_first_ms: Option<u32>,
    /// As [`GroupSettings::backoff_max_ms`].
    pub backoff_max_ms: Option<u32>,
    /// As [`GroupSettings::deadline_ms`].
    pub deadline_ms: Option<u32>,
    /// As [`GroupSettings::credit_max`].
    pub credit_max: Option<u32>,
    /// As [`GroupSettings::order`].
    pub order: Option<Order>,
    /// As [`GroupSettings::park`].
    pub park: Option<ParkPolicy>,
}

/// Why settings cannot be in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A number is below or above what it may be.
    #[error("{what} of {found} is out of range; choose {min} to {max}")]
    OutOfRange {
        /// Which setting.
        what: &'static str,
        /// What was chosen.
        found: u32,
        /// The least that it may be.
        min: u32,
        /// The most that it may be.
        max: u32,
    },
    /// The first wait is longer than the longest.
    #[error("the first back-off of {first} ms is longer than the longest of {max} ms; set both")]
    BackoffReversed {
        /// The first wait.
        first: u32,
        /// The longest wait.
        max: u32,
    },
}

impl SettingsChange {
    /// Whether it changes nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What both say together; `later` wins.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        Self {
            attempts_max: later.attempts_max.or(self.attempts_max),
            backoff_first_ms: later.backoff_first_ms.or(self.backoff_first_ms),
            backoff_max_ms: later.backoff_max_ms.or(self.backoff_max_ms),
            deadline_ms: later.deadline_ms.or(self.deadline_ms),
            credit_max: later.credit_max.or(self.credit_max),
            order: later.order.or(self.order),
            park: later.park.or(self.park),
        }
    }

    /// Checks every number that is named against its limits, and the back-off as it would be after
    /// `current`.
    ///
    /// # Errors
    /// [`SettingsError`] names the first that is out of range.
    pub fn check(&self, current: &GroupSettings) -> Result<(), SettingsError> {
        let within = |what, found: Option<u32>, min, max| match found {
            Some(found) if !(min..=max).contains(&found) => {
                Err(SettingsError::OutOfRange { what, found, min, max })
            }
            Some(_) | None => Ok(()),
        };
        within("attempts", self.attempts_max, 1, GROUP_ATTEMPTS_MAX)?;
        within("a first back-off in ms", self.backoff_first_ms, 1, GROUP_BACKOFF_MS_MAX)?;
        within("a longest back-off in ms", self.backoff_max_ms, 1, GROUP_BACKOFF_MS_MAX)?;
        within("a deadline in ms", self.deadline_ms, GROUP_DEADLINE_MS_MIN, GROUP_DEADLINE_MS_MAX)?;
        within("credit", self.credit_max, 1, CREDIT_EVENTS_MAX)?;
        let GroupSettings { backoff_first_ms: first, backoff_max_ms: max, .. } = current.with(self);
        if first > max { Err(SettingsError::BackoffReversed { first, max }) } else { Ok(()) }
    }
}

impl GroupSettings {
    /// These settings with `change`.
    #[must_use]
    pub fn with(&self, change: &SettingsChange) -> Self {
        Self {
            attempts_max: change.attempts_max.unwrap_or(self.attempts_max),
            backoff_first_ms: change.backoff_first_ms.unwrap_or(self.backoff_first_ms),
            backoff_max_ms: change.backoff_max_ms.unwrap_or(self.backoff_max_ms),
            deadline_ms: change.deadline_ms.unwrap_or(self.deadline_ms),
            credit_max: change.credit_max.unwrap_or(self.credit_max),
            order: change.order.unwrap_or(self.order),
            park: change.park.unwrap_or(self.park),
        }
    }
}

/// What of the groups of one name is meant.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GroupPart {
    /// The groups of all domains.
    Whole,
    /// The group of one domain.
    Domain(Domain),
    /// One process of the group of its domain.
    Pid(Domain, Pid),
}

impl GroupPart {
    /// The domain, if it is one.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Whole => None,
            Self::Domain(domain) | Self::Pid(domain, _) => Some(domain),
        }
    }
}

/// What becomes of connected members when their group is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum MembersFate {
    /// The removal is refused while there are any.
    Respected,
    /// They are sent away.
    SentAway,
}

/// Something to be known of groups, or to be done with them.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GroupCommand {
    /// Tells how groups stand, by name and domain, a page at a time: no status is the end.
    List {
        /// Only groups of this name; `None` is all.
        group: Option<GroupName>,
        /// The last of the page before; `None` starts.
        after: Option<(GroupName, Domain)>,
    },
    /// Changes settings.
    Set {
        /// The group.
        group: GroupName,
        /// Its domain; `None` is all of them.
        domain: Option<Domain>,
        /// What is to be different.
        change: SettingsChange,
    },
    /// Delivers nothing new; what is out is finished. Pausing what is paused changes nothing.
    Pause {
        /// The group.
        group: GroupName,
        /// What of it.
        part: GroupPart,
    },
    /// Goes on with what was paused. A process that was paused by itself stays paused when its group
    /// goes on.
    Resume {
        /// The group.
        group: GroupName,
        /// What of it.
        part: GroupPart,
    },
    /// Removes the group with everything that is recorded of its deliveries. Events stay.
    Remove {
        /// The group.
        group: GroupName,
        /// Its domain; `None` is all of them.
        domain: Option<Domain>,
        /// What becomes of its members.
        members: MembersFate,
    },
}

/// How one group stands, with its settings.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct GroupStatus {
    /// Its counts. `pending` is its lag in events: counted, not guessed. After a crash of the hub it
    /// may be too high until the group has read again what was settled beyond its cursors.
    #[serde(flatten)]
    pub report: GroupReport,
    /// The rules in force.
    pub settings: GroupSettings,
    /// Since when and by whom the whole group of this domain is paused.
    pub paused: Option<Pause>,
    /// How many processes of it are paused by themselves.
    pub pids_paused: u64,
    /// These processes, by pid; the first [`crate::limits::GROUP_LISTED_MAX`].
    pub paused_pids: Vec<PausedPid>,
    /// The oldest event that has no outcome; `None` if there is none.
    pub oldest: Option<OldestUnsettled>,
    /// Its members, in the order in which they joined; the first [`crate::limits::GROUP_LISTED_MAX`].
    pub connected: Vec<GroupMember>,
}

impl GroupStatus {
    /// Bytes that this status holds, roughly.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 512;
        const LISTED: usize = 192;
        FIXED + LISTED * (self.report.names.len() + self.paused_pids.len() + self.connected.len())
    }
}

/// Since when and by whom something is paused.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// The service and instance that asked for it.
    pub by: String,
}

/// A process that is paused.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct PausedPid {
    /// The process.
    pub pid: Pid,
    /// Its pause.
    #[serde(flatten)]
    pub pause: Pause,
}

/// The oldest event of a group that has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct OldestUnsettled {
    /// Where it is.
    pub position: Position,
    /// When it was published.
    pub published: Timestamp,
    /// Milliseconds since then.
    pub age_ms: u64,
}

/// A connected member.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct GroupMember {
    /// Its service and instance.
    pub member: String,
    /// Events that may be in flight to it: what it allows, within the group's `credit_max`.
    pub credit: u32,
    /// Events that are.
    pub in_flight: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> GroupSettings {
        GroupSettings {
            attempts_max: 5,
            backoff_first_ms: 500,
            backoff_max_ms: 60_000,
            deadline_ms: 60_000,
            credit_max: CREDIT_EVENTS_MAX,
            order: Order::ByPid,
            park: ParkPolicy::Event,
        }
    }

    #[test]
    fn a_change_leaves_alone_what_it_does_not_name() {
        let change = SettingsChange { attempts_max: Some(8), ..SettingsChange::default() };
        assert_eq!(settings().with(&change), GroupSettings { attempts_max: 8, ..settings() });
        let later = SettingsChange { park: Some(ParkPolicy::Pid), ..SettingsChange::default() };
        let both = settings().with(&change.and(&later));
        assert_eq!((both.attempts_max, both.park), (8, ParkPolicy::Pid));
    }

    #[test]
    fn every_number_has_its_limits() {
        let none = SettingsChange::default();
        assert_eq!(none.check(&settings()), Ok(()));
        let out = [
            SettingsChange { attempts_max: Some(0), ..none.clone() },
            SettingsChange { attempts_max: Some(GROUP_ATTEMPTS_MAX + 1), ..none.clone() },
            SettingsChange { deadline_ms: Some(GROUP_DEADLINE_MS_MIN - 1), ..none.clone() },
            SettingsChange { credit_max: Some(0), ..none.clone() },
            SettingsChange { backoff_first_ms: Some(0), ..none.clone() },
        ];
        for change in out {
            let checked = change.check(&settings());
            assert!(matches!(checked, Err(SettingsError::OutOfRange { .. })), "{change:?}");
        }
        let reversed = SettingsChange { backoff_first_ms: Some(60_001), ..none };
        let expected = SettingsError::BackoffReversed { first: 60_001, max: 60_000 };
        assert_eq!(reversed.check(&settings()), Err(expected));
    }
}
