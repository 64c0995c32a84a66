//! Handshakes in memory: who gets in, who does not, and that nobody resumes.

use std::time::Duration;

use proto::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, HandshakeKind, ServerConnection};

use super::*;
use crate::leaf::{LEAF_LIFETIME, hub_leaf, spoke_leaf};
use crate::request::spoke_request;
use crate::scene::{Chain, Scene, now, service};

/// A clock that stands still.
#[derive(Debug)]
pub(super) struct At(pub(super) Timestamp);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.millis().unsigned_abs())))
    }
}

fn later(millis: i64) -> Timestamp {
    Timestamp::from_millis(now().millis() + millis).unwrap()
}

fn roots(scene: &Scene) -> Vec<CertificateDer<'static>> {
    vec![scene.root.certificate().clone()]
}

fn server(scene: &Scene, (chain, key): Chain, at: Timestamp) -> ServerConfig {
    let shown = Arc::new(HubCertificate::new(chain, &key).unwrap());
    let mut config = server_config(&roots(scene), shown).unwrap();
    config.time_provider = Arc::new(At(at));
    config
}

fn client(scene: &Scene, (chain, key): Chain, at: Timestamp) -> ClientConfig {
    let mut config = client_config(&roots(scene), chain, &key).unwrap();
    config.time_provider = Arc::new(At(at));
    config
}

/// Two ends after their handshake, or what the first to complain said.
pub(super) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: ServerName<'static>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok((client, server))
}

fn meet(client: ClientConfig, server: ServerConfig) -> Result<(ClientConnection, ServerConnection), String> {
    handshake(&Arc::new(client), &Arc::new(server), hub_name()).map_err(|error| error.to_string())
}

#[test]
fn a_spoke_and_a_hub_of_one_root_meet_and_the_hub_sees_whose_leaf_it_is() {
    let scene = Scene::new();
    let spoke = scene.spoke_chain();
    let leaf = spoke.0[0].clone();
    let (client, server) =
        meet(client(&scene, spoke, now()), server(&scene, scene.hub_chain(), now())).unwrap();
    assert_eq!(client.alpn_protocol(), Some(ALPN));
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(server.peer_certificates().unwrap()[0], leaf);
}

#[test]
fn hubs_meet_each_other_with_the_same_certificates() {
    let scene = Scene::new();
    let met = meet(client(&scene, scene.hub_chain(), now()), server(&scene, scene.hub_chain(), now()));
    assert!(met.is_ok());
}

#[test]
fn a_spoke_that_poses_as_a_hub_is_refused() {
    let scene = Scene::new();
    let refused =
        meet(client(&scene, scene.spoke_chain(), now()), server(&scene, scene.spoke_chain(), now()));
    let refused = refused.unwrap_err();
    assert!(refused.contains("does not allow extended key usage for server"), "{refused}");
}

#[test]
fn a_hub_minted_with_the_stolen_key_of_the_spoke_issuer_is_refused() {
    let scene = Scene::new();
    let hub = proto::HubId::parse("1.ROGUE").unwrap();
    let (leaf, key) = hub_leaf(&scene.spoke_issuer, &hub, now(), LEAF_LIFETIME).unwrap();
    let rogue = (vec![leaf, scene.spoke_issuer.certificate().clone()], key);
    let refused = meet(client(&scene, scene.spoke_chain(), now()), server(&scene, rogue, now()));
    let refused = refused.unwrap_err();
    assert!(refused.contains("does not allow extended key usage for server"), "{refused}");
}

#[test]
fn the_issuer_of_spokes_can_name_no_host() {
    let scene = Scene::new();
    let hub = proto::HubId::parse("1.ROGUE").unwrap();
    let (leaf, key) = hub_leaf(&scene.spoke_issuer, &hub, now(), LEAF_LIFETIME).unwrap();
    let rogue = (vec![leaf, scene.spoke_issuer.certificate().clone()], key);
    // As a client, so that it is the name that is refused and not the use.
    let refused = meet(client(&scene, rogue, now()), server(&scene, scene.hub_chain(), now())).unwrap_err();
    assert!(refused.contains("NameConstraintViolation"), "{refused}");
}

#[test]
fn peers_of_another_root_are_refused_by_either_side() {
    let (ours, theirs) = (Scene::new(), Scene::new());
    let foreign_spoke =
        meet(client(&ours, theirs.spoke_chain(), now()), server(&ours, ours.hub_chain(), now()));
    assert!(foreign_spoke.is_err());
    let foreign_hub =
        meet(client(&ours, ours.spoke_chain(), now()), server(&theirs, theirs.hub_chain(), now()));
    assert!(foreign_hub.is_err());
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let scene = Scene::new();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(store(&roots(&scene)).unwrap())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.time_provider = Arc::new(At(now()));
    let refused = meet(config, server(&scene, scene.hub_chain(), now())).unwrap_err();
    assert!(refused.contains("peer sent no certificates"), "{refused}");
}

#[test]
fn a_client_that_names_no_protocol_or_another_host_is_turned_away() {
    let scene = Scene::new();
    let hub = Arc::new(server(&scene, scene.hub_chain(), now()));
    let mut silent = client(&scene, scene.spoke_chain(), now());
    silent.alpn_protocols.clear();
    assert!(handshake(&Arc::new(silent), &hub, hub_name()).is_err());
    let good = Arc::new(client(&scene, scene.spoke_chain(), now()));
    assert!(handshake(&good, &hub, ServerName::try_from("localhost").unwrap()).is_err());
    assert!(handshake(&good, &hub, hub_name()).is_ok());
}

#[test]
fn certificates_count_only_within_their_time() {
    let scene = Scene::new();
    for (at, good) in [(-11 * 60_000, false), (-9 * 60_000, true), (25 * 3_600_000, false)] {
        let met =
            meet(client(&scene, scene.spoke_chain(), now()), server(&scene, scene.hub_chain(), later(at)));
        assert_eq!(met.is_ok(), good, "{at}");
    }
}

#[test]
fn nobody_resumes_a_session() {
    let scene = Scene::new();
    let hub = Arc::new(server(&scene, scene.hub_chain(), now()));
    let mut eager = client(&scene, scene.spoke_chain(), now());
    eager.resumption = Resumption::in_memory_sessions(16);
    let eager = Arc::new(eager);
    for _ in 0..2 {
        let (client, server) = handshake(&eager, &hub, hub_name()).unwrap();
        assert_eq!(client.tls13_tickets_received(), 0);
        assert!(matches!(server.handshake_kind(), Some(HandshakeKind::Full)));
    }
    assert!(!hub.session_storage.can_cache());
    assert_eq!((hub.send_tls13_tickets, hub.max_tls13_tickets, hub.max_early_data_size), (0, 0, 0));
}

#[test]
fn a_client_of_tls_1_2_gets_the_alert_protocol_version() {
    let scene = Scene::new();
    let mut server = ServerConnection::new(Arc::new(server(&scene, scene.hub_chain(), now()))).unwrap();
    // Version 1.2, one suite, no compression; P-256 and ECDSA with SHA-256.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0, 0, 16]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    server.read_tls(&mut record.as_slice()).unwrap();
    assert!(server.process_new_packets().is_err());
    let mut answer = Vec::new();
    server.write_tls(&mut answer).unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, 70]);
}

#[test]
fn a_replaced_chain_is_shown_to_the_next_handshake() {
    let scene = Scene::new();
    let (chain, key) = scene.hub_chain();
    let shown = Arc::new(HubCertificate::new(chain, &key).unwrap());
    let mut config = server_config(&roots(&scene), Arc::clone(&shown) as Arc<_>).unwrap();
    config.time_provider = Arc::new(At(now()));
    let (hub, spoke) = (Arc::new(config), Arc::new(client(&scene, scene.spoke_chain(), now())));
    let (before, _) = handshake(&spoke, &hub, hub_name()).unwrap();
    let (chain, key) = scene.hub_chain();
    let next = chain[0].clone();
    shown.replace(chain, &key).unwrap();
    let (after, _) = handshake(&spoke, &hub, hub_name()).unwrap();
    assert_eq!(after.peer_certificates().unwrap()[0], next);
    assert_ne!(before.peer_certificates().unwrap()[0], next);
}

#[test]
fn a_chain_with_the_key_of_another_is_not_shown() {
    let scene = Scene::new();
    let ((chain, _), (_, key)) = (scene.hub_chain(), scene.hub_chain());
    assert!(matches!(HubCertificate::new(chain, &key), Err(CertError::Tls { .. })));
}

#[test]
fn spokes_that_share_a_service_are_told_apart_by_their_leaves() {
    let scene = Scene::new();
    let leaf = |instance| {
        let (csr, _) = spoke_request().unwrap();
        spoke_leaf(&scene.spoke_issuer, &csr, &service(), instance, now(), LEAF_LIFETIME).unwrap()
    };
    assert_ne!(crate::fingerprint(&leaf("i-1")), crate::fingerprint(&leaf("i-2")));
}

/// A root that has followed the scene's, an issuer of hubs below it, and what makes those who trust only
/// the former root believe it.
fn successor(scene: &Scene) -> (crate::Authority, crate::Authority, CertificateDer<'static>) {
    let root = crate::root_of_generation("acme.internal", 2, now()).unwrap();
    let issuer = crate::intermediate(&root, crate::IssuerKind::Hub, now()).unwrap();
    let cross = crate::cross_certificate(&scene.root, root.certificate(), now()).unwrap();
    (root, issuer, cross)
}

#[test]
fn a_hub_under_a_new_root_is_believed_by_those_who_know_only_the_former_and_only_the_new_one() {
    let scene = Scene::new();
    let (root, issuer, cross) = successor(&scene);
    let (leaf, key) =
        hub_leaf(&issuer, &proto::HubId::parse("1.HUB").unwrap(), now(), LEAF_LIFETIME).unwrap();
    let chain = vec![leaf, issuer.certificate().clone(), cross];
    let both = [scene.root.certificate().clone(), root.certificate().clone()];
    for trusted in [&both[..1], &both[1..], &both[..]] {
        let shown = Arc::new(HubCertificate::new(chain.clone(), &key).unwrap());
        let mut hub = server_config(&both, shown).unwrap();
        hub.time_provider = Arc::new(At(now()));
        let (spoke, spoke_key) = scene.spoke_chain();
        let mut spoke = client_config(trusted, spoke, &spoke_key).unwrap();
        spoke.time_provider = Arc::new(At(now()));
        meet(spoke, hub).unwrap();
    }
}

#[test]
fn without_the_cross_certificate_a_new_root_is_a_stranger() {
    let scene = Scene::new();
    let (_, issuer, _) = successor(&scene);
    let (leaf, key) =
        hub_leaf(&issuer, &proto::HubId::parse("1.HUB").unwrap(), now(), LEAF_LIFETIME).unwrap();
    let hub = server(&scene, (vec![leaf, issuer.certificate().clone()], key), now());
    assert!(meet(client(&scene, scene.spoke_chain(), now()), hub).is_err());
}
