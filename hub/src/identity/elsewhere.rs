//! Authorities that a root elsewhere signs: the requests for them, and taking what was signed.
//!
//! A hub makes the keys of issuers and keeps them sealed beside their requests. What comes back is checked
//! for all that hubs and spokes rely on before anything of it is stored, and then the replacement goes
//! on like any other.

use certs::{CertificateDer, Signed};
use db::{AuthorityMark, CertificateRow};
use proto::Timestamp;
use proto::limits::{IMPORTED_CERTIFICATE_BYTES_MAX, IMPORTED_CERTIFICATES_MAX};
use proto::rotation::{Rotation, RotationKind};

use super::error::IdentityError;
use super::standing::{AuthorityId, AuthorityKind};
use super::succession::ISSUERS;
use super::{HubIdentity, chain};

/// The ids of requests, in the order in which they are read.
const REQUESTS: [&str; 2] = ["request/hub", "request/spoke"];

/// What a person has to know who replaces a root without its cross-certificate.
const NO_CROSS: &str = "the new root is activated when all spokes that are connected have kept it (with --now: at \
                        once), and those that have not have to enrol again";

/// What was signed elsewhere, ready to be stored.
#[derive(Debug)]
pub(crate) struct Imported {
    /// What the replacement's step to prepared stores.
    pub(crate) rows: Vec<CertificateRow>,
    /// What the root among them is known by, if there is one.
    pub(crate) marks: Vec<AuthorityMark>,
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
        if let Some(long) = given.iter().map(Vec::len).find(|len| *len > IMPORTED_CERTIFICATE_BYTES_MAX) {
            let reason =
                format!("a certificate has {long} bytes, at most {IMPORTED_CERTIFICATE_BYTES_MAX} fit");
            return Err(IdentityError::Import { reason });
        }
        let given: Vec<_> = given.into_iter().map(CertificateDer::from).collect();
        let (hub, spoke) = (self.vault.requested(for_hubs)?, self.vault.requested(for_spokes)?);
        let mut signed = certs::sort_signed(&given, &hub, &spoke)?;
        let former = self.root();
        if rotation.kind == RotationKind::Intermediate {
            below_the_root(signed.root.take(), &former)?;
        } else {
            self.check_new_root(signed.root.as_ref(), now)?;
        }
        let trusted = signed.root.as_ref().unwrap_or(&former);
        let trust_domain = self.trust_domain()?;
        for ((_, issues_for), issuer) in ISSUERS.into_iter().zip([&signed.hub, &signed.spoke]) {
            certs::check_issuer(issuer, issues_for, &trust_domain, trusted, now)?;
        }
        let (_, standing) = self.standing();
        let mut imported = Imported { rows: Vec::new(), marks: Vec::new(), advice: Vec::new() };
        let root = match &signed.root {
            Some(root) => self.new_root(rotation, root, &signed, now, &mut imported)?,
            None => standing.root,
        };
        for ((kind, _), issuer) in ISSUERS.into_iter().zip([&signed.hub, &signed.spoke]) {
            imported.rows.push(self.vault.sealed(kind.of(rotation.generation()), root, issuer)?);
        }
        Ok(imported)
    }

    /// Whether `root` may take the place of the one in use.
    fn check_new_root(
        &self,
        root: Option<&CertificateDer<'static>>,
        now: Timestamp,
    ) -> Result<(), IdentityError> {
        let import = |reason: &str| IdentityError::Import { reason: reason.to_owned() };
        let root =
            root.ok_or_else(|| import("the root is replaced, and no root is among the certificates"))?;
        let (rows, _) = self.standing();
        let is_root = |row: &&CertificateRow| {
            AuthorityId::parse(&row.id).is_some_and(|id| id.kind == AuthorityKind::Root)
        };
        if rows.iter().filter(is_root).any(|row| certs::same_key(&row.cert, root)) {
            return Err(import(
                "the root is replaced, and the key of the one among the certificates is or was in use",
            ));
        }
        let mut active = rows.iter().filter(is_root).filter(|row| row.version == 0);
        if active.any(|row| certs::same_name(&row.cert, root)) {
            return Err(import(
                "the root is replaced, and the one among the certificates has the name of one in use, so that \
                 nobody could tell them apart; give it another",
            ));
        }
        Ok(certs::check_root(root, now)?)
    }

    /// The rows of a new root, and of what makes peers believe it that know the former one only.
    fn new_root(
        &self,
        rotation: &Rotation,
        root: &CertificateDer<'static>,
        signed: &Signed,
        now: Timestamp,
        imported: &mut Imported,
    ) -> Result<AuthorityId, IdentityError> {
        let (rows, standing) = self.standing();
        let id = AuthorityKind::Root.of(rotation.generation());
        let (text, role) = (id.to_string(), AuthorityKind::Root.role());
        let row = chain::row(&text, role, "", &text, root)?;
        imported.marks.push(self.vault.mark(&row)?);
        imported.rows.push(row);
        let former_id = standing.root.to_string();
        let in_use = rows.iter().find(|row| row.version == 0 && row.id == former_id);
        let cross = match (&signed.cross, in_use.filter(|row| row.key.is_some())) {
            (Some(cross), _) => Ok(cross.clone()),
            (None, Some(row)) => {
                let made = certs::cross_certificate(&self.vault.opened(row)?, root, now);
                made.map_err(|error| error.to_string())
            }
            (None, None) => Err("the former root's key is not here to make one".to_owned()),
        };
        match cross {
            Ok(cross) => {
                certs::check_cross(&cross, &self.root(), &signed.hub, now)?;
                let cross_id = AuthorityKind::Cross.of(rotation.generation());
                let (cross_text, role) = (cross_id.to_string(), AuthorityKind::Cross.role());
                imported.rows.push(chain::row(&cross_text, role, "", &former_id, &cross)?);
            }
            Err(reason) => {
                imported.advice.push(format!("there is no cross-certificate ({reason}): {NO_CROSS}"))
            }
        }
        Ok(id)
    }

    /// The requests that `rows` hold, each checked against its key.
    pub(crate) fn requests(&self, rows: Vec<CertificateRow>) -> Result<Vec<Vec<u8>>, IdentityError> {
        rows.iter().try_for_each(|row| self.vault.requested(row).map(drop))?;
        Ok(rows.into_iter().map(|row| row.cert).collect())
    }

    /// The ids of stored authorities that are `given`, if all of them are stored.
    pub(crate) fn stored(&self, given: &[Vec<u8>]) -> Option<Vec<String>> {
        let (rows, _) = self.standing();
        let id = |der: &Vec<u8>| rows.iter().find(|row| row.cert == *der).map(|row| row.id.clone());
        given.iter().map(id).collect::<Option<Vec<_>>>().filter(|ids| !ids.is_empty())
    }

    /// The name that everything issued here bears.
    fn trust_domain(&self) -> Result<String, IdentityError> {
        Ok(certs::trust_domain(self.current().authorities.hub.certificate())?)
    }
}

/// Issuers hang from the root in use, which may have been given as well.
fn below_the_root(
    given: Option<CertificateDer<'static>>,
    former: &CertificateDer<'static>,
) -> Result<(), IdentityError> {
    if given.is_none_or(|given| given == *former) {
        return Ok(());
    }
    let reason = "they hang from another root than the one in use; withdraw this replacement and begin with \
                  `eventflow certs export-csr --for root`";
    Err(IdentityError::Import { reason: reason.to_owned() })
}
