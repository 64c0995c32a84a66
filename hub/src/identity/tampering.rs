//! Every byte of what is stored: changed, it does not open, and nothing takes its place.

use super::chain;
use super::keys::{keyring_row, open_any};
use super::standing::AuthorityKind;
use super::tests::now;
use super::*;
use certs::IssuerKind;
use certs::seal::{Dek, new_keyring};
use db::{CertificateRow, KeyringRow, SealedKey};

fn passphrase() -> Passphrase {
    Passphrase::new(b"correct horse battery".to_vec()).unwrap()
}

/// A keyring and the rows of the three authorities.
fn stored() -> (KeyringRow, Dek, [CertificateRow; 3]) {
    let (keyring, dek) = new_keyring(&passphrase(), KdfCost::TINY).unwrap();
    let root = certs::root("acme.internal", now()).unwrap();
    let issuer = |kind| certs::intermediate(&root, kind, now()).unwrap();
    let first = |kind: AuthorityKind| kind.of(certs::FIRST_GENERATION);
    let signer = first(AuthorityKind::Root);
    let row =
        |kind, authority: &Authority| chain::authority_row(first(kind), signer, authority, &dek).unwrap();
    let rows = [
        row(AuthorityKind::Root, &root),
        row(AuthorityKind::HubIssuer, &issuer(IssuerKind::Hub)),
        row(AuthorityKind::SpokeIssuer, &issuer(IssuerKind::Spoke)),
    ];
    (keyring_row(keyring, now()), dek, rows)
}

fn key(row: &mut CertificateRow) -> &mut SealedKey {
    row.key.as_mut().unwrap()
}

/// Every way of changing one bit of each byte that `bytes` gives of a row.
fn flips<R: Clone>(row: &R, bytes: fn(&mut R) -> &mut [u8]) -> Vec<R> {
    let length = bytes(&mut row.clone()).len();
    assert!(length > 0, "there is nothing to change");
    let flip = |at: usize| {
        let mut flipped = row.clone();
        bytes(&mut flipped)[at] ^= 1;
        flipped
    };
    (0..length).map(flip).collect()
}

#[test]
fn a_changed_byte_of_any_authority_is_refused() {
    let (_, dek, rows) = stored();
    let parts: [fn(&mut CertificateRow) -> &mut [u8]; 4] = [
        |row| &mut row.cert,
        |row| &mut row.fingerprint,
        |row| &mut key(row).nonce,
        |row| &mut key(row).sealed,
    ];
    for row in rows {
        assert!(chain::authority(&row, &dek).is_ok());
        for part in parts {
            for (at, flipped) in flips(&row, part).into_iter().enumerate() {
                let refused = chain::authority(&flipped, &dek).unwrap_err();
                assert_eq!(refused.exit_code(), 78, "byte {at} of {}", row.id);
            }
        }
    }
}

#[test]
fn rows_that_were_swapped_renamed_or_put_back_from_another_version_are_refused() {
    let (_, dek, [root, hub, spoke]) = stored();
    let renamed = CertificateRow { id: spoke.id.clone(), ..hub.clone() };
    let older = CertificateRow { version: 1, ..hub.clone() };
    let with_key_of = CertificateRow { key: spoke.key.clone(), ..hub.clone() };
    let without_key = CertificateRow { key: None, ..root };
    let (_, other_dek, _) = stored();
    for bad in [renamed, older, with_key_of, without_key] {
        assert!(matches!(chain::authority(&bad, &dek), Err(IdentityError::BadRow { .. })));
    }
    assert!(matches!(chain::authority(&hub, &other_dek), Err(IdentityError::BadRow { .. })));
}

#[tokio::test]
async fn a_changed_byte_of_the_keyring_is_refused() {
    let (row, _, _) = stored();
    let parts: [fn(&mut KeyringRow) -> &mut [u8]; 3] =
        [|row| &mut row.salt, |row| &mut row.wrapped, |row| &mut row.nonce];
    assert!(open_any(vec![row.clone()], &passphrase()).await.is_ok());
    for part in parts {
        for flipped in flips(&row, part) {
            let refused = open_any(vec![flipped], &passphrase()).await.unwrap_err();
            assert_eq!(refused.exit_code(), 78);
        }
    }
}

#[tokio::test]
async fn a_keyring_that_asks_for_more_than_a_hub_spends_is_refused_before_it_is_spent() {
    let (row, _, _) = stored();
    let costly: [fn(&mut KeyringRow); 3] = [
        |row| row.memory_kib = KdfCost::MAX.memory_kib + 1,
        |row| row.passes = KdfCost::MAX.passes + 1,
        |row| row.lanes = KdfCost::MAX.lanes + 1,
    ];
    for change in costly {
        let mut row = row.clone();
        change(&mut row);
        let refused = open_any(vec![row], &passphrase()).await.unwrap_err();
        assert!(refused.to_string().contains("at most"), "{refused}");
        assert_eq!(refused.exit_code(), 78);
    }
}
