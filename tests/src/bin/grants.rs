//! Measures what it costs to look whether a service may do something, with 100,000 grants.
//!
//! `cargo run --profile fast -p eventflow-tests --bin grants` prints it.

// A program for people: what it finds goes to the terminal.
#![allow(clippy::print_stdout)]

use hub::Looks;
use tokio::time::Instant;

/// Grants among which is looked.
const GRANTS: usize = 100_000;

/// Looks that are timed.
const LOOKS: usize = 5_000_000;

/// A step between questions, so that they do not come in the order in which grants were made.
const STRIDE: usize = 7_919;

fn main() {
    let begun = Instant::now();
    let looks = Looks::among(GRANTS);
    println!("{GRANTS} grants of 1,000 services compiled in {:?}", begun.elapsed());
    let begun = Instant::now();
    let granted = (0..LOOKS).filter(|number| looks.look(number * STRIDE)).count();
    let each = begun.elapsed() / u32::try_from(LOOKS).unwrap_or(u32::MAX);
    println!("{LOOKS} looks, {granted} of them granted: {each:?} each");
}
