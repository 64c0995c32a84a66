//! What a hub is told at its start, checked before anything else happens.

use std::path::PathBuf;
use std::time::Duration;

use db::DatabaseUrl;

use crate::dispatch::{OnStall, Rules};
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
    /// Whether spokes of this machine and user may enrol over the socket in the data folder.
    pub local_enrolment: bool,
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
            local_enrolment: true,
            drain: Duration::from_secs(10),
            rules: Rules::default(),
            schedule_grace: Duration::from_secs(60),
            on_stall: OnStall::default(),
            keep_alive: Duration::from_secs(20),
            limits: ConnectionLimits::default(),
            outbox: OutboxPoll::default(),
            leaves: LeafTimes::default(),
        }
    }
}
