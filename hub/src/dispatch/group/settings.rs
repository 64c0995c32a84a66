//! The rules of one group: what people have chosen for it, and the hub's defaults for the rest.

use std::time::Duration;

use db::ChangedGroup;
use proto::group::{GroupMember, GroupStatus};
use proto::limits::{CREDIT_EVENTS_MAX, GROUP_LISTED_MAX};
use proto::{GroupSettings, Order, Position, SettingsChange, Topic};

use super::super::rules::Rules;
use super::Group;

/// How a group stands, without what only the tables know.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Its `pending` counts what was read; its `oldest` is missing.
    pub(crate) status: GroupStatus,
    /// What it gets.
    pub(crate) topic: Topic,
    /// How far it has read.
    pub(crate) read_through: Position,
    /// The first event in hand that has no outcome.
    pub(crate) oldest: Option<Position>,
}

/// The settings of a group for which `chosen` was chosen on a hub with these rules.
pub(super) fn settings(rules: Rules, chosen: &SettingsChange, order: Order) -> GroupSettings {
    let millis = |span: Duration| u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
    let defaults = GroupSettings {
        attempts_max: rules.attempts_max,
        backoff_first_ms: millis(rules.backoff_first),
        backoff_max_ms: millis(rules.backoff_max),
        deadline_ms: millis(rules.deadline),
        credit_max: CREDIT_EVENTS_MAX,
        order,
        park: rules.park,
    };
    GroupSettings { order, ..defaults.with(chosen) }
}

/// The rules that `settings` make.
pub(super) fn rules(settings: &GroupSettings) -> Rules {
    let span = |millis: u32| Duration::from_millis(millis.into());
    Rules {
        attempts_max: settings.attempts_max,
        backoff_first: span(settings.backoff_first_ms),
        backoff_max: span(settings.backoff_max_ms),
        deadline: span(settings.deadline_ms),
        park: settings.park,
    }
}

impl Group {
    /// Follows what was recorded of the group: its settings and pauses. What is out keeps its deadline.
    pub(in crate::dispatch) fn change(&mut self, changed: ChangedGroup, defaults: Rules) {
        let ChangedGroup { group, pauses } = changed;
        self.settings = settings(defaults, &group.settings, group.order);
        self.rules = rules(&self.settings);
        self.members.credit_max = self.settings.credit_max;
        self.reorder(group.order);
        self.set_pauses(pauses);
    }

    /// The rules in force.
    pub(in crate::dispatch) fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// How the group stands.
    pub(in crate::dispatch) fn standing(&self, head: Position) -> Standing {
        let pids = self.pauses.pids();
        let credit_max = self.settings.credit_max;
        let member = |member: &super::members::Member| GroupMember {
            member: member.label.to_string(),
            credit: member.allowed(credit_max),
            in_flight: member.in_flight,
        };
        let status = GroupStatus {
            report: self.report(head),
            settings: self.settings.clone(),
            paused: self.pauses.whole().cloned(),
            pids_paused: u64::try_from(pids.len()).unwrap_or(u64::MAX),
            paused_pids: pids.take(GROUP_LISTED_MAX).collect(),
            oldest: None,
            connected: self.members.iter().take(GROUP_LISTED_MAX).map(member).collect(),
        };
        let oldest =
            self.lines.iter().filter_map(super::line::Line::first_open).chain(self.replays.first()).min();
        Standing { status, topic: self.topic.clone(), read_through: self.read_through, oldest }
    }

    /// Members that have left and wait until their answers are recorded.
    pub(in crate::dispatch) fn leaving(&self) -> impl Iterator<Item = super::MemberKey> {
        self.leaving.iter().map(|&(member, _)| member)
    }

    /// Its members.
    pub(in crate::dispatch) fn members(&self) -> impl Iterator<Item = super::MemberKey> {
        self.members.iter().map(|member| member.key)
    }
}
