//! What a dialer does for a further connection: a key and a request, or an identity that somebody else has
//! renewed meanwhile; keeping what the hub issued before it is shown; and keeping what is trusted.
//!
//! Files and keys are worked on beside the driver.

use std::sync::Arc;
use std::time::Duration;

use certs::SecretKey;
use proto::certs::Trust;
use tokio::task::JoinError;

use super::dial::{DialError, Dialer, Dialled};
use super::renewal::Source;
use crate::identity::Identity;

/// What a renewal begins with.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Another program of this service has kept a newer identity.
    Kept(Arc<Identity>),
    /// A key, and the request for a certificate.
    Request { csr: Vec<u8>, key: SecretKey },
}

/// Why a renewal did not work.
#[derive(Debug)]
pub(super) enum Setback {
    /// The hub does not take the new certificate.
    Refused(String),
    /// Something else, which may be over the next time.
    Failed(String),
}

impl Dialer {
    /// Makes what a renewal of `current` begins with.
    pub(super) async fn prepare(self, current: Arc<Identity>, source: Source) -> Result<Prepared, Setback> {
        if source == Source::KeptOrHub
            && let Ok(Some(kept)) = self.saved().await
            && kept.life().map(|life| life.ends()) > current.life().map(|life| life.ends())
        {
            return Ok(Prepared::Kept(Arc::new(kept)));
        }
        let request = tokio::task::spawn_blocking(certs::spoke_request).await;
        if request.as_ref().is_err_and(JoinError::is_cancelled) {
            // The runtime ends, and nobody is to be told of that.
            return std::future::pending().await;
        }
        let (csr, key) = request.map_err(failed)?.map_err(failed)?;
        Ok(Prepared::Request { csr, key })
    }

    /// Keeps an identity that the hub has issued, and then connects with it.
    pub(super) async fn keep_and_reach(
        self,
        identity: Arc<Identity>,
        within: Duration,
    ) -> Result<Dialled, Setback> {
        // One that cannot be shown is not worth keeping.
        identity.client_config().map_err(failed)?;
        self.keep(Arc::clone(&identity)).await?;
        let dialled = self.reach_as(identity, within).await?;
        Ok(Dialled { is_new: true, ..dialled })
    }

    /// Connects with an identity that is kept.
    pub(super) async fn reach_as(
        self,
        identity: Arc<Identity>,
        within: Duration,
    ) -> Result<Dialled, Setback> {
        match tokio::time::timeout(within, self.dial_as(identity)).await {
            Ok(Ok(dialled)) => Ok(dialled),
            Ok(Err(DialError::NotBelieved { address, reason })) => {
                Err(Setback::Refused(format!("{address}: {reason}")))
            }
            Ok(Err(DialError::Away(reason))) => Err(Setback::Failed(reason)),
            Ok(Err(DialError::Hopeless(error) | DialError::Refused(error))) => Err(failed(error)),
            Err(_) => Err(Setback::Failed(format!("no answer within {within:?}"))),
        }
    }

    /// Keeps `identity` in place of the one before.
    pub(super) async fn keep(&self, identity: Arc<Identity>) -> Result<(), Setback> {
        let safe = self.safe();
        self.with_files(move || safe.renew(&identity)).await.map_err(|error| match error {
            DialError::Hopeless(error) | DialError::Refused(error) => failed(error),
            DialError::Away(reason) | DialError::NotBelieved { reason, .. } => Setback::Failed(reason),
        })
    }

    /// Keeps what is trusted. Gives the version that is kept.
    pub(super) async fn keep_trust(self, trust: Trust) -> Result<u64, String> {
        let safe = self.safe();
        let kept = tokio::task::spawn_blocking(move || safe.keep_trust(&trust)).await;
        kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

impl std::fmt::Display for Setback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(reason) => write!(f, "the hub does not take the new certificate: {reason}"),
            Self::Failed(reason) => f.write_str(reason),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Setback {
    Setback::Failed(error.to_string())
}
