//! Publish, deliver, answer, settle: services and a hub over real connections, on every engine.

use std::sync::Arc;

use eventflow_tests::events::{called, event, eventlog, name, with_data, with_id};
use eventflow_tests::{TestDatabase, TestHub, on_every_engine, within};
use proto::report::{DeliveryState, GroupReport};
use proto::{Domain, EventName, Expected, Start, Version};
use spoke::{ConsumerMap, Delivery, Failure, Spoke, Subscription, Told};
use tokio::sync::mpsc;

fn order() -> Domain {
    name("order")
}

/// Publishes events of `domain`/`pid` with these names, one after the other.
async fn publish(spoke: &Spoke, pid: &str, names: &[&str]) {
    for what in names {
        spoke.publish(event("order", pid, what)).await.unwrap();
    }
}

/// A handler that reports each event's name, and the receiving end.
fn reporter(
    says: &'static str,
) -> (impl Fn(Delivery) -> Answer + Send + Sync + 'static, mpsc::Receiver<String>) {
    let (told, hear) = mpsc::channel(1_024);
    let handler = move |delivery: Delivery| -> Answer {
        let told = told.clone();
        Box::pin(async move {
            drop(told.send(format!("{says} {} {}", delivery.event.pid, delivery.event.name)).await);
            Ok(())
        })
    };
    (handler, hear)
}

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

async fn hear(from: &mut mpsc::Receiver<String>, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(within("a delivery", from.recv()).await.unwrap());
    }
    heard
}

async fn group(spoke: &Spoke, group: &str) -> GroupReport {
    spoke.group(&name(group)).await.unwrap().remove(0)
}

/// Events of a subscription until it has caught up with `until`.
async fn told(stream: &mut spoke::EventStream, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    while names.len() < count {
        if let Told::Event(event) = within("an event", stream.next()).await.unwrap().unwrap() {
            names.push(format!("{} {}", event.position, event.name));
        }
    }
    names
}

on_every_engine! {
    async fn a_named_handler_goes_before_the_wildcard(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (named, mut of_named) = reporter("named");
        let (other, mut of_other) = reporter("other");
        let consumer = shop.consumer(order()).name(called("paid"), named).any(other).from(Start::Beginning);
        let consumer = consumer.start().await.unwrap();
        publish(&shop, "1", &["placed", "paid"]).await;
        assert_eq!(hear(&mut of_other, 1).await, ["other 1 placed"]);
        assert_eq!(hear(&mut of_named, 1).await, ["named 1 paid"]);
        consumer.stop().await.unwrap();
        assert_eq!(group(&shop, "shop").await.succeeded, 2, "a stop returns when all is recorded");
        hub.stop().await;
    }

    async fn services_each_get_a_copy_and_replicas_share_one(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (shop, other) = (hub.spoke("shop").await, hub.spoke("shop").await);
        let bill = hub.spoke("bill").await;
        let (of_shop, mut at_shop) = reporter("shop");
        let of_shop = Arc::new(of_shop);
        let (of_bill, mut at_bill) = reporter("bill");
        let mut consumers = Vec::new();
        for replica in [&shop, &other] {
            let handler = Arc::clone(&of_shop);
            consumers.push(replica.consumer(order()).any(move |delivery| handler(delivery)).start().await.unwrap());
        }
        consumers.push(bill.consumer(order()).any(of_bill).start().await.unwrap());
        for pid in 0..20 {
            publish(&shop, &format!("{pid}"), &["placed"]).await;
        }
        hear(&mut at_shop, 20).await;
        hear(&mut at_bill, 20).await;
        for consumer in consumers {
            consumer.stop().await.unwrap();
        }
        assert!(at_shop.try_recv().is_err(), "replicas share");
        assert_eq!((group(&shop, "shop").await.succeeded, group(&shop, "bill").await.succeeded), (20, 20));
        hub.stop().await;
    }

    async fn a_failing_event_comes_again_and_blocks_its_pid_only(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (told, mut tries) = mpsc::channel(100);
        let handler = move |delivery: Delivery| {
            let told = told.clone();
            async move {
                drop(told.send(format!("{} {} {}", delivery.event.pid, delivery.event.name, delivery.attempt)).await);
                let bad = delivery.event.pid.as_str() == "bad" && delivery.event.name.as_str() == "placed";
                if bad && delivery.attempt.0 < 2 { Err(Failure::retry("not yet")) } else { Ok(()) }
            }
        };
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        publish(&shop, "bad", &["placed", "paid"]).await;
        publish(&shop, "good", &["placed", "paid"]).await;
        let tries = hear(&mut tries, 5).await;
        let of = |pid: &str| tries.iter().filter(|told| told.starts_with(pid)).cloned().collect::<Vec<_>>();
        assert_eq!(of("bad"), ["bad placed 1", "bad placed 2", "bad paid 1"]);
        assert_eq!(of("good"), ["good placed 1", "good paid 1"]);
        consumer.stop().await.unwrap();
        hub.stop().await;
    }

    async fn what_fails_too_often_is_parked_with_its_reason(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (told, mut tries) = mpsc::channel(100);
        let handler = move |delivery: Delivery| {
            let told = told.clone();
            async move {
                drop(told.send(delivery.event.name.to_string()).await);
                if delivery.event.name.as_str() == "bad" { Err(Failure::retry("no paper")) } else { Ok(()) }
            }
        };
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        shop.publish(with_id("e1", "order", "1", "bad")).await.unwrap();
        publish(&shop, "1", &["good"]).await;
        assert_eq!(hear(&mut tries, 4).await, ["bad", "bad", "bad", "good"]);
        consumer.stop().await.unwrap();
        let story = shop.story(&name("e1")).await.unwrap();
        assert_eq!(story.deliveries[0].state, DeliveryState::Parked);
        assert_eq!(story.deliveries[0].reason.as_deref(), Some("no paper"));
        let group = group(&shop, "shop").await;
        assert_eq!((group.succeeded, group.parked, group.pending), (1, 1, 0));
        hub.stop().await;
    }

    async fn a_handler_that_panics_has_failed(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (told, mut tries) = mpsc::channel(100);
        let handler = move |delivery: Delivery| {
            let told = told.clone();
            async move {
                drop(told.send(delivery.attempt.to_string()).await);
                assert!(delivery.attempt.0 > 1, "the first try panics on purpose");
                Ok::<(), Failure>(())
            }
        };
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        publish(&shop, "1", &["placed"]).await;
        assert_eq!(hear(&mut tries, 2).await, ["1", "2"]);
        consumer.stop().await.unwrap();
        assert_eq!(group(&shop, "shop").await.succeeded, 1);
        hub.stop().await;
    }

    async fn a_group_goes_on_where_it_was_after_the_hub_crashed(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (handler, mut heard) = reporter("got");
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        publish(&shop, "1", &["placed", "paid"]).await;
        hear(&mut heard, 2).await;
        consumer.stop().await.unwrap();
        publish(&shop, "1", &["sent"]).await;
        hub.crash_and_restart().await;

        let (handler, mut heard) = reporter("got");
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        assert_eq!(hear(&mut heard, 1).await, ["got 1 sent"]);
        consumer.stop().await.unwrap();
        assert!(heard.try_recv().is_err(), "what was settled does not come again");
        hub.stop().await;
    }

    async fn a_consumer_outlives_a_restart_of_the_hub(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (handler, mut heard) = reporter("got");
        let consumer = shop.consumer(order()).any(handler).start().await.unwrap();
        publish(&shop, "1", &["placed"]).await;
        hear(&mut heard, 1).await;
        hub.restart().await;
        publish(&shop, "1", &["paid"]).await;
        assert_eq!(hear(&mut heard, 1).await, ["got 1 paid"]);
        consumer.stop().await.unwrap();
        assert_eq!(group(&shop, "shop").await.succeeded, 2);
        hub.stop().await;
    }

    async fn a_subscription_goes_from_the_log_to_live_events_without_a_gap(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        publish(&shop, "1", &["one", "two"]).await;
        shop.persist(event("order", "1", "noted")).await.unwrap();
        let everything = Subscription::everything().stored().from(Start::Beginning);
        let mut everything = shop.subscribe(everything).await.unwrap();
        let some = Subscription::topic(order()).name(called("two")).name(called("noted")).from(Start::Beginning);
        let mut some = shop.subscribe(some).await.unwrap();
        assert_eq!(told(&mut everything, 3).await, ["1 one", "2 two", "3 noted"]);
        publish(&shop, "1", &["four", "two"]).await;
        assert_eq!(told(&mut everything, 2).await, ["4 four", "5 two"]);
        assert_eq!(told(&mut some, 2).await, ["2 two", "5 two"], "a persisted event is not offered");
        hub.restart().await;
        publish(&shop, "1", &["six"]).await;
        assert_eq!(told(&mut everything, 1).await, ["6 six"]);
        hub.stop().await;
    }

    async fn what_nobody_wants_is_an_orphan_and_a_later_group_may_still_read_it(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        shop.publish(with_id("e1", "order", "1", "placed")).await.unwrap();
        let recorded = async { while !shop.story(&name("e1")).await.unwrap().orphan {} };
        within("the orphan to be recorded", recorded).await;
        let (handler, mut heard) = reporter("got");
        let consumer = shop.consumer(order()).any(handler).from(Start::Beginning).start().await.unwrap();
        assert_eq!(hear(&mut heard, 1).await, ["got 1 placed"]);
        consumer.stop().await.unwrap();
        hub.stop().await;
    }

    async fn a_consumer_map_routes_names_of_several_domains_to_methods(database: &TestDatabase) {
        struct Billing(mpsc::Sender<String>);
        impl Billing {
            async fn on_order_placed(self: Arc<Self>, delivery: Delivery) -> Result<(), Failure> {
                drop(self.0.send(format!("order {}", delivery.event.pid)).await);
                Ok(())
            }
            async fn on_parcel_sent(self: Arc<Self>, delivery: Delivery) -> Result<(), Failure> {
                drop(self.0.send(format!("parcel {}", delivery.event.pid)).await);
                Ok(())
            }
        }
        let hub = TestHub::start(database).await;
        let bill = hub.spoke("bill").await;
        let (told, mut heard) = mpsc::channel(10);
        let map = ConsumerMap::new(Billing(told))
            .on(order(), called("order placed"), Billing::on_order_placed)
            .on(name("parcel"), called("parcel sent"), Billing::on_parcel_sent);
        let consumers = map.start(&bill).await.unwrap();
        bill.publish(event("order", "1", "order placed")).await.unwrap();
        assert_eq!(hear(&mut heard, 1).await, ["order 1"]);
        bill.publish(event("parcel", "2", "parcel sent")).await.unwrap();
        assert_eq!(hear(&mut heard, 1).await, ["parcel 2"]);
        consumers.stop().await.unwrap();
        hub.stop().await;
    }

    async fn the_state_of_a_process_is_its_data_merged_in_order(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (domain, pid) = eventlog("order", "1");
        let append = shop
            .append()
            .event(with_data(event("order", "1", "placed"), r#"{"total":1,"customer":{"name":"Ann","city":"Bonn"}}"#))
            .event(with_data(event("order", "1", "moved"), r#"{"customer":{"city":"Köln"},"tags":[1,2]}"#))
            .event(with_data(event("order", "1", "tagged"), r#"{"tags":[3]}"#));
        append.expect(domain.clone(), pid.clone(), Expected::None).persist().send().await.unwrap();
        let state = shop.state(&domain, &pid).await.unwrap();
        let expected = r#"{"total":1,"customer":{"name":"Ann","city":"Köln"},"tags":[3]}"#;
        assert_eq!(state, serde_json::from_str::<serde_json::Value>(expected).unwrap());

        let late = shop.append().event(event("order", "1", "paid"));
        let late = late.expect(domain.clone(), pid.clone(), Expected::Exactly(Version(2))).send().await;
        assert!(late.unwrap_err().to_string().contains("version 3"));
        let all = shop.eventlog(&domain, &pid).all().await.unwrap();
        assert_eq!(all.iter().map(|event| &event.name).collect::<Vec<_>>(), [
            &name::<EventName>("placed"),
            &name("moved"),
            &name("tagged")
        ]);
        hub.stop().await;
    }
}
