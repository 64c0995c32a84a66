//! The vault: the opened keyring beside the tables that it opens.
//!
//! Every step is insert-if-absent; whoever loses reads what the winner stored.

use std::fmt::Display;

use certs::seal::{self, Dek, KdfCost, Keyring, Passphrase, SealError};
use certs::{Authority, CertificateDer, IssuerKind, LEAF_LIFETIME, Role, SecretKey};
use db::{Audit, CertificateRow, Certificates, EnrolmentRow, KeyringRow, RecordError};
use proto::enrol::TokenId;
use proto::{HubId, Timestamp};

use super::chain::{self, HUB_ISSUER, ROOT, SPOKE_ISSUER};
use super::error::{AuthError, IdentityError};

/// The trust domain of roots that hubs make.
const TRUST_DOMAIN: &str = "eventflow.internal";

/// The tables and the key that opens what is sealed in them.
#[derive(Debug)]
pub(super) struct Vault {
    certificates: Certificates,
    dek: Dek,
}

impl Vault {
    /// Opens the keyring, or makes one if there has never been anything.
    pub(super) async fn open(
        certificates: Certificates,
        passphrase: &Passphrase,
        now: Timestamp,
        cost: KdfCost,
    ) -> Result<Self, IdentityError> {
        let keyrings = certificates.keyrings();
        let mut stored = keyrings.openable().await.map_err(unavailable("read"))?;
        if stored.is_empty() {
            if certificates.any().await.map_err(unavailable("read"))? {
                return Err(IdentityError::KeyringMissing);
            }
            let (keyring, dek) = blocking({
                let passphrase = passphrase.clone();
                move || seal::new_keyring(&passphrase, cost)
            })
            .await?;
            let row = keyring_row(keyring, now);
            if certificates.persist_keyring(&row).await.map_err(unavailable("stored"))? {
                tracing::info!(kek_id = %row.kek_id, "a keyring was made");
                return Ok(Self { certificates, dek });
            }
            stored = keyrings.openable().await.map_err(unavailable("read"))?;
        }
        let (_, dek) = open_any(stored, passphrase).await?;
        Ok(Self { certificates, dek })
    }

    /// The root. It is made only if no certificate was ever stored.
    pub(super) async fn root(&self, now: Timestamp) -> Result<Authority, IdentityError> {
        if let Some(root) = self.authority(ROOT).await? {
            return Ok(root);
        }
        if self.certificates.any().await.map_err(unavailable("read"))? {
            // Another hub may have stored it between the two looks.
            return self.authority(ROOT).await?.ok_or(IdentityError::AuthorityMissing { id: ROOT });
        }
        let root = certs::root(TRUST_DOMAIN, now)?;
        let row = chain::authority_row(ROOT, "root", ROOT, &root, &self.dek)?;
        if self.persist(&row).await? {
            tracing::info!(until = %row.not_after, "a root certificate was made");
            return Ok(root);
        }
        self.authority(ROOT).await?.ok_or(IdentityError::AuthorityMissing { id: ROOT })
    }

    /// An issuer below `root`. It is made if there is none or the one that there is comes to its end.
    pub(super) async fn issuer(
        &self,
        root: &Authority,
        kind: IssuerKind,
        now: Timestamp,
    ) -> Result<Authority, IdentityError> {
        let id = match kind {
            IssuerKind::Hub => HUB_ISSUER,
            IssuerKind::Spoke => SPOKE_ISSUER,
        };
        if let Some(issuer) = self.authority(id).await? {
            if !chain::due(issuer.certificate(), now)? {
                return Ok(issuer);
            }
            // Its leaves stay good: peers trust the root and are shown the whole chain.
            self.revoke(id, now).await?;
        }
        let issuer = certs::intermediate(root, kind, now)?;
        let row = chain::authority_row(id, "issuer", ROOT, &issuer, &self.dek)?;
        if self.persist(&row).await? {
            tracing::info!(id, until = %row.not_after, "an issuing certificate was made");
            return Ok(issuer);
        }
        self.authority(id).await?.ok_or(IdentityError::AuthorityMissing { id })
    }

    /// A new leaf for the hub. Its row takes the place of the former one's.
    pub(super) async fn hub_leaf(
        &self,
        issuer: &Authority,
        hub: &HubId,
        now: Timestamp,
    ) -> Result<(CertificateDer<'static>, SecretKey), IdentityError> {
        let (leaf, key) = certs::hub_leaf(issuer, hub, now, LEAF_LIFETIME)?;
        let row = chain::row(hub.as_str(), Role::Hub.as_str(), "hub", HUB_ISSUER, &leaf)?;
        self.revoke(hub.as_str(), now).await?;
        if self.persist(&row).await? { Ok((leaf, key)) } else { Err(IdentityError::Taken { id: row.id }) }
    }

    /// Stores a row; `false` if an active one has its id.
    pub(super) async fn persist(&self, row: &CertificateRow) -> Result<bool, IdentityError> {
        self.certificates.persist(row).await.map_err(unavailable("stored"))
    }

    /// Takes a use of a token, if one is given, and stores a row with its line of the audit.
    pub(super) async fn enrol(
        &self,
        token: Option<TokenId>,
        row: &CertificateRow,
        audit: &Audit,
        now: Timestamp,
    ) -> Result<EnrolmentRow, IdentityError> {
        let tokens = self.certificates.tokens();
        tokens.enrol(token, row, audit, now).await.map_err(unavailable("stored"))
    }

    /// The row of a leaf, active or revoked.
    pub(super) async fn by_fingerprint(
        &self,
        fingerprint: &[u8; 32],
    ) -> Result<Option<CertificateRow>, AuthError> {
        found(self.certificates.by_fingerprint(fingerprint).await)
            .map_err(|error| AuthError::Unavailable { reason: error.to_string() })
    }

    async fn revoke(&self, id: &str, now: Timestamp) -> Result<(), IdentityError> {
        // Whether there was one to revoke makes no difference.
        self.certificates.revoke(id, now).await.map(|_| ()).map_err(unavailable("replaced"))
    }

    /// The authority of an active row; `None` if there is no such row, or none with a key.
    pub(super) async fn stored_authority(&self, id: &str) -> Result<Option<Authority>, IdentityError> {
        let row = found(self.certificates.active(id).await).map_err(unavailable("read"))?;
        row.filter(|row| row.key.is_some()).map(|row| chain::authority(row, &self.dek)).transpose()
    }

    async fn authority(&self, id: &'static str) -> Result<Option<Authority>, IdentityError> {
        let row = found(self.certificates.active(id).await).map_err(unavailable("read"))?;
        row.map(|row| chain::authority(row, &self.dek)).transpose()
    }
}

/// A row that is missing is an answer here.
fn found<T>(row: Result<T, RecordError>) -> Result<Option<T>, RecordError> {
    match row {
        Ok(row) => Ok(Some(row)),
        Err(RecordError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unavailable<E: Display>(doing: &'static str) -> impl FnOnce(E) -> IdentityError {
    move |error| IdentityError::Unavailable { doing, reason: error.to_string() }
}

/// The first keyring that opens, and its data key: hubs may still have a former passphrase. The error
/// is about the first of them, the active one.
pub(crate) async fn open_any(
    stored: Vec<KeyringRow>,
    passphrase: &Passphrase,
) -> Result<(String, Dek), IdentityError> {
    let mut first = None;
    for row in stored {
        let kek_id = row.kek_id.clone();
        match open(row, passphrase).await {
            Ok(dek) => return Ok((kek_id, dek)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or(IdentityError::KeyringMissing))
}

async fn open(row: KeyringRow, passphrase: &Passphrase) -> Result<Dek, IdentityError> {
    let (kek_id, created) = (row.kek_id.clone(), row.created);
    let keyring = Keyring {
        kek_id: row.kek_id,
        kdf: row.kdf,
        cost: KdfCost { memory_kib: row.memory_kib, passes: row.passes, lanes: row.lanes },
        salt: row.salt,
        dek_id: row.dek_id,
        wrapped: row.wrapped,
        nonce: row.nonce,
    };
    let passphrase = passphrase.clone();
    match blocking(move || seal::open_keyring(&passphrase, &keyring)).await {
        Err(IdentityError::Seal(SealError::WrongPassphraseOrTampered { .. })) => {
            Err(IdentityError::WrongPassphrase { kek_id, created })
        }
        opened => opened,
    }
}

/// Deriving a key takes a good part of a second and must not hold up other tasks.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SealError> + Send + 'static,
) -> Result<T, IdentityError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(SealError::Crypto { reason: error.to_string() }.into()),
    }
}

pub(crate) fn keyring_row(keyring: Keyring, created: Timestamp) -> KeyringRow {
    KeyringRow {
        kek_id: keyring.kek_id,
        kdf: keyring.kdf,
        memory_kib: keyring.cost.memory_kib,
        passes: keyring.cost.passes,
        lanes: keyring.cost.lanes,
        salt: keyring.salt,
        dek_id: keyring.dek_id,
        wrapped: keyring.wrapped,
        nonce: keyring.nonce,
        created,
    }
}
