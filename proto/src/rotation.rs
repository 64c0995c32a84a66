//! The replacement of leaves and authorities on the wire: what is replaced, how far it is, what it
//! waits for.

use crate::name::HubId;
use crate::number::Timestamp;

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RotationKind {
    /// The leaves of all hubs and spokes.
    Leaf,
    /// Both issuers, and with them all leaves.
    Intermediate,
    /// The root, both issuers, and with them all leaves.
    Root,
}

impl RotationKind {
    /// Its word in commands and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
            Self::Root => "root",
        }
    }

    /// The kind with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Leaf, Self::Intermediate, Self::Root].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How fast something is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// Every step waits until nobody is hurt by the next one.
    Orderly,
    /// Nothing is waited for: what is replaced may be in the wrong hands.
    Hasty,
}

/// What has been done last.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode, serde::Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum RotationStep {
    /// It was asked for.
    Begun,
    /// The new authorities are there and trusted beside the former ones.
    Prepared,
    /// The new authorities issue; hubs show their leaves; spokes renew.
    Activated,
    /// The former authorities are trusted no more.
    Retired,
    /// The keys of the former authorities are gone. It is over.
    Archived,
}

impl RotationStep {
    const ALL: [Self; 5] = [Self::Begun, Self::Prepared, Self::Activated, Self::Retired, Self::Archived];

    /// Its number in tables: 0 for the first.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Begun => 0,
            Self::Prepared => 1,
            Self::Activated => 2,
            Self::Retired => 3,
            Self::Archived => 4,
        }
    }

    /// The step with this number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.number() == number)
    }

    /// Its word for people and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Prepared => "prepared",
            Self::Activated => "activated",
            Self::Retired => "retired",
            Self::Archived => "archived",
        }
    }
}

/// One replacement. All times are the database's.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct Rotation {
    /// Its number: 1 for the first one of a database.
    pub id: u64,
    /// What is replaced.
    pub kind: RotationKind,
    /// How fast.
    pub pace: Pace,
    /// What was done last.
    pub step: RotationStep,
    /// Who asked for it.
    pub agent: String,
    /// When it was asked for.
    pub begun: Timestamp,
    /// When the new authorities were stored.
    pub prepared: Option<Timestamp>,
    /// From when on they issued.
    pub activated: Option<Timestamp>,
    /// From when on the former ones were trusted no more.
    pub retired: Option<Timestamp>,
    /// When their keys were deleted.
    pub archived: Option<Timestamp>,
}

impl Rotation {
    /// The number that the authorities which it makes bear behind their names.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.id.saturating_add(1)
    }
}

/// What came of a wish to replace something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Begun {
    /// A replacement has begun.
    New,
    /// One of the same kind was under way, and waits for nothing any more.
    Hastened,
    /// One was under way, and nothing was changed. There is one at a time.
    UnderWay,
}

/// What a replacement waits for.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitsFor {
    /// A hub that has not read what is trusted now.
    Hub(HubId),
    /// Spokes at a hub that have not kept what is trusted now.
    Spokes {
        /// The hub that they are connected to.
        hub: HubId,
    },
    /// Certificates that hang from what is replaced.
    Leaves {
        /// So many.
        leaves: u64,
        /// When the last of them ends by itself.
        until: Timestamp,
    },
    /// The time in which spokes renew before what is replaced is revoked.
    Renewals {
        /// Its end.
        until: Timestamp,
    },
    /// Something that only a person can do.
    Operator {
        /// What.
        advice: String,
    },
}

/// What an authority is there for at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityState {
    /// It is trusted, and does not issue yet.
    Next,
    /// It is trusted and issues.
    InUse,
    /// It is trusted, and does not issue any more.
    Former,
}

/// Where the key of an authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// In the database, sealed.
    Here,
    /// Somewhere else, or nowhere.
    Elsewhere,
}

/// One authority that counts.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct AuthorityStatus {
    /// Its id: `root`, `issuer/hub` or `issuer/spoke`, with a generation behind a `/` from the second on.
    pub id: String,
    /// What it is there for.
    pub state: AuthorityState,
    /// Where its key is.
    pub key: KeyPlace,
    /// When it ends.
    pub ends: Timestamp,
    /// SHA-256 of the certificate.
    #[serde(serialize_with = "as_hex")]
    pub fingerprint: [u8; 32],
}

/// Bytes as people compare them.
fn as_hex<S: serde::Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

/// What a hub with a lease has read and what its spokes have kept.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct HubTrust {
    /// The hub.
    pub hub: HubId,
    /// The version of what is trusted that it works with.
    pub loaded: u64,
    /// The newest version that it and all spokes connected to it have kept.
    pub kept: u64,
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
pub struct CertsStatus {
    /// The authorities that count, by id.
    pub authorities: Vec<AuthorityStatus>,
    /// When the leaf of the hub that answers ends.
    pub leaf_ends: Timestamp,
    /// The replacement under way, or else the last one.
    pub rotation: Option<Rotation>,
    /// What it waits for.
    pub waits_for: Vec<WaitsFor>,
    /// The version of what is trusted.
    pub trust: u64,
    /// The hubs with a lease.
    pub hubs: Vec<HubTrust>,
    /// Some of the spokes at the hub that answers which have not kept that version.
    pub spokes_behind: Vec<String>,
    /// How many those are in all.
    pub spokes_behind_count: u64,
    /// What a person should look after.
    pub warnings: Vec<String>,
}

impl CertsStatus {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        let texts = self.spokes_behind.iter().chain(&self.warnings).map(String::len).sum::<usize>();
        texts
            + self.authorities.len() * 2 * size_of::<AuthorityStatus>()
            + self.hubs.len() * 2 * size_of::<HubTrust>()
            + self.waits_for.len() * 2 * size_of::<WaitsFor>()
    }
}
