//! What a request may hold, checked at both ends: the spoke tells its caller, the hub closes.
//!
//! Wishes above a limit that is only a wish (credit, page sizes, reasons) are cut, not refused.

use super::Violation;
use crate::access::GrantRequest;
use crate::admin::AdminRequest;
use crate::certs::CertsRequest;
use crate::chain::{Chain, Effect};
use crate::event::NewEvent;
use crate::filter::{NameFilter, Topic};
use crate::limits::{
    CPIDS_PER_EVENT_MAX, CREDIT_EVENTS_MAX, EFFECTS_PER_CHAIN_MAX, EIDS_PER_EVENT_MAX, EVENTS_PER_APPEND_MAX,
    GRANTS_PER_PAGE_MAX, METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, NAMES_PER_FILTER_MAX, PAGE_EVENTS_MAX,
    REASON_CHARS_MAX, REQUEST_CSR_BYTES_MAX, RETRY_AFTER_MS_MAX, SCHEDULES_PER_PAGE_MAX, WAIT_MS_MAX,
};
use crate::message::{Answer, Offer, Request, Verdict};
use crate::parked::{ParkedAct, ParkedRequest, ParkedSelection};
use crate::read::Query;
use crate::refusal::Refusal;
use crate::schedule::ScheduleRequest;

/// Checks every list of `request` and cuts its wishes.
pub(super) fn bound_request(request: &mut Request) -> Result<(), Violation> {
    match request {
        Request::Append { events, offer, expectations } => {
            within("EVENTS_PER_APPEND_MAX", events.len(), 1, EVENTS_PER_APPEND_MAX)?;
            within("EVENTS_PER_APPEND_MAX (expectations)", expectations.len(), 0, EVENTS_PER_APPEND_MAX)?;
            if let Offer::Restore(publishers) = offer {
                within("one publisher an event", publishers.len(), events.len(), events.len())?;
            }
            events.iter().try_for_each(check_event)
        }
        Request::Consume(consume) => {
            consume.credit = consume.credit.clamp(1, CREDIT_EVENTS_MAX);
            check_topic(&consume.topic)
        }
        Request::Subscribe(subscribe) => {
            subscribe.credit = subscribe.credit.min(CREDIT_EVENTS_MAX);
            subscribe.topic.as_ref().map_or(Ok(()), check_topic)
        }
        Request::Read(query) => bound_query(query),
        Request::Wait(wait) => {
            wait.within_ms = wait.within_ms.min(WAIT_MS_MAX);
            check_names(&wait.names)
        }
        Request::Chain(chain) => check_chain(chain),
        Request::Schedule(request) => bound_schedule(request),
        Request::Parked(parked) => {
            bound_parked(parked);
            Ok(())
        }
        Request::Admin(request) => {
            bound_admin(request);
            Ok(())
        }
        Request::Renew { csr } => within("REQUEST_CSR_BYTES_MAX", csr.len(), 1, REQUEST_CSR_BYTES_MAX),
        Request::Leave(_)
        | Request::Link(_)
        | Request::DeleteEvent(_)
        | Request::DeleteEventlog { .. }
        | Request::Groups { .. }
        | Request::Group(_)
        | Request::Story(_)
        | Request::Outbox(_)
        // Its numbers are checked where what is in force is known, with an answer that says more.
        | Request::Manage(_) => Ok(()),
    }
}

fn check_chain(chain: &Chain) -> Result<(), Violation> {
    within("EFFECTS_PER_CHAIN_MAX", chain.effects.len(), 0, EFFECTS_PER_CHAIN_MAX)?;
    within("EFFECTS_PER_CHAIN_MAX (expectations)", chain.expectations.len(), 0, EFFECTS_PER_CHAIN_MAX)?;
    chain.effects.iter().filter_map(Effect::event).try_for_each(check_event)
}

fn bound_schedule(request: &mut ScheduleRequest) -> Result<(), Violation> {
    match request {
        ScheduleRequest::Add(wish) => check_event(&wish.event),
        ScheduleRequest::List(query) => {
            query.limit = query.limit.clamp(1, SCHEDULES_PER_PAGE_MAX);
            Ok(())
        }
        ScheduleRequest::Change { .. } | ScheduleRequest::Show(_) => Ok(()),
    }
}

/// Counts only: the data is parsed where it is about to be stored.
fn check_event(event: &NewEvent) -> Result<(), Violation> {
    within("EIDS_PER_EVENT_MAX", event.eids.len(), 0, EIDS_PER_EVENT_MAX)?;
    within("CPIDS_PER_EVENT_MAX", event.cpids.len(), 0, CPIDS_PER_EVENT_MAX)?;
    let metadata = &event.metadata.0;
    within("METADATA_ENTRIES_MAX", metadata.len(), 0, METADATA_ENTRIES_MAX)?;
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    within("METADATA_BYTES_MAX", bytes, 0, METADATA_BYTES_MAX)
}

fn check_topic(topic: &Topic) -> Result<(), Violation> {
    check_names(&topic.names)
}

fn check_names(names: &NameFilter) -> Result<(), Violation> {
    match names {
        NameFilter::All => Ok(()),
        NameFilter::Only(names) => {
            within("NAMES_PER_FILTER_MAX", names.len(), 1, NAMES_PER_FILTER_MAX)?;
            if names.is_sorted_by(|one, next| one < next) { Ok(()) } else { Err(Violation::UnsortedNames) }
        }
    }
}

fn bound_query(query: &mut Query) -> Result<(), Violation> {
    match query {
        Query::ById(_) => Ok(()),
        Query::Eventlog { names, limit, .. } => {
            *limit = (*limit).min(PAGE_EVENTS_MAX);
            check_names(names)
        }
        Query::Log { limit, .. }
        | Query::ByCpid { limit, .. }
        | Query::ByEid { limit, .. }
        | Query::Pids { limit, .. }
        | Query::Domains { limit, .. } => {
            *limit = (*limit).min(PAGE_EVENTS_MAX);
            Ok(())
        }
    }
}

fn bound_admin(request: &mut AdminRequest) {
    match request {
        AdminRequest::Certs(CertsRequest::Revoke { reason, .. }) => cut(reason),
        AdminRequest::Audit(audit) => audit.limit = audit.limit.clamp(1, PAGE_EVENTS_MAX),
        AdminRequest::Grants(GrantRequest::List { limit, .. } | GrantRequest::Members { limit, .. }) => {
            *limit = (*limit).clamp(1, GRANTS_PER_PAGE_MAX);
        }
        AdminRequest::Grants(
            GrantRequest::Add(_)
            | GrantRequest::Remove(_)
            | GrantRequest::Check { .. }
            | GrantRequest::Join { .. }
            | GrantRequest::Quit { .. },
        )
        | AdminRequest::Certs(
            CertsRequest::List { .. }
            | CertsRequest::Rotate { .. }
            | CertsRequest::Status
            | CertsRequest::Requests { .. }
            | CertsRequest::Import { .. }
            | CertsRequest::Withdraw,
        )
        | AdminRequest::Tokens(_) => {}
    }
}

fn bound_parked(request: &mut ParkedRequest) {
    let cut_reason = |selection: &mut ParkedSelection| selection.reason.as_mut().map_or((), cut);
    match request {
        ParkedRequest::List { selection, limit, .. } => {
            *limit = (*limit).min(PAGE_EVENTS_MAX);
            cut_reason(selection);
        }
        ParkedRequest::Unpark { selection, act, .. } => {
            cut_reason(selection);
            match act {
                ParkedAct::Discard { reason } => cut(reason),
                ParkedAct::Replay => {}
            }
        }
        ParkedRequest::History(_) => {}
    }
}

/// Cuts the reason and the delay of `answer`.
pub(super) fn bound_answer(answer: &mut Answer) {
    match &mut answer.verdict {
        Verdict::Fail { reason, after_ms } => {
            cut(reason);
            *after_ms = after_ms.map(|millis| millis.min(RETRY_AFTER_MS_MAX));
        }
        Verdict::Park { reason } => cut(reason),
        Verdict::Ack | Verdict::Release | Verdict::Progress => {}
    }
}

/// Cuts the text of `refusal`, where it has one.
pub(super) fn bound_refusal(refusal: &mut Refusal) {
    match refusal {
        Refusal::Invalid { reason } | Refusal::Denied { reason } | Refusal::Unavailable { reason } => {
            cut(reason)
        }
        Refusal::NotFound { what } => cut(what),
        Refusal::Conflict { .. }
        | Refusal::WrongVersion { .. }
        | Refusal::LogRegressed { .. }
        | Refusal::Stopping => {}
    }
}

/// Cuts `text` to [`REASON_CHARS_MAX`] characters.
pub(super) fn cut(text: &mut String) {
    if text.len() > REASON_CHARS_MAX
        && let Some((end, _)) = text.char_indices().nth(REASON_CHARS_MAX)
    {
        text.truncate(end);
    }
}

/// Whether `found` is within `min` to `max`.
pub(super) fn within(limit: &'static str, found: usize, min: usize, max: usize) -> Result<(), Violation> {
    if (min..=max).contains(&found) { Ok(()) } else { Err(Violation::Limit { limit, found, min, max }) }
}

/// What `request` counts in the window of unanswered bytes, the same at both ends.
pub(super) fn weight(request: &Request) -> usize {
    const SMALL: usize = 256;
    match request {
        Request::Append { events, .. } => events.iter().map(NewEvent::weight).sum(),
        Request::Chain(chain) => {
            let events = chain.effects.iter().filter_map(Effect::event).map(NewEvent::weight);
            SMALL * (1 + chain.effects.len() + chain.expectations.len()) + events.sum::<usize>()
        }
        Request::Schedule(ScheduleRequest::Add(wish)) => wish.event.weight(),
        // Waits have a limit of their own, so that they hold up nothing else.
        Request::Wait(_) => 0,
        _ => SMALL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut reason = "ö".repeat(REASON_CHARS_MAX + 7);
        cut(&mut reason);
        assert_eq!(reason.chars().count(), REASON_CHARS_MAX);
        let mut short = "ö".repeat(REASON_CHARS_MAX);
        cut(&mut short);
        assert_eq!(short.chars().count(), REASON_CHARS_MAX);
    }
}
