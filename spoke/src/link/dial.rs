//! One try to reach the hub: address, identity, TCP, TLS. The deadline over it and over Welcome is
//! the driver's.
//!
//! With TLS 1.3 the handshake succeeds on this side before the hub has looked at this spoke's
//! certificate, so what comes back here is not a link yet: the hub's refusal, if there is one, comes
//! with the first read.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use proto::enrol::EnrolToken;
use proto::{Refusal, Timestamp};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{self, AlertDescription, ClientConfig};
use tracing::{debug, info};

use super::address::{Address, AddressError, Distance, Found};
use crate::enrolment::{NotIssued, not_issued, reached_first};
use crate::error::ConnectError;
use crate::identity::{
    EnrolError, Identity, Issued, Safe, TokenSource, TokenTrouble, enrol, enrol_with_token,
};
use crate::options::SpokeOptions;

/// Dials, again and again.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    address: Address,
    socket: PathBuf,
    service: proto::ServiceName,
    safe: Safe,
    token: TokenSource,
}

/// Whether the saved identity will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enrolment {
    /// It will, if there is a good one.
    IfNeeded,
    /// The hub may not know it: ask for a new one, but take the old one if nobody answers.
    Wanted,
    /// The hub has refused it: only a new one will do.
    Needed,
}

/// A connection on which nothing has been said.
pub(super) struct Dialled {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) address: String,
    /// Whether the identity was issued just before.
    pub(super) is_new: bool,
    /// What was shown.
    pub(super) identity: Arc<Identity>,
}

/// Why a dial failed, by what is to be done about it.
#[derive(Debug)]
pub(super) enum DialError {
    /// Nobody is there, or not yet: try again.
    Away(String),
    /// The hub's certificate or this spoke's is not believed.
    NotBelieved { address: String, reason: String },
    /// Trying again is no use, at least not when connecting for the first time.
    Hopeless(ConnectError),
    /// Trying again is no use, ever.
    Refused(ConnectError),
}

impl Dialer {
    pub(super) fn new(options: &SpokeOptions) -> Self {
        let safe = Safe::new(&options.data, &options.service);
        Self {
            address: Address::new(options.hub.clone(), &options.data, safe.hubs_file()),
            socket: options.data.join("enrol.sock"),
            service: options.service.clone(),
            safe,
            token: options.token.clone(),
        }
    }

    pub(super) async fn dial(self, enrolment: Enrolment) -> Result<Dialled, DialError> {
        let hub = self.find().await?;
        let (identity, is_new) = self.identity(enrolment, &hub).await?;
        connect(hub.address, Arc::new(identity), is_new).await
    }

    /// Dials with an identity that is there already.
    pub(super) async fn dial_as(self, identity: Arc<Identity>) -> Result<Dialled, DialError> {
        connect(self.find().await?.address, identity, false).await
    }

    async fn find(&self) -> Result<Found, DialError> {
        self.address.find().await.map_err(|error| match error {
            AddressError::Missing(address_file) => DialError::Hopeless(ConnectError::NoHub { address_file }),
            AddressError::Unreadable(reason) => DialError::Away(reason),
        })
    }

    /// The hub that was dialled last has let us in.
    pub(super) fn welcomed(&self) {
        self.address.welcomed();
    }

    /// What people are told about where the hub was looked for.
    pub(super) fn describe(&self) -> String {
        self.address.describe()
    }

    /// Where the identity is kept.
    pub(super) fn folder(&self) -> PathBuf {
        self.safe.folder().to_owned()
    }

    /// Where identities are kept.
    pub(super) fn safe(&self) -> Safe {
        self.safe.clone()
    }

    /// The identity to show, and whether it is a new one.
    async fn identity(&self, enrolment: Enrolment, hub: &Found) -> Result<(Identity, bool), DialError> {
        let saved = match enrolment {
            Enrolment::IfNeeded | Enrolment::Wanted => self.saved().await?,
            Enrolment::Needed => None,
        };
        Ok(match (saved, enrolment) {
            (Some(saved), Enrolment::IfNeeded | Enrolment::Needed) => (saved, false),
            // A use of a token is too much to pay for a guess.
            (Some(saved), Enrolment::Wanted) => match enrol(&self.socket, &self.service).await {
                Ok(new) => (self.keep_issued(new, None).await?, true),
                Err(error) => {
                    debug!(?error, "no new identity, the old one has to do");
                    (saved, false)
                }
            },
            (None, _) => (self.enrol(hub).await?, true),
        })
    }

    /// The identity that is kept, if it is still good.
    pub(super) async fn saved(&self) -> Result<Option<Identity>, DialError> {
        let safe = self.safe.clone();
        self.with_files(move || safe.load(now())).await
    }

    /// A new identity: from the hub on this machine if it gives one, else with a token if there is one.
    async fn enrol(&self, hub: &Found) -> Result<Identity, DialError> {
        let error = match enrol(&self.socket, &self.service).await {
            Ok(identity) => return self.keep_issued(identity, None).await,
            Err(error) => error,
        };
        let elsewhere = match &error {
            EnrolError::Unreachable(_) | EnrolError::Refused(Refusal::Denied { .. }) => self.token().await?,
            EnrolError::Refused(_)
            | EnrolError::WrongRoot
            | EnrolError::Busy(_)
            | EnrolError::Nonsense(_)
            | EnrolError::Request(_) => None,
        };
        let Some(token) = elsewhere else { return Err(self.not_enrolled(error, hub.distance)) };
        debug!(token = %token.id, "enrolling with a token");
        let address = &hub.address;
        let issued = enrol_with_token(address, &token, Some(&self.service)).await;
        let Issued { identity, hubs } = issued.map_err(|error| match not_issued(address, error) {
            NotIssued::Never(error) => DialError::Refused(error),
            NotIssued::NotHere(error) => DialError::Hopeless(error),
            NotIssued::NotYet(reason) => DialError::Away(format!("{address}: {reason}")),
        })?;
        self.keep_issued(identity, Some(reached_first(address, hubs))).await
    }

    async fn token(&self) -> Result<Option<EnrolToken>, DialError> {
        let source = self.token.clone();
        let found = tokio::task::spawn_blocking(move || source.token()).await;
        found.map_err(|error| DialError::Away(error.to_string()))?.map_err(
            |TokenTrouble { place, reason }| DialError::Hopeless(ConnectError::Token { place, reason }),
        )
    }

    /// Saves a new identity, and where hubs are if they are not on this machine.
    async fn keep_issued(
        &self,
        identity: Identity,
        hubs: Option<Vec<String>>,
    ) -> Result<Identity, DialError> {
        info!(service = %self.service, "enrolled");
        let safe = self.safe.clone();
        self.with_files(move || {
            safe.save(&identity)?;
            hubs.map_or(Ok(()), |hubs| safe.save_hubs(&hubs))?;
            Ok(identity)
        })
        .await
    }

    /// Works on files, beside the task that asks for it.
    pub(super) async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, DialError> {
        let path = self.safe.folder().to_owned();
        let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()));
        done.map_err(|error| DialError::Hopeless(ConnectError::Identity { path, reason: error.to_string() }))
    }

    fn not_enrolled(&self, error: EnrolError, distance: Distance) -> DialError {
        match error {
            EnrolError::Refused(refusal @ (Refusal::Unavailable { .. } | Refusal::Stopping)) => {
                DialError::Away(format!("no certificate yet: {refusal}"))
            }
            EnrolError::Refused(refusal) => DialError::Refused(ConnectError::EnrolmentRefused {
                service: self.service.to_string(),
                socket: self.socket.clone(),
                refusal,
            }),
            // A hub on this machine makes its socket before it tells its address; one elsewhere never will.
            EnrolError::Unreachable(error)
                if error.kind() == io::ErrorKind::NotFound && distance == Distance::Anywhere =>
            {
                DialError::Hopeless(ConnectError::NoIdentity {
                    service: self.service.to_string(),
                    folder: self.folder(),
                    socket: self.socket.clone(),
                })
            }
            EnrolError::Unreachable(_)
            | EnrolError::WrongRoot
            | EnrolError::Busy(_)
            | EnrolError::Nonsense(_)
            | EnrolError::Request(_) => DialError::Away(format!("{}: {error}", self.socket.display())),
        }
    }
}

async fn connect(address: String, identity: Arc<Identity>, is_new: bool) -> Result<Dialled, DialError> {
    let config = identity.client_config().map_err(|error| DialError::Away(error.to_string()))?;
    debug!(%address, is_new, "dialling");
    let stream = reach(&address, Arc::new(config)).await.map_err(|error| not_reached(&address, &error))?;
    Ok(Dialled { stream, address, is_new, identity })
}

async fn reach(address: &str, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    // Without it every answer waits for the other end's delayed acknowledgement.
    stream.set_nodelay(true)?;
    TlsConnector::from(config).connect(certs::tls::hub_name(), stream).await
}

fn not_reached(address: &str, error: &io::Error) -> DialError {
    match not_believed(error) {
        Some(reason) => DialError::NotBelieved { address: address.to_owned(), reason },
        None => DialError::Away(format!("{address}: {error}")),
    }
}

/// Which certificate is not believed, if that is what the error says.
pub(super) fn not_believed(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            Some(format!("the hub's certificate is not believed: {reason}"))
        }
        rustls::Error::AlertReceived(alert) => refusal_of(*alert).map(str::to_owned),
        _ => None,
    }
}

/// What an alert about this spoke's certificate means.
fn refusal_of(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateRevoked => Some("the certificate is revoked"),
        AlertDescription::CertificateExpired => Some("the certificate has ended"),
        AlertDescription::UnknownCA => Some("the hub does not know who issued the certificate"),
        AlertDescription::CertificateUnknown
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate => Some("the hub does not know the certificate"),
        AlertDescription::CertificateRequired => Some("the hub got no certificate"),
        AlertDescription::AccessDenied => Some("the certificate is not allowed here"),
        _ => None,
    }
}

/// The time of day, for the ends of certificates.
#[expect(clippy::disallowed_methods, reason = "the edge where the time of day becomes an argument")]
fn now() -> Timestamp {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(millis).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_about_certificates_are_told_from_others() {
        let alert = |alert| io::Error::other(rustls::Error::AlertReceived(alert));
        let revoked = not_believed(&alert(AlertDescription::CertificateRevoked));
        assert_eq!(revoked.as_deref(), Some("the certificate is revoked"));
        assert_eq!(not_believed(&alert(AlertDescription::NoApplicationProtocol)), None);
        assert_eq!(not_believed(&io::Error::other("reset")), None);
    }
}
