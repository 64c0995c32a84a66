//! `migrate`, `doctor` and `certs ls`: the database without a hub.

use clap::Subcommand;
use db::doctor::{Finding, Verdict};
use db::{CertificateRow, Database, MigrateError, OpenError};
use proto::Timestamp;
use serde::Serialize;

use super::rotation::{self, RotateArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Row, Shown};
use crate::place::Place;

/// Certificates that one page holds.
const PAGE: u32 = 200;

/// What to know of certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsArgs {
    /// The active certificates, as a table; needs no passphrase
    Ls,
    /// Replace the certificates of all hubs and spokes, their issuers or the root
    Rotate(RotateArgs),
    /// How authorities and their replacement stand, what it waits for, and what ends when
    Status,
}

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

/// A certificate in the list.
#[derive(Debug, Serialize)]
struct Certificate {
    id: String,
    role: String,
    service: String,
    state: &'static str,
    not_before: Timestamp,
    not_after: Timestamp,
    issuer: String,
    fingerprint: String,
}

impl Row for Certificate {
    const COLUMNS: &'static [&'static str] =
        &["role", "service", "state", "valid until", "fingerprint", "id"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.role.clone(),
            self.service.clone(),
            self.state.to_owned(),
            self.not_after.to_string(),
            self.fingerprint.chars().take(16).collect(),
            self.id.clone(),
        ]
    }
}

impl From<CertificateRow> for Certificate {
    fn from(row: CertificateRow) -> Self {
        Self {
            state: if row.revoked.is_some() { "revoked" } else { "active" },
            fingerprint: row.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
            id: row.id,
            role: row.role,
            service: row.service,
            not_before: row.not_before,
            not_after: row.not_after,
            issuer: row.issuer,
        }
    }
}

/// Does what is to be done about certificates.
pub(crate) async fn certs(args: &CertsArgs, place: &Place, output: &mut Output) -> Outcome {
    match args {
        CertsArgs::Ls => list_certificates(place, output).await,
        CertsArgs::Rotate(args) => rotation::rotate(args, place, output).await,
        CertsArgs::Status => rotation::status(place, output).await,
    }
}

/// Lists certificates. Keys stay sealed.
async fn list_certificates(place: &Place, output: &mut Output) -> Outcome {
    let database = Database::open(&place.database()?).await?;
    database.check_schema().await?;
    let certificates = database.certificates();
    let (mut rows, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = certificates.page(after.as_deref(), PAGE).await.map_err(Failure::failed)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        rows.extend(page.into_iter().map(Certificate::from));
    }
    database.close().await;
    output.table(&rows, "there are no certificates yet; a hub makes them at its first start")
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
