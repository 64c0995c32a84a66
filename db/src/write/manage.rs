//! What people change of groups: settings, pauses, removal. Each change notes in the journal who made
//! it, in the same transaction.
//!
//! A removal takes the group, its slots, settings and pauses away at once, so nothing can be settled in
//! it any more, and leaves a row in `group_removed`. What is recorded of its deliveries may be a lot: it
//! goes afterwards, a page a transaction, and a restart goes on with it.

use proto::limits::PAUSED_PIDS_PER_GROUP_MAX;
use proto::{Domain, GroupName, Order, ParkPolicy, Pid, Refusal, SettingsChange, Timestamp};

use crate::audit::Audit;
use crate::row::{Row, RowError};
use crate::statement::{Statement, Value};
use crate::write::change::{Change, Moment};
use crate::write::group::Group;
use crate::write::groups::group;
use crate::write::log::{Log, Trouble};
use crate::write::session::Session;

/// Characters of an agent that the tables hold. A longer one is cut.
const AGENT_CHARS_MAX: usize = 128;

const OF_NAME: Statement = Statement::same(include_str!("../../../sql/consumer_group/of_name.sql"));
const DELETE: Statement = Statement::same(include_str!("../../../sql/consumer_group/delete.sql"));
const DELETE_SLOTS: Statement = Statement::same(include_str!("../../../sql/consumer_slot/delete.sql"));
const INSERT_SETTINGS: Statement = Statement::same(include_str!("../../../sql/group_settings/insert.sql"));
const UPDATE_SETTINGS: Statement = Statement::same(include_str!("../../../sql/group_settings/update.sql"));
const DELETE_SETTINGS: Statement = Statement::same(include_str!("../../../sql/group_settings/delete.sql"));
const LIST_PAUSES: Statement = Statement::same(include_str!("../../../sql/group_pause/list.sql"));
const INSERT_PAUSE: Statement = Statement::same(include_str!("../../../sql/group_pause/insert.sql"));
const DELETE_PAUSE: Statement = Statement::same(include_str!("../../../sql/group_pause/delete.sql"));
const DELETE_PAUSES: Statement = Statement::same(include_str!("../../../sql/group_pause/delete_group.sql"));
const INSERT_REMOVED: Statement = Statement::same(include_str!("../../../sql/group_removed/insert.sql"));
const PENDING: Statement = Statement::same(include_str!("../../../sql/group_removed/pending.sql"));
const SWEPT: Statement = Statement::same(include_str!("../../../sql/group_removed/sweep.sql"));

/// What is recorded of a group's deliveries: how far the next page goes, and what deletes it.
const RECORDED: [(Statement, Statement); 4] = [
    (
        Statement::same(include_str!("../../../sql/event_published/group_bound.sql")),
        Statement::same(include_str!("../../../sql/event_published/delete_group.sql")),
    ),
    (
        Statement::same(include_str!("../../../sql/event_retry/group_bound.sql")),
        Statement::same(include_str!("../../../sql/event_retry/delete_group.sql")),
    ),
    (
        Statement::same(include_str!("../../../sql/event_parked/group_bound.sql")),
        Statement::same(include_str!("../../../sql/event_parked/delete_group.sql")),
    ),
    (
        Statement::same(include_str!("../../../sql/event_unparked/group_bound.sql")),
        Statement::same(include_str!("../../../sql/event_unparked/delete_group.sql")),
    ),
];

/// The same of the processes that it has parked as a whole, whose rows are in the order of their pids.
const PARKED_PIDS: (Statement, Statement) = (
    Statement::same(include_str!("../../../sql/parked_pid/group_bound.sql")),
    Statement::same(include_str!("../../../sql/parked_pid/delete_group.sql")),
);

/// A change of the groups of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// The name.
    pub group: GroupName,
    /// The group of this domain only; `None` is all of them.
    pub domain: Option<Domain>,
    /// Who wants it: the service and instance, for the journal.
    pub agent: String,
    /// What is to be done.
    pub act: GroupAct,
}

/// What can be done with a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAct {
    /// Other settings, whose limits the caller has checked.
    Set(SettingsChange),
    /// A pause of the group, or of one process of it. What is paused keeps its first pause.
    Pause(Option<Pid>),
    /// The end of such a pause.
    Resume(Option<Pid>),
    /// Its removal.
    Remove,
}

/// A group after a change; after its removal, as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedGroup {
    /// The group, without its slots.
    pub group: Group,
    /// What of it is paused.
    pub pauses: Vec<GroupPause>,
}

/// A pause of a group or of one process of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPause {
    /// The process; `None` is the whole group.
    pub pid: Option<Pid>,
    /// Since when, by the database's clock.
    pub since: Timestamp,
    /// Who asked for it.
    pub by: String,
}

/// Whether removed groups have left something behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swept {
    /// A page is gone and there may be another.
    More,
    /// Nothing is left.
    Everything,
}

impl Change for GroupChange {
    type Done = Vec<ChangedGroup>;

    async fn make(
        &self,
        session: &mut Session,
        _: &mut Log,
        moment: Moment,
    ) -> Result<Vec<ChangedGroup>, Trouble> {
        session.change_groups(self, moment).await
    }
}

/// Deletes one page of what removed groups have left behind.
pub(crate) struct Sweep;

impl Change for Sweep {
    type Done = Swept;

    async fn make(&self, session: &mut Session, _: &mut Log, moment: Moment) -> Result<Swept, Trouble> {
        session.sweep_removed(moment.at).await
    }
}

impl GroupAct {
    /// Its name in the operator's log.
    fn audited(&self) -> &'static str {
        match self {
            Self::Set(_) => "group.set",
            Self::Pause(_) => "group.pause",
            Self::Resume(_) => "group.resume",
            Self::Remove => "group.remove",
        }
    }
}

impl Session {
    async fn change_groups(
        &mut self,
        change: &GroupChange,
        moment: Moment,
    ) -> Result<Vec<ChangedGroup>, Trouble> {
        let agent: String = change.agent.chars().take(AGENT_CHARS_MAX).collect();
        let mut changed = Vec::new();
        for row in self.rows(&OF_NAME, &[Value::Text(change.group.as_str())]).await? {
            let mut group = group(&row).map_err(sqlx::Error::from)?;
            if change.domain.as_ref().is_some_and(|domain| *domain != group.topic.domain) {
                continue;
            }
            let mut pauses = self.pauses(&group).await?;
            let note = match &change.act {
                GroupAct::Set(settings) => self.set_group(&mut group, settings).await?,
                GroupAct::Pause(pid) => {
                    let pause = GroupPause { pid: pid.clone(), since: moment.at, by: agent.clone() };
                    self.pause(&group, &mut pauses, pause).await?
                }
                GroupAct::Resume(pid) => self.resume(&group, &mut pauses, pid.as_ref()).await?,
                GroupAct::Remove => Some(self.remove_group(&group, moment.at, &agent).await?),
            };
            if let Some(note) = note {
                let (name, domain) = (&group.name, &group.topic.domain);
                let audit = Audit {
                    agent: agent.clone(),
                    act: change.act.audited(),
                    subject: format!("group {name} of {domain}"),
                    detail: note,
                };
                self.audit(&audit).await?;
            }
            changed.push(ChangedGroup { group, pauses });
        }
        // A removal whose commit nobody heard of finds nothing when it is made again.
        let removed = moment.in_doubt && change.act == GroupAct::Remove;
        if changed.is_empty() && !removed {
            return Err(Trouble::Unfit(0, missing(change)));
        }
        Ok(changed)
    }

    /// What is noted, or nothing if it is so already.
    async fn set_group(
        &mut self,
        group: &mut Group,
        change: &SettingsChange,
    ) -> Result<Option<String>, Trouble> {
        let settings = group.settings.and(change);
        if settings == group.settings {
            return Ok(None);
        }
        let id = Value::Integer(i64::from(group.id.0));
        self.execute(&INSERT_SETTINGS, &[id]).await?;
        let number = |number: Option<u32>| Value::integer_or_null(number.map(i64::from));
        let values = [
            number(change.attempts_max),
            number(change.backoff_first_ms),
            number(change.backoff_max_ms),
            number(change.deadline_ms),
            number(change.credit_max),
            Value::integer_or_null(change.order.map(|order| i64::from(order == Order::ByPid))),
            Value::text_or_null(change.park.map(park_as_text)),
            id,
        ];
        self.execute(&UPDATE_SETTINGS, &values).await?;
        group.settings = settings;
        group.order = change.order.unwrap_or(group.order);
        Ok(Some(format!("group {} of {} set: {}", group.name, group.topic.domain, described(change))))
    }

    async fn pauses(&mut self, group: &Group) -> Result<Vec<GroupPause>, Trouble> {
        let rows = self.rows(&LIST_PAUSES, &[Value::Integer(i64::from(group.id.0))]).await?;
        let pauses: Result<_, RowError> = rows.iter().map(pause).collect();
        Ok(pauses.map_err(sqlx::Error::from)?)
    }

    async fn pause(
        &mut self,
        group: &Group,
        pauses: &mut Vec<GroupPause>,
        pause: GroupPause,
    ) -> Result<Option<String>, Trouble> {
        if pauses.iter().any(|other| other.pid == pause.pid) {
            return Ok(None);
        }
        let pids = pauses.iter().filter(|pause| pause.pid.is_some()).count();
        if pause.pid.is_some() && pids >= PAUSED_PIDS_PER_GROUP_MAX {
            let reason = format!(
                "{pids} processes of group {} of {} are paused already, which is as many as there may be; pause the group, or resume some",
                group.name, group.topic.domain
            );
            return Err(Trouble::Unfit(0, Refusal::Invalid { reason }));
        }
        let values = [
            Value::Integer(i64::from(group.id.0)),
            Value::Text(pid_as_text(pause.pid.as_ref())),
            Value::Integer(pause.since.millis()),
            Value::Text(&pause.by),
        ];
        self.execute(&INSERT_PAUSE, &values).await?;
        let note = format!("{} paused", what(group, pause.pid.as_ref()));
        pauses.push(pause);
        Ok(Some(note))
    }

    async fn resume(
        &mut self,
        group: &Group,
        pauses: &mut Vec<GroupPause>,
        pid: Option<&Pid>,
    ) -> Result<Option<String>, Trouble> {
        let values = [Value::Integer(i64::from(group.id.0)), Value::Text(pid_as_text(pid))];
        if self.execute(&DELETE_PAUSE, &values).await? == 0 {
            return Ok(None);
        }
        pauses.retain(|pause| pause.pid.as_ref() != pid);
        Ok(Some(format!("{} resumed", what(group, pid))))
    }

    async fn remove_group(&mut self, group: &Group, at: Timestamp, agent: &str) -> Result<String, Trouble> {
        let id = Value::Integer(i64::from(group.id.0));
        let values = [
            id,
            Value::Text(group.name.as_str()),
            Value::Text(group.topic.domain.as_str()),
            Value::Integer(at.millis()),
            Value::Text(agent),
        ];
        self.execute(&INSERT_REMOVED, &values).await?;
        for statement in [&DELETE, &DELETE_SLOTS, &DELETE_SETTINGS, &DELETE_PAUSES] {
            self.execute(statement, &[id]).await?;
        }
        Ok(format!("group {} of {} removed", group.name, group.topic.domain))
    }

    async fn sweep_removed(&mut self, now: Timestamp) -> Result<Swept, Trouble> {
        let pending = self.rows(&PENDING, &[]).await?;
        let Some(row) = pending.first() else { return Ok(Swept::Everything) };
        let id = Value::Integer(row.integer(0).map_err(sqlx::Error::from)?);
        for (bound, delete) in &RECORDED {
            let rows = self.rows(bound, &[id]).await?;
            let bound = rows.first().map(|row| row.integer_or_null(0)).transpose();
            if let Some(bound) = bound.map_err(sqlx::Error::from)?.flatten() {
                self.execute(delete, &[id, Value::Integer(bound)]).await?;
                return Ok(Swept::More);
            }
        }
        let (bound, delete) = &PARKED_PIDS;
        let rows = self.rows(bound, &[id]).await?;
        let bound = rows.first().map(|row| row.text_or_null(0)).transpose();
        if let Some(bound) = bound.map_err(sqlx::Error::from)?.flatten() {
            self.execute(delete, &[id, Value::Text(&bound)]).await?;
            return Ok(Swept::More);
        }
        self.execute(&SWEPT, &[Value::Integer(now.millis()), id]).await?;
        Ok(Swept::More)
    }
}

/// What was chosen of a group's settings, whose columns start at `column`.
pub(crate) fn settings(row: &Row, column: usize) -> Result<SettingsChange, RowError> {
    let number = |at: usize| -> Result<Option<u32>, RowError> {
        match row.integer_or_null(column + at)? {
            Some(_) => row.small(column + at).map(Some),
            None => Ok(None),
        }
    };
    Ok(SettingsChange {
        attempts_max: number(0)?,
        backoff_first_ms: number(1)?,
        backoff_max_ms: number(2)?,
        deadline_ms: number(3)?,
        credit_max: number(4)?,
        order: row.integer_or_null(column + 5)?.map(|ordered| match ordered {
            0 => Order::None,
            _ => Order::ByPid,
        }),
        park: row.text_or_null(column + 6)?.as_deref().map(park_from_text).transpose()?,
    })
}

/// A pause from a row of `group_pause`.
pub(crate) fn pause(row: &Row) -> Result<GroupPause, RowError> {
    let pid = match row.text_ref(0)? {
        "" => None,
        _ => Some(row.name(0, Pid::parse)?),
    };
    Ok(GroupPause { pid, since: row.timestamp(1)?, by: row.text(2)? })
}

fn pid_as_text(pid: Option<&Pid>) -> &str {
    pid.map_or("", Pid::as_str)
}

fn park_as_text(park: ParkPolicy) -> &'static str {
    match park {
        ParkPolicy::Event => "event",
        ParkPolicy::Pid => "pid",
    }
}

fn park_from_text(text: &str) -> Result<ParkPolicy, RowError> {
    match text {
        "event" => Ok(ParkPolicy::Event),
        "pid" => Ok(ParkPolicy::Pid),
        other => Err(RowError { reason: format!("a group parks {other:?}, which is neither event nor pid") }),
    }
}

fn missing(change: &GroupChange) -> Refusal {
    let GroupChange { group, domain, .. } = change;
    let what = match domain {
        Some(domain) => format!("group {group} of {domain}"),
        None => format!("group {group}"),
    };
    Refusal::NotFound { what }
}

fn what(group: &Group, pid: Option<&Pid>) -> String {
    match pid {
        Some(pid) => format!("process {pid} of group {} of {}", group.name, group.topic.domain),
        None => format!("group {} of {}", group.name, group.topic.domain),
    }
}

/// The settings that a change names, for people.
fn described(change: &SettingsChange) -> String {
    let number = |what: &str, number: Option<u32>| number.map(|number| format!("{what} {number}"));
    let order = change.order.map(|order| match order {
        Order::ByPid => "ordered".to_owned(),
        Order::None => "unordered".to_owned(),
    });
    [
        number("attempts", change.attempts_max),
        number("first back-off in ms", change.backoff_first_ms),
        number("longest back-off in ms", change.backoff_max_ms),
        number("deadline in ms", change.deadline_ms),
        number("credit", change.credit_max),
        order,
        change.park.map(|park| format!("park {}", park_as_text(park))),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(", ")
}
