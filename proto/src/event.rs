//! Events: as asked for ([`NewEvent`]) and as recorded ([`Event`]).

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::limits::{
    CPIDS_PER_EVENT_MAX, DATA_BYTES_MAX, DATA_DEPTH_MAX, EIDS_PER_EVENT_MAX, METADATA_BYTES_MAX,
    METADATA_ENTRIES_MAX,
};
use crate::name::{Domain, Eid, EventId, EventName, Pid, ServiceName};
use crate::number::{Position, Timestamp, Version};

/// Why an event cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The data is not JSON.
    #[error("the data is not JSON: {reason}")]
    NotJson {
        /// What the JSON parser says, with line and column.
        reason: String,
    },
    /// The data is too large.
    #[error(
        "the data has {found} bytes; at most {max} are allowed: keep the bulk in a store and its key in the event"
    )]
    DataTooLarge {
        /// How large it is.
        found: usize,
        /// How large it may be.
        max: usize,
    },
    /// There is more of something than an event may have.
    #[error("the event has {found} {what}; at most {max} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A metadata key is empty or holds control characters.
    #[error("the metadata key {key:?} is empty or holds control characters")]
    MetadataKey {
        /// The key, cut to 64 characters.
        key: String,
    },
    /// The metadata entry `priority` is not one.
    #[error("the metadata says a priority of {found:?}; it is one digit, 0 goes first and 9 last")]
    Priority {
        /// What it says, cut to 16 characters.
        found: String,
    },
}

/// An event's data: JSON text, kept byte for byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Data(Bytes);

impl Data {
    /// Takes `text` if it is one JSON value within the limits of size and depth.
    ///
    /// # Errors
    /// [`EventError::NotJson`] or [`EventError::DataTooLarge`].
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, EventError> {
        let text = text.into();
        if text.len() > DATA_BYTES_MAX {
            return Err(EventError::DataTooLarge { found: text.len(), max: DATA_BYTES_MAX });
        }
        serde_json::from_slice::<serde::de::IgnoredAny>(&text)
            .map_err(|error| EventError::NotJson { reason: error.to_string() })?;
        // JSON strings are not checked for UTF-8 when they are ignored.
        std::str::from_utf8(&text)
            .map_err(|error| EventError::NotJson { reason: format!("it is not UTF-8: {error}") })?;
        // Each level takes two bytes, so a short text cannot be too deep.
        let depth = if text.len() / 2 > DATA_DEPTH_MAX { depth(&text) } else { 0 };
        if depth > DATA_DEPTH_MAX {
            return Err(EventError::TooMany {
                what: "levels of arrays and objects in its data",
                found: depth,
                max: DATA_DEPTH_MAX,
            });
        }
        Ok(Self(text))
    }

    /// Data that was checked when it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(Bytes::from(text.into_bytes()))
    }

    /// An empty JSON object, `{}`.
    #[must_use]
    pub fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// The JSON text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every constructor has checked it.
        std::str::from_utf8(&self.0).unwrap_or("null")
    }

    /// The data as a value of the caller's type.
    ///
    /// # Errors
    /// What serde says when the data does not fit `T`.
    pub fn to<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }
}

/// How deep arrays and objects are nested in `json`, which must be valid.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl fmt::Debug for Data {
    /// The length only: payloads do not belong into logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.0.len())
    }
}

impl bincode::Encode for Data {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        bincode::Encode::encode(&self.0[..], encoder)
    }
}

impl<Context> bincode::Decode<Context> for Data {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let bytes = <Vec<u8> as bincode::Decode<Context>>::decode(decoder)?;
        // Whether it is JSON is checked where it is about to be stored, not on every hop.
        if bytes.len() > DATA_BYTES_MAX || std::str::from_utf8(&bytes).is_err() {
            return Err(bincode::error::DecodeError::Other("data is too large or not UTF-8"));
        }
        Ok(Self(Bytes::from(bytes)))
    }
}
bincode::impl_borrow_decode!(Data);

impl serde::Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &serde_json::value::RawValue =
            serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Data {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        Self::parse(String::from(Box::<str>::from(raw))).map_err(serde::de::Error::custom)
    }
}

/// Small facts about an event that are not its data: trace context, actor. Sorted by key.
#[derive(
    Debug,
    Clone,
    Default,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Metadata(pub BTreeMap<String, String>);

impl Metadata {
    fn check(&self) -> Result<(), EventError> {
        let found = self.0.len();
        if found > METADATA_ENTRIES_MAX {
            return Err(EventError::TooMany { what: "metadata entries", found, max: METADATA_ENTRIES_MAX });
        }
        let found = self.0.iter().map(|(key, value)| key.len() + value.len()).sum();
        if found > METADATA_BYTES_MAX {
            return Err(EventError::TooMany { what: "bytes of metadata", found, max: METADATA_BYTES_MAX });
        }
        if let Some(text) = self.0.get(crate::priority::KEY) {
            text.parse::<crate::priority::Priority>()?;
        }
        match self.0.keys().find(|key| key.is_empty() || key.chars().any(char::is_control)) {
            Some(key) => Err(EventError::MetadataKey { key: key.chars().take(64).collect() }),
            None => Ok(()),
        }
    }
}

/// A process that an event started: its eventlog is (domain, pid).
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Cpid {
    /// The child's domain.
    pub domain: Domain,
    /// The child's pid.
    pub pid: Pid,
}

/// An event as asked for: everything but what the log decides.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct NewEvent {
    /// The idempotency key.
    pub id: EventId,
    /// When it happened; `None` lets the hub's clock say.
    pub timestamp: Option<Timestamp>,
    /// The kind of process.
    pub domain: Domain,
    /// The process.
    pub pid: Pid,
    /// What happened.
    pub name: EventName,
    /// The event that this one answers.
    pub rid: Option<EventId>,
    /// Trace context, actor and the like.
    pub metadata: Metadata,
    /// The facts, as JSON.
    pub data: Data,
    /// Entities that it concerns.
    pub eids: Vec<Eid>,
    /// Processes that it started.
    pub cpids: Vec<Cpid>,
}

impl NewEvent {
    /// An event with empty data `{}`, no links and the hub's time.
    #[must_use]
    pub fn new(id: EventId, domain: Domain, pid: Pid, name: EventName) -> Self {
        Self {
            id,
            timestamp: None,
            domain,
            pid,
            name,
            rid: None,
            metadata: Metadata::default(),
            data: Data::empty(),
            eids: Vec::new(),
            cpids: Vec::new(),
        }
    }

    /// Checks what the types do not: that data from the wire is JSON, and how many links there are.
    ///
    /// # Errors
    /// [`EventError`] says what is wrong.
    pub fn check(&self) -> Result<(), EventError> {
        Data::parse(self.data.0.clone())?;
        self.metadata.check()?;
        let (eids, cpids) = (self.eids.len(), self.cpids.len());
        if eids > EIDS_PER_EVENT_MAX {
            return Err(EventError::TooMany { what: "eids", found: eids, max: EIDS_PER_EVENT_MAX });
        }
        if cpids > CPIDS_PER_EVENT_MAX {
            return Err(EventError::TooMany { what: "cpids", found: cpids, max: CPIDS_PER_EVENT_MAX });
        }
        Ok(())
    }

    /// Bytes that this event holds, roughly: for budgets, not for limits.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.data.0.len() + 64 * (self.eids.len() + 2 * self.cpids.len())
    }

    /// What two publications with the same id must agree in: the first 16 bytes of SHA-256 over
    /// all that was asked for, links as sets.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        use sha2::Digest;
        let mut hash = sha2::Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(&self.timestamp.map_or([0xff; 8], |at| at.millis().to_le_bytes()));
        for text in [self.domain.as_str(), self.pid.as_str(), self.name.as_str()] {
            part(text.as_bytes());
        }
        part(self.rid.as_ref().map_or("", EventId::as_str).as_bytes());
        part(self.data.as_bytes());
        for (key, value) in &self.metadata.0 {
            part(key.as_bytes());
            part(value.as_bytes());
        }
        // A marker that no key can equal keeps metadata and links apart.
        part(b"\x00eids");
        let mut eids: Vec<_> = self.eids.iter().map(Eid::as_str).collect();
        eids.sort_unstable();
        eids.dedup();
        eids.iter().for_each(|eid| part(eid.as_bytes()));
        part(b"\x00cpids");
        let mut cpids: Vec<_> = self.cpids.iter().collect();
        cpids.sort_unstable();
        cpids.dedup();
        for cpid in cpids {
            part(cpid.domain.as_str().as_bytes());
            part(cpid.pid.as_str().as_bytes());
        }
        let mut digest = [0; 16];
        digest.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        digest
    }
}

/// An event as recorded. Its JSON form is what the command line prints, imports and exports.
#[derive(
    Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize,
)]
pub struct Event {
    /// Its place in the whole log.
    pub position: Position,
    /// The idempotency key.
    pub id: EventId,
    /// When it happened, as given or by the clock of the hub that stored it.
    pub timestamp: Timestamp,
    /// The kind of process.
    pub domain: Domain,
    /// The process.
    pub pid: Pid,
    /// Its place in its eventlog.
    pub version: Version,
    /// What happened.
    pub name: EventName,
    /// The event that this one answers.
    pub rid: Option<EventId>,
    /// The service that published it; `None` means persisted only, never offered to consumers.
    pub publisher: Option<ServiceName>,
    /// Trace context, actor and the like.
    pub metadata: Metadata,
    /// The facts, as JSON.
    pub data: Data,
    /// Entities that it concerns, sorted.
    pub eids: Vec<Eid>,
    /// Processes that it started, sorted.
    pub cpids: Vec<Cpid>,
}

impl Event {
    /// Bytes that this event holds, roughly: for credit and budgets.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED: usize = 256;
        FIXED + self.data.0.len() + 64 * (self.eids.len() + 2 * self.cpids.len())
    }

    /// The slot of this event's process in every group.
    #[must_use]
    pub fn slot(&self) -> u16 {
        slot(&self.domain, &self.pid)
    }
}

/// The slot of a process: FNV-1a over domain, a zero byte and pid, modulo the number of slots.
///
/// It is stored with settlements, so it must never change.
#[must_use]
pub fn slot(domain: &Domain, pid: &Pid) -> u16 {
    let bytes = domain.as_str().bytes().chain([0]).chain(pid.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The low bits of FNV-1a mix worst, so the high half is folded in.
    let folded = (hash >> 32) ^ hash;
    u16::try_from(folded % u64::from(crate::limits::SLOTS_PER_GROUP)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> NewEvent {
        NewEvent::new(
            EventId::parse("e1").unwrap(),
            Domain::parse("order").unwrap(),
            Pid::parse("4711").unwrap(),
            EventName::parse("order placed").unwrap(),
        )
    }

    #[test]
    fn data_must_be_one_json_value_in_utf8() {
        for bad in ["", "{", "{} {}", "nul", "'a'"] {
            assert!(Data::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Data::parse(&b"\"\xff\""[..]).is_err());
        let nested = |levels: usize| format!("{}\"[[\\\"[\"{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Data::parse(nested(DATA_DEPTH_MAX)).is_ok());
        assert!(Data::parse(nested(DATA_DEPTH_MAX + 1)).is_err());
        assert!(Data::parse(" {\"a\" : 1.0e5}\n").is_ok());
    }

    #[test]
    fn data_over_the_limit_is_refused_and_at_the_limit_is_taken() {
        let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(Data::parse(text(DATA_BYTES_MAX)).is_ok());
        assert!(matches!(Data::parse(text(DATA_BYTES_MAX + 1)), Err(EventError::DataTooLarge { .. })));
    }

    #[test]
    fn the_digest_sees_every_field_and_links_as_sets() {
        let first = event();
        let mut twice = event();
        twice.eids = vec![Eid::parse("b").unwrap(), Eid::parse("a").unwrap(), Eid::parse("a").unwrap()];
        let mut sorted = event();
        sorted.eids = vec![Eid::parse("a").unwrap(), Eid::parse("b").unwrap()];
        assert_eq!(twice.digest(), sorted.digest());
        assert_ne!(first.digest(), sorted.digest());
        let mut other = event();
        other.data = Data::parse("{} ").unwrap();
        assert_ne!(first.digest(), other.digest());
    }

    #[test]
    fn the_slot_of_a_process_never_changes() {
        let slot_of = |pid: &str| slot(&Domain::parse("order").unwrap(), &Pid::parse(pid).unwrap());
        assert_eq!([slot_of("1"), slot_of("2"), slot_of("4711")], SLOTS_AS_RECORDED);
    }
    const SLOTS_AS_RECORDED: [u16; 3] = [19, 58, 15];
}
