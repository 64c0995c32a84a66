//! Grants and roles as people and programs see them.

use proto::access::{Action, Grant, InForce, NewGrant, RoleMember};
use proto::{Domain, EventName, ServiceName};
use serde::Serialize;

use crate::output::{Row, Shown};

impl Row for Grant {
    const COLUMNS: &'static [&'static str] =
        &["#id", "subject", "action", "domain", "name", "until", "made by", "made"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.subject.to_string(),
            self.action.to_string(),
            self.domain.to_string(),
            self.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.expires.map(|expires| expires.to_string()).unwrap_or_default(),
            self.agent.clone(),
            self.created.to_string(),
        ]
    }
}

impl Row for RoleMember {
    const COLUMNS: &'static [&'static str] = &["role", "service", "made by", "made"];

    fn cells(&self) -> Vec<String> {
        let Self { role, service, agent, created } = self;
        vec![role.to_string(), service.to_string(), agent.clone(), created.to_string()]
    }
}

/// A grant that was made.
#[derive(Debug, Serialize)]
pub(crate) struct Added {
    pub(crate) id: u64,
    #[serde(skip)]
    pub(crate) grant: NewGrant,
    pub(crate) access: InForce,
}

impl Shown for Added {
    fn for_people(&self) -> String {
        let Self { id, grant, access } = self;
        let NewGrant { subject, action, domain, name, expires } = grant;
        let what = match (action, name) {
            (Action::Admin, _) => "administer".to_owned(),
            (action, None) => format!("{action} in domain {domain}"),
            (action, Some(name)) => format!("{action} {name} in domain {domain}"),
        };
        let until = expires.map(|expires| format!(" until {expires}")).unwrap_or_default();
        format!("grant {id}: {subject} may {what}{until}{}", remark(*access))
    }
}

/// A change of grants or roles.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) changed: bool,
    pub(crate) access: InForce,
    #[serde(skip)]
    pub(crate) done: String,
}

impl Shown for Changed {
    fn for_people(&self) -> String {
        let done = if self.changed { &self.done } else { "nothing to do: it was so already" };
        format!("{done}{}", remark(self.access))
    }
}

/// Whether a service may do something.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    pub(crate) service: ServiceName,
    pub(crate) action: Action,
    pub(crate) domain: Option<Domain>,
    pub(crate) name: Option<EventName>,
    pub(crate) allowed: bool,
    pub(crate) missing: Option<String>,
    pub(crate) access: InForce,
}

impl Shown for Checked {
    fn for_people(&self) -> String {
        match &self.missing {
            None => format!("yes: service {} has the grants for it", self.service),
            Some(missing) => format!("yes, because this hub is open; by grants alone, {missing}"),
        }
    }
}

/// What is to be known beside the change itself.
fn remark(access: InForce) -> &'static str {
    match access {
        InForce::Grants => "",
        InForce::GrantsFromNowOn => {
            "\nfrom now on grants decide on this hub: what is not granted is denied, also to services that are connected"
        }
        InForce::Open => "\nthis hub is open, so it does not count here: start it with --access grants",
    }
}

#[cfg(test)]
mod tests {
    use proto::access::Subject;
    use proto::{Pattern, RoleName};

    use super::*;

    #[test]
    fn a_grant_is_told_as_a_sentence_with_what_follows_from_it() {
        let grant = NewGrant {
            subject: Subject::Role(RoleName::parse("clerks").unwrap()),
            action: Action::Publish,
            domain: Pattern::parse("order*").unwrap(),
            name: Some(Pattern::parse("placed").unwrap()),
            expires: None,
        };
        let added = |access| Added { id: 7, grant: grant.clone(), access }.for_people();
        assert_eq!(added(InForce::Grants), "grant 7: role clerks may publish placed in domain order*");
        assert!(added(InForce::GrantsFromNowOn).contains("\nfrom now on grants decide"));
        assert!(added(InForce::Open).contains("--access grants"));
    }
}
