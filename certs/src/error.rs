//! What can be wrong with a certificate, a key or a request for one.

/// Why a certificate was not made or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The bytes are not one certificate.
    #[error("not an X.509 certificate in DER: {reason}")]
    NotACertificate {
        /// What did not fit.
        reason: String,
    },
    /// The certificate does not say whose it is in the way that eventflow writes it.
    #[error("the certificate names nobody: {reason}; it was not issued by eventflow")]
    NoIdentity {
        /// What is missing or too many.
        reason: String,
    },
    /// The bytes are not a private key that belongs here.
    #[error("not an ECDSA P-256 private key in PKCS#8: {reason}")]
    NotAKey {
        /// What the crypto library says.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate; restore the two from the same backup")]
    KeyMismatch,
    /// The certificate may not issue others.
    #[error("the certificate is not an authority's; only an authority can issue")]
    NotAnAuthority,
    /// The request for a certificate cannot be granted.
    #[error("the certificate request was refused: {reason}; make a new ECDSA P-256 key and ask again")]
    Request {
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate that was signed elsewhere is not what it has to be.
    #[error("{what} does not fit: {reason}")]
    Unfit {
        /// Which certificate.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file holds no root with its key, or the passphrase is another one.
    #[error("no root could be read: {reason}")]
    NotProtected {
        /// What was missing or did not open.
        reason: String,
    },
    /// A name cannot stand in a certificate.
    #[error(
        "{what} {name:?} cannot stand in a certificate; use a-z, A-Z, 0-9, '.', '-' and '_', at most 128"
    )]
    Name {
        /// Which name it was to be.
        what: &'static str,
        /// The name, cut to 64 characters.
        name: String,
    },
    /// The authority ends before the certificate could begin.
    #[error("the issuing certificate ends at {end}; nothing can be issued from it any more")]
    IssuerEnded {
        /// When it ends.
        end: proto::Timestamp,
    },
    /// The time is outside what a certificate can say.
    #[error("{millis} ms since 1970 cannot stand in a certificate; check the machine's clock")]
    Time {
        /// The time.
        millis: i64,
    },
    /// The crypto library failed.
    #[error("the crypto library failed while {doing}: {reason}")]
    Crypto {
        /// What was tried.
        doing: &'static str,
        /// What it says.
        reason: String,
    },
    /// The TLS settings cannot be made from what was given.
    #[error("the TLS settings could not be made: {reason}")]
    Tls {
        /// What the TLS library says.
        reason: String,
    },
}

impl CertError {
    /// For `map_err`: the crypto library failed while doing this.
    pub(crate) fn crypto<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Crypto { doing, reason: error.to_string() }
    }
}

impl From<rustls::Error> for CertError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls { reason: error.to_string() }
    }
}
