//! Grants on the wire: a value for every variant.

use eventflow_proto::access::{GrantReply, GrantRequest};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    vec![
        golden("GrantRequest/Remove", GrantRequest::Remove(300)),
        golden("GrantReply/Changed", GrantReply::Changed(true)),
    ]
}

pub(crate) fn request() -> GrantRequest {
    GrantRequest::Remove(300)
}

pub(crate) fn reply() -> GrantReply {
    GrantReply::Changed(true)
}
