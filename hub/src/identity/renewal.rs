//! A further certificate for a spoke that is connected already.

use db::Renewal;
use proto::Timestamp;
use proto::enrol::Enrolled;

use super::error::IdentityError;
use super::keys::unavailable;
use super::{HubIdentity, Peer, spoke_id};

impl HubIdentity {
    /// Issues a leaf for `peer` and the key of `csr`, and stores it before answering. Who it is for, the
    /// certificate says that `peer` has shown, and nothing in the request. That one goes on counting
    /// until the new one is shown for the first time.
    ///
    /// # Errors
    /// [`IdentityError::NotCounting`] if the peer's certificate was revoked or has ended,
    /// [`IdentityError::Certificate`] if the request is refused, [`IdentityError::Unavailable`].
    pub(crate) async fn renew_spoke(
        &self,
        peer: &Peer,
        csr: &[u8],
        now: Timestamp,
    ) -> Result<Enrolled, IdentityError> {
        let id = spoke_id(peer.service.as_str(), &peer.instance);
        if peer.not_after <= now {
            return Err(IdentityError::NotCounting { id });
        }
        let (row, enrolled) = self.spoke_leaf(csr, &peer.service, &peer.instance, now)?;
        let renewed = self.vault.certificates().renew(&row, &peer.fingerprint, now).await;
        match renewed.map_err(unavailable("renewed"))? {
            Renewal::Stored => Ok(enrolled),
            Renewal::NotCounting => Err(IdentityError::NotCounting { id }),
        }
    }
}
