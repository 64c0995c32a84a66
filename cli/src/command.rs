//! Every command: its name, its options, and where it is done.

mod append;
mod audit;
mod certs;
mod change;
mod consume;
mod database;
mod enrol;
mod exec;
mod follow;
mod grant;
mod groups;
mod keyring;
mod offline;
mod outbox;
mod parked;
mod read;
mod rotation;
mod schedule;
mod story;
mod token;
mod wait;

use clap::{ArgMatches, Subcommand};

use crate::bench::crowd::CrowdArgs;
use crate::bench::{self, BenchArgs};
use crate::daemon::{self, HubArgs};
use crate::demo;
use crate::export::{self, ExportArgs};
use crate::failure::Outcome;
use crate::import::{self, ImportArgs};
use crate::output::Output;
use crate::place::Place;

use append::{AppendArgs, Offered};
use audit::AuditArgs;
use certs::CertsArgs;
use change::{DeleteArgs, LinkArgs};
use consume::ConsumeArgs;
use enrol::SpokeArgs;
use follow::{SubscribeArgs, TailArgs};
use grant::GrantArgs;
use groups::GroupsArgs;
use keyring::KeyringArgs;
use outbox::OutboxArgs;
use parked::ParkedArgs;
use read::{ListArgs, LogArgs, StateArgs};
use schedule::ScheduleArgs;
use story::EventArgs;
use token::TokenArgs;
use wait::WaitArgs;

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a hub, until Ctrl-C or SIGTERM
    Hub(Box<HubArgs>),
    /// Show in a minute what eventflow does, in a temporary folder
    Demo,

    /// Store an event and offer it to consumers and subscribers
    Publish(Box<AppendArgs>),
    /// Store an event only
    Persist(Box<AppendArgs>),
    /// Be a member of a consumer group: print each event, or run a command for it, and answer it
    Consume(ConsumeArgs),
    /// Print what is published in a domain, answering nothing
    Subscribe(SubscribeArgs),
    /// Print everything that is stored, as it comes
    Tail(TailArgs),

    /// Print the events of a process
    Log(LogArgs),
    /// Print what the events of a process amount to: their data, merged in order
    State(StateArgs),
    /// List domains, or the pids of one
    Ls(ListArgs),
    /// Wait for the outcome of a process and print it, whether it has happened or comes yet
    Wait(WaitArgs),
    /// Events that are published later, once or again and again
    #[command(subcommand)]
    Schedule(ScheduleArgs),
    /// Tell the story of an event: what it is and what became of it in each group
    Show(EventArgs),
    /// Say in one sentence for each group what an event waits for
    Why(EventArgs),
    /// Consumer groups and how far they are
    #[command(subcommand)]
    Groups(GroupsArgs),
    /// Events that a group has given up: list, show, replay or discard them
    #[command(subcommand)]
    Parked(Box<ParkedArgs>),
    /// Change the links of an event to entities and child processes
    Link(LinkArgs),
    /// Empty an event or all events of a process
    #[command(subcommand)]
    Delete(DeleteArgs),

    /// Store the events of a CSV or JSON Lines file, each once however often it is imported
    Import(Box<ImportArgs>),
    /// Write the log to a file that import reads
    Export(ExportArgs),

    /// Events that services handed over through the database and that are not in the log yet
    #[command(subcommand)]
    Outbox(OutboxArgs),
    /// Make the tables, or bring them to this version
    Migrate,
    /// Test whether the database keeps what eventflow promises with it
    Doctor,
    /// Measure how fast a hub is on a database, against what that database can do
    Bench(BenchArgs),
    /// A crowd at the door of a hub, for bench
    #[command(hide = true)]
    BenchCrowd(CrowdArgs),
    /// Tokens that let services of other machines enrol
    #[command(subcommand)]
    Token(TokenArgs),
    /// A service on this machine: enroll it with a token
    #[command(subcommand)]
    Spoke(SpokeArgs),
    /// Who may do what: grants to services and to roles
    Grant(Box<GrantArgs>),
    /// Certificates
    #[command(subcommand)]
    Certs(CertsArgs),
    /// The passphrase under which private keys are sealed
    #[command(subcommand)]
    Keyring(KeyringArgs),
    /// Who has done what: enrolled, issued, revoked, granted, replayed, discarded, deleted
    Audit(AuditArgs),
}

impl Command {
    /// Does it. `matches` are what this command's options were parsed from.
    pub(crate) async fn run(self, matches: &ArgMatches, place: &Place, output: &mut Output) -> Outcome {
        match self {
            Self::Hub(args) => daemon::run(*args, matches, place, output).await,
            Self::Demo => demo::run(output).await,
            Self::Publish(args) => append::run(*args, Offered::Yes, place, output).await,
            Self::Persist(args) => append::run(*args, Offered::No, place, output).await,
            Self::Consume(args) => consume::run(args, place, output).await,
            Self::Subscribe(args) => follow::subscribe(args, place, output).await,
            Self::Tail(args) => follow::tail(args, place, output).await,
            Self::Log(args) => read::log(args, place, output).await,
            Self::State(args) => read::state(args, place, output).await,
            Self::Ls(args) => read::list(args, place, output).await,
            Self::Wait(args) => wait::run(args, place, output).await,
            Self::Schedule(args) => schedule::run(args, place, output).await,
            Self::Show(args) => story::show(args, place, output).await,
            Self::Why(args) => story::why(args, place, output).await,
            Self::Groups(args) => groups::run(args, place, output).await,
            Self::Parked(args) => parked::run(*args, place, output).await,
            Self::Link(args) => change::link(args, place, output).await,
            Self::Delete(args) => change::delete(args, place, output).await,
            Self::Import(args) => import::run(*args, place, output).await,
            Self::Export(args) => export::run(args, place, output).await,
            Self::Outbox(args) => outbox::run(args, place, output).await,
            Self::Migrate => database::migrate(place, output).await,
            Self::Doctor => database::doctor(place, output).await,
            Self::Bench(args) => bench::run(args, place, output).await,
            Self::BenchCrowd(args) => bench::crowd::run(args, place, output).await,
            Self::Token(args) => token::run(args, place, output).await,
            Self::Spoke(args) => enrol::run(args, place, output).await,
            Self::Grant(args) => grant::run(*args, place, output).await,
            Self::Certs(args) => certs::run(args, place, output).await,
            Self::Keyring(args) => keyring::run(args, place, output).await,
            Self::Audit(args) => audit::run(args, place, output).await,
        }
    }
}
