//! A root whose key is not in the database, with the real binary: files go out and come back, and whoever
//! has a certificate gets in all the while.

use eventflow_tests::events::event;
use eventflow_tests::process::{Ended, HubProcess, Place, private};
use eventflow_tests::wire::{Credentials, Peer};
use eventflow_tests::{TestDatabase, on_every_engine, within};
use proto::message::{Offer, Reply, Request};

/// A place with the files of its passphrases.
struct Office {
    place: Place,
    hub: HubProcess,
}

impl Office {
    async fn open(database: &TestDatabase) -> Self {
        let place = Place::on(database);
        for (name, text) in [("keyring", "correct horse battery"), ("copy", "of the copy, long enough")] {
            private(&place.file(name, text));
        }
        let passphrase = place.data().join("keyring").display().to_string();
        let hub = place.hub(&["--passphrase-file", &passphrase]).await;
        Self { place, hub }
    }

    fn path(&self, name: &str) -> String {
        self.place.data().join(name).display().to_string()
    }

    /// A command of `certs`, with the names of files after `@` made paths.
    async fn certs(&self, arguments: &str) -> Ended {
        let argument = |word: &str| match word.strip_prefix('@') {
            Some(name) => self.path(name),
            None => word.to_owned(),
        };
        let arguments: Vec<_> =
            std::iter::once("certs".to_owned()).chain(arguments.split(' ').map(argument)).collect();
        self.place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    async fn done(&self, arguments: &str) -> String {
        let ended = self.certs(arguments).await;
        assert_eq!(ended.code, Some(0), "certs {arguments}: {}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    async fn refused(&self, arguments: &str, code: i32, says: &str) {
        let ended = self.certs(arguments).await;
        assert_eq!(ended.code, Some(code), "certs {arguments}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains(says), "certs {arguments}: {}", ended.stderr);
    }

    async fn killed_and_started(self) -> Self {
        self.hub.kill().await;
        let passphrase = self.place.data().join("keyring").display().to_string();
        let hub = self.place.hub(&["--passphrase-file", &passphrase]).await;
        Self { place: self.place, hub }
    }
}

async fn publishes(hub: &HubProcess, credentials: &Credentials) {
    let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
    let events = vec![event("order", "o-1", "created")];
    let appended = peer.ask(Request::Append { events, offer: Offer::Publish, expectations: vec![] }).await;
    assert!(matches!(appended, Ok(Reply::Appended(_))), "{appended:?}");
}

/// Runs OpenSSL in the office's folder. `tests/servers` sees to it that it is there.
fn openssl(office: &Office, arguments: &str) -> String {
    let mut openssl = std::process::Command::new("openssl");
    let ended = openssl.args(arguments.split(' ')).current_dir(office.place.data()).output();
    let ended = ended.expect("openssl is needed: apt-get install openssl");
    assert!(ended.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

/// A root of RSA that OpenSSL makes, and what it signs of `requests.pem`, as docs/rotation.md says.
fn signed_by_openssl(office: &Office) -> String {
    openssl(
        office,
        "req -x509 -newkey rsa:3072 -nodes -keyout corp.key -out corp.pem -days 3650 -subj /CN=corp \
         -addext basicConstraints=critical,CA:TRUE,pathlen:1 -addext keyUsage=critical,keyCertSign,cRLSign",
    );
    let requests = std::fs::read_to_string(office.path("requests.pem")).unwrap();
    let end = "-----END CERTIFICATE REQUEST-----\n";
    let requests: Vec<_> = requests.split_inclusive(end).filter(|text| text.ends_with(end)).collect();
    assert_eq!(requests.len(), 2);
    let mut signed = std::fs::read_to_string(office.path("corp.pem")).unwrap();
    for request in requests {
        std::fs::write(office.path("one.csr"), request).unwrap();
        let asks = openssl(office, "req -in one.csr -noout -verify -text");
        let uri = asks.lines().find_map(|line| line.trim().strip_prefix("URI:")).expect("what it is for");
        let more = match asks.contains("issuer of hubs") {
            true => "extendedKeyUsage=serverAuth,clientAuth",
            false => "extendedKeyUsage=clientAuth\nnameConstraints=critical,permitted;DNS:spoke.invalid",
        };
        let extensions = format!(
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
             subjectAltName=URI:{uri}\n{more}\n"
        );
        std::fs::write(office.path("one.ext"), extensions).unwrap();
        let sign =
            "x509 -req -in one.csr -CA corp.pem -CAkey corp.key -CAcreateserial -days 300 -extfile one.ext";
        openssl(office, &format!("{sign} -out one.pem"));
        signed.push_str(&std::fs::read_to_string(office.path("one.pem")).unwrap());
    }
    signed
}

async fn reaches(database: &TestDatabase, step: &str, number: i64) {
    within(step, async {
        while database.number("SELECT MAX(step) FROM ca_rotation WHERE open = 1").await < number {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

on_every_engine! {
    async fn issuers_are_signed_where_the_roots_key_was_taken_to(database: &TestDatabase) {
        let office = Office::open(database).await;
        let old = Credentials::enrol(office.place.data(), "old").await;
        let forget = "forget-root-key --passphrase-file @keyring --copy-to @root.pem --copy-passphrase-file @copy";
        office.done(forget).await;
        office.refused(forget, 1, "is not in the database").await;
        let sealed = "SELECT COUNT(*) FROM certificate WHERE role = 'root' AND sealed_key IS NOT NULL";
        assert_eq!(database.number(sealed).await, 0);
        let office = office.killed_and_started().await;
        let ended = office.certs("rotate intermediate").await;
        assert!(ended.code == Some(0) && ended.stderr.contains("it waits for you"), "{ended:?}");
        assert!(office.done("status").await.contains("export-csr"), "an operator is waited for");
        office.done("export-csr @requests.pem").await;
        office.refused("sign @requests.pem --yes --root @root.pem --root-passphrase-file @keyring --out @x", 1, "did not open").await;
        office.refused("import @root.pem", 1, "no certificate has the key").await;
        // A hub that dies while it waits waits on.
        let office = office.killed_and_started().await;
        office.done("sign @requests.pem --yes --root @root.pem --root-passphrase-file @copy --out @signed.pem").await;
        let said = office.done("import @signed.pem").await;
        assert!(said.contains("issuer/hub/2, issuer/spoke/2"), "{said}");
        // Its answer may have been lost.
        assert_eq!(office.done("import @signed.pem").await, said);
        office.refused("withdraw", 1, "under way").await;
        let office = office.killed_and_started().await;
        reaches(database, "activated", 2).await;
        let new = Credentials::enrol(office.place.data(), "new").await;
        publishes(&office.hub, &old).await;
        publishes(&office.hub, &new).await;
        for act in ["ca.forget", "ca.request", "ca.prepare"] {
            let told = format!("SELECT COUNT(*) FROM log WHERE act = '{act}'");
            assert_eq!(database.number(&told).await, 1, "{act}");
        }
        office.hub.terminate().await;
    }

    async fn an_rsa_authority_that_openssl_keeps_is_the_root_from_then_on(database: &TestDatabase) {
        let office = Office::open(database).await;
        let old = Credentials::enrol(office.place.data(), "old").await;
        office.done("export-csr @requests.pem --for root").await;
        std::fs::write(office.path("signed.pem"), signed_by_openssl(&office)).unwrap();
        let said = office.done("import @signed.pem").await;
        assert!(said.contains("root/2") && said.contains("issuer/hub/2"), "{said}");
        let office = office.killed_and_started().await;
        reaches(database, "activated", 2).await;
        let new = Credentials::enrol(office.place.data(), "new").await;
        publishes(&office.hub, &new).await;
        publishes(&office.hub, &old).await;
        let theirs = "SELECT COUNT(*) FROM certificate WHERE id = 'root/2' AND version = 0 AND sealed_key IS NULL";
        assert_eq!(database.number(theirs).await, 1);
        office.hub.terminate().await;
    }

    async fn a_root_that_was_taken_out_is_replaced_by_one_that_never_was_in(database: &TestDatabase) {
        let office = Office::open(database).await;
        let old = Credentials::enrol(office.place.data(), "old").await;
        office.done("forget-root-key --passphrase-file @keyring --copy-to @root.pem --copy-passphrase-file @copy").await;
        office.done("export-csr @requests.pem --for root").await;
        office.refused("rotate intermediate", 75, "one at a time").await;
        office.refused("export-csr @other.pem --for intermediate", 75, "one at a time").await;
        office.refused("sign @requests.pem --new-root @never.pem --out @never", 2, "say --yes").await;
        office.done("withdraw").await;
        office.done("export-csr @again.pem --for root").await;
        let sign = "--root @root.pem --root-passphrase-file @copy --new-root @next.pem --new-root-passphrase-file @copy";
        office.done(&format!("sign @requests.pem --yes {sign} --out @stale.pem")).await;
        office.refused("import @stale.pem", 1, "no certificate has the key").await;
        let sign = sign.replace("next.pem", "next2.pem");
        office.done(&format!("sign @again.pem --yes {sign} --out @signed.pem")).await;
        let said = office.done("import @signed.pem").await;
        assert!(said.contains("root/3, cross/3"), "{said}");
        reaches(database, "activated", 2).await;
        // It knows the former root only.
        publishes(&office.hub, &old).await;
        let new = Credentials::enrol(office.place.data(), "new").await;
        publishes(&office.hub, &new).await;
        let sealed = "SELECT COUNT(*) FROM certificate WHERE role IN ('root', 'cross') AND sealed_key IS NOT NULL";
        assert_eq!(database.number(sealed).await, 0);
        office.hub.terminate().await;
    }
}
