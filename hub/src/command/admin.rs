//! What operators ask for, by its kind.

use proto::Refusal;
use proto::access::{GrantReply, GrantRequest};
use proto::admin::{AdminReply, AdminRequest};
use proto::audit::{AuditReply, AuditRequest};
use proto::certs::{CertsReply, CertsRequest};
use proto::message::Reply;
use proto::token::{TokenReply, TokenRequest};

use super::{Caller, Commands};

impl Commands {
    pub(super) async fn admin(&self, caller: &Caller, request: AdminRequest) -> Result<Reply, Refusal> {
        let reply = match request {
            AdminRequest::Grants(request) => AdminReply::Grants(self.grants(caller, request).await?),
            AdminRequest::Tokens(request) => AdminReply::Tokens(self.tokens(caller, request).await?),
            AdminRequest::Certs(request) => AdminReply::Certs(self.certs(caller, request).await?),
            AdminRequest::Audit(request) => AdminReply::Audit(self.audit(request).await?),
        };
        Ok(Reply::Admin(Box::new(reply)))
    }

    async fn grants(&self, _caller: &Caller, _request: GrantRequest) -> Result<GrantReply, Refusal> {
        Err(not_yet("grants"))
    }

    async fn tokens(&self, _caller: &Caller, _request: TokenRequest) -> Result<TokenReply, Refusal> {
        Err(not_yet("tokens"))
    }

    async fn certs(&self, caller: &Caller, request: CertsRequest) -> Result<CertsReply, Refusal> {
        match request {
            CertsRequest::Revoke { .. } => Err(not_yet("revocations")),
            CertsRequest::Rotate { kind, pace } => self.rotate(caller, kind, pace).await,
            CertsRequest::Status => self.certs_status().await,
        }
    }

    async fn audit(&self, _request: AuditRequest) -> Result<AuditReply, Refusal> {
        Err(not_yet("the audit"))
    }
}

fn not_yet(what: &str) -> Refusal {
    Refusal::Invalid { reason: format!("this hub cannot do anything about {what} yet") }
}
