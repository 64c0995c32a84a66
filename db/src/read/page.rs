//! The queries of the protocol, a page each.

use proto::limits::PAGE_EVENTS_MAX;
use proto::read::{More, Page, Query, Window};
use proto::{Domain, Eid, EventId, EventName, NameFilter, Pid, Position};

use super::matching::{OF_EVENTLOG, eventlog_values};
use super::sift::{Ended, Sifted};
use super::stored::{DOMAIN, EventRow, NAME};
use super::{ReadError, Reader, cursor};
use crate::row::RowError;
use crate::statement::{Statement, Value};

const BY_ID: Statement = Statement::same(include_str!("../../../sql/event/by_id.sql"));
const BY_EID: Statement = Statement::same(include_str!("../../../sql/event/by_eid.sql"));
const BY_CPID: Statement = Statement::same(include_str!("../../../sql/event/by_cpid.sql"));

/// The position above all that SQL knows.
const ALL: Position = Position(i64::MAX.cast_unsigned());

impl Reader {
    /// Answers `query` with one page: at most [`PAGE_EVENTS_MAX`] entries and about
    /// [`proto::limits::PAGE_BYTES_MAX`] bytes, but always something if there is something.
    ///
    /// Tombstones are passed over. A page of events may be empty and still say that there may be
    /// more: it has looked as far as `through`.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if an event that was asked for by its id is missing or deleted.
    pub async fn page(&self, query: &Query) -> Result<Page, ReadError> {
        match query {
            Query::ById(id) => self.by_id(id).await,
            Query::Log { after, limit } => self.log(*after, *limit).await,
            Query::Eventlog { domain, pid, names, window, after, limit } => {
                let sifted = self.eventlog(domain, pid, names, *window, *after, *limit).await?;
                self.events_page(sifted, *after).await
            }
            Query::ByCpid { domain, pid, after, limit } => {
                let values = [Value::Text(domain.as_str()), Value::Text(pid.as_str()), cursor(*after)];
                let sifted = self.sift(&BY_CPID, &values, self.size_of_all(*limit), |_| Ok(true)).await?;
                self.events_page(sifted, *after).await
            }
            Query::ByEid { domain, eid, after, limit } => {
                let sifted = self.by_eid(domain.as_ref(), eid, *after, *limit).await?;
                self.events_page(sifted, *after).await
            }
            Query::Pids { domain, after, limit } => {
                let (pids, more) = self.pids(domain, after.as_ref(), page_limit(*limit)).await?;
                Ok(Page::Pids { pids, more })
            }
            Query::Domains { after, limit } => {
                let (domains, more) = self.domains(after.as_ref(), page_limit(*limit)).await?;
                Ok(Page::Domains { domains, more })
            }
        }
    }

    pub(super) async fn event_row(&self, id: &EventId) -> Result<EventRow, ReadError> {
        let rows = self.pools.rows(&BY_ID, &[Value::Text(id.as_str())]).await?;
        let row = rows.into_iter().next();
        row.map(EventRow).ok_or_else(|| ReadError::NotFound { what: format!("event {id}") })
    }

    /// The domain of the event `id`, and its name unless it was deleted.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] if there never was such an event.
    pub async fn origin(&self, id: &EventId) -> Result<(Domain, Option<EventName>), ReadError> {
        let row = self.event_row(id).await?;
        let domain = row.0.name(DOMAIN, Domain::parse)?;
        let name = if row.deleted()?.is_some() { None } else { Some(row.0.name(NAME, EventName::parse)?) };
        Ok((domain, name))
    }

    async fn by_id(&self, id: &EventId) -> Result<Page, ReadError> {
        let row = self.event_row(id).await?;
        if row.deleted()?.is_some() {
            return Err(ReadError::NotFound { what: format!("event {id}, which was deleted,") });
        }
        let position = row.position()?;
        let sifted = Sifted { stored: vec![row.stored()?], last: Some(position), ended: Ended::NoMoreRows };
        self.events_page(sifted, position).await
    }

    async fn log(&self, after: Position, limit: u32) -> Result<Page, ReadError> {
        let head = self.head().await?.position;
        if after >= head {
            return Ok(Page::Events { events: Vec::new(), through: after, more: More::No });
        }
        let size = self.size_of_all(limit);
        let (sifted, upto) = self.scan(None, after, head, size, |_| Ok(true)).await?;
        let linking = self.with_links(sifted).await?;
        let through = match linking.ended {
            Ended::NoMoreRows => upto,
            Ended::Full => linking.last.unwrap_or(after),
        };
        let more = if through < head { More::Maybe } else { More::No };
        Ok(Page::Events { events: linking.events, through, more })
    }

    async fn eventlog(
        &self,
        domain: &Domain,
        pid: &Pid,
        names: &NameFilter,
        window: Window,
        after: Position,
        limit: u32,
    ) -> Result<Sifted, ReadError> {
        let values = eventlog_values(domain.as_str(), pid.as_str(), after, ALL);
        if *names == NameFilter::All && window == Window::default() {
            return self.sift(&OF_EVENTLOG, &values, self.size_of_all(limit), |_| Ok(true)).await;
        }
        let wanted = |row: &EventRow| Ok(row.is_named(names)? && is_within(row, window)?);
        self.sift(&OF_EVENTLOG, &values, self.size_of_some(limit), wanted).await
    }

    async fn by_eid(
        &self,
        domain: Option<&Domain>,
        eid: &Eid,
        after: Position,
        limit: u32,
    ) -> Result<Sifted, ReadError> {
        let values = [Value::Text(eid.as_str()), cursor(after)];
        match domain {
            None => self.sift(&BY_EID, &values, self.size_of_all(limit), |_| Ok(true)).await,
            Some(domain) => {
                let wanted = |row: &EventRow| Ok(row.domain()? == domain.as_str());
                self.sift(&BY_EID, &values, self.size_of_some(limit), wanted).await
            }
        }
    }

    /// A page of a statement that was not bounded by the head: it ends with its last row.
    async fn events_page(&self, sifted: Sifted, after: Position) -> Result<Page, ReadError> {
        let linking = self.with_links(sifted).await?;
        let more = match linking.ended {
            Ended::NoMoreRows => More::No,
            Ended::Full => More::Maybe,
        };
        let through = linking.last.map_or(after, |last| last.max(after));
        Ok(Page::Events { events: linking.events, through, more })
    }
}

fn page_limit(limit: u32) -> usize {
    usize::try_from(limit.clamp(1, PAGE_EVENTS_MAX)).unwrap_or(1)
}

fn is_within(row: &EventRow, window: Window) -> Result<bool, RowError> {
    let at = row.timestamp()?;
    Ok(window.from.is_none_or(|from| from <= at) && window.until.is_none_or(|until| at <= until))
}
