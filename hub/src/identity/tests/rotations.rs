//! Replacements over a real database, step by step, by whichever hub is there.

use db::{RotationRow, StepChanges};
use proto::rotation::{AuthorityState, Begun, Pace, RotationKind, RotationStep};

use super::*;
use crate::identity::standing::AuthorityKind;

use RotationStep::{Activated, Archived, Prepared, Retired};

pub(super) async fn begin(keys: &Keys, kind: RotationKind) -> RotationRow {
    let (begun, row) = keys.database.rotations().begin(kind, Pace::Orderly, "operator/1").await.unwrap();
    assert_eq!(begun, Begun::New);
    row
}

/// Moves the replacement under way on to `to`, as the hub `identity`, which has read everything before.
pub(super) async fn step(keys: &Keys, identity: &HubIdentity, to: RotationStep) {
    identity.reload(now()).await.unwrap();
    let rotations = keys.database.rotations();
    let row = rotations.open().await.unwrap().unwrap();
    let changes = identity.changes(&row.rotation, to, now()).unwrap();
    assert!(rotations.step(&row, to, &changes, "1.hub").await.unwrap());
    identity.reload(now()).await.unwrap();
}

fn der(bytes: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    bytes.iter().cloned().map(CertificateDer::from).collect()
}

/// A spoke with its key, as it was enrolled.
pub(super) struct Spoke {
    enrolled: Enrolled,
    key: certs::SecretKey,
}

impl Spoke {
    pub(super) async fn enrol(identity: &HubIdentity) -> Self {
        let (csr, key) = certs::spoke_request().unwrap();
        let service = ServiceName::parse("billing").unwrap();
        Self { enrolled: identity.issue_spoke(&csr, &service, now()).await.unwrap(), key }
    }

    /// Whether hub and spoke believe each other.
    pub(super) async fn meets(&self, identity: &HubIdentity) -> bool {
        let (roots, chain) = (der(&self.enrolled.roots), der(&self.enrolled.chain));
        let config = tls::client_config(&roots, chain, &self.key).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let acceptor = tokio_rustls::TlsAcceptor::from(identity.server_config());
        let (spoke, hub) = tokio::join!(connector.connect(tls::hub_name(), near), acceptor.accept(far));
        spoke.is_ok() && hub.is_ok() && identity.authenticate(&self.enrolled.chain[0], now()).await.is_ok()
    }
}

#[tokio::test]
async fn old_and_new_spokes_are_let_in_at_every_step_also_by_a_hub_that_starts_there() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let old = Spoke::enrol(&identity).await;
    begin(&keys, RotationKind::Root).await;
    for to in [Prepared, Activated] {
        step(&keys, &identity, to).await;
        let started = keys.load("1.hub").await.unwrap();
        for hub in [&identity, &started] {
            assert!(old.meets(hub).await, "{to:?}");
            assert!(Spoke::enrol(hub).await.meets(hub).await, "{to:?}");
        }
    }
    let between = Spoke::enrol(&identity).await;
    for to in [Retired, Archived] {
        step(&keys, &identity, to).await;
        let started = keys.load("1.hub").await.unwrap();
        for hub in [&identity, &started] {
            assert!(between.meets(hub).await, "{to:?}");
            assert!(Spoke::enrol(hub).await.meets(hub).await, "{to:?}");
            assert!(!old.meets(hub).await, "{to:?}");
        }
    }
}

#[tokio::test]
async fn a_root_is_followed_by_another_with_its_issuers_and_its_key_is_gone_in_the_end() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    begin(&keys, RotationKind::Root).await;
    for to in [Prepared, Activated, Retired, Archived] {
        step(&keys, &identity, to).await;
    }
    assert_eq!(keys.ids().await, ["1.hub", "issuer/hub/2", "issuer/spoke/2", "root/2"]);
    let rows = keys.database.rotations().authorities().await.unwrap();
    let former: Vec<_> = rows.iter().filter(|row| row.version > 0).collect();
    assert_eq!(former.len(), 4, "the former three and the cross-certificate");
    for row in former {
        assert!(row.revoked.is_some() && row.key.is_none(), "{}", row.id);
    }
    assert_eq!(keys.database.rotations().open().await.unwrap(), None);
    assert_eq!(keys.certificates().active("1.hub").await.unwrap().issuer, "issuer/hub/2");
}

#[tokio::test]
async fn issuers_are_followed_by_others_below_the_same_root() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let old = Spoke::enrol(&identity).await;
    let root = identity.root();
    begin(&keys, RotationKind::Intermediate).await;
    step(&keys, &identity, Prepared).await;
    assert_eq!(identity.standing().1.state(AuthorityKind::SpokeIssuer.of(2)), AuthorityState::Next);
    assert_eq!(identity.spoke_issuer(), "issuer/spoke");
    step(&keys, &identity, Activated).await;
    assert_eq!((identity.spoke_issuer().as_str(), identity.root()), ("issuer/spoke/2", root));
    assert!(old.meets(&identity).await);
    let hanging = identity.hanging_from(&keys.database.rotations().open().await.unwrap().unwrap().rotation);
    assert_eq!(hanging.issuers, ["issuer/hub", "issuer/spoke"]);
    let counted = keys.database.rotations().hanging(&hanging, now()).await.unwrap();
    assert_eq!(counted.leaves, 1, "the hub shows a new leaf already");
    let revoked = keys.database.rotations().revoke_hanging(&hanging, "stolen", "1.hub").await.unwrap();
    assert_eq!(revoked, 1);
    assert_eq!(keys.database.rotations().hanging(&hanging, now()).await.unwrap(), db::Hanging::default());
    assert!(!old.meets(&identity).await);
}

#[tokio::test]
async fn a_rotation_of_leaves_counts_those_made_before_it_and_renews_the_hubs_own() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let _old = Spoke::enrol(&identity).await;
    let first = keys.certificates().active("1.hub").await.unwrap();
    begin(&keys, RotationKind::Leaf).await;
    step(&keys, &identity, Prepared).await;
    assert_eq!(keys.certificates().active("1.hub").await.unwrap(), first);
    step(&keys, &identity, Activated).await;
    assert_ne!(keys.certificates().active("1.hub").await.unwrap().fingerprint, first.fingerprint);
    let rotation = keys.database.rotations().open().await.unwrap().unwrap().rotation;
    let hanging = identity.hanging_from(&rotation);
    assert_eq!(hanging.made_before, rotation.activated);
    let counted = keys.database.rotations().hanging(&hanging, now()).await.unwrap();
    assert_eq!(counted.leaves, 1);
}

#[tokio::test]
async fn of_hubs_that_try_the_same_step_at_once_one_does_it() {
    let keys = keys().await;
    let (one, two) = (keys.load("1.hub").await.unwrap(), keys.load("2.hub").await.unwrap());
    let row = begin(&keys, RotationKind::Root).await;
    let rotations = keys.database.rotations();
    let changes = |hub: &HubIdentity| hub.changes(&row.rotation, Prepared, now()).unwrap();
    let (first, second) = (changes(&one), changes(&two));
    let (first, second) = tokio::join!(
        rotations.step(&row, Prepared, &first, "1.hub"),
        rotations.step(&row, Prepared, &second, "2.hub")
    );
    let done = [first, second].into_iter().filter(|done| *done == Ok(true)).count();
    assert_eq!(done, 1);
    let roots = rotations.authorities().await.unwrap();
    assert_eq!(roots.iter().filter(|row| row.role == "root").count(), 2);
}

#[tokio::test]
async fn there_is_one_replacement_at_a_time_and_a_hasty_wish_hastens_the_same_one() {
    let keys = keys().await;
    keys.load("1.hub").await.unwrap();
    let row = begin(&keys, RotationKind::Root).await;
    let rotations = keys.database.rotations();
    let again = rotations.begin(RotationKind::Root, Pace::Orderly, "operator/2").await.unwrap();
    assert_eq!(again, (Begun::UnderWay, row.clone()));
    let other = rotations.begin(RotationKind::Leaf, Pace::Hasty, "operator/2").await.unwrap();
    assert_eq!(other, (Begun::UnderWay, row.clone()));
    let (begun, hasty) = rotations.begin(RotationKind::Root, Pace::Hasty, "operator/2").await.unwrap();
    assert_eq!(
        (begun, hasty.rotation.pace, hasty.rotation.id),
        (Begun::Hastened, Pace::Hasty, row.rotation.id)
    );
    assert!(hasty.trust > row.trust);
    assert_eq!(rotations.open().await.unwrap().unwrap(), hasty);
}

#[tokio::test]
async fn a_step_that_cannot_store_what_it_makes_changes_nothing() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let row = begin(&keys, RotationKind::Intermediate).await;
    let taken = keys.certificates().active("issuer/hub").await.unwrap();
    let changes = StepChanges { stored: vec![taken], ..StepChanges::default() };
    let rotations = keys.database.rotations();
    assert!(rotations.step(&row, Prepared, &changes, "1.hub").await.is_err());
    assert_eq!(rotations.open().await.unwrap().unwrap(), row);
    step(&keys, &identity, Prepared).await;
}

#[tokio::test]
async fn without_the_roots_key_nothing_new_is_signed_and_it_is_said_what_to_do() {
    let (whole, keys) = (keys().await, keys().await);
    whole.load("1.hub").await.unwrap();
    let (from, to) = (whole.certificates(), keys.certificates());
    to.persist_keyring(&from.keyring_active().await.unwrap().unwrap()).await.unwrap();
    for id in ["root", "issuer/hub", "issuer/spoke"] {
        let row = from.active(id).await.unwrap();
        let key = row.key.clone().filter(|_| id != "root");
        to.persist(&CertificateRow { key, ..row }).await.unwrap();
    }
    // A root whose key is gone is no root that was taken out.
    assert!(matches!(keys.load("1.hub").await, Err(IdentityError::BadRow { .. })));
    let root = from.active("root").await.unwrap();
    let mark = whole.load("1.hub").await.unwrap().vault.mark(&root).unwrap();
    keys.mark(&mark).await;
    let identity = keys.load("1.hub").await.unwrap();
    assert!(identity.root_key_is_elsewhere());
    let row = begin(&keys, RotationKind::Intermediate).await;
    let advice = identity.missing(&row.rotation).unwrap();
    assert!(advice.contains("root") && advice.contains("export-csr"), "{advice}");
    let refused = identity.changes(&row.rotation, Prepared, now());
    assert_eq!(
        refused,
        Err(IdentityError::KeyElsewhere { id: "root".to_owned(), wanted: RotationKind::Intermediate })
    );
    assert!(Spoke::enrol(&identity).await.meets(&identity).await);
    assert!(keys.load("1.hub").await.is_ok());
}
