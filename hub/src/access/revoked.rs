//! Which holders of certificates are to be looked at again.
//!
//! What counts is the row of a certificate; this only says whose row has to be read. So a connection
//! that finds itself named here asks the table, and one that is let in later has been asked already.

use std::collections::HashMap;
use std::time::Duration;

use db::{Database, Holder, REVOCATIONS_PER_PAGE};
use proto::{Refusal, Timestamp};

use super::unavailable;
use crate::identity::Peer;

/// How far back revocations are kept in memory: longer than a connection lasts, which ends with its
/// certificate.
const KEPT: Duration = Duration::from_hours(31 * 24);

/// The revocations that a live connection may be named by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Revoked {
    newest: u64,
    /// The newest revocation of each holder.
    of: HashMap<Holder, u64>,
}

impl Revoked {
    /// Reads what has come since `self` was read.
    pub(super) async fn read_on(&self, database: &Database, now: Timestamp) -> Result<Self, Refusal> {
        let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(now.millis().saturating_sub_unsigned(kept)).unwrap_or_default();
        let revocations = database.revocations();
        let mut read = self.clone();
        loop {
            let page = revocations.page(read.newest, since).await.map_err(unavailable)?;
            let last = page.len() < REVOCATIONS_PER_PAGE as usize;
            for revocation in page {
                read.newest = revocation.seq;
                read.of.insert(revocation.holder, revocation.seq);
            }
            if last {
                return Ok(read);
            }
        }
    }

    /// The newest revocation that may be about `peer`; 0 if none is.
    pub(crate) fn concerning(&self, peer: &Peer) -> u64 {
        let id = format!("{}/{}", peer.service, peer.instance);
        let holders = [
            Holder::Spoke(id),
            Holder::Service(peer.service.clone()),
            Holder::Issuer(peer.issuer.clone()),
            Holder::Fingerprint(peer.fingerprint),
        ];
        holders.iter().filter_map(|holder| self.of.get(holder)).copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proto::ServiceName;

    use super::*;

    fn peer() -> Peer {
        Peer {
            service: ServiceName::parse("billing").unwrap(),
            instance: "1".to_owned(),
            issuer: "issuer/spoke".to_owned(),
            fingerprint: [7; 32],
            made: Timestamp::default(),
            half_life: Timestamp::default(),
            not_after: Timestamp::default(),
        }
    }

    #[test]
    fn a_peer_is_named_by_its_id_its_service_its_issuer_and_its_certificate_and_by_nothing_else() {
        let others = [
            Holder::Spoke("billing/2".to_owned()),
            Holder::Service(ServiceName::parse("shipping").unwrap()),
            Holder::Issuer("issuer/spoke/2".to_owned()),
            Holder::Fingerprint([8; 32]),
        ];
        let mut revoked = Revoked::default();
        revoked.of.extend(others.map(|holder| (holder, 9)));
        assert_eq!(revoked.concerning(&peer()), 0);
        let own = [
            Holder::Spoke("billing/1".to_owned()),
            Holder::Service(peer().service),
            Holder::Issuer(peer().issuer),
            Holder::Fingerprint(peer().fingerprint),
        ];
        for (holder, seq) in own.into_iter().zip(1..) {
            revoked.of.insert(holder, seq);
            assert_eq!(revoked.concerning(&peer()), seq);
        }
    }
}
