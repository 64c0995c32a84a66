//! Schedules through the hub: fired once, when they are due, whatever is killed; answered truthfully.

use std::time::Duration;

use eventflow_tests::events::{name, with_id};
use eventflow_tests::process::Place;
use eventflow_tests::{TestDatabase, TestHub, on_every_engine, within};
use futures::future::join;
use proto::{Position, Refusal, Timestamp};
use serde_json::Value;
use spoke::schedule::{
    Recurrence, Rule, ScheduleError, ScheduleKey, ScheduleScope, ScheduleState, Standing, Timing,
};
use spoke::{Delivery, Event, Failure, Spoke, Stored};

/// Rounds of a race.
const ROUNDS: usize = 1_000;

fn key(text: &str) -> ScheduleKey {
    name(text)
}

fn now() -> Timestamp {
    hub::Clock::system().now()
}

/// In an hour.
fn later() -> Timestamp {
    now().plus(Duration::from_secs(3_600))
}

fn every(millis: u64) -> Recurrence {
    Recurrence::new(Rule::Every { millis })
}

fn reminder(id: &str) -> spoke::NewEvent {
    with_id(id, "order", id, "reminded")
}

async fn fired(spoke: &Spoke, pid: &str) -> Event {
    let wait = spoke.wait(&name("order"), &name(pid)).any_name().within(Duration::from_secs(55));
    within("the schedule", async move { wait.await.unwrap() }).await
}

async fn log(spoke: &Spoke) -> Vec<Event> {
    spoke.log(Position(0)).all().await.unwrap()
}

fn refused(outcome: Result<spoke::schedule::Scheduled, ScheduleError>) -> String {
    match outcome {
        Err(ScheduleError::Refused(refusal)) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

on_every_engine! {
    async fn it_is_published_when_it_is_due_and_in_the_name_of_who_asked(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        let due = now().plus(Duration::from_millis(300));
        let scheduled = spoke.schedule(due, reminder("a")).await.unwrap();
        assert_eq!((scheduled.stored, scheduled.due, scheduled.timing), (Stored::Now, due, Timing::Ahead));
        let again = spoke.schedule(due, reminder("a")).await.unwrap();
        assert_eq!(again.stored, Stored::Before);
        let event = fired(&spoke, "a").await;
        assert_eq!((event.id.as_str(), event.publisher), ("a", Some(name("shop"))));
        assert!(event.timestamp >= due, "not before its time: {} {due}", event.timestamp);
        println!("{}: published {:?} after it was due", database.engine().name(), event.timestamp.since(due));
        let report = spoke.show_schedule(event.id).await.unwrap();
        assert!(matches!(report.state, ScheduleState::Fired { position: Position(1), .. }), "{report:?}");
        hub.stop().await;
    }

    async fn a_time_that_has_passed_means_at_once_and_the_answer_says_so(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        let past = Timestamp::parse("1999-12-31T23:59:59Z").unwrap();
        let scheduled = spoke.schedule(past, reminder("a")).await.unwrap();
        assert_eq!((scheduled.timing, scheduled.due), (Timing::Passed, past));
        fired(&spoke, "a").await;
        hub.stop().await;
    }

    async fn what_cannot_be_is_refused_with_what_to_do(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        let far = now().plus(Duration::from_secs(11 * 366 * 86_400));
        assert!(refused(spoke.schedule(far, reminder("a")).await).contains("more than ten years ahead"));
        let cron = |expression: &str, zone: &str| {
            Recurrence::new(Rule::Cron { expression: name(expression), zone: name(zone) })
        };
        let recurring = |recurrence| spoke.schedule(now(), reminder("a")).recurring(recurrence);
        let zone = refused(recurring(cron("0 3 * * *", "Europe/Stokholm")).await);
        assert!(zone.contains("Europe/Stockholm"), "{zone}");
        assert!(refused(recurring(cron("0 0 30 2 *", "UTC")).await).contains("never comes"));
        assert!(refused(recurring(cron("0 0 30 2", "UTC")).await).contains("no cron expression"));
        assert!(refused(recurring(every(0)).await).contains("not possible"));
        let bad = spoke.schedule(now(), with_bad_data()).await;
        assert!(matches!(bad, Err(ScheduleError::Event { .. })), "{bad:?}");
        assert_eq!(spoke.cancel_schedule(key("none")).await.unwrap(), Standing::Unknown);
        assert_eq!(spoke.pause_schedule(key("none")).await.unwrap(), Standing::Unknown);
        assert_eq!(database.number("SELECT COUNT(*) FROM event_scheduled").await, 0);
        hub.stop().await;
    }

    async fn another_schedule_with_the_same_id_is_a_conflict_that_says_so(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        spoke.schedule(later(), reminder("a")).await.unwrap();
        let other = spoke.schedule(later().plus(Duration::from_secs(1)), reminder("a")).await;
        assert!(matches!(&other, Err(ScheduleError::Refused(Refusal::Conflict { position: Position(0), .. }))), "{other:?}");
        assert!(refused(other).contains("scheduled already"));
        let series = spoke.schedule(later(), reminder("a")).recurring(every(5_000)).await;
        assert!(refused(series).contains("scheduled already"));
        hub.stop().await;
    }

    async fn what_is_paused_is_not_published_before_it_is_resumed(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        let due = later();
        spoke.schedule(due, reminder("a")).key(key("k")).await.unwrap();
        assert_eq!(spoke.pause_schedule(key("k")).await.unwrap(), Standing::Paused);
        assert_eq!(spoke.pause_schedule(key("k")).await.unwrap(), Standing::Paused, "again");
        database.execute("UPDATE event_scheduled SET due = due - 7200000").await;
        hub.restart().await;
        // Whatever is overdue is fired before what is due after it.
        spoke.schedule(now(), reminder("b")).await.unwrap();
        fired(&spoke, "b").await;
        assert_eq!(log(&spoke).await.len(), 1);
        let past = Timestamp::from_millis(due.millis() - 7_200_000).unwrap();
        assert_eq!(spoke.resume_schedule(key("k")).await.unwrap(), Standing::Pending { due: past });
        fired(&spoke, "a").await;
        assert_eq!(spoke.resume_schedule(key("k")).await.unwrap(), Standing::Fired { position: Position(2) });
        assert_eq!(spoke.pause_schedule(key("k")).await.unwrap(), Standing::Fired { position: Position(2) });
        hub.stop().await;
    }

    async fn what_was_due_while_no_hub_ran_is_published_once_at_the_start(database: &TestDatabase) {
        let mut hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        for n in 0..1_200 {
            spoke.schedule(later(), reminder(&format!("e{n:04}"))).await.unwrap();
        }
        database.execute("UPDATE event_scheduled SET due = due - 7200000, pending = pending - 7200000").await;
        hub.crash_and_restart().await;
        fired(&spoke, "e1199").await;
        let events = log(&spoke).await;
        assert_eq!(events.len(), 1_200);
        let ids: Vec<_> = events.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(ids, (0..1_200).map(|n| format!("e{n:04}")).collect::<Vec<_>>(), "in the order of their times");
        hub.stop().await;
    }

    async fn what_a_handler_schedules_with_its_ack_is_published_when_it_is_due(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        // What is due this soon is on the wheel and read from no table any more.
        spoke.schedule(now(), reminder("first")).await.unwrap();
        fired(&spoke, "first").await;
        let due = now().plus(Duration::from_millis(1_500));
        let handler = move |mut delivery: Delivery| async move {
            delivery.schedule(due, None, reminder("later"))?;
            Ok::<(), Failure>(())
        };
        let consumer = spoke.consumer(name("order")).name(name("placed"), handler).start().await.unwrap();
        spoke.publish(with_id("p", "order", "p", "placed")).await.unwrap();
        let event = fired(&spoke, "later").await;
        assert!(event.timestamp >= due);
        assert_eq!(event.rid, Some(name("p")));
        within("the consumer's end", consumer.stop()).await.unwrap();
        hub.stop().await;
    }

    async fn cancelling_and_replacing_while_it_fires_never_gives_two_or_none(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let (spoke, other) = (hub.spoke("shop").await, hub.spoke("other").await);
        let (mut events, mut cancelled, mut replaced) = (0, 0, 0);
        for round in 0..ROUNDS {
            let (first, second) = (format!("a{round}"), format!("b{round}"));
            let due = now().plus(Duration::from_millis(2));
            spoke.schedule(due, reminder(&first)).key(key("k")).await.unwrap();
            let cancel = other.cancel_schedule(key("k"));
            let replace = spoke.schedule(due, reminder(&second)).key(key("k"));
            match round % 3 {
                0 => match cancel.await.unwrap() {
                    Standing::Cancelled => cancelled += 1,
                    Standing::Fired { .. } => events += 1,
                    standing => panic!("{standing:?}"),
                },
                1 => {
                    let scheduled = replace.await.unwrap();
                    // Of the two the second always comes, and the first unless it was replaced.
                    events += 1 + usize::from(scheduled.replaced.is_none());
                    replaced += usize::from(scheduled.replaced.is_some());
                    fired(&spoke, &second).await;
                }
                _ => {
                    let (standing, scheduled) = join(cancel, async { replace.await }).await;
                    let scheduled = scheduled.unwrap();
                    let first_gone = spoke.show_schedule(name::<spoke::EventId>(&first)).await.unwrap().state;
                    let second_gone = match standing.unwrap() {
                        Standing::Cancelled if scheduled.replaced.is_some() => true,
                        Standing::Cancelled => !matches!(first_gone, ScheduleState::Cancelled { .. }),
                        Standing::Fired { .. } => false,
                        standing => panic!("{standing:?}"),
                    };
                    if second_gone {
                        cancelled += 1;
                    } else {
                        fired(&spoke, &second).await;
                        events += 1;
                    }
                    events += usize::from(matches!(first_gone, ScheduleState::Fired { .. }));
                }
            }
        }
        spoke.schedule(now(), reminder("end")).await.unwrap();
        fired(&spoke, "end").await;
        let log = log(&spoke).await;
        assert_eq!(log.len(), events + 1, "as many as the answers said");
        println!("{}: {events} fired, {cancelled} cancelled, {replaced} replaced", database.engine().name());
        hub.stop().await;
    }

    async fn schedules_are_listed_to_the_end_and_told_by_their_state(database: &TestDatabase) {
        let hub = TestHub::start(database).await;
        let spoke = hub.spoke("shop").await;
        let due = later();
        for n in 0..450 {
            spoke.schedule(due, reminder(&format!("e{n:03}"))).await.unwrap();
        }
        spoke.schedule(due, with_id("other", "mail", "1", "sent")).await.unwrap();
        spoke.cancel_schedule(name::<spoke::EventId>("e007")).await.unwrap();
        let pending = spoke.schedules(ScheduleScope::Pending, None).all().await.unwrap();
        assert_eq!(pending.len(), 450);
        assert!(pending.iter().all(|one| one.state == ScheduleState::Pending && one.data.is_none()));
        assert_eq!(spoke.schedules(ScheduleScope::All, None).all().await.unwrap().len(), 451);
        let mail = spoke.schedules(ScheduleScope::Pending, Some(&name("mail"))).all().await.unwrap();
        assert_eq!(mail.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["other"]);
        hub.stop().await;
    }

    async fn the_command_line_does_all_of_it(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        let wait = place.start(&["wait", "order", "1", "--name", "reminded", "--timeout", "50", "--json"]);
        let said = place.done(&["schedule", "add", "order", "1", "reminded", "{\"n\":1}", "--in", "2s", "--id", "e", "--json"]).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((said["id"].as_str(), said["new"].as_bool()), (Some("e"), Some(true)), "{said}");
        assert!(place.done(&["why", "e"]).await.contains("waits for its time"));
        assert!(place.done(&["schedule", "ls", "--domain", "order"]).await.contains("order/1 reminded"));
        let (code, event) = wait.rest().await;
        assert_eq!(code, Some(0));
        let event: Value = serde_json::from_str(&event).unwrap();
        let time = |value: &Value| Timestamp::parse(value.as_str().unwrap()).unwrap();
        let late = time(&event["timestamp"]).since(time(&said["due"]));
        println!("{}: `schedule add --in 2s` was published {late:?} after it was due", database.engine().name());
        assert!(place.done(&["schedule", "show", "e"]).await.contains("was published"));
        assert!(place.done(&["schedule", "ls"]).await.contains("nothing is scheduled"));

        let late = place.run(&["schedule", "cancel", "e"]).await;
        assert_eq!(late.code, Some(1));
        assert!(late.stdout.contains("published already, at position 1"), "{}", late.stdout);
        place.done(&["schedule", "add", "order", "2", "reminded", "--at", "+1h", "--key", "k"]).await;
        place.done(&["schedule", "pause", "--key", "k"]).await;
        place.done(&["schedule", "resume", "--key", "k"]).await;
        place.done(&["schedule", "cancel", "--key", "k"]).await;
        assert_eq!(place.run(&["schedule", "resume", "--key", "k"]).await.code, Some(1));
        let unknown = place.run(&["schedule", "cancel", "nobody"]).await;
        assert_eq!((unknown.code, unknown.stdout.contains("no such schedule")), (Some(1), true));
        assert_eq!(place.run(&["schedule", "add", "order", "1", "reminded"]).await.code, Some(2));
        assert_eq!(place.run(&["schedule", "show", "nobody"]).await.code, Some(1));
        hub.terminate().await;
    }

    async fn a_hub_killed_before_it_is_due_and_started_after_publishes_it_once(database: &TestDatabase) {
        let place = Place::on(database);
        let hub = place.hub(&[]).await;
        place.done(&["schedule", "add", "order", "1", "reminded", "--in", "2h", "--id", "e"]).await;
        let address = hub.kill().await;
        // Three hours pass while no hub runs.
        database.execute("UPDATE event_scheduled SET due = due - 10800000, pending = pending - 10800000").await;
        let hub = place.hub_at(&address, &[]).await;
        let event = place.json(&["wait", "order", "1", "--name", "reminded", "--timeout", "50", "--json"]).await;
        assert_eq!(event[0]["id"].as_str(), Some("e"));
        let address = hub.kill().await;
        let hub = place.hub_at(&address, &[]).await;
        assert_eq!(place.json(&["log", "order", "1", "--json"]).await.len(), 1);
        hub.terminate().await;
    }
}

fn with_bad_data() -> spoke::NewEvent {
    let mut event = reminder("a");
    event.eids = (0..65).map(|n| name(&n.to_string())).collect();
    event
}
