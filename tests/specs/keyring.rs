//! The passphrase: changed while a hub runs, and where it comes from, with the real binary.

use std::os::unix::fs::PermissionsExt;

use eventflow_tests::process::{Ended, Place, private};
use eventflow_tests::{Engine, TestDatabase, on_every_engine, run};

const OLD: &str = "the old passphrase";
const NEW: &str = "a quite new passphrase";

/// A file that only its owner can read.
fn secret(place: &Place, name: &str, text: &str) -> String {
    let path = place.file(name, text);
    private(&path);
    path
}

async fn rotate(place: &Place, from: &str, to: &str, more: &[&str]) -> Ended {
    let options = ["keyring", "rotate", "--passphrase-file", from, "--new-passphrase-file", to];
    place.run(&[&options, more].concat()).await
}

/// A hub that has to fail, with its exit code and what it said.
async fn failing_hub(place: &Place, passphrase: &str) -> Ended {
    place.run(&["hub", "--listen", "127.0.0.1:0", "--passphrase-file", passphrase]).await
}

async fn states(place: &Place) -> Vec<String> {
    let listed = place.json(&["--json", "keyring", "status"]).await;
    listed.iter().map(|keyring| keyring["state"].as_str().unwrap().to_owned()).collect()
}

on_every_engine! {
    async fn a_passphrase_is_changed_while_a_hub_runs_and_certificates_stay(database: &TestDatabase) {
        let place = Place::on(database);
        let (old, new) = (secret(&place, "old", OLD), secret(&place, "new", NEW));
        let hub = place.hub(&["--passphrase-file", &old]).await;
        let authorities = || async {
            let all = place.json(&["--json", "certs", "ls"]).await;
            all.into_iter().filter(|one| one["role"] != "hub").collect::<Vec<_>>()
        };
        let before = authorities().await;

        let wrong = rotate(&place, &new, &old, &[]).await;
        assert_eq!(wrong.code, Some(78), "{}", wrong.stderr);
        assert!(wrong.stderr.contains("E_EVENTFLOW_PASSPHRASE"), "{}", wrong.stderr);
        assert_eq!(rotate(&place, &old, &new, &[]).await.code, Some(0));
        // The hub that runs has the keys, also for those who enrol now.
        place.done(&["publish", "order", "p", "placed"]).await;
        assert_eq!(states(&place).await, ["retired", "active"]);
        hub.terminate().await;

        let refused = failing_hub(&place, &old).await;
        assert_eq!(refused.code, Some(78), "{}", refused.stderr);
        assert!(!refused.stderr.contains(OLD), "{}", refused.stderr);
        let hub = place.hub(&["--passphrase-file", &new]).await;
        let after = authorities().await;
        assert!(before.iter().all(|one| after.contains(one)), "{before:?} {after:?}");
        let lines = place.json(&["--json", "audit", "--act", "keyring."]).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        hub.terminate().await;
    }

    async fn a_former_passphrase_that_is_kept_opens_until_it_is_retired(database: &TestDatabase) {
        let place = Place::on(database);
        let (old, new) = (secret(&place, "old", OLD), secret(&place, "new", NEW));
        place.hub(&["--passphrase-file", &old]).await.terminate().await;
        assert_eq!(rotate(&place, &old, &new, &["--keep-former"]).await.code, Some(0));
        assert_eq!(states(&place).await, ["kept", "active"]);
        for passphrase in [&old, &new] {
            place.hub(&["--passphrase-file", passphrase]).await.terminate().await;
        }
        let former = place.json(&["--json", "keyring", "status"]).await[0]["id"].as_str().unwrap().to_owned();
        place.done(&["keyring", "retire", &former]).await;
        assert_eq!(place.run(&["keyring", "retire", &former]).await.code, Some(1));
        assert_eq!(failing_hub(&place, &old).await.code, Some(78));
        place.hub(&["--passphrase-file", &new]).await.terminate().await;
    }

    async fn a_generated_passphrase_is_replaced_by_a_generated_one(database: &TestDatabase) {
        let place = Place::on(database);
        place.hub(&[]).await.terminate().await;
        let key = || std::fs::read(place.data().join("master.key")).unwrap();
        let first = key();
        place.done(&["keyring", "rotate", "--generate"]).await;
        assert_ne!(key(), first);
        assert_eq!(states(&place).await, ["retired", "active"]);
        place.hub(&[]).await.terminate().await;
    }
}

#[test]
fn a_passphrase_from_two_places_or_one_that_others_can_read_is_refused() {
    run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = &Place::on(&database);
        let file = secret(place, "passphrase", OLD);
        let settings = ["hub", "--listen", "127.0.0.1:0", "--passphrase-file", &file];
        let mut twice = place.command(&settings);
        twice.env("EVENTFLOW_CA_PASSPHRASE", NEW);
        let output = twice.output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("given twice") && !said.contains(NEW), "{said}");

        let credentials = place.data().join("credentials");
        std::fs::create_dir(&credentials).unwrap();
        std::fs::write(credentials.join("ca-passphrase"), OLD).unwrap();
        let mut twice = place.command(&settings);
        twice.env("CREDENTIALS_DIRECTORY", &credentials);
        assert_eq!(twice.output().await.unwrap().status.code(), Some(78));

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let readable = failing_hub(place, &file).await;
        assert_eq!(readable.code, Some(78), "{}", readable.stderr);
        assert!(readable.stderr.contains("chmod"), "{}", readable.stderr);
        let short = failing_hub(place, &secret(place, "short", "elf zeichen")).await;
        assert_eq!(short.code, Some(78), "{}", short.stderr);
        assert!(short.stderr.contains("at least 12"), "{}", short.stderr);
    });
}

#[test]
fn a_credential_of_systemd_is_the_passphrase_where_it_is_the_only_one() {
    run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let file = secret(&place, "ca-passphrase", OLD);
        let mut shown = place.command(&["hub", "--print-config"]);
        shown.env("CREDENTIALS_DIRECTORY", place.data());
        let shown = String::from_utf8(shown.output().await.unwrap().stdout).unwrap();
        assert!(shown.contains("systemd's credential") && !shown.contains(OLD), "{shown}");
        place.hub(&["--passphrase-file", &file]).await.terminate().await;
        let mut rotate = place.command(&["keyring", "rotate", "--generate"]);
        rotate.env("CREDENTIALS_DIRECTORY", place.data());
        let output = rotate.output().await.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        place.hub(&[]).await.terminate().await;
    });
}
