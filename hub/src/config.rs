//! What a hub is told at its start, checked before anything else happens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use db::DatabaseUrl;

use crate::access::Rule;
use crate::dispatch::{OnStall, Rules};
use crate::error::HubError;
use crate::identity::LeafTimes;
use crate::passphrase::PassphraseSource;

/// Everything that a hub can be told.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The data folder: keys, addresses, the enrolment socket and, by default, the database.
    pub data: PathBuf,
    /// The database.
    pub database: DatabaseUrl,
    /// Where spokes connect, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Where health and metrics are served over HTTP; `None` serves none.
    pub health: Option<String>,
    /// The hub's name: the last part of its id. Only `a-z`, `0-9`, `-` and `.`.
    pub name: String,
    /// Where the passphrase of the key ring comes from.
    pub passphrase: PassphraseSource,
    /// Where spokes are told to connect once they have enrolled, each `host:port`. None: where they have
    /// reached this hub.
    pub advertise: Vec<String>,
    /// Whether spokes of this machine and user may enrol over the socket in the data folder.
    pub local_enrolment: LocalEnrolment,
    /// How long a stopping hub waits for answers to what members have.
    pub drain: Duration,
    /// How failing deliveries are tried again.
    pub rules: Rules,
    /// The lateness from which an occurrence of a recurring schedule counts as missed, so that its misfire
    /// policy decides about it.
    pub schedule_grace: Duration,
    /// What happens when the dispatcher is stuck, which is a fault of the hub.
    pub on_stall: OnStall,
    /// Silence after which either end of a connection pings.
    pub keep_alive: Duration,
    /// Limits before and after authentication.
    pub limits: ConnectionLimits,
    /// How often the outbox is looked at.
    pub outbox: OutboxPoll,
    /// How long certificates of hubs and spokes live, and how fast they are renewed in haste.
    pub leaves: LeafTimes,
    /// Who decides what spokes may do.
    pub access: AccessMode,
    /// Whether [`AccessMode::Open`] counts also where others than this machine can connect.
    pub open_to_others: bool,
}

/// Who decides what spokes may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessMode {
    /// On loopback nobody, until the first change of grants in the database; elsewhere and from then on
    /// grants.
    #[default]
    Automatic,
    /// Grants.
    Grants,
    /// Nobody: every spoke that is enrolled may do everything.
    Open,
}

/// Whether spokes of the hub's machine and user may enrol without a token, as any service. As the operator
/// they always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalEnrolment {
    /// They may.
    On,
    /// They may not.
    Off,
    /// They may if the hub can be reached from nowhere else.
    OnLoopback,
}

impl LocalEnrolment {
    /// Whether they may at a hub that listens there.
    pub(crate) fn is_on(self, listens: SocketAddr) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::OnLoopback => listens.ip().to_canonical().is_loopback(),
        }
    }
}

/// Whether whoever listens at `listen`, `host:port`, can be reached from this machine only. A name other
/// than `localhost` may be anything, so the answer is no.
#[must_use]
pub fn is_loopback(listen: &str) -> bool {
    match listen.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().is_loopback(),
        Err(_) => listen.rsplit_once(':').is_some_and(|(host, _)| host == "localhost"),
    }
}

/// How often a hub looks whether services have put events into the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxPoll {
    /// Never: another hub does, or nobody uses it.
    Off,
    /// At most this long apart while nothing comes, and at once while something does.
    Every(Duration),
}

impl Default for OutboxPoll {
    fn default() -> Self {
        Self::Every(Duration::from_millis(500))
    }
}

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that have not said Hello yet. One more is closed at once.
    pub unauthenticated_max: usize,
    /// Connections of one address that have not said Hello yet. One more is closed at once.
    pub unauthenticated_per_address_max: usize,
    /// Connections in all. One more is closed at once.
    pub connections_max: usize,
    /// Time from connecting to the end of the TLS handshake. Then it is closed.
    pub handshake_within: Duration,
    /// Time from the handshake to Hello. Then it is closed.
    pub hello_within: Duration,
    /// Time that a peer may take nothing of what is written to it. Then it is closed.
    pub write_within: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            unauthenticated_max: 512,
            unauthenticated_per_address_max: 256,
            connections_max: 4_096,
            handshake_within: Duration::from_secs(5),
            hello_within: Duration::from_secs(2),
            write_within: Duration::from_secs(10),
        }
    }
}

impl HubConfig {
    /// What decides about rights on a hub that listens at `address`.
    ///
    /// # Errors
    /// [`HubError::OpenToOthers`] if that is nothing, and other machines can connect.
    pub(crate) fn rule(&self, address: SocketAddr) -> Result<Rule, HubError> {
        let is_private = address.ip().is_loopback();
        match self.access {
            AccessMode::Grants => Ok(Rule::Grants),
            AccessMode::Automatic if is_private => Ok(Rule::OpenAtFirst),
            AccessMode::Automatic => Ok(Rule::Grants),
            AccessMode::Open if is_private || self.open_to_others => Ok(Rule::Open),
            AccessMode::Open => Err(HubError::OpenToOthers { address }),
        }
    }

    /// The defaults for a data folder: SQLite in it, port 50001 on loopback, a generated passphrase.
    #[must_use]
    pub fn new(data: PathBuf) -> Self {
        let database = DatabaseUrl::sqlite(&data.join("eventflow.db"));
        Self {
            data,
            database,
            listen: "127.0.0.1:50001".to_owned(),
            health: Some("127.0.0.1:50002".to_owned()),
            name: "eventflow-hub".to_owned(),
            passphrase: PassphraseSource::Generated,
            advertise: Vec::new(),
            local_enrolment: LocalEnrolment::OnLoopback,
            drain: Duration::from_secs(10),
            rules: Rules::default(),
            schedule_grace: Duration::from_secs(60),
            on_stall: OnStall::default(),
            keep_alive: Duration::from_secs(20),
            limits: ConnectionLimits::default(),
            outbox: OutboxPoll::default(),
            access: AccessMode::default(),
            open_to_others: false,
            leaves: LeafTimes::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_listens_on_loopback_alone_enrols_its_machine_unless_it_is_told() {
        for (listen, alone) in [
            ("127.0.0.1:0", true),
            ("127.9.9.9:50001", true),
            ("[::1]:50001", true),
            ("[::ffff:127.0.0.1]:50001", true),
            ("0.0.0.0:50001", false),
            ("[::]:50001", false),
            ("192.0.2.1:50001", false),
        ] {
            assert_eq!(is_loopback(listen), alone, "{listen}");
            assert_eq!(LocalEnrolment::OnLoopback.is_on(listen.parse().unwrap()), alone, "{listen}");
            assert!(LocalEnrolment::On.is_on(listen.parse().unwrap()));
            assert!(!LocalEnrolment::Off.is_on(listen.parse().unwrap()));
        }
        assert!(is_loopback("localhost:50001"));
        assert!(!is_loopback("hub.example:50001") && !is_loopback("localhost.example:1"));
    }
}
