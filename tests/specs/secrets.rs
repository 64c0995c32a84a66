//! Nothing that opens anything is written in clear: not into the database, not into logs, not into what
//! the settings look like. Core files are ruled out.

use eventflow_tests::process::{HubProcess, Place, private};
use eventflow_tests::{Engine, TestDatabase, run};

const PASSPHRASE: &str = "correct horse battery staple";

/// What every ECDSA P-256 private key in PKCS#8 begins with, without the lengths before it.
const PKCS8: &[u8] = &[
    0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

/// All that the hub has written where others may look: the database with its journal, its log.
fn written(place: &Place, hub: &HubProcess, database: &TestDatabase) -> Vec<(String, Vec<u8>)> {
    let path = database.url_text().trim_start_matches("sqlite:").to_owned();
    let mut all = vec![("its log".to_owned(), hub.log().into_bytes())];
    for end in ["", "-wal", "-shm"] {
        if let Ok(bytes) = std::fs::read(format!("{path}{end}")) {
            all.push((format!("the database{end}"), bytes));
        }
    }
    assert!(all.len() > 1, "the database {path} was not found beside {}", place.data().display());
    all
}

#[test]
fn no_secret_is_written_in_clear() {
    run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let file = place.file("passphrase", PASSPHRASE);
        private(&file);
        let hub = place.hub(&["--passphrase-file", &file, "--log", "trace"]).await;
        let token = place.done(&["token", "create", "--service", "billing"]).await;
        let token = token.split_whitespace().find(|word| word.starts_with("eft1.")).unwrap().to_owned();
        let secret = token.split('.').nth(2).unwrap().to_owned();
        place.done(&["publish", "order", "1", "placed"]).await;
        let elsewhere = Place::on(&database);
        let joined = ["spoke", "enroll", "--token", &token, "--hub", hub.address()];
        elsewhere.done(&joined).await;
        let key = std::fs::read_to_string(elsewhere.data().join("identity/billing/identity.pem")).unwrap();
        assert!(key.contains("PRIVATE KEY"), "the spoke's key stays with the spoke");

        for (place, bytes) in written(&place, &hub, &database) {
            assert!(!contains(&bytes, PASSPHRASE.as_bytes()), "the passphrase is in {place}");
            assert!(!contains(&bytes, secret.as_bytes()), "the token's secret is in {place}");
            assert!(!contains(&bytes, PKCS8), "a private key is in {place}");
            assert!(!contains(&bytes, b"PRIVATE KEY"), "a private key is in {place}");
        }
        let shown = place.done(&["hub", "--print-config", "--passphrase-file", &file]).await;
        assert!(shown.contains(&file) && !shown.contains(PASSPHRASE), "{shown}");
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", hub.pid())).unwrap();
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(cores.split_whitespace().filter(|word| *word == "0").count() == 2, "{cores}");
        hub.terminate().await;
    });
}

#[test]
fn settings_with_a_password_are_shown_without_it() {
    run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let url = "mysql://eventflow:hunter2hunter2@db.internal:3306/eventflow";
        let mut shown = place.command(&["hub", "--print-config", "--database", url]);
        shown.env("EVENTFLOW_CA_PASSPHRASE", PASSPHRASE);
        let shown = String::from_utf8(shown.output().await.unwrap().stdout).unwrap();
        assert!(shown.contains("db.internal"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains(PASSPHRASE), "{shown}");
    });
}
