//! Enrolment tokens on the wire: a value for every variant.

use eventflow_proto::enrol::{EnrolReply, EnrolToken, TokenEnrolment, TokenId, TokenSecret};
use eventflow_proto::token::{TokenReply, TokenReport, TokenRequest};
use eventflow_proto::{ServiceName, Timestamp};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    vec![
        golden("TokenRequest/Withdraw", TokenRequest::Withdraw(TokenId(0xfeed))),
        golden(
            "TokenRequest/Create",
            TokenRequest::Create { service: service(), ttl_ms: 900_000, uses: 300 },
        ),
        golden("TokenRequest/List", TokenRequest::List { after: Some(TokenId(0xfeed)) }),
        golden("TokenReply/Changed", TokenReply::Changed(true)),
        golden("TokenReply/Created", TokenReply::Created { token: token(), expires: at(0) }),
        golden("TokenReply/Listed", TokenReply::Listed(vec![report()])),
        golden(
            "TokenEnrolment",
            TokenEnrolment {
                token: TokenId(0xfeed),
                secret: TokenSecret([7; 32]),
                service: Some(service()),
                csr: vec![0x30, 0],
            },
        ),
        golden("EnrolReply/Busy", EnrolReply::Busy { retry_after_ms: 1_000 }),
    ]
}

pub(crate) fn request() -> TokenRequest {
    TokenRequest::Withdraw(TokenId(0xfeed))
}

pub(crate) fn reply() -> TokenReply {
    TokenReply::Changed(true)
}

fn token() -> EnrolToken {
    EnrolToken { id: TokenId(0xfeed), secret: TokenSecret([7; 32]), root: [8; 32] }
}

fn report() -> TokenReport {
    TokenReport {
        id: TokenId(0xfeed),
        service: service(),
        uses: 1,
        uses_max: 300,
        expires: at(900_000),
        agent: "operator/1".into(),
        created: at(0),
        withdrawn: Some(at(1)),
    }
}

fn service() -> ServiceName {
    ServiceName::parse("billing").unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + millis).unwrap()
}
