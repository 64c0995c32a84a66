//! `migrate` and `doctor`: the database without a hub.

use db::doctor::{Finding, Verdict};
use db::{Database, MigrateError, OpenError};
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::place::Place;

/// What a migration did.
#[derive(Debug, Serialize)]
struct MigrationReport {
    version: u32,
    applied: Vec<&'static str>,
}

impl Shown for MigrationReport {
    fn for_people(&self) -> String {
        match &self.applied[..] {
            [] => format!("the tables are at version {} already", self.version),
            applied => {
                format!("the tables are at version {} now; applied: {}", self.version, applied.join(", "))
            }
        }
    }
}

/// Makes the tables, or brings them to this program's version.
pub(crate) async fn migrate(place: &Place, output: &mut Output) -> Outcome {
    if place.database.is_none() {
        make_folder(place)?;
    }
    let database = Database::open(&place.database()?).await?;
    let migrated = database.migrate().await;
    database.close().await;
    let migrated = migrated?;
    output.show(&MigrationReport { version: migrated.version, applied: migrated.applied })
}

/// The data folder, which only its owner may look into.
fn make_folder(place: &Place) -> Outcome {
    use std::os::unix::fs::DirBuilderExt;
    let folder = place.data()?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|error| {
        Failure::configuration(format_args!(
            "the data folder {} cannot be made: {error}; name another one with --data",
            folder.display()
        ))
    })
}

/// One thing that was tested.
#[derive(Debug, Serialize)]
struct Checked {
    check: &'static str,
    verdict: &'static str,
    found: String,
    advice: String,
}

impl Shown for Checked {
    fn for_people(&self) -> String {
        let Self { check, verdict, found, advice } = self;
        let line = format!("{verdict:<8} {check}: {found}");
        if advice.is_empty() { line } else { format!("{line}\n{:9}{advice}", "") }
    }
}

impl From<Finding> for Checked {
    fn from(finding: Finding) -> Self {
        let verdict = match finding.verdict {
            Verdict::Good => "good",
            Verdict::Warning => "warning",
            Verdict::Refused => "refused",
        };
        Self { check: finding.check, verdict, found: finding.found, advice: finding.advice }
    }
}

/// Tests whether the database keeps what this program promises with it.
pub(crate) async fn doctor(place: &Place, output: &mut Output) -> Outcome {
    let url = place.database()?;
    let findings = db::doctor::examine(&url, hub::Clock::system().now()).await;
    let refused = findings.iter().filter(|finding| finding.verdict == Verdict::Refused).count();
    for finding in findings {
        output.show(&Checked::from(finding))?;
    }
    match refused {
        0 => output.say(&format!("{url} keeps what eventflow promises")),
        _ => Err(Failure::failed(format_args!("{url} cannot be vouched for: {refused} checks were refused"))),
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable { .. } | OpenError::Failed { .. } => Self::try_again(error),
            OpenError::Schema(error) => error.into(),
            _ => Self::configuration(error),
        }
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Locked { .. } | MigrateError::Unavailable { .. } => Self::try_again(error),
            _ => Self::configuration(error),
        }
    }
}
