//! Handlers whose effects are committed with their acks: once each, whatever is cut, killed or refused.

use std::collections::{BTreeMap, BTreeSet};

use eventflow_tests::events::{called, event, name, with_data, with_id};
use eventflow_tests::log::everything;
use eventflow_tests::process::Place;
use eventflow_tests::process_log::ProcessLog;
use eventflow_tests::{Cutter, TestDatabase, TestHub, on_every_engine, within};
use proto::report::{DeliveryState, GroupReport};
use proto::{Domain, Event, EventId, Expected, Refusal, Start};
use spoke::{ChainError, Consumer, Delivery, Failure, Spoke, SpokeOptions, child_id};
use tokio::sync::mpsc;

type Answer = std::pin::Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A handler that publishes a child of each event in the domain `to`, with its name and data, and tells
/// that it has run.
fn passing_on(to: &str) -> (impl Fn(Delivery) -> Answer + Send + Sync + Clone + 'static, mpsc::Receiver<()>) {
    let (told, runs) = mpsc::channel(100_000);
    let to: Domain = name(to);
    let handler = move |mut delivery: Delivery| -> Answer {
        let (told, to) = (told.clone(), to.clone());
        Box::pin(async move {
            let (pid, what) = (delivery.event.pid.clone(), delivery.event.name.clone());
            let mut child = delivery.child(to, pid, what);
            child.data = delivery.event.data.clone();
            delivery.publish(child)?;
            let _full = told.try_send(());
            Ok(())
        })
    };
    (handler, runs)
}

async fn group(spoke: &Spoke, group: &str) -> GroupReport {
    spoke.group(&name(group)).await.unwrap().remove(0)
}

/// Waits until a group has settled so many events as success.
async fn succeeded(spoke: &Spoke, of: &str, events: u64) {
    within("the group", async {
        while group(spoke, of).await.succeeded < events {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn log_of(database: &TestDatabase) -> Vec<Event> {
    let open = database.open().await;
    let events = everything(&open.reader()).await;
    open.close().await;
    events
}

fn of_domain<'a>(events: &'a [Event], domain: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event.domain.as_str() == domain).collect()
}

/// Fails unless each event of the domain `from` has exactly one child in `to`, made by `group`, and the
/// children of each process are in the order of their parents.
fn each_has_one_child_in_order(events: &[Event], from: &str, to: &str, group: &str) {
    let (parents, children) = (of_domain(events, from), of_domain(events, to));
    let by_parent: BTreeMap<&EventId, &Event> =
        children.iter().map(|child| (child.rid.as_ref().unwrap(), *child)).collect();
    assert_eq!((children.len(), by_parent.len()), (parents.len(), parents.len()), "{from} to {to}");
    for parent in &parents {
        let child = by_parent[&parent.id];
        assert_eq!(child.id, child_id(parent, &name(group), 0));
        assert_eq!((&child.pid, child.version), (&parent.pid, parent.version), "{} out of order", child.id);
        assert_eq!(child.data, parent.data);
    }
}

/// Publishes `events` orders of a tenth as many processes.
async fn publish_orders(spoke: &Spoke, events: u64) {
    for n in 0..events {
        let pid = format!("{}", n % events.div_ceil(10));
        spoke.publish(with_data(event("order", &pid, "placed"), &format!("{n}"))).await.unwrap();
    }
}

on_every_engine! {
    async fn what_a_handler_publishes_is_committed_with_its_ack(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (shop, bill) = (hub.spoke("shop").await, hub.spoke("bill").await);
        let (handler, _runs) = passing_on("bill");
        let consumer = bill.consumer(name("order")).any(handler).start().await.unwrap();
        let (told, mut heard) = mpsc::channel(10);
        let second = shop.consumer(name("bill")).any(move |delivery: Delivery| {
            let told = told.clone();
            async move { Ok(told.send((*delivery.event).clone()).await?) }
        }).start().await.unwrap();
        shop.publish(with_id("o1", "order", "1", "placed")).await.unwrap();
        let billed = within("the child", heard.recv()).await.unwrap();
        assert_eq!((billed.rid, billed.publisher), (Some(name("o1")), Some(name("bill"))));
        consumer.stop().await.unwrap();
        let story = shop.story(&name("o1")).await.unwrap();
        assert_eq!(story.deliveries[0].state, DeliveryState::Succeeded, "a stop returns when it is recorded");
        second.stop().await.unwrap();
        hub.stop().await;
        each_has_one_child_in_order(&log_of(database).await, "order", "bill", "bill");
    }

    async fn a_refused_chain_leaves_nothing_and_names_its_reason(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let handler = |mut delivery: Delivery| async move {
            let pid = delivery.event.pid.clone();
            let child = delivery.child(name("bill"), pid.clone(), called("billed"));
            delivery.publish(child)?;
            if pid.as_str() == "bad" {
                delivery.expect(name("bill"), pid, Expected::Exists)?;
            }
            Ok(())
        };
        let consumer = shop.consumer(name("order")).any(handler).start().await.unwrap();
        shop.publish(with_id("bad", "order", "bad", "placed")).await.unwrap();
        for n in 0..20 {
            shop.publish(event("order", &format!("{n}"), "placed")).await.unwrap();
        }
        succeeded(&shop, "shop", 20).await;
        within("the bad one", async {
            while group(&shop, "shop").await.parked == 0 {
                tokio::task::yield_now().await;
            }
        }).await;
        consumer.stop().await.unwrap();
        let story = shop.story(&name("bad")).await.unwrap();
        assert_eq!((&story.deliveries[0].state, story.deliveries[0].attempts.0), (&DeliveryState::Parked, 3));
        let reason = story.deliveries[0].reason.as_deref().unwrap();
        assert!(reason.contains("bill/bad is at version 0"), "{reason}");
        hub.stop().await;
        assert_eq!(of_domain(&log_of(database).await, "bill").len(), 20);
    }

    async fn whoever_commits_learns_what_came_of_it(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = hub.spoke("shop").await;
        let (consumer, mut deliveries) = shop.consumer(name("order")).deliveries().await.unwrap();
        let first = shop.publish(with_id("o1", "order", "1", "placed")).await.unwrap().position;
        let mut delivery = within("a delivery", deliveries.next()).await.unwrap();
        let child = delivery.child(name("bill"), name("1"), called("billed"));
        delivery.persist(child.clone()).unwrap();
        let appended = within("the answer", delivery.commit()).await.unwrap();
        assert_eq!((appended.len(), appended[0].position), (1, first.next()));

        shop.publish(event("order", "2", "placed")).await.unwrap();
        let mut delivery = within("a delivery", deliveries.next()).await.unwrap();
        delivery.publish(with_data(child, "[\"another\"]")).unwrap();
        let error = within("the answer", delivery.commit()).await.unwrap_err();
        assert!(matches!(error, ChainError::Refused(Refusal::Conflict { .. })), "{error}");

        let delivery = within("it comes again", deliveries.next()).await.unwrap();
        assert_eq!(delivery.attempt.0, 2);
        assert_eq!(within("the answer", delivery.commit()).await, Ok(vec![]));
        assert_eq!(group(&shop, "shop").await.succeeded, 2);
        drop(deliveries);
        consumer.stop().await.unwrap();
        hub.stop().await;
    }

    async fn eight_members_whose_links_are_cut_all_the_time_take_effect_once_for_each_event(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (shop, cutter) = (hub.spoke("shop").await, Cutter::to(hub.address()).await);
        let (handler, mut runs) = passing_on("bill");
        let mut members = Vec::new();
        for _ in 0..8 {
            let member = hub.spoke_through(&cutter, "bill").await;
            let consumer = member.consumer(name("order")).any(handler.clone()).concurrency(4).start().await.unwrap();
            members.push((member, consumer));
        }
        // Each cut counts as a loss of what was out, and none of it is to be given up here.
        let patient = spoke::SettingsChange { attempts_max: Some(1_000), ..Default::default() };
        shop.set_group(&name("bill"), None, patient).await.unwrap();
        let publishing = publish_orders(&shop, 300);
        let cutting = async {
            for _ in 0..12 {
                for _ in 0..20 {
                    within("a run", runs.recv()).await.unwrap();
                }
                cutter.cut().await;
            }
        };
        futures::future::join(publishing, cutting).await;
        succeeded(&shop, "bill", 300).await;
        for (_member, consumer) in members {
            consumer.stop().await.unwrap();
        }
        assert_eq!((group(&shop, "bill").await.succeeded, group(&shop, "bill").await.pending), (300, 0));
        hub.stop().await;
        each_has_one_child_in_order(&log_of(database).await, "order", "bill", "bill");
    }

    async fn a_hub_that_crashes_between_commit_and_answer_takes_effect_once(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let (shop, bill) = (hub.spoke("shop").await, hub.spoke("bill").await);
        publish_orders(&shop, 300).await;
        let (handler, mut runs) = passing_on("bill");
        let consumer = bill.consumer(name("order")).any(handler).from(Start::Beginning).start().await.unwrap();
        for _ in 0..5 {
            for _ in 0..20 {
                within("a run", runs.recv()).await.unwrap();
            }
            hub.crash_and_restart().await;
        }
        succeeded(&shop, "bill", 300).await;
        consumer.stop().await.unwrap();
        hub.stop().await;
        each_has_one_child_in_order(&log_of(database).await, "order", "bill", "bill");
        let settled = database.number("SELECT CAST(SUM(events) AS SIGNED) FROM event_published WHERE group_id > 0").await;
        assert_eq!(settled, 300, "every event has one settlement");
    }

    async fn what_a_command_says_is_committed_with_its_ack(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&["--attempts-max", "2", "--backoff-first", "0.1"]).await;
        for pid in ["1", "2", "bad"] {
            place.done(&["publish", "order", pid, "placed", "--id", &format!("o-{pid}")]).await;
        }
        let command = "read event; case $event in *bad*) echo nonsense;; *) \
            echo '{\"domain\":\"bill\",\"pid\":\"1\",\"name\":\"billed\",\"data\":[1]}'; \
            echo '{\"domain\":\"note\",\"pid\":\"1\",\"name\":\"noted\",\"publisher\":null}';; esac";
        let consume = ["consume", "order", "--group", "bill", "--from", "beginning", "--idle-exit", "2", "--chain", "--exec", command];
        place.done(&consume).await;
        let why = place.done(&["why", "o-bad"]).await;
        assert!(why.contains("parked") && why.contains("line 1 of its output"), "{why}");
        hub.terminate().await;
        let log = log_of(database).await;
        let (orders, bills, notes) = (of_domain(&log, "order"), of_domain(&log, "bill"), of_domain(&log, "note"));
        assert_eq!((bills.len(), notes.len()), (2, 2));
        for order in orders.iter().filter(|order| order.pid.as_str() != "bad") {
            let bill = bills.iter().find(|bill| bill.rid.as_ref() == Some(&order.id)).unwrap();
            assert_eq!(bill.id, child_id(order, &name("bill"), 0));
        }
        assert!(bills.iter().all(|bill| bill.publisher.is_some()) && notes.iter().all(|note| note.publisher.is_none()));
    }

    async fn a_process_log_through_three_stages_comes_out_whole_whatever_is_killed(database: &TestDatabase) {
        let place = Place::on(database);
        let mut hub = place.hub(&[]).await;
        let receipts = ProcessLog::receipts(&place);
        place.done(&receipts.import()).await;
        let seed = seed();
        println!("seed {seed}");
        let mut random = Random(seed);
        let (told, mut progress) = mpsc::channel(100_000);
        let mut members = Vec::new();
        for stage in [0, 0, 1, 1, 2, 2] {
            members.push((stage, member(&place, stage, &told).await));
        }
        for _ in 0..14 {
            for _ in 0..500 + random.below(600) {
                within("progress", progress.recv()).await.unwrap();
            }
            match random.below(3) {
                0 => {
                    let address = hub.kill().await;
                    hub = place.hub_at(&address, &[]).await;
                }
                _ => {
                    // Dropped, it is gone in the middle of whatever it does.
                    let (stage, gone) = members.swap_remove(random.below(members.len()));
                    drop(gone);
                    members.push((stage, member(&place, stage, &told).await));
                }
            }
        }
        let spoke = connect(&place, "watch").await;
        for stage in 0..3 {
            succeeded(&spoke, &group_of(stage), receipts.events as u64).await;
        }
        drop(members);
        hub.terminate().await;
        let log = log_of(database).await;
        assert_eq!(of_domain(&log, STAGES[0]).len(), receipts.events);
        each_has_one_child_in_order(&log, STAGES[0], STAGES[1], &group_of(0));
        each_has_one_child_in_order(&log, STAGES[1], STAGES[2], &group_of(1));
        let ids: BTreeSet<_> = log.iter().map(|event| &event.id).collect();
        assert_eq!((log.len(), ids.len()), (3 * receipts.events, 3 * receipts.events));
        let settled = database.number("SELECT CAST(SUM(events) AS SIGNED) FROM event_published WHERE group_id > 0").await;
        assert_eq!(settled, 3 * i64::try_from(receipts.events).unwrap(), "every event has one settlement in each stage");
    }
}

/// The domains of three stages: the first is what is imported, each further one follows from the one before.
const STAGES: [&str; 3] = ["permit", "checked", "filed"];

fn group_of(stage: usize) -> String {
    format!("stage-{stage}")
}

async fn connect(place: &Place, service: &str) -> Spoke {
    loop {
        // The hub may be down just now.
        let options = SpokeOptions::new(name(service), place.data());
        if let Ok(spoke) = within("a spoke", Spoke::connect(options)).await {
            return spoke;
        }
    }
}

/// A member of a stage's group: it passes each event on to the next stage, the last one only acknowledges.
async fn member(place: &Place, stage: usize, told: &mpsc::Sender<()>) -> (Spoke, Consumer) {
    let spoke = connect(place, &group_of(stage)).await;
    loop {
        let (told, next) = (told.clone(), STAGES.get(stage + 1).copied());
        let handler = move |mut delivery: Delivery| {
            let told = told.clone();
            async move {
                if let Some(next) = next {
                    let (pid, what) = (delivery.event.pid.clone(), delivery.event.name.clone());
                    let mut child = delivery.child(name(next), pid, what);
                    child.data = delivery.event.data.clone();
                    delivery.publish(child)?;
                }
                let _full = told.try_send(());
                Ok(())
            }
        };
        let consumer = spoke.consumer(name(STAGES[stage])).any(handler).from(Start::Beginning);
        if let Ok(consumer) = within("a member", consumer.start()).await {
            return (spoke, consumer);
        }
    }
}

/// The seed of this run, from the environment where a run is to be repeated.
fn seed() -> u64 {
    std::env::var("EVENTFLOW_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Numbers that are the same again for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}
