//! `tail` and `subscribe`: events as they come, printed and not answered.
//!
//! `tail` shows everything that is stored, `subscribe` what is published in one domain. Neither
//! takes anything away from anybody.

use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures::FutureExt;
use proto::{Domain, Event, EventName, Position, Start};
use spoke::{EventStream, ListenError, Subscription, Told};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, note, reader_gone};
use crate::parse;
use crate::place::Place;
use crate::stop;

/// Where to start and when to end.
#[derive(Debug, Args)]
pub(crate) struct Span {
    /// Where to start: beginning, now or a position
    #[arg(long, value_name = "WHERE", value_parser = parse::start, default_value = "now")]
    pub(crate) from: Start,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: Option<u64>,
    /// End when nothing has come for so long
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub(crate) idle_exit: Option<Duration>,
}

/// What `tail` shows.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Only events of this domain
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// Only events of this name; may repeat
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<EventName>,
    #[command(flatten)]
    span: Span,
}

/// What `subscribe` shows.
#[derive(Debug, Args)]
pub(crate) struct SubscribeArgs {
    /// The domain whose published events to show
    domain: Domain,
    /// Only events of this name; may repeat
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<EventName>,
    #[command(flatten)]
    span: Span,
}

/// Prints everything that is stored.
pub(crate) async fn tail(args: TailArgs, place: &Place, output: &mut Output) -> Outcome {
    let TailArgs { domain, names, span } = args;
    match domain {
        Some(domain) => {
            let wanted = names.into_iter().fold(Subscription::topic(domain), Subscription::name);
            follow(wanted.stored(), &[], &span, place, output).await
        }
        // Names belong to a domain for the hub; over all domains they are picked here.
        None => follow(Subscription::everything().stored(), &names, &span, place, output).await,
    }
}

/// Prints what is published in a domain.
pub(crate) async fn subscribe(args: SubscribeArgs, place: &Place, output: &mut Output) -> Outcome {
    let SubscribeArgs { domain, names, span } = args;
    let wanted = names.into_iter().fold(Subscription::topic(domain), Subscription::name);
    follow(wanted, &[], &span, place, output).await
}

async fn follow(
    wanted: Subscription,
    names: &[EventName],
    span: &Span,
    place: &Place,
    output: &mut Output,
) -> Outcome {
    let mut tasks = JoinSet::new();
    let stop = stop::on_signal(&mut tasks)?;
    let spoke = connect(place).await?;
    let head = spoke.welcome().head;
    let mut told = spoke.subscribe(wanted.from(span.from)).await?;
    let mut gone = pin!(reader_gone());
    let mut printer = Printer { output, names, left: span.max, idle: Idle::new(span.idle_exit), head };
    while printer.left != Some(0) {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = &mut gone => return Err(Failure::OutputClosed),
            next = told.next() => next,
            () = printer.idle.over() => return Ok(()),
        };
        printer.take(next)?;
        printer.take_what_is_here(&mut told)?;
        printer.output.flush()?;
    }
    Ok(())
}

/// Prints what is told, until there was enough of it.
struct Printer<'a> {
    output: &'a mut Output,
    /// Only these names; none means all.
    names: &'a [EventName],
    left: Option<u64>,
    idle: Idle,
    /// The end of the log when this began.
    head: Position,
}

impl Printer<'_> {
    /// Takes what has come already, so that a burst is written at once and not line by line.
    fn take_what_is_here(&mut self, told: &mut EventStream) -> Outcome {
        const LINES_MAX: usize = 512;
        for _ in 0..LINES_MAX {
            if self.left == Some(0) {
                break;
            }
            let Some(next) = told.next().now_or_never() else { break };
            self.take(next)?;
        }
        Ok(())
    }

    fn take(&mut self, told: Option<Result<Told, ListenError>>) -> Outcome {
        match told {
            Some(Ok(Told::Event(event))) => self.event(&event),
            Some(Ok(Told::CaughtUp { position })) => {
                // Reading on through what is there is no idleness, also where nothing matches.
                if position < self.head {
                    self.idle.not_now();
                }
                Ok(())
            }
            Some(Ok(Told::Lagged { behind })) => {
                note(format_args!("too slow by {behind} events; reading on from the log, nothing is lost"));
                Ok(())
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(Failure::try_again("the subscription has ended; start it again")),
        }
    }

    fn event(&mut self, event: &Event) -> Outcome {
        if !self.names.is_empty() && !self.names.contains(&event.name) {
            return Ok(());
        }
        self.idle.not_now();
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.output.show(event)
    }
}

/// How long it may still stay quiet.
pub(crate) struct Idle {
    after: Option<Duration>,
    since: Instant,
}

impl Idle {
    /// Quiet from now on; without a limit it never is over.
    pub(crate) fn new(after: Option<Duration>) -> Self {
        Self { after, since: Instant::now() }
    }

    /// Something happened.
    pub(crate) fn not_now(&mut self) {
        self.since = Instant::now();
    }

    /// Waits until it has been quiet for too long.
    ///
    /// Cancel safe.
    pub(crate) async fn over(&self) {
        match self.after {
            Some(after) => tokio::time::sleep_until(self.since + after).await,
            None => std::future::pending().await,
        }
    }
}
