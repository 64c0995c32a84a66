//! Grants in the hands of an operator: what is granted is done, everything else is refused in words that
//! say what is missing, and what is taken back ends.

use eventflow_tests::events::{event, name};
use eventflow_tests::process::Place;
use eventflow_tests::{Engine, TestDatabase, TestHub, on_every_engine, within};
use proto::access::{Action, GrantReply, GrantRequest, InForce, NewGrant, Subject};
use proto::admin::{AdminReply, AdminRequest};
use proto::message::Stored;
use proto::{Domain, Refusal, Timestamp};
use serde_json::{Value, json};
use spoke::{EventStream, ListenError, PublishError, RequestError, Spoke, Subscription, Told};

const CLOSED: &[&str] = &["--access", "grants", "--local-enrolment", "true"];

fn order() -> Domain {
    name("order")
}

/// A grant to a service.
fn to(service: &str, action: Action, domain: &str) -> NewGrant {
    let subject = Subject::Service(name(service));
    NewGrant { subject, action, domain: name(domain), name: None, expires: None }
}

async fn ask(operator: &Spoke, request: GrantRequest) -> GrantReply {
    match operator.administer(AdminRequest::Grants(request)).await.unwrap() {
        AdminReply::Grants(reply) => reply,
        other => panic!("{other:?}"),
    }
}

/// Makes a grant; its number.
async fn add(operator: &Spoke, grant: NewGrant) -> u64 {
    match ask(operator, GrantRequest::Add(grant)).await {
        GrantReply::Added { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

async fn remove(operator: &Spoke, id: u64) {
    let reply = ask(operator, GrantRequest::Remove(id)).await;
    assert!(matches!(reply, GrantReply::Changed { changed: true, .. }), "{reply:?}");
}

/// A command that is refused because of a grant that is missing, which the message names.
async fn is_denied(place: &Place, arguments: &[&str], missing: &str) {
    let ended = place.run(arguments).await;
    assert_eq!(ended.code, Some(1), "eventflow {arguments:?}: {}{}", ended.stdout, ended.stderr);
    let command = format!("run `eventflow grant add --service shop --action {missing}`");
    assert!(ended.stderr.contains(&command), "{arguments:?}: {} lacks {command}", ended.stderr);
}

/// Why a subscription ends, whatever it is told before.
async fn end(stream: &mut EventStream) -> Refusal {
    loop {
        match within("the subscription's end", stream.next()).await {
            Some(Ok(_)) => {}
            Some(Err(ListenError::Refused(refusal))) => return refusal,
            other => panic!("{other:?}"),
        }
    }
}

/// The words in which somebody was denied something.
fn reason(refusal: &Refusal) -> &str {
    match refusal {
        Refusal::Denied { reason } => reason,
        other => panic!("{other:?}"),
    }
}

on_every_engine! {
    async fn what_is_granted_is_done_and_all_else_is_refused_with_the_missing_grant_named(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(CLOSED).await;
        let publish = ["publish", "order", "1", "placed", "--id", "e1", "--service", "shop"];
        is_denied(&place, &publish, "publish --domain order").await;
        let grant = ["grant", "add", "--service", "shop", "--action", "publish", "--domain", "order*"];
        let said = place.done(&grant).await;
        assert!(said.starts_with("grant 1: service shop may publish in domain order*"), "{said}");
        place.done(&publish).await;

        is_denied(&place, &["publish", "bill", "1", "sent", "--service", "shop"], "publish --domain bill").await;
        is_denied(&place, &["consume", "order", "--service", "shop"], "consume --domain order").await;
        is_denied(&place, &["subscribe", "order", "--service", "shop"], "subscribe --domain order").await;
        is_denied(&place, &["log", "order", "1", "--service", "shop"], "read --domain order").await;
        is_denied(&place, &["tail", "--service", "shop"], "subscribe --domain '*'").await;
        is_denied(&place, &["delete", "event", "e1", "--service", "shop"], "delete --domain DOMAIN").await;
        is_denied(&place, &["groups", "rm", "x", "--yes", "--service", "shop"], "admin").await;
        is_denied(&place, &["grant", "ls", "--as", "shop"], "admin").await;

        let grants = place.json(&["grant", "ls", "--json"]).await;
        assert_eq!(grants.len(), 1);
        let [id, service, action, domain] = ["id", "service", "action", "domain"].map(|field| grants[0][field].clone());
        assert_eq!((id, service, action, domain), (json!(1), json!("shop"), json!("publish"), json!("order*")));
        let audited = "SELECT COUNT(*) FROM log WHERE act = 'grant.add' AND subject = 'service shop' AND agent LIKE 'operator/%'";
        assert_eq!(database.number(audited).await, 1);
        assert!(hub.log().contains("denied: service shop may not publish placed in domain order"), "{}", hub.log());
        hub.terminate().await;
    }

    async fn roles_give_rights_while_they_are_held_and_a_check_says_what_is_missing(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(CLOSED).await;
        let check = ["grant", "check", "--service", "shop", "--action", "read", "--domain", "order"];
        place.done(&["grant", "add", "--role", "readers", "--action", "read", "--domain", "*"]).await;
        is_denied(&place, &check, "read --domain order").await;
        place.done(&["grant", "role", "add", "readers", "shop"]).await;
        assert!(place.done(&check).await.starts_with("yes"), "by its role");
        place.done(&["grant", "ls", "--role", "readers"]).await;
        place.done(&["ls", "--service", "shop"]).await;
        let members = place.json(&["grant", "role", "ls", "--json"]).await;
        assert_eq!((&members[0]["role"], &members[0]["service"]), (&json!("readers"), &json!("shop")));
        let again = place.done(&["grant", "role", "add", "readers", "shop"]).await;
        assert!(again.starts_with("nothing to do"), "{again}");
        place.done(&["grant", "role", "rm", "readers", "shop"]).await;
        let denied = place.run(&[&check[..], &["--json"]].concat()).await;
        let said: Value = serde_json::from_str(&denied.stdout).unwrap();
        assert_eq!((denied.code, &said["allowed"]), (Some(1), &json!(false)));
        let operator = place.run(&["grant", "add", "--service", "operator", "--action", "read", "--domain", "*"]).await;
        assert!(operator.code == Some(1) && operator.stderr.contains("the hub's own user"), "{}", operator.stderr);
        hub.terminate().await;
    }

    async fn a_grant_that_is_removed_ends_what_is_open_by_it_and_nothing_else(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, shop) = (hub.spoke("operator").await, hub.spoke("shop").await);
        add(&operator, to("shop", Action::Publish, "*")).await;
        let consume = add(&operator, to("shop", Action::Consume, "order")).await;
        let subscribe = add(&operator, to("shop", Action::Subscribe, "*")).await;
        add(&operator, to("shop", Action::Subscribe, "bill")).await;
        let mut consumer = shop.consumer(order()).any(|_| async { Ok(()) }).start().await.unwrap();
        let mut orders = shop.subscribe(Subscription::topic(order())).await.unwrap();
        let mut bills = shop.subscribe(Subscription::topic(name("bill"))).await.unwrap();

        remove(&operator, consume).await;
        let ended = within("the consumer's end", consumer.ended()).await;
        let Err(ListenError::Refused(refusal)) = ended else { panic!("{ended:?}") };
        assert!(reason(&refusal).contains("may not consume all of domain order"), "{refusal}");
        remove(&operator, subscribe).await;
        let refusal = end(&mut orders).await;
        assert!(reason(&refusal).contains("may not subscribe to all of domain order"), "{refusal}");

        shop.publish(event("bill", "1", "sent")).await.unwrap();
        let told = loop {
            match within("the other subscription", bills.next()).await {
                Some(Ok(Told::Event(event))) => break event,
                Some(Ok(Told::Lagged { .. } | Told::CaughtUp { .. })) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(told.domain.as_str(), "bill");
        hub.stop().await;
    }

    async fn what_a_member_had_when_its_grant_was_removed_goes_to_another(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, shop, bank) = (hub.spoke("operator").await, hub.spoke("shop").await, hub.spoke("bank").await);
        add(&operator, to("shop", Action::Publish, "*")).await;
        let grant = add(&operator, to("shop", Action::Consume, "order")).await;
        add(&operator, to("bank", Action::Consume, "order")).await;
        let (told, mut tries) = tokio::sync::mpsc::channel(10);
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let open = gate.clone();
        let waits = move |delivery: spoke::Delivery| {
            let (told, gate) = (told.clone(), gate.clone());
            async move {
                told.send(delivery.attempt.0).await?;
                gate.acquire().await?.forget();
                Ok::<(), spoke::Failure>(())
            }
        };
        let mut first = shop.consumer(order()).group(name("audit")).any(waits).start().await.unwrap();
        shop.publish(event("order", "1", "placed")).await.unwrap();
        within("the first delivery", tries.recv()).await.unwrap();
        let (told, mut got) = tokio::sync::mpsc::channel(10);
        let handler = move |delivery: spoke::Delivery| {
            let told = told.clone();
            async move {
                told.send(delivery.attempt.0).await?;
                Ok::<(), spoke::Failure>(())
            }
        };
        let second = bank.consumer(order()).group(name("audit")).any(handler).start().await.unwrap();
        remove(&operator, grant).await;
        let again = within("the delivery to another", got.recv()).await;
        assert!(again.is_some());
        // What its handler says now changes nothing.
        open.add_permits(1);
        assert!(within("the first member's end", first.ended()).await.is_err());
        second.stop().await.unwrap();
        let group = operator.group(&name("audit")).await.unwrap().remove(0);
        assert_eq!((group.succeeded, group.pending), (1, 0));
        hub.stop().await;
    }

    async fn a_grant_that_ends_by_itself_ends_what_is_open_by_it(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, shop) = (hub.spoke("operator").await, hub.spoke("shop").await);
        let soon = operator.welcome().now.plus(std::time::Duration::from_secs(3));
        add(&operator, NewGrant { expires: Some(soon), ..to("shop", Action::Subscribe, "order") }).await;
        let mut orders = shop.subscribe(Subscription::topic(order())).await.unwrap();
        assert!(reason(&end(&mut orders).await).contains("may not subscribe"));
        let again = shop.subscribe(Subscription::topic(order())).await;
        assert!(matches!(again, Err(ListenError::Refused(Refusal::Denied { .. }))));
        let past = NewGrant { expires: Some(Timestamp::default()), ..to("shop", Action::Read, "*") };
        let refused = operator.administer(AdminRequest::Grants(GrantRequest::Add(past))).await;
        assert!(matches!(refused, Err(RequestError::Refused(Refusal::Invalid { .. }))), "{refused:?}");
        hub.stop().await;
    }

    async fn the_first_grant_closes_a_hub_that_was_open_and_the_last_removal_does_not_open_it(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let (operator, shop) = (hub.spoke("operator").await, hub.spoke("shop").await);
        shop.publish(event("order", "1", "placed")).await.unwrap();
        let mut orders = shop.subscribe(Subscription::topic(order())).await.unwrap();
        let reply = ask(&operator, GrantRequest::Add(to("shop", Action::Read, "*"))).await;
        let GrantReply::Added { id, access: InForce::GrantsFromNowOn } = reply else { panic!("{reply:?}") };
        assert!(reason(&end(&mut orders).await).contains("may not subscribe"));
        remove(&operator, id).await;
        hub.restart().await;
        let refused = shop.publish(event("order", "2", "placed")).await;
        let Err(PublishError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert!(reason(&refusal).contains("may not publish placed in domain order"), "{refusal}");
        hub.stop().await;
    }

    async fn nobody_learns_of_events_in_domains_that_they_may_not_read(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (operator, shop) = (hub.spoke("operator").await, hub.spoke("shop").await);
        for action in [Action::Read, Action::Publish, Action::Delete] {
            add(&operator, to("shop", action, "order")).await;
        }
        let mut hidden = event("salary", "1", "paid");
        hidden.eids = vec![name("ann")];
        let mut seen = event("order", "1", "placed");
        seen.eids = vec![name("ann")];
        let (hidden_id, seen_id) = (hidden.id.clone(), seen.id.clone());
        operator.publish_all(vec![hidden, seen]).await.unwrap();

        let words = |id: &proto::EventId, text: String| text.replace(id.as_str(), "ID");
        let missing: proto::EventId = name("missing");
        let read = async |id: &proto::EventId| words(id, shop.read(id).await.unwrap_err().to_string());
        assert_eq!(read(&hidden_id).await, read(&missing).await);
        let story = async |id: &proto::EventId| words(id, shop.story(id).await.unwrap_err().to_string());
        assert_eq!(story(&hidden_id).await, story(&missing).await);
        let delete = async |id: &proto::EventId| words(id, shop.delete_event(id).await.unwrap_err().to_string());
        assert_eq!(delete(&hidden_id).await, delete(&missing).await);
        shop.read(&seen_id).await.unwrap();

        let about = shop.events_by_eid(None, &name("ann")).all().await.unwrap();
        assert_eq!(about.iter().map(|event| &event.id).collect::<Vec<_>>(), [&seen_id]);
        assert_eq!(shop.domains().all().await.unwrap(), [order()]);
        let expecting = shop.append().event(event("order", "2", "placed"));
        let expecting = expecting.expect(name("salary"), name("1"), proto::Expected::None).send().await;
        assert!(matches!(expecting, Err(PublishError::Refused(Refusal::Denied { .. }))), "{expecting:?}");
        assert_eq!(operator.publish(event("order", "9", "placed")).await.unwrap().stored, Stored::Now);
        hub.stop().await;
    }
}

#[test]
fn an_open_hub_says_so_and_is_not_started_where_others_can_connect() {
    eventflow_tests::run(async {
        let database = TestDatabase::fresh(Engine::Sqlite).await.unwrap();
        let place = Place::on(&database);
        let others = ["hub", "--listen", "0.0.0.0:0", "--health", "off", "--access", "open"];
        let refused = place.run(&others).await;
        assert_eq!(refused.code, Some(78), "{}", refused.stderr);
        assert!(refused.stderr.contains("--i-know-that-access-is-open"), "{}", refused.stderr);

        let hub = place.hub(&[]).await;
        assert!(hub.log().contains("access is open"), "{}", hub.log());
        let check = ["grant", "check", "--service", "shop", "--action", "read", "--domain", "order"];
        assert!(place.done(&check).await.starts_with("yes, because this hub is open"));
        hub.terminate().await;
        let config = place.json(&["hub", "--access", "grants", "--print-config", "--json"]).await;
        let row = config.iter().find(|row| row["setting"] == "access").unwrap();
        assert_eq!(row["value"], "grants");
    });
}
