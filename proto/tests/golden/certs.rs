//! Certificates on the wire: a value for every variant.

use eventflow_proto::Timestamp;
use eventflow_proto::certs::{CertsReply, CertsRequest, Holder};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    vec![
        golden("CertsRequest/Revoke", request()),
        golden("CertsRequest/List", CertsRequest::List { issuer: "issuer/spoke".into() }),
        golden("CertsReply/Revoked", reply()),
        golden("CertsReply/List", CertsReply::List(vec![0x30, 0])),
        golden("Holder/Spoke", Holder::Spoke("billing/1".into())),
        golden("Holder/Service", Holder::Service("billing".into())),
        golden("Holder/Issuer", Holder::Issuer("issuer/spoke".into())),
        golden("Holder/Fingerprint", Holder::Fingerprint([7; 32])),
    ]
}

pub(crate) fn request() -> CertsRequest {
    CertsRequest::Revoke { holder: Holder::Service("billing".into()), reason: "key stolen".into() }
}

pub(crate) fn reply() -> CertsReply {
    CertsReply::Revoked { certificates: 2, at: Timestamp::from_millis(1_760_000_000_000).unwrap() }
}
