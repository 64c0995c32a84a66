//! `token`: what lets services of other machines enrol, made, listed and withdrawn.

use std::time::Duration;

use clap::{Args, Subcommand};
use proto::access::OPERATOR;
use proto::admin::{AdminReply, AdminRequest};
use proto::enrol::{EnrolToken, TokenId};
use proto::token::{TokenReply, TokenReport, TokenRequest};
use proto::{ServiceName, Timestamp};
use serde::Serialize;

use crate::connect::{connect, operate, unexpected};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Row, Shown, note};
use crate::parse;
use crate::place::{DEFAULT_SERVICE, Place};

/// What to do with enrolment tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenArgs {
    /// Make a token for the service that --service names, and print it, this once
    Create(CreateArgs),
    /// All tokens and what is left of each
    Ls,
    /// Make a token useless; certificates that were issued for it stay
    Rm {
        /// The token, by its id
        id: TokenId,
    },
}

/// What the token is to be good for.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct CreateArgs {
    /// How long it is good, for example 15m: from 1s to 30d
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse::duration)]
    ttl: Duration,
    /// How many certificates it is good for: 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// The service to ask the hub as
    #[arg(long = "as", value_name = "NAME", default_value = OPERATOR, value_parser = ServiceName::parse)]
    agent: ServiceName,
}

const AFTER_HELP: &str = "\
The token is for one service and names this hub's root, so it is sent to no other hub. Whoever has it can be that \
service until it is used up or ends: pass it on as you would a password, best as a file that only its reader can open.";

/// A token that was made.
#[derive(Debug, Serialize)]
struct Created {
    token: String,
    id: String,
    service: ServiceName,
    uses: u32,
    expires: Timestamp,
}

impl Shown for Created {
    /// Only the token, so that it can be redirected to a file.
    fn for_people(&self) -> String {
        self.token.clone()
    }
}

/// A token in the list.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    service: ServiceName,
    state: &'static str,
    uses: u32,
    uses_max: u32,
    expires: Timestamp,
    created: Timestamp,
    by: String,
    withdrawn: Option<Timestamp>,
}

impl Listed {
    fn of(report: TokenReport, now: Timestamp) -> Self {
        let TokenReport { id, service, uses, uses_max, expires, agent, created, withdrawn } = report;
        let state = match withdrawn {
            Some(_) => "withdrawn",
            None if uses >= uses_max => "used up",
            None if expires <= now => "expired",
            None => "good",
        };
        let (id, by) = (id.to_string(), agent);
        Self { id, service, state, uses, uses_max, expires, created, by, withdrawn }
    }
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["id", "service", "state", "#uses", "until", "made by"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.service.to_string(),
            self.state.to_owned(),
            format!("{}/{}", self.uses, self.uses_max),
            self.expires.to_string(),
            self.by.clone(),
        ]
    }
}

/// What came of a withdrawal.
#[derive(Debug, Serialize)]
struct Withdrawn {
    id: String,
    changed: bool,
}

impl Shown for Withdrawn {
    fn for_people(&self) -> String {
        let Self { id, changed } = self;
        let before = if *changed { "" } else { ", as it was before" };
        format!("token {id} is withdrawn{before}")
    }
}

/// Does it.
pub(crate) async fn run(args: TokenArgs, place: &Place, output: &mut Output) -> Outcome {
    match args {
        TokenArgs::Create(args) => create(args, place, output).await,
        TokenArgs::Ls => list(place, output).await,
        TokenArgs::Rm { id } => {
            let spoke = operate(place).await?;
            match spoke.administer(AdminRequest::Tokens(TokenRequest::Withdraw(id))).await? {
                AdminReply::Tokens(TokenReply::Changed(changed)) => {
                    output.show(&Withdrawn { id: id.to_string(), changed })
                }
                other => Err(unexpected(&other)),
            }
        }
    }
}

async fn create(args: CreateArgs, place: &Place, output: &mut Output) -> Outcome {
    let CreateArgs { ttl, uses, agent } = args;
    // Here the option names whom the token is for; who asks is named by another one.
    let service = place.service.clone();
    if service.as_str() == DEFAULT_SERVICE {
        return Err(Failure::usage("say which service the token is for: --service NAME"));
    }
    let place = Place { service: agent, ..place.clone() };
    let ttl_ms = u64::try_from(ttl.as_millis()).map_err(|_| Failure::usage("--ttl is too long"))?;
    let request = TokenRequest::Create { service: service.clone(), ttl_ms, uses };
    let (token, expires): (EnrolToken, _) =
        match connect(&place).await?.administer(AdminRequest::Tokens(request)).await? {
            AdminReply::Tokens(TokenReply::Created { token, expires }) => (token, expires),
            other => return Err(unexpected(&other)),
        };
    let id = token.id.to_string();
    note(format_args!(
        "token {id}: {uses} {} of service {service}, until {expires}; there, run\n  eventflow spoke enroll \
         --token-file FILE --hub HOST:PORT",
        if uses == 1 { "instance" } else { "instances" }
    ));
    output.show(&Created { token: token.to_string(), id, service, uses, expires })
}

async fn list(place: &Place, output: &mut Output) -> Outcome {
    let spoke = operate(place).await?;
    let now = hub::Clock::system().now();
    let (mut tokens, mut after) = (Vec::new(), None);
    loop {
        let request = AdminRequest::Tokens(TokenRequest::List { after });
        let page = match spoke.administer(request).await? {
            AdminReply::Tokens(TokenReply::Listed(page)) => page,
            other => return Err(unexpected(&other)),
        };
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        tokens.extend(page.into_iter().map(|report| Listed::of(report, now)));
    }
    output.table(&tokens, "there are no tokens; make one with `eventflow token create --service NAME`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(uses: u32, expires: i64, withdrawn: bool) -> &'static str {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        let report = TokenReport {
            id: TokenId(1),
            service: ServiceName::parse("billing").unwrap(),
            uses,
            uses_max: 2,
            expires: at(expires),
            agent: "operator/1".to_owned(),
            created: at(0),
            withdrawn: withdrawn.then(|| at(1)),
        };
        Listed::of(report, at(10)).state
    }

    #[test]
    fn the_list_says_why_a_token_is_not_good_any_more() {
        assert_eq!(listed(1, 11, false), "good");
        assert_eq!(listed(1, 10, false), "expired");
        assert_eq!(listed(2, 11, false), "used up");
        assert_eq!(listed(0, 11, true), "withdrawn");
    }
}
