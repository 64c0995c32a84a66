//! Durable appends a second through the writer, against plain batch inserts of the same rows.
//!
//! `cargo run --release -p eventflow-db --example throughput -- sqlite:/tmp/t.db [EVENTS] [CALLERS] [PIDS]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a program for people who measure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eventflow_db::{Append, Database, DatabaseUrl, WriterOptions};
use proto::{Data, Domain, EventId, EventName, HubId, NewEvent, Pid, ServiceName, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn event(number: usize, pids: usize) -> NewEvent {
    let domain = Domain::parse("order").unwrap();
    let pid = Pid::parse(&format!("process-{:08}", number % pids)).unwrap();
    let id = EventId::from_uuid(uuid::Uuid::now_v7());
    let mut event = NewEvent::new(id, domain, pid, EventName::parse("order placed").unwrap());
    event.data = Data::parse(format!("{{\"n\":\"{number:0>190}\"}}")).unwrap();
    event
}

fn append(events: Vec<NewEvent>) -> Append {
    let publishers = vec![Some(ServiceName::parse("bench").unwrap()); events.len()];
    Append::new(events, publishers, Timestamp::from_millis(1_700_000_000_000).unwrap(), Vec::new())
}

/// Processor time that this process has used, in seconds.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = DatabaseUrl::parse(&arguments.next().unwrap()).unwrap();
    let mut number = |or: usize| arguments.next().map_or(or, |text| text.parse().unwrap());
    let (events, callers, pids) = (number(200_000), number(1_024), number(10_000));
    let database = Database::open(&url).await.unwrap();
    database.migrate().await.unwrap();
    println!("{:?}", database.engine());

    let mut best: f64 = 0.0;
    // The best plain rate of another run, on a database that was empty too.
    let before = std::env::var("PLAIN").ok().and_then(|rate| rate.parse::<f64>().ok());
    best = before.unwrap_or(best);
    let batch = std::env::var("BATCH").ok().and_then(|rows| rows.parse().ok()).unwrap_or(500);
    for batch in [batch; 1].into_iter().filter(|_| before.is_none()) {
        let mut ceiling = database.ceiling().await.unwrap();
        let mut batches: Vec<_> = (0..events / batch)
            .map(|at| append((0..batch).map(|n| event(at * batch + n, pids)).collect()))
            .collect();
        let (start, used) = (Instant::now(), processor_seconds());
        for batch in &mut batches {
            ceiling.insert(batch).await.unwrap();
        }
        let rate = events as f64 / start.elapsed().as_secs_f64();
        best = best.max(rate);
        let used = (processor_seconds() - used) * 100_000.0 / events as f64;
        println!("plain inserts, batches of {batch}: {rate:.0}/s, {used:.2} s of processor for 100,000");
        ceiling.finish().await.unwrap();
    }

    let stop = CancellationToken::new();
    let options = WriterOptions { hub: HubId::parse("bench.hub").unwrap(), stop: stop.clone() };
    let (writer, mut commits, task) = database.writer(options).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    let told = tasks.spawn(async move {
        let mut batches = 0_usize;
        while commits.next().await.is_some() {
            batches += 1;
        }
        println!("{batches} commits");
    });
    let mut callers_running = JoinSet::new();
    // Made as they are appended, so that ids rise with time as they do in a spoke.
    let next = Arc::new(AtomicUsize::new(0));
    let (start, used) = (Instant::now(), processor_seconds());
    for _ in 0..callers {
        let (writer, next) = (writer.clone(), Arc::clone(&next));
        callers_running.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= events {
                    return;
                }
                writer.append(append(vec![event(number, pids)])).await.unwrap();
            }
        });
    }
    while callers_running.join_next().await.is_some() {}
    let rate = events as f64 / start.elapsed().as_secs_f64();
    let used = (processor_seconds() - used) * 100_000.0 / events as f64;
    println!(
        "writer, {callers} callers: {rate:.0}/s, {:.2} of the best plain inserts, {used:.2} s of processor for 100,000",
        rate / best
    );
    stop.cancel();
    drop(writer);
    while tasks.join_next().await.is_some() {}
    drop(told);
    database.close().await;
}
