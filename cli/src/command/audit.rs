//! `audit`: who did what.

use clap::Args;
use proto::Timestamp;
use proto::admin::{AdminReply, AdminRequest};
use proto::audit::{AuditLine, AuditRequest};
use proto::limits::PAGE_EVENTS_MAX;
use serde::Serialize;

use crate::connect::{operate, unexpected};
use crate::failure::Outcome;
use crate::output::{Output, Row};
use crate::place::Place;

/// Which lines.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only what was done at this time or later
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    since: Option<Timestamp>,
    /// Only acts that begin like this, such as `token.` or `cert.revoke`
    #[arg(long, value_name = "ACT")]
    act: Option<String>,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line {
    id: u64,
    at: Timestamp,
    agent: String,
    act: String,
    subject: String,
    detail: String,
}

impl Row for Line {
    const COLUMNS: &'static [&'static str] = &["when", "who", "what", "to whom", "detail"];

    fn cells(&self) -> Vec<String> {
        let Self { id: _, at, agent, act, subject, detail } = self;
        vec![at.to_string(), agent.clone(), act.clone(), subject.clone(), detail.clone()]
    }
}

impl From<AuditLine> for Line {
    fn from(line: AuditLine) -> Self {
        let AuditLine { id, at, agent, act, subject, detail } = line;
        Self { id, at, agent, act, subject, detail }
    }
}

/// Lists who did what, the oldest first.
pub(crate) async fn run(args: AuditArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = operate(place).await?;
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let AuditArgs { since, act } = &args;
        let request = AuditRequest { after, since: *since, act: act.clone(), limit: PAGE_EVENTS_MAX };
        let reply = match spoke.administer(AdminRequest::Audit(request)).await? {
            AdminReply::Audit(reply) => reply,
            other => return Err(unexpected(&other)),
        };
        let Some(last) = reply.lines.last() else { break };
        after = last.id;
        lines.extend(reply.lines.into_iter().map(Line::from));
    }
    output.table(&lines, "nobody has done anything of the kind yet")
}
