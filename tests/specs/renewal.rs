//! Certificates that live for seconds, under a steady load: services renew them again and again, and
//! neither their callers nor their handlers notice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use eventflow_tests::events::{event, name};
use eventflow_tests::process::{HubProcess, Place};
use eventflow_tests::{TestDatabase, on_every_engine, within};
use proto::{Attempt, Domain, EventId, Pid, Position, Start, Version};
use spoke::{Consumer, Delivery, EventStream, Spoke, SpokeOptions, Subscription, Told};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often the certificate is to be renewed.
const RENEWALS: usize = 4;

/// Processes whose events are published one after the other, all processes at the same time.
const PROCESSES: usize = 16;

/// Calls that are remembered; more than can be made in the time of this spec.
const CALLS_MAX: usize = 1 << 22;

/// A handler was called.
struct Call {
    id: EventId,
    pid: Pid,
    version: Version,
    attempt: Attempt,
}

fn order() -> Domain {
    name("order")
}

fn links(hub: &HubProcess) -> usize {
    hub.log().matches("peer welcome").count()
}

/// A consumer that tells of each call; its handler for `held` ends only after the next renewal.
async fn consumer(spoke: &Spoke, renewals: watch::Receiver<usize>) -> (Consumer, mpsc::Receiver<Call>) {
    let (told, calls) = mpsc::channel(CALLS_MAX);
    let builder = spoke.consumer(order()).from(Start::Beginning).any(move |delivery: Delivery| {
        let (told, mut renewals) = (told.clone(), renewals.clone());
        async move {
            let event = &delivery.event;
            let (id, pid) = (event.id.clone(), event.pid.clone());
            told.try_send(Call { id, pid, version: event.version, attempt: delivery.attempt })?;
            if event.name.as_str() == "held" {
                let before = *renewals.borrow_and_update();
                renewals.wait_for(|renewals| *renewals > before).await?;
            }
            Ok(())
        }
    });
    (builder.start().await.unwrap(), calls)
}

/// Publishes events of each process until it is to stop, and gives the ids of all.
fn publishers(spoke: &Spoke, stop: &CancellationToken) -> JoinSet<Vec<EventId>> {
    let mut publishers = JoinSet::new();
    for process in 0..PROCESSES {
        let (spoke, stop) = (spoke.clone(), stop.clone());
        publishers.spawn(async move {
            let (mut ids, pid) = (Vec::new(), format!("p{process}"));
            while !stop.is_cancelled() {
                let event = event("order", &pid, "placed");
                ids.push(event.id.clone());
                spoke.publish(event).await.unwrap();
            }
            ids
        });
    }
    publishers
}

/// The positions that a subscription is told of, up to the end of the log.
async fn positions(mut stream: EventStream, mut end: watch::Receiver<Option<Position>>) -> Vec<Position> {
    let mut positions = Vec::new();
    while end.borrow().is_none_or(|end| positions.last().is_none_or(|last| *last < end)) {
        tokio::select! {
            Ok(()) = end.changed() => {}
            told = stream.next() => if let Told::Event(event) = told.unwrap().unwrap() {
                positions.push(event.position);
            }
        }
    }
    positions
}

/// Publishes until the certificate in `file` is another one and the hub has got a link with it.
async fn renewed(spoke: &Spoke, hub: &HubProcess, file: &PathBuf) -> Vec<EventId> {
    let (before, links_before, mut ids) = (std::fs::read(file).unwrap(), links(hub), Vec::new());
    while std::fs::read(file).unwrap() == before || links(hub) == links_before {
        let event = event("order", "ticks", "ticked");
        ids.push(event.id.clone());
        spoke.publish(event).await.unwrap();
    }
    ids
}

/// Fails unless each of `published` was handled once, at the first try, and in the order of its process.
fn each_once_and_in_order(published: &[EventId], calls: &[Call]) {
    let mut last: BTreeMap<&Pid, Version> = BTreeMap::new();
    for call in calls {
        assert_eq!(call.attempt, Attempt(1), "event {} came again", call.id);
        let before = last.insert(&call.pid, call.version).unwrap_or_default();
        assert!(call.version > before, "{} after version {before} of {}", call.version, call.pid);
    }
    let handled: BTreeSet<_> = calls.iter().map(|call| &call.id).collect();
    assert_eq!((calls.len(), handled.len()), (published.len(), published.len()));
    assert_eq!(handled, published.iter().collect());
}

on_every_engine! {
    async fn certificates_are_renewed_under_load_and_nobody_notices(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&["--leaf-lifetime", "12"]).await;
        let spoke = Spoke::connect(SpokeOptions::new(name("shop"), place.data())).await.unwrap();
        let file = place.data().join("identity/shop/identity.pem");
        let (renewals, watched) = watch::channel(0);
        let (consumer, mut heard) = consumer(&spoke, watched).await;
        let (end, ended) = watch::channel(None);
        let mut subscriptions = JoinSet::new();
        let wish = Subscription::topic(order()).from(Start::Beginning);
        subscriptions.spawn(positions(spoke.subscribe(wish).await.unwrap(), ended));
        let (goal, goal_pid) = (event("order", "goal", "reached"), name::<Pid>("goal"));
        let mut waits = JoinSet::new();
        waits.spawn(spoke.wait(&order(), &goal_pid).any_name().within(Duration::from_secs(600)).into_future());
        let stop = CancellationToken::new();
        let mut publishing = publishers(&spoke, &stop);

        let mut published = vec![goal.id.clone()];
        for count in 1..=RENEWALS {
            let held = event("order", &format!("held {count}"), "held");
            published.push(held.id.clone());
            spoke.publish(held).await.unwrap();
            published.extend(within("a renewal", renewed(&spoke, &hub, &file)).await);
            renewals.send_replace(count);
        }
        stop.cancel();
        while let Some(ids) = publishing.join_next().await {
            published.extend(ids.unwrap());
        }
        let last = spoke.publish(goal).await.unwrap().position;
        end.send_replace(Some(last));

        assert_eq!(within("the wait", waits.join_next()).await.unwrap().unwrap().unwrap().position, last);
        let told = within("the subscription", subscriptions.join_next()).await.unwrap().unwrap();
        assert_eq!(told, (1..=last.0).map(Position).collect::<Vec<_>>());
        let mut calls = Vec::new();
        while calls.len() < published.len() {
            calls.push(within("a delivery", heard.recv()).await.unwrap());
        }
        consumer.stop().await.unwrap();
        while let Some(call) = heard.recv().await {
            calls.push(call);
        }
        each_once_and_in_order(&published, &calls);
        println!(
            "{} links, {} events published, each handled once and told once, in order, at the first try",
            links(&hub), published.len(),
        );
        spoke.close().await.unwrap();
        hub.terminate().await;
    }
}
