//! Consumer groups with their slots and counters.

use std::collections::HashMap;

use proto::limits::PAGE_EVENTS_MAX;
use proto::{Domain, EventName, GroupName, NameFilter};

use super::{ReadError, Reader};
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};
use crate::write::group::{Group, GroupId, Slot};
use crate::write::groups::group;
use crate::write::manage::{GroupPause, pause};

const PAGE: Statement = Statement::same(include_str!("../../../sql/consumer_group/page.sql"));
const PARKED: Statement = Statement::same(include_str!("../../../sql/consumer_group/parked.sql"));
const PAUSES: Statement = Statement::same(include_str!("../../../sql/group_pause/list.sql"));
const SLOTS: Statement = Statement::same(include_str!("../../../sql/consumer_slot/of_groups.sql"));

impl Reader {
    /// The groups of the `limit` names after a name, sorted by name and domain. No group means that
    /// there are no more; a name's groups are never split over two pages.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn groups(&self, after: Option<&GroupName>, limit: u32) -> Result<Vec<Group>, ReadError> {
        let after = Value::Text(after.map_or("", GroupName::as_str));
        let limit = Value::Integer(i64::from(limit.clamp(1, PAGE_EVENTS_MAX)));
        let rows = self.pools.rows(&PAGE, &[after, after, limit]).await?;
        let mut groups = rows.iter().map(group).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = groups.last() else {
            return Ok(groups);
        };
        let rows = self.pools.rows(&SLOTS, &[after, Value::Text(last.name.as_str())]).await?;
        let mut slots: HashMap<GroupId, Vec<Slot>> = HashMap::with_capacity(groups.len());
        for row in &rows {
            slots.entry(GroupId(row.small(0)?)).or_default().push(slot(row)?);
        }
        for group in &mut groups {
            group.slots = slots.remove(&group.id).unwrap_or_default();
        }
        Ok(groups)
    }

    /// How many events a group has parked; `None` if there is no such group.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn parked_count(&self, name: &GroupName, domain: &Domain) -> Result<Option<u64>, ReadError> {
        let rows =
            self.pools.rows(&PARKED, &[Value::Text(name.as_str()), Value::Text(domain.as_str())]).await?;
        let count = |row: &Row| row.integer_or_null(0)?.map(|_| row.number(0)).transpose();
        Ok(rows.first().map(count).transpose()?.flatten())
    }

    /// What of a group is paused, the whole of it first; no more than
    /// [`proto::limits::PAUSED_PIDS_PER_GROUP_MAX`] processes and one.
    ///
    /// # Errors
    /// [`ReadError`]; nothing is lost by asking again.
    pub async fn pauses(&self, group: GroupId) -> Result<Vec<GroupPause>, ReadError> {
        let rows = self.pools.rows(&PAUSES, &[Value::Integer(i64::from(group.0))]).await?;
        Ok(rows.iter().map(pause).collect::<Result<_, _>>()?)
    }
}

fn slot(row: &Row) -> Result<Slot, RowError> {
    Ok(Slot {
        slot: row.small(1)?,
        epoch: row.number(2)?,
        cursor: row.position(3)?,
        succeeded: row.number(4)?,
        parked: row.number(5)?,
        discarded: row.number(6)?,
    })
}

/// The names of a group as its row has them: null is all of them.
pub(super) fn name_filter(names: Option<&str>) -> Result<NameFilter, RowError> {
    let Some(names) = names else {
        return Ok(NameFilter::All);
    };
    let names: Vec<EventName> = serde_json::from_str(names)
        .map_err(|error| RowError { reason: format!("a group's names cannot be read: {error}") })?;
    NameFilter::of(names)
        .map_err(|found| RowError { reason: format!("a group has {found} names, more than it may") })
}
