//! Effects and the settlement of the event that they follow from: all in one transaction, or nothing.

use db::{
    Append, Cancelled, Due, Effects, Group, PendingNews, Schedule, ScheduleState, ScheduleWish, Settlements,
    SlotMove, Which, WriteError, Writer,
};
use eventflow_tests::database::Killer;
use eventflow_tests::events::{at, event, id, name, shop, with_data, with_id};
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::message::{Appended, Link, Stored};
use proto::{Expectation, Expected, NewEvent, Position, Refusal, Start, Version};

use super::groups::{retry, settlements, success, wish};

/// A log of `parents` events of as many processes at 1, 2, 3, …, and a group that is to handle them.
async fn parents(database: &TestDatabase, parents: u64) -> (Log, Group) {
    let log = Log::open(database).await;
    for n in 1..=parents {
        log.publish_one(with_id(&format!("p{n}"), "order", &pid(n), "placed")).await;
    }
    let group = log.writer.group(wish("bill", Start::Beginning)).await.unwrap();
    (log, group)
}

fn pid(parent: u64) -> String {
    format!("pid-{parent}")
}

/// The settlement of the parent at this position.
fn settles(group: &Group, position: u64) -> Settlements {
    let slot = proto::slot(&name("order"), &name(&pid(position)));
    settlements(group, slot, 0, vec![success(slot, position, position, 1)])
}

fn appending(events: Vec<NewEvent>) -> Effects {
    let publishers = vec![Some(shop()); events.len()];
    Effects::new(Append::new(events, publishers, at(0), Vec::new()))
}

fn child(parent: u64) -> NewEvent {
    with_id(&format!("c{parent}"), "bill", &pid(parent), "billed")
}

fn later(what: &str, key: Option<&str>, due: i64) -> ScheduleWish {
    let event = with_id(what, "remind", "1", "due");
    ScheduleWish { event, publisher: shop(), due: at(due), key: key.map(name), now: at(0) }
}

async fn chain(
    writer: &Writer,
    group: &Group,
    parent: u64,
    events: Vec<NewEvent>,
) -> Result<Vec<Appended>, WriteError> {
    writer.chain(appending(events), settles(group, parent)).await
}

/// Positions that are settled in the group, in order.
async fn settled(log: &Log, group: &Group) -> Vec<u64> {
    let runs = log.reader.settled(group.id, Position(0), 1_000).await.unwrap();
    runs.iter().flat_map(|run| run.first.0..=run.last.0).collect()
}

async fn names(log: &Log) -> Vec<String> {
    log.everything().await.iter().map(|event| event.id.to_string()).collect()
}

async fn schedule(log: &Log, of: &str) -> Option<Schedule> {
    log.reader.schedule(&Which::Id(id(of))).await.unwrap()
}

fn is_refused(answer: &Result<Vec<Appended>, WriteError>) -> bool {
    matches!(answer, Err(WriteError::Refused(_)))
}

on_every_engine! {
    async fn an_event_and_the_settlement_of_its_parent_are_stored_together(database: &TestDatabase) {
        let (mut log, group) = parents(database, 2).await;
        let appended = chain(&log.writer, &group, 2, vec![child(2), event("bill", "x", "persisted")]).await.unwrap();
        assert_eq!(appended.iter().map(|one| (one.position.0, one.stored)).collect::<Vec<_>>(), [(3, Stored::Now), (4, Stored::Now)]);
        assert_eq!(settled(&log, &group).await, [2]);
        // Whoever passes commits on hears of it like of any append.
        let mut told = Vec::new();
        while told.len() < 4 {
            told.extend(log.committed_events().await.iter().map(|event| event.position.0));
        }
        assert_eq!(told, [1, 2, 3, 4]);
        log.close().await;
    }

    async fn a_chain_that_is_asked_for_again_stores_nothing_twice(database: &TestDatabase) {
        let (log, group) = parents(database, 1).await;
        let once = |expected| {
            let expectations = vec![Expectation { domain: name("bill"), pid: name("pid-1"), expected }];
            let effects = Effects::new(Append::new(vec![child(1)], vec![Some(shop())], at(0), expectations));
            log.writer.chain(effects, settles(&group, 1))
        };
        let first = once(Expected::None).await.unwrap();
        for _ in 0..3 {
            let again = once(Expected::None).await.unwrap();
            assert_eq!((again[0].position, again[0].stored), (first[0].position, Stored::Before));
        }
        assert_eq!(names(&log).await, ["p1", "c1"]);
        let slot = log.reader.groups(None, 10).await.unwrap()[0].slots.iter().map(|slot| slot.succeeded).sum::<u64>();
        assert_eq!(slot, 1, "it was counted once");
        // Another chain for the same event is not the same again.
        assert!(is_refused(&chain(&log.writer, &group, 1, vec![event("bill", "1", "other")]).await));
        assert_eq!(names(&log).await, ["p1", "c1"]);
        log.close().await;
    }

    async fn a_child_that_is_stored_already_is_no_obstacle(database: &TestDatabase) {
        let (log, group) = parents(database, 1).await;
        log.publish_one(child(1)).await;
        let appended = chain(&log.writer, &group, 1, vec![child(1)]).await.unwrap();
        assert_eq!((appended[0].position, appended[0].stored), (Position(2), Stored::Before));
        assert_eq!(settled(&log, &group).await, [1]);
        log.close().await;
    }

    async fn a_refused_chain_leaves_nothing_and_its_neighbours_alone(database: &TestDatabase) {
        let (log, group) = parents(database, 60).await;
        log.publish_one(with_id("taken", "bill", "0", "billed")).await;
        let taken = with_data(with_id("taken", "bill", "0", "billed"), "[1]");
        let chains = (1..=60).map(|parent| {
            let (writer, group, taken) = (log.writer.clone(), &group, taken.clone());
            async move {
                let wrong = Expectation { domain: name("order"), pid: name(&pid(parent)), expected: Expected::None };
                let effects = match parent % 3 {
                    0 => appending(vec![child(parent), taken]),
                    1 => Effects::new(Append::new(vec![child(parent)], vec![Some(shop())], at(0), vec![wrong])),
                    _ => appending(vec![child(parent)]),
                };
                writer.chain(effects, settles(group, parent)).await
            }
        });
        let answers = within("all answers", join_all(chains)).await;
        for (parent, answer) in (1..).zip(&answers) {
            match parent % 3 {
                0 => assert!(matches!(answer, Err(WriteError::Refused(Refusal::Conflict { .. }))), "{parent}: {answer:?}"),
                1 => assert!(matches!(answer, Err(WriteError::Refused(Refusal::WrongVersion { .. }))), "{parent}: {answer:?}"),
                _ => assert!(answer.is_ok(), "{parent}: {answer:?}"),
            }
        }
        let granted: Vec<_> = (1..=60).filter(|parent| parent % 3 == 2).collect();
        assert_eq!(settled(&log, &group).await, granted);
        let mut children: Vec<_> = names(&log).await.split_off(61);
        children.sort();
        let mut expected: Vec<_> = granted.iter().map(|parent| format!("c{parent}")).collect();
        expected.sort();
        assert_eq!(children, expected);
        log.close().await;
    }

    async fn a_chain_of_a_slot_that_is_another_hubs_leaves_nothing(database: &TestDatabase) {
        let (log, group) = parents(database, 3).await;
        let mut stale = settles(&group, 1);
        stale.moves = vec![SlotMove { epoch: stale.moves[0].epoch + 1, ..stale.moves[0] }];
        let other = log.writer.group(wish("other", Start::Beginning)).await.unwrap();
        let with_schedule = appending(vec![]).schedule(later("s1", None, 1_000));
        let (one, two, three) = within("the answers", futures::future::join3(
            log.writer.chain(appending(vec![child(1)]), stale.clone()),
            chain(&log.writer, &other, 2, vec![child(2)]),
            log.writer.chain(with_schedule, stale),
        )).await;
        assert_eq!(one, Err(WriteError::Fenced { group: group.id }));
        assert!(two.is_ok(), "a neighbour of another group: {two:?}");
        assert_eq!(three, Err(WriteError::Fenced { group: group.id }));
        assert_eq!(names(&log).await, ["p1", "p2", "p3", "c2"]);
        assert_eq!((settled(&log, &group).await, schedule(&log, "s1").await), (vec![], None));
        log.close().await;
    }

    async fn schedules_cancellations_and_links_take_effect_with_the_settlement(database: &TestDatabase) {
        let (mut log, group) = parents(database, 2).await;
        log.writer.schedule(later("old", Some("remind"), 5_000)).await.unwrap();
        log.writer.schedule(later("gone", None, 5_000)).await.unwrap();
        let effects = || {
            appending(vec![child(1)])
                .schedule(later("new", Some("remind"), 9_000))
                .cancel(Which::Id(id("gone")))
                .cancel(Which::Id(id("never was")))
                .link(Link::AddEid(id("c1"), name("customer")))
        };
        for stored in [Stored::Now, Stored::Before, Stored::Before] {
            let appended = log.writer.chain(effects(), settles(&group, 1)).await.unwrap();
            assert_eq!((appended[0].position, appended[0].stored), (Position(3), stored));
        }
        assert_eq!(schedule(&log, "new").await.unwrap().state, ScheduleState::Pending);
        assert!(matches!(schedule(&log, "old").await.unwrap().state, ScheduleState::Cancelled { .. }));
        assert!(matches!(schedule(&log, "gone").await.unwrap().state, ScheduleState::Cancelled { .. }));
        assert_eq!(log.everything().await[2].eids, [name("customer")]);
        assert_eq!(settled(&log, &group).await, [1]);
        let mut told = Vec::new();
        while told.len() < 3 {
            told.extend(log.committed_events().await.iter().map(|event| event.position.0));
        }
        assert_eq!(told, [1, 2, 3], "its event is told once");
        // The version that it made is known to the next append.
        assert_eq!(log.publish_one(event("bill", "pid-1", "paid")).await.version, Version(2));
        log.close().await;
    }

    async fn whoever_fires_schedules_is_told_of_those_of_chains(database: &TestDatabase) {
        let (mut log, group) = parents(database, 2).await;
        let mut news = log.commits.pending_schedules().unwrap();
        let refused = appending(vec![]).schedule(later("no", None, 1_000)).link(Link::AddEid(id("nobody"), name("x")));
        assert!(is_refused(&log.writer.chain(refused, settles(&group, 1)).await));
        let effects = appending(vec![child(1)]).schedule(later("s1", None, 1_000));
        log.writer.chain(effects, settles(&group, 1)).await.unwrap();
        let told = within("the news", news.next()).await;
        assert_eq!(told, Some(PendingNews::Pending(Due { at: at(1_000), id: id("s1") })));
        log.close().await;
    }

    async fn a_change_that_is_refused_takes_everything_with_it(database: &TestDatabase) {
        let (log, group) = parents(database, 2).await;
        log.writer.schedule(later("taken", None, 5_000)).await.unwrap();
        let cases = [
            appending(vec![child(1)]).schedule(later("s", None, 1)).link(Link::AddEid(id("nobody"), name("x"))),
            appending(vec![child(1)]).cancel(Which::Id(id("taken"))).schedule(later("taken", None, 6_000)),
            appending(vec![with_data(with_id("p2", "order", "1", "no"), "[1]")]).schedule(later("s", None, 1)),
        ];
        for effects in cases {
            let answer = log.writer.chain(effects, settles(&group, 1)).await;
            assert!(is_refused(&answer), "{answer:?}");
        }
        assert_eq!(names(&log).await, ["p1", "p2"]);
        assert_eq!((settled(&log, &group).await, schedule(&log, "s").await), (vec![], None));
        let cancelled = log.writer.cancel(Which::Id(id("taken")), at(1)).await;
        assert_eq!(cancelled, Ok(Cancelled::Cancelled), "it was still pending");
        log.close().await;
    }

    async fn an_expectation_holds_also_without_an_event(database: &TestDatabase) {
        let (log, group) = parents(database, 2).await;
        let expecting = |expected| {
            let expectations = vec![Expectation { domain: name("order"), pid: name("pid-1"), expected }];
            Effects::new(Append::new(Vec::new(), Vec::new(), at(0), expectations))
        };
        let wrong = log.writer.chain(expecting(Expected::None), settles(&group, 1)).await;
        assert!(matches!(wrong, Err(WriteError::Refused(Refusal::WrongVersion { .. }))), "{wrong:?}");
        assert!(settled(&log, &group).await.is_empty());
        let right = log.writer.chain(expecting(Expected::Exactly(Version(1))), settles(&group, 1)).await;
        assert_eq!((right, settled(&log, &group).await), (Ok(vec![]), vec![1]));
        log.close().await;
    }

    async fn effects_go_with_the_settlement_of_one_event(database: &TestDatabase) {
        let (log, group) = parents(database, 2).await;
        let mut none = settles(&group, 1);
        none.runs.clear();
        let mut retried = settles(&group, 1);
        retried.retries.push(retry(1, 1));
        for wrong in [none, retried] {
            assert!(is_refused(&log.writer.chain(appending(vec![child(1)]), wrong).await));
        }
        assert_eq!(names(&log).await, ["p1", "p2"]);
        log.close().await;
    }

    async fn what_the_database_does_not_take_is_refused_and_harms_nobody(database: &TestDatabase) {
        let (log, group) = parents(database, 3).await;
        database.execute("ALTER TABLE event_eid RENAME TO event_eid_away").await;
        let linked = eventflow_tests::events::with_eids(child(1), &["x"]);
        let (bad, good) = within("the answers", futures::future::join(
            chain(&log.writer, &group, 1, vec![linked.clone()]),
            chain(&log.writer, &group, 2, vec![child(2)]),
        )).await;
        assert!(is_refused(&bad), "{bad:?}");
        assert!(good.is_ok(), "{good:?}");
        let alone = appending(vec![linked.clone()]).schedule(later("s", None, 1));
        let alone = within("an answer", log.writer.chain(alone, settles(&group, 3))).await;
        assert!(is_refused(&alone), "{alone:?}");
        database.execute("ALTER TABLE event_eid_away RENAME TO event_eid").await;
        assert!(chain(&log.writer, &group, 1, vec![linked]).await.is_ok());
        assert_eq!(settled(&log, &group).await, [1, 2]);
        log.close().await;
    }

    async fn chains_over_connections_that_are_cut_all_the_time_take_effect_once(database: &TestDatabase) {
        let Some(mut killer) = Killer::on(database).await else { return };
        let (log, group) = parents(database, 160).await;
        let chaining = join_all((0..8u64).map(|member| {
            let (writer, group) = (log.writer.clone(), &group);
            async move {
                for parent in (1..=160).filter(|parent| parent % 8 == member) {
                    // A part of them in a transaction of its own.
                    let effects = || match parent % 5 {
                        0 => appending(vec![child(parent)]).schedule(later(&format!("s{parent}"), None, 1)),
                        _ => appending(vec![child(parent)]),
                    };
                    let mut answer = writer.chain(effects(), settles(group, parent)).await;
                    while matches!(answer, Err(WriteError::Unavailable { .. })) {
                        answer = writer.chain(effects(), settles(group, parent)).await;
                    }
                    answer.unwrap();
                }
            }
        }));
        let killing = async {
            for _ in 0..15 {
                killer.cut_all().await;
            }
        };
        within("members and killer", futures::future::join(chaining, killing)).await;
        assert_eq!(settled(&log, &group).await, (1..=160).collect::<Vec<_>>());
        let children = names(&log).await.split_off(160);
        let different: std::collections::BTreeSet<_> = children.iter().collect();
        assert_eq!((children.len(), different.len()), (160, 160));
        let count = log.reader.groups(None, 10).await.unwrap()[0].slots.iter().map(|slot| slot.succeeded).sum::<u64>();
        assert_eq!(count, 160);
        log.close().await;
    }
}
