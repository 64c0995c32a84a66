//! `grant`: who may do what, and which services have which roles.

use std::time::Duration;

use clap::{Args, Subcommand};
use hub::Clock;
use proto::access::{Action, Grant, GrantReply, GrantRequest, InForce, NewGrant, RoleMember, Subject};
use proto::admin::{AdminReply, AdminRequest};
use proto::limits::GRANTS_PER_PAGE_MAX;
use proto::{Domain, EventName, Pattern, RoleName, ServiceName, Timestamp};
use spoke::Spoke;

use crate::connect::operate;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::parse;
use crate::place::Place;
use crate::shown::grant::{Added, Changed, Checked, Removed};

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantArgs {
    /// Let a service or a role do something; it counts at once
    Add(AddArgs),
    /// Take a grant back; what is open by it ends at once
    Rm {
        /// Its number, as ls shows it
        id: u64,
    },
    /// List grants
    Ls(ListArgs),
    /// Say whether a service may do something, and what is missing if it may not
    Check(CheckArgs),
    /// Roles: services that have rights together
    #[command(subcommand)]
    Role(RoleArgs),
}

/// A grant.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    holder: Holder,
    /// What it may do: publish, consume, subscribe, schedule, read, delete or admin
    #[arg(long, value_name = "ACTION")]
    action: Action,
    /// In which domains: one, those with a prefix (order*) or all ('*') [default for admin: '*']
    #[arg(long, value_name = "PATTERN", required_unless_present = "is_admin")]
    domain: Option<Pattern>,
    /// With events of which names: one, a prefix or all [default: all]
    #[arg(long, value_name = "PATTERN")]
    name: Option<Pattern>,
    /// How long it counts, for example 15m or 30d [default: until it is removed]
    #[arg(long, value_name = "TIME", value_parser = parse::duration, conflicts_with = "until")]
    ttl: Option<Duration>,
    /// Until when it counts, as an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

/// Who has it.
///
/// `--service` is an option of every command, where it says who to be. Here it says who gets something,
/// and the command itself runs as the operator.
#[derive(Debug, Args)]
struct Holder {
    /// The role that gets it, in place of --service
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleName>,
}

/// Which grants.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    holder: Holder,
}

/// What a service is to do.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// What it would do
    #[arg(long, value_name = "ACTION")]
    action: Action,
    /// In which domain [default: in every one]
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// With events of which name [default: of every one]
    #[arg(long, value_name = "NAME")]
    name: Option<EventName>,
}
