//! What people change of groups: settings, pauses, removal, each with a line in the journal.

use db::{ChangedGroup, GroupAct, GroupChange, Swept, WriteError};
use eventflow_tests::events::{event, name};
use eventflow_tests::{Log, TestDatabase, on_every_engine, within};
use proto::limits::PAUSED_PIDS_PER_GROUP_MAX;
use proto::{Order, ParkPolicy, Pid, Position, Refusal, SettingsChange, Start};

use super::groups::{settlements, success, wish};

fn change(act: GroupAct) -> GroupChange {
    GroupChange { group: name("audit"), domain: None, agent: "ops/1".to_owned(), act }
}

fn set(settings: SettingsChange) -> GroupChange {
    change(GroupAct::Set(settings))
}

fn pid(text: &str) -> Option<Pid> {
    Some(name(text))
}

async fn changed(log: &Log, act: GroupAct) -> ChangedGroup {
    log.writer.change_groups(change(act)).await.unwrap().remove(0)
}

async fn notes(log: &Log) -> Vec<(String, String)> {
    let notes = log.database.journal().page(0, 100).await.unwrap();
    notes.into_iter().map(|note| (note.agent, note.message)).collect()
}

fn missing<T: std::fmt::Debug>(outcome: Result<T, WriteError>) -> bool {
    matches!(outcome, Err(WriteError::Refused(Refusal::NotFound { .. })))
}

on_every_engine! {
    async fn settings_are_recorded_field_by_field_and_found_again(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.writer.group(wish("audit", Start::Now)).await.unwrap();
        let first = SettingsChange { attempts_max: Some(8), deadline_ms: Some(5_000), ..SettingsChange::default() };
        let second = SettingsChange {
            deadline_ms: Some(6_000),
            park: Some(ParkPolicy::Pid),
            order: Some(Order::None),
            ..SettingsChange::default()
        };
        for settings in [&first, &first, &second] {
            log.writer.change_groups(set(settings.clone())).await.unwrap();
        }
        let expected = first.and(&second);
        let found = log.writer.take_groups().await.unwrap().remove(0);
        assert_eq!((&found.settings, found.order), (&expected, Order::None));
        assert_eq!(log.reader.groups(None, 10).await.unwrap()[0].settings, expected);
        let said = [
            "group audit of order set: attempts 8, deadline in ms 5000",
            "group audit of order set: deadline in ms 6000, unordered, park pid",
        ];
        assert_eq!(notes(&log).await, said.map(|said| ("ops/1".to_owned(), said.to_owned())), "a repetition says nothing");
        // Its members ask for the order that they know of, which a person has changed since.
        assert_eq!(log.writer.group(wish("audit", Start::Now)).await.unwrap().order, Order::None);
        log.close().await;
    }

    async fn a_change_names_a_group_that_exists(database: &TestDatabase) {
        let log = Log::open(database).await;
        let settings = SettingsChange { attempts_max: Some(8), ..SettingsChange::default() };
        assert!(missing(log.writer.change_groups(set(settings.clone())).await));
        log.writer.group(wish("audit", Start::Now)).await.unwrap();
        let mut other = wish("audit", Start::Now);
        other.topic.domain = name("parcel");
        log.writer.group(other).await.unwrap();
        let both = log.writer.change_groups(set(settings.clone())).await.unwrap();
        assert_eq!(both.len(), 2, "a name stands for its groups of all domains");
        let mut one = change(GroupAct::Pause(None));
        one.domain = Some(name("parcel"));
        let one = log.writer.change_groups(one).await.unwrap();
        assert_eq!(one.iter().map(|one| one.group.topic.domain.to_string()).collect::<Vec<_>>(), ["parcel"]);
        for act in [GroupAct::Set(settings), GroupAct::Pause(None), GroupAct::Resume(None), GroupAct::Remove] {
            let mut nowhere = change(act);
            nowhere.domain = Some(name("nowhere"));
            assert!(missing(log.writer.change_groups(nowhere).await));
        }
        log.close().await;
    }

    async fn pauses_are_recorded_once_and_outlive_the_hub(database: &TestDatabase) {
        let log = Log::open(database).await;
        let group = log.writer.group(wish("audit", Start::Now)).await.unwrap();
        let first = changed(&log, GroupAct::Pause(pid("a"))).await;
        let again = changed(&log, GroupAct::Pause(pid("a"))).await;
        assert_eq!(first, again, "it keeps its first pause");
        changed(&log, GroupAct::Pause(None)).await;
        log.close().await;

        let log = Log::open(database).await;
        let pauses = log.reader.pauses(group.id).await.unwrap();
        assert_eq!(pauses.iter().map(|pause| pause.pid.clone()).collect::<Vec<_>>(), [None, pid("a")]);
        assert!(pauses.iter().all(|pause| pause.by == "ops/1"));
        changed(&log, GroupAct::Resume(None)).await;
        let left = changed(&log, GroupAct::Resume(None)).await.pauses;
        assert_eq!(left.iter().map(|pause| pause.pid.clone()).collect::<Vec<_>>(), [pid("a")]);
        assert!(changed(&log, GroupAct::Resume(pid("a"))).await.pauses.is_empty());
        let said: Vec<_> = notes(&log).await.into_iter().map(|(_, message)| message).collect();
        assert_eq!(said, [
            "process a of group audit of order paused",
            "group audit of order paused",
            "group audit of order resumed",
            "process a of group audit of order resumed",
        ]);
        log.close().await;
    }

    async fn there_are_no_more_paused_processes_than_may_be(database: &TestDatabase) {
        let log = Log::open(database).await;
        let group = log.writer.group(wish("audit", Start::Now)).await.unwrap();
        let many = format!(
            "INSERT INTO group_pause (group_id, pid, since, agent)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {PAUSED_PIDS_PER_GROUP_MAX})
             SELECT {}, CONCAT('p', i), 0, 'ops' FROM n",
            group.id
        );
        database.execute(&many).await;
        let refused = log.writer.change_groups(change(GroupAct::Pause(pid("one more")))).await;
        assert!(matches!(refused, Err(WriteError::Refused(Refusal::Invalid { .. }))), "{refused:?}");
        changed(&log, GroupAct::Pause(pid("p7"))).await;
        changed(&log, GroupAct::Pause(None)).await;
        log.close().await;
    }

    async fn a_removed_group_settles_nothing_more_and_its_name_makes_another(database: &TestDatabase) {
        let log = Log::open(database).await;
        log.publish_one(event("order", "a", "placed")).await;
        let group = log.writer.group(wish("audit", Start::Beginning)).await.unwrap();
        let other = log.writer.group(wish("billing", Start::Beginning)).await.unwrap();
        let slot = proto::slot(&name("order"), &name("a"));
        let settle = |group| log.writer.settle(settlements(group, slot, 1, vec![success(slot, 1, 1, 1)]));
        changed(&log, GroupAct::Pause(pid("a"))).await;
        assert_eq!(changed(&log, GroupAct::Remove).await.group.id, group.id);
        assert!(missing(log.writer.change_groups(change(GroupAct::Remove)).await));
        assert!(matches!(settle(&group).await, Err(WriteError::Fenced { .. })), "a flush that was under way");
        settle(&other).await.unwrap();

        let anew = log.writer.group(wish("audit", Start::Beginning)).await.unwrap();
        assert!(anew.id > other.id && anew.slots.iter().all(|slot| slot.cursor == Position(0)));
        assert!(log.reader.pauses(anew.id).await.unwrap().is_empty());
        // Not even the number of the newest comes again.
        changed(&log, GroupAct::Remove).await;
        assert!(log.writer.group(wish("audit", Start::Now)).await.unwrap().id > anew.id);
        log.close().await;
    }

    async fn what_a_removed_group_leaves_goes_page_by_page_also_after_a_restart(database: &TestDatabase) {
        let log = Log::open(database).await;
        let group = log.writer.group(wish("audit", Start::Now)).await.unwrap().id.0;
        let other = log.writer.group(wish("billing", Start::Now)).await.unwrap().id.0;
        let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50),
            r (i) AS (SELECT a.i + 50 * (b.i - 1) FROM n a, n b)";
        for id in [group, other] {
            for insert in [
                format!("event_published (group_id, first_position, last_position, slot, events, hub, consumer, attempts, consumed_hub, consumed_spoke) {many} SELECT {id}, i, i, 1, 1, 'h', 'c', 1, 1, 1 FROM r"),
                format!("event_retry (group_id, position, attempts, retry_at, reason, consumer) {many} SELECT {id}, i, 1, 1, 'r', 'c' FROM r WHERE i <= 10"),
                format!("event_parked (group_id, position, attempts, reason, consumer, parked) {many} SELECT {id}, i, 1, 'r', 'c', 1 FROM r WHERE i <= 10"),
                format!("parked_pid (group_id, pid) {many} SELECT {id}, CONCAT('p', i) FROM r WHERE i <= 2000"),
            ] {
                database.execute(&format!("INSERT INTO {insert}")).await;
            }
        }
        changed(&log, GroupAct::Remove).await;
        assert_eq!(log.writer.sweep_groups().await.unwrap(), Swept::More);
        let left = format!("SELECT COUNT(*) FROM event_published WHERE group_id = {group}");
        assert_eq!(database.number(&left).await, 1_500, "a page is 1,000 rows");
        let pids = format!("SELECT COUNT(*) FROM parked_pid WHERE group_id = {group}");
        assert_eq!(database.number(&pids).await, 2_000, "however many there are, the removal does not wait for them");
        log.close().await;

        let log = Log::open(database).await;
        let sweep = async { while log.writer.sweep_groups().await.unwrap() == Swept::More {} };
        within("the sweep", sweep).await;
        for table in ["event_published", "event_retry", "event_parked", "parked_pid", "consumer_slot"] {
            let count = |id| format!("SELECT COUNT(*) FROM {table} WHERE group_id = {id}");
            assert_eq!(database.number(&count(group)).await, 0, "{table}");
            assert!(database.number(&count(other)).await > 0, "{table} of another group");
        }
        log.close().await;
    }
}
