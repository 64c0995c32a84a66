//! What is said to get a certificate: one request, one answer, each one frame.
//!
//! On the hub's machine an [`EnrolRequest`] goes through a socket in its data folder; from elsewhere a
//! [`TokenEnrolment`] goes through TLS to the hub's port.

mod token;

use crate::name::ServiceName;
use crate::refusal::Refusal;

pub use token::{EnrolToken, SecretDigest, TokenError, TokenId, TokenSecret};

/// Asks for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct EnrolRequest {
    /// The service that the certificate is for.
    pub service: ServiceName,
    /// A certificate signing request in DER; only its public key is used.
    pub csr: Vec<u8>,
}

/// Asks for a certificate with a token, which says for which service it is.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TokenEnrolment {
    /// Which token.
    pub token: TokenId,
    /// That the asker has it.
    pub secret: TokenSecret,
    /// The service that the asker takes the token to be for. If it is for another one, nothing is issued
    /// and no use of it is taken. `None` takes what the token is for.
    pub service: Option<ServiceName>,
    /// A certificate signing request in DER; only its public key is used.
    pub csr: Vec<u8>,
}

/// The answer to an [`EnrolRequest`] or a [`TokenEnrolment`].
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum EnrolReply {
    /// A certificate was issued.
    Issued(Enrolled),
    /// None was.
    Refused(Refusal),
    /// Too many ask at once; nothing was looked at.
    Busy {
        /// Milliseconds after which asking again makes sense.
        retry_after_ms: u32,
    },
}

/// An issued certificate and what is needed to use it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Enrolled {
    /// The leaf and then its intermediate, in DER.
    pub chain: Vec<Vec<u8>>,
    /// The roots to trust, in DER.
    pub roots: Vec<Vec<u8>>,
    /// Where hubs are reached, `host:port`.
    pub hubs: Vec<String>,
    /// Milliseconds since 1970 when the leaf ends.
    pub not_after_ms: i64,
}
