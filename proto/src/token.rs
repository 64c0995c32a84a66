//! Enrolment tokens: how a service on another machine gets its first certificate.

use crate::enrol::{EnrolToken, TokenId};
use crate::name::ServiceName;
use crate::number::Timestamp;

/// Something about tokens.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum TokenRequest {
    /// Makes a token useless. Answered by [`TokenReply::Changed`].
    Withdraw(TokenId),
    /// Makes a token. Answered by [`TokenReply::Created`].
    Create {
        /// The service that certificates are for.
        service: ServiceName,
        /// Milliseconds until it ends: [`crate::limits::TOKEN_TTL_MS_MIN`] to
        /// [`crate::limits::TOKEN_TTL_MS_MAX`].
        ttl_ms: u64,
        /// How many certificates it is good for: 1 to [`crate::limits::TOKEN_USES_MAX`].
        uses: u32,
    },
    /// Lists the tokens after one, by id. Answered by [`TokenReply::Listed`].
    List {
        /// The last one of the page before; `None` starts.
        after: Option<TokenId>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub enum TokenReply {
    /// Whether anything is different now.
    Changed(bool),
    /// The token, which is told this once and stored nowhere.
    Created {
        /// All of it.
        token: EnrolToken,
        /// Until when it is good.
        expires: Timestamp,
    },
    /// Tokens, by id; none: there are no more.
    Listed(Vec<TokenReport>),
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct TokenReport {
    /// Which one.
    pub id: TokenId,
    /// The service that certificates are for.
    pub service: ServiceName,
    /// So many certificates were issued for it.
    pub uses: u32,
    /// So many can be.
    pub uses_max: u32,
    /// When it ends.
    pub expires: Timestamp,
    /// Who made it.
    pub agent: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was made useless.
    pub withdrawn: Option<Timestamp>,
}

impl TokenReply {
    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        let report = |report: &TokenReport| {
            size_of::<TokenReport>() + report.service.as_str().len() + report.agent.len()
        };
        match self {
            Self::Changed(_) => 0,
            Self::Created { .. } => size_of::<EnrolToken>(),
            Self::Listed(reports) => reports.iter().map(report).sum(),
        }
    }
}
