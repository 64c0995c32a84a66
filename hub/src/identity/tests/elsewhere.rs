//! Authorities that a root elsewhere signs, over a real database: what is asked for, what is taken, and
//! what is not.

use db::{ForgotKey, Requested, RotationRow, StepChanges};
use proto::rotation::{RotationKind, RotationStep};

use super::rotations::{Spoke, begin, step};
use super::*;
use crate::passphrase::PassphraseSource;

use RotationKind::{Intermediate, Root};
use RotationStep::{Activated, Archived, Prepared, Retired};

/// The root of `keys` with its key, which the database does not have any more.
async fn taken_out(keys: &Keys) -> Authority {
    let file = keys.folder().join("root.pem");
    let secret = || passphrase("the passphrase of the copy");
    std::fs::write(keys.folder().join("passphrase"), "correct horse battery").unwrap();
    let wish = ForgetRootKey {
        data: keys.folder(),
        from: PassphraseSource::File(private(keys.folder().join("passphrase"))),
        copy: Some(RootCopy { file: file.clone(), passphrase: secret() }),
        agent: "ann",
    };
    let forgotten = forget_root_key(&keys.database, wish).await.unwrap();
    assert_eq!(forgotten.id, "root");
    Authority::from_protected_pem(&std::fs::read(&file).unwrap(), &secret()).unwrap()
}

fn private(path: std::path::PathBuf) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Has requests stored for a replacement of `kind`, and reads them as every hub does.
async fn requested(keys: &Keys, identity: &HubIdentity, kind: RotationKind) -> (RotationRow, Vec<Vec<u8>>) {
    let rows = identity.new_requests(now()).unwrap();
    let row = match keys.database.rotations().request(kind, &rows, "ann").await.unwrap() {
        Requested::Stored(row) => row,
        Requested::UnderWay(row) => panic!("{row:?} is under way"),
    };
    identity.reload(now()).await.unwrap();
    (row, rows.into_iter().map(|row| row.cert).collect())
}

fn signed(root: &Authority, requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    requests.iter().map(|csr| certs::sign_issuer(root, csr, now()).unwrap().1.to_vec()).collect()
}

/// Stores what was signed, as the step to prepared.
async fn import(keys: &Keys, identity: &HubIdentity, row: &RotationRow, given: Vec<Vec<u8>>) -> Imported {
    let imported = identity.imported(&row.rotation, given, now()).unwrap();
    let (stored, marks) = (imported.rows.clone(), imported.marks.clone());
    let changes = StepChanges { stored, marks, ..StepChanges::default() };
    assert!(keys.database.rotations().step(row, Prepared, &changes, "ann").await.unwrap());
    identity.reload(now()).await.unwrap();
    imported
}

async fn refused(identity: &HubIdentity, row: &RotationRow, given: Vec<Vec<u8>>) -> String {
    identity.imported(&row.rotation, given, now()).unwrap_err().to_string()
}

#[tokio::test]
async fn a_root_key_leaves_the_database_only_for_a_copy_that_opens() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let root = taken_out(&keys).await;
    assert_eq!(root.certificate().as_ref(), identity.root().as_ref());
    assert!(keys.certificates().active("root").await.unwrap().key.is_none());
    identity.reload(now()).await.unwrap();
    assert!(identity.root_key_is_elsewhere());
    assert!(Spoke::enrol(&identity).await.meets(&identity).await);
    assert!(keys.load("1.hub").await.is_ok(), "a hub starts without it");
    // There is nothing left to forget, and the file that is there is left alone.
    let wish = |copy| ForgetRootKey {
        data: keys.folder(),
        from: PassphraseSource::File(keys.folder().join("passphrase")),
        copy,
        agent: "ann",
    };
    assert!(forget_root_key(&keys.database, wish(None)).await.is_err());
}

#[tokio::test]
async fn a_root_key_stays_where_its_copy_cannot_be_written_or_a_replacement_may_need_it() {
    let keys = keys().await;
    keys.load("1.hub").await.unwrap();
    std::fs::write(keys.folder().join("passphrase"), "correct horse battery").unwrap();
    let file = private(keys.folder().join("passphrase"));
    let wish = |copy: &str| ForgetRootKey {
        data: keys.folder(),
        from: PassphraseSource::File(file.clone()),
        copy: Some(RootCopy { file: keys.folder().join(copy), passphrase: passphrase("of the copy, long") }),
        agent: "ann",
    };
    let taken = forget_root_key(&keys.database, wish("passphrase")).await.unwrap_err();
    assert!(taken.to_string().contains("there is another file already"), "{taken}");
    assert_eq!(std::fs::read(keys.folder().join("passphrase")).unwrap(), b"correct horse battery");
    let nowhere = forget_root_key(&keys.database, wish("no/such/folder.pem")).await;
    assert!(nowhere.is_err());
    let row = begin(&keys, Intermediate).await;
    let needed = forget_root_key(&keys.database, wish("root.pem")).await.unwrap_err();
    assert!(needed.to_string().contains("replacement 1"), "{needed}");
    assert!(!keys.folder().join("root.pem").exists(), "no copy is made for nothing");
    let root = keys.certificates().active("root").await.unwrap();
    assert!(root.key.is_some());
    assert!(keys.database.rotations().withdraw(&row, "ann").await.unwrap());
    // Somebody else's root of the same id is not this one.
    let mark = keys.load("1.hub").await.unwrap().vault.mark(&root).unwrap();
    let forgot = keys.database.rotations().forget_root_key(&mark, &[7; 32], "", "ann").await.unwrap();
    assert_eq!(forgot, ForgotKey::Gone);
    // A copy that was written when the database did not answer is taken the next time.
    let opened = keys.load("1.hub").await.unwrap().vault.opened(&root).unwrap();
    let text = opened.to_protected_pem(&passphrase("of the copy, long")).unwrap();
    std::fs::write(keys.folder().join("root.pem"), text).unwrap();
    forget_root_key(&keys.database, wish("root.pem")).await.unwrap();
}

#[tokio::test]
async fn issuers_that_a_root_elsewhere_has_signed_take_the_place_of_the_former_ones() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let root = taken_out(&keys).await;
    let old = Spoke::enrol(&identity).await;
    let (row, requests) = requested(&keys, &identity, Intermediate).await;
    // Whatever hub looks now waits, also one that starts here.
    let other = keys.load("2.hub").await.unwrap();
    assert!(other.missing(&row.rotation).unwrap().contains("certs import"));
    assert_eq!(other.changes(&row.rotation, Prepared, now()), Err(IdentityError::SignedElsewhere));
    let imported = import(&keys, &other, &row, signed(&root, &requests)).await;
    let ids: Vec<_> = imported.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!((ids, imported.advice), (vec!["issuer/hub/2", "issuer/spoke/2"], vec![]));
    assert!(
        keys.database.rotations().requests().await.unwrap().is_empty(),
        "requests go with what was signed"
    );
    step(&keys, &identity, Activated).await;
    assert_eq!(identity.spoke_issuer(), "issuer/spoke/2");
    let new = Spoke::enrol(&identity).await;
    assert!(old.meets(&identity).await && new.meets(&identity).await);
    step(&keys, &identity, Retired).await;
    step(&keys, &identity, Archived).await;
    assert!(new.meets(&identity).await);
    assert!(new.meets(&keys.load("3.hub").await.unwrap()).await);
}

#[tokio::test]
async fn a_root_from_elsewhere_is_believed_by_who_knows_the_former_one_only() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let old = Spoke::enrol(&identity).await;
    let (row, requests) = requested(&keys, &identity, Root).await;
    let next = certs::offline_root("eventflow.internal", now()).unwrap();
    let given = [vec![next.certificate().to_vec()], signed(&next, &requests)].concat();
    // The former root's key is here, so the hub makes the cross-certificate.
    let imported = import(&keys, &identity, &row, given).await;
    let ids: Vec<_> = imported.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["root/2", "cross/2", "issuer/hub/2", "issuer/spoke/2"]);
    assert!(imported.advice.is_empty());
    step(&keys, &identity, Activated).await;
    assert!(old.meets(&identity).await, "by the cross-certificate");
    assert!(Spoke::enrol(&identity).await.meets(&identity).await);
    assert_eq!(identity.root().as_ref(), next.certificate().as_ref());
    step(&keys, &identity, Retired).await;
    step(&keys, &identity, Archived).await;
    assert!(!old.meets(&identity).await);
    assert!(Spoke::enrol(&identity).await.meets(&keys.load("2.hub").await.unwrap()).await);
    assert!(identity.root_key_is_elsewhere());
}

#[tokio::test]
async fn a_root_elsewhere_is_replaced_by_another_with_or_without_its_cross_certificate() {
    for with_cross in [true, false] {
        let keys = keys().await;
        let identity = keys.load("1.hub").await.unwrap();
        let former = taken_out(&keys).await;
        identity.reload(now()).await.unwrap();
        let old = Spoke::enrol(&identity).await;
        let (row, requests) = requested(&keys, &identity, Root).await;
        let next = certs::offline_root("eventflow.internal", now()).unwrap();
        let mut given = [vec![next.certificate().to_vec()], signed(&next, &requests)].concat();
        if with_cross {
            let cross = certs::cross_certificate(&former, next.certificate(), now()).unwrap();
            given.insert(0, cross.to_vec());
        }
        let imported = import(&keys, &identity, &row, given).await;
        assert_eq!(imported.advice.is_empty(), with_cross, "{:?}", imported.advice);
        // Without it only the end of what is replaced is a reason to wait for nobody.
        let late = keys.certificates().active("issuer/hub").await.unwrap().not_after;
        assert_eq!(identity.no_longer(&row.rotation) == late, !with_cross);
        step(&keys, &identity, Activated).await;
        assert_eq!(old.meets(&identity).await, with_cross);
    }
}

#[tokio::test]
async fn what_does_not_fit_the_requests_is_refused_and_nothing_is_stored() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let root = taken_out(&keys).await;
    let nothing = begin(&keys, Intermediate).await;
    assert_eq!(
        identity.imported(&nothing.rotation, vec![], now()).unwrap_err(),
        IdentityError::NothingRequested
    );
    let (row, requests) = requested(&keys, &identity, Intermediate).await;
    assert_eq!(row.rotation.id, nothing.rotation.id, "the one that has begun takes the requests");
    let other = certs::offline_root("eventflow.internal", now()).unwrap();
    let of_other = signed(&other, &requests);
    let garbage = refused(&identity, &row, vec![b"garbage".to_vec()]).await;
    assert!(garbage.contains("not an X.509 certificate"), "{garbage}");
    let half = refused(&identity, &row, signed(&root, &requests[..1])).await;
    assert!(half.contains("issuer of spokes"), "{half}");
    let stranger = refused(&identity, &row, of_other.clone()).await;
    assert!(stranger.contains("not believed"), "{stranger}");
    let with_root = [of_other, vec![other.certificate().to_vec()]].concat();
    let stranger = refused(&identity, &row, with_root).await;
    assert!(stranger.contains("another root"), "{stranger}");
    let many = refused(&identity, &row, vec![vec![]; 17]).await;
    assert!(many.contains("more than 16"), "{many}");
    let long = refused(&identity, &row, vec![vec![0; 4_000]]).await;
    assert!(long.contains("4000 bytes"), "{long}");
    assert_eq!(
        keys.ids().await,
        ["1.hub", "issuer/hub", "issuer/spoke", "request/hub", "request/spoke", "root"]
    );
    // A second wish gets the requests that are there.
    let again = identity.new_requests(now()).unwrap();
    let rotations = keys.database.rotations();
    let again_under_way = rotations.request(Intermediate, &again, "bob").await.unwrap();
    assert_eq!(again_under_way, Requested::UnderWay(row.clone()));
    let kept = identity.requests(rotations.requests().await.unwrap()).unwrap();
    assert_eq!(kept, requests);
    assert_eq!(rotations.request(Root, &again, "bob").await.unwrap(), Requested::UnderWay(row));
}

#[tokio::test]
async fn a_root_is_not_replaced_by_none_or_by_itself() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let root = taken_out(&keys).await;
    let (row, requests) = requested(&keys, &identity, Root).await;
    let given = signed(&root, &requests);
    let none = refused(&identity, &row, given.clone()).await;
    assert!(none.contains("no root is among"), "{none}");
    let itself = [given, vec![root.certificate().to_vec()]].concat();
    let itself = refused(&identity, &row, itself).await;
    assert!(itself.contains("is or was in use"), "{itself}");
    // Another root of the same name could not be told from it.
    let namesake = certs::root("eventflow.internal", now()).unwrap();
    let given = [signed(&namesake, &requests), vec![namesake.certificate().to_vec()]].concat();
    let namesake = refused(&identity, &row, given).await;
    assert!(namesake.contains("has the name of one in use"), "{namesake}");
}

#[tokio::test]
async fn a_root_without_its_key_is_believed_only_by_the_mark_that_was_left_of_it() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    taken_out(&keys).await;
    identity.reload(now()).await.unwrap();
    // Whoever can write to the database puts a root of their own in its place.
    let foreign = certs::root("eventflow.internal", now()).unwrap();
    let fingerprint = certs::fingerprint(foreign.certificate());
    // Whatever they call it.
    let exchange =
        "UPDATE certificate SET cert = ?, fingerprint = ?, role = 'cross' WHERE id = 'root' AND version = 0";
    keys.execute(exchange, &[foreign.certificate(), &fingerprint]).await;
    let refused = identity.reload(now()).await.unwrap_err().to_string();
    assert!(refused.contains("mark is another certificate's"), "{refused}");
    assert!(keys.load("2.hub").await.is_err());
    keys.execute("DELETE FROM authority_mark", &[]).await;
    let refused = identity.reload(now()).await.unwrap_err().to_string();
    assert!(refused.contains("no mark says"), "{refused}");
}

#[tokio::test]
async fn a_root_that_was_replaced_is_not_believed_again_when_somebody_brings_its_row_back() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    taken_out(&keys).await;
    identity.reload(now()).await.unwrap();
    let (row, requests) = requested(&keys, &identity, Root).await;
    let next = certs::offline_root("eventflow.internal", now()).unwrap();
    let given = [vec![next.certificate().to_vec()], signed(&next, &requests)].concat();
    import(&keys, &identity, &row, given).await;
    for to in [Activated, Retired, Archived] {
        step(&keys, &identity, to).await;
    }
    keys.execute("UPDATE certificate SET version = 0, revoked = NULL WHERE id = 'root'", &[]).await;
    let refused = identity.reload(now()).await.unwrap_err().to_string();
    assert!(refused.contains("root was refused") && refused.contains("no mark says"), "{refused}");
}

#[tokio::test]
async fn what_was_asked_for_once_is_not_what_is_asked_for_now() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (row, _) = requested(&keys, &identity, Intermediate).await;
    let former = keys.database.rotations().requests().await.unwrap();
    assert!(keys.database.rotations().withdraw(&row, "ann").await.unwrap());
    requested(&keys, &identity, Intermediate).await;
    // The key of the former request under the new one's id.
    let mut mixed = keys.database.rotations().requests().await.unwrap();
    mixed[0].key = former[0].key.clone();
    assert!(identity.requests(mixed).is_err());
}

#[tokio::test]
async fn a_replacement_that_waits_is_withdrawn_with_its_requests_and_one_that_was_prepared_is_not() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (row, _) = requested(&keys, &identity, Intermediate).await;
    let rotations = keys.database.rotations();
    assert!(rotations.withdraw(&row, "ann").await.unwrap());
    assert!(!rotations.withdraw(&row, "ann").await.unwrap(), "once");
    assert!(rotations.open().await.unwrap().is_none());
    assert_eq!(keys.ids().await, ["1.hub", "issuer/hub", "issuer/spoke", "root"]);
    let next = begin(&keys, Intermediate).await;
    identity.reload(now()).await.unwrap();
    step(&keys, &identity, Prepared).await;
    assert!(!rotations.withdraw(&next, "ann").await.unwrap(), "it is past its begin");
    assert!(identity.missing(&next.rotation).is_none());
}

#[tokio::test]
async fn a_request_whose_row_was_changed_is_refused() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let root = taken_out(&keys).await;
    let mut rows = identity.new_requests(now()).unwrap();
    // The key of the one under the other.
    let key = rows[0].key.clone();
    rows[0].key = rows[1].key.clone();
    rows[1].key = key;
    let requests: Vec<_> = rows.iter().map(|row| row.cert.clone()).collect();
    assert!(identity.requests(rows.clone()).is_err(), "nobody is given them to sign");
    let Requested::Stored(row) = keys.database.rotations().request(Intermediate, &rows, "ann").await.unwrap()
    else {
        panic!("something is under way")
    };
    identity.reload(now()).await.unwrap();
    let refused = refused(&identity, &row, signed(&root, &requests)).await;
    assert!(refused.contains("request/hub was refused"), "{refused}");
}
