//! A log of many processes as a CSV file: the receipts of `../shared/data` where they are, else one
//! that is made up here, with everything that makes CSV hard.

use std::fmt::Write as _;
use std::path::Path;

use crate::process::Place;

/// A CSV file and what is in it.
#[derive(Debug, Clone)]
pub struct ProcessLog {
    /// Where it is.
    pub file: String,
    /// Its rows.
    pub events: usize,
    /// Its processes.
    pub pids: usize,
    domain: &'static str,
    columns: [&'static str; 3],
}

impl ProcessLog {
    /// The real one where it is, else a made-up one of the same shape.
    #[must_use]
    pub fn receipts(place: &Place) -> Self {
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/receipt.csv");
        if !real.exists() {
            return Self::made_up(place, 8_577);
        }
        Self {
            file: real.display().to_string(),
            events: 8_577,
            pids: 1_434,
            domain: "permit",
            columns: ["case:concept:name", "concept:name", "time:timestamp"],
        }
    }

    /// `events` rows of a sixth as many processes, interleaved.
    #[must_use]
    pub fn made_up(place: &Place, events: usize) -> Self {
        let pids = events.div_ceil(6);
        let mut text = String::from("case,activity,when,note,empty\n");
        for row in 0..events {
            let (case, step) = (row % pids, row / pids);
            let (minute, second) = (row / 60 % 60, row % 60);
            writeln!(
                text,
                "case-{case},step {step},2026-01-{:02}T08:{minute:02}:{second:02}.{:03}+01:00,\"says \"\"{row}\"\",\n ünd 🦀\",",
                1 + row / 3_600 % 28,
                row % 1_000
            )
            .unwrap();
        }
        Self {
            file: place.file("process-log.csv", text),
            events,
            pids,
            domain: "permit",
            columns: ["case", "activity", "when"],
        }
    }

    /// The command that imports it.
    #[must_use]
    pub fn import(&self) -> Vec<&str> {
        let [pid, name, time] = self.columns;
        vec![
            "import",
            &self.file,
            "--domain",
            self.domain,
            "--pid-column",
            pid,
            "--name-column",
            name,
            "--time-column",
            time,
            "--json",
        ]
    }
}
