//! Grants and roles in the hands of an operator.
//!
//! A change is answered when it counts on this hub; on others it does within a second.

use db::Added;
use proto::access::{Action, GrantReply, GrantRequest, InForce, NewGrant, OPERATOR};
use proto::limits::GRANTS_MAX;
use proto::{Domain, EventName, Refusal, RoleName, ServiceName};

use super::{Caller, Commands};
use crate::access::{Denied, Permit, Target, is_granted, is_operator};

impl Commands {
    /// Does what an administrator asks about grants.
    pub(super) async fn grants(
        &self,
        _: &Permit,
        caller: &Caller,
        request: GrantRequest,
    ) -> Result<GrantReply, Refusal> {
        match request {
            GrantRequest::Add(grant) => self.add_grant(caller, &grant).await,
            GrantRequest::Remove(id) => {
                let before = self.in_force();
                let removed = self.rows.remove(id, &caller.label).await.map_err(unavailable)?;
                self.changed(before, removed).await
            }
            GrantRequest::List { subject, after, limit } => {
                let page = self.rows.page(subject.as_ref(), after, limit).await;
                page.map(GrantReply::Listed).map_err(unavailable)
            }
            GrantRequest::Check { service, action, domain, name } => {
                Ok(self.check_grant(&service, action, domain.as_ref(), name.as_ref()))
            }
            GrantRequest::Join { role, service } => self.join(caller, &role, &service).await,
            GrantRequest::Quit { role, service } => {
                let before = self.in_force();
                let quit = self.rows.quit(&role, &service, &caller.label).await.map_err(unavailable)?;
                self.changed(before, quit).await
            }
            GrantRequest::Members { role, after, limit } => {
                let page = self.rows.members(role.as_ref(), after.as_ref(), limit).await;
                page.map(GrantReply::Members).map_err(unavailable)
            }
        }
    }

    async fn add_grant(&self, caller: &Caller, grant: &NewGrant) -> Result<GrantReply, Refusal> {
        let now = self.clock.now();
        grant.check(now).map_err(|error| Refusal::Invalid { reason: error.to_string() })?;
        let before = self.in_force();
        let id = match self.rows.add(grant, &caller.label, now).await.map_err(unavailable)? {
            Added::Now(id) | Added::Before(id) => id,
            Added::Full => return Err(full("grants")),
        };
        self.access.refresh().await?;
        Ok(GrantReply::Added { id, access: self.since(before) })
    }

    async fn join(
        &self,
        caller: &Caller,
        role: &RoleName,
        service: &ServiceName,
    ) -> Result<GrantReply, Refusal> {
        if is_operator(service) {
            let reason = format!("service {OPERATOR} may do everything and needs no role");
            return Err(Refusal::Invalid { reason });
        }
        let before = self.in_force();
        let joined = self.rows.join(role, service, &caller.label, self.clock.now()).await;
        match joined.map_err(unavailable)? {
            Added::Now(()) => self.changed(before, true).await,
            Added::Before(()) => self.changed(before, false).await,
            Added::Full => Err(full("services with roles")),
        }
    }

    /// What grants and roles say, also where they do not decide: so they can be tried before they do.
    fn check_grant(
        &self,
        service: &ServiceName,
        action: Action,
        domain: Option<&Domain>,
        name: Option<&EventName>,
    ) -> GrantReply {
        let target = match (domain, name) {
            // Administering is about no domain.
            _ if action == Action::Admin => Target::Everything,
            (Some(domain), Some(name)) => Target::Events(domain, name),
            (Some(domain), None) => Target::Domain(domain),
            (None, Some(name)) => Target::Name(name),
            (None, None) => Target::Everything,
        };
        let grants = self.access.grants();
        let granted = is_operator(service) || is_granted(&grants, service, action, target, self.clock.now());
        let missing = (!granted).then(|| Denied { service, action, target }.to_string());
        GrantReply::Checked { missing, access: self.in_force() }
    }

    async fn changed(&self, before: InForce, changed: bool) -> Result<GrantReply, Refusal> {
        self.access.refresh().await?;
        Ok(GrantReply::Changed { changed, access: self.since(before) })
    }

    fn in_force(&self) -> InForce {
        if self.access.grants().is_open() { InForce::Open } else { InForce::Grants }
    }

    /// What decides now that something was changed.
    fn since(&self, before: InForce) -> InForce {
        match (before, self.in_force()) {
            (InForce::Open, InForce::Grants) => InForce::GrantsFromNowOn,
            (_, now) => now,
        }
    }
}

fn full(what: &str) -> Refusal {
    let reason = format!(
        "there are {GRANTS_MAX} {what} already, which is the most; remove some, or give rights to roles and prefixes"
    );
    Refusal::Invalid { reason }
}

fn unavailable(error: db::RecordError) -> Refusal {
    Refusal::Unavailable { reason: error.to_string() }
}
