//! Enrolling with a token before anything else is done, for whoever sets a service up.
//!
//! A spoke that is given a token enrols by itself when it connects; this is the same as a step of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::enrol::EnrolToken;
use proto::{Refusal, ServiceName, Timestamp};
use tokio::time::Instant;

use crate::error::ConnectError;
use crate::identity::{EnrolError, Identity, Issued, Safe, enrol_with_token};
use crate::spoke::Spoke;

/// How long an enrolment may take.
const WITHIN: Duration = Duration::from_secs(15);

/// What a service has got with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The service that the token was for.
    pub service: ServiceName,
    /// The instance that it is now.
    pub instance: String,
    /// SHA-256 of its certificate.
    pub fingerprint: [u8; 32],
    /// Until when the certificate counts; it is renewed before.
    pub not_after: Timestamp,
    /// Where hubs are; the first is where this one was reached.
    pub hubs: Vec<String>,
    /// Where all of it is kept.
    pub folder: PathBuf,
}

/// Why no certificate was issued, by what is to be done about it.
#[derive(Debug)]
pub(crate) enum NotIssued {
    /// This token will not do, now or later.
    Never(ConnectError),
    /// This hub is not the one.
    NotHere(ConnectError),
    /// Trying again may help.
    NotYet(String),
}

impl Spoke {
    /// Enrols with `token` at `hub`, `host:port`, and keeps the new identity in the data folder `data`.
    /// With `service`, only if the token is for that one.
    ///
    /// The key is made here and never sent; neither is the token to a hub that it does not name.
    ///
    /// # Errors
    /// [`ConnectError::OtherHub`] if another hub is there, [`ConnectError::TokenRefused`] if the token is
    /// none or not good any more, [`ConnectError::Unreachable`] if trying again may help.
    pub async fn enrol(
        data: &Path,
        hub: &str,
        token: &EnrolToken,
        service: Option<&ServiceName>,
    ) -> Result<Enrolment, ConnectError> {
        let started = Instant::now();
        let unreachable = |reason: String| ConnectError::Unreachable {
            address: hub.to_owned(),
            waited: started.elapsed(),
            reason,
        };
        let issued = tokio::time::timeout(WITHIN, enrol_with_token(hub, token, service)).await;
        let issued = issued.map_err(|_| unreachable("it took too long".to_owned()))?;
        let Issued { identity, hubs } = issued.map_err(|error| match not_issued(hub, error) {
            NotIssued::Never(error) | NotIssued::NotHere(error) => error,
            NotIssued::NotYet(reason) => unreachable(reason),
        })?;
        keep(data, identity, reached_first(hub, hubs)).await
    }
}

/// What an error of an enrolment with a token means.
pub(crate) fn not_issued(address: &str, error: EnrolError) -> NotIssued {
    let address = address.to_owned();
    match error {
        EnrolError::WrongRoot => NotIssued::NotHere(ConnectError::OtherHub { address }),
        EnrolError::Refused(refusal @ (Refusal::Unavailable { .. } | Refusal::Stopping)) => {
            NotIssued::NotYet(refusal.to_string())
        }
        EnrolError::Refused(refusal) => NotIssued::Never(ConnectError::TokenRefused { address, refusal }),
        EnrolError::Unreachable(_)
        | EnrolError::Busy(_)
        | EnrolError::Nonsense(_)
        | EnrolError::Request(_) => NotIssued::NotYet(error.to_string()),
    }
}

/// Where hubs are, with the address that is known to work before those that are only told.
pub(crate) fn reached_first(address: &str, told: Vec<String>) -> Vec<String> {
    let others = told.into_iter().filter(|hub| hub != address);
    std::iter::once(address.to_owned()).chain(others).collect()
}

async fn keep(data: &Path, identity: Identity, hubs: Vec<String>) -> Result<Enrolment, ConnectError> {
    let nonsense = |reason: String| ConnectError::Identity { path: data.to_owned(), reason };
    let leaf = identity.leaf().ok_or_else(|| nonsense("the hub sent no certificate".to_owned()))?;
    let named = certs::identity(leaf).map_err(|error| nonsense(error.to_string()))?;
    let service =
        identity.service().ok_or_else(|| nonsense("the certificate names no service".to_owned()))?;
    let not_after = certs::not_after(leaf).map_err(|error| nonsense(error.to_string()))?;
    let fingerprint = certs::fingerprint(leaf);
    let safe = Safe::new(data, &service);
    let folder = safe.folder().to_owned();
    let enrolment = Enrolment {
        service,
        instance: named.instance,
        fingerprint,
        not_after,
        hubs: hubs.clone(),
        folder: folder.clone(),
    };
    let saved = tokio::task::spawn_blocking(move || {
        safe.save(&identity)?;
        safe.save_hubs(&hubs)
    });
    let saved = saved.await.unwrap_or_else(|error| Err(error.into()));
    saved.map_err(|error| ConnectError::Identity { path: folder, reason: error.to_string() })?;
    Ok(enrolment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_works_is_dialled_first_and_listed_once() {
        let told = vec!["b:2".to_owned(), "a:1".to_owned()];
        assert_eq!(reached_first("a:1", told.clone()), ["a:1", "b:2"]);
        assert_eq!(reached_first("c:3", told), ["c:3", "b:2", "a:1"]);
    }

    #[test]
    fn a_token_that_is_refused_is_not_tried_again_and_a_busy_hub_is() {
        let denied = Refusal::Denied { reason: "used up".to_owned() };
        assert!(matches!(not_issued("a:1", EnrolError::Refused(denied)), NotIssued::Never(_)));
        assert!(matches!(not_issued("a:1", EnrolError::WrongRoot), NotIssued::NotHere(_)));
        assert!(matches!(not_issued("a:1", EnrolError::Busy(WITHIN)), NotIssued::NotYet(_)));
        let stopping = EnrolError::Refused(Refusal::Stopping);
        assert!(matches!(not_issued("a:1", stopping), NotIssued::NotYet(_)));
    }
}
