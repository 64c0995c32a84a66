//! Services of other machines get their first certificate with a token, once, and nobody else does.

use std::net::Ipv4Addr;

use eventflow_tests::events::{event, name};
use eventflow_tests::process::{Ended, HubProcess, Place, private};
use eventflow_tests::stranger::Stranger;
use eventflow_tests::wire::until_closed;
use eventflow_tests::{Engine, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::Refusal;
use proto::enrol::{EnrolReply, EnrolToken, TokenSecret};
use proto::limits::ENROLMENT_FRAME_BYTES_MAX;
use spoke::{ConnectError, Spoke, SpokeOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A folder on another machine, as far as a hub can tell: there is no database behind it.
fn elsewhere() -> Place {
    Place::with_url("sqlite:/no/such/folder/database")
}

/// A hub that many may reach: only tokens and its own operator get in.
async fn guarded(place: &Place) -> HubProcess {
    let passphrase = place.file("passphrase", "a passphrase of the specs\n");
    private(&passphrase);
    place.hub(&["--passphrase-file", &passphrase, "--local-enrolment", "false"]).await
}

/// A token for `billing`, made by the operator.
async fn token(place: &Place, options: &[&str]) -> EnrolToken {
    let create = [&["token", "create", "--service", "billing"], options].concat();
    EnrolToken::parse(&place.done(&create).await).unwrap()
}

/// Enrols at `hub` with what a file holds.
async fn enroll(place: &Place, hub: &str, token: &str, options: &[&str]) -> Ended {
    let file = place.file("token", token);
    place.run(&[&["spoke", "enroll", "--token-file", &file, "--hub", hub, "--json"], options].concat()).await
}

fn says(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in: {}", ended.stderr);
    }
}

fn csr() -> Vec<u8> {
    certs::spoke_request().unwrap().0
}

/// Runs `spec` with a guarded hub on SQLite.
fn with_hub(spec: impl AsyncFnOnce(&Place, &HubProcess, &TestDatabase)) {
    eventflow_tests::run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let hub = guarded(&place).await;
        spec(&place, &hub, &database).await;
        assert_eq!(hub.terminate().await, Some(0));
    });
}

async fn uses(database: &TestDatabase) -> i64 {
    database.number("SELECT CAST(SUM(uses) AS SIGNED) FROM enrol_token").await
}

on_every_engine! {
    async fn a_token_lets_a_service_in_from_a_folder_of_its_own(database: &TestDatabase) {
        let (here, there) = (Place::on(database), elsewhere());
        let hub = guarded(&here).await;
        let token = token(&here, &[]).await.to_string();
        let enrolled = enroll(&there, hub.address(), &token, &[]).await;
        assert_eq!(enrolled.code, Some(0), "{enrolled:?}");
        let said: serde_json::Value = serde_json::from_str(&enrolled.stdout).unwrap();
        assert_eq!((&said["service"], &said["hubs"][0]), (&"billing".into(), &hub.address().into()));
        assert_eq!(said["fingerprint"].as_str().unwrap().len(), 64);
        // From here on neither token nor address is needed.
        std::fs::remove_file(there.data().join("token")).unwrap();
        there.done(&["publish", "order", "1", "placed", "--service", "billing"]).await;
        let log = here.json(&["log", "order", "1", "--service", "operator", "--json"]).await;
        assert_eq!(log[0]["publisher"], "billing");
        let audit = here.json(&["audit", "--json"]).await;
        let acts: Vec<_> = audit.iter().map(|line| line["act"].as_str().unwrap()).collect();
        assert!(acts.contains(&"token.create") && acts.contains(&"spoke.enrol"), "{acts:?}");
        hub.terminate().await;
    }

    async fn of_fifty_at_once_one_gets_the_certificate_that_a_token_is_good_for(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = guarded(&place).await;
        let token = token(&place, &[]).await;
        let ask = async |n: u8| {
            let stranger = Stranger::connect_from(Ipv4Addr::new(127, 0, 1, n), hub.address(), &token).await;
            stranger.unwrap().enrol(&token, csr()).await.unwrap()
        };
        let replies = join_all((1..=50).map(ask)).await;
        let issued = replies.iter().filter(|reply| matches!(reply, EnrolReply::Issued(_))).count();
        let refused = |reply: &&EnrolReply| matches!(reply, EnrolReply::Refused(Refusal::Denied { .. }));
        assert_eq!((issued, replies.iter().filter(refused).count()), (1, 49), "{replies:?}");
        let stored = "SELECT COUNT(*) FROM certificate WHERE service = 'billing'";
        assert_eq!((database.number(stored).await, uses(database).await), (1, 1));
        hub.terminate().await;
    }
}

#[test]
fn a_token_that_is_not_good_any_more_says_why_on_both_ends() {
    with_hub(async |place, hub, database| {
        let there = elsewhere();
        let spent = token(place, &[]).await.to_string();
        assert_eq!(enroll(&there, hub.address(), &spent, &[]).await.code, Some(0));
        says(&enroll(&there, hub.address(), &spent, &[]).await, 1, &["used up", "token create"]);

        let withdrawn = token(place, &[]).await;
        place.done(&["token", "rm", &withdrawn.id.to_string()]).await;
        says(&enroll(&there, hub.address(), &withdrawn.to_string(), &[]).await, 1, &["was withdrawn"]);

        let late = token(place, &["--ttl", "30d"]).await;
        database.execute(&format!("UPDATE enrol_token SET expires = 1 WHERE id = '{}'", late.id)).await;
        says(&enroll(&there, hub.address(), &late.to_string(), &[]).await, 1, &["has expired"]);

        let states = place.json(&["token", "ls", "--json"]).await;
        let mut states: Vec<_> = states.iter().map(|row| row["state"].as_str().unwrap()).collect();
        states.sort_unstable();
        assert_eq!(states, ["expired", "used up", "withdrawn"]);
        let log = hub.log();
        for why in ["is used up", "was withdrawn", "has expired"] {
            assert_eq!(log.matches(why).count(), 1, "{why}: {log}");
        }
    });
}

#[test]
fn a_token_that_is_cut_or_mistyped_or_of_another_version_is_told_before_anybody_is_asked() {
    with_hub(async |place, hub, _| {
        let (there, good) = (elsewhere(), token(place, &[]).await.to_string());
        let mistyped = good.replacen(&good[30..31], if &good[30..31] == "x" { "y" } else { "x" }, 1);
        for (bad, why) in [
            (&good[..good.len() - 20], "cut off"),
            (&mistyped, "mistyped"),
            (&good.replacen("eft1", "eft9", 1), "another version"),
            ("hello", "not an enrolment token"),
        ] {
            let ended = enroll(&there, hub.address(), bad, &[]).await;
            says(&ended, 2, &[why]);
            assert!(!ended.stderr.contains(&good[20..50]), "{}", ended.stderr);
        }
        assert!(!hub.log().contains("an enrolment was refused"), "{}", hub.log());
    });
}

#[test]
fn a_token_of_another_hub_is_never_sent_and_keeps_its_use() {
    with_hub(async |_, hub, _| {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let (other, there) = (Place::on(&database), elsewhere());
        let other_hub = guarded(&other).await;
        let token = token(&other, &[]).await.to_string();
        let ended = enroll(&there, hub.address(), &token, &[]).await;
        says(&ended, 1, &["is not the one that the enrolment token is from", "was not sent"]);
        assert!(!hub.log().contains("an enrolment was refused"), "{}", hub.log());
        assert_eq!(enroll(&there, other_hub.address(), &token, &[]).await.code, Some(0));
        other_hub.terminate().await;
    });
}

#[test]
fn a_token_for_another_service_and_one_with_a_wrong_secret_cost_nothing() {
    with_hub(async |place, hub, database| {
        let (there, token) = (elsewhere(), token(place, &[]).await);
        let text = token.to_string();
        let ended = enroll(&there, hub.address(), &text, &["--service", "shop"]).await;
        says(&ended, 1, &["is for service billing"]);
        let guessed = EnrolToken { secret: TokenSecret([0; 32]), ..token.clone() };
        says(&enroll(&there, hub.address(), &guessed.to_string(), &[]).await, 1, &["does not know this"]);
        assert_eq!(uses(database).await, 0);
        assert_eq!(enroll(&there, hub.address(), &text, &["--service", "billing"]).await.code, Some(0));
    });
}

#[test]
fn no_token_is_made_for_the_operator_for_ever_or_without_end() {
    with_hub(async |place, _, database| {
        let create = |options: &[&str]| -> Vec<String> {
            ["token", "create"].iter().chain(options).map(|word| (*word).to_owned()).collect()
        };
        for (options, code, why) in [
            (&["--service", "operator"][..], 1, "operator"),
            (&["--service", "billing", "--ttl", "31d"], 1, "30 days"),
            (&["--service", "billing", "--ttl", "10ms"], 1, "1 s"),
            (&["--service", "billing", "--uses", "0"], 1, "1 to 10000"),
            (&["--service", "Not A Name"], 2, "only a-z"),
            (&[], 2, "--service NAME"),
        ] {
            let words = create(options);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            says(&place.run(&words).await, code, &[why]);
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM enrol_token").await, 0);
    });
}

/// Requests for what nobody gets, each with a word of the hub's answer.
fn bad_requests() -> Vec<(Vec<u8>, &'static str)> {
    let of = |algorithm| {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        rcgen::CertificateParams::default().serialize_request(&key).unwrap().der().to_vec()
    };
    let mut forged = csr();
    *forged.last_mut().unwrap() ^= 1;
    let mut bad = vec![
        (vec![], "refused"),
        (vec![0xff; 64], "refused"),
        (vec![0x30; 4_097], "at most 4096"),
        ([csr(), vec![0]].concat(), "1 bytes follow"),
        (forged, "refused"),
        (of(&rcgen::PKCS_RSA_SHA256), "not ECDSA"),
        (of(&rcgen::PKCS_ED25519), "not ECDSA"),
    ];
    // Our own library does not make keys that weak.
    let openssl = std::process::Command::new("openssl")
        .args(["req", "-new", "-newkey", "rsa:512", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"])
        .args(["-outform", "DER"])
        .output();
    match openssl {
        Ok(made) if made.status.success() => bad.push((made.stdout, "not ECDSA")),
        Ok(_) | Err(_) => println!("not run: no openssl here makes an RSA-512 request"),
    }
    bad
}

#[test]
fn a_request_that_is_refused_costs_no_use_and_the_next_one_is_answered() {
    with_hub(async |place, hub, database| {
        let token = token(place, &[]).await;
        for (n, (request, why)) in (1..).zip(bad_requests()) {
            let from = Ipv4Addr::new(127, 0, 2, n);
            let stranger = Stranger::connect_from(from, hub.address(), &token).await.unwrap();
            let reply = stranger.enrol(&token, request).await;
            let Some(EnrolReply::Refused(Refusal::Invalid { reason })) = reply else { panic!("{reply:?}") };
            assert!(reason.contains(why), "{reason}");
        }
        assert_eq!(uses(database).await, 0);
        let stranger = Stranger::connect(hub.address(), &token).await.unwrap();
        assert!(matches!(stranger.enrol(&token, csr()).await, Some(EnrolReply::Issued(_))));
    });
}

#[test]
fn a_request_to_be_an_authority_or_a_hub_gets_a_spokes_leaf_and_nothing_more() {
    with_hub(async |place, hub, _| {
        let token = token(place, &[]).await;
        let names = vec!["hub.eventflow.internal".to_owned(), "evil.example".to_owned()];
        let mut wishes = rcgen::CertificateParams::new(names).unwrap();
        wishes.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        wishes.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let request = wishes.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let stranger = Stranger::connect(hub.address(), &token).await.unwrap();
        let reply = stranger.enrol(&token, request.der().to_vec()).await;
        let Some(EnrolReply::Issued(enrolled)) = reply else { panic!("{reply:?}") };
        let (_, leaf) = x509_parser::parse_x509_certificate(&enrolled.chain[0]).unwrap();
        assert!(!leaf.is_ca());
        let uses = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(uses.client_auth && !uses.server_auth);
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 1);
        assert_eq!(certs::identity(&enrolled.chain[0]).unwrap().service, "billing");
    });
}

/// Everything that is no enrolment: each is closed without an answer.
async fn nonsense(hub: &HubProcess, token: &EnrolToken) {
    for bytes in [&b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"[..], &[0xff; 4_096], &[22, 3, 1, 0xff, 0xff]] {
        let mut socket = TcpStream::connect(hub.address()).await.unwrap();
        drop(socket.write_all(bytes).await);
        until_closed(&mut socket).await;
    }
    let from = |n| Stranger::connect_from(Ipv4Addr::new(127, 0, 3, n), hub.address(), token);
    let garbage = from(1).await.unwrap().ask(b"garbage").await;
    assert!(matches!(garbage, Some(EnrolReply::Refused(Refusal::Invalid { .. }))), "{garbage:?}");
    assert_eq!(from(2).await.unwrap().ask(&[0; ENROLMENT_FRAME_BYTES_MAX + 1]).await, None);
    // It says nothing at all, and the hub closes.
    drop(from(3).await.unwrap());
}

/// What a TLS client of the machine says when it offers what the hub does not take.
async fn openssl(hub: &HubProcess, options: &[&str]) -> String {
    let mut command = tokio::process::Command::new("openssl");
    command.args(["s_client", "-connect", hub.address(), "-servername", "hub.eventflow.internal"]);
    command.args(options).stdin(std::process::Stdio::null());
    let ended = within("openssl s_client", command.output()).await;
    let ended = ended.expect("openssl is needed: apt-get install openssl");
    String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned()
}

#[test]
fn whoever_speaks_nonsense_at_the_port_is_closed_and_disturbs_nobody() {
    with_hub(async |place, hub, _| {
        let mut consumer =
            place.start(&["consume", "order", "--service", "operator", "--from", "beginning", "--json"]);
        let token = token(place, &["--uses", "100"]).await;
        for round in 0..3 {
            nonsense(hub, &token).await;
            let pid = round.to_string();
            place.done(&["publish", "order", &pid, "placed", "--service", "operator"]).await;
            let line = consumer.line().await.unwrap();
            assert!(line.contains(&format!("\"pid\":\"{pid}\"")), "{line}");
        }
        for (options, reason) in [
            (&["-tls1_2", "-alpn", "eventflow-enroll/1"][..], "SSL alert number 70"),
            (&["-tls1_2"], "SSL alert number 120"),
            (&["-tls1_3"], "SSL alert number 120"),
            (&["-tls1_3", "-alpn", "h2"], "SSL alert number 120"),
            (&["-tls1_3", "-alpn", "eventflow-enroll/2"], "SSL alert number 120"),
        ] {
            let said = openssl(hub, options).await;
            assert!(said.contains(reason) && !said.contains("BEGIN CERTIFICATE"), "{options:?}: {said}");
        }
        consumer.terminate().await;
    });
}

#[test]
fn who_enrols_too_often_is_told_to_wait_and_keeps_no_other_out() {
    with_hub(async |place, hub, database| {
        let token = token(place, &["--uses", "1000"]).await;
        let ask = async |from: Ipv4Addr| {
            let stranger = Stranger::connect_from(from, hub.address(), &token).await.unwrap();
            stranger.enrol(&token, csr()).await.unwrap()
        };
        let greedy = Ipv4Addr::new(127, 0, 4, 1);
        let replies = join_all((0..40).map(|_| ask(greedy))).await;
        let busy = replies.iter().filter(|reply| matches!(reply, EnrolReply::Busy { .. })).count();
        let issued = replies.iter().filter(|reply| matches!(reply, EnrolReply::Issued(_))).count();
        assert!(busy > 0 && issued >= 10 && busy + issued == 40, "{busy} busy, {issued} issued");
        assert_eq!(uses(database).await, i64::try_from(issued).unwrap());
        assert!(matches!(ask(Ipv4Addr::new(127, 0, 4, 2)).await, EnrolReply::Issued(_)));
    });
}

#[test]
fn a_spoke_enrols_by_itself_with_a_token_file_that_may_be_gone_later() {
    with_hub(async |place, hub, _| {
        let there = elsewhere();
        let file = there.file("token", token(place, &[]).await.to_string());
        let options =
            || SpokeOptions::new(name("billing"), there.data()).hub(hub.address()).enrol_token_file(&file);
        let spoke = within("the first connect", Spoke::connect(options())).await.unwrap();
        spoke.publish(event("order", "1", "placed")).await.unwrap();
        spoke.close().await.unwrap();
        std::fs::remove_file(&file).unwrap();
        let spoke = within("the second connect", Spoke::connect(options())).await.unwrap();
        spoke.publish(event("order", "1", "paid")).await.unwrap();
        spoke.close().await.unwrap();
    });
}

#[test]
fn a_spoke_with_a_token_that_is_used_up_or_missing_gives_up_and_says_so() {
    with_hub(async |place, hub, _| {
        let token = token(place, &[]).await;
        let connect = async |options: fn(SpokeOptions, &EnrolToken) -> SpokeOptions| {
            let there = elsewhere();
            let plain = SpokeOptions::new(name("billing"), there.data()).hub(hub.address());
            within("an answer", Spoke::connect(options(plain, &token))).await
        };
        let first = connect(|options, token| options.enrol_token(token.clone())).await.unwrap();
        let second = connect(|options, token| options.enrol_token(token.clone())).await;
        let error = second.err().unwrap();
        assert!(matches!(error, ConnectError::TokenRefused { .. }), "{error}");
        assert!(error.to_string().contains("used up"), "{error}");
        let missing = connect(|options, _| options.enrol_token_file("/no/such/token")).await.err().unwrap();
        assert!(missing.to_string().contains("/no/such/token"), "{missing}");
        let none = connect(|options, _| options).await.err().unwrap().to_string();
        for way in ["spoke enroll", "EVENTFLOW_DATA", "EVENTFLOW_ENROLL_TOKEN_FILE"] {
            assert!(none.contains(way), "{way} is not in: {none}");
        }
        first.close().await.unwrap();
    });
}

#[test]
fn a_token_in_the_environment_is_enough_for_a_command() {
    with_hub(async |place, hub, _| {
        let (there, token) = (elsewhere(), token(place, &[]).await.to_string());
        let mut publish = there.command(&[
            "publish",
            "order",
            "1",
            "placed",
            "--service",
            "billing",
            "--hub",
            hub.address(),
        ]);
        let ended = within("publish", publish.env("EVENTFLOW_ENROLL_TOKEN", token).output()).await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
    });
}

#[test]
fn on_the_hubs_machine_only_the_operator_gets_in_unless_local_enrolment_is_on() {
    with_hub(async |place, _, _| {
        let refused = place.run(&["publish", "order", "1", "placed", "--service", "shop"]).await;
        says(&refused, 1, &["local enrolment is off", "token create", "--local-enrolment true"]);
        place.done(&["publish", "order", "1", "placed", "--service", "operator"]).await;
    });
}

#[test]
fn the_secret_of_a_token_is_in_neither_the_log_nor_the_tables() {
    with_hub(async |place, hub, database| {
        let token = token(place, &[]).await;
        let there = elsewhere();
        assert_eq!(enroll(&there, hub.address(), &token.to_string(), &[]).await.code, Some(0));
        assert_eq!(enroll(&there, hub.address(), &token.to_string(), &[]).await.code, Some(1));
        let text = token.to_string();
        let encoded = text.split('.').nth(2).unwrap();
        assert!(!hub.log().contains(encoded));
        for entry in std::fs::read_dir(database.file().parent().unwrap()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(32).any(|window| window == token.secret.0), "the secret is in the tables");
            assert!(!bytes.windows(43).any(|window| window == encoded.as_bytes()));
        }
    });
}
