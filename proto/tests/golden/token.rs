//! Enrolment tokens on the wire: a value for every variant.

use eventflow_proto::token::{TokenReply, TokenRequest};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    vec![
        golden("TokenRequest/Withdraw", TokenRequest::Withdraw("t-1".into())),
        golden("TokenReply/Changed", TokenReply::Changed(true)),
    ]
}

pub(crate) fn request() -> TokenRequest {
    TokenRequest::Withdraw("t-1".into())
}

pub(crate) fn reply() -> TokenReply {
    TokenReply::Changed(true)
}
