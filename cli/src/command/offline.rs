//! `certs export-csr`, `sign`, `import`, `withdraw`, `forget-root-key`: a root whose key is not in the
//! database.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use certs::{Authority, CertError, IssuerKind, pem};
use clap::{ArgGroup, Args, ValueEnum};
use db::Database;
use hub::{
    Clock, ForgetRootKey, RootCopy, Typed, forget_root_key as forget, passphrase_of, write_secret_file,
};
use proto::Timestamp;
use proto::admin::AdminReply;
use proto::certs::{CertsReply, CertsRequest};
use proto::rotation::{Rotation, RotationKind};
use serde::Serialize;

use super::certs::ask;
use super::keyring::{PassphraseArgs, agent};
use super::rotation::under_way;
use crate::ask::confirmed;
use crate::connect::unexpected;
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::place::Place;

/// Largest file of requests or certificates that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What is to be signed.
#[derive(Debug, Args)]
pub(crate) struct ExportCsrArgs {
    /// The file to write, which must not be there yet
    file: PathBuf,
    /// intermediate: both issuers, below the root in use; root: a new root as well
    #[arg(long = "for", value_name = "WHAT", default_value = "intermediate")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Intermediate,
    Root,
}

/// What is signed, and with what.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("signer").required(true).multiple(true).args(["root", "new_root"])))]
pub(crate) struct SignArgs {
    /// The requests, as `certs export-csr` wrote them
    requests: PathBuf,
    /// The file of the root in use, as `certs forget-root-key` wrote it
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The file with its passphrase [default: asked for on the terminal]
    #[arg(long, value_name = "FILE", requires = "root")]
    root_passphrase_file: Option<PathBuf>,
    /// Make a new root into this file and sign with that; --root then signs the new root's
    /// cross-certificate
    #[arg(long, value_name = "FILE")]
    new_root: Option<PathBuf>,
    /// The file with the new root's passphrase [default: asked for on the terminal, twice]
    #[arg(long, value_name = "FILE", requires = "new_root")]
    new_root_passphrase_file: Option<PathBuf>,
    /// The file to write the certificates to, which must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Do not ask whether these are the requests that the hub has given out
    #[arg(long)]
    yes: bool,
}

/// What was signed.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The certificates (PEM), in any order: both issuers and, if the root is replaced, the new root and
    /// its cross-certificate
    file: PathBuf,
}

/// What becomes of the key.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("copy").required(true).args(["copy_to", "no_copy"])))]
pub(crate) struct ForgetRootKeyArgs {
    #[command(flatten)]
    now: PassphraseArgs,
    /// Write the root and its key, encrypted, to this file; one that is there has to be such a copy
    #[arg(long, value_name = "FILE")]
    copy_to: Option<PathBuf>,
    /// The file with the passphrase of the copy [default: asked for on the terminal, twice]
    #[arg(long, value_name = "FILE", requires = "copy_to")]
    copy_passphrase_file: Option<PathBuf>,
    /// Keep no copy: nothing can be signed with this root ever again
    #[arg(long)]
    no_copy: bool,
}

/// A request as whoever signs it compares it.
#[derive(Debug, Serialize)]
struct Request {
    issues_for: &'static str,
    /// SHA-256 of the public key.
    key_sha256: String,
}

impl Request {
    fn of(csr: &[u8]) -> Result<Self, CertError> {
        let issues_for = match certs::requested_kind(csr)? {
            IssuerKind::Hub => "hubs",
            IssuerKind::Spoke => "spokes",
        };
        let fingerprint = certs::request_fingerprint(csr)?;
        let key_sha256 = hex::encode(fingerprint);
        Ok(Self { issues_for, key_sha256 })
    }

    fn line(&self) -> String {
        format!("\n  issuer of {:<6} key SHA-256 {}", self.issues_for, self.key_sha256)
    }
}

/// Both requests, one of each kind and no more.
fn both(requests: &[Vec<u8>]) -> Outcome<Vec<Request>> {
    let told: Result<Vec<_>, _> = requests.iter().map(|csr| Request::of(csr)).collect();
    let told = told.map_err(Failure::failed)?;
    let kinds: Vec<_> = told.iter().map(|request| request.issues_for).collect();
    match kinds.as_slice() {
        ["hubs", "spokes"] | ["spokes", "hubs"] => Ok(told),
        _ => Err(Failure::failed(format_args!(
            "there have to be two requests, one for the issuer of hubs and one for that of spokes; these are for {}",
            kinds.join(", ")
        ))),
    }
}

/// Requests that were written.
#[derive(Debug, Serialize)]
struct Exported {
    rotation: Rotation,
    file: PathBuf,
    requests: Vec<Request>,
}

impl Shown for Exported {
    fn for_people(&self) -> String {
        let requests: String = self.requests.iter().map(Request::line).collect();
        format!(
            "the requests of replacement {} are in {}; sign them where the root's key is (eventflow certs sign), \
             and give the result to eventflow certs import{requests}",
            self.rotation.id,
            self.file.display()
        )
    }
}

/// Asks the hub for requests and writes them.
pub(crate) async fn export_csr(args: &ExportCsrArgs, place: &Place, output: &mut Output) -> Outcome {
    let kind = match args.what {
        What::Intermediate => RotationKind::Intermediate,
        What::Root => RotationKind::Root,
    };
    if args.file.exists() {
        return Err(there_already(&args.file));
    }
    match ask(place, CertsRequest::Requests { kind }).await? {
        CertsReply::Requests { rotation, requests } => {
            let text = pem::request_text(requests.iter().map(Vec::as_slice));
            let requests = both(&requests)?;
            write_new(&args.file, text.as_bytes())?;
            output.show(&Exported { rotation, file: args.file.clone(), requests })
        }
        CertsReply::Rotating { rotation, .. } => Err(under_way(&rotation)),
        other => Err(unexpected(&AdminReply::Certs(other))),
    }
}

/// Signs requests with a root from a file.
pub(crate) fn sign(args: &SignArgs, output: &mut Output) -> Outcome {
    let requests = pem::requests(&read(&args.requests)?);
    let requests = requests.ok_or_else(|| {
        Failure::usage(format_args!("{} holds no certificate request (PEM)", args.requests.display()))
    })?;
    if args.out.exists() {
        return Err(there_already(&args.out));
    }
    let told = both(&requests)?;
    let lines: String = told.iter().map(Request::line).collect();
    let question = format!("To be signed:{lines}\nAre these what `certs export-csr` showed?");
    let instead =
        "nobody can be asked whether these are the hub's requests; say --yes if you have compared them";
    if !args.yes && !confirmed(&question, instead)? {
        return Err(Failure::failed("nothing was signed"));
    }
    let now = Clock::system().now();
    let root =
        args.root.as_ref().map(|file| root_of(file, args.root_passphrase_file.as_deref())).transpose()?;
    let new_root = match &args.new_root {
        Some(file) if file.exists() => return Err(there_already(file)),
        Some(file) => {
            let first = requests.first().map(Vec::as_slice).unwrap_or_default();
            let domain = certs::requested_trust_domain(first).map_err(Failure::failed)?;
            let root = certs::offline_root(&domain, now).map_err(Failure::failed)?;
            let passphrase =
                passphrase_of("the new root", args.new_root_passphrase_file.as_deref(), Typed::Twice);
            let text = root.to_protected_pem(&passphrase.map_err(Failure::configuration)?);
            Some((root, file, text.map_err(Failure::failed)?))
        }
        None => None,
    };
    let signer = new_root.as_ref().map(|(root, ..)| root).or(root.as_ref());
    let signer = signer.ok_or_else(|| Failure::usage("name the root's file with --root or --new-root"))?;
    let mut certificates = Vec::new();
    for request in &requests {
        let (_, certificate) = certs::sign_issuer(signer, request, now).map_err(Failure::failed)?;
        certificates.push(certificate);
    }
    if let Some((new, file, text)) = &new_root {
        certificates.push(new.certificate().clone());
        if let Some(former) = &root {
            let cross = certs::cross_certificate(former, new.certificate(), now).map_err(Failure::failed)?;
            certificates.push(cross);
        }
        write_secret_file(file, text.as_bytes()).map_err(|error| not_written(file, &error))?;
    }
    if let Err(failure) = write_new(&args.out, pem::text(None, &certificates).as_bytes()) {
        if let Some((_, file, _)) = &new_root {
            // Nothing hangs from it yet, and it is made again with the next try.
            let _ = std::fs::remove_file(file);
        }
        return Err(failure);
    }
    output.show(&SignedNow { certificates: certificates.len(), file: args.out.clone(), requests: told })
}

/// What was signed.
#[derive(Debug, Serialize)]
struct SignedNow {
    certificates: usize,
    file: PathBuf,
    requests: Vec<Request>,
}

impl Shown for SignedNow {
    fn for_people(&self) -> String {
        let requests: String = self.requests.iter().map(Request::line).collect();
        let file = self.file.display();
        format!(
            "{} certificates are in {file}; give them to eventflow certs import{requests}",
            self.certificates
        )
    }
}

/// What was imported.
#[derive(Debug, Serialize)]
struct Imported {
    rotation: u64,
    stored: Vec<String>,
    advice: Vec<String>,
}

impl Shown for Imported {
    fn for_people(&self) -> String {
        let mut text = format!(
            "replacement {} is prepared with {}, and goes on by itself; see eventflow certs status",
            self.rotation,
            self.stored.join(", ")
        );
        self.advice.iter().for_each(|advice| text.push_str(&format!("\n{advice}")));
        text
    }
}

/// Gives what was signed to the hub.
pub(crate) async fn import(args: &ImportArgs, place: &Place, output: &mut Output) -> Outcome {
    let certificates = pem::certificates(&read(&args.file)?);
    let certificates = certificates.ok_or_else(|| {
        Failure::usage(format_args!("{} holds no certificates (PEM), or a damaged one", args.file.display()))
    })?;
    let certificates = certificates.iter().map(|der| der.to_vec()).collect();
    match ask(place, CertsRequest::Import { certificates }).await? {
        CertsReply::Imported { rotation, stored, advice } => {
            output.show(&Imported { rotation, stored, advice })
        }
        other => Err(unexpected(&AdminReply::Certs(other))),
    }
}

/// A replacement that has ended before anything was changed by it.
#[derive(Debug, Serialize)]
struct Withdrawn {
    rotation: u64,
}

impl Shown for Withdrawn {
    fn for_people(&self) -> String {
        format!("replacement {} is withdrawn; nothing was changed by it", self.rotation)
    }
}

/// A root's key that is not in the database any more.
#[derive(Debug, Serialize)]
struct Forgotten {
    root: String,
    ends: Timestamp,
    copy: Option<PathBuf>,
}

impl Shown for Forgotten {
    fn for_people(&self) -> String {
        let fate = match &self.copy {
            Some(file) => {
                let file = file.display();
                format!("it is in {file}: keep that file and its passphrase apart, and off this machine")
            }
            None => "there is no copy: replace the root before it is needed".to_owned(),
        };
        format!(
            "the key of {} is not in the database any more; {fate}. The root ends at {}. Backups, replicas and logs \
             of the database from before hold the key still, sealed.",
            self.root, self.ends
        )
    }
}

/// Ends a replacement that waits to be signed.
pub(crate) async fn withdraw(place: &Place, output: &mut Output) -> Outcome {
    match ask(place, CertsRequest::Withdraw).await? {
        CertsReply::Withdrawn { rotation } => output.show(&Withdrawn { rotation }),
        other => Err(unexpected(&AdminReply::Certs(other))),
    }
}

/// Takes the root's key out of the database.
pub(crate) async fn forget_root_key(args: ForgetRootKeyArgs, place: &Place, output: &mut Output) -> Outcome {
    let copy = match args.copy_to {
        Some(file) => {
            let passphrase = passphrase_of("the copy", args.copy_passphrase_file.as_deref(), Typed::Twice);
            Some(RootCopy { file, passphrase: passphrase.map_err(Failure::configuration)? })
        }
        None => None,
    };
    let kept = copy.as_ref().map(|copy| copy.file.clone());
    let (data, from, agent) = (place.data()?, args.now.source()?, agent());
    let database = Database::open(&place.database()?).await?;
    database.check_schema().await?;
    let forgotten = forget(&database, ForgetRootKey { data: &data, from, copy, agent: &agent }).await;
    database.close().await;
    let forgotten = forgotten.map_err(|error| Failure::with_code(error.exit_code(), error))?;
    output.show(&Forgotten { root: forgotten.id, ends: forgotten.ends, copy: kept })
}

fn root_of(file: &Path, passphrase_file: Option<&Path>) -> Outcome<Authority> {
    let passphrase =
        passphrase_of("the root", passphrase_file, Typed::Once).map_err(Failure::configuration)?;
    Authority::from_protected_pem(&read(file)?, &passphrase)
        .map_err(|error| Failure::failed(format_args!("{}: {error}", file.display())))
}

fn read(file: &Path) -> Outcome<Vec<u8>> {
    let unreadable = |reason: &dyn std::fmt::Display| {
        Failure::failed(format_args!("{} was not read: {reason}", file.display()))
    };
    let length = std::fs::metadata(file).map_err(|error| unreadable(&error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unreadable(&format_args!("it has {length} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    std::fs::read(file).map_err(|error| unreadable(&error))
}

fn write_new(file: &Path, text: &[u8]) -> Outcome {
    let opened = OpenOptions::new().write(true).create_new(true).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(text).and_then(|()| opened.sync_all()));
    written.map_err(|error| not_written(file, &error))
}

fn not_written(file: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format_args!("{} was not written: {error}", file.display()))
}

fn there_already(file: &Path) -> Failure {
    Failure::usage(format_args!("{} is there already; name a file that is not", file.display()))
}
