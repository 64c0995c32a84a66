//! Parked events as recorded: taken up once, in one transaction, with one outcome for each at any time.

use db::{Act, Aside, Group, Outcome, Replay, Run, Settlements, Unpark, Unparked, WriteError};
use eventflow_tests::events::{at, id, name, with_id};
use eventflow_tests::{Log, TestDatabase, on_every_engine};
use proto::parked::Unparked as Done;
use proto::{Attempt, ParkPolicy, Position, Refusal, Start, Timestamp};

use super::groups::{retry, settlements, success, wish};

/// A log of five events of one process that a group has parked, all or the first.
struct Scene {
    log: Log,
    group: Group,
    slot: u16,
}

fn parked(slot: u16, position: u64) -> Run {
    let mut run = success(slot, position, position, 1);
    run.attempts = Attempt(3);
    run.outcome = Outcome::Parked { reason: format!("no stock of {position}") };
    run
}

impl Scene {
    async fn new(database: &TestDatabase, policy: ParkPolicy) -> Self {
        let log = Log::open(database).await;
        for n in 1..=5 {
            log.publish_one(with_id(&format!("e{n}"), "order", "a", "placed")).await;
        }
        let group = log.writer.group(wish("audit", Start::Beginning)).await.unwrap();
        let slot = proto::slot(&name("order"), &name("a"));
        let mut flush =
            settlements(&group, slot, 5, (1..=5).map(|position| parked(slot, position)).collect());
        if policy == ParkPolicy::Pid {
            flush.aside = Aside {
                blocking: (1..=5).map(Position).collect(),
                pids: vec![name("a")],
                ..Aside::default()
            };
        }
        log.writer.settle(flush).await.unwrap();
        Self { log, group, slot }
    }

    fn unpark(&self, positions: &[u64], act: Act, millis: i64) -> Unpark {
        Unpark {
            group: self.group.id,
            of: "group audit of order".to_owned(),
            events: positions.iter().map(|position| (Position(*position), self.slot)).collect(),
            act,
            at: at(millis),
            agent: "ops/1".to_owned(),
            moves: self.settle(Vec::new()).moves,
        }
    }

    async fn replay(&self, positions: &[u64], millis: i64) -> Unparked {
        self.log.writer.unpark(self.unpark(positions, Act::Replay, millis)).await.unwrap()
    }

    fn settle(&self, runs: Vec<Run>) -> Settlements {
        settlements(&self.group, self.slot, 5, runs)
    }

    async fn counts(&self) -> (u64, u64, u64) {
        let groups = self.log.reader.groups(None, 10).await.unwrap();
        let slot = groups[0].slots[usize::from(self.slot)];
        (slot.succeeded, slot.parked, slot.discarded)
    }

    async fn listed(&self) -> Vec<u64> {
        let rows = self.log.reader.parked(self.group.id, None, Position(0), 100).await.unwrap();
        rows.iter().map(|row| row.position.0).collect()
    }

    async fn replays(&self) -> Vec<u64> {
        let rows = self.log.reader.replays(self.group.id, Position(0), 100).await.unwrap();
        rows.iter().map(|row| row.position.0).collect()
    }
}

fn taken(unparked: &Unparked) -> Vec<u64> {
    unparked.taken.iter().map(|replay| replay.position.0).collect()
}

on_every_engine! {
    async fn a_parked_event_is_listed_with_its_story_a_page_at_a_time(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let reader = &scene.log.reader;
        let rows = reader.parked(scene.group.id, None, Position(0), 2).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.position.0).collect::<Vec<_>>(), [1, 2]);
        let first = &rows[0];
        assert_eq!((&first.id, &first.pid, &first.name), (&id("e1"), &name("a"), &name("placed")));
        assert_eq!((first.attempts, first.reason.as_str(), first.parked), (Attempt(3), "no stock of 1", at(30)));
        assert_eq!(first.policy, ParkPolicy::Event);
        let rest = reader.parked(scene.group.id, Some(&name("a")), Position(2), 100).await.unwrap();
        assert_eq!(rest.iter().map(|row| row.position.0).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(reader.parked(scene.group.id, Some(&name("b")), Position(0), 100).await.unwrap().is_empty());
        scene.log.close().await;
    }

    async fn a_replayed_event_has_no_outcome_until_it_is_settled_once_more(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let unparked = scene.replay(&[2, 4], 100).await;
        assert_eq!(taken(&unparked), [2, 4]);
        assert_eq!(unparked.taken[0], Replay { position: Position(2), pid: name("a"), attempts: Attempt(3) });
        assert_eq!(scene.counts().await, (0, 3, 0));
        assert_eq!((scene.listed().await, scene.replays().await), (vec![1, 3, 5], vec![2, 4]));
        assert!(scene.log.reader.story(&id("e2")).await.unwrap().settlements.is_empty());

        let mut again = scene.settle(vec![success(scene.slot, 2, 2, 1)]);
        again.aside.replayed = vec![Position(2)];
        scene.log.writer.settle(again.clone()).await.unwrap();
        scene.log.writer.settle(again).await.unwrap();
        assert_eq!(scene.counts().await, (1, 3, 0), "an answer that got lost may be asked for again");
        assert_eq!(scene.replays().await, [4]);
        let story = scene.log.reader.story(&id("e2")).await.unwrap();
        assert_eq!(story.settlements.len(), 1);
        assert_eq!(story.settlements[0].outcome, Outcome::Success);
        scene.log.close().await;
    }

    async fn who_takes_a_group_over_knows_when_the_last_act_was(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let last = || async { scene.log.reader.last_act(scene.group.id).await.unwrap() };
        assert_eq!(last().await, Timestamp::default(), "never");
        scene.replay(&[4], 200).await;
        scene.replay(&[2], 100).await;
        assert_eq!(last().await, at(200));
        scene.log.close().await;
    }

    async fn what_was_done_about_a_parked_event_stays_readable(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        scene.replay(&[1], 100).await;
        let history = || async { scene.log.reader.parked_changes(Position(1)).await.unwrap() };
        assert_eq!(history().await[0].done, Done::Replaying);
        let mut failed_again = scene.settle(vec![parked(scene.slot, 1)]);
        failed_again.aside.replayed = vec![Position(1)];
        scene.log.writer.settle(failed_again).await.unwrap();
        let discard = Act::Discard { reason: "a test".to_owned() };
        let unparked = scene.log.writer.unpark(scene.unpark(&[1], discard, 200)).await.unwrap();
        assert_eq!(taken(&unparked), [1]);
        let told = history().await;
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0].done, told[0].at, told[0].agent.as_str()), (&Done::Replayed, at(100), "ops/1"));
        assert_eq!((told[0].attempts, told[0].reason.as_str()), (Attempt(3), "no stock of 1"));
        assert_eq!(told[1].done, Done::Discarded { why: "discarded by ops/1: a test".to_owned() });
        scene.log.close().await;
    }

    async fn who_took_a_parked_event_up_stands_in_the_operators_log(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        scene.replay(&[1, 2], 100).await;
        let entries = scene.log.database.journal().page(0, 100).await.unwrap();
        let entry = entries.iter().find(|entry| entry.agent == "ops/1").unwrap();
        assert_eq!(entry.message, "replayed 2 parked events of group audit of order, positions 1 2");
        scene.log.close().await;
    }

    async fn a_discarded_event_is_settled_as_failed_with_who_and_why(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let discard = Act::Discard { reason: "a test".to_owned() };
        scene.log.writer.unpark(scene.unpark(&[3], discard, 100)).await.unwrap();
        assert_eq!(scene.counts().await, (0, 4, 1));
        let story = scene.log.reader.story(&id("e3")).await.unwrap();
        let why = "discarded by ops/1: a test".to_owned();
        assert_eq!(story.settlements[0].outcome, Outcome::Discarded { reason: why });
        assert_eq!(story.settlements[0].settled, at(100));
        assert!(scene.replays().await.is_empty());
        scene.log.close().await;
    }

    async fn what_is_not_parked_is_passed_over(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        scene.replay(&[1], 100).await;
        assert_eq!(taken(&scene.replay(&[1, 2], 200).await), [2], "1 is being replayed already");
        assert_eq!(taken(&scene.replay(&[99], 300).await), Vec::<u64>::new());
        assert_eq!(scene.counts().await, (0, 3, 0));
        scene.log.close().await;
    }

    async fn the_same_act_again_answers_as_at_first_and_changes_nothing(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let first = scene.replay(&[1, 2], 100).await;
        assert_eq!(scene.replay(&[1, 2], 100).await, first, "its first answer may have been lost");
        assert_eq!(scene.counts().await, (0, 3, 0));
        assert_eq!(scene.log.reader.parked_changes(Position(1)).await.unwrap().len(), 1);
        scene.log.close().await;
    }

    async fn a_hub_that_lost_the_slot_takes_nothing_up(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let other = Log::open_as(database, "other").await;
        other.writer.take_groups().await.unwrap();
        let refused = scene.log.writer.unpark(scene.unpark(&[1], Act::Replay, 100)).await;
        assert!(matches!(refused, Err(WriteError::Refused(Refusal::Unavailable { .. }))), "{refused:?}");
        assert_eq!(scene.counts().await, (0, 5, 0));
        assert_eq!((scene.listed().await.len(), scene.replays().await.len()), (5, 0));
        scene.log.close().await;
        other.close().await;
    }

    async fn a_parked_process_is_parked_from_its_first_event_that_still_is(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Pid).await;
        let pids = || async { scene.log.reader.parked_pids(scene.group.id, None, 10).await.unwrap() };
        assert_eq!(pids().await, [(name("a"), Some(Position(1)))]);
        assert_eq!(scene.replay(&[1, 2], 100).await.pids, [(name("a"), Some(Position(3)))]);
        assert_eq!(pids().await, [(name("a"), Some(Position(3)))]);
        let discard = Act::Discard { reason: "a test".to_owned() };
        scene.log.writer.unpark(scene.unpark(&[3], discard, 200)).await.unwrap();
        assert_eq!(pids().await, [(name("a"), Some(Position(4)))]);
        assert_eq!(scene.replay(&[4, 5], 300).await.pids, [(name("a"), None)]);
        assert!(pids().await.is_empty());
        scene.log.close().await;
    }

    async fn an_event_that_is_deleted_is_not_parked_or_replayed_any_more(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Pid).await;
        scene.replay(&[1], 100).await;
        for deleted in ["e1", "e2"] {
            scene.log.writer.delete_event(id(deleted), "a test").await.unwrap();
        }
        assert_eq!((scene.listed().await, scene.replays().await), (vec![3, 4, 5], vec![]));
        assert!(scene.log.reader.parked_changes(Position(1)).await.unwrap().is_empty());
        scene.log.close().await;
    }

    async fn what_is_deleted_does_not_count_as_parked(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let other = scene.log.writer.group(wish("other", Start::Beginning)).await.unwrap();
        scene.log.writer.settle(settlements(&other, scene.slot, 5, vec![parked(scene.slot, 2)])).await.unwrap();
        let counted = |group: &'static str| {
            let reader = scene.log.reader.clone();
            async move { reader.parked_count(&name(group), &name("order")).await.unwrap() }
        };
        assert_eq!((counted("audit").await, counted("other").await, counted("none").await), (Some(5), Some(1), None));
        scene.log.writer.delete_event(id("e2"), "a test").await.unwrap();
        assert_eq!((counted("audit").await, counted("other").await), (Some(4), Some(0)));
        scene.replay(&[3], 100).await;
        scene.log.writer.delete_eventlog(name("order"), name("a"), "a test").await.unwrap();
        assert_eq!((counted("audit").await, scene.listed().await), (Some(0), vec![]));
        scene.log.close().await;
    }

    async fn an_event_that_is_given_up_after_it_was_deleted_is_not_parked(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let other = scene.log.writer.group(wish("other", Start::Beginning)).await.unwrap();
        scene.log.writer.delete_event(id("e2"), "a test").await.unwrap();
        let given_up = vec![parked(scene.slot, 2), parked(scene.slot, 3)];
        scene.log.writer.settle(settlements(&other, scene.slot, 5, given_up)).await.unwrap();
        let listed = "SELECT COUNT(*) FROM event_parked WHERE position = 2";
        assert_eq!(database.number(listed).await, 0);
        let counted = scene.log.reader.parked_count(&name("other"), &name("order")).await.unwrap();
        assert_eq!((counted, scene.listed().await), (Some(1), vec![1, 3, 4, 5]));
        scene.log.close().await;
    }

    async fn a_failure_that_is_recorded_after_its_event_was_deleted_goes_when_the_group_is_taken(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        scene.log.writer.delete_event(id("e2"), "a test").await.unwrap();
        let mut flush = scene.settle(Vec::new());
        flush.retries = vec![retry(2, 1), retry(3, 1)];
        scene.log.writer.settle(flush).await.unwrap();
        scene.log.writer.take_groups().await.unwrap();
        let left = scene.log.reader.retries(scene.group.id, Position(0), 10).await.unwrap();
        assert_eq!(left.iter().map(|retry| retry.position).collect::<Vec<_>>(), [Position(3)]);
        scene.log.close().await;
    }

    async fn losses_and_what_is_out_are_kept_for_the_next_hub(database: &TestDatabase) {
        let scene = Scene::new(database, ParkPolicy::Event).await;
        let outs = |positions: &[u64]| positions.iter().copied().map(Position).collect::<Vec<_>>();
        let mut flush = scene.settle(Vec::new());
        flush.retries.push(db::Retry { losses: 2, ..retry(5, 1) });
        flush.aside.outs = vec![(scene.slot, outs(&[3, 5]))];
        scene.log.writer.settle(flush).await.unwrap();
        let reader = &scene.log.reader;
        assert_eq!(reader.outs(scene.group.id).await.unwrap(), outs(&[3, 5]));
        assert_eq!(reader.retries(scene.group.id, Position(0), 10).await.unwrap()[0].losses, 2);
        scene.replay(&[1], 100).await;
        assert_eq!(reader.outs(scene.group.id).await.unwrap(), outs(&[3, 5]), "who says nothing changes nothing");
        let mut flush = scene.settle(Vec::new());
        flush.aside.outs = vec![(scene.slot, Vec::new())];
        scene.log.writer.settle(flush).await.unwrap();
        assert!(reader.outs(scene.group.id).await.unwrap().is_empty());
        scene.log.close().await;
    }

    async fn an_act_that_is_cut_in_the_middle_is_done_once_or_not_at_all(database: &TestDatabase) {
        let Some(mut killer) = eventflow_tests::database::Killer::on(database).await else { return };
        let scene = Scene::new(database, ParkPolicy::Pid).await;
        for round in 0..20_u64 {
            let position = 1 + round % 5;
            let act = scene.unpark(&[position], Act::Replay, 1_000 + i64::try_from(round).unwrap());
            let (unparked, ()) = futures::join!(scene.log.writer.unpark(act.clone()), killer.cut_all());
            let unparked = match unparked {
                Ok(unparked) => unparked,
                Err(_) => scene.log.writer.unpark(act).await.unwrap(),
            };
            assert_eq!(taken(&unparked), [position], "round {round}");
            assert_eq!(scene.replays().await, [position], "round {round}");
            assert_eq!(scene.counts().await, (0, 4, 0), "round {round}");
            let mut again = scene.settle(vec![parked(scene.slot, position)]);
            again.aside = Aside {
                replayed: vec![Position(position)],
                blocking: vec![Position(position)],
                pids: vec![name("a")],
                ..Aside::default()
            };
            scene.log.writer.settle(again).await.unwrap();
            assert_eq!((scene.counts().await, scene.replays().await), ((0, 5, 0), vec![]), "round {round}");
        }
        scene.log.close().await;
    }
}
