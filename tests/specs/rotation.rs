//! Replacing authorities with the real binary: whatever is killed, whoever has a certificate gets in.

use eventflow_tests::events::event;
use eventflow_tests::process::{HubProcess, Place};
use eventflow_tests::wire::{Credentials, Peer};
use eventflow_tests::{TestDatabase, on_every_engine, within};
use proto::admin::{AdminReply, AdminRequest};
use proto::certs::{CertsReply, CertsRequest};
use proto::message::{HubMessage, Offer, Reply, Request, SpokeMessage};
use proto::rotation::{AuthorityState, Begun, CertsStatus, Pace, RotationKind, RotationStep, WaitsFor};

const STEPS: [RotationStep; 4] =
    [RotationStep::Prepared, RotationStep::Activated, RotationStep::Retired, RotationStep::Archived];

/// Starts a hub whose replacements stay at `hold`.
async fn hub_held_at(place: &mut Place, hold: &str) -> HubProcess {
    place.set("EVENTFLOW_ROTATION_HOLD", hold);
    place.hub(&[]).await
}

/// Publishes an event as the holder of these credentials: it is let in, believes the hub, and is served.
async fn publishes(hub: &HubProcess, credentials: &Credentials) {
    let mut peer = Peer::welcomed(hub.address(), credentials.config()).await;
    let events = vec![event("order", "o-1", "created")];
    let appended = peer.ask(Request::Append { events, offer: Offer::Publish, expectations: vec![] }).await;
    assert!(matches!(appended, Ok(Reply::Appended(_))), "{appended:?}");
}

async fn certs(peer: &mut Peer, request: CertsRequest) -> CertsReply {
    match peer.ask(Request::Admin(Box::new(AdminRequest::Certs(request)))).await.unwrap() {
        Reply::Admin(reply) => match *reply {
            AdminReply::Certs(reply) => reply,
            other => panic!("expected something about certificates, got {other:?}"),
        },
        other => panic!("expected something about certificates, got {other:?}"),
    }
}

async fn status(peer: &mut Peer) -> CertsStatus {
    match certs(peer, CertsRequest::Status).await {
        CertsReply::Status(status) => *status,
        other => panic!("expected a status, got {other:?}"),
    }
}

async fn begin(peer: &mut Peer, kind: RotationKind, pace: Pace) {
    let reply = certs(peer, CertsRequest::Rotate { kind, pace }).await;
    assert!(matches!(reply, CertsReply::Rotating { begun: Begun::New, .. }), "{reply:?}");
}

/// Waits until the tables say that the replacement is at `step`.
async fn reaches(database: &TestDatabase, step: RotationStep) {
    within(step.as_str(), async {
        while database.number("SELECT MAX(step) FROM ca_rotation").await < i64::from(step.number()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits for the order to renew, keeping whatever the hub says is to be trusted before it.
async fn is_told_to_renew(peer: &mut Peer) {
    loop {
        match peer.hear().await {
            Some(HubMessage::Renew { .. }) => return,
            Some(HubMessage::Trust(trust)) => peer.say(&SpokeMessage::TrustKept(trust.version)).await,
            Some(_) => {}
            None => panic!("the hub has closed instead of asking for a renewal"),
        }
    }
}

/// Renews all of them and shows the new ones, so that those before do not count any more.
async fn all_renew(hub: &HubProcess, spokes: &mut [Credentials]) {
    for spoke in spokes {
        let mut peer = Peer::welcomed(hub.address(), spoke.config()).await;
        *spoke = spoke.renewed(&mut peer).await.unwrap();
        publishes(hub, spoke).await;
    }
}

on_every_engine! {
    async fn a_hub_killed_at_every_point_of_a_root_rotation_leaves_a_working_chain(database: &TestDatabase) {
        let mut place = Place::on(database);
        let mut hub = hub_held_at(&mut place, "before-prepared").await;
        let mut spokes = vec![Credentials::enrol(place.data(), "old").await];
        let operator = Credentials::enrol(place.data(), "operator").await;
        let mut peer = Peer::welcomed(hub.address(), operator.config()).await;
        begin(&mut peer, RotationKind::Root, Pace::Orderly).await;
        spokes.push(operator);
        let mut kills = 0;
        for step in STEPS {
            for hold in [format!("before-{}", step.as_str()), format!("after-{}", step.as_str())] {
                hub.kill().await;
                kills += 1;
                hub = hub_held_at(&mut place, &hold).await;
                if hold.starts_with("after") {
                    reaches(database, step).await;
                }
                for spoke in &spokes {
                    publishes(&hub, spoke).await;
                }
                let new = Credentials::enrol(place.data(), "new").await;
                publishes(&hub, &new).await;
                spokes.push(new);
            }
            if step == RotationStep::Activated {
                hub.kill().await;
                hub = hub_held_at(&mut place, "before-retired").await;
                all_renew(&hub, &mut spokes).await;
            }
        }
        hub.kill().await;
        hub = hub_held_at(&mut place, "").await;
        for spoke in &spokes {
            publishes(&hub, spoke).await;
        }
        println!("{kills} kills, {} spokes let in after each", spokes.len());
        let left = database.number("SELECT COUNT(*) FROM certificate WHERE role IN ('root', 'issuer') AND version > 0 AND sealed_key IS NOT NULL").await;
        assert_eq!(left, 0, "the keys of the former authorities are gone");
        assert_eq!(database.number("SELECT COUNT(*) FROM certificate WHERE role = 'root' AND version = 0").await, 1);
        hub.terminate().await;
    }

    async fn a_root_rotation_goes_from_begin_to_end_under_a_live_connection(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let old = Credentials::enrol(place.data(), "old").await;
        let operator = Credentials::enrol(place.data(), "operator").await;
        let mut live = Peer::welcomed(hub.address(), old.config()).await;
        let mut peer = Peer::welcomed(hub.address(), operator.config()).await;
        begin(&mut peer, RotationKind::Root, Pace::Orderly).await;
        // The operator's own connection has to keep what is trusted, too.
        is_told_to_renew_both(&mut live, &mut peer).await;
        let stood = status(&mut peer).await;
        assert!(matches!(stood.waits_for[0], WaitsFor::Leaves { leaves: 2, .. }), "{stood:?}");
        let states: Vec<_> = stood.authorities.iter().map(|one| (one.id.as_str(), one.state)).collect();
        assert!(states.contains(&("root", AuthorityState::Former)) && states.contains(&("root/2", AuthorityState::InUse)), "{states:?}");
        let renewed = old.renewed(&mut live).await.unwrap();
        publishes(&hub, &renewed).await;
        let operator = operator.renewed(&mut peer).await.unwrap();
        let mut peer = Peer::welcomed(hub.address(), operator.config()).await;
        reaches(database, RotationStep::Archived).await;
        let stood = status(&mut peer).await;
        assert_eq!((stood.waits_for, stood.authorities.len()), (vec![], 3));
        // The first connection has lived through all of it.
        assert!(matches!(live.ask(Request::Groups { after: None }).await, Ok(Reply::Groups(_))));
        let refused = Peer::connect(hub.address(), old.config()).await;
        assert!(refused.is_err(), "the former root is trusted by nobody who is in order");
        hub.terminate().await;
    }

    async fn in_haste_everything_of_the_former_issuers_is_revoked_after_the_time_to_renew(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&["--renew-within", "1"]).await;
        let slow = Credentials::enrol(place.data(), "slow").await;
        let operator = Credentials::enrol(place.data(), "operator").await;
        let mut peer = Peer::welcomed(hub.address(), operator.config()).await;
        begin(&mut peer, RotationKind::Intermediate, Pace::Hasty).await;
        is_told_to_renew(&mut peer).await;
        let operator = operator.renewed(&mut peer).await.unwrap();
        publishes(&hub, &operator).await;
        reaches(database, RotationStep::Archived).await;
        publishes(&hub, &operator).await;
        let mut refused = Peer::connect(hub.address(), slow.config()).await.unwrap();
        refused.say(&eventflow_tests::wire::hello()).await;
        assert!(!matches!(refused.hear().await, Some(HubMessage::Welcome(_))));
        publishes(&hub, &Credentials::enrol(place.data(), "slow").await).await;
        hub.terminate().await;
    }

    async fn spokes_are_told_to_renew_at_half_of_a_short_life_and_the_commands_say_how_it_stands(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&["--leaf-lifetime", "12"]).await;
        let spoke = Credentials::enrol(place.data(), "billing").await;
        let mut peer = Peer::welcomed(hub.address(), spoke.config()).await;
        is_told_to_renew(&mut peer).await;
        let renewed = spoke.renewed(&mut peer).await.unwrap();
        publishes(&hub, &renewed).await;
        let rotated = place.json(&["certs", "rotate", "leaf", "--json"]).await.remove(0);
        assert_eq!((&rotated["kind"], &rotated["step"]), (&"leaf".into(), &"begun".into()), "{rotated}");
        reaches(database, RotationStep::Archived).await;
        let stood = place.done(&["certs", "status"]).await;
        assert!(stood.contains("issuer/spoke") && stood.contains("archived"), "{stood}");
        hub.terminate().await;
    }
}

/// Waits until both are told to renew. Each keeps what is trusted as it hears of it, so they are heard
/// side by side.
async fn is_told_to_renew_both(one: &mut Peer, other: &mut Peer) {
    futures::join!(is_told_to_renew(one), is_told_to_renew(other));
}
