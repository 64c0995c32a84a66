//! The entities and child processes of a page's events.
//!
//! Only events whose row says so can have links, and they are read for a whole page at once: by a
//! range of positions where the events are close together, by lists of positions where they are not.

use proto::limits::PAGE_BYTES_MAX;
use proto::{Cpid, Domain, Eid, Event, Pid, Position};

use super::sift::{Ended, Sifted};
use super::stored::{Linked, Stored};
use super::{ReadError, Reader};
use crate::row::Row;
use crate::statement::{Statement, Template, Value};

static EIDS_OF_POSITIONS: Template =
    Template::same(&[include_str!("../../../sql/event_eid/of_positions.sql")]);
static CPIDS_OF_POSITIONS: Template =
    Template::same(&[include_str!("../../../sql/event_cpid/of_positions.sql")]);
const EIDS_BETWEEN: Statement = Statement::same(include_str!("../../../sql/event_eid/between.sql"));
const CPIDS_BETWEEN: Statement = Statement::same(include_str!("../../../sql/event_cpid/between.sql"));

/// Events are close together if they are at least one in so many positions.
const SPREAD_MAX: u64 = 4;

impl Reader {
    /// The events with their links. If these make the page too large, it ends earlier.
    pub(super) async fn with_links(&self, sifted: Sifted) -> Result<Linking, ReadError> {
        let Sifted { mut stored, mut last, mut ended } = sifted;
        let linked: Vec<_> =
            stored.iter().filter(|one| one.linked == Linked::Maybe).map(|one| one.event.position).collect();
        if !linked.is_empty() {
            for row in self.link_rows(&linked, &EIDS_OF_POSITIONS, &EIDS_BETWEEN).await? {
                let eid = row.name(1, Eid::parse)?;
                if let Some(one) = find(&mut stored, row.position(0)?) {
                    one.bytes += eid.as_str().len();
                    one.event.eids.push(eid);
                }
            }
            for row in self.link_rows(&linked, &CPIDS_OF_POSITIONS, &CPIDS_BETWEEN).await? {
                let cpid = Cpid { domain: row.name(1, Domain::parse)?, pid: row.name(2, Pid::parse)? };
                if let Some(one) = find(&mut stored, row.position(0)?) {
                    one.bytes += cpid.domain.as_str().len() + cpid.pid.as_str().len();
                    one.event.cpids.push(cpid);
                }
            }
            self.remember_size(stored.iter().map(|one| one.bytes).sum(), stored.len());
            let fit = fitting(&stored);
            if fit < stored.len() {
                stored.truncate(fit);
                last = stored.last().map(|one| one.event.position);
                ended = Ended::Full;
            }
        }
        Ok(Linking { events: stored.into_iter().map(|one| one.event).collect(), last, ended })
    }

    async fn link_rows(
        &self,
        positions: &[Position],
        list: &Template,
        between: &Statement,
    ) -> Result<Vec<Row>, ReadError> {
        let (Some(first), Some(last)) = (positions.iter().min(), positions.iter().max()) else {
            return Ok(Vec::new());
        };
        if last.0 - first.0 < SPREAD_MAX * positions.len() as u64 {
            return Ok(self.pools.rows(between, &[Value::number(first.0), Value::number(last.0)]).await?);
        }
        let mut rows = Vec::new();
        let mut rest = positions;
        while !rest.is_empty() {
            let (statement, size) = list.for_at_most(rest.len());
            let (some, others) = rest.split_at(size);
            let values: Vec<_> = some.iter().map(|position| Value::number(position.0)).collect();
            rows.extend(self.pools.rows(&statement, &values).await?);
            rest = others;
        }
        Ok(rows)
    }
}

/// A page's events, whole.
pub(super) struct Linking {
    pub(super) events: Vec<Event>,
    pub(super) last: Option<Position>,
    pub(super) ended: Ended,
}

/// Every page is sorted by position: an eventlog's versions rise with its positions.
fn find(stored: &mut [Stored], position: Position) -> Option<&mut Stored> {
    let index = stored.binary_search_by_key(&position, |one| one.event.position).ok()?;
    stored.get_mut(index)
}

/// How many of them fit a page; at least one.
fn fitting(stored: &[Stored]) -> usize {
    let sums = stored.iter().scan(0, |bytes, one| {
        *bytes += one.bytes;
        Some(*bytes)
    });
    sums.take_while(|bytes| *bytes <= PAGE_BYTES_MAX).count().max(1)
}
