//! Renewals over a real database: the certificate in use counts until the new one is shown.

use super::*;

/// A spoke that is let in.
async fn spoke(identity: &HubIdentity) -> (Peer, Vec<u8>) {
    let leaf = enrol(identity, now()).await.chain[0].clone();
    (identity.authenticate(&leaf, now()).await.unwrap(), leaf)
}

async fn renew(identity: &HubIdentity, peer: &Peer) -> Result<Enrolled, IdentityError> {
    let (csr, _) = certs::spoke_request().unwrap();
    identity.renew_spoke(peer, &csr, now()).await
}

#[tokio::test]
async fn a_renewed_certificate_is_the_same_spokes_and_the_one_in_use_counts_until_it_is_shown() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (peer, first) = spoke(&identity).await;
    let second = renew(&identity, &peer).await.unwrap().chain[0].clone();
    assert_eq!(identity.authenticate(&first, now()).await.unwrap(), peer);
    let renewed = identity.authenticate(&second, now()).await.unwrap();
    assert_eq!((&renewed.service, &renewed.instance), (&peer.service, &peer.instance));
    assert_ne!(renewed.fingerprint, peer.fingerprint);
    let refused = identity.authenticate(&first, now()).await;
    assert!(matches!(refused, Err(AuthError::Revoked { .. })), "{refused:?}");
    let row = keys.certificates().by_fingerprint(&peer.fingerprint).await.unwrap();
    assert_eq!(row.reason.as_deref(), Some("superseded"));
    assert!(identity.authenticate(&second, now()).await.is_ok());
}

#[tokio::test]
async fn a_spoke_whose_answers_are_lost_again_and_again_is_never_locked_out() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (peer, first) = spoke(&identity).await;
    let mut lost = Vec::new();
    for _ in 0..20 {
        lost.push(renew(&identity, &peer).await.unwrap().chain[0].clone());
    }
    assert!(identity.authenticate(&first, now()).await.is_ok());
    let oldest = keys.certificates().by_fingerprint(&certs::fingerprint(&lost[0])).await.unwrap();
    assert!(oldest.revoked.is_some(), "more than the newest few superseded ones count");
    assert!(identity.authenticate(&lost[19], now()).await.is_ok());
    for leaf in lost[..19].iter().chain([&first]) {
        assert!(matches!(identity.authenticate(leaf, now()).await, Err(AuthError::Revoked { .. })));
    }
}

#[tokio::test]
async fn a_revoked_or_ended_certificate_is_not_renewed() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (peer, _) = spoke(&identity).await;
    let (csr, _) = certs::spoke_request().unwrap();
    let ended = identity.renew_spoke(&peer, &csr, later(25)).await;
    assert!(matches!(ended, Err(IdentityError::NotCounting { .. })), "{ended:?}");
    keys.certificates().revoke(&spoke_id("billing", &peer.instance), now()).await.unwrap();
    let revoked = renew(&identity, &peer).await;
    assert!(matches!(revoked, Err(IdentityError::NotCounting { .. })), "{revoked:?}");
    assert_eq!(keys.ids().await, ["1.hub", "issuer/hub", "issuer/spoke", "root"]);
}

#[tokio::test]
async fn a_request_that_is_none_leaves_everything_as_it_was() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (peer, first) = spoke(&identity).await;
    let before = keys.certificates().page(None, 100).await.unwrap();
    let refused = identity.renew_spoke(&peer, b"garbage", now()).await;
    assert!(matches!(refused, Err(IdentityError::Certificate(_))), "{refused:?}");
    assert_eq!(keys.certificates().page(None, 100).await.unwrap(), before);
    assert!(identity.authenticate(&first, now()).await.is_ok());
}

#[tokio::test]
async fn short_lives_end_a_tenth_before_their_end_and_are_half_through_at_half() {
    let mut keys = keys().await;
    keys.times = LeafTimes::new(Duration::from_secs(20), Duration::from_secs(5)).unwrap();
    let identity = keys.load("1.hub").await.unwrap();
    let (peer, leaf) = spoke(&identity).await;
    let validity = certs::validity(&leaf).unwrap();
    assert_eq!(validity.not_after.since(validity.not_before), Duration::from_secs(22));
    assert_eq!(validity.not_after.since(peer.not_after), Duration::from_millis(2_200));
    assert_eq!(peer.half_life.since(validity.not_before), Duration::from_secs(11));
}
