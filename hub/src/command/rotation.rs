//! The replacement of leaves and authorities, as operators ask for it, and the renewal of one leaf, as its
//! holder does.

use proto::Refusal;
use proto::certs::CertsReply;
use proto::message::Reply;
use proto::rotation::{Begun, Pace, RotationKind};
use tracing::{info, warn};

use super::{Caller, Commands};
use crate::rotation::{Asked, Taken};

impl Commands {
    /// Begins a replacement, or says which one is under way.
    pub(super) async fn rotate(
        &self,
        caller: &Caller,
        kind: RotationKind,
        pace: Pace,
    ) -> Result<CertsReply, Refusal> {
        let (begun, row) = self.rotations.begin(kind, pace, &caller.label).await?;
        let (what, rotation) = (kind.as_str(), row.rotation.id);
        match begun {
            Begun::New => info!(kind = what, rotation, by = %caller.label, "certificates are replaced"),
            Begun::Hastened => {
                warn!(kind = what, rotation, by = %caller.label, "certificates are replaced in haste");
            }
            Begun::UnderWay => {}
        }
        Ok(CertsReply::Rotating { begun, rotation: row.rotation })
    }

    pub(super) async fn certs_status(&self) -> Result<CertsReply, Refusal> {
        Ok(CertsReply::Status(Box::new(self.rotations.status().await?)))
    }

    /// What a root elsewhere is to sign.
    pub(super) async fn requests(&self, caller: &Caller, kind: RotationKind) -> Result<CertsReply, Refusal> {
        Ok(match self.rotations.request(kind, &caller.label).await? {
            Asked::Requests { rotation, requests } => {
                info!(rotation = rotation.id, by = %caller.label, "requests for issuers were given out");
                CertsReply::Requests { rotation, requests }
            }
            Asked::UnderWay(rotation) => CertsReply::Rotating { begun: Begun::UnderWay, rotation },
        })
    }

    /// Takes what a root elsewhere has signed.
    pub(super) async fn import(
        &self,
        caller: &Caller,
        certificates: Vec<Vec<u8>>,
    ) -> Result<CertsReply, Refusal> {
        match self.rotations.import(certificates, &caller.label).await {
            Ok(Taken { rotation, stored, advice }) => {
                info!(rotation, by = %caller.label, stored = stored.join(" "), "what was signed elsewhere is prepared");
                Ok(CertsReply::Imported { rotation, stored, advice })
            }
            Err(refusal) => {
                warn!(by = %caller.label, %refusal, "what was signed elsewhere was not taken");
                Err(refusal)
            }
        }
    }

    /// Ends a replacement of which nothing was prepared yet.
    pub(super) async fn withdraw(&self, caller: &Caller) -> Result<CertsReply, Refusal> {
        let rotation = self.rotations.withdraw(&caller.label).await?;
        info!(rotation, by = %caller.label, "a replacement of certificates was withdrawn");
        Ok(CertsReply::Withdrawn { rotation })
    }

    /// A further certificate for the caller, for the key of `csr`.
    pub(super) async fn renew(&self, caller: &Caller, csr: &[u8]) -> Result<Reply, Refusal> {
        match self.identity.renew_spoke(&caller.peer, csr, self.clock.now()).await {
            Ok(enrolled) => {
                info!(peer = %caller.label, "a certificate was renewed");
                Ok(Reply::Renewed(Box::new(enrolled)))
            }
            Err(error) => {
                warn!(peer = %caller.label, %error, "a certificate was not renewed");
                Err(error.to_refusal())
            }
        }
    }
}
