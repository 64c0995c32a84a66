//! Enrolment tokens on behalf of operators: made, listed, withdrawn.

use std::time::Duration;

use db::{Audit, TokenRow, Tokens};
use proto::access::OPERATOR;
use proto::enrol::{EnrolToken, TokenId, TokenSecret};
use proto::limits::{TOKEN_TTL_MS_MAX, TOKEN_TTL_MS_MIN, TOKEN_USES_MAX};
use proto::token::{TokenReply, TokenReport, TokenRequest};
use proto::{Refusal, ServiceName, Timestamp};

use super::{Caller, Commands};
use crate::identity::HubIdentity;
use crate::refuse;

/// Makes tokens that name this hub's root.
struct TokenOffice<'a> {
    tokens: Tokens,
    identity: &'a HubIdentity,
}

impl TokenOffice<'_> {
    async fn create(&self, wish: &Wish, agent: &str, now: Timestamp) -> Result<TokenReply, Refusal> {
        let random = |error: certs::CertError| Refusal::Unavailable { reason: error.to_string() };
        let id = TokenId(u64::from_be_bytes(certs::random_bytes().map_err(random)?));
        let secret = TokenSecret(certs::random_bytes().map_err(random)?);
        let expires = now.plus(wish.ttl);
        let row = TokenRow {
            id,
            service: wish.service.clone(),
            secret: secret.digest(),
            uses: 0,
            uses_max: wish.uses,
            expires,
            agent: agent.to_owned(),
            created: now,
            withdrawn: None,
        };
        let audit = Audit {
            agent: agent.to_owned(),
            act: "token.create",
            subject: wish.service.to_string(),
            detail: format!("token {id}, {} uses, until {expires}", wish.uses),
        };
        self.tokens.create(&row, &audit).await.map_err(refuse::record)?;
        Ok(TokenReply::Created {
            token: EnrolToken { id, secret, root: self.identity.root_digest() },
            expires,
        })
    }

    async fn withdraw(&self, id: TokenId, agent: &str, now: Timestamp) -> Result<TokenReply, Refusal> {
        let token = self.tokens.find(id).await.map_err(refuse::record)?;
        let audit = Audit {
            agent: agent.to_owned(),
            act: "token.withdraw",
            subject: token.service.to_string(),
            detail: format!("token {id}, {} of {} uses taken", token.uses, token.uses_max),
        };
        self.tokens.withdraw(id, now, &audit).await.map(TokenReply::Changed).map_err(refuse::record)
    }
}

impl Commands {
    pub(super) async fn tokens(&self, caller: &Caller, request: TokenRequest) -> Result<TokenReply, Refusal> {
        let office = TokenOffice { tokens: self.database.tokens(), identity: &self.identity };
        let now = self.clock.now();
        match request {
            TokenRequest::Create { service, ttl_ms, uses } => {
                office.create(&Wish::new(service, ttl_ms, uses)?, &caller.label, now).await
            }
            TokenRequest::Withdraw(id) => office.withdraw(id, &caller.label, now).await,
            TokenRequest::List { after } => {
                let rows = office.tokens.page(after).await.map_err(refuse::record)?;
                Ok(TokenReply::Listed(rows.into_iter().map(report).collect()))
            }
        }
    }
}

/// A token that may be made.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    service: ServiceName,
    ttl: Duration,
    uses: u32,
}

impl Wish {
    fn new(service: ServiceName, ttl_ms: u64, uses: u32) -> Result<Self, Refusal> {
        let invalid = |reason: String| Err(Refusal::Invalid { reason });
        if service.as_str() == OPERATOR {
            return invalid(format!(
                "no token is made for service {OPERATOR}, which may do everything; it enrols on the hub's \
                 machine, as the hub's user"
            ));
        }
        if !(TOKEN_TTL_MS_MIN..=TOKEN_TTL_MS_MAX).contains(&ttl_ms) {
            return invalid(format!(
                "a token that lasts {ttl_ms} ms is not made; choose from 1 s to 30 days"
            ));
        }
        if !(1..=TOKEN_USES_MAX).contains(&uses) {
            return invalid(format!(
                "a token for {uses} uses is not made; choose from 1 to {TOKEN_USES_MAX}"
            ));
        }
        Ok(Self { service, ttl: Duration::from_millis(ttl_ms), uses })
    }
}

fn report(row: TokenRow) -> TokenReport {
    let TokenRow { id, service, secret: _, uses, uses_max, expires, agent, created, withdrawn } = row;
    TokenReport { id, service, uses, uses_max, expires, agent, created, withdrawn }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(service: &str, ttl_ms: u64, uses: u32) -> Result<Wish, Refusal> {
        Wish::new(ServiceName::parse(service).unwrap(), ttl_ms, uses)
    }

    #[test]
    fn a_token_lasts_from_a_second_to_thirty_days_and_is_for_1_to_10_000_uses() {
        for (ttl_ms, uses, good) in [
            (1_000, 1, true),
            (TOKEN_TTL_MS_MAX, 10_000, true),
            (999, 1, false),
            (TOKEN_TTL_MS_MAX + 1, 1, false),
            (1_000, 0, false),
            (1_000, 10_001, false),
        ] {
            assert_eq!(wish("billing", ttl_ms, uses).is_ok(), good, "{ttl_ms} {uses}");
        }
    }

    #[test]
    fn no_token_is_made_for_the_operator() {
        let Err(Refusal::Invalid { reason }) = wish(OPERATOR, 1_000, 1) else { panic!("it was made") };
        assert!(reason.contains("operator"), "{reason}");
    }
}
