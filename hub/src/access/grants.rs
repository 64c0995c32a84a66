//! The compiled grants: one look in memory says whether a service may do something.
//!
//! They are made anew from the tables after every change and never altered. Whether one has ended is
//! asked at each look, so an end needs no change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use db::Database;
use proto::access::{Action, Grant, OPERATOR, RoleMember, Subject};
use proto::limits::PAGE_EVENTS_MAX;
use proto::{Pattern, Refusal, ServiceName, Timestamp};

use super::patterns::Patterns;

/// The count of changes of grants of a database in which nobody has ever made one.
const NEVER_CHANGED: u64 = 1;

/// What decides on a hub about who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Grants.
    Grants,
    /// Nothing: everything is allowed.
    Open,
    /// Nothing until somebody makes the first change of grants in this database, and grants ever after.
    OpenAtFirst,
}

/// All grants of one moment.
#[derive(Debug)]
pub(crate) struct Grants {
    open: bool,
    /// What each service may do by its own grants and by those of its roles.
    services: HashMap<ServiceName, Vec<Arc<Rights>>>,
    /// When grants end, sorted.
    ends: Vec<Timestamp>,
}

/// Until when something is granted. The later is the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Time(Timestamp),
    Always,
}

/// What one subject may do: for each action in which domains, with events of which names, until when.
#[derive(Debug, Default)]
struct Rights([Patterns<Patterns<Until>>; Action::ALL.len()]);

/// Rights that are being put together: the same again counts until the later end.
type Draft = BTreeMap<Action, BTreeMap<Pattern, BTreeMap<Pattern, Until>>>;

impl Grants {
    /// Reads and compiles them. `version` was read before.
    pub(super) async fn load(database: &Database, version: u64, rule: Rule) -> Result<Self, Refusal> {
        let rows = database.grants();
        let (mut grants, mut members) = (Vec::new(), Vec::new());
        loop {
            let after = grants.last().map_or(0, |grant: &Grant| grant.id);
            let page = rows.page(None, after, PAGE_EVENTS_MAX).await.map_err(super::unavailable)?;
            if page.is_empty() {
                break;
            }
            grants.extend(page);
        }
        loop {
            let after = members.last().map(|last: &RoleMember| (last.role.clone(), last.service.clone()));
            let page = rows.members(None, after.as_ref(), PAGE_EVENTS_MAX).await;
            let page = page.map_err(super::unavailable)?;
            if page.is_empty() {
                break;
            }
            members.extend(page);
        }
        Ok(Self::compile(version, rule, grants, members))
    }

    pub(super) fn compile(version: u64, rule: Rule, grants: Vec<Grant>, members: Vec<RoleMember>) -> Self {
        let open = match rule {
            Rule::Grants => false,
            Rule::Open => true,
            Rule::OpenAtFirst => version == NEVER_CHANGED,
        };
        let mut ends: Vec<_> = grants.iter().filter_map(|grant| grant.expires).collect();
        ends.sort_unstable();
        let mut drafts: HashMap<Subject, Draft> = HashMap::new();
        for Grant { subject, action, domain, name, expires, .. } in grants {
            let name = name.unwrap_or_else(every);
            let until = expires.map_or(Until::Always, Until::Time);
            let domains = drafts.entry(subject).or_default().entry(action).or_default();
            let names = domains.entry(domain).or_default();
            names.entry(name).and_modify(|other| *other = until.max(*other)).or_insert(until);
        }
        let (mut services, mut roles) = (HashMap::<_, Vec<_>>::new(), HashMap::new());
        for (subject, draft) in drafts {
            let rights = Arc::new(Rights::of(draft));
            match subject {
                Subject::Service(service) => services.entry(service).or_default().push(rights),
                Subject::Role(role) => drop(roles.insert(role, rights)),
            }
        }
        for RoleMember { role, service, .. } in members {
            if let Some(rights) = roles.get(&role) {
                services.entry(service).or_default().push(Arc::clone(rights));
            }
        }
        Self { open, services, ends }
    }

    /// Whether everything is allowed, whatever is granted.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The first end of a grant after `now`.
    pub(super) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.ends.get(self.ends.partition_point(|end| *end <= now)).copied()
    }

    /// Whether `service` is granted `action` at `now` with events of this name in this domain; without one,
    /// with events of every name, in every domain.
    pub(crate) fn grant(
        &self,
        service: &ServiceName,
        action: Action,
        domain: Option<&str>,
        name: Option<&str>,
        now: Timestamp,
    ) -> bool {
        let names = |names: &Patterns<Until>| names.any(name, |until| *until > Until::Time(now));
        self.of(service).any(|rights| rights.to(action).is_some_and(|domains| domains.any(domain, names)))
    }

    /// Whether `service` is granted `action` at `now` with any events of this domain; without one, with any
    /// at all.
    pub(crate) fn grant_some(
        &self,
        service: &ServiceName,
        action: Action,
        domain: Option<&str>,
        now: Timestamp,
    ) -> bool {
        let some = |names: &Patterns<Until>| names.values().any(|until| *until > Until::Time(now));
        self.of(service).any(|rights| {
            rights.to(action).is_some_and(|domains| match domain {
                Some(domain) => domains.any(Some(domain), some),
                None => domains.values().any(some),
            })
        })
    }

    fn of(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<Rights>> {
        self.services.get(service).into_iter().flatten()
    }
}

/// Whether `service` is the hub's own user, who needs no grant.
pub(crate) fn is_operator(service: &ServiceName) -> bool {
    service.as_str() == OPERATOR
}

impl Rights {
    fn of(draft: Draft) -> Self {
        let mut rights = Self::default();
        for (action, domains) in draft {
            let domains = domains.into_iter().map(|(domain, names)| (domain, Patterns::of(names))).collect();
            if let Some(place) = rights.0.get_mut(place(action)) {
                *place = Patterns::of(domains);
            }
        }
        rights
    }

    fn to(&self, action: Action) -> Option<&Patterns<Patterns<Until>>> {
        self.0.get(place(action))
    }
}

/// Where an action is in a list of all.
pub(crate) fn place(action: Action) -> usize {
    match action {
        Action::Publish => 0,
        Action::Consume => 1,
        Action::Subscribe => 2,
        Action::Schedule => 3,
        Action::Read => 4,
        Action::Delete => 5,
        Action::Admin => 6,
    }
}

fn every() -> Pattern {
    Pattern::parse(Pattern::EVERY).expect("a star is a pattern")
}

#[cfg(test)]
mod tests;
