//! The hub's identity and those that it gives to spokes.
//!
//! The authorities live in the table `certificate`, their keys sealed under the keyring. They are
//! made at the first start of the first hub: each step inserts if nobody has, and whoever comes
//! second reads what the first has stored. A root is made only into an empty table, so neither a
//! wrong passphrase nor a lost row ever leads to a second one. The hub's own leaf has a new key at
//! each start and at half its life; that key is never stored.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certs::seal::{KdfCost, Passphrase};
use certs::tls::{self, HubCertificate};
use certs::{Authority, CertificateDer, IssuerKind, LEAF_LIFETIME, Role};
use db::{CertificateRow, Certificates};
use proto::enrol::Enrolled;
use proto::{HubId, ServiceName, Timestamp};
use tokio_rustls::rustls::ServerConfig;

mod chain;
mod enrolment;
mod error;
mod keys;
mod lists;

pub(crate) use enrolment::Entry;
pub(crate) use error::AuthError;
pub use error::IdentityError;
pub(crate) use keys::{blocking, keyring_row, open_any};

use chain::SPOKE_ISSUER;
use keys::Vault;

/// How long before its end a certificate is treated as ended.
pub(crate) const EXPIRED_BEFORE: Duration = Duration::from_mins(10);

/// A peer whose certificate was found in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its service.
    pub(crate) service: ServiceName,
    /// Its instance, unique for each enrolment.
    pub(crate) instance: String,
    /// The id of the certificate that signed its leaf.
    pub(crate) issuer: String,
    /// SHA-256 of its leaf.
    pub(crate) fingerprint: [u8; 32],
    /// When its leaf counts as ended: a little before its very end.
    pub(crate) not_after: Timestamp,
}

/// What a look at the hub's own certificates led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// They are good.
    NotDue {
        /// Until then.
        until: Timestamp,
    },
    /// The leaf is a new one; the next handshake shows it.
    Renewed {
        /// When the next is due.
        until: Timestamp,
    },
}

/// The opened keyring, the chain and what is shown to peers.
#[derive(Debug)]
pub(crate) struct HubIdentity {
    vault: Vault,
    hub: HubId,
    root: CertificateDer<'static>,
    issuers: RwLock<Arc<Issuers>>,
    shown: Arc<HubCertificate>,
    server_config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Issuers {
    hub: Authority,
    spoke: Authority,
    leaf_due: Timestamp,
}

impl HubIdentity {
    /// Opens the keyring and loads the chain; makes what a first start has to make.
    ///
    /// # Errors
    /// [`IdentityError`]; nothing has been written if the passphrase is wrong.
    pub(crate) async fn load(
        certificates: &Certificates,
        passphrase: &Passphrase,
        hub: &HubId,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        Self::load_with_cost(certificates, passphrase, hub, now, KdfCost::default()).await
    }

    /// As [`Self::load`], with another cost for a keyring that is made now.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) async fn load_with_cost(
        certificates: &Certificates,
        passphrase: &Passphrase,
        hub: &HubId,
        now: Timestamp,
        cost: KdfCost,
    ) -> Result<Self, IdentityError> {
        let vault = Vault::open(certificates.clone(), passphrase, now, cost).await?;
        let root = vault.root(now).await?;
        let hub_issuer = vault.issuer(&root, IssuerKind::Hub, now).await?;
        let spoke_issuer = vault.issuer(&root, IssuerKind::Spoke, now).await?;
        let (leaf, key) = vault.hub_leaf(&hub_issuer, hub, now).await?;
        let leaf_due = half_life(now, &leaf)?;
        let chain = vec![leaf, hub_issuer.certificate().clone()];
        let shown = Arc::new(HubCertificate::new(chain, &key)?);
        let root = root.certificate().clone();
        let server_config = tls::server_config(std::slice::from_ref(&root), Arc::clone(&shown) as Arc<_>)?;
        let issuers = Issuers { hub: hub_issuer, spoke: spoke_issuer, leaf_due };
        Ok(Self {
            vault,
            hub: hub.clone(),
            root,
            issuers: RwLock::new(Arc::new(issuers)),
            shown,
            server_config: Arc::new(server_config),
        })
    }

    /// The root that peers trust.
    pub(crate) fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The TLS settings for the listener; they show the newest leaf by themselves.
    #[must_use]
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server_config)
    }

    /// Issues a leaf for a new instance of `service`, for the key of `csr`, to a process of the hub's own
    /// user, and stores its row before answering. The addresses of hubs are left to the caller.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if the request is refused, [`IdentityError::Unavailable`] if
    /// the row was not stored.
    pub(crate) async fn issue_spoke(
        &self,
        csr: &[u8],
        service: &ServiceName,
        now: Timestamp,
    ) -> Result<Enrolled, IdentityError> {
        self.enrol(csr, service, Entry::OwnUser, now).await
    }

    /// A leaf for a new instance of `service`, and its row, which is not stored yet.
    fn new_spoke(
        &self,
        csr: &[u8],
        service: &ServiceName,
        now: Timestamp,
    ) -> Result<(Enrolled, CertificateRow), IdentityError> {
        let issuers = self.issuers();
        let instance = uuid::Uuid::now_v7().to_string();
        let leaf = certs::spoke_leaf(&issuers.spoke, csr, service, &instance, now, LEAF_LIFETIME)?;
        let id = spoke_id(service.as_str(), &instance);
        let row = chain::row(&id, Role::Spoke.as_str(), service.as_str(), SPOKE_ISSUER, &leaf)?;
        let enrolled = Enrolled {
            chain: vec![leaf.to_vec(), issuers.spoke.certificate().to_vec()],
            roots: vec![self.root.to_vec()],
            hubs: Vec::new(),
            not_after_ms: row.not_after.millis(),
        };
        Ok((enrolled, row))
    }

    /// Who the holder of `leaf` is, by its row. TLS must have verified the chain.
    ///
    /// Each call reads the table, so that a revocation counts for the very next connection.
    ///
    /// # Errors
    /// [`AuthError`] if there is no such row, it does not fit, or it does not count any more.
    pub(crate) async fn authenticate(&self, leaf: &[u8], now: Timestamp) -> Result<Peer, AuthError> {
        let fingerprint = certs::fingerprint(leaf);
        let claimed = certs::identity(leaf).map_err(AuthError::Certificate)?;
        let row = self.vault.by_fingerprint(&fingerprint).await?.ok_or(AuthError::Unknown)?;
        let fits = row.role == claimed.role.as_str()
            && row.service == claimed.service
            && row.id == spoke_id(&claimed.service, &claimed.instance);
        if claimed.role != Role::Spoke || !fits {
            return Err(AuthError::OtherRole { id: row.id });
        }
        if let Some(at) = row.revoked {
            return Err(AuthError::Revoked { id: row.id, at, reason: row.reason.unwrap_or_default() });
        }
        let service = ServiceName::parse(&row.service).map_err(|_| AuthError::Unknown)?;
        let not_after = before(row.not_after, EXPIRED_BEFORE);
        if not_after <= now {
            return Err(AuthError::Expired { id: row.id, at: row.not_after });
        }
        let issuer = row.issuer;
        Ok(Peer { service, instance: claimed.instance, issuer, fingerprint, not_after })
    }

    /// Whether the certificate of `peer`, which was in order once, still is.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub(crate) async fn still_counts(&self, peer: &Peer) -> Result<(), AuthError> {
        let row = self.vault.by_fingerprint(&peer.fingerprint).await?.ok_or(AuthError::Unknown)?;
        match row.revoked {
            Some(at) => Err(AuthError::Revoked { id: row.id, at, reason: row.reason.unwrap_or_default() }),
            None => Ok(()),
        }
    }

    /// Makes a new leaf for the hub if the one that is shown has lived for half its life, and new
    /// issuers below the root when they come to their end. To be called now and then.
    ///
    /// # Errors
    /// [`IdentityError`]; the former leaf is shown on.
    pub(crate) async fn renew_leaf_if_due(&self, now: Timestamp) -> Result<Renewal, IdentityError> {
        let issuers = self.issuers();
        let issuers_due =
            chain::due(issuers.hub.certificate(), now)? || chain::due(issuers.spoke.certificate(), now)?;
        if !issuers_due && now < issuers.leaf_due {
            return Ok(Renewal::NotDue { until: issuers.leaf_due });
        }
        let (hub, spoke) = if issuers_due {
            let root = self.vault.root(now).await?;
            let hub = self.vault.issuer(&root, IssuerKind::Hub, now).await?;
            (hub, self.vault.issuer(&root, IssuerKind::Spoke, now).await?)
        } else {
            (issuers.hub.clone(), issuers.spoke.clone())
        };
        let (leaf, key) = self.vault.hub_leaf(&hub, &self.hub, now).await?;
        let leaf_due = half_life(now, &leaf)?;
        self.shown.replace(vec![leaf, hub.certificate().clone()], &key)?;
        let next = Arc::new(Issuers { hub, spoke, leaf_due });
        *self.issuers.write().unwrap_or_else(PoisonError::into_inner) = next;
        tracing::info!(until = %leaf_due, "the hub shows a new certificate");
        Ok(Renewal::Renewed { until: leaf_due })
    }

    fn issuers(&self) -> Arc<Issuers> {
        Arc::clone(&self.issuers.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn spoke_id(service: &str, instance: &str) -> String {
    format!("{service}/{instance}")
}

/// Half way between now and the end of `leaf`.
fn half_life(now: Timestamp, leaf: &[u8]) -> Result<Timestamp, IdentityError> {
    Ok(now.plus(certs::not_after(leaf)?.since(now) / 2))
}

/// The moment `span` earlier, or the first one that there is.
fn before(at: Timestamp, span: Duration) -> Timestamp {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().saturating_sub(millis)).unwrap_or_default()
}

#[cfg(test)]
mod tampering;
#[cfg(test)]
pub(crate) mod tests;
