//! Enrolment tokens: how a service on another machine gets its first certificate.

/// Something about tokens.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum TokenRequest {
    /// Makes a token useless. Answered by [`TokenReply::Changed`].
    Withdraw(String),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum TokenReply {
    /// Whether anything is different now.
    Changed(bool),
}

impl TokenReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Changed(_) => 0,
        }
    }
}
