//! Schedules under race and failure: of two that want one schedule one wins, and each says the truth.

use db::{Cancelled, ScheduleState, ScheduleWish, Shot, Which, WriteError};
use eventflow_tests::database::Killer;
use eventflow_tests::events::{at, event, id};
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::{join, join_all};
use proto::message::Stored;
use proto::{Position, Refusal};

use super::schedules::{by_key, keyed, small};

/// How often each race is run.
const ROUNDS: usize = 1_000;

/// The same of one that ends with a pause for the loser, whose row is there already.
const ROUNDS_WITH_A_PAUSE: usize = 200;

async fn two_hubs(database: &TestDatabase) -> (Log, Log) {
    (Log::open_as(database, "one").await, Log::open_as(database, "other").await)
}

/// Both at once; in every other round the second one is asked first.
async fn race<A, B>(round: usize, first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    if round.is_multiple_of(2) {
        within("both", join(first, second)).await
    } else {
        let (second, first) = within("both", join(second, first)).await;
        (first, second)
    }
}

/// Where the event is that a fire of one schedule was answered with.
fn one(answer: Result<Vec<Shot>, WriteError>) -> Option<Position> {
    answer.unwrap()[0].position()
}

/// Asks `ask` again as long as the database does not answer.
async fn until_answered<T, F: Future<Output = Result<T, WriteError>>>(ask: impl Fn() -> F) -> T {
    loop {
        match ask().await {
            Err(WriteError::Unavailable { .. }) => {}
            other => return other.unwrap_or_else(|error| panic!("{error}")),
        }
    }
}

on_every_engine! {
    async fn of_a_cancellation_and_a_firing_one_comes_first(database: &TestDatabase) {
        let (hub, other) = two_hubs(database).await;
        let mut fired = 0;
        for round in 0..ROUNDS {
            let name = format!("e{round}");
            hub.writer.schedule(small(&name, 5)).await.unwrap();
            let fire = hub.writer.fire(vec![id(&name)], at(9));
            let cancel = other.writer.cancel(Which::Id(id(&name)), at(9));
            let (fire, cancelled) = race(round, fire, cancel).await;
            fired += u64::from(match (one(fire), cancelled.unwrap()) {
                (Some(at), Cancelled::Fired { position }) if at == position => true,
                (None, Cancelled::Cancelled) => false,
                both => panic!("both or none came first: {both:?}"),
            });
            assert_eq!(hub.head().await, Position(fired), "as many events as fires said");
        }
        assert!(fired > 0 && fired < ROUNDS as u64, "nothing was raced for: {fired}");
        hub.close().await;
        other.close().await;
    }

    async fn of_a_replacement_and_a_firing_one_comes_first(database: &TestDatabase) {
        let (hub, other) = two_hubs(database).await;
        let mut fired = 0;
        hub.writer.schedule(keyed("k", small("e0", 5))).await.unwrap();
        for round in 0..ROUNDS {
            let (before, after) = (format!("e{round}"), format!("e{}", round + 1));
            let fire = hub.writer.fire(vec![id(&before)], at(9));
            let replace = other.writer.schedule(keyed("k", small(&after, 5)));
            let (fire, scheduled) = race(round, fire, replace).await;
            fired += u64::from(match (one(fire), scheduled.unwrap().replaced) {
                (Some(_), None) => true,
                (None, Some(replaced)) if replaced == id(&before) => false,
                both => panic!("both or none came first: {both:?}"),
            });
            let newest = hub.reader.schedule(&by_key("k")).await.unwrap().unwrap();
            assert_eq!((newest.id, newest.state), (id(&after), ScheduleState::Pending));
        }
        assert_eq!(hub.head().await, Position(fired), "as many events as fires said");
        assert!(fired > 0 && fired < ROUNDS as u64, "nothing was raced for: {fired}");
        hub.close().await;
        other.close().await;
    }

    async fn two_hubs_that_fire_the_same_append_it_once(database: &TestDatabase) {
        let (hub, other) = two_hubs(database).await;
        for round in 0..ROUNDS as u64 {
            let name = format!("e{round}");
            hub.writer.schedule(small(&name, 5)).await.unwrap();
            let fire = |log: &Log| {
                let writer = log.writer.clone();
                let ids = vec![id(&name)];
                async move { writer.fire(ids, at(9)).await }
            };
            let (first, second) = within("both", join(fire(&hub), fire(&other))).await;
            let said: Vec<_> = [one(first), one(second)].into_iter().flatten().collect();
            assert_eq!(said, [Position(round + 1)]);
        }
        assert_eq!(hub.head().await, Position(ROUNDS as u64));
        hub.close().await;
        other.close().await;
    }

    async fn two_hubs_that_replace_leave_one_pending_and_name_each_other(database: &TestDatabase) {
        let (hub, other) = two_hubs(database).await;
        for round in 0..ROUNDS {
            let key = format!("k{round}");
            let (a, b) = (format!("a{round}"), format!("b{round}"));
            let race = join(
                hub.writer.schedule(keyed(&key, small(&a, 5))),
                other.writer.schedule(keyed(&key, small(&b, 5))),
            );
            let (first, second) = within("both", race).await;
            let newest = match (first.unwrap().replaced, second.unwrap().replaced) {
                (None, Some(replaced)) if replaced == id(&a) => b,
                (Some(replaced), None) if replaced == id(&b) => a,
                both => panic!("not one after the other: {both:?}"),
            };
            assert_eq!(hub.reader.schedule(&by_key(&key)).await.unwrap().unwrap().id, id(&newest));
        }
        let pending = database.number("SELECT COUNT(*) FROM event_scheduled WHERE pending IS NOT NULL").await;
        assert_eq!(pending, ROUNDS as i64);
        hub.close().await;
        other.close().await;
    }

    async fn two_hubs_that_are_asked_for_one_id_store_it_once(database: &TestDatabase) {
        let (hub, other) = two_hubs(database).await;
        for round in 0..ROUNDS_WITH_A_PAUSE {
            let name = format!("e{round}");
            let second_due = if round % 2 == 0 { 5 } else { 6 };
            let race = join(hub.writer.schedule(small(&name, 5)), other.writer.schedule(small(&name, second_due)));
            let answers = within("both", race).await;
            let (answers, stored) = ([answers.0, answers.1], |answer: &Result<db::Scheduled, _>| {
                answer.as_ref().map(|done| done.stored).ok()
            });
            assert_eq!(answers.iter().filter(|answer| stored(answer) == Some(Stored::Now)).count(), 1, "{answers:?}");
            let loser = answers.iter().find(|answer| stored(answer) != Some(Stored::Now)).unwrap();
            let conflict = matches!(loser, Err(WriteError::Refused(Refusal::Conflict { position: Position(0), .. })));
            assert_eq!(conflict, second_due == 6, "{loser:?}");
        }
        hub.close().await;
        other.close().await;
    }

    async fn schedules_and_events_that_queue_together_are_all_stored(database: &TestDatabase) {
        let log = Log::open(database).await;
        let both = (0..400).map(|n| {
            let (log, name) = (&log, format!("e{}", n / 2));
            async move {
                // Each is asked for twice at the same time.
                let scheduled = log.writer.schedule(small(&name, 5)).await.unwrap().stored;
                log.publish_one(event("order", &name, "placed")).await;
                scheduled
            }
        });
        let stored = within("all", join_all(both)).await;
        assert_eq!(stored.iter().filter(|stored| **stored == Stored::Now).count(), 200);
        assert_eq!(log.reader.due(None, at(5), 1_000).await.unwrap().len(), 200);
        assert_eq!(log.head().await, Position(400));
        log.close().await;
    }

    async fn connections_that_are_cut_all_the_time_fire_everything_once(database: &TestDatabase) {
        let Some(mut killer) = Killer::on(database).await else { return };
        let log = Log::open(database).await;
        let asking = join_all((0..8).map(|asker| {
            let writer = log.writer.clone();
            async move {
                for n in 0..12 {
                    let name = format!("{asker}-{n}");
                    let wish = small(&name, 5);
                    let wish = if n % 2 == 0 { keyed(&format!("k{asker}"), wish) } else { ScheduleWish { now: at(n), ..wish } };
                    let scheduled = until_answered(|| writer.schedule(wish.clone())).await;
                    assert_eq!((scheduled.stored, scheduled.replaced), (Stored::Now, None), "{name}");
                    if n % 3 == 0 {
                        let cancelled = until_answered(|| writer.cancel(Which::Id(id(&name)), at(9))).await;
                        assert_eq!(cancelled, Cancelled::Cancelled);
                    } else {
                        let fired = until_answered(|| writer.fire(vec![id(&name)], at(9))).await;
                        assert!(fired[0].position().is_some(), "{name} was fired by nobody else");
                    }
                }
            }
        }));
        let killing = async {
            for _ in 0..20 {
                killer.cut_all().await;
            }
        };
        within("askers and killer", join(asking, killing)).await;
        let events = log.everything().await;
        assert_eq!(events.len(), 8 * 8);
        for (index, event) in events.iter().enumerate() {
            assert_eq!(event.position, Position(index as u64 + 1));
            let schedule = log.reader.schedule(&Which::Id(event.id.clone())).await.unwrap().unwrap();
            assert_eq!(schedule.state, ScheduleState::Fired { at: at(9), position: event.position });
        }
        log.close().await;
    }
}
