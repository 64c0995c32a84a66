//! Reading a page of the log, as far as the caller may.

use proto::access::Action;
use proto::message::Reply;
use proto::read::{More, Page, Query};
use proto::{Domain, Refusal};

use super::{Caller, Commands};
use crate::access::{Permit, Reach, Target};

/// Pages that are looked through for one that has something for the caller.
pub(super) const PAGES_PASSED_OVER_MAX: usize = 50;

impl Commands {
    pub(crate) async fn read(&self, caller: &Caller, query: &Query) -> Result<Reply, Refusal> {
        let reach = self.reach(caller, Action::Read);
        let permit = match query {
            Query::ById(id) => self.permit_event(caller, Action::Read, id).await?,
            Query::Log { .. } => reach.permit(Target::Everything)?,
            Query::Eventlog { domain, names, .. } => reach.permit_names(domain, names)?,
            Query::ByEid { domain: Some(domain), .. } | Query::Pids { domain, .. } => {
                reach.permit(Target::Domain(domain))?
            }
            // What is found says which domains it is about.
            Query::ByCpid { .. } | Query::ByEid { domain: None, .. } => reach.permit(Target::Something)?,
            Query::Domains { after, limit } => {
                let permit = reach.permit(Target::Something)?;
                let page = self.domains(&permit, &reach, after.clone(), *limit).await?;
                return Ok(Reply::Page(page));
            }
        };
        let mut page = self.store.page(&permit, query).await.map_err(|refusal| match (refusal, query) {
            // Whoever may not read everything hears the same of what is not there and of what is hidden.
            (Refusal::NotFound { .. }, Query::ById(id)) if reach.everything().is_none() => {
                reach.not_found(format_args!("event {id}"))
            }
            (refusal, _) => refusal,
        })?;
        if let Page::Events { events, .. } = &mut page {
            events.retain(|event| reach.covers(Target::Events(&event.domain, &event.name)));
        }
        Ok(Reply::Page(page))
    }

    /// The domains after `after` of which the caller may read anything.
    async fn domains(
        &self,
        permit: &Permit,
        reach: &Reach<'_>,
        mut after: Option<Domain>,
        limit: u32,
    ) -> Result<Page, Refusal> {
        for _ in 0..PAGES_PASSED_OVER_MAX {
            let query = Query::Domains { after: after.clone(), limit };
            let Page::Domains { mut domains, more } = self.store.page(permit, &query).await? else { break };
            let last = domains.last().cloned();
            domains.retain(|domain| reach.touches(domain));
            // A page that is not the last has a domain in it: readers go on after that.
            if !domains.is_empty() || more == More::No || last.is_none() {
                return Ok(Page::Domains { domains, more });
            }
            after = last;
        }
        let reason =
            "too many domains that you may not read lie before the next that you may; name the domain";
        Err(Refusal::Invalid { reason: reason.to_owned() })
    }
}
