//! The vault: the opened keyring beside the tables that it opens.
//!
//! Every step is insert-if-absent; whoever loses reads what the winner stored.

use std::fmt::Display;
use std::time::Duration;

use certs::seal::{self, Dek, KdfCost, Keyring, Passphrase, SealError};
use certs::{Authority, CertificateDer, IssuerKind, IssuerRequest, Role, SecretKey};
use db::{
    Audit, AuthorityMark, CertificateRow, Certificates, EnrolmentRow, KeyringRow, LeafRow, RecordError,
    Rotations,
};
use proto::enrol::TokenId;
use proto::rotation::RotationStep;
use proto::{HubId, Timestamp};

use super::chain;
use super::error::{AuthError, IdentityError};
use super::standing::{AuthorityId, AuthorityKind, Known, Standing};
use super::{Authorities, LeavesRotated, OwnLeaf};

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

    /// Makes the first authorities: a root only if no certificate was ever stored, and below it the
    /// issuers that there never were. Whoever finds that another hub was faster takes what that one made.
    pub(super) async fn make_first(&self, now: Timestamp) -> Result<(), IdentityError> {
        let mut known = self.authority_rows().await?;
        if !has(&known, AuthorityKind::Root) {
            if self.certificates.any().await.map_err(unavailable("read"))? {
                // Another hub may have stored it between the two looks.
                known = self.authority_rows().await?;
                if !has(&known, AuthorityKind::Root) {
                    return Err(IdentityError::AuthorityMissing { id: AuthorityKind::Root.name() });
                }
            } else {
                let (root, id) = (certs::root(TRUST_DOMAIN, now)?, first_of(AuthorityKind::Root));
                self.store_first(chain::authority_row(id, id, &root, &self.dek)?).await?;
                known = self.authority_rows().await?;
            }
        }
        for (kind, issues_for) in
            [(AuthorityKind::HubIssuer, IssuerKind::Hub), (AuthorityKind::SpokeIssuer, IssuerKind::Spoke)]
        {
            if has(&known, kind) {
                continue;
            }
            let id = first_of(AuthorityKind::Root);
            let root = known.iter().find(|row| row.id == id.to_string() && row.version == 0);
            let root =
                root.ok_or_else(|| IdentityError::AuthorityMissing { id: AuthorityKind::Root.name() })?;
            let issuer = certs::intermediate(&chain::authority(root, &self.dek)?, issues_for, now)?;
            self.store_first(chain::authority_row(first_of(kind), id, &issuer, &self.dek)?).await?;
        }
        Ok(())
    }

    /// The authorities as they stand now.
    pub(super) async fn authorities(&self) -> Result<Authorities, IdentityError> {
        let rotations = self.rotations();
        // In this order: a replacement is never read as less far than the rows that belong to it.
        let rows = self.authority_rows().await?;
        let open = rotations.open().await.map_err(unavailable("read"))?;
        let leaves = rotations.leaves_activated().await.map_err(unavailable("read"))?;
        let waits = open.as_ref().is_some_and(|open| open.rotation.step == RotationStep::Begun);
        let requests = match waits {
            true => rotations.requests().await.map_err(unavailable("read"))?,
            false => Vec::new(),
        };
        let marks = rotations.marks().await.map_err(unavailable("read"))?;
        let standing = Standing::of(&known(&rows), open.as_ref().map(|open| &open.rotation))?;
        // A row that was changed is refused now, not on the day that its key is needed.
        for row in rows.iter().filter(|row| row.version == 0) {
            chain::check(row, &marks, &self.dek)?;
        }
        let der = |id: &AuthorityId| Ok(CertificateDer::from(active(&rows, *id)?.cert.clone()));
        Ok(Authorities {
            hub: chain::authority(active(&rows, standing.hub_issuer)?, &self.dek)?,
            spoke: chain::authority(active(&rows, standing.spoke_issuer)?, &self.dek)?,
            roots: standing.roots.iter().map(der).collect::<Result<_, IdentityError>>()?,
            cross: standing.cross.iter().map(der).collect::<Result<_, IdentityError>>()?,
            leaves: leaves.map(|(rotation, at)| LeavesRotated { rotation, at }),
            standing,
            rows,
            requests,
        })
    }

    /// The authority of an active row; `None` if there is no such row, or none with a key.
    pub(super) async fn stored_authority(&self, id: &str) -> Result<Option<Authority>, IdentityError> {
        let row = found(self.certificates.active(id).await).map_err(unavailable("read"))?;
        let row = row.filter(|row| row.key.is_some());
        row.as_ref().map(|row| chain::authority(row, &self.dek)).transpose()
    }

    /// An authority with its key, if that is here.
    pub(super) fn opened(&self, row: &CertificateRow) -> Result<Authority, IdentityError> {
        chain::authority(row, &self.dek)
    }

    /// The row of a request that is signed elsewhere, its key sealed.
    pub(super) fn request(
        &self,
        id: &str,
        request: &IssuerRequest,
        now: Timestamp,
    ) -> Result<CertificateRow, IdentityError> {
        chain::request_row(id, request, &self.dek, now)
    }

    /// The key of a request, which is the one that the request is for.
    pub(super) fn requested(&self, row: &CertificateRow) -> Result<SecretKey, IdentityError> {
        chain::requested(row, &self.dek)
    }

    /// What a root is known by whose key is elsewhere.
    pub(super) fn mark(&self, row: &CertificateRow) -> Result<AuthorityMark, IdentityError> {
        chain::mark(&row.id, &row.fingerprint, &self.dek)
    }

    /// The row of an authority, its key sealed.
    pub(super) fn sealed(
        &self,
        id: AuthorityId,
        issuer: AuthorityId,
        authority: &Authority,
    ) -> Result<CertificateRow, IdentityError> {
        chain::authority_row(id, issuer, authority, &self.dek)
    }

    /// A new leaf for the hub. Its row takes the place of the former one's.
    pub(super) async fn hub_leaf(
        &self,
        authorities: &Authorities,
        hub: &HubId,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(OwnLeaf, SecretKey), IdentityError> {
        let (leaf, key) = certs::hub_leaf(&authorities.hub, hub, now, lifetime)?;
        let issuer = authorities.standing.hub_issuer.to_string();
        let row = chain::row(hub.as_str(), Role::Hub.as_str(), "hub", &issuer, &leaf)?;
        self.revoke(hub.as_str(), now).await?;
        if !self.persist(&row).await? {
            return Err(IdentityError::Taken { id: row.id });
        }
        let leaf = OwnLeaf {
            chain: std::iter::once(leaf).chain(authorities.above_hubs()).collect(),
            due: now.plus(row.not_after.since(now) / 2),
            ends: row.not_after,
            rotation: authorities.leaves.map(|leaves| leaves.rotation),
        };
        Ok((leaf, key))
    }

    /// The replacements of what is in these tables.
    pub(super) fn rotations(&self) -> Rotations {
        self.certificates.rotations()
    }

    /// The certificates in these tables.
    pub(super) fn certificates(&self) -> &Certificates {
        &self.certificates
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

    /// The leaf with these SHA-256 bytes, active or not.
    pub(super) async fn leaf(&self, fingerprint: &[u8; 32]) -> Result<Option<LeafRow>, AuthError> {
        found(self.certificates.leaf(fingerprint).await)
            .map_err(|error| AuthError::Unavailable { reason: error.to_string() })
    }

    /// Revokes the certificates of an id that a later one has taken the place of.
    pub(super) async fn revoke_superseded(&self, id: &str, now: Timestamp) -> Result<(), AuthError> {
        let revoked = self.certificates.revoke_superseded(id, now).await;
        revoked.map(|_| ()).map_err(|error| AuthError::Unavailable { reason: error.to_string() })
    }

    async fn authority_rows(&self) -> Result<Vec<CertificateRow>, IdentityError> {
        self.rotations().authorities().await.map_err(unavailable("read"))
    }

    async fn store_first(&self, row: CertificateRow) -> Result<(), IdentityError> {
        if self.persist(&row).await? {
            tracing::info!(id = row.id, until = %row.not_after, "a first authority was made");
        }
        Ok(())
    }

    async fn revoke(&self, id: &str, now: Timestamp) -> Result<(), IdentityError> {
        // Whether there was one to revoke makes no difference.
        self.certificates.revoke(id, now).await.map(|_| ()).map_err(unavailable("replaced"))
    }
}

fn first_of(kind: AuthorityKind) -> AuthorityId {
    kind.of(certs::FIRST_GENERATION)
}

/// Whether there is or was an authority of this kind.
fn has(rows: &[CertificateRow], kind: AuthorityKind) -> bool {
    known(rows).iter().any(|known| known.id.kind == kind)
}

/// What the ids of rows say. A row with another id is no authority's.
pub(super) fn known(rows: &[CertificateRow]) -> Vec<Known> {
    let known =
        |row: &CertificateRow| Some(Known { id: AuthorityId::parse(&row.id)?, active: row.version == 0 });
    rows.iter().filter_map(known).collect()
}

fn active(rows: &[CertificateRow], id: AuthorityId) -> Result<&CertificateRow, IdentityError> {
    let text = id.to_string();
    let row = rows.iter().find(|row| row.version == 0 && row.id == text);
    row.ok_or_else(|| IdentityError::AuthorityMissing { id: id.kind.name() })
}

/// A row that is missing is an answer here.
fn found<T>(row: Result<T, RecordError>) -> Result<Option<T>, RecordError> {
    match row {
        Ok(row) => Ok(Some(row)),
        Err(RecordError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn unavailable<E: Display>(doing: &'static str) -> impl FnOnce(E) -> IdentityError {
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
