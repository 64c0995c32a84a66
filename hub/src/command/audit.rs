//! Who did what: reading the lines of the operator's log that say so.

use proto::Refusal;
use proto::audit::{AuditReply, AuditRequest};

use super::Commands;

impl Commands {
    pub(super) async fn audit(&self, request: AuditRequest) -> Result<AuditReply, Refusal> {
        let AuditRequest { after, since, act, limit } = request;
        let journal = self.database.journal();
        let lines = journal.audit(after, since, act.as_deref().unwrap_or_default(), limit).await;
        Ok(AuditReply { lines: lines.map_err(crate::refuse::record)? })
    }
}
