//! What follows when a connection failed: pure.
//!
//! Nobody there: wait and try again, without end once there has been a Welcome, for the connect
//! time-out before. A certificate that is not believed: enrol once, and if that changes nothing, give
//! up with a clear reason.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use proto::message::Expulsion;
use proto::session::Violation;
use tracing::{debug, warn};

use super::backoff::Backoff;
use super::dial::{DialError, Dialer, Enrolment};
use crate::error::ConnectError;

/// Why there is no connection, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It was not made.
    #[error("it was not made: {0:?}")]
    Dial(DialError),
    /// It was not made in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// A certificate was refused after the handshake.
    #[error("{0}")]
    NotBelieved(String),
    /// The hub closed it.
    #[error("the hub closed the link")]
    HungUp,
    /// It broke.
    #[error(transparent)]
    Broken(io::Error),
    /// The hub broke the protocol, or is silent.
    #[error(transparent)]
    Violation(Violation),
    /// The hub said that it goes away, and nothing was left to do.
    #[error("the hub has gone away")]
    WentAway,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Dial again after this time.
    Wait(Duration),
    /// It is no use.
    GiveUp(ConnectError),
}

/// What is known from the tries so far.
#[derive(Debug)]
pub(super) struct Redial {
    where_to: String,
    folder: PathBuf,
    connect_timeout: Duration,
    backoff: Backoff,
    enrolment: Enrolment,
    /// There has been a Welcome, ever.
    connected: bool,
    /// There has been one on this connection.
    welcomed: bool,
    /// The identity was made since the last Welcome.
    enrolled: bool,
    address: String,
    going_away: Option<GoingAway>,
    expelled: Option<(Expulsion, String)>,
}

#[derive(Debug)]
struct GoingAway {
    reason: String,
    retry_after: Duration,
}

impl Redial {
    pub(super) fn new(dialer: &Dialer, connect_timeout: Duration) -> Self {
        Self::to(dialer.describe(), dialer.folder(), connect_timeout)
    }

    fn to(where_to: String, folder: PathBuf, connect_timeout: Duration) -> Self {
        Self {
            address: where_to.clone(),
            where_to,
            folder,
            connect_timeout,
            backoff: Backoff::default(),
            enrolment: Enrolment::IfNeeded,
            connected: false,
            welcomed: false,
            enrolled: false,
            going_away: None,
            expelled: None,
        }
    }

    /// What the next dial does about its identity.
    pub(super) fn enrolment(&self) -> Enrolment {
        self.enrolment
    }

    pub(super) fn dialled(&mut self, address: &str, enrolled: bool) {
        address.clone_into(&mut self.address);
        self.enrolled |= enrolled;
        self.enrolment = Enrolment::IfNeeded;
        self.welcomed = false;
        self.going_away = None;
        self.expelled = None;
    }

    pub(super) fn welcomed(&mut self) {
        self.backoff.reset();
        self.connected = true;
        self.welcomed = true;
        self.enrolled = false;
    }

    pub(super) fn goes_away(&mut self, reason: String, retry_after: Duration) {
        self.going_away = Some(GoingAway { reason, retry_after });
    }

    /// The hub has said that the certificate does not count any more.
    pub(super) fn expelled(&mut self, cause: Expulsion, reason: String) {
        self.expelled = Some((cause, reason));
    }

    pub(super) fn is_going_away(&self) -> bool {
        self.going_away.is_some()
    }

    /// What to do after `failure`, `elapsed` after the first try.
    pub(super) fn after(
        &mut self,
        failure: Failure,
        elapsed: Duration,
        random: impl FnOnce(RangeInclusive<u64>) -> u64,
    ) -> Next {
        let going_away = self.going_away.take();
        let welcomed = std::mem::take(&mut self.welcomed);
        // However the connection ended after that, this is why.
        match self.expelled.take() {
            Some((Expulsion::Revoked, reason)) => {
                let (address, folder) = (self.address.clone(), self.folder.clone());
                return Next::GiveUp(ConnectError::Revoked { address, reason, folder });
            }
            Some((Expulsion::Unknown | Expulsion::Ended, reason)) => return self.not_believed(reason),
            None => {}
        }
        let reason = match failure {
            Failure::Dial(DialError::Refused(error)) => return Next::GiveUp(error),
            Failure::Dial(DialError::Hopeless(error)) if !self.connected => return Next::GiveUp(error),
            Failure::Dial(DialError::Hopeless(error)) => error.to_string(),
            Failure::Dial(DialError::Away(reason)) => reason,
            Failure::Dial(DialError::NotBelieved { address, reason }) => {
                self.address = address;
                return self.not_believed(reason);
            }
            Failure::NotBelieved(reason) => return self.not_believed(reason),
            // A hub that does not know a certificate just hangs up.
            Failure::HungUp | Failure::Broken(_) if !welcomed && going_away.is_none() && !self.enrolled => {
                self.enrolment = Enrolment::Wanted;
                self.hung_up()
            }
            Failure::HungUp if !welcomed => self.hung_up(),
            Failure::HungUp => "the hub closed the link".to_owned(),
            Failure::Broken(error) => error.to_string(),
            Failure::Violation(violation) => violation.to_string(),
            Failure::Late(within) => format!("no answer within {within:?}"),
            Failure::WentAway => String::new(),
        };
        let (reason, retry_after) = match going_away {
            Some(GoingAway { reason, retry_after }) => (format!("the hub said: {reason}"), retry_after),
            None => (reason, Duration::ZERO),
        };
        self.again(reason, elapsed, retry_after, random)
    }

    fn hung_up(&self) -> String {
        format!("{} closed the connection before it said Welcome; its log says why", self.address)
    }

    /// Tries again, unless it is the first connect and its time is over.
    fn again(
        &mut self,
        reason: String,
        elapsed: Duration,
        retry_after: Duration,
        random: impl FnOnce(RangeInclusive<u64>) -> u64,
    ) -> Next {
        let wait = self.backoff.wait(retry_after, random);
        if self.connected {
            warn!(%reason, ?wait, "the link is down; trying again");
            return Next::Wait(wait);
        }
        let left = self.connect_timeout.saturating_sub(elapsed);
        if retry_after >= left {
            let address = self.where_to.clone();
            return Next::GiveUp(ConnectError::Unreachable { address, waited: elapsed, reason });
        }
        debug!(%reason, ?wait, "not connected yet; trying again");
        // The last try is at the end of the time.
        Next::Wait(wait.min(left))
    }

    /// Enrols once; a new identity that is not believed either will not be believed later.
    fn not_believed(&mut self, reason: String) -> Next {
        if self.enrolled || self.enrolment == Enrolment::Needed {
            let (address, folder) = (self.address.clone(), self.folder.clone());
            return Next::GiveUp(ConnectError::CertificateRefused { address, reason, folder });
        }
        warn!(%reason, "enrolling anew");
        self.enrolment = Enrolment::Needed;
        Next::Wait(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn redial() -> Redial {
        Redial::to("the file".to_owned(), "folder".into(), 10 * SECOND)
    }

    fn after(redial: &mut Redial, failure: Failure, elapsed: Duration) -> Next {
        redial.after(failure, elapsed, |range| *range.end())
    }

    fn away() -> Failure {
        Failure::Dial(DialError::Away("refused".to_owned()))
    }

    #[test]
    fn the_first_connect_tries_for_its_time_and_then_says_what_was_wrong() {
        let mut redial = redial();
        assert!(matches!(after(&mut redial, away(), 9 * SECOND), Next::Wait(_)));
        let Next::GiveUp(error) = after(&mut redial, away(), 10 * SECOND) else { panic!("it goes on") };
        assert!(error.to_string().contains("no hub answered at the file within 10s: refused"), "{error}");
    }

    #[test]
    fn once_connected_it_tries_for_ever() {
        let mut redial = redial();
        redial.dialled("a:1", false);
        redial.welcomed();
        assert!(matches!(after(&mut redial, away(), 9_999 * SECOND), Next::Wait(_)));
        let missing = ConnectError::NoHub { address_file: "hub.addr".into() };
        let missing = Failure::Dial(DialError::Hopeless(missing));
        assert!(matches!(after(&mut redial, missing, 9_999 * SECOND), Next::Wait(_)));
    }

    #[test]
    fn a_missing_hub_is_told_at_once_when_connecting_for_the_first_time() {
        let missing = ConnectError::NoHub { address_file: "hub.addr".into() };
        let next = after(&mut redial(), Failure::Dial(DialError::Hopeless(missing)), Duration::ZERO);
        assert!(matches!(next, Next::GiveUp(ConnectError::NoHub { .. })));
    }

    #[test]
    fn a_refused_certificate_is_replaced_once_and_then_it_is_over() {
        let mut redial = redial();
        redial.dialled("a:1", false);
        let revoked = || Failure::NotBelieved("revoked".to_owned());
        assert!(matches!(after(&mut redial, revoked(), SECOND), Next::Wait(Duration::ZERO)));
        assert_eq!(redial.enrolment(), Enrolment::Needed);
        redial.dialled("a:1", true);
        assert_eq!(redial.enrolment(), Enrolment::IfNeeded);
        let next = after(&mut redial, revoked(), SECOND);
        assert!(matches!(next, Next::GiveUp(ConnectError::CertificateRefused { .. })));
    }

    #[test]
    fn a_revoked_spoke_gives_up_and_one_that_is_not_known_enrols_once() {
        let mut redial = redial();
        redial.dialled("a:1", false);
        redial.welcomed();
        redial.expelled(Expulsion::Revoked, "key stolen".to_owned());
        let Next::GiveUp(error) = after(&mut redial, Failure::HungUp, SECOND) else { panic!("it goes on") };
        assert!(error.to_string().contains("key stolen"), "{error}");
        redial.dialled("a:1", false);
        redial.expelled(Expulsion::Unknown, "not in the table".to_owned());
        assert!(matches!(after(&mut redial, Failure::HungUp, SECOND), Next::Wait(Duration::ZERO)));
        assert_eq!(redial.enrolment(), Enrolment::Needed);
    }

    #[test]
    fn a_hub_that_hangs_up_before_welcome_gets_a_new_identity_once_and_is_tried_on() {
        let mut redial = redial();
        redial.dialled("a:1", false);
        assert!(matches!(after(&mut redial, Failure::HungUp, SECOND), Next::Wait(_)));
        assert_eq!(redial.enrolment(), Enrolment::Wanted);
        redial.dialled("a:1", true);
        assert!(matches!(after(&mut redial, Failure::HungUp, SECOND), Next::Wait(_)));
        assert_eq!(redial.enrolment(), Enrolment::IfNeeded);
    }

    #[test]
    fn a_link_that_was_open_is_taken_up_with_the_same_identity() {
        let mut redial = redial();
        redial.dialled("a:1", false);
        redial.welcomed();
        assert!(matches!(after(&mut redial, Failure::HungUp, SECOND), Next::Wait(_)));
        assert_eq!(redial.enrolment(), Enrolment::IfNeeded);
    }

    #[test]
    fn a_hub_that_goes_away_says_how_long_to_wait() {
        let mut redial = redial();
        redial.dialled("a:1", false);
        redial.welcomed();
        redial.goes_away("restart".to_owned(), 3 * SECOND);
        let Next::Wait(wait) = after(&mut redial, Failure::WentAway, SECOND) else { panic!("it gives up") };
        assert!(wait >= 3 * SECOND && wait < 4 * SECOND, "{wait:?}");
        assert!(!redial.is_going_away());
    }
}
