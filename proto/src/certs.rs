//! Certificates on the wire: what peers trust, which certificates do not count any more, and how
//! authorities are replaced.

use crate::number::Timestamp;
use crate::rotation::{Begun, CertsStatus, Pace, Rotation, RotationKind};

/// What peers are to trust.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Trust {
    /// Larger for every later one.
    pub version: u64,
    /// The roots, in DER: at most [`crate::limits::TRUSTED_ROOTS_MAX`].
    pub roots: Vec<Vec<u8>>,
}

/// Whose certificates are not to count any more.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum Holder {
    /// A spoke, by service and instance with a `/` between. It may enrol again.
    Spoke(String),
    /// All spokes of a service, those that enrol later not included.
    Service(String),
    /// Everything that an issuing certificate has signed, by the issuer's id.
    Issuer(String),
    /// One certificate, by the SHA-256 of its DER bytes.
    Fingerprint([u8; 32]),
}

/// Something about certificates.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum CertsRequest {
    /// Revokes certificates. Answered by [`CertsReply::Revoked`].
    Revoke {
        /// Whose.
        holder: Holder,
        /// Why, for people and for the holders; cut to [`crate::limits::REASON_CHARS_MAX`].
        reason: String,
    },
    /// A signed list of what an issuer has signed and was revoked. Answered by [`CertsReply::List`].
    List {
        /// The issuer's id.
        issuer: String,
    },
    /// Replaces leaves or authorities. Answered by [`CertsReply::Rotating`].
    Rotate {
        /// What is replaced.
        kind: RotationKind,
        /// How fast.
        pace: Pace,
    },
    /// How authorities, leaves and their replacement stand. Answered by [`CertsReply::Status`].
    Status,
    /// Requests for issuers that a root elsewhere is to sign; a replacement of this kind begins with it.
    /// Answered by [`CertsReply::Requests`].
    Requests {
        /// What is replaced: [`RotationKind::Intermediate`] or [`RotationKind::Root`].
        kind: RotationKind,
    },
    /// What was signed elsewhere for the requests of the replacement under way. Answered by
    /// [`CertsReply::Imported`].
    Import {
        /// Certificates, DER, in any order: both issuers and, if the root is replaced, the new one and
        /// perhaps its cross-certificate; at most [`crate::limits::IMPORTED_CERTIFICATES_MAX`],
        /// or it is refused.
        certificates: Vec<Vec<u8>>,
    },
    /// Ends the replacement under way, of which nothing was prepared yet. Answered by
    /// [`CertsReply::Withdrawn`].
    Withdraw,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum CertsReply {
    /// What counted before and does not any more.
    Revoked {
        /// So many certificates.
        certificates: u64,
        /// Since when.
        at: Timestamp,
    },
    /// A list of revoked certificates (RFC 5280), in DER.
    List(Vec<u8>),
    /// The replacement that is under way now.
    Rotating {
        /// Whether it is the one that was asked for.
        begun: Begun,
        /// The replacement.
        rotation: Rotation,
    },
    /// How everything stands.
    Status(Box<CertsStatus>),
    /// What a root elsewhere is to sign.
    Requests {
        /// The replacement that waits for it.
        rotation: Rotation,
        /// The requests, DER: for the issuer of hubs and the issuer of spokes.
        requests: Vec<Vec<u8>>,
    },
    /// What was signed elsewhere is stored, and the replacement goes on by itself.
    Imported {
        /// The replacement.
        rotation: u64,
        /// What was stored, by id.
        stored: Vec<String>,
        /// What a person should know about it.
        advice: Vec<String>,
    },
    /// A replacement has ended before anything was changed by it.
    Withdrawn {
        /// The replacement.
        rotation: u64,
    },
}

impl CertsReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Revoked { .. } | Self::Rotating { .. } | Self::Withdrawn { .. } => 0,
            Self::Requests { requests, .. } => requests.iter().map(Vec::len).sum(),
            Self::Imported { stored, advice, .. } => stored.iter().chain(advice).map(String::len).sum(),
            Self::Status(status) => status.weight(),
            Self::List(der) => der.len(),
        }
    }
}
