//! What operators ask for, by its kind.

use proto::Refusal;
use proto::admin::{AdminReply, AdminRequest};
use proto::message::Reply;

use super::{Caller, Commands};

impl Commands {
    pub(super) async fn admin(&self, caller: &Caller, request: AdminRequest) -> Result<Reply, Refusal> {
        let permit = self.permit_admin(caller)?;
        let reply = match request {
            AdminRequest::Grants(request) => AdminReply::Grants(self.grants(&permit, caller, request).await?),
            AdminRequest::Tokens(request) => AdminReply::Tokens(self.tokens(caller, request).await?),
            AdminRequest::Certs(request) => AdminReply::Certs(self.certs(caller, request).await?),
            AdminRequest::Audit(request) => AdminReply::Audit(self.audit(request).await?),
        };
        Ok(Reply::Admin(Box::new(reply)))
    }
}
