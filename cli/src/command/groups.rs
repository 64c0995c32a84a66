//! `groups`: how consumer groups stand, their settings, pauses and removal.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use proto::group::{GroupPart, GroupStatus, MembersFate, SettingsChange};
use proto::{Domain, GroupName, Order, ParkPolicy, Pid};

use crate::ask::confirmed;
use crate::connect::operate;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::parse;
use crate::place::Place;
use crate::shown::group::Removed;

/// What to know of groups, or to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupsArgs {
    /// All groups as a table
    Ls,
    /// One group: how far it is, its settings, pauses and members
    Show {
        /// The group
        group: GroupName,
    },
    /// Change settings while the group runs: new deliveries follow them
    Set(Box<SetArgs>),
    /// Deliver nothing new of a group, of its part in one domain or of one process, until it is resumed
    Pause(PartArgs),
    /// Go on with what was paused
    Resume(PartArgs),
    /// Remove a group with all that is recorded of its deliveries; events stay
    Rm(RemoveArgs),
}

/// The settings to change.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("setting").multiple(true).required(true))]
pub(crate) struct SetArgs {
    /// The group
    name: GroupName,
    /// Its part in this domain only [default: all of its domains]
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// Failures after which an event is parked, 1 to 1000
    #[arg(long, value_name = "N", group = "setting")]
    attempts: Option<u32>,
    /// The first and the longest wait between two tries, for example 500ms..60s
    #[arg(long, value_name = "FIRST..LONGEST", value_parser = parse::span, group = "setting")]
    backoff: Option<(Duration, Duration)>,
    /// How long a member may keep a delivery without an answer or a sign of life, for example 5m
    #[arg(long, value_name = "TIME", value_parser = parse::duration, group = "setting")]
    deadline: Option<Duration>,
    /// Events that any one member may have in hand, 1 to 4096
    #[arg(long, value_name = "N", group = "setting")]
    credit: Option<u32>,
    /// Deliver the events of a process one by one, in order
    #[arg(long, conflicts_with = "unordered", group = "setting")]
    ordered: bool,
    /// Deliver events in no particular order
    #[arg(long, group = "setting")]
    unordered: bool,
    /// What is parked when an event has failed for good: it alone, or all later ones of its process too
    #[arg(long, value_name = "WHAT", group = "setting")]
    park: Option<Parked>,
}

/// What is parked with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Parked {
    Event,
    Pid,
}

/// A part of a group.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// The group
    group: GroupName,
    /// Its part in this domain only [default: all of its domains]
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// This process only
    #[arg(long, value_name = "PID", requires = "domain")]
    pid: Option<Pid>,
}

/// The group to remove.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The group
    group: GroupName,
    /// Its part in this domain only [default: all of its domains]
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Also if it has members: they are sent away
    #[arg(long)]
    force: bool,
}

/// Does it and shows the groups as they are then.
pub(crate) async fn run(args: GroupsArgs, place: &Place, output: &mut Output) -> Outcome {
    match args {
        GroupsArgs::Ls => {
            let statuses = operate(place).await?.group_statuses(None).await?;
            output.table(&statuses, "there are no groups; the first consumer of a group makes it")
        }
        GroupsArgs::Show { group } => {
            let statuses = operate(place).await?.group_statuses(Some(&group)).await?;
            if statuses.is_empty() {
                return Err(Failure::failed(format!("group {group} was not found")));
            }
            show(&statuses, output)
        }
        GroupsArgs::Set(args) => {
            let change = args.change()?;
            let statuses = operate(place).await?.set_group(&args.name, args.domain.as_ref(), change).await?;
            show(&statuses, output)
        }
        GroupsArgs::Pause(args) => {
            let (group, part) = args.part();
            show(&operate(place).await?.pause_group(&group, part).await?, output)
        }
        GroupsArgs::Resume(args) => {
            let (group, part) = args.part();
            show(&operate(place).await?.resume_group(&group, part).await?, output)
        }
        GroupsArgs::Rm(args) => remove(args, place, output).await,
    }
}

/// One group may consume several domains, each with a progress of its own.
fn show(statuses: &[GroupStatus], output: &mut Output) -> Outcome {
    statuses.iter().try_for_each(|status| output.show(status))
}

async fn remove(args: RemoveArgs, place: &Place, output: &mut Output) -> Outcome {
    let RemoveArgs { group, domain, yes, force } = args;
    let instead = "nobody can be asked whether the group is to be removed; say --yes if it is";
    if !yes && !confirmed(&question(&group, domain.as_ref()), instead)? {
        return Err(Failure::failed("nothing was removed"));
    }
    let members = if force { MembersFate::SentAway } else { MembersFate::Respected };
    let removed = operate(place).await?.remove_group(&group, domain.as_ref(), members).await?;
    removed.into_iter().try_for_each(|status| output.show(&Removed::from(status.report)))
}

/// What is asked before a group is removed.
fn question(group: &GroupName, domain: Option<&Domain>) -> String {
    let of = domain.map(|domain| format!(" of {domain}")).unwrap_or_default();
    format!("Remove group {group}{of}? How far it is and what became of each event in it is lost.")
}

impl SetArgs {
    fn change(&self) -> Outcome<SettingsChange> {
        let order = match (self.ordered, self.unordered) {
            (true, _) => Some(Order::ByPid),
            (_, true) => Some(Order::None),
            (false, false) => None,
        };
        Ok(SettingsChange {
            attempts_max: self.attempts,
            backoff_first_ms: self.backoff.map(|(first, _)| millis("--backoff", first)).transpose()?,
            backoff_max_ms: self.backoff.map(|(_, longest)| millis("--backoff", longest)).transpose()?,
            deadline_ms: self.deadline.map(|deadline| millis("--deadline", deadline)).transpose()?,
            credit_max: self.credit,
            order,
            park: self.park.map(|park| match park {
                Parked::Event => ParkPolicy::Event,
                Parked::Pid => ParkPolicy::Pid,
            }),
        })
    }
}

fn millis(option: &str, span: Duration) -> Outcome<u32> {
    u32::try_from(span.as_millis()).map_err(|_| Failure::usage(format!("{option} of {span:?} is too long")))
}

impl PartArgs {
    fn part(self) -> (GroupName, GroupPart) {
        let part = match (self.domain, self.pid) {
            (None, _) => GroupPart::Whole,
            (Some(domain), None) => GroupPart::Domain(domain),
            (Some(domain), Some(pid)) => GroupPart::Pid(domain, pid),
        };
        (self.group, part)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        args: GroupsArgs,
    }

    fn set(options: &[&str]) -> Option<SettingsChange> {
        let line = [&["groups", "set", "audit"], options].concat();
        match Line::try_parse_from(line).ok()?.args {
            GroupsArgs::Set(args) => args.change().ok(),
            _ => None,
        }
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let change = set(&["--attempts", "8", "--backoff", "500ms..1m", "--deadline", "5m", "--unordered"]);
        let expected = SettingsChange {
            attempts_max: Some(8),
            backoff_first_ms: Some(500),
            backoff_max_ms: Some(60_000),
            deadline_ms: Some(300_000),
            order: Some(Order::None),
            ..SettingsChange::default()
        };
        assert_eq!(change, Some(expected));
    }

    #[test]
    fn something_has_to_be_named_and_no_order_and_its_opposite() {
        assert_eq!(set(&[]), None);
        assert_eq!(set(&["--domain", "order"]), None);
        assert_eq!(set(&["--ordered", "--unordered"]), None);
        assert_eq!(set(&["--park", "nothing"]), None);
        assert!(set(&["--park", "pid"]).is_some());
    }

    #[test]
    fn before_a_group_is_removed_it_is_said_what_is_lost() {
        let (audit, order) = (GroupName::parse("audit").unwrap(), Domain::parse("order").unwrap());
        let question = question(&audit, Some(&order));
        assert!(question.contains("group audit of order") && question.contains("is lost"), "{question}");
    }

    #[test]
    fn a_process_is_paused_in_its_domain() {
        let parse =
            |options: &[&str]| Line::try_parse_from([&["groups", "pause", "audit"], options].concat());
        assert!(parse(&["--pid", "1"]).is_err());
        let Ok(Line { args: GroupsArgs::Pause(args) }) = parse(&["--domain", "order", "--pid", "1"]) else {
            panic!("it is a pause")
        };
        assert!(matches!(args.part().1, GroupPart::Pid(..)));
    }
}
