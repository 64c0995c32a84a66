//! Why a hub has no identity, and why a peer is not let in.

use certs::CertError;
use certs::seal::SealError;
use proto::message::Expulsion;
use proto::rotation::RotationKind;
use proto::{Refusal, Timestamp};

use crate::enrol::TokenFault;

/// Why the hub's identity was not loaded, or a certificate not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The keyring did not open.
    #[error(
        "E_EVENTFLOW_PASSPHRASE: keyring {kek_id}, made at {created}, did not open: wrong passphrase or \
         tampered keyring row; give the passphrase that this database was started with first; nothing was \
         written"
    )]
    WrongPassphrase {
        /// Which keyring.
        kek_id: String,
        /// When it was made.
        created: Timestamp,
    },
    /// There are certificates, but no keyring to open their keys.
    #[error(
        "the database holds certificates but no keyring; restore the table keyring from the same backup; \
         nothing was written"
    )]
    KeyringMissing,
    /// There are certificates, but no root among them.
    #[error(
        "the database holds certificates but no active {id}; restore the table certificate from a backup; no \
         other was made, because no spoke would trust it"
    )]
    AuthorityMissing {
        /// Which one.
        id: &'static str,
    },
    /// A row is not what was once stored.
    #[error("the stored certificate {id} was refused: {reason}; restore its row from a backup")]
    BadRow {
        /// Which one.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another hub has just stored something under the same id.
    #[error("certificate {id} was stored by another hub at the same time; try again")]
    Taken {
        /// The id.
        id: String,
    },
    /// An enrolment token has no use left, has ended or was withdrawn. Nothing was issued.
    #[error("{}", TokenFault::UsedUp)]
    TokenSpent,
    /// There is no such issuer, or it has no key any more.
    #[error("there is no issuer {id:?} with a key; `eventflow certs ls` lists them")]
    NoSuchIssuer {
        /// The id.
        id: String,
    },
    /// More was revoked than one list holds.
    #[error(
        "{issuer} has more than {max} revoked certificates that have not ended; replace it with `eventflow \
         certs rotate intermediate --now`, which ends them all"
    )]
    TooManyRevoked {
        /// Whose.
        issuer: String,
        /// How many a list holds.
        max: usize,
    },
    /// Something has to be signed with a key that is not in the database.
    #[error(
        "the key of {id} is not in the database; `eventflow certs export-csr FILE --for {}` writes what has to \
         be signed elsewhere",
        wanted.as_str()
    )]
    KeyElsewhere {
        /// Whose key.
        id: String,
        /// What was to be replaced.
        wanted: RotationKind,
    },
    /// The key of the root was to be forgotten while a replacement may need it.
    #[error(
        "replacement {rotation} of certificates is under way and may need the key of {id}; nothing was changed, \
         try again when `eventflow certs status` shows it archived"
    )]
    KeyNeeded {
        /// Whose key.
        id: String,
        /// By what.
        rotation: u64,
    },
    /// The copy of a root's key was not made. Nothing was changed.
    #[error("no copy of the root was written to {}: {reason}; nothing was changed", path.display())]
    NotCopied {
        /// Where it was to be.
        path: std::path::PathBuf,
        /// What the system said, or what was read back.
        reason: String,
    },
    /// A replacement waits for certificates from a root elsewhere.
    #[error(
        "its requests wait to be signed: `eventflow certs sign` does that where the root's key is, `eventflow \
         certs import` takes the result, `eventflow certs withdraw` ends the replacement"
    )]
    SignedElsewhere,
    /// Nothing waits for certificates from a root elsewhere.
    #[error(
        "no replacement waits for certificates that were signed elsewhere; `eventflow certs export-csr` begins \
         one, `eventflow certs status` shows how things stand"
    )]
    NothingRequested,
    /// What was given to be imported is not what the replacement under way needs. Nothing was stored.
    #[error("nothing was imported: {reason}")]
    Import {
        /// What is missing or does not fit.
        reason: String,
    },
    /// A certificate was to be renewed with one that was revoked or has ended.
    #[error("the certificate of {id} does not count any more, so it is not renewed; enrol again")]
    NotCounting {
        /// Whose.
        id: String,
    },
    /// A key was not sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A certificate was not made.
    #[error(transparent)]
    Certificate(#[from] CertError),
    /// The database did not answer.
    #[error("the database did not answer while certificates were {doing}: {reason}; try again, that is safe")]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
}

impl IdentityError {
    /// The exit code that this error ends the hub with: 78 for what only a person can change, 75
    /// for what passes, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::WrongPassphrase { .. }
            | Self::KeyringMissing
            | Self::AuthorityMissing { .. }
            | Self::BadRow { .. }
            | Self::Seal(_) => 78,
            Self::Taken { .. } | Self::Unavailable { .. } | Self::KeyNeeded { .. } => 75,
            Self::Certificate(_)
            | Self::TokenSpent
            | Self::NoSuchIssuer { .. }
            | Self::TooManyRevoked { .. }
            | Self::KeyElsewhere { .. }
            | Self::NotCopied { .. }
            | Self::SignedElsewhere
            | Self::NothingRequested
            | Self::Import { .. }
            | Self::NotCounting { .. } => 1,
        }
    }

    /// What a spoke that asked for a certificate is told.
    #[must_use]
    pub fn to_refusal(&self) -> Refusal {
        match self {
            Self::Certificate(CertError::Request { .. } | CertError::Name { .. }) => {
                Refusal::Invalid { reason: self.to_string() }
            }
            Self::TokenSpent => Refusal::Denied { reason: self.to_string() },
            Self::Unavailable { reason, .. } => Refusal::Unavailable { reason: reason.clone() },
            Self::NoSuchIssuer { id } => Refusal::NotFound { what: format!("an issuer {id:?} with a key") },
            Self::TooManyRevoked { .. } => Refusal::Invalid { reason: self.to_string() },
            Self::Taken { .. } => Refusal::Unavailable { reason: self.to_string() },
            Self::NotCounting { .. } => Refusal::Denied { reason: self.to_string() },
            Self::BadRow { id, .. } if id.starts_with("request/") => {
                Refusal::Invalid { reason: self.to_string() }
            }
            Self::KeyElsewhere { .. }
            | Self::KeyNeeded { .. }
            | Self::NotCopied { .. }
            | Self::SignedElsewhere
            | Self::NothingRequested
            | Self::Import { .. }
            | Self::Certificate(CertError::Unfit { .. } | CertError::NotACertificate { .. }) => {
                Refusal::Invalid { reason: self.to_string() }
            }
            Self::WrongPassphrase { .. }
            | Self::KeyringMissing
            | Self::AuthorityMissing { .. }
            | Self::BadRow { .. }
            | Self::Seal(_)
            | Self::Certificate(_) => {
                Refusal::Denied { reason: "the hub could not issue; see its log".to_owned() }
            }
        }
    }
}

/// Why a peer with a verified chain is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AuthError {
    /// The leaf names nobody.
    #[error(transparent)]
    Certificate(CertError),
    /// The leaf is in no row.
    #[error("the certificate is not in the table; the peer must enrol again")]
    Unknown,
    /// The row says something else than the leaf, or is not a spoke's.
    #[error("the certificate of {id} is not a spoke's, or its row was changed; the peer must enrol again")]
    OtherRole {
        /// Whose row it is.
        id: String,
    },
    /// The certificate was revoked.
    #[error(
        "the certificate of {id} was revoked at {at}{}; an operator has to let it enrol again",
        because(reason)
    )]
    Revoked {
        /// Whose.
        id: String,
        /// When.
        at: Timestamp,
        /// Why, as the operator said; may be empty.
        reason: String,
    },
    /// The certificate ends too soon to begin with it.
    #[error("the certificate of {id} ends at {at}; the peer must renew it")]
    Expired {
        /// Whose.
        id: String,
        /// When it ends.
        at: Timestamp,
    },
    /// Nobody knows whether it counts.
    #[error("the database did not say whether the certificate counts: {reason}; the peer may try again")]
    Unavailable {
        /// What the database said.
        reason: String,
    },
}

impl AuthError {
    /// What the peer is told of its certificate; `None` if it may try again with it.
    pub(crate) fn expulsion(&self) -> Option<Expulsion> {
        match self {
            Self::Certificate(_) | Self::Unknown | Self::OtherRole { .. } => Some(Expulsion::Unknown),
            Self::Revoked { .. } => Some(Expulsion::Revoked),
            Self::Expired { .. } => Some(Expulsion::Ended),
            Self::Unavailable { .. } => None,
        }
    }
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
