//! `consume`: a member of a group from the command line.
//!
//! Without `--exec` an event is done when it has been printed and handed to the reader of the
//! output. With it, a command decides. Every end, also by a signal, waits until all answers are
//! settled: nothing that was printed stays unanswered, and what was not handled goes to others.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::FutureExt;
use proto::{Domain, EventName, GroupName};
use spoke::{Consumer, Delivery, DeliveryStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::exec::{self, Ended, StandardOutput};
use super::follow::{Idle, Span};
use crate::connect::connect;
use crate::failure::{Failure, Outcome};
use crate::import::{Parsed, Publisher, parse_line};
use crate::output::{Output, json_line, note, reader_gone};
use crate::place::Place;
use crate::stop;

/// Events in hand when they are only printed.
const PRINTED_AT_ONCE: u32 = 256;

/// Commands that run at once unless `--concurrency` says otherwise.
const COMMANDS_AT_ONCE: u32 = 8;

/// How long an event that a command gave back is kept before it is: it comes again at once.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// What to consume and how.
#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    /// The domain whose published events to consume
    domain: Domain,
    /// The consumer group: each event goes to one of its members [default: the service]
    #[arg(long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// Only events of this name; may repeat. A group keeps the names that it was made with
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<EventName>,
    #[command(flatten)]
    span: Span,
    /// Run this for each event, with its JSON on standard input: exit 0 is done, 75 gives it back,
    /// anything else fails it with the last line of standard error as the reason
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Each line of JSON that the command says on standard output is an event that follows: all of them are
    /// committed together with the ack, or none is. Without an id they get one that is the same again
    #[arg(long, requires = "exec")]
    chain: bool,
    /// Events in hand at once [default: 256 printed, 8 with --exec]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: Option<u32>,
    /// Do not keep the events of a process in order. A group keeps what it was made with
    #[arg(long)]
    unordered: bool,
}

/// Consumes until it is told to stop, or there was enough, or nothing came for long enough.
pub(crate) async fn run(args: ConsumeArgs, place: &Place, output: &mut Output) -> Outcome {
    let mut tasks = JoinSet::new();
    let stop = stop::on_signal(&mut tasks)?;
    let spoke = connect(place).await?;

    let at_once = args.concurrency.unwrap_or(match args.exec {
        Some(_) => COMMANDS_AT_ONCE,
        None => PRINTED_AT_ONCE,
    });
    // What is in hand beyond the last event that is wanted would only be kept from other members.
    let at_once = args.span.max.map_or(at_once, |max| at_once.min(u32::try_from(max).unwrap_or(u32::MAX)));
    let mut consumer = spoke.consumer(args.domain).names(args.names).from(args.span.from).credit(at_once);
    if let Some(group) = args.group {
        consumer = consumer.group(group);
    }
    if args.unordered {
        consumer = consumer.unordered();
    }
    let (consumer, mut deliveries) = consumer.deliveries().await?;

    let mut limits = Limits { stop, left: args.span.max, idle: Idle::new(args.span.idle_exit) };
    let outcome = match args.exec {
        None => print(&mut deliveries, &mut limits, output).await,
        Some(command) => {
            let stdout = if args.chain { StandardOutput::Kept } else { StandardOutput::PassedOn };
            execute(&command, stdout, at_once, &mut deliveries, &mut limits).await
        }
    };
    drop(deliveries);
    end(consumer, outcome).await
}

/// How the deliveries came to their end.
enum Over {
    /// There was enough of them, or nobody wants more.
    Enough,
    /// The consumer has ended by itself.
    ByItself,
}

/// Waits until every answer is recorded.
async fn end(mut consumer: Consumer, outcome: Outcome<Over>) -> Outcome {
    if let Ok(Over::ByItself) = outcome {
        consumer.ended().await?;
        return Err(Failure::try_again("the consumer has ended; start it again"));
    }
    let stopped = consumer.stop().await;
    outcome?;
    stopped.map_err(|error| {
        Failure::try_again(format_args!(
            "the last answers were not confirmed ({error}); what they were for may come again"
        ))
    })
}

/// When to end.
struct Limits {
    stop: CancellationToken,
    left: Option<u64>,
    idle: Idle,
}

impl Limits {
    fn is_enough(&self) -> bool {
        self.left == Some(0)
    }

    fn took_one(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.idle.not_now();
    }
}

/// Prints events and acknowledges those that the output has taken.
async fn print(deliveries: &mut DeliveryStream, limits: &mut Limits, output: &mut Output) -> Outcome<Over> {
    let mut gone = pin!(reader_gone());
    while !limits.is_enough() {
        let first = tokio::select! {
            biased;
            () = limits.stop.cancelled() => return Ok(Over::Enough),
            () = &mut gone => return Err(Failure::OutputClosed),
            first = deliveries.next() => first,
            () = limits.idle.over() => return Ok(Over::Enough),
        };
        let Some(first) = first else { return Ok(Over::ByItself) };
        let mut printed = vec![first];
        limits.took_one();
        while !limits.is_enough() && printed.len() < PRINTED_AT_ONCE as usize {
            let Some(Some(next)) = deliveries.next().now_or_never() else { break };
            printed.push(next);
            limits.took_one();
        }
        for delivery in &printed {
            output.show(&*delivery.event)?;
        }
        output.flush()?;
        printed.into_iter().for_each(Delivery::ack);
    }
    Ok(Over::Enough)
}

/// Runs the command for each event, some at once.
async fn execute(
    command: &str,
    stdout: StandardOutput,
    at_once: u32,
    deliveries: &mut DeliveryStream,
    limits: &mut Limits,
) -> Outcome<Over> {
    let command: Arc<str> = Arc::from(command);
    let mut running = JoinSet::new();
    let outcome = loop {
        let has_room = running.len() < at_once as usize;
        let delivered = tokio::select! {
            biased;
            () = limits.stop.cancelled() => break Ok(Over::Enough),
            Some(ended) = running.join_next() => {
                limits.idle.not_now();
                if ended.is_err() {
                    break Err(Failure::failed("a command was lost; its event comes again"));
                }
                continue;
            }
            delivered = deliveries.next(), if has_room && !limits.is_enough() => delivered,
            () = limits.idle.over(), if running.is_empty() => break Ok(Over::Enough),
        };
        let Some(delivery) = delivered else { break Ok(Over::ByItself) };
        limits.took_one();
        running.spawn(handle(command.clone(), stdout, delivery, limits.stop.clone()));
        if limits.is_enough() {
            break Ok(Over::Enough);
        }
    };
    // What has begun is finished, so that no work is done twice.
    while running.join_next().await.is_some() {}
    outcome
}

/// Runs the command for one event and answers as it says.
async fn handle(command: Arc<str>, stdout: StandardOutput, delivery: Delivery, stop: CancellationToken) {
    let json = match json_line(&*delivery.event) {
        Ok(json) => json,
        Err(failure) => return delivery.park(failure),
    };
    match exec::run(&command, json, delivery.attempt.0, stdout).await {
        Ended::Done { said } if said.is_empty() => delivery.ack(),
        Ended::Done { said } => chain(delivery, &said).await,
        Ended::Release => {
            // Without a pause an event that nobody can handle yet would go round as fast as it can.
            let _ = tokio::time::timeout(RELEASE_AFTER, stop.cancelled()).await;
            delivery.release();
        }
        // Ctrl-C reaches the commands too: that is no fault of theirs.
        Ended::Killed { .. } if stop.is_cancelled() => delivery.release(),
        Ended::Failed { reason } | Ended::Killed { reason } => {
            note(format_args!("event {} failed, attempt {}: {reason}", delivery.event.id, delivery.attempt));
            delivery.fail(reason);
        }
    }
}

/// Commits what a command has said together with the ack.
async fn chain(mut delivery: Delivery, said: &[u8]) {
    let (id, attempt) = (delivery.event.id.clone(), delivery.attempt);
    let failed = |reason: &str| note(format_args!("event {id} failed, attempt {attempt}: {reason}"));
    if let Err(reason) = collect(&mut delivery, said) {
        failed(&reason);
        return delivery.fail(reason);
    }
    if let Err(error) = delivery.commit().await {
        failed(&error.to_string());
    }
}

/// Takes each line as an event that follows.
fn collect(delivery: &mut Delivery, said: &[u8]) -> Result<(), String> {
    let lines = said.split(|byte| *byte == b'\n').enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        let explain = |reason: String| format!("line {} of its output: {reason}", index + 1);
        let Parsed { id, mut event, publisher } = parse_line(line).map_err(explain)?;
        let child = delivery.child(event.domain.clone(), event.pid.clone(), event.name.clone());
        event.id = id.unwrap_or(child.id);
        let collected = match publisher {
            Publisher::Importer => delivery.publish(event),
            Publisher::Nobody => delivery.persist(event),
            Publisher::Service(_) => {
                return Err(explain("it is published by this service; leave the publisher out".to_owned()));
            }
        };
        collected.map_err(|error| explain(error.to_string()))?;
    }
    Ok(())
}
