//! A spoke for one command, and what its errors mean for the exit code.

use proto::access::OPERATOR;
use proto::admin::AdminReply;
use proto::{Refusal, ServiceName};
use spoke::schedule::ScheduleError;
use spoke::{ConnectError, ListenError, PublishError, RequestError, Spoke, SpokeOptions, WaitError};

use crate::failure::{Failure, Outcome};
use crate::place::{DEFAULT_SERVICE, Place};

/// What the hub's logs call this program.
const SOFTWARE: &str = concat!("eventflow ", env!("CARGO_PKG_VERSION"));

/// Options for a spoke at this place.
///
/// # Errors
/// A wrong configuration if there is no data folder.
pub(crate) fn options(place: &Place) -> Outcome<SpokeOptions> {
    let options = SpokeOptions::new(place.service.clone(), place.data()?).software(SOFTWARE);
    Ok(match &place.hub {
        Some(address) => options.hub(address),
        None => options,
    })
}

/// Connects to the hub of this place.
///
/// # Errors
/// A failure that says which file or address was tried.
pub(crate) async fn connect(place: &Place) -> Outcome<Spoke> {
    Ok(Spoke::connect(options(place)?).await?)
}

/// Connects as an operator: as the service that was named, or as the one that the hub's own user is.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn operate(place: &Place) -> Outcome<Spoke> {
    let mut place = place.clone();
    if place.service.as_str() == DEFAULT_SERVICE {
        place.service = ServiceName::parse(OPERATOR).map_err(Failure::failed)?;
    }
    connect(&place).await
}

/// The failure for an answer of another kind than what was asked.
pub(crate) fn unexpected(reply: &AdminReply) -> Failure {
    let kind = match reply {
        AdminReply::Grants(_) => "grants",
        AdminReply::Tokens(_) => "tokens",
        AdminReply::Certs(_) => "certificates",
        AdminReply::Audit(_) => "the audit",
    };
    Failure::failed(format_args!(
        "the hub answered about {kind}, which was not asked; update the older of hub and command"
    ))
}

/// The same, for commands whose `--service` says whom they are about: as `operator`, if one is named.
///
/// # Errors
/// As [`connect`].
pub(crate) async fn operate_as(place: &Place, operator: Option<&ServiceName>) -> Outcome<Spoke> {
    let mut place = place.clone();
    place.service = match operator {
        Some(operator) => operator.clone(),
        None => ServiceName::parse(OPERATOR).map_err(Failure::failed)?,
    };
    connect(&place).await
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NoHub { .. } | ConnectError::Unreachable { .. } => Self::try_again(error),
            ConnectError::CertificateRefused { .. }
            | ConnectError::Revoked { .. }
            | ConnectError::Identity { .. } => Self::configuration(error),
            _ => Self::failed(error),
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        if error.may_retry() { Self::try_again(error) } else { Self::failed(error) }
    }
}

impl From<ScheduleError> for Failure {
    fn from(error: ScheduleError) -> Self {
        if error.may_retry() { Self::try_again(error) } else { Self::failed(error) }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match &error {
            RequestError::Unavailable { .. } => Self::try_again(error),
            RequestError::Refused(refusal) if may_pass(refusal) => Self::try_again(error),
            _ => Self::failed(error),
        }
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        match &error {
            ListenError::Unavailable { .. } => Self::try_again(error),
            ListenError::Refused(refusal) if may_pass(refusal) => Self::try_again(error),
            _ => Self::failed(error),
        }
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Publish(error) => error.into(),
            WaitError::TimedOut { .. } => Self::try_again(error),
            WaitError::Refused(ref refusal) if may_pass(refusal) => Self::try_again(error),
            WaitError::TooLong { .. } | WaitError::TooManyNames { .. } => Self::usage(error),
            _ => Self::failed(error),
        }
    }
}

fn may_pass(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Unavailable { .. } | Refusal::Stopping)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_may_work_later_says_so_and_what_cannot_does_not() {
        let waited = Duration::from_secs(30);
        assert!(matches!(Failure::from(RequestError::Unavailable { waited }), Failure::TryAgain(_)));
        let missing = RequestError::NotFound { what: "event x".to_owned() };
        assert!(matches!(Failure::from(missing), Failure::Failed(_)));
        assert!(matches!(Failure::from(ListenError::Refused(Refusal::Stopping)), Failure::TryAgain(_)));
        let no_hub = ConnectError::NoHub { address_file: "/nowhere/hub.addr".into() };
        assert!(matches!(Failure::from(no_hub), Failure::TryAgain(_)));
    }
}
