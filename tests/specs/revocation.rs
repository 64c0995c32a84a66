//! Certificates that end before their time, on live connections, and who is told.

use eventflow_tests::events::{event, name};
use eventflow_tests::{TestDatabase, TestHub, on_every_engine, within};
use proto::Domain;
use proto::admin::{AdminReply, AdminRequest};
use proto::audit::{AuditLine, AuditRequest};
use proto::certs::{CertsReply, CertsRequest, Holder};
use spoke::{ConnectError, Delivery, Refusal, RequestError, Spoke};
use tokio::sync::mpsc;

fn order() -> Domain {
    name("order")
}

/// The id of the newest certificate of a service.
async fn id_of(database: &TestDatabase, service: &str) -> String {
    let handle = database.open().await;
    let rows = handle.certificates().page(None, 1_000).await.unwrap();
    handle.close().await;
    rows.into_iter().rfind(|row| row.service == service).unwrap().id
}

async fn revoke(operator: &Spoke, holder: Holder) -> Result<u64, RequestError> {
    let request = CertsRequest::Revoke { holder, reason: "its key was stolen".to_owned() };
    match operator.administer(AdminRequest::Certs(request)).await? {
        AdminReply::Certs(CertsReply::Revoked { certificates, .. }) => Ok(certificates),
        other => panic!("{other:?}"),
    }
}

async fn audit(operator: &Spoke, act: &str) -> Vec<AuditLine> {
    let request = AuditRequest { after: 0, since: None, act: Some(act.to_owned()), limit: 100 };
    match operator.administer(AdminRequest::Audit(request)).await.unwrap() {
        AdminReply::Audit(reply) => reply.lines,
        other => panic!("{other:?}"),
    }
}

/// A member of the group `work` that tells of each delivery, and answers none if it is stuck.
async fn member(spoke: &Spoke, told: mpsc::Sender<String>, is_stuck: bool) -> spoke::Consumer {
    let handler = move |delivery: Delivery| {
        let told = told.clone();
        async move {
            told.send(delivery.event.id.to_string()).await.unwrap();
            if is_stuck {
                std::future::pending::<()>().await;
            }
            Ok::<(), spoke::Failure>(())
        }
    };
    spoke.consumer(order()).group(name("work")).any(handler).start().await.unwrap()
}

/// Waits until the hub has ended the link for good, and says why.
async fn ended(spoke: &Spoke) -> String {
    let asking = async {
        loop {
            match spoke.publish(event("order", "p", "asked")).await {
                Err(spoke::PublishError::Closed { reason, .. }) => return reason.to_string(),
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    within("the end of the link", asking).await
}

on_every_engine! {
    async fn a_revoked_spoke_is_cut_off_and_what_it_held_goes_to_another_member(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, thief, honest) =
            (hub.spoke("operator").await, hub.spoke("thief").await, hub.spoke("honest").await);
        let (stuck, mut held) = mpsc::channel(8);
        let _stuck = member(&thief, stuck, true).await;
        let id = operator.publish(event("order", "p", "placed")).await.unwrap();
        within("the delivery", held.recv()).await.unwrap();
        let (told, mut handled) = mpsc::channel(8);
        let working = member(&honest, told, false).await;

        let spoke = Holder::Spoke(id_of(database, "thief").await);
        assert_eq!(revoke(&operator, spoke.clone()).await.unwrap(), 1);
        within("the second delivery", handled.recv()).await.unwrap();
        let reason = ended(&thief).await;
        assert!(reason.contains("its key was stolen"), "{reason}");
        let again = Spoke::connect(hub.options("thief")).await;
        assert!(matches!(again, Err(ConnectError::Revoked { .. })), "{again:?}");
        assert!(matches!(revoke(&operator, spoke).await, Err(RequestError::NotFound { .. })));
        assert_eq!(id.position.0, 1);
        working.stop().await.unwrap();
        hub.stop().await;
    }

    async fn a_revoked_service_may_enrol_again_and_who_revoked_it_is_told(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, shop, other) =
            (hub.spoke("operator").await, hub.spoke("shop").await, hub.spoke("other").await);
        assert_eq!(revoke(&operator, Holder::Service("shop".to_owned())).await.unwrap(), 1);
        ended(&shop).await;
        std::fs::remove_dir_all(hub.data().join("identity/shop")).unwrap();
        let shop = hub.spoke("shop").await;
        shop.publish(event("order", "p", "placed")).await.unwrap();
        other.publish(event("order", "q", "placed")).await.unwrap();
        let lines = audit(&operator, "cert.").await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        let AuditLine { agent, act, subject, detail, .. } = &lines[0];
        assert!(agent.starts_with("operator/"), "{agent}");
        assert_eq!((act.as_str(), subject.as_str()), ("cert.revoke", "service shop"));
        assert!(detail.contains("1 certificates: its key was stolen"), "{detail}");
        hub.stop().await;
    }

    async fn one_certificate_and_all_of_an_issuer_are_revoked(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, one, two) =
            (hub.spoke("operator").await, hub.spoke("one").await, hub.spoke("two").await);
        let handle = database.open().await;
        let row = handle.certificates().active(&id_of(database, "one").await).await.unwrap();
        assert_eq!(revoke(&operator, Holder::Fingerprint(row.fingerprint)).await.unwrap(), 1);
        ended(&one).await;
        two.publish(event("order", "p", "placed")).await.unwrap();
        let list = CertsRequest::List { issuer: row.issuer.clone() };
        let list = operator.administer(AdminRequest::Certs(list)).await.unwrap();
        assert!(matches!(list, AdminReply::Certs(CertsReply::List(der)) if der.len() > 200));
        let hubs = revoke(&operator, Holder::Issuer("issuer/hub".to_owned())).await;
        assert!(matches!(hubs, Err(RequestError::Refused(Refusal::Invalid { .. }))), "{hubs:?}");
        // The operator's own certificate is one of them, so its answer may not come.
        drop(revoke(&operator, Holder::Issuer(row.issuer)).await);
        ended(&two).await;
        ended(&operator).await;
        handle.close().await;
        hub.stop().await;
    }
}
