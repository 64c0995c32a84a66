//! `schedule`: events that are published later, once or again and again.

use std::time::Duration;

use clap::{Args, Subcommand};
use futures::StreamExt;
use hub::Clock;
use proto::message::Stored;
use proto::{CronText, Data, Domain, EventId, EventName, NewEvent, Pid, ScheduleKey, Timestamp, ZoneName};
use serde::Serialize;
use spoke::Spoke;
use spoke::schedule::{
    DoubledTime, Misfire, Recurrence, Rule, ScheduleReport, ScheduleScope, Scheduled, SkippedTime, Standing,
    Timing, Which,
};

use super::append::{read_data, refuse_facts_as_folder};
use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::parse::{self, Moment};
use crate::place::Place;
use crate::shown::schedule::standing_sentence;

/// Rows of a table that are shown at once.
const ROWS_AT_ONCE: usize = 500;

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleArgs {
    /// Have an event published later, once or again and again
    Add(Box<AddArgs>),
    /// List what is to be published, by time
    Ls(ListArgs),
    /// One schedule and what has become of it
    Show(WhichArgs),
    /// Cancel a schedule; a series ends
    Cancel(WhichArgs),
    /// Keep a schedule from being fired until it is resumed
    Pause(WhichArgs),
    /// Take a pause back; what has become due meanwhile is fired at once
    Resume(WhichArgs),
}

/// The event, and when.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The kind of process, for example order
    domain: Domain,
    /// The process, for example 4711
    pid: Pid,
    /// What is to have happened, for example "reminder due"
    name: EventName,
    /// The facts as JSON, @FILE to read them from a file, or - from standard input [default: {}]
    #[arg(value_name = "JSON")]
    facts: Option<String>,
    #[command(flatten)]
    when: WhenArgs,
    /// What it can be cancelled by; a pending schedule with the same key is replaced
    #[arg(long)]
    key: Option<ScheduleKey>,
    /// The event's id, or the name of the series: adding it again with the same content changes
    /// nothing [default: a new one]
    #[arg(long, value_name = "ID")]
    id: Option<EventId>,
    /// The time zone of a cron expression, an IANA name, for example Europe/Stockholm
    #[arg(long, value_name = "ZONE", default_value = "UTC", conflicts_with_all = ["at", "after", "every"])]
    zone: ZoneName,
    /// The first moment at which it may recur; intervals are counted from it
    /// [default: now; of an interval, when it has passed once]
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with_all = ["at", "after"])]
    start: Option<Moment>,
    /// The last moment at which it may recur
    #[arg(long, value_name = "TIME", value_parser = parse::moment, conflicts_with_all = ["at", "after"])]
    end: Option<Moment>,
    /// By how much each occurrence may be fired later, by a share of its own
    #[arg(long, value_name = "SPAN", value_parser = parse::duration, conflicts_with_all = ["at", "after"])]
    jitter: Option<Duration>,
    /// What becomes of occurrences that nobody could fire in time: fire_once_now, skip or fire_each
    #[arg(long, value_name = "POLICY", default_value_t, conflicts_with_all = ["at", "after"])]
    misfire: Misfire,
    /// What becomes of local times that a change of the clocks skips: by_rule, skip or fire_after
    #[arg(long, value_name = "POLICY", default_value_t, conflicts_with_all = ["at", "after", "every"])]
    skipped: SkippedTime,
    /// What becomes of local times that come twice: by_rule, first, second or twice
    #[arg(long, value_name = "POLICY", default_value_t, conflicts_with_all = ["at", "after", "every"])]
    doubled: DoubledTime,
}

/// When it is due.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhenArgs {
    /// Once, at this time, for example 2030-01-31T08:00:00+01:00, or +2s from now
    #[arg(long, value_name = "TIME", value_parser = parse::moment)]
    at: Option<Moment>,
    /// Once, after this time: 2s, 500ms, 5m, 12h or 30d
    #[arg(long = "in", id = "after", value_name = "SPAN", value_parser = parse::duration)]
    after: Option<Duration>,
    /// Again and again: minute, hour, day of month, month, day of week, with seconds in front if they
    /// matter
    #[arg(long, value_name = "EXPRESSION")]
    cron: Option<CronText>,
    /// Again and again, each time that so much time has passed
    #[arg(long, value_name = "SPAN", value_parser = parse::duration)]
    every: Option<Duration>,
}

/// Which ones to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only events of this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// What is to be published, of a series the next occurrence; this is the default
    #[arg(long, conflicts_with = "all")]
    pending: bool,
    /// All that ever were: series, paused, published, cancelled and failed ones too
    #[arg(long)]
    all: bool,
}

/// Which schedule.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct WhichArgs {
    /// Its id; that of an occurrence which is still to come stands for its series
    id: Option<EventId>,
    /// Its key
    #[arg(long)]
    key: Option<ScheduleKey>,
}

/// What was stored.
#[derive(Debug, Serialize)]
struct Receipt {
    id: EventId,
    due: Timestamp,
    /// Whether this command stored it or an earlier one had.
    new: bool,
    /// Whether the time had passed, so that it is fired at once.
    passed: bool,
    replaced: Option<EventId>,
}

impl Shown for Receipt {
    fn for_people(&self) -> String {
        let Self { id, due, new, passed, replaced } = self;
        let was = if *new { "scheduled" } else { "was scheduled already" };
        let mut text = match passed {
            false => format!("{was} for {due}, id {id}"),
            true => format!("{was}, id {id}; {due} has passed, so it is published at once"),
        };
        if let Some(replaced) = replaced {
            text.push_str(&format!("; it replaces {replaced}"));
        }
        text
    }
}

/// How a schedule stands after it was to be changed.
#[derive(Debug, Serialize)]
struct Answer {
    schedule: String,
    #[serde(flatten)]
    standing: Standing,
}

impl Shown for Answer {
    fn for_people(&self) -> String {
        format!("{}: {}", self.schedule, standing_sentence(&self.standing))
    }
}

/// Does what is asked about schedules.
pub(crate) async fn run(args: ScheduleArgs, place: &Place, output: &mut Output) -> Outcome {
    match args {
        ScheduleArgs::Add(args) => add(*args, place, output).await,
        ScheduleArgs::Ls(args) => list(args, place, output).await,
        ScheduleArgs::Show(args) => {
            let report = connect(place).await?.show_schedule(args.which()?).await?;
            output.show(&report)
        }
        ScheduleArgs::Cancel(args) => {
            let which = args.which()?;
            let standing = connect(place).await?.cancel_schedule(which.clone()).await?;
            let is_done = standing == Standing::Cancelled;
            answer(&which, standing, is_done, "it was not cancelled", output)
        }
        ScheduleArgs::Pause(args) => {
            let which = args.which()?;
            let standing = connect(place).await?.pause_schedule(which.clone()).await?;
            let is_done = standing == Standing::Paused;
            answer(&which, standing, is_done, "it was not paused", output)
        }
        ScheduleArgs::Resume(args) => {
            let which = args.which()?;
            let standing = connect(place).await?.resume_schedule(which.clone()).await?;
            let is_done = matches!(standing, Standing::Pending { .. });
            answer(&which, standing, is_done, "it was not resumed", output)
        }
    }
}

async fn add(args: AddArgs, place: &Place, output: &mut Output) -> Outcome {
    refuse_facts_as_folder(place)?;
    let now = Clock::system().now();
    let (at, recurrence) = args.when(now);
    let data = match &args.facts {
        Some(text) => read_data(text)?,
        None => Data::empty(),
    };
    let id = args.id.unwrap_or_else(spoke::generate_id);
    let event = NewEvent { data, ..NewEvent::new(id.clone(), args.domain, args.pid, args.name) };
    let spoke = connect(place).await?;
    let mut schedule = spoke.schedule(at, event);
    if let Some(key) = args.key {
        schedule = schedule.key(key);
    }
    if let Some(recurrence) = recurrence {
        schedule = schedule.recurring(recurrence);
    }
    let Scheduled { stored, due, timing, replaced } = schedule.await?;
    let (new, passed) = (stored == Stored::Now, timing == Timing::Passed);
    output.show(&Receipt { id, due, new, passed, replaced })
}

impl AddArgs {
    /// From when on, and what it recurs by, if it does.
    fn when(&self, now: Timestamp) -> (Timestamp, Option<Recurrence>) {
        let at = |moment: Option<Moment>| moment.map(|moment| moment.after(now));
        let rule = match (&self.when.cron, self.when.every) {
            (Some(expression), _) => Rule::Cron { expression: expression.clone(), zone: self.zone.clone() },
            (None, Some(every)) => Rule::Every { millis: millis(every) },
            (None, None) => {
                let at = at(self.when.at).or_else(|| self.when.after.map(|span| now.plus(span)));
                return (at.unwrap_or(now), None);
            }
        };
        let recurrence = Recurrence {
            rule,
            misfire: self.misfire,
            skipped: self.skipped,
            doubled: self.doubled,
            end: at(self.end),
            jitter_ms: u32::try_from(millis(self.jitter.unwrap_or_default())).unwrap_or(u32::MAX),
        };
        let first = now.plus(self.when.every.unwrap_or_default());
        (at(self.start).unwrap_or(first), Some(recurrence))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

async fn list(args: ListArgs, place: &Place, output: &mut Output) -> Outcome {
    let scope = if args.all { ScheduleScope::All } else { ScheduleScope::Pending };
    let spoke: Spoke = connect(place).await?;
    let reports = spoke.schedules(scope, args.domain.as_ref());
    let mut pages = std::pin::pin!(reports.ready_chunks(ROWS_AT_ONCE));
    let mut some = false;
    while let Some(page) = pages.next().await {
        let page = page.into_iter().collect::<Result<Vec<ScheduleReport>, _>>()?;
        output.table(&page, "")?;
        some = true;
    }
    if some { Ok(()) } else { output.say("nothing is scheduled") }
}

impl WhichArgs {
    fn which(self) -> Outcome<Which> {
        match (self.id, self.key) {
            (Some(id), None) => Ok(Which::Id(id)),
            (None, Some(key)) => Ok(Which::Key(key)),
            (Some(_), Some(_)) | (None, None) => {
                Err(Failure::usage("name a schedule by its id or its --key"))
            }
        }
    }
}

/// Says how a schedule stands, and fails if that is not what was wanted.
fn answer(which: &Which, standing: Standing, is_done: bool, else_said: &str, output: &mut Output) -> Outcome {
    let schedule = match which {
        Which::Id(id) => id.to_string(),
        Which::Key(key) => key.to_string(),
    };
    output.show(&Answer { schedule, standing })?;
    if is_done { Ok(()) } else { Err(Failure::failed(else_said)) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: AddArgs,
    }

    fn parse(line: &[&str]) -> Result<AddArgs, clap::Error> {
        let words = ["add", "order", "1", "reminded"].iter().chain(line);
        Line::try_parse_from(words).map(|line| line.args)
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_time_is_given_in_one_way() {
        let now = at("2030-01-01T00:00:00Z");
        let when = |line: &[&str]| parse(line).unwrap().when(now);
        assert_eq!(when(&["--in=2s"]), (at("2030-01-01T00:00:02Z"), None));
        assert_eq!(when(&["--at=+5m"]), (at("2030-01-01T00:05:00Z"), None));
        assert_eq!(when(&["--at=2031-01-01T00:00:00+01:00"]), (at("2030-12-31T23:00:00Z"), None));
        for wrong in
            [&[][..], &["--in=2s", "--at=+2s"], &["--in=2s", "--jitter=1s"], &["--every=5m", "--zone=UTC"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_recurs_starts_now_and_an_interval_when_it_has_passed_once() {
        let now = at("2030-01-01T00:00:00Z");
        let (start, every) = parse(&["--every=5m", "--misfire=skip", "--jitter=2s"]).unwrap().when(now);
        let every = every.unwrap();
        assert_eq!((start, every.rule), (at("2030-01-01T00:05:00Z"), Rule::Every { millis: 300_000 }));
        assert_eq!((every.misfire, every.jitter_ms), (Misfire::Skip, 2_000));
        let line = ["--cron=30 2 * * *", "--zone=Europe/Stockholm", "--end=2031-01-01T00:00:00Z"];
        let (start, cron) = parse(&line).unwrap().when(now);
        assert_eq!((start, cron.unwrap().end), (now, Some(at("2031-01-01T00:00:00Z"))));
    }
}
