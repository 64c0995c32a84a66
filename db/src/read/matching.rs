//! What a listener wants, read from the log: how consumers and subscribers catch up.
//!
//! One call looks at a bounded stretch of the log and says how far it has looked, whether or not it
//! found anything. The head is read first; everything up to it is visible to the statement after it.

use std::sync::Arc;

use proto::message::Scope;
use proto::{Event, NameFilter, Pid, Position, Topic};

use super::sift::{Ended, Sifted, Size};
use super::stored::EventRow;
use super::{ReadError, Reader, cursor};
use crate::row::RowError;
use crate::statement::{Statement, Value};

/// Positions that one call looks at. It is said how far it came; what is further takes another call.
pub const SCAN_POSITIONS_MAX: u64 = 8_192;

const SCAN: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/scan.sql"),
    include_str!("../../../sql/mysql/event/scan.sql"),
);
const SCAN_DOMAIN: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/scan_domain.sql"),
    include_str!("../../../sql/mysql/event/scan_domain.sql"),
);
pub(super) const OF_EVENTLOG: Statement = Statement::each(
    include_str!("../../../sql/sqlite/event/of_eventlog.sql"),
    include_str!("../../../sql/mysql/event/of_eventlog.sql"),
);

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of which domain and names; `None` is all of them.
    pub topic: Option<Topic>,
    /// Whether events that were only persisted count.
    pub scope: Scope,
    /// Of one process only.
    pub pid: Option<Pid>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// By position.
    pub events: Vec<Arc<Event>>,
    /// Everything up to here was looked at: ask again after it. It is not above the log's head,
    /// unless what was asked for is.
    pub through: Position,
}

impl Wanted {
    /// Whether most rows of its domain are likely to be passed over.
    fn is_picky(&self) -> bool {
        self.pid.is_some() || self.topic.as_ref().is_some_and(|topic| topic.names != NameFilter::All)
    }

    fn wants(&self, row: &EventRow) -> Result<bool, RowError> {
        if self.scope == Scope::Published && row.published()?.is_none() {
            return Ok(false);
        }
        if let Some(pid) = &self.pid
            && row.pid()? != pid.as_str()
        {
            return Ok(false);
        }
        match &self.topic {
            None => Ok(true),
            Some(topic) => Ok(row.domain()? == topic.domain.as_str() && row.is_named(&topic.names)?),
        }
    }
}

impl Reader {
    /// What is wanted of the positions after `after`, at most `limit` events and a page's bytes.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn matching(
        &self,
        wanted: &Wanted,
        after: Position,
        limit: u32,
    ) -> Result<Matching, ReadError> {
        let head = self.head().await?.position;
        if after >= head {
            return Ok(Matching { events: Vec::new(), through: after });
        }
        let size = if wanted.is_picky() { self.size_of_some(limit) } else { self.size_of_all(limit) };
        let (sifted, upto) = match wanted {
            Wanted { topic: Some(topic), pid: Some(pid), .. } => {
                let values = eventlog_values(topic.domain.as_str(), pid.as_str(), after, head);
                (self.sift(&OF_EVENTLOG, &values, size, |row| wanted.wants(row)).await?, head)
            }
            Wanted { topic, .. } => {
                let domain = topic.as_ref().map(|topic| topic.domain.as_str());
                self.scan(domain, after, head, size, |row| wanted.wants(row)).await?
            }
        };
        let linking = self.with_links(sifted).await?;
        let through = match linking.ended {
            Ended::NoMoreRows => upto,
            Ended::Full => linking.last.unwrap_or(after),
        };
        Ok(Matching { events: linking.events.into_iter().map(Arc::new).collect(), through })
    }

    /// Looks at the positions after `after`, up to `head` or as far as one call goes: that position
    /// is answered too.
    pub(super) async fn scan(
        &self,
        domain: Option<&str>,
        after: Position,
        head: Position,
        size: Size,
        wanted: impl Fn(&EventRow) -> Result<bool, RowError> + Send + Sync,
    ) -> Result<(Sifted, Position), ReadError> {
        let upto = head.min(Position(after.0.saturating_add(SCAN_POSITIONS_MAX)));
        let range = [cursor(after), cursor(upto)];
        let sifted = match domain {
            None => self.sift(&SCAN, &range, size, wanted).await?,
            Some(domain) => {
                let [from, to] = range;
                self.sift(&SCAN_DOMAIN, &[from, to, Value::Text(domain)], size, wanted).await?
            }
        };
        Ok((sifted, upto))
    }
}

/// The placeholders of [`OF_EVENTLOG`], but for the number of rows.
pub(super) fn eventlog_values<'a>(
    domain: &'a str,
    pid: &'a str,
    after: Position,
    upto: Position,
) -> [Value<'a>; 7] {
    let (domain, pid, after) = (Value::Text(domain), Value::Text(pid), cursor(after));
    [domain, pid, after, domain, pid, after, cursor(upto)]
}
