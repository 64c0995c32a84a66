//! Connecting: who must be there, which identity is used, what is said when it fails.

use std::sync::Arc;
use std::time::Duration;

use eventflow_spoke::{ConnectError, ServiceName, Spoke, SpokeOptions};

use crate::fake_hub::{FakeHub, Trust, new_event};

#[tokio::test]
async fn without_a_hub_it_fails_at_once_and_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let options = SpokeOptions::new(ServiceName::parse("billing").unwrap(), data.path());
    let error = Spoke::connect(options).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoHub { .. }));
    let text = error.to_string();
    assert!(text.contains("hub.addr") && text.contains("eventflow hub"), "{text}");
}

#[tokio::test]
async fn a_hub_elsewhere_needs_an_identity_that_is_here_already() {
    let data = tempfile::tempdir().unwrap();
    let options = SpokeOptions::new(ServiceName::parse("billing").unwrap(), data.path()).hub("127.0.0.1:1");
    let error = Spoke::connect(options).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoIdentity { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_should_be_there_is_tried_for_a_while() {
    let data = tempfile::tempdir().unwrap();
    // Nobody can listen on port 0.
    std::fs::write(data.path().join("hub.addr"), "127.0.0.1:0\n").unwrap();
    let options = SpokeOptions::new(ServiceName::parse("billing").unwrap(), data.path())
        .connect_timeout(Duration::from_secs(60));
    let error = Spoke::connect(options).await.unwrap_err();
    let ConnectError::Unreachable { waited, .. } = error else { panic!("{error}") };
    assert!(waited >= Duration::from_secs(60), "{waited:?}");
}

#[tokio::test]
async fn a_spoke_enrols_once_and_keeps_its_identity() {
    let hub = FakeHub::start().await;
    let (first, _link) = hub.connect().await;
    let (_second, _other_link) = hub.connect().await;
    assert_eq!(hub.enrolments(), 1);
    assert_eq!(first.service().as_str(), "billing");
    assert_eq!(first.welcome().incarnation, 1);
    assert!(hub.folder().join("identity/billing/identity.pem").exists());
}

#[tokio::test]
async fn of_the_addresses_that_an_enrolment_has_left_the_next_one_is_dialled_when_one_is_dead() {
    let hub = FakeHub::start().await;
    drop(hub.connect().await);
    // As on a machine that no hub has: what is left is what the enrolment has kept.
    let address = std::fs::read_to_string(hub.folder().join("hub.addr")).unwrap();
    std::fs::remove_file(hub.folder().join("hub.addr")).unwrap();
    // Nobody can listen on port 0.
    std::fs::write(hub.folder().join("identity/billing/hubs"), format!("127.0.0.1:0\n{address}")).unwrap();
    let (spoke, link) = hub.connect().await;
    assert_eq!(spoke.welcome().incarnation, 1);
    drop((spoke, link));
}

#[tokio::test]
async fn a_hub_that_lets_nobody_in_is_not_dialled_for_ever_when_there_is_another() {
    let trust = Arc::new(Trust::new());
    let here = Arc::new(tempfile::tempdir().unwrap());
    let full = FakeHub::start_in(Arc::clone(&here), &trust, Arc::clone(&trust)).await;
    drop(full.connect().await);
    let elsewhere = Arc::new(tempfile::tempdir().unwrap());
    let open = FakeHub::start_in(Arc::clone(&elsewhere), &trust, Arc::clone(&trust)).await;
    let address = |hub: &FakeHub| std::fs::read_to_string(hub.folder().join("hub.addr")).unwrap();
    let hubs = address(&full) + &address(&open);
    std::fs::remove_file(here.path().join("hub.addr")).unwrap();
    std::fs::write(here.path().join("identity/billing/hubs"), hubs).unwrap();
    // Its handshake succeeds, and then it closes, as one does that cannot ask its database.
    let (spoke, (), _link) = tokio::join!(Spoke::connect(full.options()), full.hang_up(), open.accept());
    assert_eq!(spoke.unwrap().welcome().incarnation, 1);
}

#[tokio::test]
async fn a_hub_that_was_started_again_on_another_port_is_found() {
    let trust = Arc::new(Trust::new());
    let data = Arc::new(tempfile::tempdir().unwrap());
    let hub = FakeHub::start_in(Arc::clone(&data), &trust, Arc::clone(&trust)).await;
    let (spoke, link) = hub.connect().await;
    drop((hub, link));
    let hub = FakeHub::start_in(data, &trust, Arc::clone(&trust)).await;
    let answering = async {
        let mut link = hub.accept().await;
        let (id, _) = link.append().await;
        link.appended(id, 1).await;
        link
    };
    let (published, _link) = tokio::join!(spoke.publish(new_event("a")), answering);
    published.unwrap();
    assert_eq!(hub.enrolments(), 0);
}

#[tokio::test]
async fn an_identity_of_a_hub_that_was_set_up_anew_is_replaced() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let before = Arc::new(Trust::new());
    let hub = FakeHub::start_in(Arc::clone(&data), &before, Arc::clone(&before)).await;
    drop(hub.connect().await);
    drop(hub);
    let after = Arc::new(Trust::new());
    let hub = FakeHub::start_in(data, &after, Arc::clone(&after)).await;
    let accepting = async {
        // The old identity does not believe this hub.
        hub.hang_up().await;
        hub.accept().await
    };
    let (spoke, _link) = tokio::join!(Spoke::connect(hub.options()), accepting);
    spoke.unwrap();
    assert_eq!(hub.enrolments(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_refused_also_after_a_new_enrolment_is_a_clear_error() {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let (trust, foreign) = (Trust::new(), Arc::new(Trust::new()));
    let hub = FakeHub::start_in(data, &trust, foreign).await;
    let refusing = async {
        loop {
            hub.hang_up().await;
        }
    };
    tokio::select! {
        connected = Spoke::connect(hub.options()) => {
            let error = connected.unwrap_err();
            assert!(matches!(error, ConnectError::CertificateRefused { .. }), "{error}");
            assert!(error.to_string().contains("identity/billing"), "{error}");
        }
        () = refusing => {}
    }
}

#[tokio::test]
async fn a_hub_that_hangs_up_on_the_certificate_gets_a_new_one() {
    let hub = FakeHub::start().await;
    drop(hub.connect().await);
    let accepting = async {
        // So does a hub that does not find the certificate's row.
        hub.hang_up().await;
        hub.accept().await
    };
    let (spoke, _link) = tokio::join!(Spoke::connect(hub.options()), accepting);
    spoke.unwrap();
    assert_eq!(hub.enrolments(), 2);
}

#[tokio::test]
async fn a_hub_that_turns_the_spoke_away_is_quoted() {
    let hub = FakeHub::start().await;
    let refusing = async {
        let mut link = hub.greeted().await;
        link.session.go_away("this hub speaks protocol 9 only".to_owned(), Duration::from_secs(60));
        link.flush().await;
        link.try_said().await;
    };
    let (connected, ()) = tokio::join!(Spoke::connect(hub.options()), refusing);
    let error = connected.unwrap_err();
    assert!(error.to_string().contains("protocol 9 only"), "{error}");
}
