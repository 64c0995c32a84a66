//! Authorities that a root elsewhere signs: the requests for them, and taking what was signed.
//!
//! A hub makes the keys of issuers and keeps them sealed beside their requests. What comes back is checked
//! for all that hubs and spokes rely on before anything of it is stored, and then the replacement goes
//! on like any other.

use certs::{CertificateDer, Signed};
use db::CertificateRow;
use proto::Timestamp;
use proto::limits::IMPORTED_CERTIFICATES_MAX;
use proto::rotation::{Rotation, RotationKind};

use super::error::IdentityError;
use super::standing::{AuthorityId, AuthorityKind};
use super::succession::ISSUERS;
use super::{HubIdentity, chain};

/// The ids of requests, in the order in which they are read.
const REQUESTS: [&str; 2] = ["request/hub", "request/spoke"];

/// What a person has to know who replaces a root without its cross-certificate.
const NO_CROSS: &str = "no cross-certificate was imported and the former root's key is not here to make one: \
                        spokes that are away until the new root is in use have to enrol again";

/// What was signed elsewhere, ready to be stored.
#[derive(Debug)]
pub(crate) struct Imported {
    /// What the replacement's step to prepared stores.
    pub(crate) rows: Vec<CertificateRow>,
    /// What a person should know.
    pub(crate) advice: Vec<String>,
}

impl HubIdentity {
    /// New keys for issuers and the requests for their certificates, not stored yet.
    ///
    /// # Errors
    /// [`IdentityError`] if the crypto library fails.
    pub(crate) fn new_requests(&self, now: Timestamp) -> Result<Vec<CertificateRow>, IdentityError> {
        let trust_domain = self.trust_domain()?;
        let row = |(id, (_, kind))| {
            let request = certs::issuer_request(kind, &trust_domain)?;
            self.vault.request(id, &request, now)
        };
        REQUESTS.into_iter().zip(ISSUERS).map(row).collect()
    }

    /// What was `given` for the requests of `rotation`, checked.
    ///
    /// # Errors
    /// [`IdentityError::NothingRequested`], [`IdentityError::Import`] and [`IdentityError::Certificate`] say
    /// what is wrong.
    pub(crate) fn imported(
        &self,
        rotation: &Rotation,
        given: Vec<Vec<u8>>,
        now: Timestamp,
    ) -> Result<Imported, IdentityError> {
        let current = self.current();
        let [for_hubs, for_spokes] = current.authorities.requests.as_slice() else {
            return Err(IdentityError::NothingRequested);
        };
        if given.len() > IMPORTED_CERTIFICATES_MAX {
            let reason = format!("{} certificates are more than {IMPORTED_CERTIFICATES_MAX}", given.len());
            return Err(IdentityError::Import { reason });
        }
        let given: Vec<_> = given.into_iter().map(CertificateDer::from).collect();
        let (hub, spoke) = (self.vault.requested(for_hubs)?, self.vault.requested(for_spokes)?);
        let mut signed = certs::sort_signed(&given, &hub, &spoke)?;
        let former = self.root();
        let imported = match rotation.kind {
            RotationKind::Leaf => return Err(IdentityError::NothingRequested),
            RotationKind::Intermediate => self.below_the_root(signed.root.take(), &former),
            RotationKind::Root => self.new_root(rotation, &mut signed, &former, now),
        };
        let (mut imported, root) = imported?;
        let trusted = signed.root.as_ref().unwrap_or(&former);
        let trust_domain = self.trust_domain()?;
        for ((kind, issues_for), issuer) in ISSUERS.into_iter().zip([&signed.hub, &signed.spoke]) {
            certs::check_issuer(issuer, issues_for, &trust_domain, trusted, now)?;
            imported.rows.push(self.vault.sealed(kind.of(rotation.generation()), root, issuer)?);
        }
        Ok(imported)
    }

    /// Issuers below the root in use. That one may have been given as well.
    fn below_the_root(
        &self,
        given: Option<CertificateDer<'static>>,
        former: &CertificateDer<'static>,
    ) -> Result<(Imported, AuthorityId), IdentityError> {
        if given.is_some_and(|given| given != *former) {
            let reason = "they hang from another root than the one in use; withdraw this replacement and begin \
                          with `eventflow certs export-csr --for root`";
            return Err(IdentityError::Import { reason: reason.to_owned() });
        }
        let (_, standing) = self.standing();
        Ok((Imported { rows: Vec::new(), advice: Vec::new() }, standing.root))
    }

    /// A new root, and what makes peers believe it that know the former one only.
    fn new_root(
        &self,
        rotation: &Rotation,
        signed: &mut Signed,
        former: &CertificateDer<'static>,
        now: Timestamp,
    ) -> Result<(Imported, AuthorityId), IdentityError> {
        let (rows, standing) = self.standing();
        let import = |reason: &str| IdentityError::Import { reason: reason.to_owned() };
        let root = signed.root.as_ref();
        let root =
            root.ok_or_else(|| import("the root is replaced, and no root is among the certificates"))?;
        if rows.iter().any(|row| row.cert == root.as_ref()) {
            return Err(import("the root is replaced, and the one among the certificates is or was in use"));
        }
        certs::check_root(root, now)?;
        let id = AuthorityKind::Root.of(rotation.generation());
        let (text, role) = (id.to_string(), AuthorityKind::Root.role());
        let mut imported =
            Imported { rows: vec![chain::row(&text, role, "", &text, root)?], advice: Vec::new() };
        let former_id = standing.root.to_string();
        let in_use = rows.iter().find(|row| row.version == 0 && row.id == former_id);
        let cross = match (&signed.cross, in_use.filter(|row| row.key.is_some())) {
            (Some(cross), _) => Some(cross.clone()),
            (None, Some(row)) => Some(certs::cross_certificate(&self.vault.opened(row)?, root, now)?),
            (None, None) => None,
        };
        match cross {
            Some(cross) => {
                certs::check_cross(&cross, former, &signed.hub, now)?;
                let cross_id = AuthorityKind::Cross.of(rotation.generation());
                let (cross_text, role) = (cross_id.to_string(), AuthorityKind::Cross.role());
                imported.rows.push(chain::row(&cross_text, role, "", &former_id, &cross)?);
            }
            None => imported.advice.push(NO_CROSS.to_owned()),
        }
        Ok((imported, id))
    }

    /// The name that everything issued here bears.
    fn trust_domain(&self) -> Result<String, IdentityError> {
        Ok(certs::trust_domain(self.current().authorities.hub.certificate())?)
    }
}
