//! `spoke enroll`: a certificate for a service on this machine, with a token from the hub's.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};
use proto::{ServiceName, Timestamp};
use serde::Serialize;
use spoke::{EnrolToken, Enrolment, Spoke};

use crate::failure::{Failure, Outcome};
use crate::output::{Output, Shown};
use crate::place::{DEFAULT_SERVICE, Place};

/// Most of a file that is read, in bytes. A token is much shorter.
const TOKEN_FILE_BYTES_MAX: u64 = 4 * 1024;

/// What to do for a service on this machine.
#[derive(Debug, Subcommand)]
pub(crate) enum SpokeArgs {
    /// Get a certificate with a token and keep it in the data folder; needs --hub
    #[command(visible_alias = "enrol")]
    Enroll(EnrollArgs),
}

/// The token.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["token", "token_file"])))]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct EnrollArgs {
    /// The token itself. Everybody on this machine can see the arguments of a command; a file is better
    #[arg(long, value_name = "TOKEN", env = "EVENTFLOW_ENROLL_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The file with the token, or - for standard input
    #[arg(long, value_name = "FILE", env = "EVENTFLOW_ENROLL_TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
The key is made here and stays here. The service is the token's; --service only makes sure that it is the one you \
mean. Commands with the same --data and --service need neither a token nor --hub afterwards.";

/// What the service has now.
#[derive(Debug, Serialize)]
struct Enrolled {
    service: ServiceName,
    instance: String,
    fingerprint: String,
    until: Timestamp,
    hubs: Vec<String>,
    folder: PathBuf,
}

impl From<Enrolment> for Enrolled {
    fn from(enrolment: Enrolment) -> Self {
        let Enrolment { service, instance, fingerprint, not_after, hubs, folder } = enrolment;
        let fingerprint = hex::encode(fingerprint);
        Self { service, instance, fingerprint, until: not_after, hubs, folder }
    }
}

impl Shown for Enrolled {
    fn for_people(&self) -> String {
        let Self { service, instance, fingerprint, until, hubs, folder } = self;
        let (hubs, folder) = (hubs.join(", "), folder.display());
        format!(
            "service      {service}\ninstance     {instance}\nfingerprint  {fingerprint}\nuntil        {until}\n\
             hubs         {hubs}\nkept in      {folder}"
        )
    }
}

/// Does it.
pub(crate) async fn run(args: SpokeArgs, place: &Place, output: &mut Output) -> Outcome {
    let SpokeArgs::Enroll(args) = args;
    let token = args.token()?;
    let Some(hub) = &place.hub else {
        return Err(Failure::usage("say where the hub is: --hub HOST:PORT"));
    };
    let service = (place.service.as_str() != DEFAULT_SERVICE).then_some(&place.service);
    let enrolment = Spoke::enrol(&place.data()?, hub, &token, service).await?;
    output.show(&Enrolled::from(enrolment))
}

impl EnrollArgs {
    /// The token. What is wrong with one is told without it.
    fn token(self) -> Outcome<EnrolToken> {
        let text = match (self.token, self.token_file) {
            (Some(text), _) => text,
            (None, Some(path)) => read(&path)?,
            (None, None) => return Err(Failure::usage("say which token: --token-file FILE")),
        };
        EnrolToken::parse(&text).map_err(Failure::usage)
    }
}

fn read(path: &Path) -> Outcome<String> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::failed(format_args!("{} was not read: {error}", path.display())))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        args: SpokeArgs,
    }

    fn token(options: &[&str]) -> Option<Outcome<EnrolToken>> {
        let line = Line::try_parse_from([&["spoke", "enroll"], options].concat()).ok()?;
        let SpokeArgs::Enroll(args) = line.args;
        Some(args.token())
    }

    #[test]
    fn a_token_comes_from_one_place_and_a_bad_one_is_never_repeated() {
        assert!(token(&[]).is_none());
        assert!(token(&["--token", "eft1.", "--token-file", "f"]).is_none());
        let Some(Err(Failure::Usage(reason))) = token(&["--token", "eft1.0123.secret"]) else {
            panic!("it is taken");
        };
        assert!(reason.contains("cut off") && !reason.contains("secret"), "{reason}");
        let missing = token(&["--token-file", "/no/such/file"]);
        assert!(matches!(missing, Some(Err(Failure::Failed(text))) if text.contains("/no/such/file")));
    }
}
