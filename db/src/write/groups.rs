//! Makes, finds and takes consumer groups.

use proto::limits::SLOTS_PER_GROUP;
use proto::{
    Domain, EventName, GroupName, NameFilter, Order, Position, Refusal, SettingsChange, Start, Timestamp,
    Topic,
};

use crate::row::{Row, RowError};
use crate::statement::{Statement, Template, Value};
use crate::write::group::{Group, GroupId, GroupWish, Slot};
use crate::write::log::{Trouble, headless};
use crate::write::manage::settings;
use crate::write::session::Session;
use crate::write::settle::DELETE_RETRIES;

const FIND: Statement = Statement::same(include_str!("../../../sql/consumer_group/find.sql"));
const LIST: Statement = Statement::same(include_str!("../../../sql/consumer_group/list.sql"));
const LAST_ID: Statement = Statement::same(include_str!("../../../sql/consumer_group/last_id.sql"));
const LAST_REMOVED: Statement = Statement::same(include_str!("../../../sql/group_removed/last_id.sql"));
const INSERT: Statement = Statement::same(include_str!("../../../sql/consumer_group/insert.sql"));
const LIST_SLOTS: Statement = Statement::same(include_str!("../../../sql/consumer_slot/list.sql"));
const TAKE: Statement = Statement::same(include_str!("../../../sql/consumer_slot/take.sql"));
const TAKE_OTHERS: Statement = Statement::same(include_str!("../../../sql/consumer_slot/take_others.sql"));
const DELETED_RETRIES: Statement = Statement::same(include_str!("../../../sql/event_retry/deleted.sql"));
static INSERT_SLOTS: Template = Template::same(&[include_str!("../../../sql/consumer_slot/insert.sql")]);

/// Failures of deleted events that are cleaned away when a group is taken. What is beyond it stays until
/// the group is taken again, and is in nobody's way.
const DELETED_RETRIES_MAX: i64 = 1_000;

impl Session {
    /// The group that is wished for, made if it is new, with all of its slots in the hands of `hub`.
    pub(crate) async fn group(
        &mut self,
        wish: &GroupWish,
        hub: &str,
        now: Timestamp,
    ) -> Result<Group, Trouble> {
        let name = [Value::Text(wish.name.as_str()), Value::Text(wish.topic.domain.as_str())];
        let found = self.rows(&FIND, &name).await?;
        let Some(row) = found.first() else { return self.make_group(wish, hub, now).await };
        let mut group = group(row).map_err(sqlx::Error::from)?;
        if let Some(reason) = difference(&group, wish) {
            return Err(Trouble::Unfit(0, Refusal::Invalid { reason }));
        }
        let id = Value::Integer(i64::from(group.id.0));
        self.execute(&TAKE_OTHERS, &[Value::Text(hub), id, Value::Text(hub)]).await?;
        group.slots = self.slots(group.id).await?;
        Ok(group)
    }

    /// All groups, with all slots in the hands of `hub` in a new epoch.
    pub(crate) async fn take_groups(&mut self, hub: &str) -> Result<Vec<Group>, Trouble> {
        let mut groups: Vec<Group> = Vec::new();
        loop {
            let after = Value::Integer(groups.last().map_or(0, |group| i64::from(group.id.0)));
            let rows = self.rows(&LIST, &[after]).await?;
            if rows.is_empty() {
                return Ok(groups);
            }
            for row in &rows {
                let mut group = group(row).map_err(sqlx::Error::from)?;
                self.execute(&TAKE, &[Value::Text(hub), Value::Integer(i64::from(group.id.0))]).await?;
                group.slots = self.slots(group.id).await?;
                self.drop_retries_of_deleted(group.id).await?;
                groups.push(group);
            }
        }
    }

    /// A failure may be recorded after its event was deleted: the hub hears of that a moment later.
    async fn drop_retries_of_deleted(&mut self, group: GroupId) -> Result<(), sqlx::Error> {
        let group = Value::Integer(i64::from(group.0));
        let rows = self.rows(&DELETED_RETRIES, &[group, Value::Integer(DELETED_RETRIES_MAX)]).await?;
        let left = rows.iter().map(|row| Ok([Value::number(row.position(0)?.0)]));
        let left: Vec<_> = left.collect::<Result<_, RowError>>()?;
        self.execute_rows(&DELETE_RETRIES, &[group], &left, &[]).await.map(drop)
    }

    async fn make_group(&mut self, wish: &GroupWish, hub: &str, now: Timestamp) -> Result<Group, Trouble> {
        let start_after = match wish.start {
            Start::Beginning => Position(0),
            Start::At(position) => position.previous(),
            Start::Now => self.head().await?.ok_or_else(headless)?.position,
        };
        let id = self.last_id(&LAST_ID).await?.max(self.last_id(&LAST_REMOVED).await?) + 1;
        let names = names_as_json(&wish.topic.names);
        let values = [
            Value::Integer(id),
            Value::Text(wish.name.as_str()),
            Value::Text(wish.topic.domain.as_str()),
            Value::text_or_null(names.as_deref()),
            Value::Integer(i64::from(wish.order == Order::ByPid)),
            Value::number(start_after.0),
            Value::Integer(now.millis()),
        ];
        // Another hub that makes a group at the same time has the number or the name: try again.
        self.execute(&INSERT, &values).await?;
        let none = Value::Integer(0);
        let slots: Vec<_> = (0..SLOTS_PER_GROUP)
            .map(|slot| {
                let slot = Value::Integer(i64::from(slot));
                let through = Value::number(start_after.0);
                [Value::Integer(id), slot, Value::Text(hub), Value::Integer(1), through, none, none, none]
            })
            .collect();
        self.execute_rows(&INSERT_SLOTS, &[], &slots, &[]).await?;
        let id = GroupId(u32::try_from(id).map_err(|_| out_of_range()).map_err(sqlx::Error::from)?);
        Ok(Group {
            id,
            name: wish.name.clone(),
            topic: wish.topic.clone(),
            order: wish.order,
            settings: SettingsChange::default(),
            start_after,
            slots: self.slots(id).await?,
        })
    }

    /// The highest number that a statement finds; 0 if there is none.
    async fn last_id(&mut self, statement: &Statement) -> Result<i64, sqlx::Error> {
        let rows = self.rows(statement, &[]).await?;
        Ok(rows.first().map(|row| row.integer_or_null(0)).transpose()?.flatten().unwrap_or(0))
    }

    async fn slots(&mut self, group: GroupId) -> Result<Vec<Slot>, sqlx::Error> {
        let rows = self.rows(&LIST_SLOTS, &[Value::Integer(i64::from(group.0))]).await?;
        let slots: Result<_, RowError> = rows.iter().map(slot).collect();
        Ok(slots?)
    }
}

/// A group from a row of `consumer_group`, still without its slots.
pub(crate) fn group(row: &Row) -> Result<Group, RowError> {
    let settings = settings(row, 6)?;
    let made_with = if row.integer(4)? == 0 { Order::None } else { Order::ByPid };
    Ok(Group {
        id: GroupId(row.small(0)?),
        name: row.name(1, GroupName::parse)?,
        topic: Topic {
            domain: row.name(2, Domain::parse)?,
            names: names_from_json(row.text_or_null(3)?.as_deref())?,
        },
        order: settings.order.unwrap_or(made_with),
        settings,
        start_after: row.position(5)?,
        slots: Vec::new(),
    })
}

/// A slot from a row of `consumer_slot`.
pub(crate) fn slot(row: &Row) -> Result<Slot, RowError> {
    Ok(Slot {
        slot: row.small(0)?,
        epoch: row.number(1)?,
        cursor: row.position(2)?,
        succeeded: row.number(3)?,
        parked: row.number(4)?,
        discarded: row.number(5)?,
    })
}

/// In what the group differs from the wish, for people.
fn difference(group: &Group, wish: &GroupWish) -> Option<String> {
    let Group { name, .. } = group;
    if group.topic.names != wish.topic.names {
        let (has, wished) = (shown(&group.topic.names), shown(&wish.topic.names));
        return Some(format!(
            "group {name} gets {has} of {}, not {wished}; consume with the same names or in a group of another name",
            group.topic.domain
        ));
    }
    // An order that a person has chosen for the group is none that its members could know.
    if group.settings.order.is_none() && group.order != wish.order {
        let order = match group.order {
            Order::ByPid => "in the order of each process",
            Order::None => "in no order",
        };
        return Some(format!(
            "group {name} of {} gets its events {order}; consume in the same way or in a group of another name",
            group.topic.domain
        ));
    }
    None
}

fn shown(names: &NameFilter) -> String {
    match names {
        NameFilter::All => "all events".to_owned(),
        NameFilter::Only(names) => format!("{names:?}"),
    }
}

fn names_as_json(names: &NameFilter) -> Option<String> {
    match names {
        NameFilter::All => None,
        // A list of strings always has a JSON form.
        NameFilter::Only(names) => Some(serde_json::to_string(names).unwrap_or_default()),
    }
}

fn names_from_json(json: Option<&str>) -> Result<NameFilter, RowError> {
    let Some(json) = json else { return Ok(NameFilter::All) };
    let damaged =
        |reason: String| RowError { reason: format!("the names of a group cannot be read: {reason}") };
    let names: Vec<EventName> = serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
    NameFilter::of(names).map_err(|found| damaged(format!("there are {found}")))
}

fn out_of_range() -> RowError {
    RowError { reason: "there is no number left for another group".to_owned() }
}
