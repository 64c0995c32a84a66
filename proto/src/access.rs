//! Grants: who may do what.

/// The service that the hub's own user is at the hub's socket: it may do everything, needs no grant, and
/// no token is ever made for it.
pub const OPERATOR: &str = "operator";

/// Something about grants.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GrantRequest {
    /// Takes a grant back. Answered by [`GrantReply::Changed`].
    Remove(u64),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum GrantReply {
    /// Whether anything is different now.
    Changed(bool),
}

impl GrantReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Changed(_) => 0,
        }
    }
}
