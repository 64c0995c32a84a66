//! What the desk promises, driven through its inputs and effects without a clock or a table.

mod chains;
mod groups;
mod handover;
mod lanes;
mod parked;
mod suspects;

use std::sync::Arc;
use std::time::Duration;

use db::{Group, GroupId, Matching, Outcome, Retry, SettledRun, Settlements, Slot};
use proto::limits::SLOTS_PER_GROUP;
use proto::message::{Answer, Scope, Verdict};
use proto::report::DeliveryState;
use proto::{
    Attempt, Domain, Event, GroupName, ListenerId, NameFilter, Order, Position, SettingsChange, Timestamp,
    Topic,
};

use super::connection::ConnectionId;
use super::desk::{Desk, key};
use super::effect::{Effect, LoadFor};
use super::example::event;
use super::feed::Feed;
use super::group::{Ended, MemberKey, Recovered};
use super::rules::Rules;

const GROUP: GroupId = GroupId(1);

fn member(connection: u64) -> MemberKey {
    key(ConnectionId(connection), ListenerId(1))
}

fn topic() -> Topic {
    Topic { domain: Domain::parse("order").unwrap(), names: NameFilter::All }
}

fn recovered(start_after: u64, order: Order) -> Recovered {
    let slots = (0..SLOTS_PER_GROUP).map(|slot| Slot {
        slot,
        epoch: 1,
        cursor: Position(start_after),
        succeeded: 0,
        parked: 0,
        discarded: 0,
    });
    Recovered {
        group: Group {
            id: GROUP,
            name: GroupName::parse("audit").unwrap(),
            topic: topic(),
            order,
            settings: SettingsChange::default(),
            start_after: Position(start_after),
            slots: slots.collect(),
        },
        runs: Vec::new(),
        retries: Vec::new(),
        pauses: Vec::new(),
        replays: Vec::new(),
        parked_pids: Vec::new(),
        outs: Vec::new(),
        last_act: Timestamp::default(),
    }
}

/// A desk with one group, its time, and the deliveries that are out.
struct Scene {
    desk: Desk,
    now: Timestamp,
    effects: Vec<Effect>,
}

impl Scene {
    fn new(order: Order) -> Self {
        Self::with(recovered(0, order), 0)
    }

    fn with(recovered: Recovered, head: u64) -> Self {
        let now = Timestamp::default();
        let mut desk = Desk::new(Rules::default(), Position(head), now);
        desk.add_group(recovered, now);
        Self { desk, now, effects: Vec::new() }
    }

    fn join(&mut self, connection: u64, credit: u32) {
        self.desk.connected(ConnectionId(connection));
        assert!(self.desk.join(GROUP, member(connection), Arc::from(format!("m{connection}")), credit));
    }

    fn commit(&mut self, events: &[(u64, &str)]) {
        let events = events.iter().map(|&(position, pid)| event(position, pid)).collect();
        self.desk.committed(events, self.now);
    }

    /// Everything that can happen now, as effects.
    fn pump(&mut self) -> Vec<Effect> {
        self.desk.pump(self.now, &mut self.effects);
        std::mem::take(&mut self.effects)
    }

    /// The page that the group asked for is here.
    fn loaded(&mut self, after: u64, events: &[(u64, &str)]) {
        let (reader, page) = (LoadFor::Group(GROUP), page(events));
        self.desk.loaded(reader, Position(after), &page, self.now, &mut self.effects);
    }

    fn wait(&mut self, span: Duration) -> Vec<Effect> {
        self.now = self.now.plus(span);
        self.pump()
    }

    fn answer(&mut self, connection: u64, position: u64, attempt: u32, verdict: Verdict) -> Ended {
        let answer = Answer {
            listener: ListenerId(1),
            position: Position(position),
            attempt: Attempt(attempt),
            verdict,
        };
        self.desk.answered(GROUP, ConnectionId(connection), answer, self.now)
    }

    fn state(&self, event: &Event) -> DeliveryState {
        self.desk.stories(event).remove(0).1.state
    }
}

fn page(events: &[(u64, &str)]) -> Matching {
    let events: Vec<_> = events.iter().map(|&(position, pid)| event(position, pid)).collect();
    let through = events.last().map_or(Position(0), |event| event.position);
    Matching { events, through }
}

fn fail() -> Verdict {
    Verdict::Fail { reason: "no stock".to_owned(), after_ms: None }
}

/// (connection, position, attempt) of every delivery.
fn delivered(effects: &[Effect]) -> Vec<(u64, u64, u32)> {
    let delivery = |effect: &Effect| match effect {
        Effect::Deliver { connection, attempt, event, .. } => {
            Some((connection.0, event.position.0, attempt.0))
        }
        _ => None,
    };
    effects.iter().filter_map(delivery).collect()
}

fn settlements(effects: Vec<Effect>) -> Vec<Settlements> {
    let settled = |effect| match effect {
        Effect::Settle(settlements) => Some(settlements),
        _ => None,
    };
    effects.into_iter().filter_map(settled).collect()
}

#[test]
fn one_event_of_a_process_is_out_at_a_time_and_other_processes_go_on() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1), (1, 3, 1)]);
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Succeeded);
    assert_eq!(delivered(&scene.pump()), [(1, 2, 1)]);
}

#[test]
fn an_unordered_group_sends_events_of_one_process_together() {
    let mut scene = Scene::new(Order::None);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a")]);
    assert_eq!(delivered(&scene.pump()).len(), 2);
}

#[test]
fn an_ack_for_an_earlier_attempt_changes_nothing() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a")]);
    scene.pump();
    assert_eq!(scene.answer(1, 1, 1, Verdict::Release), Ended::Released);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 2)]);
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Stale);
    assert_eq!(scene.answer(2, 1, 2, Verdict::Ack), Ended::Stale);
    assert_eq!(scene.answer(1, 1, 2, Verdict::Ack), Ended::Succeeded);
    assert_eq!(scene.answer(1, 1, 2, Verdict::Ack), Ended::Stale);
}

#[test]
fn a_member_never_has_more_than_its_credit() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 2);
    scene.commit(&[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(delivered(&scene.pump()).len(), 2);
    assert_eq!(scene.state(&event(3, "c")), DeliveryState::NoCredit { members: 1 });
    scene.answer(1, 1, 1, Verdict::Ack);
    assert_eq!(delivered(&scene.pump()), [(1, 3, 1)]);
}

#[test]
fn what_a_lost_connection_had_goes_to_another_member_at_once_and_in_order() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b"), (3, "a")]);
    scene.pump();
    scene.join(2, 10);
    scene.desk.gone(ConnectionId(1));
    assert_eq!(delivered(&scene.pump()), [(2, 1, 2), (2, 2, 2)]);
    scene.answer(2, 1, 2, Verdict::Ack);
    assert_eq!(delivered(&scene.pump()), [(2, 3, 1)]);
}

#[test]
fn a_failing_event_is_tried_again_later_then_parked_and_blocks_its_process_only() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "b")]);
    scene.pump();
    scene.answer(1, 3, 1, Verdict::Ack);
    for attempt in 1..Rules::default().attempts_max {
        assert_eq!(scene.answer(1, 1, attempt, fail()), Ended::Failed);
        assert_eq!(delivered(&scene.pump()), []);
        assert!(matches!(scene.state(&event(1, "a")), DeliveryState::RetryAt { .. }));
        assert!(matches!(
            scene.state(&event(2, "a")),
            DeliveryState::BlockedBy { position: Position(1), .. }
        ));
        assert_eq!(delivered(&scene.wait(Duration::from_secs(61))), [(1, 1, attempt + 1)]);
    }
    assert_eq!(scene.answer(1, 1, 5, fail()), Ended::Parked);
    scene.desk.flushed(GROUP, &mut Vec::new());
    let effects = scene.wait(Duration::from_secs(1));
    assert_eq!(delivered(&effects), [(1, 2, 1)]);
    let runs: Vec<_> = settlements(effects).into_iter().flat_map(|flush| flush.runs).collect();
    let parked = runs.iter().find(|run| run.first == Position(1)).expect("it was settled");
    assert_eq!(parked.outcome, Outcome::Parked { reason: "no stock".to_owned() });
    assert_eq!(parked.attempts, Attempt(5));
}

#[test]
fn a_delivery_without_an_answer_fails_at_its_deadline_and_progress_moves_that() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a")]);
    scene.pump();
    scene.wait(Duration::from_secs(40));
    assert_eq!(scene.answer(1, 1, 1, Verdict::Progress), Ended::Progressing);
    scene.wait(Duration::from_secs(40));
    assert!(matches!(scene.state(&event(1, "a")), DeliveryState::InFlight { .. }));
    scene.wait(Duration::from_secs(40));
    assert!(matches!(scene.state(&event(1, "a")), DeliveryState::RetryAt { .. }));
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Stale);
}

#[test]
fn a_member_that_is_late_has_its_credit_back_when_it_answers_after_all() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    scene.commit(&[(1, "a")]);
    scene.pump();
    scene.wait(Duration::from_secs(61));
    assert_eq!(delivered(&scene.wait(Duration::from_secs(61))), []);
    assert_eq!(scene.state(&event(1, "a")), DeliveryState::NoCredit { members: 1 });
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Stale);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 2)]);
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Stale);
    assert_eq!(delivered(&scene.pump()), []);
}

#[test]
fn what_a_late_member_does_not_answer_goes_to_another() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    scene.commit(&[(1, "a")]);
    scene.pump();
    scene.join(2, 1);
    scene.wait(Duration::from_secs(61));
    assert_eq!(delivered(&scene.wait(Duration::from_secs(61))), [(2, 1, 2)]);
}

#[test]
fn outcomes_are_recorded_once_and_the_cursor_follows() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b")]);
    scene.pump();
    scene.answer(1, 1, 1, Verdict::Ack);
    scene.answer(1, 2, 1, Verdict::Ack);
    let first = settlements(scene.wait(Duration::from_millis(20)));
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].runs.iter().map(|run| run.events).sum::<u32>(), 2);
    assert!(first[0].moves.iter().all(|moved| moved.cursor == Position(2)));
    // Until that is recorded nothing else is handed over.
    assert!(settlements(scene.wait(Duration::from_secs(10))).is_empty());
    scene.desk.flushed(GROUP, &mut Vec::new());
    let sweep = settlements(scene.wait(Duration::from_secs(10)));
    assert!(sweep.iter().all(|flush| flush.runs.is_empty()));
    assert!(scene.desk.reports(None)[0].0.succeeded == 2);
}

#[test]
fn a_member_has_left_only_when_its_answers_are_recorded() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b")]);
    scene.pump();
    scene.answer(1, 1, 1, Verdict::Ack);
    let mut effects = Vec::new();
    scene.desk.leave(member(1), Some(GROUP), &mut effects);
    assert!(effects.is_empty());
    assert_eq!(settlements(scene.pump()).len(), 1);
    scene.desk.flushed(GROUP, &mut effects);
    assert!(matches!(effects[..], [Effect::Left { .. }]));
    scene.join(2, 10);
    assert_eq!(delivered(&scene.pump()), [(2, 2, 2)]);
}

#[test]
fn after_a_restart_settled_events_stay_settled_and_failures_are_remembered() {
    let mut before = recovered(0, Order::ByPid);
    let slot = event(2, "b").slot();
    before.runs.push(SettledRun { slot, first: Position(2), last: Position(2) });
    before.retries.push(Retry {
        position: Position(3),
        attempts: Attempt(4),
        retry_at: Timestamp::default().plus(Duration::from_secs(5)),
        reason: "no stock".to_owned(),
        consumer: Arc::from("m0"),
        losses: 0,
    });
    let mut scene = Scene::with(before, 3);
    scene.join(1, 10);
    assert!(matches!(scene.pump()[..], [Effect::Load { after: Position(0), .. }]));
    scene.loaded(0, &[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1)]);
    assert_eq!(delivered(&scene.wait(Duration::from_secs(6))), [(1, 3, 5)]);
    assert_eq!(scene.answer(1, 3, 5, fail()), Ended::Parked);
}

#[test]
fn a_page_for_a_group_that_was_given_up_is_not_the_one_that_it_reads_now() {
    let mut scene = Scene::with(recovered(4, Order::ByPid), 8);
    scene.join(1, 10);
    assert!(matches!(scene.pump()[..], [Effect::Load { after: Position(4), .. }]));
    scene.desk.drop_group(GROUP);
    scene.desk.add_group(recovered(0, Order::ByPid), scene.now);
    scene.join(1, 10);
    assert!(matches!(scene.pump()[..], [Effect::Load { after: Position(0), .. }]));
    scene.loaded(4, &[(5, "e"), (8, "h")]);
    assert_eq!(delivered(&scene.pump()), []);
    scene.loaded(0, &[(1, "a"), (5, "e")]);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1), (1, 5, 1)]);
}

#[test]
fn a_group_without_members_holds_nothing_and_says_so() {
    let mut scene = Scene::new(Order::ByPid);
    scene.commit(&[(1, "a")]);
    assert!(scene.pump().is_empty());
    assert_eq!(scene.state(&event(1, "a")), DeliveryState::NoMember);
    scene.join(1, 1);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1)]);
}

#[test]
fn a_long_process_is_read_again_rather_than_kept() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&(1..=40).map(|position| (position, "a")).collect::<Vec<_>>());
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1)]);
    for position in 1..=16 {
        scene.answer(1, position, 1, Verdict::Ack);
        let effects = scene.pump();
        if position == 16 {
            let asked =
                effects.iter().any(|effect| matches!(effect, Effect::Fetch { position: Position(17), .. }));
            assert!(asked, "{effects:?}");
        }
    }
    let page: Vec<_> = (17..=32).map(|position| event(position, "a")).collect();
    scene.desk.fetched(GROUP, Position(17), &page);
    assert_eq!(delivered(&scene.pump()), [(1, 17, 1)]);
}

#[test]
fn a_deleted_event_is_not_delivered_and_blocks_nothing() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    scene.commit(&[(1, "a"), (2, "b"), (3, "b")]);
    scene.pump();
    scene.desk.deleted(&[Position(2)]);
    scene.answer(1, 1, 1, Verdict::Ack);
    assert_eq!(delivered(&scene.pump()), [(1, 3, 1)]);
}

#[test]
fn an_event_that_nobody_wants_is_an_orphan() {
    let mut scene = Scene::with(recovered(2, Order::ByPid), 0);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a")]);
    let effects = scene.wait(Duration::from_secs(1));
    let runs = effects.iter().find_map(|effect| match effect {
        Effect::Orphans(runs) => Some(runs.clone()),
        _ => None,
    });
    let runs = runs.expect("the first two came before the group's start");
    assert_eq!((runs[0].first, runs[0].last, runs.len()), (Position(1), Position(2), 1));
}

#[test]
fn a_subscription_goes_from_the_log_to_live_without_gap_or_repeat() {
    let mut scene = Scene::with(recovered(0, Order::ByPid), 2);
    scene.desk.connected(ConnectionId(9));
    let feed = Feed::new(ConnectionId(9), ListenerId(1), Some(topic()), Scope::Published, Position(0), 3);
    assert!(scene.desk.subscribe(feed));
    assert!(matches!(scene.pump()[..], [Effect::Load { after: Position(0), limit: 3, .. }]));
    scene.commit(&[(3, "a"), (4, "a")]);
    let reader = LoadFor::Feed(ConnectionId(9), ListenerId(1));
    let (mut effects, page) = (Vec::new(), page(&[(1, "a"), (2, "a")]));
    scene.desk.loaded(reader, Position(0), &page, scene.now, &mut effects);
    effects.extend(scene.pump());
    assert_eq!(pushed(&effects), [1, 2, 3]);
    scene.desk.credit(key(ConnectionId(9), ListenerId(1)), None, 10);
    let effects = scene.pump();
    assert_eq!(pushed(&effects), [4]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::CaughtUp { position: Position(4), .. })));
}

#[test]
fn a_subscription_that_wants_nothing_of_what_comes_is_still_told_how_far_it_is() {
    let mut scene = Scene::with(recovered(0, Order::ByPid), 0);
    scene.desk.connected(ConnectionId(9));
    let other = Topic { domain: Domain::parse("invoice").unwrap(), names: NameFilter::All };
    let feed = Feed::new(ConnectionId(9), ListenerId(1), Some(other), Scope::Published, Position(0), 3);
    assert!(scene.desk.subscribe(feed));
    assert_eq!(caught_up(&scene.pump()), [0]);
    scene.commit(&[(1, "a"), (2, "a")]);
    assert_eq!(caught_up(&scene.pump()), Vec::<u64>::new(), "not with each commit");
    assert_eq!(caught_up(&scene.wait(Duration::from_secs(1))), [2]);
    assert_eq!(caught_up(&scene.wait(Duration::from_secs(1))), Vec::<u64>::new(), "it knows");
}

#[test]
fn a_subscription_that_is_told_of_events_knows_by_them_how_far_it_is() {
    let mut scene = Scene::with(recovered(0, Order::ByPid), 0);
    scene.desk.connected(ConnectionId(9));
    let feed = Feed::new(ConnectionId(9), ListenerId(1), Some(topic()), Scope::Published, Position(0), 1);
    assert!(scene.desk.subscribe(feed));
    assert_eq!(caught_up(&scene.pump()), [0]);
    scene.commit(&[(1, "a"), (2, "a")]);
    assert_eq!(pushed(&scene.pump()), [1]);
    // Without credit it is behind, and must not be told otherwise.
    assert_eq!(caught_up(&scene.wait(Duration::from_secs(1))), Vec::<u64>::new());
    scene.desk.credit(key(ConnectionId(9), ListenerId(1)), None, 10);
    assert_eq!(pushed(&scene.pump()), [2]);
    assert_eq!(caught_up(&scene.wait(Duration::from_secs(1))), Vec::<u64>::new());
}

fn caught_up(effects: &[Effect]) -> Vec<u64> {
    let told = |effect: &Effect| match effect {
        Effect::CaughtUp { position, .. } => Some(position.0),
        _ => None,
    };
    effects.iter().filter_map(told).collect()
}

fn pushed(effects: &[Effect]) -> Vec<u64> {
    let push = |effect: &Effect| match effect {
        Effect::Push { event, .. } => Some(event.position.0),
        _ => None,
    };
    effects.iter().filter_map(push).collect()
}

#[test]
fn a_closing_desk_sends_nothing_and_still_records_answers() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    scene.commit(&[(1, "a"), (2, "b")]);
    scene.pump();
    scene.desk.close();
    assert!(!scene.desk.is_quiet());
    scene.answer(1, 1, 1, Verdict::Ack);
    let effects = scene.wait(Duration::from_millis(20));
    assert!(delivered(&effects).is_empty());
    assert_eq!(settlements(effects).len(), 1);
    scene.desk.flushed(GROUP, &mut Vec::new());
    assert!(scene.desk.is_quiet());
}
