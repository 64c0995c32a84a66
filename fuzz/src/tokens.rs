//! Any bytes as the text of an enrolment token: it is one or it is not, and one is the same again after
//! it was written and read.

use eventflow_proto::enrol::{EnrolToken, TokenId};

/// Takes `bytes` as a token and as the rest of one.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check(text);
    check(&format!("eft1.{text}"));
    if let Ok(id) = text.parse::<TokenId>() {
        assert_eq!(id.to_string(), text);
    }
}

fn check(text: &str) {
    if let Ok(token) = EnrolToken::parse(text) {
        assert_eq!(token.to_string(), text.trim());
    }
}
