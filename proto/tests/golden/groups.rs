//! One value for every variant by which groups are managed.

use eventflow_proto::group::{
    GroupCommand, GroupMember, GroupPart, GroupSettings, GroupStatus, MembersFate, OldestUnsettled,
    ParkPolicy, Pause, PausedPid, SettingsChange,
};
use eventflow_proto::{Order, Position};

use super::values::{domain, group, group_report, pid, time};
use super::{Golden, golden};

pub(crate) fn all() -> Vec<Golden> {
    let list = GroupCommand::List { group: None, after: Some((group(), domain())) };
    let pause = GroupCommand::Pause { group: group(), part: GroupPart::Whole };
    let resume = GroupCommand::Resume { group: group(), part: GroupPart::Domain(domain()) };
    let remove = GroupCommand::Remove { group: group(), domain: None, members: MembersFate::SentAway };
    vec![
        golden("GroupCommand/List", list),
        golden("GroupCommand/Set", command()),
        golden("GroupCommand/Pause", pause),
        golden("GroupCommand/Resume", resume),
        golden("GroupCommand/Remove", remove),
        golden("GroupPart/Whole", GroupPart::Whole),
        golden("GroupPart/Domain", GroupPart::Domain(domain())),
        golden("GroupPart/Pid", GroupPart::Pid(domain(), pid())),
        golden("MembersFate/Respected", MembersFate::Respected),
        golden("MembersFate/SentAway", MembersFate::SentAway),
        golden("ParkPolicy/Event", ParkPolicy::Event),
        golden("ParkPolicy/Pid", ParkPolicy::Pid),
    ]
}

pub(crate) fn command() -> GroupCommand {
    let change = SettingsChange {
        attempts_max: Some(8),
        backoff_first_ms: Some(500),
        backoff_max_ms: None,
        deadline_ms: Some(300_000),
        credit_max: None,
        order: Some(Order::None),
        park: Some(ParkPolicy::Pid),
    };
    GroupCommand::Set { group: group(), domain: Some(domain()), change }
}

pub(crate) fn status() -> GroupStatus {
    let settings = GroupSettings {
        attempts_max: 5,
        backoff_first_ms: 500,
        backoff_max_ms: 60_000,
        deadline_ms: 60_000,
        credit_max: 4_096,
        order: Order::ByPid,
        park: ParkPolicy::Event,
    };
    let pause = Pause { since: time(1), by: "eventflow-cli/1".into() };
    GroupStatus {
        report: group_report(),
        settings,
        paused: Some(pause.clone()),
        pids_paused: 1,
        paused_pids: vec![PausedPid { pid: pid(), pause }],
        oldest: Some(OldestUnsettled { position: Position(10), published: time(2), age_ms: 70_000 }),
        connected: vec![GroupMember { member: "billing/1".into(), credit: 64, in_flight: 7 }],
    }
}
