//! `grant`: who may do what, and which services have which roles.
//!
//! `--service` is an option of every command and says who to be. Here it says whom a command is about:
//! the commands themselves run as the operator, or as whoever `--as` names.

use std::time::Duration;

use clap::{Args, Subcommand};
use hub::Clock;
use proto::access::{Action, Grant, GrantReply, GrantRequest, InForce, NewGrant, RoleMember, Subject};
use proto::admin::{AdminReply, AdminRequest};
use proto::limits::GRANTS_PER_PAGE_MAX;
use proto::{Domain, EventName, Pattern, RoleName, ServiceName, Timestamp};
use spoke::Spoke;

use crate::connect::operate_as;
use crate::failure::{Failure, Outcome};
use crate::output::Output;
use crate::parse;
use crate::place::{DEFAULT_SERVICE, Place};
use crate::shown::grant::{Added, Changed, Checked};

/// What to do with grants.
#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    #[command(subcommand)]
    command: GrantCommand,
    /// The service to be; it needs the right to administer [default: operator, the hub's own user]
    #[arg(long = "as", value_name = "SERVICE", global = true)]
    operator: Option<ServiceName>,
}

#[derive(Debug, Subcommand)]
enum GrantCommand {
    /// Let a service (--service) or a role (--role) do something; it counts at once
    Add(Box<AddArgs>),
    /// Take a grant back; what is open by it ends at once
    Rm {
        /// Its number, as ls shows it
        id: u64,
    },
    /// List grants, all or those of a service (--service) or a role (--role)
    Ls {
        /// Those of this role
        #[arg(long, value_name = "ROLE")]
        role: Option<RoleName>,
    },
    /// Say whether a service (--service) may do something, and what is missing if it may not
    Check(CheckArgs),
    /// Roles: services that have rights together
    #[command(subcommand)]
    Role(RoleCommand),
}

/// A grant.
#[derive(Debug, Args)]
struct AddArgs {
    /// The role that gets it, in place of --service
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleName>,
    /// What it may do: publish, consume, subscribe, schedule, read, delete or admin
    #[arg(long, value_name = "ACTION")]
    action: Action,
    /// In which domains: one, those with a prefix ('order*') or all ('*'); admin is about none
    #[arg(long, value_name = "PATTERN", required_if_eq_any = ABOUT_DOMAINS.map(|action| ("action", action)))]
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

/// Actions that are granted in domains.
const ABOUT_DOMAINS: [&str; 6] = ["publish", "consume", "subscribe", "schedule", "read", "delete"];

/// What a service is to do.
#[derive(Debug, Args)]
struct CheckArgs {
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

#[derive(Debug, Subcommand)]
enum RoleCommand {
    /// Give a role to a service
    Add(MemberArgs),
    /// Take a role from a service
    Rm(MemberArgs),
    /// List who has which role
    Ls {
        /// Only this role
        role: Option<RoleName>,
    },
}

/// A role and a service.
#[derive(Debug, Args)]
struct MemberArgs {
    /// The role
    role: RoleName,
    /// The service
    member: ServiceName,
}

/// Does it and shows what came of it.
pub(crate) async fn run(args: GrantArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = operate_as(place, args.operator.as_ref()).await?;
    match args.command {
        GrantCommand::Add(args) => add(&spoke, *args, place, output).await,
        GrantCommand::Rm { id } => {
            change(&spoke, GrantRequest::Remove(id), format!("grant {id} removed"), output).await
        }
        GrantCommand::Ls { role } => list(&spoke, subject(place, role)?, output).await,
        GrantCommand::Check(args) => check(&spoke, args, place, output).await,
        GrantCommand::Role(RoleCommand::Add(MemberArgs { role, member })) => {
            let done = format!("service {member} has the role {role}");
            change(&spoke, GrantRequest::Join { role, service: member }, done, output).await
        }
        GrantCommand::Role(RoleCommand::Rm(MemberArgs { role, member })) => {
            let done = format!("service {member} has the role {role} no more");
            change(&spoke, GrantRequest::Quit { role, service: member }, done, output).await
        }
        GrantCommand::Role(RoleCommand::Ls { role }) => members(&spoke, role, output).await,
    }
}

async fn add(spoke: &Spoke, args: AddArgs, place: &Place, output: &mut Output) -> Outcome {
    let AddArgs { role, action, domain, name, ttl, until } = args;
    let subject = subject(place, role)?
        .ok_or_else(|| Failure::usage("say who gets it, with --service NAME or --role NAME"))?;
    let domain = match domain {
        Some(domain) => domain,
        None => Pattern::parse(Pattern::EVERY).map_err(Failure::failed)?,
    };
    let expires = ttl.map(|ttl| Clock::system().now().plus(ttl)).or(until);
    let grant = NewGrant { subject, action, domain, name, expires };
    match ask(spoke, GrantRequest::Add(grant.clone())).await? {
        GrantReply::Added { id, access } => output.show(&Added { id, grant, access }),
        reply => Err(unexpected(&reply)),
    }
}

async fn change(spoke: &Spoke, request: GrantRequest, done: String, output: &mut Output) -> Outcome {
    match ask(spoke, request).await? {
        GrantReply::Changed { changed, access } => output.show(&Changed { changed, access, done }),
        reply => Err(unexpected(&reply)),
    }
}

async fn list(spoke: &Spoke, subject: Option<Subject>, output: &mut Output) -> Outcome {
    let mut grants: Vec<Grant> = Vec::new();
    loop {
        let after = grants.last().map_or(0, |grant| grant.id);
        let request = GrantRequest::List { subject: subject.clone(), after, limit: GRANTS_PER_PAGE_MAX };
        match ask(spoke, request).await? {
            GrantReply::Listed(page) if page.is_empty() => break,
            GrantReply::Listed(page) => grants.extend(page),
            reply => return Err(unexpected(&reply)),
        }
    }
    output.table(&grants, "there are no grants; eventflow grant add makes one")
}

async fn members(spoke: &Spoke, role: Option<RoleName>, output: &mut Output) -> Outcome {
    let mut members: Vec<RoleMember> = Vec::new();
    loop {
        let after = members.last().map(|last| (last.role.clone(), last.service.clone()));
        let request = GrantRequest::Members { role: role.clone(), after, limit: GRANTS_PER_PAGE_MAX };
        match ask(spoke, request).await? {
            GrantReply::Members(page) if page.is_empty() => break,
            GrantReply::Members(page) => members.extend(page),
            reply => return Err(unexpected(&reply)),
        }
    }
    output.table(&members, "no service has a role; eventflow grant role add gives one")
}

/// Tells whether it may, and fails with what is missing if it may not.
async fn check(spoke: &Spoke, args: CheckArgs, place: &Place, output: &mut Output) -> Outcome {
    let CheckArgs { action, domain, name } = args;
    let service =
        subject_service(place).ok_or_else(|| Failure::usage("say who is to do it, with --service NAME"))?;
    let request =
        GrantRequest::Check { service: service.clone(), action, domain: domain.clone(), name: name.clone() };
    match ask(spoke, request).await? {
        GrantReply::Checked { missing, access } => {
            let allowed = missing.is_none() || access == InForce::Open;
            let denied = missing.clone().filter(|_| !allowed);
            let checked = Checked { service, action, domain, name, allowed, missing, access };
            match denied {
                None => output.show(&checked),
                Some(missing) => {
                    output.show_to_programs(&checked)?;
                    Err(Failure::failed(missing))
                }
            }
        }
        reply => Err(unexpected(&reply)),
    }
}

async fn ask(spoke: &Spoke, request: GrantRequest) -> Outcome<GrantReply> {
    match spoke.administer(AdminRequest::Grants(request)).await? {
        AdminReply::Grants(reply) => Ok(reply),
        AdminReply::Tokens(_) | AdminReply::Certs(_) | AdminReply::Audit(_) => {
            Err(Failure::failed("the hub answered something else; update the older of hub and command"))
        }
    }
}

fn unexpected(reply: &GrantReply) -> Failure {
    Failure::failed(format_args!(
        "the hub answered {reply:?}, which was not asked; update the older of hub and command"
    ))
}

/// Whom the command is about, if it is about somebody.
fn subject(place: &Place, role: Option<RoleName>) -> Outcome<Option<Subject>> {
    match (subject_service(place), role) {
        (Some(_), Some(_)) => Err(Failure::usage(
            "name a service or a role, not both; the service may also come from EVENTFLOW_SERVICE",
        )),
        (Some(service), None) => Ok(Some(Subject::Service(service))),
        (None, role) => Ok(role.map(Subject::Role)),
    }
}

fn subject_service(place: &Place) -> Option<ServiceName> {
    Some(place.service.clone()).filter(|service| service.as_str() != DEFAULT_SERVICE)
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        args: GrantArgs,
    }

    fn parse(line: &[&str]) -> Result<Line, clap::Error> {
        Line::try_parse_from([&["grant"], line].concat())
    }

    #[test]
    fn a_grant_needs_a_domain_unless_it_is_to_administer() {
        let with = |action: &'static str| parse(&["add", "--service", "billing", "--action", action]);
        for action in ABOUT_DOMAINS {
            assert!(with(action).is_err(), "{action}");
        }
        assert!(with("admin").is_ok());
        let about: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(about, [&ABOUT_DOMAINS[..], &["admin"]].concat());
    }

    #[test]
    fn a_grant_is_for_a_service_or_a_role_and_ends_once() {
        let add = |rest: &[&str]| {
            let start = ["add", "--action", "read", "--domain", "order*"];
            let line = parse(&[&start, rest].concat()).ok()?;
            let GrantCommand::Add(args) = line.args.command else { panic!("it is an add") };
            Some(subject(&line.place, args.role))
        };
        let billing = Subject::Service(ServiceName::parse("billing").unwrap());
        assert_eq!(add(&["--service", "billing"]).unwrap().unwrap(), Some(billing));
        let clerks = Subject::Role(RoleName::parse("clerks").unwrap());
        assert_eq!(add(&["--role", "clerks", "--ttl", "1h"]).unwrap().unwrap(), Some(clerks));
        assert!(add(&[]).unwrap().unwrap().is_none());
        assert!(add(&["--role", "clerks", "--service", "billing"]).unwrap().is_err());
        assert!(add(&["--role", "clerks", "--ttl", "1h", "--until", "2031-01-01T00:00:00Z"]).is_none());
    }
}
