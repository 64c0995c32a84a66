//! Those who follow: what a replacement makes, what it takes out of use, what still hangs from that.

use certs::{Authority, IssuerKind};
use db::{CertificateRow, HangingFrom, StepChanges};
use proto::Timestamp;
use proto::rotation::{Rotation, RotationKind, RotationStep};

use super::error::IdentityError;
use super::rotation::no_longer;
use super::standing::{AuthorityId, AuthorityKind, Standing};
use super::{HubIdentity, chain};

pub(super) const ISSUERS: [(AuthorityKind, IssuerKind); 2] =
    [(AuthorityKind::HubIssuer, IssuerKind::Hub), (AuthorityKind::SpokeIssuer, IssuerKind::Spoke)];

impl HubIdentity {
    /// What changes with the step `to` of `rotation`.
    ///
    /// # Errors
    /// [`IdentityError::KeyElsewhere`] if something has to be signed with a key that is not here,
    /// [`IdentityError::SignedElsewhere`] if it was asked for there.
    pub(crate) fn changes(
        &self,
        rotation: &Rotation,
        to: RotationStep,
        now: Timestamp,
    ) -> Result<StepChanges, IdentityError> {
        let (rows, standing) = self.standing();
        let ids = |ids: Vec<AuthorityId>| ids.iter().map(ToString::to_string).collect();
        Ok(match to {
            RotationStep::Begun | RotationStep::Activated => StepChanges::default(),
            RotationStep::Prepared => {
                StepChanges { stored: self.successors(rotation, now)?, ..StepChanges::default() }
            }
            RotationStep::Retired => {
                StepChanges { retired: ids(former(rotation, &standing)), ..StepChanges::default() }
            }
            RotationStep::Archived => {
                StepChanges { forgotten: retired(rotation, &rows), ..StepChanges::default() }
            }
        })
    }

    /// What only a person can do before `rotation` can be prepared.
    pub(crate) fn missing(&self, rotation: &Rotation) -> Option<String> {
        match self.signer(rotation) {
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        }
    }

    /// What hangs from what `rotation` replaces.
    pub(crate) fn hanging_from(&self, rotation: &Rotation) -> HangingFrom {
        let (_, standing) = self.standing();
        match rotation.kind {
            RotationKind::Leaf => HangingFrom {
                issuers: vec![standing.hub_issuer.to_string(), standing.spoke_issuer.to_string()],
                made_before: rotation.activated,
            },
            RotationKind::Intermediate | RotationKind::Root => {
                let issuers = former(rotation, &standing).into_iter().filter(|id| id.kind.role() == "issuer");
                HangingFrom { issuers: issuers.map(|id| id.to_string()).collect(), made_before: None }
            }
        }
    }

    /// When too little is left of what `rotation` replaces to wait any longer.
    pub(crate) fn no_longer(&self, rotation: &Rotation) -> Timestamp {
        let (rows, standing) = self.standing();
        let former = former(rotation, &standing);
        let replaced = rows.iter().filter(|row| {
            row.version == 0 && AuthorityId::parse(&row.id).is_some_and(|id| former.contains(&id))
        });
        let bridge = AuthorityKind::Cross.of(rotation.generation());
        let first = if rotation.kind == RotationKind::Root && !former.contains(&bridge) {
            // Whoever has not kept the new root is locked out by it, so only the end itself is a reason.
            replaced.map(|row| row.not_after).min()
        } else {
            replaced.map(|row| no_longer(row.not_before, row.not_after)).min()
        };
        first.unwrap_or(rotation.begun)
    }

    /// The root that signs what `rotation` makes; `None` if nothing has to be signed.
    fn signer(&self, rotation: &Rotation) -> Result<Option<Authority>, IdentityError> {
        if rotation.kind == RotationKind::Leaf {
            return Ok(None);
        }
        if !self.current().authorities.requests.is_empty() {
            return Err(IdentityError::SignedElsewhere);
        }
        let (rows, standing) = self.standing();
        let id = standing.root.to_string();
        let root = rows.iter().find(|row| row.version == 0 && row.id == id);
        let root = root.ok_or_else(|| IdentityError::AuthorityMissing { id: AuthorityKind::Root.name() })?;
        if root.key.is_none() {
            return Err(IdentityError::KeyElsewhere { id, wanted: rotation.kind });
        }
        self.vault.opened(root).map(Some)
    }

    /// The rows that preparing `rotation` stores.
    fn successors(&self, rotation: &Rotation, now: Timestamp) -> Result<Vec<CertificateRow>, IdentityError> {
        let Some(root) = self.signer(rotation)? else { return Ok(Vec::new()) };
        let (_, standing) = self.standing();
        let generation = rotation.generation();
        match rotation.kind {
            RotationKind::Leaf => Ok(Vec::new()),
            RotationKind::Intermediate => self.issuers_below(&root, standing.root, generation, now),
            RotationKind::Root => {
                let domain = certs::trust_domain(root.certificate())?;
                let next = certs::root_of_generation(&domain, generation, now)?;
                let next_id = AuthorityKind::Root.of(generation);
                let cross = certs::cross_certificate(&root, next.certificate(), now)?;
                let cross_id = AuthorityKind::Cross.of(generation);
                let (id, signed_by) = (cross_id.to_string(), standing.root.to_string());
                let mut rows = vec![
                    self.vault.sealed(next_id, next_id, &next)?,
                    chain::row(&id, cross_id.kind.role(), "", &signed_by, &cross)?,
                ];
                rows.extend(self.issuers_below(&next, next_id, generation, now)?);
                Ok(rows)
            }
        }
    }

    fn issuers_below(
        &self,
        root: &Authority,
        root_id: AuthorityId,
        generation: u64,
        now: Timestamp,
    ) -> Result<Vec<CertificateRow>, IdentityError> {
        let row = |(kind, issues_for): (AuthorityKind, IssuerKind)| {
            let issuer = certs::intermediate(root, issues_for, now)?;
            self.vault.sealed(kind.of(generation), root_id, &issuer)
        };
        ISSUERS.into_iter().map(row).collect()
    }
}

/// The active authorities that `rotation` takes out of use, with what makes peers who trust only those
/// believe their successors.
pub(super) fn former(rotation: &Rotation, standing: &Standing) -> Vec<AuthorityId> {
    let generation = rotation.generation();
    let replaced = |id: &&AuthorityId| match (rotation.kind, id.kind) {
        (RotationKind::Leaf, _) => false,
        (
            RotationKind::Intermediate | RotationKind::Root,
            AuthorityKind::HubIssuer | AuthorityKind::SpokeIssuer,
        ) => id.generation < generation,
        (RotationKind::Intermediate, AuthorityKind::Root | AuthorityKind::Cross) => false,
        (RotationKind::Root, AuthorityKind::Root) => id.generation < generation,
        (RotationKind::Root, AuthorityKind::Cross) => id.generation <= generation,
    };
    standing.active.iter().filter(replaced).copied().collect()
}

/// Authorities that are out of use and whose keys are still there.
fn retired(rotation: &Rotation, rows: &[CertificateRow]) -> Vec<String> {
    let is_former = |row: &&CertificateRow| {
        let id = AuthorityId::parse(&row.id);
        row.version > 0 && row.key.is_some() && id.is_some_and(|id| id.generation < rotation.generation())
    };
    let mut ids: Vec<_> = rows.iter().filter(is_former).map(|row| row.id.clone()).collect();
    ids.dedup();
    ids
}
