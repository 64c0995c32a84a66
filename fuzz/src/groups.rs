//! What is said about groups by those who manage them.

use eventflow_proto::group::{
    GroupCommand, GroupMember, GroupPart, GroupSettings, GroupStatus, MembersFate, OldestUnsettled,
    ParkPolicy, Pause, PausedPid, SettingsChange,
};

use crate::choices::Choices;
use crate::messages::group_report;

impl Choices<'_> {
    /// Something to do with groups.
    pub fn group_command(&mut self) -> GroupCommand {
        let group = self.group();
        match self.way(5) {
            0 => GroupCommand::List {
                group: Some(group),
                after: self.maybe(|choices| (choices.group(), choices.domain())),
            },
            1 => {
                GroupCommand::Set { group, domain: self.maybe(Self::domain), change: self.settings_change() }
            }
            2 => GroupCommand::Pause { group, part: self.group_part() },
            3 => GroupCommand::Resume { group, part: self.group_part() },
            _ => GroupCommand::Remove {
                group,
                domain: self.maybe(Self::domain),
                members: if self.yes() { MembersFate::SentAway } else { MembersFate::Respected },
            },
        }
    }

    fn group_part(&mut self) -> GroupPart {
        match self.way(3) {
            0 => GroupPart::Whole,
            1 => GroupPart::Domain(self.domain()),
            _ => GroupPart::Pid(self.domain(), self.pid()),
        }
    }

    fn park(&mut self) -> ParkPolicy {
        if self.yes() { ParkPolicy::Pid } else { ParkPolicy::Event }
    }

    fn settings_change(&mut self) -> SettingsChange {
        SettingsChange {
            attempts_max: self.maybe(Self::small),
            backoff_first_ms: self.maybe(Self::small),
            backoff_max_ms: self.maybe(Self::small),
            deadline_ms: self.maybe(Self::small),
            credit_max: self.maybe(Self::small),
            order: self.maybe(Self::order),
            park: self.maybe(Self::park),
        }
    }

    fn pause(&mut self) -> Pause {
        Pause { since: self.time(), by: self.text() }
    }

    /// How a group stands.
    pub fn group_status(&mut self) -> GroupStatus {
        GroupStatus {
            report: group_report(self),
            settings: GroupSettings {
                attempts_max: self.small(),
                backoff_first_ms: self.small(),
                backoff_max_ms: self.small(),
                deadline_ms: self.small(),
                credit_max: self.small(),
                order: self.order(),
                park: self.park(),
            },
            paused: self.maybe(Self::pause),
            pids_paused: self.number(),
            paused_pids: self.some(|choices| PausedPid { pid: choices.pid(), pause: choices.pause() }),
            oldest: self.maybe(|choices| OldestUnsettled {
                position: choices.position(),
                published: choices.time(),
                age_ms: choices.number(),
            }),
            connected: self.some(|choices| GroupMember {
                member: choices.text(),
                credit: choices.small(),
                in_flight: choices.small(),
            }),
        }
    }
}
