//! Runs the simulated world of the dispatcher for as many seeds as wanted.
//!
//! `cargo run --profile fast -p eventflow-tests -- --seeds 10000` runs seeds 0 to 9,999 on all
//! processors; `--from N` starts at another one; `--seed N` runs one. It ends with exit code 1 at a
//! seed that broke a promise, and says which and how.

// A program for people: what it finds goes to the terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hub::simulation::{Failure, Figures, simulate};

/// Seeds that are run where none are named.
const SEEDS: u64 = 200;

const USAGE: &str = "usage: simulate [--seeds COUNT] [--from SEED] | --seed SEED";

fn main() -> ExitCode {
    let Some((from, count)) = range(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(from, count) {
        Ok(figures) => {
            println!(
                "{count} seeds from {from}: every promise held ({} steps, {} events, {} of them scheduled, {} settlements, {} parked events replayed or discarded, {} hub lives, {} cuts)",
                figures.steps,
                figures.events,
                figures.fired,
                figures.settled,
                figures.unparked,
                figures.lives,
                figures.cuts
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The first seed and how many there are.
fn range(mut arguments: impl Iterator<Item = String>) -> Option<(u64, u64)> {
    let (mut from, mut count) = (0, SEEDS);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seeds" => count = value,
            "--from" => from = value,
            "--seed" => (from, count) = (value, 1),
            _ => return None,
        }
    }
    Some((from, count))
}

fn run(from: u64, count: u64) -> Result<Figures, Box<Failure>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut sum = Figures::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= count || failed.load(Ordering::Relaxed) {
                return Ok(sum);
            }
            match simulate(from + seed) {
                Ok(figures) => sum = sum.plus(figures),
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_fold(Figures::default(), |sum, worker| {
            worker.join().expect("a simulation reports, it does not panic").map(|figures| sum.plus(figures))
        })
    })
}
