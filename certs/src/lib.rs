//! Keys, certificate chains, TLS settings and sealing for eventflow.
//!
//! This crate is pure: it stores nothing, opens no socket and asks no clock. The time is an
//! argument, randomness comes from the crypto provider. What is stored, and when, is `hub`'s
//! business; what a peer may do is not decided by anything in a certificate but by the row that
//! is found by its [`fingerprint`].
//!
//! ```text
//! root (10 years, path length 2)
//!  ├─ issuer of hubs   (path length 0, server and client)  ─ hub leaves
//!  └─ issuer of spokes (path length 0, client only, no DNS) ─ spoke leaves
//! ```
//!
//! All keys are ECDSA P-256 in PKCS#8, which every TLS library and tool in use can read.

mod authority;
mod error;
mod identity;
mod key;
mod leaf;
mod offline;
pub mod pem;
mod protected;
mod random;
mod request;
mod revocation_list;
#[cfg(test)]
mod scene;
pub mod seal;
pub mod tls;

pub use rustls::pki_types::CertificateDer;

pub use authority::{
    Authority, FIRST_GENERATION, IssuerKind, cross_certificate, intermediate, root, root_of_generation,
};
pub use error::CertError;
pub use identity::{Identity, Role, Validity, fingerprint, identity, not_after, trust_domain, validity};
pub use key::SecretKey;
pub use leaf::{LEAF_LIFETIME, hub_leaf, spoke_leaf};
pub use offline::{
    IssuerRequest, Signed, check_cross, check_issuer, check_request, check_root, issuer_request,
    offline_root, request_fingerprint, requested_kind, requested_trust_domain, same_key, same_name,
    sign_issuer, sort_signed,
};
pub use random::bytes as random_bytes;
pub use request::{REQUEST_BYTES_MAX, spoke_request};
pub use revocation_list::{REVOCATION_LIST_LIFETIME, revocation_list};
