//! What operators ask for: the envelopes, and who did what.

use eventflow_proto::Timestamp;
use eventflow_proto::admin::{AdminReply, AdminRequest};
use eventflow_proto::audit::{AuditLine, AuditReply, AuditRequest};
use eventflow_proto::certs::Trust;

use super::{Golden, access, certs, golden, rotation, token};

pub(crate) fn values() -> Vec<Golden> {
    let mut values = vec![
        golden("AdminRequest/Grants", AdminRequest::Grants(access::request())),
        golden("AdminRequest/Tokens", AdminRequest::Tokens(token::request())),
        golden("AdminRequest/Certs", AdminRequest::Certs(certs::request())),
        golden("AdminRequest/Audit", AdminRequest::Audit(audit())),
        golden("AdminReply/Grants", AdminReply::Grants(access::reply())),
        golden("AdminReply/Tokens", AdminReply::Tokens(token::reply())),
        golden("AdminReply/Certs", AdminReply::Certs(certs::reply())),
        golden("AdminReply/Audit", AdminReply::Audit(lines())),
    ];
    values.extend(access::values());
    values.extend(token::values());
    values.extend(certs::values());
    values.extend(rotation::values());
    values
}

pub(crate) fn trust() -> Trust {
    Trust { version: 300, roots: vec![vec![0x30, 1], vec![0x30, 2]] }
}

pub(crate) fn audit() -> AuditRequest {
    let since = Some(Timestamp::from_millis(1_760_000_000_000).unwrap());
    AuditRequest { after: 7, since, act: Some("token.".into()), limit: 100 }
}

pub(crate) fn lines() -> AuditReply {
    let line = AuditLine {
        id: 8,
        at: Timestamp::from_millis(1_760_000_000_001).unwrap(),
        agent: "operator/1".into(),
        act: "token.create".into(),
        subject: "billing".into(),
        detail: "1 use, until 2031-03-04".into(),
    };
    AuditReply { lines: vec![line] }
}
