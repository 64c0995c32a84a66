//! Consumer groups as recorded: made once, fenced by epoch, and one settlement for each event.

use std::sync::Arc;

use db::{Aside, Group, GroupWish, Outcome, Retry, Run, Settlements, SlotMove, WriteError};
use eventflow_tests::events::{at, called, event, id, name, with_id};
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use futures::future::join_all;
use proto::{Attempt, NameFilter, Order, Position, Refusal, Start, Topic};

pub(super) fn wish(group: &str, start: Start) -> GroupWish {
    let topic = Topic { domain: name("order"), names: NameFilter::All };
    GroupWish { name: name(group), topic, start, order: Order::ByPid }
}

/// A success of `slot` that covers `first..=last`.
pub(super) fn success(slot: u16, first: u64, last: u64, events: u32) -> Run {
    Run {
        slot,
        first: Position(first),
        last: Position(last),
        events,
        consumer: Arc::from("audit.1"),
        attempts: Attempt(1),
        consumed_hub: at(10),
        consumed_spoke: at(20),
        settled: at(30),
        outcome: Outcome::Success,
    }
}

pub(super) fn retry(position: u64, attempts: u32) -> Retry {
    Retry {
        position: Position(position),
        attempts: Attempt(attempts),
        retry_at: at(1_000),
        reason: "no paper".to_owned(),
        consumer: Arc::from("audit.1"),
        losses: 0,
    }
}

/// Settlements of one slot in the epoch that `group` was read with.
pub(super) fn settlements(group: &Group, slot: u16, cursor: u64, runs: Vec<Run>) -> Settlements {
    let epoch = group.slots[usize::from(slot)].epoch;
    let moves = vec![SlotMove { slot, epoch, cursor: Position(cursor) }];
    Settlements { group: group.id, runs, retries: Vec::new(), moves, aside: Aside::default() }
}

async fn reread(log: &Log, group: &Group) -> Group {
    let groups = log.reader.groups(None, 100).await.unwrap();
    groups.into_iter().find(|found| found.id == group.id).unwrap()
}

/// A log of five events of one process, and a group on it; answers with that process's slot too.
async fn five_events(database: &TestDatabase) -> (Log, Group, u16) {
    let log = Log::open(database).await;
    for n in 1..=5 {
        log.publish_one(with_id(&format!("e{n}"), "order", "a", "placed")).await;
    }
    let group = log.writer.group(wish("audit", Start::Beginning)).await.unwrap();
    (log, group, proto::slot(&name("order"), &name("a")))
}

on_every_engine! {
    async fn a_group_is_made_once_and_then_found(database: &TestDatabase) {
        let log = Log::open(database).await;
        let made = log.writer.group(wish("audit", Start::Beginning)).await.unwrap();
        assert_eq!(made.slots.iter().map(|slot| slot.slot).collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
        let found = log.writer.group(wish("audit", Start::Now)).await.unwrap();
        assert_eq!(found, made, "a group keeps where it started");
        assert_eq!(log.reader.groups(None, 10).await.unwrap(), [made]);
        log.close().await;
    }

    async fn many_wishes_at_once_make_one_group(database: &TestDatabase) {
        let log = Log::open(database).await;
        let wishes = (0..20).map(|_| log.writer.group(wish("audit", Start::Now)));
        let groups: Vec<_> = within("the groups", join_all(wishes)).await.into_iter().map(Result::unwrap).collect();
        assert!(groups.iter().all(|group| *group == groups[0]));
        assert_eq!(log.reader.groups(None, 10).await.unwrap().len(), 1);
        log.close().await;
    }

    async fn a_group_starts_where_it_was_wished_to(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish(vec![event("order", "a", "placed"), event("order", "b", "placed")]).await.unwrap();
        let cases = [
            ("beginning", Start::Beginning, 0),
            ("now", Start::Now, 2),
            ("first", Start::At(Position(1)), 0),
            ("second", Start::At(Position(2)), 1),
            ("zero", Start::At(Position(0)), 0),
        ];
        for (group, start, after) in cases {
            let made = log.writer.group(wish(group, start)).await.unwrap();
            assert_eq!(made.start_after, Position(after), "{group}");
            assert!(made.slots.iter().all(|slot| slot.cursor == Position(after)), "{group}");
        }
        log.close().await;
    }

    async fn one_name_may_stand_for_a_group_in_each_domain(database: &TestDatabase) {
        let log = Log::open(database).await;
        let one = log.writer.group(wish("audit", Start::Now)).await.unwrap();
        let mut other = wish("audit", Start::Now);
        other.topic.domain = name("Order");
        let other = log.writer.group(other).await.unwrap();
        assert_ne!(one.id, other.id);
        log.close().await;
    }

    async fn a_group_keeps_its_topic_and_its_order(database: &TestDatabase) {
        let log = Log::open(database).await;
        let only = |names: &[&str]| NameFilter::of(names.iter().map(|text| called(text))).unwrap();
        let mut first = wish("audit", Start::Now);
        first.topic.names = only(&["placed", "paid"]);
        let made = log.writer.group(first.clone()).await.unwrap();
        assert_eq!(made.topic, first.topic);

        let mut names = first.clone();
        names.topic.names = only(&["placed"]);
        let mut order = first.clone();
        order.order = Order::None;
        for other in [names, order, wish("audit", Start::Now)] {
            let refused = log.writer.group(other).await;
            assert!(matches!(refused, Err(WriteError::Refused(Refusal::Invalid { .. }))), "{refused:?}");
        }
        assert_eq!(log.writer.group(first).await.unwrap(), made);
        log.close().await;
    }

    async fn groups_are_listed_by_name_a_page_at_a_time(database: &TestDatabase) {
        let log = Log::open(database).await;
        let names = ["b", "a", "C", "ä"];
        for group in names {
            log.writer.group(wish(group, Start::Now)).await.unwrap();
        }
        let mut sorted = names;
        sorted.sort_unstable();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let groups = log.reader.groups(after.as_ref(), 1).await.unwrap();
            let Some(last) = groups.last() else { break };
            after = Some(last.name.clone());
            found.extend(groups.iter().map(|group| group.name.to_string()));
        }
        assert_eq!(found, sorted);
        log.close().await;
    }

    async fn a_success_is_counted_and_moves_its_slot(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        log.writer.settle(settlements(&group, slot, 3, vec![success(slot, 1, 3, 3)])).await.unwrap();
        let stands = reread(&log, &group).await.slots[usize::from(slot)];
        assert_eq!((stands.cursor, stands.succeeded, stands.parked), (Position(3), 3, 0));
        let settled = log.reader.settled(group.id, Position(0), 10).await.unwrap();
        assert_eq!(settled.len(), 1);
        assert_eq!((settled[0].slot, settled[0].first, settled[0].last), (slot, Position(1), Position(3)));
        log.close().await;
    }

    async fn a_cursor_never_goes_back(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        log.writer.settle(settlements(&group, slot, 4, vec![success(slot, 1, 3, 3)])).await.unwrap();
        log.writer.settle(settlements(&group, slot, 2, vec![success(slot, 4, 4, 1)])).await.unwrap();
        let stands = reread(&log, &group).await.slots[usize::from(slot)];
        assert_eq!((stands.cursor, stands.succeeded), (Position(4), 4));
        log.close().await;
    }

    async fn an_event_is_settled_once_in_a_group(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        log.writer.settle(settlements(&group, slot, 1, vec![success(slot, 1, 1, 1)])).await.unwrap();
        let again = log.writer.settle(settlements(&group, slot, 1, vec![success(slot, 1, 1, 1)])).await;
        assert_eq!(again, Ok(()), "an answer that got lost may be asked for again");
        let stands = reread(&log, &group).await.slots[usize::from(slot)];
        assert_eq!(stands.succeeded, 1);
        assert_eq!(log.reader.settled(group.id, Position(0), 10).await.unwrap().len(), 1);
        log.close().await;
    }

    async fn a_settlement_of_an_older_epoch_writes_nothing(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        let taken = log.writer.take_groups().await.unwrap();
        let epoch = |group: &Group| group.slots[usize::from(slot)].epoch;
        assert_eq!(epoch(&taken[0]), epoch(&group) + 1);

        let mut stale = settlements(&group, slot, 2, vec![success(slot, 1, 1, 1)]);
        stale.retries.push(retry(2, 1));
        let fenced = log.writer.settle(stale).await;
        assert_eq!(fenced, Err(WriteError::Fenced { group: group.id }));
        assert_eq!(reread(&log, &group).await.slots[usize::from(slot)].cursor, Position(0));
        assert!(log.reader.settled(group.id, Position(0), 10).await.unwrap().is_empty());
        assert!(log.reader.retries(group.id, Position(0), 10).await.unwrap().is_empty());

        log.writer.settle(settlements(&taken[0], slot, 1, vec![success(slot, 1, 1, 1)])).await.unwrap();
        log.close().await;
    }

    async fn a_settlement_of_a_hub_that_lost_the_slot_writes_nothing(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        let other = Log::open_as(database, "other").await;
        let taken = other.writer.take_groups().await.unwrap();
        let fenced = log.writer.settle(settlements(&taken[0], slot, 1, vec![success(slot, 1, 1, 1)])).await;
        assert_eq!(fenced, Err(WriteError::Fenced { group: group.id }), "its epoch, but not its hub");
        other.writer.settle(settlements(&taken[0], slot, 1, vec![success(slot, 1, 1, 1)])).await.unwrap();
        assert_eq!(reread(&log, &group).await.slots[usize::from(slot)].succeeded, 1);
        log.close().await;
        other.close().await;
    }

    async fn one_lost_slot_stops_the_whole_flush_but_not_its_neighbours(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        let mut flush = settlements(&group, slot, 1, vec![success(slot, 1, 1, 1)]);
        let other = (slot + 1) % 64;
        flush.moves.push(SlotMove { slot: other, epoch: 99, cursor: Position(1) });
        let (fenced, published) =
            futures::join!(log.writer.settle(flush), log.publish(vec![event("order", "b", "placed")]));
        assert_eq!(fenced, Err(WriteError::Fenced { group: group.id }));
        assert!(published.is_ok(), "{published:?}");
        assert_eq!(reread(&log, &group).await.slots[usize::from(slot)].succeeded, 0);
        log.close().await;
    }

    async fn a_failed_try_is_kept_until_its_event_is_settled(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        for attempts in 1..=2 {
            let mut failed = settlements(&group, slot, 0, Vec::new());
            failed.retries.push(retry(2, attempts));
            log.writer.settle(failed).await.unwrap();
        }
        assert_eq!(log.reader.retries(group.id, Position(0), 10).await.unwrap(), [retry(2, 2)]);

        log.writer.settle(settlements(&group, slot, 2, vec![success(slot, 1, 1, 1)])).await.unwrap();
        assert_eq!(log.reader.retries(group.id, Position(0), 10).await.unwrap().len(), 1, "not its event");
        let mut third = success(slot, 2, 2, 1);
        third.attempts = Attempt(3);
        log.writer.settle(settlements(&group, slot, 2, vec![third])).await.unwrap();
        assert!(log.reader.retries(group.id, Position(0), 10).await.unwrap().is_empty());
        log.close().await;
    }

    async fn a_parked_event_is_kept_with_its_reason(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        let mut parked = success(slot, 2, 2, 1);
        parked.attempts = Attempt(5);
        parked.outcome = Outcome::Parked { reason: "no paper".to_owned() };
        let mut discarded = success(slot, 3, 3, 1);
        discarded.outcome = Outcome::Discarded { reason: "not wanted".to_owned() };
        log.writer.settle(settlements(&group, slot, 3, vec![success(slot, 1, 1, 1), parked, discarded])).await.unwrap();

        let stands = reread(&log, &group).await.slots[usize::from(slot)];
        assert_eq!((stands.succeeded, stands.parked, stands.discarded), (1, 1, 1));
        assert_eq!(database.number("SELECT COUNT(*) FROM event_parked").await, 1);
        let story = log.reader.story(&id("e2")).await.unwrap();
        assert_eq!(story.settlements.len(), 1);
        assert_eq!(story.settlements[0].attempts, Attempt(5));
        assert_eq!(story.settlements[0].outcome, Outcome::Parked { reason: "no paper".to_owned() });
        log.close().await;
    }

    async fn the_story_of_an_event_inside_a_run_is_told_and_of_one_beside_it_is_not(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        log.publish_one(with_id("other", "order", "of another slot", "placed")).await;
        log.publish_one(with_id("e7", "order", "a", "placed")).await;
        log.writer.settle(settlements(&group, slot, 7, vec![success(slot, 1, 7, 6)])).await.unwrap();
        for told in ["e1", "e3", "e7"] {
            let story = log.reader.story(&id(told)).await.unwrap();
            assert_eq!(story.settlements.len(), 1, "{told}");
            assert_eq!((story.settlements[0].group, story.settlements[0].consumer.as_ref()), (group.id, "audit.1"));
        }
        let story = log.reader.story(&id("other")).await.unwrap();
        assert!(story.settlements.is_empty() && !story.orphan, "{story:?}");
        log.close().await;
    }

    async fn an_orphan_is_recorded_as_one(database: &TestDatabase) {
        let log = Log::open(database).await;
        for n in 1..=4 {
            log.publish_one(with_id(&format!("e{n}"), "order", "a", "placed")).await;
        }
        let run = db::OrphanRun { first: Position(2), last: Position(3), at: at(50) };
        log.writer.orphans(vec![run]).await.unwrap();
        for (told, orphan) in [("e1", false), ("e2", true), ("e3", true), ("e4", false)] {
            assert_eq!(log.reader.story(&id(told)).await.unwrap().orphan, orphan, "{told}");
        }
        log.close().await;
    }

    async fn settled_runs_and_retries_are_read_a_page_at_a_time(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        let runs = [1, 2, 4].map(|position| success(slot, position, position, 1)).to_vec();
        let mut flush = settlements(&group, slot, 2, runs);
        flush.retries = vec![retry(3, 1), retry(5, 2)];
        log.writer.settle(flush).await.unwrap();

        let (mut settled, mut after) = (Vec::new(), Position(0));
        while let [.., last] = &log.reader.settled(group.id, after, 1).await.unwrap()[..] {
            settled.push(last.first.0);
            after = last.first;
        }
        assert_eq!(settled, [1, 2, 4]);
        assert_eq!(log.reader.retries(group.id, Position(0), 1).await.unwrap(), [retry(3, 1)]);
        assert_eq!(log.reader.retries(group.id, Position(3), 1).await.unwrap(), [retry(5, 2)]);
        log.close().await;
    }

    async fn settlements_and_events_share_a_transaction_without_harm(database: &TestDatabase) {
        let (log, group, slot) = five_events(database).await;
        let settling = (1..=5).map(|n| log.writer.settle(settlements(&group, slot, n, vec![success(slot, n, n, 1)])));
        let publishing = (0..50).map(|n| log.publish(vec![event("order", &format!("{n}"), "placed")]));
        let (settled, published) =
            within("all of them", futures::future::join(join_all(settling), join_all(publishing))).await;
        assert!(settled.iter().all(Result::is_ok) && published.iter().all(Result::is_ok));
        assert_eq!(reread(&log, &group).await.slots[usize::from(slot)].succeeded, 5);
        assert_eq!(log.head().await, Position(55));
        log.close().await;
    }
}
