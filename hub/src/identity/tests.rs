//! The chain over a real database: who makes what, once, and who is let in.

use super::*;
use db::{Database, DatabaseUrl};

/// A new database and a passphrase.
pub(crate) struct Keys {
    pub(crate) database: Database,
    passphrase: Passphrase,
    pub(crate) times: LeafTimes,
    folder: tempfile::TempDir,
}

/// The clock of the machine, because TLS and the database ask it too.
pub(crate) fn now() -> Timestamp {
    crate::clock::Clock::system().now()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

pub(crate) async fn keys() -> Keys {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&DatabaseUrl::sqlite(&folder.path().join("test.db"))).await.unwrap();
    database.migrate().await.unwrap();
    Keys { database, passphrase: passphrase("correct horse battery"), times: LeafTimes::default(), folder }
}

impl Keys {
    fn certificates(&self) -> Certificates {
        self.database.certificates()
    }

    pub(crate) async fn load(&self, hub: &str) -> Result<HubIdentity, IdentityError> {
        self.load_with(hub, &self.passphrase, now()).await
    }

    async fn load_with(
        &self,
        hub: &str,
        passphrase: &Passphrase,
        now: Timestamp,
    ) -> Result<HubIdentity, IdentityError> {
        let hub = HubId::parse(hub).unwrap();
        let vault = Vault::open(self.certificates(), passphrase, now, KdfCost::TINY).await?;
        HubIdentity::of(vault, &hub, self.times, now).await
    }

    /// What somebody does who can write to the database, with these bytes.
    async fn execute(&self, statement: &'static str, values: &[&[u8]]) {
        use sqlx::Connection as _;
        let url = format!("sqlite://{}", self.folder.path().join("test.db").display());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        let query = values.iter().fold(sqlx::query(statement), |query, value| query.bind(value.to_vec()));
        assert!(query.execute(&mut connection).await.unwrap().rows_affected() > 0, "{statement}");
    }

    /// Leaves the mark of a root that was taken out.
    async fn mark(&self, mark: &db::AuthorityMark) {
        let db::AuthorityMark { id, sealed } = mark;
        self.execute(
            "INSERT INTO authority_mark (id, dek_id, nonce, sealed, created)
             VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, 0)",
            &[id.as_bytes(), sealed.dek_id.as_bytes(), &sealed.nonce, &sealed.sealed],
        )
        .await;
    }

    fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    async fn ids(&self) -> Vec<String> {
        let rows = self.certificates().page(None, 100).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    }
}

async fn enrol(identity: &HubIdentity, now: Timestamp) -> Enrolled {
    let (csr, _) = certs::spoke_request().unwrap();
    identity.issue_spoke(&csr, &ServiceName::parse("billing").unwrap(), now).await.unwrap()
}

/// A leaf that the issuer of spokes has signed and nobody has stored.
fn unstored(identity: &HubIdentity) -> CertificateDer<'static> {
    let (csr, _) = certs::spoke_request().unwrap();
    let service = ServiceName::parse("billing").unwrap();
    let current = identity.current();
    let issuer = &current.authorities.spoke;
    certs::spoke_leaf(issuer, &csr, &service, "i-1", now(), certs::LEAF_LIFETIME).unwrap()
}

/// The certificate that issues for spokes now.
fn issuing(identity: &HubIdentity) -> Vec<u8> {
    identity.current().authorities.spoke.certificate().to_vec()
}

fn later(hours: u64) -> Timestamp {
    now().plus(Duration::from_hours(hours))
}

#[tokio::test]
async fn a_first_start_makes_the_chain_and_the_next_one_finds_it() {
    let keys = keys().await;
    let first = keys.load("1.hub").await.unwrap();
    assert_eq!(keys.ids().await, ["1.hub", "issuer/hub", "issuer/spoke", "root"]);
    let second = keys.load("1.hub").await.unwrap();
    assert_eq!(first.root(), second.root());
    assert_eq!(issuing(&first), issuing(&second));
    assert_eq!(keys.ids().await.len(), 4);
}

#[tokio::test]
async fn hubs_that_start_at_once_make_one_chain() {
    let keys = keys().await;
    let (one, two, three) = tokio::join!(keys.load("1.hub"), keys.load("2.hub"), keys.load("3.hub"));
    let (one, two, three) = (one.unwrap(), two.unwrap(), three.unwrap());
    assert_eq!(one.root(), two.root());
    assert_eq!(two.root(), three.root());
    assert_eq!(keys.ids().await.len(), 6);
}

#[tokio::test]
async fn a_wrong_passphrase_names_the_keyring_and_writes_nothing() {
    let keys = keys().await;
    keys.load("1.hub").await.unwrap();
    let before = keys.certificates().page(None, 100).await.unwrap();
    let refused = keys.load_with("2.hub", &passphrase("another passphrase"), now()).await.unwrap_err();
    let keyring = keys.certificates().keyring_active().await.unwrap().unwrap();
    assert!(matches!(&refused, IdentityError::WrongPassphrase { kek_id, .. } if *kek_id == keyring.kek_id));
    assert_eq!(refused.exit_code(), 78);
    assert!(refused.to_string().contains("E_EVENTFLOW_PASSPHRASE"));
    assert_eq!(keys.certificates().page(None, 100).await.unwrap(), before);
}

#[tokio::test]
async fn a_lost_root_is_never_replaced_by_another() {
    let keys = keys().await;
    keys.load("1.hub").await.unwrap();
    keys.certificates().revoke("root", now()).await.unwrap();
    let refused = keys.load("1.hub").await.unwrap_err();
    assert_eq!(refused, IdentityError::AuthorityMissing { id: "root" });
    assert_eq!(refused.exit_code(), 78);
    assert!(!keys.ids().await.contains(&"root".to_owned()));
}

#[tokio::test]
async fn certificates_without_a_keyring_are_not_built_upon() {
    let (keys, other) = (keys().await, keys().await);
    other.load("1.hub").await.unwrap();
    let root = other.certificates().active("root").await.unwrap();
    keys.certificates().persist(&root).await.unwrap();
    assert_eq!(keys.load("1.hub").await.unwrap_err(), IdentityError::KeyringMissing);
    assert_eq!(keys.certificates().keyring_active().await.unwrap(), None);
}

#[tokio::test]
async fn a_start_that_was_cut_short_after_the_keyring_is_completed() {
    let keys = keys().await;
    let vault = Vault::open(keys.certificates(), &keys.passphrase, now(), KdfCost::TINY).await.unwrap();
    drop(vault);
    assert!(keys.load("1.hub").await.is_ok());
}

#[tokio::test]
async fn a_root_with_the_key_of_another_row_is_refused() {
    let keys = keys().await;
    keys.load("1.hub").await.unwrap();
    let certificates = keys.certificates();
    let mut row = certificates.active("root").await.unwrap();
    row.key = certificates.active("issuer/hub").await.unwrap().key;
    row.fingerprint = [7; 32];
    certificates.revoke("root", now()).await.unwrap();
    certificates.persist(&row).await.unwrap();
    let refused = keys.load("1.hub").await.unwrap_err();
    assert!(matches!(&refused, IdentityError::BadRow { id, .. } if id == "root"), "{refused}");
}

#[tokio::test]
async fn a_spoke_is_known_by_its_row_from_the_moment_it_has_its_certificate() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let enrolled = enrol(&identity, now()).await;
    let peer = identity.authenticate(&enrolled.chain[0], now()).await.unwrap();
    assert_eq!(peer.service.as_str(), "billing");
    assert_eq!(peer.fingerprint, certs::fingerprint(&enrolled.chain[0]));
    let row = keys.certificates().active(&format!("billing/{}", peer.instance)).await.unwrap();
    assert_eq!((row.role.as_str(), row.issuer.as_str(), row.key), ("spoke", "issuer/spoke", None));
}

#[tokio::test]
async fn an_enrolled_spoke_and_the_hub_meet_over_tls() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let (csr, key) = certs::spoke_request().unwrap();
    let service = ServiceName::parse("billing").unwrap();
    let enrolled = identity.issue_spoke(&csr, &service, now()).await.unwrap();
    let der = |bytes: &[Vec<u8>]| bytes.iter().cloned().map(CertificateDer::from).collect::<Vec<_>>();
    let config = tls::client_config(&der(&enrolled.roots), der(&enrolled.chain), &key).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let acceptor = tokio_rustls::TlsAcceptor::from(identity.server_config());
    let (spoke, hub) = tokio::join!(connector.connect(tls::hub_name(), near), acceptor.accept(far));
    let hub = hub.unwrap();
    let leaf = &hub.get_ref().1.peer_certificates().unwrap()[0];
    assert_eq!(identity.authenticate(leaf, now()).await.unwrap().service, service);
    let shown = spoke.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec();
    assert_eq!(keys.certificates().active("1.hub").await.unwrap().cert, shown);
}

#[tokio::test]
async fn a_leaf_that_is_in_no_row_is_refused_whoever_signed_it() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let minted = unstored(&identity);
    let shown = now();
    assert_eq!(identity.authenticate(&minted, shown).await, Err(AuthError::Unknown));
    // For some seconds nobody asks the table for it again.
    let row = chain::row("billing/i-1", "spoke", "billing", "issuer/spoke", &minted).unwrap();
    keys.certificates().persist(&row).await.unwrap();
    assert_eq!(identity.authenticate(&minted, shown).await, Err(AuthError::Unknown));
    assert!(identity.authenticate(&minted, shown.plus(Duration::from_secs(5))).await.is_ok());
}

#[tokio::test]
async fn a_revoked_spoke_is_refused_at_once() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let enrolled = enrol(&identity, now()).await;
    let peer = identity.authenticate(&enrolled.chain[0], now()).await.unwrap();
    let id = format!("billing/{}", peer.instance);
    assert!(keys.certificates().revoke(&id, now()).await.unwrap());
    let refused = identity.authenticate(&enrolled.chain[0], now()).await;
    assert!(matches!(refused, Err(AuthError::Revoked { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_counts_as_ended_ten_minutes_before_its_end() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let enrolled = enrol(&identity, now()).await;
    let end = Timestamp::from_millis(enrolled.not_after_ms).unwrap();
    let minutes = |minutes| before(end, Duration::from_mins(minutes));
    let peer = identity.authenticate(&enrolled.chain[0], minutes(11)).await.unwrap();
    assert_eq!(peer.not_after, minutes(10));
    let refused = identity.authenticate(&enrolled.chain[0], minutes(10)).await;
    assert!(matches!(refused, Err(AuthError::Expired { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_hubs_leaf_and_a_changed_row_let_nobody_in() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let hub = keys.certificates().active("1.hub").await.unwrap();
    let refused = identity.authenticate(&hub.cert, now()).await;
    assert_eq!(refused, Err(AuthError::OtherRole { id: "1.hub".to_owned() }));
    let leaf = unstored(&identity);
    let row = chain::row("admin/i-1", "spoke", "admin", "issuer/spoke", &leaf).unwrap();
    keys.certificates().persist(&row).await.unwrap();
    let refused = identity.authenticate(&leaf, now()).await;
    assert!(matches!(refused, Err(AuthError::OtherRole { .. })), "{refused:?}");
}

#[tokio::test]
async fn the_hubs_leaf_is_renewed_at_half_of_its_life() {
    let keys = keys().await;
    let identity = keys.load("1.hub").await.unwrap();
    let first = keys.certificates().active("1.hub").await.unwrap();
    assert!(matches!(identity.renew_leaf_if_due(later(11)).await, Ok(Renewal::NotDue { .. })));
    assert!(matches!(identity.renew_leaf_if_due(later(13)).await, Ok(Renewal::Renewed { .. })));
    let second = keys.certificates().active("1.hub").await.unwrap();
    assert_ne!(first.fingerprint, second.fingerprint);
    assert!(matches!(identity.renew_leaf_if_due(later(14)).await, Ok(Renewal::NotDue { .. })));
    let replaced = keys.certificates().by_fingerprint(&first.fingerprint).await.unwrap();
    assert!(replaced.revoked.is_some());
}

#[path = "tests/elsewhere.rs"]
mod elsewhere;
#[path = "tests/renewals.rs"]
mod renewals;
#[path = "tests/rotations.rs"]
mod rotations;
