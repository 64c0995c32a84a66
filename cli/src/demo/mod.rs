//! `demo`: what eventflow does, told with three orders in a temporary folder.
//!
//! It is the real thing in small: a hub with its own SQLite file and certificates, two services that
//! talk to it over mutual TLS, a handler that fails. What the text says has been checked; if it did
//! not happen, the demo fails.

mod script;
mod services;

use std::time::Duration;

use hub::{HubConfig, Rules};
use proto::ParkPolicy;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::own_hub::OwnHub;
use crate::stop;

/// How failing orders are tried again: so quickly that nobody has to wait for the end.
const RULES: Rules = Rules {
    attempts_max: 3,
    backoff_first: Duration::from_millis(250),
    backoff_max: Duration::from_secs(1),
    deadline: Duration::from_secs(30),
    park: ParkPolicy::Event,
};

/// A step of the story.
#[derive(Debug, Serialize)]
struct Step {
    step: u32,
    title: String,
    lines: Vec<String>,
}

impl Shown for Step {
    fn for_people(&self) -> String {
        let lines: String = self.lines.iter().map(|line| format!("   {line}\n")).collect();
        format!("{}. {}\n{lines}", self.step, self.title)
    }
}

/// The one who tells the story: numbers the steps.
struct Narrator<'a> {
    output: &'a mut Output,
    step: u32,
}

impl Narrator<'_> {
    fn tell(&mut self, title: impl Into<String>, lines: Vec<String>) -> Outcome {
        self.step += 1;
        self.output.show(&Step { step: self.step, title: title.into(), lines })?;
        self.output.flush()
    }
}

/// Fails the demo with `what` if it is not so.
fn expect(so: bool, what: impl std::fmt::Display) -> Outcome {
    if so {
        Ok(())
    } else {
        Err(Failure::failed(format_args!("the demo expected that {what}; that is a defect")))
    }
}

/// Tells the story and cleans up after it.
pub(crate) async fn run(output: &mut Output) -> Outcome {
    let mut tasks = JoinSet::new();
    let stop = stop::on_signal(&mut tasks)?;
    let folder = tempfile::Builder::new().prefix("eventflow-demo-").tempdir().map_err(|error| {
        Failure::failed(format_args!("no temporary folder can be made: {error}; set TMPDIR to one"))
    })?;
    let config = HubConfig {
        listen: "127.0.0.1:0".to_owned(),
        health: None,
        rules: RULES,
        ..HubConfig::new(folder.path().to_owned())
    };
    let hub = OwnHub::start(config).await?;
    let mut narrator = Narrator { output, step: 0 };
    let told = tokio::select! {
        biased;
        () = stop.cancelled() => Err(Failure::failed("the demo was stopped")),
        told = Box::pin(script::tell(&hub, &mut narrator)) => told,
    };
    let stopped = hub.stop().await;
    let place = folder.path().display().to_string();
    let removed = folder.close().map_err(|error| {
        Failure::failed(format_args!("{place} cannot be removed: {error}; remove it yourself"))
    });
    told.and(stopped).and(removed)?;
    narrator.tell(
        "The hub has stopped and the temporary folder is gone.",
        vec![
            "Start one that stays:  eventflow hub".to_owned(),
            "and in another window: eventflow publish order 1001 'order placed' '{\"total\": 42}'".to_owned(),
            "                       eventflow tail --from beginning".to_owned(),
        ],
    )
}
