//! Changes links of events, and empties events.

use std::collections::BTreeMap;

use proto::limits::{CPIDS_PER_EVENT_MAX, EIDS_PER_EVENT_MAX};
use proto::message::Link;
use proto::{Domain, EventId, Pid, Position, Refusal, slot};
use sqlx::Error;

use crate::statement::{Statement, TEMPLATE_ROWS_MAX, Template, Value};
use crate::write::change::Moment;
use crate::write::decide::Eventlog;
use crate::write::log::Trouble;
use crate::write::session::{INSERT_CPIDS, INSERT_EIDS, Session};

const MARK_LINKED: Statement = Statement::same(include_str!("../../../sql/event/mark_linked.sql"));
const FIND_POSITION: Statement = Statement::same(include_str!("../../../sql/event/find_position.sql"));
const LIST_VERSIONS: Statement = Statement::same(include_str!("../../../sql/event/list_versions.sql"));
static OF_POSITIONS: Template = Template::same(&[include_str!("../../../sql/event_parked/of_positions.sql")]);
const UNPARK: Statement = Statement::same(include_str!("../../../sql/consumer_slot/unpark.sql"));
static LOCK: Template = Template::each(
    &[include_str!("../../../sql/sqlite/event/lock.sql")],
    include_str!("../../../sql/mysql/event/lock.sql"),
);
static DELETE_PARKED: Template =
    Template::same(&[include_str!("../../../sql/event_parked/delete_positions.sql")]);
static EMPTY: Template = Template::same(&[include_str!("../../../sql/event/empty.sql")]);

/// Statements on one kind of link.
struct Links {
    count: Statement,
    find: Statement,
    delete: Statement,
    insert: &'static Template,
    max: usize,
    what: &'static str,
}

const EIDS: Links = Links {
    count: Statement::same(include_str!("../../../sql/event_eid/count.sql")),
    find: Statement::same(include_str!("../../../sql/event_eid/find.sql")),
    delete: Statement::same(include_str!("../../../sql/event_eid/delete.sql")),
    insert: &INSERT_EIDS,
    max: EIDS_PER_EVENT_MAX,
    what: "eids",
};

const CPIDS: Links = Links {
    count: Statement::same(include_str!("../../../sql/event_cpid/count.sql")),
    find: Statement::same(include_str!("../../../sql/event_cpid/find.sql")),
    delete: Statement::same(include_str!("../../../sql/event_cpid/delete.sql")),
    insert: &INSERT_CPIDS,
    max: CPIDS_PER_EVENT_MAX,
    what: "cpids",
};

/// What goes with an event when it is emptied.
static BELONGINGS: [Template; 5] = [
    Template::same(&[include_str!("../../../sql/event_eid/delete_positions.sql")]),
    Template::same(&[include_str!("../../../sql/event_cpid/delete_positions.sql")]),
    Template::same(&[include_str!("../../../sql/event_retry/delete_positions.sql")]),
    Template::same(&[include_str!("../../../sql/event_parked/delete_positions.sql")]),
    Template::same(&[include_str!("../../../sql/event_unparked/delete_positions.sql")]),
];

impl Session {
    /// Changes a link and says how many rows that changed.
    pub(crate) async fn link(&mut self, link: &Link) -> Result<u64, Trouble> {
        match link {
            Link::AddEid(id, eid) => self.add_link(id, &EIDS, &[Value::Text(eid.as_str())]).await,
            Link::RemoveEid(id, eid) => self.remove_link(id, &EIDS, &[Value::Text(eid.as_str())]).await,
            Link::AddCpid(id, cpid) => {
                let to = [Value::Text(cpid.domain.as_str()), Value::Text(cpid.pid.as_str())];
                self.add_link(id, &CPIDS, &to).await
            }
            Link::RemoveCpid(id, cpid) => {
                let to = [Value::Text(cpid.domain.as_str()), Value::Text(cpid.pid.as_str())];
                self.remove_link(id, &CPIDS, &to).await
            }
        }
    }

    async fn add_link(&mut self, id: &EventId, links: &Links, to: &[Value<'_>]) -> Result<u64, Trouble> {
        let position = self.lock_event(id).await?;
        let link = [&[position], to].concat();
        if self.count(&links.find, &link).await? > 0 {
            return Ok(0);
        }
        let found = self.count(&links.count, &[position]).await?;
        if usize::try_from(found).is_ok_and(|found| found >= links.max) {
            let reason = format!("event {id} has {found} {}; at most {} are allowed", links.what, links.max);
            return Err(Trouble::Unfit(0, Refusal::Invalid { reason }));
        }
        let (insert, _) = links.insert.for_at_most(1);
        Ok(self.execute(&insert, &link).await?)
    }

    async fn remove_link(&mut self, id: &EventId, links: &Links, to: &[Value<'_>]) -> Result<u64, Trouble> {
        let position = self.lock_event(id).await?;
        Ok(self.execute(&links.delete, &[&[position], to].concat()).await?)
    }

    /// Locks an event that is not emptied, marks that it may have links, and says where it is.
    async fn lock_event(&mut self, id: &EventId) -> Result<Value<'static>, Trouble> {
        let matched = self.execute(&MARK_LINKED, &[Value::Text(id.as_str())]).await?;
        let found = self.find_event(id).await?;
        match found {
            Some((position, None)) if matched == 1 => Ok(Value::number(position.0)),
            Some(_) => Err(not_found(format!("event {id}, which was deleted,"))),
            None => Err(not_found(format!("event {id}"))),
        }
    }

    async fn find_event(&mut self, id: &EventId) -> Result<Option<(Position, Option<i64>)>, Error> {
        let rows = self.rows(&FIND_POSITION, &[Value::Text(id.as_str())]).await?;
        rows.first().map(|row| Ok((row.position(0)?, row.integer_or_null(1)?))).transpose()
    }

    async fn count(&mut self, statement: &Statement, values: &[Value<'_>]) -> Result<i64, Error> {
        let rows = self.rows(statement, values).await?;
        rows.first().map_or(Ok(0), |row| Ok(row.integer(0)?))
    }

    /// Empties an event; its position, unless somebody else had emptied it before.
    pub(crate) async fn empty_event(
        &mut self,
        id: &EventId,
        moment: Moment,
    ) -> Result<Vec<Position>, Trouble> {
        let Some((position, deleted)) = self.find_event(id).await? else {
            return Err(not_found(format!("event {id}")));
        };
        self.empty(&[(position, deleted)], moment).await
    }

    /// Empties all events of an eventlog; the positions of those that nobody had emptied before.
    pub(crate) async fn empty_eventlog(
        &mut self,
        eventlog: &Eventlog,
        moment: Moment,
    ) -> Result<Vec<Position>, Trouble> {
        let Eventlog { domain, pid } = eventlog;
        let (mut emptied, mut after) = (Vec::new(), 0);
        loop {
            let values = [Value::Text(domain.as_str()), Value::Text(pid.as_str()), Value::Integer(after)];
            let rows = self.rows(&LIST_VERSIONS, &values).await?;
            let mut page = Vec::with_capacity(rows.len());
            for row in &rows {
                let parts = (|| {
                    after = row.integer(0)?;
                    Ok((row.position(1)?, row.integer_or_null(2)?))
                })();
                page.push(parts.map_err(|error: crate::row::RowError| Error::from(error))?);
            }
            if page.is_empty() {
                break;
            }
            emptied.extend(self.empty(&page, moment).await?);
        }
        if after == 0 {
            return Err(not_found(format!("eventlog {domain}/{pid}")));
        }
        Ok(emptied)
    }

    /// Empties events that are given as (position, when it was emptied before). What was emptied at
    /// this very moment was emptied by this change, if a commit of it is in doubt.
    async fn empty(
        &mut self,
        events: &[(Position, Option<i64>)],
        moment: Moment,
    ) -> Result<Vec<Position>, Trouble> {
        let full: Vec<_> = events
            .iter()
            .filter(|(_, deleted)| deleted.is_none())
            .map(|(at, _)| [Value::number(at.0)])
            .collect();
        let emptied = self.execute_rows(&EMPTY, &[Value::Integer(moment.at.millis())], &full, &[]).await?;
        if emptied != full.len() as u64 {
            // Somebody else emptied one between reading and writing: look again.
            return Err(Trouble::HeadMoved);
        }
        self.count_out_parked(&full).await?;
        for template in &BELONGINGS {
            self.execute_rows(template, &[], &full, &[]).await?;
        }
        // Another deletion of the same millisecond is not this one: without a doubt nothing was ours.
        let ours = |deleted: &Option<i64>| {
            deleted.is_none_or(|deleted| moment.in_doubt && deleted == moment.at.millis())
        };
        Ok(events.iter().filter(|(_, deleted)| ours(deleted)).map(|(position, _)| *position).collect())
    }
}

impl Session {
    /// Of these events, those that somebody has emptied. The others are not emptied before this transaction
    /// is over.
    pub(crate) async fn emptied(
        &mut self,
        positions: &[[Value<'static>; 1]],
    ) -> Result<Vec<[Value<'static>; 1]>, Error> {
        let mut emptied = Vec::new();
        for part in positions.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, size) = LOCK.for_at_least(part.len());
            let mut values = part.as_flattened().to_vec();
            values.resize(size, Value::Null);
            for row in self.rows(&statement, &values).await? {
                if row.integer_or_null(1)?.is_some() {
                    emptied.push([Value::number(row.position(0)?.0)]);
                }
            }
        }
        Ok(emptied)
    }

    /// What was parked of events that had been emptied before is not parked after all: the same as if they
    /// were emptied now.
    pub(crate) async fn unpark_emptied(&mut self, emptied: &[[Value<'static>; 1]]) -> Result<(), Error> {
        self.count_out_parked(emptied).await?;
        self.execute_rows(&DELETE_PARKED, &[], emptied, &[]).await.map(drop)
    }

    /// Events that are about to be emptied do not count as parked any more in any group.
    async fn count_out_parked(&mut self, positions: &[[Value<'static>; 1]]) -> Result<(), Error> {
        let mut counts: BTreeMap<(i64, u16), i64> = BTreeMap::new();
        for part in positions.chunks(TEMPLATE_ROWS_MAX) {
            let (statement, size) = OF_POSITIONS.for_at_least(part.len());
            let mut values = part.as_flattened().to_vec();
            values.resize(size, Value::Null);
            for row in self.rows(&statement, &values).await? {
                let (domain, pid) = (row.name(1, Domain::parse)?, row.name(2, Pid::parse)?);
                *counts.entry((row.integer(0)?, slot(&domain, &pid))).or_default() += 1;
            }
        }
        for ((group, slot), count) in counts {
            let count = Value::Integer(count);
            let values = [count, count, Value::Integer(group), Value::Integer(i64::from(slot))];
            self.execute(&UNPARK, &values).await?;
        }
        Ok(())
    }
}

fn not_found(what: String) -> Trouble {
    Trouble::Unfit(0, Refusal::NotFound { what })
}
