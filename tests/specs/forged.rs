//! Certificates that TLS may believe and the hub does not: whoever has stolen the key of the issuer of
//! spokes, and whoever has one that is too old, too new or nobody's. Each is told why where TLS lets it be
//! told, the hub's log says it once, and nobody else notices.

use certs::seal::{KdfCost, Keyring, Passphrase, Sealed, open_keyring};
use certs::{CertificateDer, SecretKey};
use eventflow_tests::events::event;
use eventflow_tests::process::{HubProcess, Place};
use eventflow_tests::wire::{Credentials, Peer, hello};
use eventflow_tests::{Engine, TestDatabase, run, within};
use proto::message::{Expulsion, HubMessage};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use spoke::{Spoke, SpokeOptions};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

const SPOKE: &str = "spiffe://eventflow.internal/spoke/shop/1";

/// The issuer of spokes as a thief has it: certificate and key.
struct Stolen {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Stolen {
    /// Takes the key from the database with the passphrase from the data folder.
    async fn from(place: &Place, database: &TestDatabase) -> Self {
        let handle = database.open().await;
        let certificates = handle.certificates();
        let row = certificates.active("issuer/spoke").await.unwrap();
        let stored = certificates.keyring_active().await.unwrap().unwrap();
        handle.close().await;
        let keyring = Keyring {
            kek_id: stored.kek_id,
            kdf: stored.kdf,
            cost: KdfCost { memory_kib: stored.memory_kib, passes: stored.passes, lanes: stored.lanes },
            salt: stored.salt,
            dek_id: stored.dek_id,
            wrapped: stored.wrapped,
            nonce: stored.nonce,
        };
        let passphrase = Passphrase::new(std::fs::read(place.data().join("master.key")).unwrap()).unwrap();
        let key = row.key.unwrap();
        let sealed = Sealed { nonce: key.nonce, bytes: key.sealed };
        let dek = open_keyring(&passphrase, &keyring).unwrap();
        let key = dek.open(&row.id, row.version, &sealed).unwrap().to_vec();
        Self { certificate: row.cert.into(), key }
    }

    /// A leaf for the spoke that `uris` name, valid for these hours from now.
    fn mint(&self, uris: &[&str], hours: std::ops::Range<i64>) -> (Vec<CertificateDer<'static>>, SecretKey) {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::default();
        let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
        wanted.subject_alt_names = uris.iter().map(uri).collect();
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        wanted.not_before = OffsetDateTime::now_utc() + Duration::hours(hours.start);
        wanted.not_after = OffsetDateTime::now_utc() + Duration::hours(hours.end);
        wanted.serial_number = Some(SerialNumber::from(7_u64));
        let signer = KeyPair::try_from(&PrivatePkcs8KeyDer::from(self.key.clone())).unwrap();
        let issuer = Issuer::from_ca_cert_der(&self.certificate, signer).unwrap();
        let leaf = wanted.signed_by(&key, &issuer).unwrap().der().clone();
        (vec![leaf, self.certificate.clone()], secret(&key))
    }
}

fn secret(key: &KeyPair) -> SecretKey {
    SecretKey::from_pkcs8(key.serialize_der()).unwrap()
}

/// A hub, the key that was stolen from it, somebody honest, and a spoke that must not notice anything.
async fn with_thief(spec: impl AsyncFnOnce(&HubProcess, Stolen, Credentials)) {
    let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
    let place = Place::on(&database);
    let hub = place.hub(&[]).await;
    let honest = Credentials::enrol(place.data(), "shop").await;
    let other = Spoke::connect(SpokeOptions::local("other").unwrap().data(place.data())).await;
    let other = other.unwrap();
    let stolen = Stolen::from(&place, &database).await;
    spec(&hub, stolen, honest).await;
    other.publish(event("order", "p", "placed")).await.unwrap();
    assert_eq!(hub.terminate().await, Some(0));
}

/// What the hub says to whoever shows this chain; `None` if TLS already says no.
async fn answer(
    hub: &HubProcess,
    honest: &Credentials,
    (chain, key): (Vec<CertificateDer<'static>>, SecretKey),
) -> Option<HubMessage> {
    let mut peer = Peer::connect(hub.address(), honest.with(chain, &key)).await.ok()?;
    peer.say(&hello()).await;
    peer.hear().await
}

/// That the hub says so, once. It may say it a moment after the peer has heard of it.
async fn assert_logged_once(hub: &HubProcess, what: &str) {
    let lines =
        |log: &str| log.lines().filter(|line| line.contains("not let in") && line.contains(what)).count();
    let said = async {
        while lines(&hub.log()) == 0 {
            tokio::task::yield_now().await
        }
    };
    within("a line in the hub's log", said).await;
    let log = hub.log();
    assert_eq!(lines(&log), 1, "{what:?} in {log}");
}

#[test]
fn what_a_stolen_issuer_signs_is_in_no_row_and_is_refused_with_the_reason() {
    run(with_thief(async |hub, stolen, honest| {
        for _ in 0..3 {
            let said = answer(hub, &honest, stolen.mint(&[SPOKE], 0..24)).await;
            let Some(HubMessage::Expelled { cause: Expulsion::Unknown, reason }) = said else {
                panic!("{said:?}");
            };
            assert!(reason.contains("not in the table"), "{reason}");
        }
        assert_logged_once(hub, "not in the table").await;
    }));
}

#[test]
fn a_certificate_that_names_nobody_or_two_is_refused_with_the_reason() {
    run(with_thief(async |hub, stolen, honest| {
        let two = "spiffe://eventflow.internal/spoke/shop/2";
        let hubs = "spiffe://eventflow.internal/hub/1";
        for uris in [&[][..], &[SPOKE, two], &[hubs], &["https://eventflow.internal/spoke"]] {
            let said = answer(hub, &honest, stolen.mint(uris, 0..24)).await;
            assert!(
                matches!(said, Some(HubMessage::Expelled { cause: Expulsion::Unknown, .. })),
                "{uris:?}: {said:?}"
            );
        }
    }));
}

#[test]
fn a_certificate_of_yesterday_or_of_tomorrow_ends_the_handshake() {
    run(with_thief(async |hub, stolen, honest| {
        assert_eq!(answer(hub, &honest, stolen.mint(&[SPOKE], -48..-24)).await, None);
        assert_eq!(answer(hub, &honest, stolen.mint(&[SPOKE], 24..48)).await, None);
        assert_logged_once(hub, "the handshake failed").await;
    }));
}

#[test]
fn a_certificate_that_signed_itself_ends_the_handshake() {
    run(with_thief(async |hub, _, honest| {
        let key = KeyPair::generate().unwrap();
        let mut wanted = CertificateParams::default();
        wanted.subject_alt_names = vec![SanType::URI(SPOKE.try_into().unwrap())];
        let leaf = wanted.self_signed(&key).unwrap().der().clone();
        assert_eq!(answer(hub, &honest, (vec![leaf], secret(&key))).await, None);
        assert_logged_once(hub, "the handshake failed").await;
    }));
}
