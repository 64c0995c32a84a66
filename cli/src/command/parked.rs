//! `parked`: events that a group has given up and kept aside, and what to do with them.

use std::time::Duration;

use clap::{Args, Subcommand};
use proto::parked::{ParkedEvent, ParkedSelection};
use proto::read::Window;
use proto::{Domain, EventId, EventName, GroupName, Pid, Refusal, Timestamp};
use spoke::{ParkedPages, RequestError, Spoke};
use tokio::time::{Instant, sleep};

use crate::connect::operate;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, note};
use crate::place::Place;
use crate::progress;
use crate::shown::parked::ParkedStory;

/// Rows of a table, unless `--max` says otherwise.
const ROWS_MAX: usize = 1_000;

/// How long is waited for a group that has as many replayed events to deliver as it may, while none of
/// them gets an outcome.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause before it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What to do with parked events.
#[derive(Debug, Subcommand)]
pub(crate) enum ParkedArgs {
    /// Parked events as a table
    Ls {
        #[command(flatten)]
        select: SelectArgs,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = ROWS_MAX)]
        max: usize,
    },
    /// One parked event with its data, why each group has parked it, and what was done about it before
    Show {
        /// The event
        id: EventId,
    },
    /// Deliver parked events again, in order. Of a pid that is parked as a whole, all of them
    Replay(UnparkArgs),
    /// Settle parked events as failed, for good
    Discard {
        #[command(flatten)]
        unpark: UnparkArgs,
        /// Why, for those who ask later
        #[arg(long, value_name = "TEXT", default_value = "no reason given")]
        why: String,
    },
}

/// Which parked events: those for which all of it holds.
#[derive(Debug, Clone, Args)]
pub(crate) struct SelectArgs {
    /// Of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// Of this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// Of this process
    #[arg(long, value_name = "PID")]
    pid: Option<Pid>,
    /// Of this name
    #[arg(long, value_name = "NAME")]
    name: Option<EventName>,
    /// With this text in their reason, letter by letter
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Parked at this time or later
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    since: Option<Timestamp>,
    /// Parked at this time or before
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    until: Option<Timestamp>,
}

/// Which parked events to take up.
#[derive(Debug, Args)]
pub(crate) struct UnparkArgs {
    /// These events
    ids: Vec<EventId>,
    #[command(flatten)]
    select: SelectArgs,
    /// Every parked event, where nothing else is said
    #[arg(long)]
    all: bool,
    /// Only say which would be taken
    #[arg(long)]
    dry_run: bool,
}

impl SelectArgs {
    fn selection(&self) -> ParkedSelection {
        let select = self.clone();
        ParkedSelection {
            group: select.group,
            domain: select.domain,
            id: None,
            pid: select.pid,
            name: select.name,
            reason: select.reason,
            window: Window { from: select.since, until: select.until },
        }
    }
}

impl UnparkArgs {
    /// One selection for each event that is named, or one for all.
    fn selections(&self) -> Outcome<Vec<ParkedSelection>> {
        let selection = self.select.selection();
        if !self.ids.is_empty() {
            let of = |id: &EventId| ParkedSelection { id: Some(id.clone()), ..selection.clone() };
            return Ok(self.ids.iter().map(of).collect());
        }
        if selection == ParkedSelection::default() && !self.all {
            return Err(Failure::usage(
                "say which events: by id, --group, --domain, --pid, --name, --reason, --since or --until; or --all",
            ));
        }
        Ok(vec![selection])
    }
}

/// What is done with what is selected.
#[derive(Debug, Clone)]
enum Act {
    Replay,
    Discard { why: String },
}

impl Act {
    fn begin(&self, spoke: &Spoke, selection: ParkedSelection, dry_run: bool) -> ParkedPages {
        match self {
            Self::Replay if dry_run => spoke.would_replay(selection),
            Self::Replay => spoke.replay(selection),
            Self::Discard { .. } if dry_run => spoke.parked(selection),
            Self::Discard { why } => spoke.discard(selection, why.as_str()),
        }
    }

    fn done(&self) -> &'static str {
        match self {
            Self::Replay => "replayed",
            Self::Discard { .. } => "discarded",
        }
    }
}

/// Lists, shows, replays or discards.
pub(crate) async fn run(args: ParkedArgs, place: &Place, output: &mut Output) -> Outcome {
    match args {
        ParkedArgs::Ls { select, max } => list(&select, max, place, output).await,
        ParkedArgs::Show { id } => show(&id, place, output).await,
        ParkedArgs::Replay(args) => unpark(&args, &Act::Replay, place, output).await,
        ParkedArgs::Discard { unpark: args, why } => {
            unpark(&args, &Act::Discard { why }, place, output).await
        }
    }
}

async fn list(select: &SelectArgs, max: usize, place: &Place, output: &mut Output) -> Outcome {
    let spoke = operate(place).await?;
    let mut pages = spoke.parked(select.selection());
    let mut events: Vec<ParkedEvent> = Vec::new();
    while events.len() <= max
        && let Some(page) = pages.next().await
    {
        events.extend(page?);
    }
    if events.len() > max {
        events.truncate(max);
        note(format_args!("there are more than these {max}; select fewer, or say --max"));
    }
    output.table(&events, "no parked event fits")
}

async fn show(id: &EventId, place: &Place, output: &mut Output) -> Outcome {
    let spoke = operate(place).await?;
    let story = spoke.story(id).await?;
    let selection = ParkedSelection { id: Some(id.clone()), ..ParkedSelection::default() };
    let parked = spoke.parked(selection).all().await?;
    let history = spoke.parked_history(id).await?;
    if parked.is_empty() && history.is_empty() {
        return Err(Failure::failed(format_args!(
            "event {id} was never parked; `eventflow why {id}` says what became of it"
        )));
    }
    output.show(&ParkedStory { event: story.event, parked, history })
}

async fn unpark(args: &UnparkArgs, act: &Act, place: &Place, output: &mut Output) -> Outcome {
    let selections = args.selections()?;
    let spoke = operate(place).await?;
    let bar = progress::bar(None);
    let (mut would, mut done) = (Vec::new(), 0);
    for selection in selections {
        let mut pages = act.begin(&spoke, selection, args.dry_run);
        while let Some(page) = next(&mut pages).await {
            let events = page.inspect_err(|_| {
                if done > 0 {
                    note(format_args!("{}: {done}; the same command goes on with the rest", act.done()));
                }
            })?;
            done += events.len();
            bar.set_message(format!("{}: {done}", act.done()));
            if args.dry_run {
                would.extend(events);
            } else {
                events.iter().try_for_each(|event| output.show_to_programs(event))?;
            }
        }
    }
    bar.finish_and_clear();
    if args.dry_run {
        return output.table(&would, "no parked event fits");
    }
    output.say(&match done {
        0 => "nothing to do: no parked event fits".to_owned(),
        done => format!("{}: {done}", act.done()),
    })
}

/// The next batch. While the group has as many replayed events to deliver as it may, it is waited for.
async fn next(pages: &mut ParkedPages) -> Option<Outcome<Vec<ParkedEvent>>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let page = pages.next().await?;
        let full = matches!(&page, Err(RequestError::Refused(Refusal::Unavailable { .. })));
        if full && Instant::now() < until {
            sleep(ASK_AGAIN_AFTER).await;
            continue;
        }
        return Some(page.map_err(Failure::from));
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: UnparkArgs,
    }

    fn selections(line: &[&str]) -> Outcome<Vec<ParkedSelection>> {
        Line::try_parse_from(line).unwrap().args.selections()
    }

    #[test]
    fn everything_is_taken_only_when_that_is_said() {
        assert!(matches!(selections(&["replay"]), Err(Failure::Usage(_))));
        assert_eq!(selections(&["replay", "--all"]).unwrap(), [ParkedSelection::default()]);
        assert_eq!(selections(&["replay", "--reason", "stock"]).unwrap()[0].reason.as_deref(), Some("stock"));
    }

    #[test]
    fn each_event_that_is_named_is_selected_by_itself() {
        let found = selections(&["replay", "e1", "e2", "--group", "billing"]).unwrap();
        let ids: Vec<_> = found.iter().map(|one| one.id.clone().unwrap().to_string()).collect();
        assert_eq!(ids, ["e1", "e2"]);
        assert!(found.iter().all(|one| one.group.as_ref().is_some_and(|group| group.as_str() == "billing")));
    }
}
