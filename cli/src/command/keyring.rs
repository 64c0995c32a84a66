//! `keyring`: the passphrase under which private keys are sealed. It works on the database, beside hubs
//! that run.

use std::path::PathBuf;

use certs::seal::KdfCost;
use clap::{ArgGroup, Args, Subcommand};
use db::{Database, Former, KeyringState, StandingKeyring};
use hub::{Clock, KeyringRotation, PassphraseSource, rotate_keyring};
use proto::Timestamp;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::output::{Output, Row, Shown};
use crate::place::Place;

/// What to do with the keyring.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyringArgs {
    /// The keyrings that there are and were; needs no passphrase
    Status,
    /// Seal the keys under another passphrase. Hubs that run go on; whoever starts next needs the new one
    Rotate(RotateArgs),
    /// Make the passphrase of a keyring that was kept useless
    Retire {
        /// The keyring, as `keyring status` shows it
        id: String,
    },
}

/// Which passphrases, and what becomes of the former one.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("new").required(true).args(["new_passphrase_file", "new_passphrase_prompt", "generate"])))]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    now: PassphraseArgs,
    /// The file with the new passphrase
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Ask for the new passphrase on the terminal, twice
    #[arg(long)]
    new_passphrase_prompt: bool,
    /// Generate the new passphrase into the data folder, as a hub without any does
    #[arg(long)]
    generate: bool,
    /// Let the former passphrase open the keyring, too, until `keyring retire`: for several hubs that are
    /// restarted one after the other
    #[arg(long)]
    keep_former: bool,
}

/// Where the passphrase in use comes from: exactly one place.
#[derive(Debug, Args)]
pub(crate) struct PassphraseArgs {
    /// The file with the passphrase in use [default: a generated one in the data folder]
    #[arg(long, value_name = "FILE", env = "EVENTFLOW_CA_PASSPHRASE_FILE", hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
    /// Ask for the passphrase in use on the terminal
    #[arg(long)]
    passphrase_prompt: bool,
}

impl PassphraseArgs {
    /// The one place that is named, by an option, by systemd or by the environment.
    ///
    /// # Errors
    /// A wrong configuration if there are two.
    pub(crate) fn source(self) -> Outcome<PassphraseSource> {
        let given = [
            self.passphrase_file.map(PassphraseSource::File),
            self.passphrase_prompt.then_some(PassphraseSource::Terminal),
            PassphraseSource::credential(),
            PassphraseSource::environment(),
        ];
        PassphraseSource::one_of(given.into_iter().flatten()).map_err(Failure::configuration)
    }
}

impl RotateArgs {
    fn new_source(&self) -> PassphraseSource {
        match &self.new_passphrase_file {
            Some(path) => PassphraseSource::File(path.clone()),
            None if self.generate => PassphraseSource::Generated,
            None => PassphraseSource::Terminal,
        }
    }
}

/// A keyring in the list.
#[derive(Debug, Serialize)]
struct Listed {
    id: String,
    state: &'static str,
    created: Timestamp,
    retired: Option<Timestamp>,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    data_key: String,
    seals: u64,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] =
        &["id", "state", "created", "derivation", "data key", "#keys sealed"];

    fn cells(&self) -> Vec<String> {
        let Self { memory_kib, passes, lanes, kdf, .. } = self;
        vec![
            self.id.clone(),
            self.state.to_owned(),
            self.created.to_string(),
            format!("{kdf}, {} MiB, t {passes}, p {lanes}", memory_kib / 1024),
            self.data_key.clone(),
            self.seals.to_string(),
        ]
    }
}

impl From<StandingKeyring> for Listed {
    fn from(standing: StandingKeyring) -> Self {
        let (state, retired) = match standing.state {
            KeyringState::Active => ("active", None),
            KeyringState::Kept => ("kept", None),
            KeyringState::Retired { at } => ("retired", Some(at)),
        };
        let row = standing.row;
        Self {
            id: row.kek_id,
            state,
            created: row.created,
            retired,
            kdf: row.kdf,
            memory_kib: row.memory_kib,
            passes: row.passes,
            lanes: row.lanes,
            data_key: row.dek_id,
            seals: standing.seals,
        }
    }
}

/// What a rotation did.
#[derive(Debug, Serialize)]
struct Rotated {
    former: String,
    active: String,
    former_opens: bool,
    from: String,
    to: String,
}

impl Shown for Rotated {
    fn for_people(&self) -> String {
        let Self { former, active, from, to, .. } = self;
        let fate = if self.former_opens {
            format!("{former} still opens, by {from}: end that with `eventflow keyring retire {former}`")
        } else {
            format!("{former} is retired: nothing opens by the passphrase that came from {from}")
        };
        format!("keyring {active} is active, by the passphrase from {to}; start hubs with that one\n{fate}")
    }
}

/// Does it.
pub(crate) async fn run(args: KeyringArgs, place: &Place, output: &mut Output) -> Outcome {
    let database = Database::open(&place.database()?).await?;
    database.check_schema().await?;
    let outcome = match args {
        KeyringArgs::Status => status(&database, output).await,
        KeyringArgs::Rotate(args) => rotate(&database, args, place, output).await,
        KeyringArgs::Retire { id } => retire(&database, &id, output).await,
    };
    database.close().await;
    outcome
}

async fn status(database: &Database, output: &mut Output) -> Outcome {
    let keyrings = database.keyrings().list().await.map_err(Failure::failed)?;
    let rows: Vec<_> = keyrings.into_iter().map(Listed::from).collect();
    output.table(&rows, "there is no keyring yet; a hub makes one at its first start")
}

async fn rotate(database: &Database, args: RotateArgs, place: &Place, output: &mut Output) -> Outcome {
    let (data, to) = (place.data()?, args.new_source());
    let former = if args.keep_former { Former::Kept } else { Former::Retired };
    let from = args.now.source()?;
    let (told_from, told_to) = (from.to_string(), to.to_string());
    let rotation =
        KeyringRotation { data: &data, from, to, former, cost: KdfCost::default(), agent: &agent() };
    let rotated = rotate_keyring(database, rotation, Clock::system().now()).await;
    let rotated = rotated.map_err(|error| Failure::with_code(error.exit_code(), error))?;
    output.show(&Rotated {
        former: rotated.former,
        active: rotated.active,
        former_opens: former == Former::Kept,
        from: told_from,
        to: told_to,
    })
}

async fn retire(database: &Database, id: &str, output: &mut Output) -> Outcome {
    let retired = database.keyrings().retire(id, &agent(), Clock::system().now()).await;
    match retired.map_err(Failure::try_again)? {
        true => output.say(&format!("keyring {id} is retired")),
        false => Err(Failure::failed(format_args!(
            "keyring {id} was not retired: it is the active one, was retired before, or is none; see `eventflow keyring status`"
        ))),
    }
}

/// Who works on the database without a hub, for the operator's log: the user, as the shell names it.
pub(crate) fn agent() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "?".to_owned());
    format!("{user} at the database")
}
