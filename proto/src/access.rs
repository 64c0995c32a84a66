//! Grants: who may do what.
//!
//! What is not granted is denied, and nothing takes a right away but the removal or the end of what gave
//! it: the rights of a service are the union of its grants and those of its roles, in any order.

use std::fmt;
use std::str::FromStr;

use crate::name::{Domain, EventName, Pattern, RoleName, ServiceName};
use crate::number::Timestamp;

/// The service that the hub's own user is at the hub's socket: it may do everything, needs no grant, and
/// no token is ever made for it.
pub const OPERATOR: &str = "operator";

/// What may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode)]
pub enum Action {
    /// Storing events, offered to consumers or not, and changing the links of stored ones.
    Publish,
    /// Being a member of a consumer group.
    Consume,
    /// Being told of what is published.
    Subscribe,
    /// Having events published later, and changing what is to be.
    Schedule,
    /// Reading the log, waiting for events, and seeing what became of them.
    Read,
    /// Emptying events.
    Delete,
    /// Everything that operators do: groups, parked events, grants, tokens, certificates, imports. It is
    /// about no domain.
    Admin,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Consume,
        Self::Subscribe,
        Self::Schedule,
        Self::Read,
        Self::Delete,
        Self::Admin,
    ];

    /// What it is called.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Subscribe => "subscribe",
            Self::Schedule => "schedule",
            Self::Read => "read",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Action {
    type Err = GrantError;
    fn from_str(text: &str) -> Result<Self, GrantError> {
        let found = Self::ALL.into_iter().find(|action| action.as_str() == text);
        found.ok_or_else(|| GrantError::NoAction { found: text.chars().take(32).collect() })
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Pattern {
    /// The pattern of every name.
    pub const EVERY: &str = "*";

    /// The text that a name has to begin with, if more may follow it.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.as_str().strip_suffix('*')
    }

    /// Whether it is the pattern of every name.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.as_str() == Self::EVERY
    }

    /// Whether `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.prefix() {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.as_str(),
        }
    }

    /// Whether every name that `other` means is meant.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self.prefix(), other.prefix()) {
            (Some(prefix), Some(longer)) => longer.starts_with(prefix),
            (Some(_), None) => self.matches(other.as_str()),
            (None, Some(_)) => false,
            (None, None) => self == other,
        }
    }
}

/// Who gets a right.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, bincode::Encode, bincode::Decode, serde::Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One service, all of its instances.
    Service(ServiceName),
    /// Every service that has a role, at the time of asking.
    Role(RoleName),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "service {service}"),
            Self::Role(role) => write!(f, "role {role}"),
        }
    }
}

/// A grant that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct NewGrant {
    /// Who gets it.
    pub subject: Subject,
    /// What for.
    pub action: Action,
    /// In which domains; every one for [`Action::Admin`].
    pub domain: Pattern,
    /// For events of which names; `None` is every one.
    pub name: Option<Pattern>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

/// Why there can be no such grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// There is no such action.
    #[error(
        "{found:?} is no action; name one of publish, consume, subscribe, schedule, read, delete and admin"
    )]
    NoAction {
        /// What was given.
        found: String,
    },
    /// The hub's own user needs none.
    #[error(
        "service {OPERATOR} is the hub's own user and may do everything; grant this to another service or to a role"
    )]
    Operator,
    /// Administering is about no domain and no name.
    #[error("the right to administer is about no domain; grant it for the domain '*' and without a name")]
    AdminOfDomain,
    /// It would never count.
    #[error("the grant would have ended at {expires}, which has passed; choose a later time")]
    Ended {
        /// When.
        expires: Timestamp,
    },
}

impl NewGrant {
    /// Whether there can be such a grant at `now`.
    ///
    /// # Errors
    /// [`GrantError`] says why not.
    pub fn check(&self, now: Timestamp) -> Result<(), GrantError> {
        if matches!(&self.subject, Subject::Service(service) if service.as_str() == OPERATOR) {
            return Err(GrantError::Operator);
        }
        if self.action == Action::Admin && (!self.domain.is_every() || self.name.is_some()) {
            return Err(GrantError::AdminOfDomain);
        }
        match self.expires {
            Some(expires) if expires <= now => Err(GrantError::Ended { expires }),
            Some(_) | None => Ok(()),
        }
    }
}

/// A grant as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct Grant {
    /// Its number, by which it is removed.
    pub id: u64,
    /// Who has it.
    #[serde(flatten)]
    pub subject: Subject,
    /// What for.
    pub action: Action,
    /// In which domains.
    pub domain: Pattern,
    /// For events of which names; `None` is every one.
    pub name: Option<Pattern>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// Who made it: service and instance.
    pub agent: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A service that has a role.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct RoleMember {
    /// The role.
    pub role: RoleName,
    /// The service.
    pub service: ServiceName,
    /// Who made it so: service and instance.
    pub agent: String,
    /// Since when.
    pub created: Timestamp,
}

/// Something about grants.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GrantRequest {
    /// Makes a grant. One that is there already is left as it is. Answered by [`GrantReply::Added`].
    Add(NewGrant),
    /// Takes a grant back. Answered by [`GrantReply::Changed`].
    Remove(u64),
    /// Grants, by number. Answered by [`GrantReply::Listed`].
    List {
        /// Only those of this subject.
        subject: Option<Subject>,
        /// Only those after this number; 0 is from the first on.
        after: u64,
        /// At most so many, cut to [`crate::limits::GRANTS_PER_PAGE_MAX`].
        limit: u32,
    },
    /// Whether a service may do something. Answered by [`GrantReply::Checked`].
    Check {
        /// Who.
        service: ServiceName,
        /// What.
        action: Action,
        /// In which domain; `None` is in all of them.
        domain: Option<Domain>,
        /// With events of which name; `None` is of every one.
        name: Option<EventName>,
    },
    /// Gives a role to a service. Answered by [`GrantReply::Changed`].
    Join {
        /// The role.
        role: RoleName,
        /// The service.
        service: ServiceName,
    },
    /// Takes a role from a service. Answered by [`GrantReply::Changed`].
    Quit {
        /// The role.
        role: RoleName,
        /// The service.
        service: ServiceName,
    },
    /// Who has which role, by role and service. Answered by [`GrantReply::Members`].
    Members {
        /// Only those of this role.
        role: Option<RoleName>,
        /// The last of the page before; `None` starts.
        after: Option<(RoleName, ServiceName)>,
        /// At most so many, cut to [`crate::limits::GRANTS_PER_PAGE_MAX`].
        limit: u32,
    },
}

/// Whether grants decide on a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InForce {
    /// They do, as before.
    Grants,
    /// They do from this change on; before it, everything was allowed.
    GrantsFromNowOn,
    /// They do not: everything is allowed.
    Open,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GrantReply {
    /// The grant is there and counts.
    Added {
        /// Its number.
        id: u64,
        /// Whether grants decide on this hub.
        access: InForce,
    },
    /// What was asked for is so and counts.
    Changed {
        /// Whether it was not so before.
        changed: bool,
        /// Whether grants decide on this hub.
        access: InForce,
    },
    /// A page of grants; none: there are no more.
    Listed(Vec<Grant>),
    /// What grants and roles say.
    Checked {
        /// What is missing, and how it is granted; `None` if nothing is.
        missing: Option<String>,
        /// Whether grants decide on this hub.
        access: InForce,
    },
    /// A page of services with roles; none: there are no more.
    Members(Vec<RoleMember>),
}

impl GrantReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Added { .. } | Self::Changed { .. } => 0,
            Self::Checked { missing, .. } => missing.as_ref().map_or(0, String::len),
            Self::Listed(grants) => grants.iter().map(Grant::weight).sum(),
            Self::Members(members) => members.iter().map(RoleMember::weight).sum(),
        }
    }
}

impl Grant {
    fn weight(&self) -> usize {
        let names = self.domain.as_str().len() + self.name.as_ref().map_or(0, |name| name.as_str().len());
        let subject = match &self.subject {
            Subject::Service(service) => service.as_str().len(),
            Subject::Role(role) => role.as_str().len(),
        };
        size_of::<Self>() + names + subject + self.agent.len()
    }
}

impl RoleMember {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.role.as_str().len() + self.service.as_str().len() + self.agent.len()
    }
}

#[cfg(test)]
mod tests;
