//! `delete` and `link`: what may be changed of an event after it was stored.

use clap::{Args, Subcommand};
use proto::message::Link;
use proto::{Cpid, Domain, Eid, EventId, Pid};
use serde::Serialize;

use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::parse;
use crate::place::Place;

/// What to delete.
#[derive(Debug, Subcommand)]
pub(crate) enum DeleteArgs {
    /// Empties one event: its position and id stay taken
    Event {
        /// The event
        id: EventId,
    },
    /// Empties all events of one process
    Eventlog {
        /// The kind of process
        domain: Domain,
        /// The process
        pid: Pid,
    },
}

/// The event and its links.
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// The event
    id: EventId,
    /// An entity that it concerns; may repeat
    #[arg(long = "eid", value_name = "EID", required_unless_present = "cpids")]
    eids: Vec<Eid>,
    /// A process that it started; may repeat
    #[arg(long = "cpid", value_name = "DOMAIN/PID", value_parser = parse::cpid)]
    cpids: Vec<Cpid>,
    /// Take these links away instead
    #[arg(long)]
    remove: bool,
}

/// How much was changed.
#[derive(Debug, Serialize)]
struct Changed {
    changed: u64,
    #[serde(skip)]
    what: &'static str,
}

impl Shown for Changed {
    fn for_people(&self) -> String {
        match self.changed {
            0 => "nothing to do: it was so already".to_owned(),
            changed => format!("{}: {changed}", self.what),
        }
    }
}

/// Deletes and says how many events it were.
pub(crate) async fn delete(args: DeleteArgs, place: &Place, output: &mut Output) -> Outcome {
    let spoke = connect(place).await?;
    let changed = match args {
        DeleteArgs::Event { id } => spoke.delete_event(&id).await?,
        DeleteArgs::Eventlog { domain, pid } => spoke.delete_eventlog(&domain, &pid).await?,
    };
    output.show(&Changed { changed, what: "events deleted" })
}

/// Adds or removes links and says how many were not so before.
pub(crate) async fn link(args: LinkArgs, place: &Place, output: &mut Output) -> Outcome {
    let what = if args.remove { "links removed" } else { "links added" };
    let spoke = connect(place).await?;
    let mut changed = 0;
    for link in args.links() {
        changed += spoke.link(link).await.map_err(Failure::from)?;
    }
    output.show(&Changed { changed, what })
}

impl LinkArgs {
    fn links(self) -> impl Iterator<Item = Link> {
        let Self { id, eids, cpids, remove } = self;
        let other = id.clone();
        let eids = eids.into_iter().map(move |eid| {
            if remove { Link::RemoveEid(id.clone(), eid) } else { Link::AddEid(id.clone(), eid) }
        });
        let cpids = cpids.into_iter().map(move |cpid| {
            if remove { Link::RemoveCpid(other.clone(), cpid) } else { Link::AddCpid(other.clone(), cpid) }
        });
        eids.chain(cpids)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LinkArgs,
    }

    #[test]
    fn links_are_added_unless_they_are_to_be_removed() {
        let links = |line: &[&str]| Line::try_parse_from(line).unwrap().args.links().collect::<Vec<_>>();
        let id = EventId::parse("e").unwrap();
        let eid = Eid::parse("x").unwrap();
        assert_eq!(links(&["link", "e", "--eid=x"]), [Link::AddEid(id.clone(), eid.clone())]);
        assert_eq!(links(&["link", "e", "--eid=x", "--remove"]), [Link::RemoveEid(id, eid)]);
        assert_eq!(links(&["link", "e", "--cpid=a/b"]).len(), 1);
        assert!(Line::try_parse_from(["link", "e"]).is_err());
    }
}
