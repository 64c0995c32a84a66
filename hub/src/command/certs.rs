//! Certificates: which do not count any more.

use db::Holder;
use proto::certs::{self, CertsReply, CertsRequest};
use proto::{Refusal, ServiceName};

use super::{Caller, Commands};

/// How ids of issuers of spokes begin.
const SPOKE_ISSUERS: &str = "issuer/spoke";

impl Commands {
    pub(super) async fn certs(&self, caller: &Caller, request: CertsRequest) -> Result<CertsReply, Refusal> {
        match request {
            CertsRequest::Revoke { holder, reason } => self.revoke(caller, holder, &reason).await,
            CertsRequest::List { issuer } => self.revocation_list(&issuer).await,
            CertsRequest::Rotate { kind, pace } => self.rotate(caller, kind, pace).await,
            CertsRequest::Status => self.certs_status().await,
            CertsRequest::Requests { kind } => self.requests(caller, kind).await,
            CertsRequest::Import { certificates } => self.import(caller, certificates).await,
            CertsRequest::Withdraw => self.withdraw(caller).await,
        }
    }

    /// Revokes, and returns when this hub looks at whom it concerns.
    async fn revoke(
        &self,
        caller: &Caller,
        holder: certs::Holder,
        reason: &str,
    ) -> Result<CertsReply, Refusal> {
        let holder = checked(holder)?;
        let at = self.clock.now();
        let revoked = self.database.revocations().revoke(&holder, reason, &caller.label, at).await;
        let certificates = revoked.map_err(crate::refuse::record)?;
        tracing::warn!(%holder, certificates, by = %caller.label, reason, "certificates were revoked");
        if let Err(refusal) = self.access.refresh().await {
            tracing::warn!(%refusal, "the revocation is stored; connections close when it can be read");
        }
        Ok(CertsReply::Revoked { certificates, at })
    }

    async fn revocation_list(&self, issuer: &str) -> Result<CertsReply, Refusal> {
        let revoked = self.database.revocations().revoked_of(issuer, self.clock.now()).await;
        let revoked = revoked.map_err(crate::refuse::record)?;
        let list = self.identity.revocation_list(issuer, &revoked, self.clock.now()).await;
        list.map(CertsReply::List).map_err(|error| error.to_refusal())
    }
}

/// The holder, if revoking its certificates is what helps.
fn checked(holder: certs::Holder) -> Result<Holder, Refusal> {
    Ok(match holder {
        certs::Holder::Spoke(id) => Holder::Spoke(id),
        certs::Holder::Service(service) => {
            let parsed = ServiceName::parse(&service);
            Holder::Service(parsed.map_err(|error| Refusal::Invalid { reason: error.to_string() })?)
        }
        certs::Holder::Issuer(id) if id.starts_with(SPOKE_ISSUERS) => Holder::Issuer(id),
        certs::Holder::Issuer(id) => {
            let reason = format!(
                "{id:?} is not an issuer of spokes, and hubs do not look their own certificates up; replace \
                 a hub's issuer or the root with `eventflow certs rotate intermediate|root --now`"
            );
            return Err(Refusal::Invalid { reason });
        }
        certs::Holder::Fingerprint(bytes) => Holder::Fingerprint(bytes),
    })
}
