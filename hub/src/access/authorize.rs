//! The one place where it is decided whether a peer may do something.
//!
//! Whoever may gets a [`Permit`], which nothing outside of this file can make, and without which
//! `crate::store` does nothing for a peer. It is asked for before the database is, so who may nothing
//! costs nothing. What is denied is counted, and told with the grant that is missing.

use std::fmt;
use std::sync::Arc;

use proto::access::Action;
use proto::{Domain, EventName, NameFilter, Refusal, ServiceName, Timestamp};

use super::denials::Denials;
use super::grants::{Grants, is_operator};

/// It was decided that a peer may do something. Whoever holds it does that, and nothing else.
#[derive(Debug)]
pub(crate) struct Permit(());

/// What a peer wants to do something with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Events of one name.
    Events(&'a Domain, &'a EventName),
    /// Events of every name of a domain.
    Domain(&'a Domain),
    /// Events of a name in every domain.
    Name(&'a EventName),
    /// Everything.
    Everything,
    /// Anything at all: what exactly is known only when it is found, and is decided about then.
    Something,
}

/// A peer may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denied<'a> {
    pub(crate) service: &'a ServiceName,
    pub(crate) action: Action,
    pub(crate) target: Target<'a>,
}

/// Decides whether `service` may do `action` with `target`.
///
/// # Errors
/// [`Denied`] says which grant is missing.
pub(crate) fn authorize<'a>(
    grants: &Grants,
    service: &'a ServiceName,
    action: Action,
    target: Target<'a>,
    now: Timestamp,
) -> Result<Permit, Denied<'a>> {
    if grants.is_open() || is_operator(service) || is_granted(grants, service, action, target, now) {
        return Ok(Permit(()));
    }
    Err(Denied { service, action, target })
}

/// Whether grants and roles say so, whoever decides.
pub(crate) fn is_granted(
    grants: &Grants,
    service: &ServiceName,
    action: Action,
    target: Target<'_>,
    now: Timestamp,
) -> bool {
    let (domain, name) = match target {
        Target::Something => return grants.grant_some(service, action, None, now),
        Target::Events(domain, name) => (Some(domain), Some(name)),
        Target::Domain(domain) => (Some(domain), None),
        Target::Name(name) => (None, Some(name)),
        Target::Everything => (None, None),
    };
    grants.grant(service, action, domain.map(Domain::as_str), name.map(EventName::as_str), now)
}

/// What a peer reaches with one action, at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Reach<'a> {
    grants: Arc<Grants>,
    denials: &'a Denials,
    service: &'a ServiceName,
    action: Action,
    now: Timestamp,
}

impl<'a> Reach<'a> {
    pub(crate) fn new(
        grants: Arc<Grants>,
        denials: &'a Denials,
        service: &'a ServiceName,
        action: Action,
        now: Timestamp,
    ) -> Self {
        Self { grants, denials, service, action, now }
    }

    /// The right to do it with `target`.
    ///
    /// # Errors
    /// [`Refusal::Denied`], which is counted and logged.
    pub(crate) fn permit(&self, target: Target<'_>) -> Result<Permit, Refusal> {
        let decided = authorize(&self.grants, self.service, self.action, target, self.now);
        decided.map_err(|denied| {
            self.denials.note(&denied, self.now);
            Refusal::Denied { reason: denied.to_string() }
        })
    }

    /// The right to do it with all of these.
    ///
    /// # Errors
    /// [`Refusal::Denied`] for the first that it may not be done with.
    pub(crate) fn permit_all<'t>(
        &self,
        targets: impl IntoIterator<Item = Target<'t>>,
    ) -> Result<Permit, Refusal> {
        let mut last = None;
        for target in targets {
            // Events of one append are often of one name.
            if last != Some(target) {
                self.permit(target)?;
                last = Some(target);
            }
        }
        Ok(Permit(()))
    }

    /// The right to do it with events of a domain that have any of these names.
    ///
    /// # Errors
    /// As [`Self::permit_all`].
    pub(crate) fn permit_names(&self, domain: &Domain, names: &NameFilter) -> Result<Permit, Refusal> {
        match names {
            NameFilter::All => self.permit(Target::Domain(domain)),
            NameFilter::Only(names) => self.permit_all(names.iter().map(|name| Target::Events(domain, name))),
        }
    }

    /// The right to do it with everything, if there is one. That there is none is no offence.
    pub(crate) fn everything(&self) -> Option<Permit> {
        authorize(&self.grants, self.service, self.action, Target::Everything, self.now).ok()
    }

    /// Whether it may be done with `target`. That it may not is no offence: for choosing what is shown.
    pub(crate) fn covers(&self, target: Target<'_>) -> bool {
        authorize(&self.grants, self.service, self.action, target, self.now).is_ok()
    }

    /// Whether it may be done with any event of this domain.
    pub(crate) fn touches(&self, domain: &Domain) -> bool {
        self.grants.is_open()
            || is_operator(self.service)
            || self.grants.grant_some(self.service, self.action, Some(domain.as_str()), self.now)
    }

    /// What is said of something that is not there, or that this peer must not learn of: the same.
    pub(crate) fn not_found(&self, what: impl fmt::Display) -> Refusal {
        let (service, action) = (self.service, self.action);
        Refusal::NotFound { what: format!("{what}, where service {service} may {action},") }
    }

    /// The same, of something that is there and must not be learnt of.
    pub(crate) fn hide(&self, what: impl fmt::Display, target: Target<'_>) -> Refusal {
        self.denials.note(&Denied { service: self.service, action: self.action, target }, self.now);
        self.not_found(what)
    }
}

impl Denied<'_> {
    /// The domain that it was about, if it was about one.
    pub(crate) fn domain(&self) -> Option<&Domain> {
        match self.target {
            Target::Events(domain, _) | Target::Domain(domain) => Some(domain),
            Target::Name(_) | Target::Everything | Target::Something => None,
        }
    }
}

impl fmt::Display for Denied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, action, target } = self;
        let verb = match action {
            Action::Publish => "publish",
            Action::Consume => "consume",
            Action::Subscribe => "subscribe to",
            Action::Schedule => "schedule",
            Action::Read => "read",
            Action::Delete => "delete",
            Action::Admin => {
                let command = format!("eventflow grant add --service {service} --action admin");
                return write!(f, "service {service} may not administer; run `{command}`");
            }
        };
        let (what, domain) = match target {
            Target::Events(domain, name) => (format!("{name} in domain {domain}"), quoted(domain.as_str())),
            Target::Domain(domain) => (format!("all of domain {domain}"), quoted(domain.as_str())),
            Target::Name(name) => (format!("{name} in every domain"), "'*'".to_owned()),
            Target::Everything => ("everything".to_owned(), "'*'".to_owned()),
            Target::Something => ("anything".to_owned(), "DOMAIN".to_owned()),
        };
        let command = format!("eventflow grant add --service {service} --action {action} --domain {domain}");
        write!(f, "service {service} may not {verb} {what}; run `{command}`")
    }
}

/// `text` as a word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
