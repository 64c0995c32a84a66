//! What a look at the grants costs, for `cargo run --bin grants` of the tests.

use proto::access::{Action, Grant, RoleMember, Subject};
use proto::{Pattern, RoleName, ServiceName, Timestamp};

use super::grants::{Grants, Rule};

/// Services of the world in which looks are made.
const SERVICES: usize = 1_000;

/// A world with many grants, and questions about it.
#[derive(Debug)]
pub struct Looks {
    grants: Grants,
    services: Vec<ServiceName>,
    domains: Vec<String>,
}

impl Looks {
    /// A world with so many grants: names and prefixes, of services and of a role that half of them have.
    #[must_use]
    pub fn among(count: usize) -> Self {
        let service = |number: usize| ServiceName::parse(&format!("service-{}", number % SERVICES));
        let role = RoleName::parse("everybody").ok();
        let services: Vec<_> = (0..SERVICES).filter_map(|number| service(number).ok()).collect();
        let grant = |number: usize| {
            let star = if number.is_multiple_of(3) { "*" } else { "" };
            let own = service(number).ok()?;
            let subject =
                if number.is_multiple_of(10) { Subject::Role(role.clone()?) } else { Subject::Service(own) };
            Some(Grant {
                id: number as u64,
                subject,
                action: Action::Publish,
                domain: Pattern::parse(&format!("domain-{number}{star}")).ok()?,
                name: None,
                expires: None,
                agent: String::new(),
                created: Timestamp::default(),
            })
        };
        let members = services.iter().step_by(2).filter_map(|service| {
            let (role, service) = (role.clone()?, service.clone());
            Some(RoleMember { role, service, agent: String::new(), created: Timestamp::default() })
        });
        let grants = (0..count).filter_map(grant).collect();
        let grants = Grants::compile(2, Rule::Grants, grants, members.collect());
        let domains = (0..count).map(|number| format!("domain-{number}")).collect();
        Self { grants, services, domains }
    }

    /// Looks whether some service may publish something; which, `number` says. Half of it is granted.
    #[must_use]
    pub fn look(&self, number: usize) -> bool {
        let domain = self.domains.get(number % self.domains.len().max(1));
        let service = self.services.get((number + (number / 7) % 2) % SERVICES);
        let (Some(domain), Some(service)) = (domain, service) else { return false };
        self.grants.grant(service, Action::Publish, Some(domain), Some("placed"), Timestamp::default())
    }
}
