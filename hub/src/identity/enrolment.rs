//! How a spoke comes to its first certificate: the leaf, its row and the audit's line, and what a peer
//! that has none yet is shown.

use std::sync::Arc;

use certs::tls;
use db::{Audit, EnrolmentRow};
use proto::enrol::{Enrolled, TokenId};
use proto::{ServiceName, Timestamp};
use tokio_rustls::rustls::ServerConfig;

use super::{HubIdentity, IdentityError};

/// What a spoke is let in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It is a process of the hub's own user.
    OwnUser,
    /// It has this token, whose secret was compared.
    Token(TokenId),
}

impl HubIdentity {
    /// SHA-256 of the root: what a token names so that its holder knows this hub.
    pub(crate) fn root_digest(&self) -> [u8; 32] {
        certs::fingerprint(&self.root())
    }

    /// The TLS settings for peers that enrol with a token; they show the newest leaf.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if the TLS library takes none of it.
    pub(crate) fn enrolment_config(&self) -> Result<Arc<ServerConfig>, IdentityError> {
        // While the root is replaced, tokens that name either are believed.
        Ok(Arc::new(tls::enrol_server_config(Arc::clone(&self.shown), self.roots())?))
    }

    /// Issues a leaf for a new instance of `service`, for the key of `csr`. It is handed out only after the
    /// use of the token, the row and the audit's line are stored, all in one.
    ///
    /// # Errors
    /// [`IdentityError::TokenSpent`] if the token has no use left; a request that is refused costs none.
    pub(crate) async fn enrol(
        &self,
        csr: &[u8],
        service: &ServiceName,
        entry: Entry,
        now: Timestamp,
    ) -> Result<Enrolled, IdentityError> {
        let (enrolled, row) = self.new_spoke(csr, service, now)?;
        let (token, detail) = match entry {
            Entry::OwnUser => (None, "over the hub's socket".to_owned()),
            Entry::Token(token) => (Some(token), format!("with token {token}")),
        };
        let audit = Audit { agent: row.id.clone(), act: "spoke.enrol", subject: row.id.clone(), detail };
        match self.vault.enrol(token, &row, &audit, now).await? {
            EnrolmentRow::Stored => Ok(enrolled),
            EnrolmentRow::Spent => Err(IdentityError::TokenSpent),
            EnrolmentRow::Taken => Err(IdentityError::Taken { id: row.id }),
        }
    }
}
