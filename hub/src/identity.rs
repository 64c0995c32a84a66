//! The hub's identity and those that it gives to spokes.
//!
//! The authorities live in the table `certificate`, their keys sealed under the keyring. The first ones
//! are made at the first start of the first hub: each step inserts if nobody has, and whoever comes
//! second reads what the first has stored. A root is made only into an empty table, so neither a
//! wrong passphrase nor a lost row ever leads to a second one. Later ones are made by a replacement
//! ([`rotation`]), and which of them count for what, [`standing`] says. The hub's own leaf has a new key
//! at each start, at half its life and with each new issuer; that key is never stored.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use certs::seal::{KdfCost, Passphrase};
use certs::tls::{self, HubCertificate};
use certs::{Authority, CertificateDer, Role};
use db::{CertificateRow, Certificates, Rotations};
use proto::enrol::Enrolled;
use proto::{HubId, ServiceName, Timestamp};
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;

mod chain;
mod elsewhere;
mod enrolment;
mod error;
pub(crate) mod expiry;
mod keys;
mod lists;
mod renewal;
mod root_key;
pub(crate) mod rotation;
pub(crate) mod standing;
mod succession;
mod times;
mod unknown;

pub(crate) use elsewhere::Imported;
pub(crate) use enrolment::Entry;
pub(crate) use error::AuthError;
pub use error::IdentityError;
pub(crate) use keys::{blocking, keyring_row, open_any};
pub use root_key::{ForgetRootKey, ForgottenRootKey, RootCopy, forget_root_key};
pub use times::{LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN, LeafLifetimeError, LeafTimes, RENEW_WITHIN};

use expiry::Ends;
use keys::Vault;
use standing::Standing;
use unknown::Unknown;

/// How long before its end a certificate is treated as ended, at most.
const ENDED_BEFORE_MAX: Duration = Duration::from_mins(10);

/// The part of its life before its end at which a certificate is treated as ended, if that is less.
const ENDED_BEFORE_PART: u32 = 10;

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
    /// When its leaf was made, by the database's clock.
    pub(crate) made: Timestamp,
    /// When its leaf has lived for half its life.
    pub(crate) half_life: Timestamp,
    /// When its leaf counts as ended: a little before its very end.
    pub(crate) not_after: Timestamp,
}

/// What a look at the hub's own leaf led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It is good.
    NotDue {
        /// Until then.
        until: Timestamp,
    },
    /// It is a new one; the next handshake shows it.
    Renewed {
        /// When the next is due.
        until: Timestamp,
    },
}

/// Since when leaves are to be newer than they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeavesRotated {
    /// By which rotation.
    pub(crate) rotation: u64,
    /// Leaves that were made before are to be renewed.
    pub(crate) at: Timestamp,
}

/// The opened keyring, the authorities and what is shown to peers.
#[derive(Debug)]
pub(crate) struct HubIdentity {
    vault: Vault,
    hub: HubId,
    times: LeafTimes,
    current: RwLock<Arc<Current>>,
    shown: Arc<HubCertificate>,
    unknown: Unknown,
    /// The right to replace what is current: one has it at a time.
    replacing: Semaphore,
}

/// What a hub works with from one replacement of it to the next.
#[derive(Debug)]
struct Current {
    authorities: Arc<Authorities>,
    leaf: OwnLeaf,
    server_config: Arc<ServerConfig>,
}

/// The authorities as they were read.
#[derive(Debug)]
struct Authorities {
    standing: Standing,
    hub: Authority,
    spoke: Authority,
    roots: Vec<CertificateDer<'static>>,
    cross: Vec<CertificateDer<'static>>,
    rows: Vec<CertificateRow>,
    /// What waits to be signed elsewhere for the replacement that has begun.
    requests: Vec<CertificateRow>,
    leaves: Option<LeavesRotated>,
}

/// The hub's own leaf, without its key.
#[derive(Debug, Clone)]
struct OwnLeaf {
    chain: Vec<CertificateDer<'static>>,
    due: Timestamp,
    ends: Timestamp,
    /// The last rotation of leaves that it was made after.
    rotation: Option<u64>,
}

impl HubIdentity {
    /// Opens the keyring and loads the authorities; makes what a first start has to make.
    ///
    /// # Errors
    /// [`IdentityError`]; nothing has been written if the passphrase is wrong.
    pub(crate) async fn load(
        certificates: &Certificates,
        passphrase: &Passphrase,
        hub: &HubId,
        times: LeafTimes,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let vault = Vault::open(certificates.clone(), passphrase, now, KdfCost::default()).await?;
        Self::of(vault, hub, times, now).await
    }

    async fn of(vault: Vault, hub: &HubId, times: LeafTimes, now: Timestamp) -> Result<Self, IdentityError> {
        vault.make_first(now).await?;
        let authorities = Arc::new(vault.authorities().await?);
        let (leaf, key) = vault.hub_leaf(&authorities, hub, times.lifetime, now).await?;
        let shown = Arc::new(HubCertificate::new(leaf.chain.clone(), &key)?);
        let server_config = server_config(&authorities, &shown)?;
        let current = RwLock::new(Arc::new(Current { authorities, leaf, server_config }));
        let replacing = Semaphore::new(1);
        let unknown = Unknown::default();
        Ok(Self { vault, hub: hub.clone(), times, current, shown, unknown, replacing })
    }

    /// Reads the authorities anew, trusts what is trusted now, and shows a new leaf if the one that is
    /// shown does not hang from what issues now.
    ///
    /// # Errors
    /// [`IdentityError`]; what was there before counts on.
    pub(crate) async fn reload(&self, now: Timestamp) -> Result<(), IdentityError> {
        let _replacing = self.replacing.acquire().await.expect("the semaphore is never closed");
        let authorities = Arc::new(self.vault.authorities().await?);
        let server_config = server_config(&authorities, &self.shown)?;
        let leaf = self.current().leaf.clone();
        let fits = leaf.chain.get(1..) == Some(authorities.above_hubs().as_slice())
            && leaf.rotation == authorities.leaves.map(|leaves| leaves.rotation);
        // Peers are believed from now on, before anything is shown that hangs from what is new.
        let believes = |leaf| Current {
            authorities: Arc::clone(&authorities),
            leaf,
            server_config: Arc::clone(&server_config),
        };
        self.replace(believes(leaf));
        if !fits {
            let leaf = self.show_new_leaf(&authorities, now).await?;
            self.replace(believes(leaf));
        }
        Ok(())
    }

    /// Makes a new leaf for the hub if the one that is shown has lived for half its life. To be called
    /// now and then.
    ///
    /// # Errors
    /// [`IdentityError`]; the former leaf is shown on.
    pub(crate) async fn renew_leaf_if_due(&self, now: Timestamp) -> Result<Renewal, IdentityError> {
        let until = self.current().leaf.due;
        if now < until {
            return Ok(Renewal::NotDue { until });
        }
        let _replacing = self.replacing.acquire().await.expect("the semaphore is never closed");
        let authorities = Arc::new(self.vault.authorities().await?);
        let server_config = server_config(&authorities, &self.shown)?;
        let leaf = self.show_new_leaf(&authorities, now).await?;
        let until = leaf.due;
        self.replace(Current { authorities, leaf, server_config });
        Ok(Renewal::Renewed { until })
    }

    /// The root in use.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.current().authorities.roots.first().cloned().expect("there is a root in use at any time")
    }

    /// All roots that peers are to trust, the one in use first.
    pub(crate) fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.current().authorities.roots.clone()
    }

    /// The id of the issuer of spokes in use.
    pub(crate) fn spoke_issuer(&self) -> String {
        self.current().authorities.standing.spoke_issuer.to_string()
    }

    /// Since when leaves are to be newer than they were.
    pub(crate) fn leaves_rotated(&self) -> Option<LeavesRotated> {
        self.current().authorities.leaves
    }

    /// The rows of the authorities and which of them count for what.
    pub(crate) fn standing(&self) -> (Vec<CertificateRow>, Standing) {
        let current = self.current();
        (current.authorities.rows.clone(), current.authorities.standing.clone())
    }

    /// When what this hub cannot do without ends.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] if a certificate cannot be read.
    pub(crate) fn ends(&self) -> Result<Ends, IdentityError> {
        let current = self.current();
        let authorities = &current.authorities;
        Ok(Ends {
            root: certs::not_after(&self.root())?,
            hub_issuer: certs::not_after(authorities.hub.certificate())?,
            spoke_issuer: certs::not_after(authorities.spoke.certificate())?,
            hub_leaf: current.leaf.ends,
            leaf_lifetime: self.times.lifetime,
            root_key_is_elsewhere: self.root_key_is_elsewhere(),
        })
    }

    /// How long leaves live, and how much time their holders get.
    pub(crate) fn times(&self) -> LeafTimes {
        self.times
    }

    /// Whether nothing can be signed by the root here.
    pub(crate) fn root_key_is_elsewhere(&self) -> bool {
        let current = self.current();
        let id = current.authorities.standing.root.to_string();
        let mut active = current.authorities.rows.iter().filter(|row| row.version == 0);
        active.any(|row| row.id == id && row.key.is_none())
    }

    /// The replacements that this identity follows.
    pub(crate) fn rotations(&self) -> Rotations {
        self.vault.rotations()
    }

    /// The TLS settings for the next handshake.
    #[must_use]
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server_config)
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
        let instance = uuid::Uuid::now_v7().to_string();
        let (row, enrolled) = self.spoke_leaf(csr, service, &instance, now)?;
        Ok((enrolled, row))
    }

    /// A leaf for an instance of `service`: its row, which is not stored yet, and what its holder gets.
    fn spoke_leaf(
        &self,
        csr: &[u8],
        service: &ServiceName,
        instance: &str,
        now: Timestamp,
    ) -> Result<(CertificateRow, Enrolled), IdentityError> {
        let current = self.current();
        let authorities = &current.authorities;
        let leaf = certs::spoke_leaf(&authorities.spoke, csr, service, instance, now, self.times.lifetime)?;
        let id = spoke_id(service.as_str(), instance);
        let issuer = authorities.standing.spoke_issuer.to_string();
        let row = chain::row(&id, Role::Spoke.as_str(), service.as_str(), &issuer, &leaf)?;
        let above = std::iter::once(authorities.spoke.certificate()).chain(&authorities.cross);
        let enrolled = Enrolled {
            chain: std::iter::once(&leaf).chain(above).map(|der| der.to_vec()).collect(),
            roots: authorities.roots.iter().map(|root| root.to_vec()).collect(),
            hubs: Vec::new(),
            not_after_ms: row.not_after.millis(),
        };
        Ok((row, enrolled))
    }

    /// Who the holder of `leaf` is, by its row. TLS must have verified the chain.
    ///
    /// Each call reads the table, so that a revocation counts for the very next connection; only of leaves
    /// that were in no row it is remembered for some seconds. If it is shown for the first time, the certificates that it has taken the place of end with this.
    ///
    /// # Errors
    /// [`AuthError`] if there is no such row, it does not fit, or it does not count any more.
    pub(crate) async fn authenticate(&self, leaf: &[u8], now: Timestamp) -> Result<Peer, AuthError> {
        let fingerprint = certs::fingerprint(leaf);
        let claimed = certs::identity(leaf).map_err(AuthError::Certificate)?;
        if self.unknown.holds(&fingerprint, now) {
            return Err(AuthError::Unknown);
        }
        let Some(found) = self.vault.leaf(&fingerprint).await? else {
            self.unknown.remember(fingerprint, now);
            return Err(AuthError::Unknown);
        };
        let row = &found.row;
        let id = || row.id.clone();
        let fits = row.role == claimed.role.as_str()
            && row.service == claimed.service
            && row.id == spoke_id(&claimed.service, &claimed.instance);
        if claimed.role != Role::Spoke || !fits {
            return Err(AuthError::OtherRole { id: id() });
        }
        if let Some(at) = row.revoked {
            return Err(AuthError::Revoked { id: id(), at, reason: row.reason.clone().unwrap_or_default() });
        }
        let service = ServiceName::parse(&row.service).map_err(|_| AuthError::Unknown)?;
        let not_after = counts_until(row.not_before, row.not_after);
        if not_after <= now {
            return Err(AuthError::Expired { id: id(), at: row.not_after });
        }
        if row.version == 0 && found.former_counts {
            self.vault.revoke_superseded(&row.id, now).await?;
        }
        let half_life = row.not_before.plus(row.not_after.since(row.not_before) / 2);
        let (issuer, made) = (row.issuer.clone(), found.created);
        Ok(Peer { service, instance: claimed.instance, issuer, fingerprint, made, half_life, not_after })
    }

    /// Whether the certificate of `peer`, which was in order once, still is.
    ///
    /// # Errors
    /// As [`Self::authenticate`].
    pub(crate) async fn still_counts(&self, peer: &Peer) -> Result<(), AuthError> {
        let row = self.vault.leaf(&peer.fingerprint).await?.ok_or(AuthError::Unknown)?.row;
        match row.revoked {
            Some(at) => Err(AuthError::Revoked { id: row.id, at, reason: row.reason.unwrap_or_default() }),
            None => Ok(()),
        }
    }

    async fn show_new_leaf(
        &self,
        authorities: &Authorities,
        now: Timestamp,
    ) -> Result<OwnLeaf, IdentityError> {
        let (leaf, key) = self.vault.hub_leaf(authorities, &self.hub, self.times.lifetime, now).await?;
        self.shown.replace(leaf.chain.clone(), &key)?;
        let issuer = authorities.standing.hub_issuer;
        tracing::info!(until = %leaf.ends, %issuer, "the hub shows a new certificate");
        Ok(leaf)
    }

    fn replace(&self, next: Current) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authorities {
    /// What is shown with a hub's leaf.
    fn above_hubs(&self) -> Vec<CertificateDer<'static>> {
        std::iter::once(self.hub.certificate()).chain(&self.cross).cloned().collect()
    }
}

/// Settings that trust what is trusted now. They are new ones each time, because those of live
/// connections do not change.
fn server_config(
    authorities: &Authorities,
    shown: &Arc<HubCertificate>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    Ok(Arc::new(tls::server_config(&authorities.roots, Arc::clone(shown) as Arc<_>)?))
}

fn spoke_id(service: &str, instance: &str) -> String {
    format!("{service}/{instance}")
}

/// When a certificate with this validity counts as ended: a little before its end, so that no link is
/// made with one that is about to be cut.
fn counts_until(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let span = (not_after.since(not_before) / ENDED_BEFORE_PART).min(ENDED_BEFORE_MAX);
    before(not_after, span)
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
