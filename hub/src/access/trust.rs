//! What peers are to trust, and who is to renew.

use std::time::Duration;

use proto::{Refusal, certs};

use super::unavailable;
use crate::clock::Clock;
use crate::identity::{HubIdentity, LeavesRotated, Peer};

/// The time over which spokes spread renewals that they are asked for at the same moment, at most.
const RENEWALS_SPREAD_MAX: Duration = Duration::from_secs(60);

/// The part of a leaf's life that it is at most, so that short lives are renewed in time.
const RENEWALS_SPREAD_PART: u32 = 10;

/// What is trusted at one moment.
#[derive(Debug)]
pub(crate) struct Trust {
    told: certs::Trust,
    spoke_issuer: String,
    leaves: Option<LeavesRotated>,
    spread: Duration,
}

impl Trust {
    /// Lets the hub's identity read it. `version` was read before.
    pub(super) async fn load(identity: &HubIdentity, clock: Clock, version: u64) -> Result<Self, Refusal> {
        identity.reload(clock.now()).await.map_err(unavailable)?;
        let times = identity.times();
        let spread = RENEWALS_SPREAD_MAX.min(times.lifetime / RENEWALS_SPREAD_PART);
        Ok(Self {
            told: certs::Trust {
                version,
                roots: identity.roots().iter().map(|root| root.to_vec()).collect(),
            },
            spoke_issuer: identity.spoke_issuer(),
            leaves: identity.leaves_rotated(),
            // Whoever renews in haste has some of the time left for what comes after it.
            spread: spread.min(times.renew_within / 2),
        })
    }

    /// What peers are told.
    pub(crate) fn told(&self) -> &certs::Trust {
        &self.told
    }

    /// Whether a leaf hangs from what is replaced, so that its holder is to renew it at once.
    pub(crate) fn is_replaced(&self, peer: &Peer) -> bool {
        peer.issuer != self.spoke_issuer || self.leaves.is_some_and(|leaves| peer.made < leaves.at)
    }

    /// The time over which spokes spread their renewals.
    pub(crate) fn spread(&self) -> Duration {
        self.spread
    }
}

#[cfg(test)]
mod tests {
    use proto::{ServiceName, Timestamp};

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn peer(issuer: &str, made: i64) -> Peer {
        Peer {
            service: ServiceName::parse("billing").unwrap(),
            instance: "1".to_owned(),
            issuer: issuer.to_owned(),
            fingerprint: [7; 32],
            made: at(made),
            half_life: at(made + 500),
            not_after: at(made + 1_000),
        }
    }

    fn trust(leaves: Option<i64>) -> Trust {
        Trust {
            told: certs::Trust { version: 3, roots: Vec::new() },
            spoke_issuer: "issuer/spoke/2".to_owned(),
            leaves: leaves.map(|millis| LeavesRotated { rotation: 1, at: at(millis) }),
            spread: Duration::from_secs(1),
        }
    }

    #[test]
    fn leaves_of_another_issuer_and_leaves_from_before_a_rotation_of_leaves_are_replaced() {
        assert!(trust(None).is_replaced(&peer("issuer/spoke", 10)));
        assert!(!trust(None).is_replaced(&peer("issuer/spoke/2", 10)));
        assert!(trust(Some(11)).is_replaced(&peer("issuer/spoke/2", 10)));
        assert!(!trust(Some(10)).is_replaced(&peer("issuer/spoke/2", 10)));
    }
}
