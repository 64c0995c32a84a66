//! Parked events over real connections, and with the real binary: replayed in order, discarded, told.

use eventflow_tests::events::{event, name, with_id};
use eventflow_tests::process::Place;
use eventflow_tests::{TestDatabase, TestHub, on_every_engine, within};
use proto::parked::{ParkedSelection, Unparked};
use proto::report::DeliveryState;
use proto::{Domain, ParkPolicy, Refusal};
use spoke::{Delivery, Failure, RequestError, Spoke};
use tokio::sync::{mpsc, watch};

fn order() -> Domain {
    name("order")
}

fn of_pid(pid: &str) -> ParkedSelection {
    ParkedSelection { pid: Some(name(pid)), ..ParkedSelection::default() }
}

fn of_event(id: &str) -> ParkedSelection {
    ParkedSelection { id: Some(name(id)), ..ParkedSelection::default() }
}

/// A consumer whose handler can be mended, and what it has handled: `pid id`, in order.
struct Shop {
    spoke: Spoke,
    consumer: spoke::Consumer,
    mended: watch::Sender<bool>,
    handled: mpsc::Receiver<String>,
}

impl Shop {
    /// Its handler gives up on events of the pid `bad` until it is mended.
    async fn open(hub: &TestHub) -> Self {
        let spoke = hub.spoke("shop").await;
        let (mended, is_mended) = watch::channel(false);
        let (told, handled) = mpsc::channel(1_024);
        let handler = move |delivery: Delivery| {
            let (told, is_mended) = (told.clone(), is_mended.clone());
            async move {
                let (pid, id) = (delivery.event.pid.to_string(), delivery.event.id.to_string());
                if pid == "bad" && !*is_mended.borrow() {
                    return Err(Failure::park("no stock"));
                }
                drop(told.send(format!("{pid} {id}")).await);
                Ok(())
            }
        };
        let consumer = spoke.consumer(order()).any(handler).start().await.unwrap();
        Self { spoke, consumer, mended, handled }
    }

    async fn publish(&self, id: &str, pid: &str) {
        self.spoke.publish(with_id(id, "order", pid, "placed")).await.unwrap();
    }

    async fn handled(&mut self, count: usize) -> Vec<String> {
        let mut handled = Vec::new();
        while handled.len() < count {
            handled.push(within("a handled event", self.handled.recv()).await.unwrap());
        }
        handled
    }

    /// Waits until so many events are parked.
    async fn parked(&self, count: u64) {
        let counted = async { while self.spoke.group(&name("shop")).await.unwrap()[0].parked != count {} };
        within("the parked events", counted).await;
        let recorded = async {
            let all = || self.spoke.parked(ParkedSelection::default()).all();
            while u64::try_from(all().await.unwrap().len()).unwrap() != count {}
        };
        within("the rows of parked events", recorded).await;
    }
}

on_every_engine! {
    async fn a_parked_process_is_replayed_in_order_and_goes_on(database: &TestDatabase) {
        let mut hub = TestHub::start_with(database, |rules| rules.park = ParkPolicy::Pid).await;
        let mut shop = Shop::open(&hub).await;
        for n in 1..=3 {
            shop.publish(&format!("b{n}"), "bad").await;
            shop.publish(&format!("g{n}"), "good").await;
        }
        assert_eq!(shop.handled(3).await, ["good g1", "good g2", "good g3"]);
        shop.parked(3).await;
        let recorded = async { while shop.spoke.group(&name("shop")).await.unwrap()[0].pending != 0 {} };
        within("the other outcomes", recorded).await;
        hub.restart().await;
        shop.publish("b4", "bad").await;
        shop.parked(4).await;
        let parked = shop.spoke.parked(of_pid("bad")).all().await.unwrap();
        assert_eq!(parked[0].reason, "no stock");
        assert!(parked[1..].iter().all(|event| event.reason == "behind parked event 1"), "{parked:?}");

        shop.mended.send_replace(true);
        // One of them is enough: nothing of the process is delivered before what was parked before it.
        let taken = shop.spoke.replay(of_event("b3")).all().await.unwrap();
        assert_eq!(taken.len(), 4);
        shop.publish("b5", "bad").await;
        assert_eq!(shop.handled(5).await, ["bad b1", "bad b2", "bad b3", "bad b4", "bad b5"]);
        shop.consumer.stop().await.unwrap();
        let group = shop.spoke.group(&name("shop")).await.unwrap().remove(0);
        assert_eq!((group.succeeded, group.parked, group.pending), (8, 0, 0));
        assert!(shop.handled.try_recv().is_err(), "each once");
        hub.stop().await;
    }

    async fn a_parked_event_that_is_deleted_is_neither_listed_nor_counted(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let shop = Shop::open(&hub).await;
        shop.publish("b1", "bad").await;
        shop.publish("b2", "bad").await;
        shop.parked(2).await;
        assert_eq!(shop.spoke.delete_event(&name("b1")).await.unwrap(), 1);
        shop.parked(1).await;
        let status = shop.spoke.group_statuses(Some(&name("shop"))).await.unwrap().remove(0);
        assert_eq!(status.report.parked, 1, "groups show says what parked ls shows");
        hub.restart().await;
        shop.parked(1).await;
        assert_eq!(shop.spoke.delete_eventlog(&order(), &name("bad")).await.unwrap(), 1);
        shop.parked(0).await;
        hub.stop().await;
    }

    async fn what_is_being_replayed_when_the_hub_dies_is_delivered_after_it(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let shop = Shop::open(&hub).await;
        shop.publish("b1", "bad").await;
        shop.parked(1).await;
        shop.consumer.stop().await.unwrap();
        let taken = shop.spoke.replay(of_event("b1")).all().await.unwrap();
        assert_eq!(taken.len(), 1);
        hub.crash_and_restart().await;
        let story = shop.spoke.story(&name("b1")).await.unwrap();
        assert_eq!(story.deliveries[0].state, DeliveryState::NoMember);
        let mut shop = Shop::open(&hub).await;
        shop.mended.send_replace(true);
        assert_eq!(shop.handled(1).await, ["bad b1"]);
        shop.consumer.stop().await.unwrap();
        let history = shop.spoke.parked_history(&name("b1")).await.unwrap();
        assert_eq!(history[0].done, Unparked::Replayed);
        hub.stop().await;
    }

    async fn a_replay_of_what_is_not_parked_is_told_what_it_is_instead(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let mut shop = Shop::open(&hub).await;
        shop.publish("g1", "good").await;
        shop.handled(1).await;
        let consumer = shop.consumer;
        consumer.stop().await.unwrap();
        shop.spoke.publish(with_id("later", "order", "good", "placed")).await.unwrap();
        for (id, says) in [("g1", "succeeded at"), ("later", "not delivered yet")] {
            let refused = shop.spoke.replay(of_event(id)).all().await;
            let Err(RequestError::Refused(Refusal::Invalid { reason })) = refused else { panic!("{refused:?}") };
            assert!(reason.contains("is not parked") && reason.contains(says), "{reason}");
        }
        let unknown = shop.spoke.replay(of_event("unknown")).all().await;
        assert!(matches!(unknown, Err(RequestError::NotFound { .. })), "{unknown:?}");
        assert!(shop.spoke.replay(of_pid("nobody")).all().await.unwrap().is_empty());
        hub.stop().await;
    }

    async fn a_discarded_event_frees_its_process_and_is_told_as_failed(database: &TestDatabase) {
        let hub = TestHub::start_with(database, |rules| rules.park = ParkPolicy::Pid).await;
        let mut shop = Shop::open(&hub).await;
        shop.publish("b1", "bad").await;
        shop.parked(1).await;
        let taken = shop.spoke.discard(of_pid("bad"), "a test").all().await.unwrap();
        assert_eq!(taken.len(), 1);
        shop.mended.send_replace(true);
        shop.publish("b2", "bad").await;
        assert_eq!(shop.handled(1).await, ["bad b2"]);
        let story = shop.spoke.story(&name("b1")).await.unwrap();
        assert_eq!(story.deliveries[0].state, DeliveryState::Discarded);
        assert!(story.deliveries[0].reason.as_ref().unwrap().ends_with(": a test"), "{story:?}");
        shop.consumer.stop().await.unwrap();
        hub.stop().await;
    }

    async fn parked_events_are_found_by_name_reason_and_time(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let shop = Shop::open(&hub).await;
        shop.publish("b1", "bad").await;
        shop.spoke.publish(event("order", "bad", "paid")).await.unwrap();
        shop.parked(2).await;
        let found = |selection| shop.spoke.parked(selection).all();
        let all = ParkedSelection::default;
        assert_eq!(found(ParkedSelection { name: Some(name("paid")), ..all() }).await.unwrap().len(), 1);
        assert_eq!(found(ParkedSelection { reason: Some("stock".into()), ..all() }).await.unwrap().len(), 2);
        assert_eq!(found(ParkedSelection { reason: Some("Stock".into()), ..all() }).await.unwrap().len(), 0);
        let first = &found(of_event("b1")).await.unwrap()[0];
        let mut early = all();
        early.window.until = Some(proto::Timestamp::from_millis(first.parked.millis() - 1).unwrap());
        assert_eq!(found(early).await.unwrap().len(), 0);
        let other = found(ParkedSelection { group: Some(name("nobody")), ..all() }).await;
        assert!(matches!(other, Err(RequestError::NotFound { .. })), "{other:?}");
        hub.stop().await;
    }

    async fn a_long_process_is_replayed_in_batches_and_in_order(database: &TestDatabase) {
        let hub = TestHub::start_with(database, |rules| rules.park = ParkPolicy::Pid).await;
        let mut shop = Shop::open(&hub).await;
        let events = (0..600).map(|n| with_id(&format!("b{n:03}"), "order", "bad", "placed")).collect();
        shop.spoke.publish_all(events).await.unwrap();
        shop.parked(600).await;
        let would = shop.spoke.would_replay(of_event("b010")).all().await.unwrap();
        assert_eq!(would.len(), 600, "each once");
        shop.mended.send_replace(true);
        let (mut batches, mut taken) = (shop.spoke.replay(of_pid("bad")), Vec::new());
        while let Some(batch) = batches.next().await {
            taken.push(batch.unwrap().len());
        }
        assert!(taken.iter().all(|taken| *taken <= 256) && taken.iter().sum::<usize>() == 600, "{taken:?}");
        let expected: Vec<_> = (0..600).map(|n| format!("bad b{n:03}")).collect();
        assert_eq!(shop.handled(600).await, expected);
        shop.consumer.stop().await.unwrap();
        hub.stop().await;
    }
}

/// A command that notes each event's id and fails or kills as the files beside it say.
fn handler(place: &Place) -> String {
    let data = place.data().display();
    format!(
        r#"line=$(cat); id=$(printf '%s' "$line" | sed 's/.*"id":"\([^"]*\)".*/\1/'); \
           case "$id" in b*) test -e {data}/mended || {{ echo 'no stock' >&2; exit 1; }} ;; esac; \
           echo "$id" >> {data}/handled"#
    )
}

/// Show 5.
#[test]
fn a_parked_pid_is_replayed_in_order_after_its_handler_was_mended_and_audit_lines_show_it() {
    eventflow_tests::database::with_fresh(eventflow_tests::Engine::Sqlite, async |database| {
        let place = Place::on(database);
        let hub = place.hub(&["--park", "pid", "--attempts-max", "2", "--backoff-first", "0.05"]).await;
        let command = handler(&place);
        let consume = ["consume", "order", "--group", "billing", "--exec", command.as_str()];
        let consumer = place.start(&consume);
        let waits = async { while place.run(&["groups", "show", "billing"]).await.code != Some(0) {} };
        within("the group", waits).await;
        for (id, pid) in [("b1", "7"), ("g1", "8"), ("b2", "7"), ("g2", "8"), ("b3", "7")] {
            place.done(&["publish", "order", pid, "placed", "--id", id]).await;
        }
        let listed = async { while place.json(&["parked", "ls", "--json"]).await.len() < 3 {} };
        within("the parked events", listed).await;
        let table = place.done(&["parked", "ls", "--group", "billing", "--pid", "7"]).await;
        assert!(table.contains("behind parked event 1") && table.contains("no stock"), "{table}");
        let shown = place.done(&["parked", "show", "b1"]).await;
        assert!(shown.contains("no stock") && shown.contains("with its whole process"), "{shown}");

        drop(place.file("mended", ""));
        assert_eq!(place.run(&["parked", "replay"]).await.code, Some(2), "everything only if that is said");
        let would = place.json(&["parked", "replay", "--pid", "7", "--dry-run", "--json"]).await;
        assert_eq!(would.len(), 3);
        let done = place.done(&["parked", "replay", "--pid", "7"]).await;
        assert!(done.contains("replayed: 3"), "{done}");
        let read = || std::fs::read_to_string(place.data().join("handled")).unwrap_or_default();
        let handled = async {
            while read().lines().filter(|id| id.starts_with('b')).count() < 3 {
                tokio::task::yield_now().await;
            }
        };
        within("the replayed events", handled).await;
        let bad: Vec<_> = read().lines().filter(|id| id.starts_with('b')).map(str::to_owned).collect();
        assert_eq!(bad, ["b1", "b2", "b3"], "in order, each once");

        let story = async {
            loop {
                let told = place.done(&["show", "b1"]).await;
                if told.contains("had it delivered again") {
                    break told;
                }
            }
        };
        let told = within("the story", story).await;
        assert!(told.contains("group billing: done") && told.contains("no stock"), "{told}");
        let again = place.run(&["parked", "replay", "b1"]).await;
        assert_eq!(again.code, Some(1));
        assert!(
            again.stderr.contains("is not parked") && again.stderr.contains("succeeded"),
            "{}",
            again.stderr
        );
        let audit = "SELECT COUNT(*) FROM log WHERE message LIKE 'replayed 3 parked events of group billing of order%'
                     AND agent LIKE 'operator/%'";
        assert_eq!(database.number(audit).await, 1);
        consumer.terminate().await;
        hub.terminate().await;
    });
}

/// A consumer that its event kills each time.
#[test]
fn an_event_that_kills_its_consumer_each_time_is_parked_and_all_other_pids_are_done() {
    eventflow_tests::database::with_fresh(eventflow_tests::Engine::Sqlite, async |database| {
        let place = Place::on(database);
        let hub =
            place.hub(&["--attempts-max", "2", "--backoff-first", "0.05", "--backoff-max", "0.1"]).await;
        let command = r#"case "$(cat)" in *'"id":"killer"'*) kill -9 $PPID ;; esac"#;
        let consume = ["consume", "order", "--group", "billing", "--exec", command];
        let mut consumer = place.start(&consume);
        let waits = async { while place.run(&["groups", "show", "billing"]).await.code != Some(0) {} };
        within("the group", waits).await;
        for n in 0..6 {
            let id = if n == 3 { "killer".to_owned() } else { format!("e{n}") };
            place.done(&["publish", "order", &format!("{n}"), "placed", "--id", &id]).await;
        }
        let settled = async {
            loop {
                let report = &place.json(&["groups", "show", "billing", "--json"]).await[0];
                if report["parked"] == 1 && report["succeeded"] == 5 {
                    break;
                }
                if consumer.has_ended() {
                    consumer = place.start(&consume);
                }
            }
        };
        within("all outcomes", settled).await;
        let why = place.done(&["why", "killer"]).await;
        assert!(why.contains("suspect: its consumer, or the hub, was lost"), "{why}");
        consumer.terminate().await;
        hub.terminate().await;
    });
}

/// A hub that dies each time while an event is with a consumer.
#[test]
fn an_event_that_is_in_flight_whenever_the_hub_dies_is_parked() {
    eventflow_tests::database::with_fresh(eventflow_tests::Engine::Sqlite, async |database| {
        let place = Place::on(database);
        let options = ["--attempts-max", "2", "--backoff-first", "0.05", "--backoff-max", "0.1"];
        let mut hub = place.hub(&options).await;
        let (got, data) = (place.data().join("got"), place.data().display().to_string());
        // The handler never answers, and says each time that it has the event.
        let command = format!("cat > /dev/null; echo x >> {data}/got; exec sleep 300 > /dev/null 2>&1");
        let consume = ["consume", "order", "--group", "billing", "--exec", command.as_str()];
        let mut consumer = place.start(&consume);
        let waits = async { while place.run(&["groups", "show", "billing"]).await.code != Some(0) {} };
        within("the group", waits).await;
        place.done(&["publish", "order", "1", "placed", "--id", "e1"]).await;
        let mut deaths = 0;
        loop {
            let tries = std::fs::read_to_string(&got).map_or(0, |text| text.lines().count());
            let came = async {
                loop {
                    if std::fs::read_to_string(&got).map_or(0, |text| text.lines().count()) > tries {
                        return true;
                    }
                    if place.json(&["groups", "show", "billing", "--json"]).await[0]["parked"] == 1 {
                        return false;
                    }
                }
            };
            if !within("a delivery, or the end of them", came).await {
                break;
            }
            deaths += 1;
            assert!(deaths < 8, "it goes round for ever");
            let address = hub.kill().await;
            // Nobody is there to see it: one that goes on has the event in hand still.
            consumer.kill().await;
            hub = place.hub_at(&address, &options).await;
            consumer = place.start(&consume);
        }
        let why = place.done(&["why", "e1"]).await;
        assert!(why.contains("suspect"), "{why}");
        consumer.kill().await;
        hub.terminate().await;
    });
}
