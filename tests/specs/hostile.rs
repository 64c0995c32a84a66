//! Peers that mean harm or know no better: each is closed, nobody else notices, memory stays flat.

use eventflow_tests::events::event;
use eventflow_tests::process::{HubProcess, Place};
use eventflow_tests::wire::{Credentials, Peer, hello, until_closed};
use eventflow_tests::{Engine, TestDatabase, within};
use futures::future::join_all;
use proto::limits::{FRAME_BYTES_BEFORE_WELCOME, FRAME_BYTES_MAX};
use proto::message::{Answer, HubMessage, SpokeMessage, Verdict};
use proto::{Attempt, ListenerId, Position};
use spoke::{Spoke, SpokeOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A hub with short deadlines, and somebody who may talk to it.
async fn with_hub(spec: impl AsyncFnOnce(&Place, &HubProcess, Credentials)) {
    let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
    let place = Place::on(&database);
    let deadlines = ["--handshake-within", "1", "--hello-within", "1", "--keep-alive", "1"];
    let hub = place.hub(&deadlines).await;
    let credentials = Credentials::enrol(place.data(), "shop").await;
    spec(&place, &hub, credentials).await;
    // Whatever happened, the hub still works.
    place.done(&["publish", "order", "after", "placed"]).await;
    assert_eq!(hub.terminate().await, Some(0));
}

fn run(spec: impl AsyncFnOnce(&Place, &HubProcess, Credentials)) {
    eventflow_tests::run(with_hub(spec));
}

/// A TLS 1.2 ClientHello, by hand: our own TLS does not know how to speak it.
fn hello_of_tls_1_2() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    // No session, one cipher suite of TLS 1.2, no compression.
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    // Groups: P-256. Signatures: ECDSA with SHA-256.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    let length = u16::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(body);
    record
}

#[test]
fn bytes_that_are_no_tls_are_answered_by_closing() {
    run(async |_, hub, _| {
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4_096], &[22, 3, 1, 0xff, 0xff], &[0]] {
            let mut socket = TcpStream::connect(hub.address()).await.unwrap();
            drop(socket.write_all(garbage).await);
            until_closed(&mut socket).await;
        }
    });
}

#[test]
fn who_says_nothing_is_closed_at_the_deadline() {
    run(async |_, hub, credentials| {
        let mut silent = TcpStream::connect(hub.address()).await.unwrap();
        assert!(until_closed(&mut silent).await.is_empty());
        // After the handshake there is a deadline for Hello.
        Peer::connect(hub.address(), credentials.config()).await.unwrap().is_closed().await;
    });
}

#[test]
fn nothing_older_than_tls_1_3_is_spoken() {
    run(async |_, hub, _| {
        let mut socket = TcpStream::connect(hub.address()).await.unwrap();
        socket.write_all(&hello_of_tls_1_2()).await.unwrap();
        let said = until_closed(&mut socket).await;
        // A record of type 22 would be a handshake; an alert or nothing at all is right.
        assert_ne!(said.first(), Some(&22), "{said:?}");
    });
}

#[test]
fn who_shows_no_certificate_is_not_welcomed() {
    run(async |_, hub, credentials| {
        if let Ok(mut peer) = Peer::connect(hub.address(), credentials.anonymous()).await {
            peer.say(&hello()).await;
            assert_eq!(peer.hear().await, None);
        }
    });
}

#[test]
fn who_shows_a_certificate_of_another_root_is_not_welcomed() {
    run(async |_, hub, credentials| {
        let elsewhere = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let stranger = Place::on(&elsewhere);
        let other_hub = stranger.hub(&[]).await;
        let strange = Credentials::enrol(stranger.data(), "shop").await;
        if let Ok(mut peer) = Peer::connect(hub.address(), strange.config_towards(&credentials)).await {
            peer.say(&hello()).await;
            assert_eq!(peer.hear().await, None);
        }
        other_hub.terminate().await;
    });
}

#[test]
fn who_speaks_another_protocol_is_turned_away_in_the_handshake_and_told_so() {
    run(async |_, hub, credentials| {
        for protocols in [vec![], vec![b"h2".to_vec()]] {
            let mut config = credentials.config();
            config.alpn_protocols = protocols;
            let Err(error) = Peer::connect(hub.address(), config).await else { panic!("it was let in") };
            assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
        }
    });
}

#[test]
fn a_frame_over_the_limit_closes_at_its_header() {
    run(async |_, hub, credentials| {
        let header = |length: usize| u32::try_from(length).unwrap().to_be_bytes();
        for length in [FRAME_BYTES_BEFORE_WELCOME + 1, FRAME_BYTES_MAX, 0xffff_ffff] {
            let mut peer = Peer::connect(hub.address(), credentials.config()).await.unwrap();
            peer.send(&header(length)).await;
            peer.is_closed().await;
        }
        for length in [FRAME_BYTES_MAX + 1, 0xffff_ffff] {
            let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
            peer.send(&header(length)).await;
            peer.is_closed().await;
        }
    });
}

#[test]
fn a_frame_that_is_no_message_closes_the_connection() {
    run(async |_, hub, credentials| {
        let mut trailing = Vec::new();
        proto::wire::encode(&SpokeMessage::Ping(1), &mut trailing).unwrap();
        trailing.push(0);
        // A request of a list that claims 2^60 elements.
        let bomb = [1, 1, 0, 253, 0, 0, 0, 0, 0, 0, 0, 16];
        for payload in [&[0xff; 100][..], &[], &trailing, &bomb] {
            let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
            peer.frame(payload).await;
            peer.is_closed().await;
        }
    });
}

#[test]
fn a_frame_that_never_ends_is_given_up() {
    run(async |_, hub, credentials| {
        let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
        peer.send(&[0, 0, 4, 0, 1, 2, 3]).await;
        peer.is_closed().await;
    });
}

#[test]
fn who_does_not_start_with_hello_or_says_it_twice_is_closed() {
    run(async |_, hub, credentials| {
        let mut rude = Peer::connect(hub.address(), credentials.config()).await.unwrap();
        rude.say(&SpokeMessage::Ping(1)).await;
        rude.is_closed().await;
        let mut twice = Peer::welcomed(hub.address(), credentials.config()).await;
        twice.say(&hello()).await;
        twice.is_closed().await;
    });
}

#[test]
fn an_answer_for_what_was_never_delivered_changes_nothing_or_closes() {
    run(async |place, hub, credentials| {
        place.done(&["publish", "order", "1", "placed"]).await;
        let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
        let answer = Answer {
            listener: ListenerId(1),
            position: Position(1),
            attempt: Attempt(1),
            verdict: Verdict::Ack,
        };
        peer.say(&SpokeMessage::Answers(vec![answer])).await;
        peer.is_closed().await;
    });
}

#[test]
fn a_ping_is_answered_with_its_number() {
    run(async |_, hub, credentials| {
        let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
        peer.say(&SpokeMessage::Ping(4_711)).await;
        loop {
            match peer.hear().await {
                Some(HubMessage::Pong(4_711)) => break,
                Some(HubMessage::Ping(number)) => peer.say(&SpokeMessage::Pong(number)).await,
                // Every peer is told what to trust.
                Some(HubMessage::Trust(_)) => {}
                other => panic!("expected a Pong, got {other:?}"),
            }
        }
    });
}

/// One wave of 200 peers, half of which say nothing and half of which say nonsense, until all are closed.
async fn wave(address: &str) {
    let peers = (0..200).map(|n| async move {
        // A hub that sheds load may refuse to take the connection at all.
        let Ok(mut socket) = TcpStream::connect(address).await else { return };
        if n % 2 == 0 {
            drop(socket.write_all(&[0xa5; 16 * 1024]).await);
        }
        until_closed(&mut socket).await;
    });
    join_all(peers).await;
}

#[test]
fn two_hundred_bad_peers_do_not_disturb_a_publisher_and_memory_stays_flat() {
    run(async |place, hub, _| {
        let options = SpokeOptions::new("shop".parse().unwrap(), place.data()).hub(hub.address());
        let spoke = within("the publisher's connection", Spoke::connect(options)).await.unwrap();
        let publish = async |count: usize| {
            for n in 0..count {
                let appended =
                    within("an answer", spoke.publish(event("order", &format!("{n}"), "placed"))).await;
                appended.unwrap();
            }
        };
        // The first wave makes what is kept for good: threads, pools, caches.
        futures::join!(wave(hub.address()), publish(50));
        let before = hub.resident_kib();
        for _ in 0..5 {
            futures::join!(wave(hub.address()), publish(50));
        }
        let after = hub.resident_kib();
        assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after 1,000 bad peers");
        spoke.close().await.unwrap();
    });
}
