//! Certificates and the keyring (E10, E11): one active version an id, and one keyring.

use std::time::Duration;

use db::{Audit, CertificateRow, Certificates, Database, EnrolmentRow, HangingFrom, Holder, KeyringRow};
use db::{RecordError, SealedKey, TokenRow};
use eventflow_tests::events::{at, name};
use eventflow_tests::{TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::enrol::SecretDigest;

fn certificate(id: &str, seed: u8) -> CertificateRow {
    CertificateRow {
        id: id.to_owned(),
        role: "spoke".to_owned(),
        service: "shop".to_owned(),
        fingerprint: [seed; 32],
        cert: vec![0, 255, seed],
        key: Some(SealedKey { dek_id: "dek".to_owned(), nonce: vec![0; 12], sealed: vec![0, 1, 255] }),
        issuer: "spoke-issuing".to_owned(),
        not_before: at(0),
        not_after: at(1_000),
        version: 0,
        revoked: None,
        reason: None,
    }
}

fn keyring(id: &str) -> KeyringRow {
    KeyringRow {
        kek_id: id.to_owned(),
        kdf: "argon2id".to_owned(),
        memory_kib: 65_536,
        passes: 3,
        lanes: 4,
        salt: vec![0, 1, 2],
        dek_id: "dek".to_owned(),
        wrapped: vec![255; 48],
        nonce: vec![7; 12],
        created: at(0),
    }
}

fn token(id: &str) -> TokenRow {
    TokenRow {
        id: id.parse().unwrap(),
        service: name("shop"),
        secret: SecretDigest([7; 32]),
        uses: 0,
        uses_max: 100,
        expires: at(1_000),
        agent: "operator".to_owned(),
        created: at(0),
        withdrawn: None,
    }
}

async fn is_missing(certificates: &Certificates, id: &str) -> bool {
    matches!(certificates.active(id).await, Err(RecordError::NotFound { .. }))
}

on_every_engine! {
    async fn a_certificate_is_read_by_id_and_by_fingerprint(database: &TestDatabase) {
        let handle = database.open().await;
        let certificates = handle.certificates();
        let row = certificate("shop.1", 1);
        assert!(certificates.persist(&row).await.unwrap());
        assert_eq!(certificates.active("shop.1").await.unwrap(), row);
        assert_eq!(certificates.by_fingerprint(&[1; 32]).await.unwrap(), row);
        assert!(is_missing(&certificates, "SHOP.1").await);
        let stranger = certificates.by_fingerprint(&[2; 32]).await;
        assert!(matches!(stranger, Err(RecordError::NotFound { .. })), "{stranger:?}");
        handle.close().await;
    }

    async fn what_was_written_in_a_transaction_that_nobody_ended_is_not_there(database: &TestDatabase) {
        let handle = database.open().await;
        let (tokens, token) = (handle.tokens(), token("00000000000000ab"));
        let audit = Audit { agent: "it".to_owned(), act: "token.use", subject: "shop".to_owned(), detail: String::new() };
        tokens.create(&token, &audit).await.unwrap();
        let first = tokens.enrol(Some(token.id), &certificate("shop.1", 1), &audit, at(0)).await.unwrap();
        assert!(matches!(first, EnrolmentRow::Stored));
        for seed in 2..12 {
            // A use is taken, and then the id is: the transaction is dropped.
            let again = tokens.enrol(Some(token.id), &certificate("shop.1", seed), &audit, at(0)).await.unwrap();
            assert!(matches!(again, EnrolmentRow::Taken));
            // Whoever gets its connection next begins and commits.
            handle.journal().write("hub", "noted", None).await.unwrap();
        }
        assert_eq!(database.number("SELECT uses FROM enrol_token").await, 1);
        handle.close().await;
    }

    async fn an_id_has_one_active_certificate(database: &TestDatabase) {
        let handle = database.open().await;
        let certificates = handle.certificates();
        assert!(certificates.persist(&certificate("shop.1", 1)).await.unwrap());
        assert!(!certificates.persist(&certificate("shop.1", 2)).await.unwrap());
        assert_eq!(certificates.active("shop.1").await.unwrap().fingerprint, [1; 32]);
        handle.close().await;
    }

    async fn of_many_hubs_that_make_one_certificate_at_once_one_wins(database: &TestDatabase) {
        let mut handles = Vec::new();
        for _ in 0..6 {
            handles.push(database.open().await);
        }
        let persisting = handles.iter().enumerate().map(|(seed, handle)| {
            let row = certificate("root", u8::try_from(seed).unwrap());
            async move { handle.certificates().persist(&row).await.unwrap() }
        });
        let won = within("the certificates", join_all(persisting)).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        assert_eq!(database.number("SELECT COUNT(*) FROM certificate").await, 1);
        join_all(handles.iter().map(Database::close)).await;
    }

    async fn a_revoked_certificate_frees_its_id_and_is_still_known(database: &TestDatabase) {
        let handle = database.open().await;
        let certificates = handle.certificates();
        for seed in 1..=3 {
            assert!(certificates.persist(&certificate("shop.1", seed)).await.unwrap());
            assert!(certificates.revoke("shop.1", at(i64::from(seed))).await.unwrap());
            assert!(!certificates.revoke("shop.1", at(99)).await.unwrap(), "there is no active one");
            let revoked = certificates.by_fingerprint(&[seed; 32]).await.unwrap();
            assert_eq!((revoked.version, revoked.revoked), (u32::from(seed), Some(at(i64::from(seed)))));
        }
        assert!(is_missing(&certificates, "shop.1").await);
        handle.close().await;
    }

    async fn what_is_past_its_validity_is_revoked_and_the_rest_stays(database: &TestDatabase) {
        let handle = database.open().await;
        let certificates = handle.certificates();
        certificates.persist(&certificate("old", 1)).await.unwrap();
        certificates.persist(&CertificateRow { not_after: at(5_000), ..certificate("new", 2) }).await.unwrap();
        assert_eq!(certificates.revoke_expired(at(2_000)).await.unwrap(), 1);
        assert_eq!(certificates.revoke_expired(at(2_000)).await.unwrap(), 0);
        assert!(is_missing(&certificates, "old").await);
        assert!(!is_missing(&certificates, "new").await);
        handle.close().await;
    }

    async fn there_is_one_active_keyring(database: &TestDatabase) {
        let handle = database.open().await;
        let certificates = handle.certificates();
        assert_eq!(certificates.keyring_active().await.unwrap(), None);
        assert!(certificates.persist_keyring(&keyring("one")).await.unwrap());
        assert!(!certificates.persist_keyring(&keyring("two")).await.unwrap());
        assert_eq!(certificates.keyring_active().await.unwrap(), Some(keyring("one")));
        handle.close().await;
    }

    async fn certificates_are_listed_a_page_at_a_time(database: &TestDatabase) {
        let handle = database.open().await;
        let certificates = handle.certificates();
        for (seed, id) in (1..).zip(["b", "a", "c"]) {
            certificates.persist(&certificate(id, seed)).await.unwrap();
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let rows = certificates.page(after.as_deref(), 2).await.unwrap();
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            found.extend(rows.into_iter().map(|row| row.id));
        }
        assert_eq!(found, ["a", "b", "c"]);
        handle.close().await;
    }

    async fn a_hub_that_reads_on_while_many_are_revoked_misses_none(database: &TestDatabase) {
        const REVOKED: u8 = 60;
        let mut handles = Vec::new();
        for _ in 0..4 {
            handles.push(database.open().await);
        }
        let end = handles[0].rotations().now().await.unwrap().plus(Duration::from_secs(60));
        for seed in 0..REVOKED {
            let row = certificate(&format!("shop.{seed}"), seed);
            let row = CertificateRow { issuer: format!("issuer/{seed}"), not_after: end, ..row };
            assert!(handles[0].certificates().persist(&row).await.unwrap());
        }
        // Every second one because it hangs from what was replaced in haste.
        let revoking = (0..REVOKED).map(|seed| {
            let handle = &handles[usize::from(seed / 2) % handles.len()];
            async move {
                if seed % 2 == 0 {
                    let holder = Holder::Fingerprint([seed; 32]);
                    return handle.revocations().revoke(&holder, "a test", "ann", at(1)).await.unwrap();
                }
                let from = HangingFrom { issuers: vec![format!("issuer/{seed}")], made_before: None };
                handle.rotations().revoke_hanging(&from, "a test", "ann").await.unwrap()
            }
        });
        let revocations = handles[0].revocations();
        let reading = async {
            let (mut newest, mut read) = (0, Vec::new());
            while read.len() < usize::from(REVOKED) {
                let told = database.number("SELECT COUNT(*) FROM revocation").await;
                for revocation in revocations.page(newest, at(0)).await.unwrap() {
                    newest = revocation.seq;
                    read.push(revocation);
                }
                let missed = read.len() < usize::try_from(told).unwrap();
                assert!(!missed, "read {} of {told} revocations up to number {newest}", read.len());
            }
        };
        Box::pin(within("the revocations", async { tokio::join!(join_all(revoking), reading) })).await;
        join_all(handles.iter().map(Database::close)).await;
    }

    async fn nobody_revokes_an_authority_by_calling_it_a_spoke(database: &TestDatabase) {
        let handle = database.open().await;
        for (id, role, seed) in [("root", "root", 1), ("issuer/hub", "issuer", 2), ("request/hub", "request", 3)] {
            let row = CertificateRow { role: role.to_owned(), ..certificate(id, seed) };
            assert!(handle.certificates().persist(&row).await.unwrap());
            for holder in [Holder::Spoke(id.to_owned()), Holder::Fingerprint([seed; 32])] {
                let revoked = handle.revocations().revoke(&holder, "a test", "ann", at(1)).await;
                assert!(matches!(revoked, Err(RecordError::NotFound { .. })), "{holder}: {revoked:?}");
            }
            assert!(handle.certificates().active(id).await.is_ok());
        }
        handle.close().await;
    }
}
