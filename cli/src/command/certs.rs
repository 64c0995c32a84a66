//! `certs`: which certificates there are, and ending some before their time.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use db::{CertificateRow, Database};
use proto::Timestamp;
use proto::admin::{AdminReply, AdminRequest};
use proto::certs::{CertsReply, CertsRequest, Holder};
use serde::Serialize;

use super::offline::{self, ExportCsrArgs, ForgetRootKeyArgs, ImportArgs, SignArgs};
use super::rotation::{self, RotateArgs};
use crate::connect::{operate, unexpected};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Row, Shown};
use crate::place::Place;

/// Certificates that one page holds.
const PAGE: u32 = 200;

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsArgs {
    /// The active certificates, as a table; asks the database and needs no passphrase
    Ls,
    /// Replace the certificates of all hubs and spokes, their issuers or the root
    Rotate(RotateArgs),
    /// How authorities and their replacement stand, what it waits for, and what ends when
    Status,
    /// End certificates before their time: connections made with them close within two seconds
    Revoke(RevokeArgs),
    /// Write requests for issuers that are signed where the root's key is: for a root that is elsewhere
    ExportCsr(ExportCsrArgs),
    /// Sign such requests with a root's file. Needs neither a hub nor a database
    Sign(SignArgs),
    /// Take what was signed, check it, and go on with the replacement that waits for it
    Import(ImportArgs),
    /// End a replacement that has begun and of which nothing was prepared
    Withdraw,
    /// Take the root's key out of the database; works on the database, beside hubs that run
    ForgetRootKey(ForgetRootKeyArgs),
    /// Write the list of an issuer's revoked certificates for others to use (RFC 5280, DER)
    Export(ExportListArgs),
}

/// Whose certificates, and why.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("holder").required(true).args(["spoke", "of_service", "issuer", "fingerprint"])))]
pub(crate) struct RevokeArgs {
    /// One spoke, by its id: SERVICE/INSTANCE
    #[arg(long, value_name = "ID")]
    spoke: Option<String>,
    /// All spokes of a service that there are now
    #[arg(long, value_name = "NAME")]
    of_service: Option<String>,
    /// Everything that an issuer of spokes has signed
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// One certificate, by the SHA-256 of its DER bytes in hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = fingerprint)]
    fingerprint: Option<[u8; 32]>,
    /// Why: its holder is told, and `audit` shows it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl RevokeArgs {
    fn holder(&self) -> Outcome<Holder> {
        let Self { spoke, of_service, issuer, fingerprint, reason: _ } = self;
        let spoke = spoke.clone().map(Holder::Spoke);
        let service = of_service.clone().map(Holder::Service);
        let issuer = issuer.clone().map(Holder::Issuer);
        spoke
            .or(service)
            .or(issuer)
            .or_else(|| fingerprint.map(Holder::Fingerprint))
            .ok_or_else(|| Failure::usage("say whose certificates are to be revoked"))
    }
}

/// Which list, and where to.
#[derive(Debug, Args)]
pub(crate) struct ExportListArgs {
    /// The list of revoked certificates; there is nothing else to export
    #[arg(long, required = true)]
    crl: bool,
    /// Of this issuer
    #[arg(long, value_name = "ID", default_value = "issuer/spoke")]
    issuer: String,
    /// The file to write
    file: PathBuf,
}

fn fingerprint(text: &str) -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| "write 64 hexadecimal digits, as `certs ls --json` shows them")?;
    Ok(bytes)
}

/// What a revocation did.
#[derive(Debug, Serialize)]
struct Revoked {
    certificates: u64,
    at: Timestamp,
}

impl Shown for Revoked {
    fn for_people(&self) -> String {
        let certificates = match self.certificates {
            1 => "1 certificate does".to_owned(),
            many => format!("{many} certificates do"),
        };
        format!("{certificates} not count any more, since {}", self.at)
    }
}

/// Does it.
pub(crate) async fn run(args: CertsArgs, place: &Place, output: &mut Output) -> Outcome {
    match args {
        CertsArgs::Ls => list(place, output).await,
        CertsArgs::Rotate(args) => rotation::rotate(&args, place, output).await,
        CertsArgs::Status => rotation::status(place, output).await,
        CertsArgs::ExportCsr(args) => offline::export_csr(&args, place, output).await,
        CertsArgs::Sign(args) => offline::sign(&args, output),
        CertsArgs::Import(args) => offline::import(&args, place, output).await,
        CertsArgs::Withdraw => offline::withdraw(place, output).await,
        CertsArgs::ForgetRootKey(args) => offline::forget_root_key(args, place, output).await,
        CertsArgs::Revoke(args) => {
            let request = CertsRequest::Revoke { holder: args.holder()?, reason: args.reason };
            match ask(place, request).await? {
                CertsReply::Revoked { certificates, at } => output.show(&Revoked { certificates, at }),
                other => Err(unexpected(&AdminReply::Certs(other))),
            }
        }
        CertsArgs::Export(args) => match ask(place, CertsRequest::List { issuer: args.issuer }).await? {
            CertsReply::List(der) => write(&args.file, &der),
            other => Err(unexpected(&AdminReply::Certs(other))),
        },
    }
}

pub(super) async fn ask(place: &Place, request: CertsRequest) -> Outcome<CertsReply> {
    let spoke = operate(place).await?;
    match spoke.administer(AdminRequest::Certs(request)).await? {
        AdminReply::Certs(reply) => Ok(reply),
        other => Err(unexpected(&other)),
    }
}

fn write(file: &std::path::Path, bytes: &[u8]) -> Outcome {
    std::fs::write(file, bytes)
        .map_err(|error| Failure::failed(format_args!("{} was not written: {error}", file.display())))
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
            fingerprint: hex::encode(row.fingerprint),
            id: row.id,
            role: row.role,
            service: row.service,
            not_before: row.not_before,
            not_after: row.not_after,
            issuer: row.issuer,
        }
    }
}

/// Lists certificates. Keys stay sealed.
async fn list(place: &Place, output: &mut Output) -> Outcome {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_hexadecimal_digits_and_nothing_else() {
        assert_eq!(fingerprint(&"0f".repeat(32)), Ok([15; 32]));
        for wrong in ["", "0f", &"+f".repeat(32), &"0g".repeat(32), &"0f".repeat(33), &"é".repeat(32)] {
            assert!(fingerprint(wrong).unwrap_err().contains("64 hexadecimal digits"), "{wrong:?}");
        }
    }
}
