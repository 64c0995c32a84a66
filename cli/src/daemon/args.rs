//! The settings of a hub: options, their environment variables, and what becomes of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgMatches, Args};
use db::DatabaseUrl;
use hub::{
    AccessMode, ConnectionLimits, HubConfig, LeafTimes, LocalEnrolment, OnStall, OutboxPoll,
    PASSPHRASE_VARIABLE, PassphraseSource, Rules,
};
use proto::ParkPolicy;

use super::choice::{Choice, Chosen, Reading};
use crate::failure::{Failure, Outcome};
use crate::logs::LogFormat;
use crate::parse;
use crate::place::Place;

/// What a hub can be told. In a file, a setting has the name of its option without the dashes.
#[derive(Debug, Args)]
pub(crate) struct HubArgs {
    /// A TOML file with settings, for those that neither an option nor the environment gives
    #[arg(long, value_name = "FILE", env = "EVENTFLOW_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Print the settings and where each comes from, and end
    #[arg(long)]
    pub(super) print_config: bool,

    /// Where spokes connect; port 0 takes a free one [default: 127.0.0.1:50001]
    #[arg(long, value_name = "HOST:PORT", env = "EVENTFLOW_LISTEN", hide_env_values = true)]
    listen: Option<String>,
    /// Where spokes are told to connect once they have enrolled; repeat it, or write commas between
    /// [default: where they have reached the hub]
    #[arg(long, value_name = "HOST:PORT", env = "EVENTFLOW_ADVERTISE", hide_env_values = true, value_parser = parse::addresses)]
    advertise: Option<Vec<Vec<String>>>,
    /// Where health and metrics are served over HTTP, or off
    /// [default: 127.0.0.1:50002, or a free port where --listen takes a free one]
    #[arg(long, value_name = "HOST:PORT", env = "EVENTFLOW_HEALTH", hide_env_values = true)]
    health: Option<String>,
    /// The last part of the hub's id: a-z, 0-9, '-' and '.' [default: eventflow-hub]
    #[arg(long, value_name = "NAME", env = "EVENTFLOW_NAME", hide_env_values = true)]
    name: Option<String>,
    /// The file with the passphrase of the keyring [default: a generated one in the data folder]
    #[arg(long, value_name = "FILE", env = "EVENTFLOW_CA_PASSPHRASE_FILE", hide_env_values = true)]
    passphrase_file: Option<PathBuf>,
    /// Ask for the passphrase of the keyring on the terminal
    #[arg(long)]
    passphrase_prompt: bool,
    /// Whether spokes of this machine and user may enrol through the data folder, as any service
    /// [default: true if the hub listens on loopback only, else false]
    #[arg(long, value_name = "BOOL", env = "EVENTFLOW_LOCAL_ENROLMENT", hide_env_values = true)]
    local_enrolment: Option<bool>,
    /// Who decides what spokes may do: grants, or nobody with open; with auto nobody on loopback until the
    /// first grant is made in the database, and grants otherwise [default: auto]
    #[arg(long, value_name = "MODE", env = "EVENTFLOW_ACCESS", hide_env_values = true, value_parser = access)]
    access: Option<AccessMode>,
    /// Let --access open count also where other machines can connect [default: false]
    #[arg(long, value_name = "BOOL", env = "EVENTFLOW_I_KNOW_THAT_ACCESS_IS_OPEN", hide_env_values = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    i_know_that_access_is_open: Option<bool>,
    /// How long a stop waits for what members have in hand [default: 10]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_DRAIN", hide_env_values = true, value_parser = parse::seconds)]
    drain: Option<Duration>,

    /// Silence after which either end of a connection pings [default: 20]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_KEEP_ALIVE", hide_env_values = true, value_parser = parse::seconds)]
    keep_alive: Option<Duration>,
    /// The longest pause between two looks at the outbox table while nothing comes, or off
    /// [default: 0.5]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_OUTBOX_POLL", hide_env_values = true, value_parser = parse::outbox_poll)]
    outbox_poll: Option<OutboxPoll>,
    #[command(flatten)]
    rules: RuleArgs,
    /// The lateness from which an occurrence of a recurring schedule counts as missed [default: 60]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_SCHEDULE_GRACE", hide_env_values = true, value_parser = parse::seconds)]
    schedule_grace: Option<Duration>,
    /// What to do when the dispatcher is stuck, which is a fault of the hub: report, or end and be
    /// started again by whoever watches it [default: report]
    #[arg(long, value_name = "WHAT", env = "EVENTFLOW_ON_STALL", hide_env_values = true, value_parser = on_stall)]
    on_stall: Option<OnStall>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    leaves: LeafArgs,

    /// What to log: error, warn, info, debug or trace, also for single parts [default: info]
    #[arg(long, value_name = "FILTER", env = "EVENTFLOW_LOG", hide_env_values = true)]
    log: Option<String>,
    /// How to log [default: text]
    #[arg(long, value_name = "FORMAT", env = "EVENTFLOW_LOG_FORMAT", hide_env_values = true)]
    log_format: Option<LogFormat>,
}

/// How failing deliveries are tried again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Failing deliveries")]
struct RuleArgs {
    /// Failures after which an event is parked [default: 5]
    #[arg(long, value_name = "N", env = "EVENTFLOW_ATTEMPTS_MAX", hide_env_values = true, value_parser = clap::value_parser!(u32).range(1..))]
    attempts_max: Option<u32>,
    /// The wait after the first failure; it doubles with each further one [default: 0.5]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_BACKOFF_FIRST", hide_env_values = true, value_parser = parse::seconds)]
    backoff_first: Option<Duration>,
    /// The longest wait after a failure [default: 60]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_BACKOFF_MAX", hide_env_values = true, value_parser = parse::seconds)]
    backoff_max: Option<Duration>,
    /// How long a member may keep an event without a sign of life [default: 60]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_DEADLINE", hide_env_values = true, value_parser = parse::seconds)]
    deadline: Option<Duration>,
    /// What is parked when an event is given up: the event, or its whole process with all that comes
    /// after it [default: event]
    #[arg(long, value_name = "WHAT", env = "EVENTFLOW_PARK", hide_env_values = true, value_parser = park_policy)]
    park: Option<ParkPolicy>,
}

/// Certificates of hubs and spokes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Certificates")]
struct LeafArgs {
    /// How long certificates of hubs and spokes live, from 10 to 2592000; they are renewed at half
    /// [default: 86400]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_LEAF_LIFETIME", hide_env_values = true, value_parser = parse::seconds)]
    leaf_lifetime: Option<Duration>,
    /// The time that spokes get to renew before what `certs rotate --now` replaces is revoked
    /// [default: 60]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_RENEW_WITHIN", hide_env_values = true, value_parser = parse::seconds)]
    renew_within: Option<Duration>,
}

/// Limits on connections.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connections")]
struct LimitArgs {
    /// Connections in all [default: 4096]
    #[arg(long, value_name = "N", env = "EVENTFLOW_CONNECTIONS_MAX", hide_env_values = true)]
    connections_max: Option<usize>,
    /// Connections that have not said who they are yet [default: 512]
    #[arg(long, value_name = "N", env = "EVENTFLOW_UNAUTHENTICATED_MAX", hide_env_values = true)]
    unauthenticated_max: Option<usize>,
    /// The same from one address [default: 256]
    #[arg(long, value_name = "N", env = "EVENTFLOW_UNAUTHENTICATED_PER_ADDRESS_MAX", hide_env_values = true)]
    unauthenticated_per_address_max: Option<usize>,
    /// Time for a TLS handshake [default: 5]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_HANDSHAKE_WITHIN", hide_env_values = true, value_parser = parse::seconds)]
    handshake_within: Option<Duration>,
    /// Time from the handshake to the first message [default: 2]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_HELLO_WITHIN", hide_env_values = true, value_parser = parse::seconds)]
    hello_within: Option<Duration>,
    /// Time that a peer may take nothing of what is written to it [default: 10]
    #[arg(long, value_name = "SECONDS", env = "EVENTFLOW_WRITE_WITHIN", hide_env_values = true, value_parser = parse::seconds)]
    write_within: Option<Duration>,
}

/// A hub's settings, decided.
pub(super) struct Settings {
    pub(super) config: HubConfig,
    pub(super) log: String,
    pub(super) log_format: LogFormat,
    /// All of them, for people.
    pub(super) chosen: Vec<Chosen>,
}

const TEXT: Reading<String> = Reading { parse: |text| Ok(text.to_owned()), show: String::clone };
const ADDRESSES: Reading<Vec<String>> = Reading {
    parse: parse::addresses,
    show: |addresses| match addresses.as_slice() {
        [] => "where they have reached the hub".to_owned(),
        named => named.join(","),
    },
};
const SECONDS: Reading<Duration> =
    Reading { parse: parse::seconds, show: |duration| duration.as_secs_f64().to_string() };
const OUTBOX_POLL: Reading<OutboxPoll> = Reading {
    parse: parse::outbox_poll,
    show: |poll| match poll {
        OutboxPoll::Off => "off".to_owned(),
        OutboxPoll::Every(pause) => pause.as_secs_f64().to_string(),
    },
};
const COUNT: Reading<usize> = Reading { parse: number, show: usize::to_string };
const ATTEMPTS: Reading<u32> = Reading { parse: attempts, show: u32::to_string };
const PARK: Reading<ParkPolicy> = Reading {
    parse: park_policy,
    show: |policy| match policy {
        ParkPolicy::Event => "event".to_owned(),
        ParkPolicy::Pid => "pid".to_owned(),
    },
};
const FLAG: Reading<bool> = Reading {
    parse: |text| text.parse().map_err(|_| "write true or false".to_owned()),
    show: bool::to_string,
};
const FOLDER: Reading<PathBuf> =
    Reading { parse: |text| Ok(PathBuf::from(text)), show: |path| path.display().to_string() };
/// What it shows has no password.
const DATABASE: Reading<DatabaseUrl> = Reading {
    parse: |text| DatabaseUrl::parse(text).map_err(|error| error.to_string()),
    show: DatabaseUrl::to_string,
};
const PASSPHRASE: Reading<PassphraseSource> = Reading {
    parse: |path| Ok(PassphraseSource::File(PathBuf::from(path))),
    show: |source| match source {
        PassphraseSource::File(path) => path.display().to_string(),
        PassphraseSource::Environment => format!("(the text of {})", PASSPHRASE_VARIABLE),
        PassphraseSource::Credential(_) | PassphraseSource::Terminal | PassphraseSource::Generated => {
            format!("({source})")
        }
    },
};
const LOG_FORMAT: Reading<LogFormat> = Reading {
    parse: |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("write text or json".to_owned()),
    },
    show: |format| match format {
        LogFormat::Text => "text".to_owned(),
        LogFormat::Json => "json".to_owned(),
    },
};

const ON_STALL: Reading<OnStall> = Reading {
    parse: on_stall,
    show: |on_stall| match on_stall {
        OnStall::Report => "report".to_owned(),
        OnStall::End => "end".to_owned(),
    },
};

const ACCESS: Reading<AccessMode> = Reading {
    parse: access,
    show: |mode| match mode {
        AccessMode::Automatic => "auto".to_owned(),
        AccessMode::Grants => "grants".to_owned(),
        AccessMode::Open => "open".to_owned(),
    },
};

fn access(text: &str) -> Result<AccessMode, String> {
    match text {
        "auto" => Ok(AccessMode::Automatic),
        "grants" => Ok(AccessMode::Grants),
        "open" => Ok(AccessMode::Open),
        _ => Err("write auto, grants or open".to_owned()),
    }
}

fn on_stall(text: &str) -> Result<OnStall, String> {
    match text {
        "report" => Ok(OnStall::Report),
        "end" => Ok(OnStall::End),
        _ => Err("write report or end".to_owned()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "it is not a number".to_owned())
}

fn park_policy(text: &str) -> Result<ParkPolicy, String> {
    match text {
        "event" => Ok(ParkPolicy::Event),
        "pid" => Ok(ParkPolicy::Pid),
        _ => Err("write event or pid".to_owned()),
    }
}

fn attempts(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|attempts| *attempts > 0)
        .ok_or_else(|| "it is not a number from 1 on".to_owned())
}

impl HubArgs {
    /// Decides every setting.
    ///
    /// # Errors
    /// A wrong configuration if the file or a value in it is wrong.
    pub(super) fn settle(self, matches: &ArgMatches, place: &Place) -> Outcome<Settings> {
        let mut choice = Choice::new(matches, self.config.as_deref())?;
        let data = choice.choose("data", place.data.clone(), || place.data(), &FOLDER)?;
        let default = HubConfig::new(data.clone());
        let database = match &place.database {
            Some(url) => Some(DatabaseUrl::parse(url).map_err(Failure::configuration)?),
            None => None,
        };
        let listen = choice.choose("listen", self.listen, || Ok(default.listen.clone()), &TEXT)?;
        let alone = hub::is_loopback(&listen);
        let health_default = health_beside(&listen, default.health.as_deref());
        let health = choice.choose("health", self.health, || Ok(health_default), &TEXT)?;
        let file = self.passphrase_file.map(PassphraseSource::File);
        let others = [
            self.passphrase_prompt.then_some(PassphraseSource::Terminal),
            PassphraseSource::credential(),
            PassphraseSource::environment(),
        ];
        let others = others.into_iter().flatten();
        let otherwise = || PassphraseSource::one_of(others.clone()).map_err(Failure::configuration);
        let config = HubConfig {
            data,
            database: choice.choose("database", database, || Ok(default.database), &DATABASE)?,
            listen,
            health: Some(health).filter(|address| address != "off"),
            name: choice.choose("name", self.name, || Ok(default.name), &TEXT)?,
            passphrase: choice.choose("passphrase-file", file, otherwise, &PASSPHRASE)?,
            advertise: {
                let given = self.advertise.map(|given| given.concat());
                choice.choose("advertise", given, || Ok(default.advertise), &ADDRESSES)?
            },
            local_enrolment: {
                match choice.choose("local-enrolment", self.local_enrolment, || Ok(alone), &FLAG)? {
                    true => LocalEnrolment::On,
                    false => LocalEnrolment::Off,
                }
            },
            drain: choice.choose("drain", self.drain, || Ok(default.drain), &SECONDS)?,
            rules: self.rules.settle(&mut choice, default.rules)?,
            schedule_grace: {
                let otherwise = || Ok(default.schedule_grace);
                choice.choose("schedule-grace", self.schedule_grace, otherwise, &SECONDS)?
            },
            on_stall: choice.choose("on-stall", self.on_stall, || Ok(default.on_stall), &ON_STALL)?,
            keep_alive: choice.choose("keep-alive", self.keep_alive, || Ok(default.keep_alive), &SECONDS)?,
            limits: self.limits.settle(&mut choice, default.limits)?,
            outbox: choice.choose("outbox-poll", self.outbox_poll, || Ok(default.outbox), &OUTBOX_POLL)?,
            access: choice.choose("access", self.access, || Ok(default.access), &ACCESS)?,
            open_to_others: {
                let (setting, given) = ("i-know-that-access-is-open", self.i_know_that_access_is_open);
                choice.choose(setting, given, || Ok(default.open_to_others), &FLAG)?
            },
            leaves: self.leaves.settle(&mut choice, default.leaves)?,
        };
        // A file of the settings file counts, too.
        if matches!(config.passphrase, PassphraseSource::File(_)) {
            let all = std::iter::once(config.passphrase.clone()).chain(others);
            PassphraseSource::one_of(all).map_err(Failure::configuration)?;
        }
        let log = choice.choose("log", self.log, || Ok("info".to_owned()), &TEXT)?;
        let log_format = choice.choose("log-format", self.log_format, || Ok(LogFormat::Text), &LOG_FORMAT)?;
        Ok(Settings { config, log, log_format, chosen: choice.done()? })
    }
}

impl RuleArgs {
    fn settle(self, choice: &mut Choice<'_>, default: Rules) -> Outcome<Rules> {
        let mut seconds = |setting, given, default| choice.choose(setting, given, || Ok(default), &SECONDS);
        Ok(Rules {
            backoff_first: seconds("backoff-first", self.backoff_first, default.backoff_first)?,
            backoff_max: seconds("backoff-max", self.backoff_max, default.backoff_max)?,
            deadline: seconds("deadline", self.deadline, default.deadline)?,
            attempts_max: {
                let otherwise = || Ok(default.attempts_max);
                choice.choose("attempts-max", self.attempts_max, otherwise, &ATTEMPTS)?
            },
            park: choice.choose("park", self.park, || Ok(default.park), &PARK)?,
        })
    }
}

impl LeafArgs {
    fn settle(self, choice: &mut Choice<'_>, default: LeafTimes) -> Outcome<LeafTimes> {
        let mut seconds = |setting, given, default| choice.choose(setting, given, || Ok(default), &SECONDS);
        let lifetime = seconds("leaf-lifetime", self.leaf_lifetime, default.lifetime())?;
        let renew_within = seconds("renew-within", self.renew_within, default.renew_within())?;
        LeafTimes::new(lifetime, renew_within).map_err(Failure::configuration)
    }
}

impl LimitArgs {
    fn settle(self, choice: &mut Choice<'_>, default: ConnectionLimits) -> Outcome<ConnectionLimits> {
        let mut seconds = |setting, given, default| choice.choose(setting, given, || Ok(default), &SECONDS);
        let handshake_within = seconds("handshake-within", self.handshake_within, default.handshake_within)?;
        let hello_within = seconds("hello-within", self.hello_within, default.hello_within)?;
        let write_within = seconds("write-within", self.write_within, default.write_within)?;
        let mut count = |setting, given, default| choice.choose(setting, given, || Ok(default), &COUNT);
        Ok(ConnectionLimits {
            connections_max: count("connections-max", self.connections_max, default.connections_max)?,
            unauthenticated_max: count(
                "unauthenticated-max",
                self.unauthenticated_max,
                default.unauthenticated_max,
            )?,
            unauthenticated_per_address_max: count(
                "unauthenticated-per-address-max",
                self.unauthenticated_per_address_max,
                default.unauthenticated_per_address_max,
            )?,
            handshake_within,
            hello_within,
            write_within,
        })
    }
}

/// Where health is served if nobody says: beside the hub's own default port, and on a free port of
/// the same host where the hub takes a free one, so that hubs for tests do not meet there.
fn health_beside(listen: &str, default: Option<&str>) -> String {
    match listen.rsplit_once(':') {
        Some((host, "0")) => format!("{host}:0"),
        Some(_) | None => default.unwrap_or("off").to_owned(),
    }
}

#[cfg(test)]
mod tests;
