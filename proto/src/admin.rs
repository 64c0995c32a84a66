//! What operators ask for: who may do what, who is let in, which certificates count, who did what.
//!
//! All of it needs the right to administer.

use crate::access::{GrantReply, GrantRequest};
use crate::audit::{AuditReply, AuditRequest};
use crate::certs::{CertsReply, CertsRequest};
use crate::token::{TokenReply, TokenRequest};

/// Something that only an operator may ask for.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum AdminRequest {
    /// Grants and roles.
    Grants(GrantRequest),
    /// Enrolment tokens.
    Tokens(TokenRequest),
    /// Certificates, their revocation and the replacement of authorities.
    Certs(CertsRequest),
    /// Who did what.
    Audit(AuditRequest),
}

/// The answer, of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum AdminReply {
    /// Grants and roles.
    Grants(GrantReply),
    /// Enrolment tokens.
    Tokens(TokenReply),
    /// Certificates.
    Certs(CertsReply),
    /// Who did what.
    Audit(AuditReply),
}

impl AdminReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Grants(reply) => reply.weight(),
            Self::Tokens(reply) => reply.weight(),
            Self::Certs(reply) => reply.weight(),
            Self::Audit(reply) => reply.weight(),
        }
    }
}
