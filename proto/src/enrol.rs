//! What is said on the enrolment socket: one request, one answer, each one frame.

use crate::name::ServiceName;
use crate::refusal::Refusal;

/// Asks for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct EnrolRequest {
    /// The service that the certificate is for.
    pub service: ServiceName,
    /// A certificate signing request in DER; only its public key is used.
    pub csr: Vec<u8>,
}

/// The answer to an [`EnrolRequest`].
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum EnrolReply {
    /// A certificate was issued.
    Issued(Enrolled),
    /// None was.
    Refused(Refusal),
}

/// An issued certificate and what is needed to use it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Enrolled {
    /// The leaf and then its intermediate, in DER.
    pub chain: Vec<Vec<u8>>,
    /// The roots to trust, in DER.
    pub roots: Vec<Vec<u8>>,
    /// Where the hub listens, `host:port`.
    pub hubs: Vec<String>,
    /// Milliseconds since 1970 when the leaf ends.
    pub not_after_ms: i64,
}
