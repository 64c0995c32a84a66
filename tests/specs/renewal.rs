//! Certificates that live for seconds, under a steady load: services renew them again and again, and
//! neither their callers nor their handlers notice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use eventflow_tests::events::{event, name};
use eventflow_tests::process::{HubProcess, Place, private};
use eventflow_tests::{TestDatabase, on_every_engine, within};
use proto::{Attempt, Domain, EventId, NewEvent, Pid, Position, Start, Version};
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

/// A hub whose certificates live for seconds, and a service that publishes, consumes and is told of what is
/// published, all the time.
struct Load {
    place: Place,
    hub: HubProcess,
    spoke: Spoke,
    renewals: watch::Sender<usize>,
    consumer: Consumer,
    heard: mpsc::Receiver<Call>,
    end: watch::Sender<Option<Position>>,
    subscriptions: JoinSet<Vec<Position>>,
    stop: CancellationToken,
    publishing: JoinSet<Vec<EventId>>,
    published: Vec<EventId>,
}

impl Load {
    async fn start(place: Place, options: &[&str]) -> Self {
        let hub = place.hub(&[&["--leaf-lifetime", "12"], options].concat()).await;
        let spoke = Spoke::connect(SpokeOptions::new(name("shop"), place.data())).await.unwrap();
        let (renewals, watched) = watch::channel(0);
        let (consumer, heard) = consumer(&spoke, watched).await;
        let (end, ended) = watch::channel(None);
        let mut subscriptions = JoinSet::new();
        let wish = Subscription::topic(order()).from(Start::Beginning);
        subscriptions.spawn(positions(spoke.subscribe(wish).await.unwrap(), ended));
        let stop = CancellationToken::new();
        let publishing = publishers(&spoke, &stop);
        let published = Vec::new();
        Self { place, hub, spoke, renewals, consumer, heard, end, subscriptions, stop, publishing, published }
    }

    fn identity(&self) -> PathBuf {
        self.place.data().join("identity/shop/identity.pem")
    }

    /// Ends it with `last`, and fails unless every event was handled and told once, in order. Gives how
    /// many there were, and how many links there have been.
    async fn finish(mut self, last: NewEvent) -> (usize, usize) {
        self.stop.cancel();
        while let Some(ids) = self.publishing.join_next().await {
            self.published.extend(ids.unwrap());
        }
        self.published.push(last.id.clone());
        let last = self.spoke.publish(last).await.unwrap().position;
        self.end.send_replace(Some(last));
        let told = within("the subscription", self.subscriptions.join_next()).await.unwrap().unwrap();
        assert_eq!(told, (1..=last.0).map(Position).collect::<Vec<_>>());
        let mut calls = Vec::new();
        while calls.len() < self.published.len() {
            calls.push(within("a delivery", self.heard.recv()).await.unwrap());
        }
        self.consumer.stop().await.unwrap();
        while let Some(call) = self.heard.recv().await {
            calls.push(call);
        }
        each_once_and_in_order(&self.published, &calls);
        let links = links(&self.hub);
        self.spoke.close().await.unwrap();
        self.hub.terminate().await;
        (self.published.len(), links)
    }
}

/// Waits until the newest replacement of certificates is over.
async fn archived(database: &TestDatabase, rotations: i64) {
    let over = "SELECT COUNT(*) FROM ca_rotation WHERE archived IS NOT NULL";
    while database.number(over).await < rotations {
        tokio::task::yield_now().await;
    }
}

on_every_engine! {
    async fn certificates_are_renewed_under_load_and_nobody_notices(database: &TestDatabase) {
        let mut load = Load::start(Place::on(database), &[]).await;
        let (goal, goal_pid) = (event("order", "goal", "reached"), name::<Pid>("goal"));
        let mut waits = JoinSet::new();
        let wait = load.spoke.wait(&order(), &goal_pid).any_name().within(Duration::from_secs(600));
        waits.spawn(wait.into_future());
        let file = load.identity();
        for count in 1..=RENEWALS {
            let held = event("order", &format!("held {count}"), "held");
            load.published.push(held.id.clone());
            load.spoke.publish(held).await.unwrap();
            let ticks = within("a renewal", renewed(&load.spoke, &load.hub, &file)).await;
            load.published.extend(ticks);
            load.renewals.send_replace(count);
        }
        let (events, links) = load.finish(goal).await;
        let met = within("the wait", waits.join_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(met.position, Position(u64::try_from(events).unwrap()));
        println!("{events} events over {links} links, each handled once and told once, in order, at the first try");
    }

    async fn all_authorities_and_the_passphrase_are_replaced_under_load(database: &TestDatabase) {
        let place = Place::on(database);
        let (old, new) = (place.file("old", "the old passphrase"), place.file("new", "the new passphrase"));
        private(&old);
        private(&new);
        let load = Load::start(place, &["--passphrase-file", &old]).await;
        for (count, what) in (1..).zip(["intermediate", "root"]) {
            load.place.done(&["certs", "rotate", what]).await;
            // Each takes as long as the certificates live that hang from what is replaced.
            archived(database, count).await;
        }
        let rotate = ["keyring", "rotate", "--passphrase-file", &old, "--new-passphrase-file", &new];
        load.place.done(&rotate).await;
        let roots = "SELECT COUNT(*) FROM certificate WHERE role = 'root' AND version = 0";
        assert_eq!(database.number(roots).await, 1);
        let log = load.hub.log();
        let (events, links) = load.finish(event("order", "last", "placed")).await;
        assert!(!log.contains("ERROR"), "{log}");
        println!(
            "{events} events over {links} links, through new issuers, a new root and a new passphrase: each \
             handled once and told once, in order, at the first try"
        );
    }
}
