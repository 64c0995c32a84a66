//! A wait cannot miss: it answers whether the outcome came before, during or after the call.

use std::future::IntoFuture;
use std::time::Duration;

use eventflow_tests::events::{called, event, name};
use eventflow_tests::process::Place;
use eventflow_tests::{Cutter, TestDatabase, TestHub, on_every_engine, within};
use proto::{Domain, NewEvent, Pid, Position};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use spoke::{Spoke, SpokeOptions, WaitError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};

/// Waits of the long race.
const WAITS: u64 = 10_000;

/// How many go on side by side: a crowd, and so few that a look into the tables and a commit are close.
const AT_A_TIME: [usize; 2] = [250, 4];

fn order() -> Domain {
    name("order")
}

fn outcome(pid: &str) -> NewEvent {
    event("order", pid, "success")
}

async fn wait(spoke: &Spoke, pid: &str) -> Result<spoke::Event, WaitError> {
    within(
        "the outcome",
        spoke.wait(&order(), &name::<Pid>(pid)).within(Duration::from_secs(55)).into_future(),
    )
    .await
}

/// Reads the hub's metrics until they hold this line.
async fn until_metric(health: &str, line: &str) {
    let seen = async {
        loop {
            let mut socket = TcpStream::connect(health).await.unwrap();
            socket
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut page = String::new();
            socket.read_to_string(&mut page).await.unwrap();
            if page.lines().any(|found| found == line) {
                return;
            }
        }
    };
    within(line, seen).await;
}

async fn waiting(spoke: Spoke, pid: String) -> spoke::Event {
    wait(&spoke, &pid).await.unwrap()
}

/// How an outcome and a wait for it meet.
#[derive(Clone, Copy)]
enum Meet {
    Before,
    AtOnce,
    After,
}

/// Lets one wait and its outcome meet, with as many turns of others between as `random` says.
async fn meet(publisher: Spoke, waiter: Spoke, pid: String, how: Meet, turns: (u32, u32)) {
    let outcome = outcome(&pid);
    let id = outcome.id.clone();
    let publish = async {
        turn(turns.0).await;
        publisher.publish(outcome).await.unwrap()
    };
    let waiting = async {
        turn(turns.1).await;
        wait(&waiter, &pid).await.unwrap()
    };
    let found = match how {
        Meet::Before => {
            publish.await;
            waiting.await
        }
        Meet::AtOnce => futures::future::join(publish, waiting).await.1,
        Meet::After => {
            let mut waiting = Box::pin(waiting);
            let first = futures::poll!(waiting.as_mut());
            assert!(first.is_pending(), "nothing has happened yet");
            futures::future::join(publish, waiting).await.1
        }
    };
    assert_eq!(found.id, id);
}

async fn turn(times: u32) {
    for _ in 0..times {
        yield_now().await;
    }
}

on_every_engine! {
    async fn it_answers_what_was_there_before_and_what_comes_after(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        let pid: Pid = name("1");
        spoke.publish(event("order", "1", "placed")).await.unwrap();
        let first = spoke.persist(event("order", "1", "failed")).await.unwrap();
        assert_eq!(wait(&spoke, "1").await.unwrap().position, first.position, "also what was only stored");
        let second = spoke.publish(outcome("1")).await.unwrap();
        assert_eq!(wait(&spoke, "1").await.unwrap().name.as_str(), "failed", "the first one counts");
        let since = spoke.wait(&order(), &pid).since(first.position).await.unwrap();
        assert_eq!((since.position, since.name.as_str()), (second.position, "success"));
        let any = spoke.wait(&order(), &pid).any_name().await.unwrap();
        assert_eq!(any.name.as_str(), "placed");
        let named = spoke.wait(&order(), &pid).names([called("success"), called("paid")]).await.unwrap();
        assert_eq!(named.position, second.position);

        let later = async { spoke.wait(&order(), &pid).names([called("paid")]).await.unwrap() };
        let (found, paid) = futures::future::join(later, spoke.publish(event("order", "1", "paid"))).await;
        assert_eq!(found.position, paid.unwrap().position);
        hub.stop().await;
    }

    async fn a_time_out_is_an_error_of_its_own(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        spoke.publish(event("order", "1", "placed")).await.unwrap();
        let short = Duration::from_millis(30);
        let error = spoke.wait(&order(), &name::<Pid>("1")).within(short).await.unwrap_err();
        assert!(matches!(&error, WaitError::TimedOut { waited, .. } if *waited == short));
        assert_eq!(error.to_string(), "process order/1 had no event named 'failed' or 'success' within 30ms");
        let too_long = Duration::from_secs(25 * 60 * 60);
        let error = spoke.wait(&order(), &name::<Pid>("1")).within(too_long).await.unwrap_err();
        assert!(matches!(error, WaitError::TooLong { .. }));
        hub.stop().await;
    }

    async fn a_published_event_can_be_waited_on_for_what_follows_it(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (shop, till) = (hub.spoke("shop").await, hub.spoke("till").await);
        shop.publish(outcome("1")).await.unwrap();
        let handler = till.clone();
        let consumer = till.consumer(order()).name(called("placed"), move |delivery: spoke::Delivery| {
            let till = handler.clone();
            async move { till.publish(outcome(delivery.event.pid.as_str())).await.map(drop).map_err(spoke::Failure::retry) }
        });
        let consumer = consumer.start().await.unwrap();
        let placed = event("order", "1", "placed");
        let found = within("the answer", shop.publish_and_wait(placed.clone()).into_future()).await.unwrap();
        assert!(found.position > Position(2), "what was there before the event does not count");
        let again = within("the same answer", shop.publish_and_wait(placed).into_future()).await.unwrap();
        assert_eq!(again.id, found.id);
        consumer.stop().await.unwrap();
        hub.stop().await;
    }

    async fn it_goes_on_over_a_crash_of_the_hub(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let (spoke, other) = (hub.spoke("shop").await, hub.spoke("till").await);
        let mut waiting = Box::pin(wait(&spoke, "1"));
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        hub.crash_and_restart().await;
        let (found, published) = futures::future::join(waiting, other.publish(outcome("1"))).await;
        assert_eq!(found.unwrap().position, published.unwrap().position);
        hub.restart().await;
        assert!(wait(&spoke, "1").await.is_ok());
        hub.stop().await;
    }

    async fn ten_thousand_waits_meet_their_outcomes_through_cuts(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let cutter = Cutter::to(hub.address()).await;
        let (publisher, waiter) = (hub.spoke("shop").await, hub.spoke_through(&cutter, "till").await);
        let seed = rand::random::<u64>();
        println!("seed {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut meetings = JoinSet::new();
        for number in 0..WAITS {
            let how = [Meet::Before, Meet::AtOnce, Meet::After][random.random_range(0..3)];
            let turns = (random.random_range(0..30), random.random_range(0..30));
            let (publisher, waiter) = (publisher.clone(), waiter.clone());
            meetings.spawn(meet(publisher, waiter, format!("{number}"), how, turns));
            let crowd = AT_A_TIME[usize::from(number >= WAITS / 2)];
            while meetings.len() >= crowd {
                meetings.join_next().await.unwrap().unwrap();
            }
            if random.random_range(0..1_000) == 0 {
                cutter.cut().await;
            }
        }
        while let Some(met) = meetings.join_next().await {
            met.unwrap();
        }
        hub.stop().await;
    }

    async fn a_script_gets_the_event_or_an_exit_code_of_its_own(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        place.done(&["publish", "order", "1", "success", r#"{"total": 1}"#]).await;
        let found = place.json(&["wait", "order", "1", "--json"]).await;
        assert_eq!((&found[0]["name"], &found[0]["data"]["total"]), (&"success".into(), &1.into()));
        let late = place.run(&["wait", "order", "1", "--name", "failed", "--timeout", "0.05"]).await;
        assert_eq!(late.code, Some(75));
        assert!(late.stderr.contains("order/1 had no event named 'failed' within 50ms"), "{}", late.stderr);
        let wrong = place.run(&["wait", "order", "1", "--name", " failed"]).await;
        assert_eq!(wrong.code, Some(2));
        assert!(wrong.stderr.contains("starts or ends with white space"), "{}", wrong.stderr);
        assert_eq!(hub.terminate().await, Some(0));
    }
}

#[test]
fn ten_thousand_waits_at_a_time_cost_the_hub_less_than_100_mb() {
    eventflow_tests::run(async {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::with_url(&format!("sqlite:{}", folder.path().join("log.db").display()));
        let hub = place.hub(&[]).await;
        let options = SpokeOptions::new(name("shop"), place.data()).hub(hub.address());
        let spoke = within("a connection", Spoke::connect(options)).await.unwrap();
        let mut waits = JoinSet::new();
        for pid in 0..WAITS {
            waits.spawn(waiting(spoke.clone(), format!("{pid}")));
        }
        until_metric(hub.health(), &format!("eventflow_waits {WAITS}")).await;
        let after = hub.resident_kib();
        // Unsealing the keys took 64 MiB for a moment, which the allocator may or may not have given back.
        assert!(after < (64 + 100) * 1024, "the whole hub has {after} KiB with {WAITS} waits");
        let events: Vec<_> = (0..WAITS).map(|pid| outcome(&format!("{pid}"))).collect();
        let publish = async {
            for events in events.chunks(1_000) {
                spoke.publish_all(events.to_vec()).await.unwrap();
            }
        };
        let (found, ()) = futures::future::join(waits.join_all(), publish).await;
        assert_eq!(found.len() as u64, WAITS);
        spoke.close().await.unwrap();
    });
}
