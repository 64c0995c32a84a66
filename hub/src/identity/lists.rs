//! Lists of revoked certificates for others, signed by the issuer whose certificates they are about.

use certs::CertificateDer;
use db::{REVOKED_LISTED_MAX, Revoked};
use proto::Timestamp;

use super::HubIdentity;
use super::error::IdentityError;

impl HubIdentity {
    /// The list of `revoked`, which the authority of the row `issuer` has signed, in DER.
    ///
    /// # Errors
    /// [`IdentityError::NoSuchIssuer`] if there is none, or it cannot sign any more,
    /// [`IdentityError::TooManyRevoked`].
    pub(crate) async fn revocation_list(
        &self,
        issuer: &str,
        revoked: &[Revoked],
        now: Timestamp,
    ) -> Result<Vec<u8>, IdentityError> {
        if revoked.len() > REVOKED_LISTED_MAX {
            return Err(IdentityError::TooManyRevoked { issuer: issuer.to_owned(), max: REVOKED_LISTED_MAX });
        }
        let authority = self.vault.stored_authority(issuer).await?;
        let authority = authority.ok_or_else(|| IdentityError::NoSuchIssuer { id: issuer.to_owned() })?;
        let entries: Vec<_> =
            revoked.iter().map(|one| (CertificateDer::from(one.cert.as_slice()), one.at)).collect();
        // It grows from list to list, as the standard asks, without a counter to keep.
        let number = u64::try_from(now.millis()).unwrap_or_default();
        Ok(certs::revocation_list(&authority, &entries, number, now)?)
    }
}
