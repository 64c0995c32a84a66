//! Enrolment over a real socket, against a real database.

use super::*;
use crate::identity::tests::{Keys, keys};
use proto::ServiceName;
use proto::enrol::Enrolled;
use std::path::PathBuf;

struct Served {
    keys: Keys,
    folder: DataFolder,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _path: tempfile::TempDir,
}

async fn served() -> Served {
    let keys = keys().await;
    let path = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(path.path()).unwrap();
    let (listener, stop) = (listen(&folder).unwrap(), CancellationToken::new());
    let identity = Arc::new(keys.load("1.hub").await.unwrap());
    let mut tasks = JoinSet::new();
    let address = "127.0.0.1:50001".to_owned();
    tasks.spawn(serve(listener, identity, address, Admits::AllServices, Clock::system(), stop.clone()));
    Served { keys, folder, stop, tasks, _path: path }
}

impl Served {
    fn socket(&self) -> PathBuf {
        self.folder.path(ENROLMENT_SOCKET)
    }

    /// Sends the bytes of a frame; `None` if the hub hangs up without an answer.
    async fn ask(&self, frame: &[u8]) -> Option<EnrolReply> {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
        frames.send(Bytes::copy_from_slice(frame)).await.unwrap();
        let answer = frames.next().await?.ok()?;
        Some(wire::decode(&answer).unwrap())
    }

    async fn enrol(&self, csr: Vec<u8>) -> EnrolReply {
        let request = EnrolRequest { service: ServiceName::parse("billing").unwrap(), csr };
        let mut frame = Vec::new();
        wire::encode(&request, &mut frame).unwrap();
        self.ask(&frame).await.unwrap()
    }
}

#[tokio::test]
async fn a_process_of_the_hubs_user_gets_a_certificate_that_lets_it_in() {
    let served = served().await;
    let (csr, key) = certs::spoke_request().unwrap();
    let EnrolReply::Issued(Enrolled { chain, roots, hubs, not_after_ms }) = served.enrol(csr).await else {
        panic!("nothing was issued");
    };
    assert_eq!(hubs, ["127.0.0.1:50001"]);
    assert_eq!(certs::not_after(&chain[0]).unwrap().millis(), not_after_ms);
    let der =
        |bytes: Vec<Vec<u8>>| -> Vec<_> { bytes.into_iter().map(certs::CertificateDer::from).collect() };
    let leaf = chain[0].clone();
    assert!(certs::tls::client_config(&der(roots), der(chain), &key).is_ok());
    let identity = served.keys.load("1.hub").await.unwrap();
    let peer = identity.authenticate(&leaf, Clock::system().now()).await.unwrap();
    assert_eq!(peer.service.as_str(), "billing");
}

#[tokio::test]
async fn a_bad_request_is_refused_with_a_reason_and_the_next_one_is_answered() {
    let served = served().await;
    let refused = served.enrol(vec![0; 8]).await;
    assert!(matches!(refused, EnrolReply::Refused(Refusal::Invalid { .. })), "{refused:?}");
    let refused = served.ask(b"garbage").await.unwrap();
    assert!(matches!(refused, EnrolReply::Refused(Refusal::Invalid { .. })), "{refused:?}");
    assert!(served.ask(&[0; ENROLMENT_FRAME_BYTES_MAX + 1]).await.is_none());
    let (csr, _) = certs::spoke_request().unwrap();
    assert!(matches!(served.enrol(csr).await, EnrolReply::Issued(_)));
}

#[tokio::test]
async fn other_users_are_refused() {
    let keys = keys().await;
    let identity = Arc::new(keys.load("1.hub").await.unwrap());
    let (address, admits) = (Arc::from(""), Admits::AllServices);
    let desk = Desk { identity, address, admits, clock: Clock::system(), own_user: Some(1000) };
    assert_eq!(desk.permitted(Some(1000)), Ok(()));
    assert_eq!(desk.permitted(Some(0)), Ok(()));
    assert!(matches!(desk.permitted(Some(1001)), Err(Refusal::Denied { .. })));
    assert!(matches!(desk.permitted(None), Err(Refusal::Denied { .. })));
    let nobody = Desk { own_user: None, ..desk };
    assert!(matches!(nobody.permitted(Some(1000)), Err(Refusal::Denied { .. })));
}

#[tokio::test]
async fn peers_that_say_nothing_do_not_keep_others_out_or_the_hub_from_stopping() {
    let mut served = served().await;
    let mut silent = Vec::new();
    for _ in 0..ENROLMENTS_MAX {
        silent.push(UnixStream::connect(served.socket()).await.unwrap());
    }
    // From here the clock jumps to the silent peers' deadline as soon as nothing else is to do.
    tokio::time::pause();
    assert!(matches!(served.ask(b"garbage").await, Some(EnrolReply::Refused(Refusal::Invalid { .. }))));
    served.stop.cancel();
    served.tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_path_that_is_too_long_for_a_socket_is_explained() {
    let path = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(&path.path().join("x".repeat(100))).unwrap();
    let address = "127.0.0.1:1".parse().unwrap();
    let refused = open(&folder, LocalEnrolment::On, address).unwrap_err();
    assert!(refused.to_string().contains("shorter path"), "{refused}");
    // A hub that enrols nobody there need not be kept from starting.
    assert!(open(&folder, LocalEnrolment::Off, address).unwrap().is_none());
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced_and_is_the_owners_alone() {
    let path = tempfile::tempdir().unwrap();
    let folder = DataFolder::open(path.path()).unwrap();
    drop(listen(&folder).unwrap());
    let _listener = listen(&folder).unwrap();
    let mode = std::fs::metadata(folder.path(ENROLMENT_SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn with_local_enrolment_off_only_the_operator_gets_a_certificate() {
    let keys = keys().await;
    let identity = Arc::new(keys.load("1.hub").await.unwrap());
    let (address, admits) = (Arc::from(""), Admits::OperatorOnly);
    let desk = Desk { identity, address, admits, clock: Clock::system(), own_user: Some(1000) };
    let ask = async |service: &str| {
        let (csr, _) = certs::spoke_request().unwrap();
        let request = EnrolRequest { service: ServiceName::parse(service).unwrap(), csr };
        let mut frame = Vec::new();
        wire::encode(&request, &mut frame).unwrap();
        desk.answer(&frame, Some(1000)).await
    };
    let EnrolReply::Refused(Refusal::Denied { reason }) = ask("billing").await else {
        panic!("it was issued")
    };
    assert!(reason.contains("token create") && reason.contains("--local-enrolment true"), "{reason}");
    assert!(matches!(ask("operator").await, EnrolReply::Issued(_)));
}
