//! What opens and, mostly, what must not.

use super::*;

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

fn keyring() -> (Keyring, Dek) {
    new_keyring(&passphrase("correct horse battery"), KdfCost::TINY).unwrap()
}

#[test]
fn the_right_passphrase_opens_a_stored_keyring_and_its_secrets() {
    let (keyring, dek) = keyring();
    let sealed = dek.seal("root", 0, b"secret").unwrap();
    let again = open_keyring(&passphrase("correct horse battery"), &keyring).unwrap();
    assert_eq!(again.open("root", 0, &sealed).unwrap().as_slice(), b"secret");
    assert_eq!(again.id(), keyring.dek_id);
}

#[test]
fn a_wrong_passphrase_is_refused_and_names_the_keyring() {
    let (keyring, _) = keyring();
    assert_eq!(
        open_keyring(&passphrase("correct horse batterz"), &keyring).unwrap_err(),
        SealError::WrongPassphraseOrTampered { kek_id: keyring.kek_id }
    );
}

#[test]
fn a_keyring_does_not_open_when_any_byte_of_it_is_changed() {
    let (good, _) = keyring();
    let refused = |keyring: &Keyring| open_keyring(&passphrase("correct horse battery"), keyring).is_err();
    for (at, _) in good.wrapped.iter().enumerate() {
        let mut bad = good.clone();
        bad.wrapped[at] ^= 1;
        assert!(refused(&bad), "wrapped byte {at}");
    }
    for at in 0..NONCE_BYTES {
        let mut bad = good.clone();
        bad.nonce[at] ^= 1;
        assert!(refused(&bad), "nonce byte {at}");
    }
    for at in 0..good.salt.len() {
        let mut bad = good.clone();
        bad.salt[at] ^= 1;
        assert!(refused(&bad), "salt byte {at}");
    }
    let changes: [fn(&mut Keyring); 8] = [
        |keyring| keyring.kek_id.push('0'),
        |keyring| keyring.dek_id.push('0'),
        |keyring| keyring.kdf.push('0'),
        |keyring| keyring.cost.passes += 1,
        |keyring| keyring.cost.memory_kib += 8,
        |keyring| keyring.salt.clear(),
        |keyring| keyring.wrapped.clear(),
        |keyring| keyring.nonce.clear(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(refused(&bad), "change {number}");
    }
}

#[test]
fn a_secret_does_not_open_when_any_byte_of_it_is_changed() {
    let (_, dek) = keyring();
    let good = dek.seal("root", 0, b"secret").unwrap();
    for at in 0..good.bytes.len() {
        let mut bad = good.clone();
        bad.bytes[at] ^= 0x80;
        assert!(dek.open("root", 0, &bad).is_err(), "byte {at}");
    }
    for at in 0..good.nonce.len() {
        let mut bad = good.clone();
        bad.nonce[at] ^= 0x80;
        assert!(dek.open("root", 0, &bad).is_err(), "nonce byte {at}");
    }
    for end in 0..good.bytes.len() {
        let cut = Sealed { nonce: good.nonce.clone(), bytes: good.bytes[..end].to_vec() };
        assert!(dek.open("root", 0, &cut).is_err(), "cut at {end}");
    }
}

#[test]
fn a_row_that_was_moved_or_put_back_from_another_version_does_not_open() {
    let ((_, dek), (_, other)) = (keyring(), keyring());
    let sealed = dek.seal("issuer/hub", 1, b"secret").unwrap();
    assert!(matches!(dek.open("issuer/spoke", 1, &sealed), Err(SealError::Tampered { .. })));
    assert!(matches!(dek.open("issuer/hub", 0, &sealed), Err(SealError::Tampered { .. })));
    assert!(matches!(other.open("issuer/hub", 1, &sealed), Err(SealError::Tampered { .. })));
}

#[test]
fn no_two_sealings_are_alike() {
    let (_, dek) = keyring();
    let (one, other) = (dek.seal("root", 0, b"secret").unwrap(), dek.seal("root", 0, b"secret").unwrap());
    assert_ne!(one.nonce, other.nonce);
    assert_ne!(one.bytes, other.bytes);
}

#[test]
fn a_keyring_that_asks_for_too_much_is_refused_before_it_is_tried() {
    let (good, _) = keyring();
    for cost in [
        KdfCost { memory_kib: u32::MAX, ..KdfCost::TINY },
        KdfCost { passes: 11, ..KdfCost::TINY },
        KdfCost { lanes: 17, ..KdfCost::TINY },
    ] {
        let bad = Keyring { cost, ..good.clone() };
        let refused = open_keyring(&passphrase("correct horse battery"), &bad);
        assert!(matches!(refused, Err(SealError::CostTooHigh { .. })), "{cost:?}");
    }
    let absurd = Keyring { cost: KdfCost { memory_kib: 0, passes: 0, lanes: 0 }, ..good };
    assert!(open_keyring(&passphrase("correct horse battery"), &absurd).is_err());
}

#[test]
fn short_passphrases_are_refused_and_characters_are_counted() {
    assert_eq!(
        Passphrase::new("elf zeichen".as_bytes().to_vec()).unwrap_err(),
        SealError::TooShort { found: 11 }
    );
    assert!(Passphrase::new("äöüäöüäöüäö".as_bytes().to_vec()).is_err());
    assert!(Passphrase::new("äöüäöüäöüäöü".as_bytes().to_vec()).is_ok());
}

#[test]
fn secrets_are_never_printed() {
    let (_, dek) = keyring();
    assert_eq!(format!("{dek:?}"), format!("Dek({})", dek.id()));
    assert_eq!(format!("{:?}", passphrase("correct horse battery")), "Passphrase");
}

#[test]
fn the_default_cost_is_what_rfc_9106_advises_and_can_be_read_back() {
    let cost = KdfCost::default();
    assert_eq!((cost.memory_kib, cost.passes, cost.lanes), (65_536, 3, 4));
    assert!(cost.check().is_ok());
}
