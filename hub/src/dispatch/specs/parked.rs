//! What the desk promises of parked events: replays, discards, and processes that are parked as a whole.

use db::{Act, Replay, Unparked};
use proto::{ParkPolicy, Pid, Refusal};

use super::*;
use crate::dispatch::group::UnparkWish;

mod acts;

fn park() -> Verdict {
    Verdict::Park { reason: "no stock".to_owned() }
}

fn pid(text: &str) -> Pid {
    Pid::parse(text).unwrap()
}

fn replay(position: u64, of: &str) -> Replay {
    Replay { position: Position(position), pid: pid(of), attempts: Attempt(1) }
}

fn replayed(events: &[(u64, &str)], pids: &[(&str, Option<u64>)]) -> Unparked {
    Unparked {
        taken: events.iter().map(|(position, of)| replay(*position, of)).collect(),
        pids: pids.iter().map(|(of, first)| (pid(of), first.map(Position))).collect(),
    }
}

impl Scene {
    /// A scene whose groups park by `policy`.
    fn parking(policy: ParkPolicy) -> Self {
        let now = Timestamp::default();
        let rules = Rules { park: policy, attempts_max: 2, ..Rules::default() };
        let mut desk = Desk::new(rules, Position(0), now);
        desk.add_group(recovered(0, Order::ByPid), now);
        Self { desk, now, effects: Vec::new() }
    }

    /// The same with these events and one member, who has had the first of them parked.
    fn with_first_parked(policy: ParkPolicy, events: &[(u64, &str)]) -> Self {
        let mut scene = Self::parking(policy);
        scene.join(1, 10);
        scene.commit(events);
        scene.pump();
        assert_eq!(scene.answer(1, 1, 1, park()), Ended::Parked);
        scene.settle();
        scene
    }

    /// Everything that can happen, with all outcomes recorded and all data read at once.
    fn settle(&mut self) -> (Vec<(u64, u64, u32)>, Vec<Settlements>) {
        let (mut out, mut flushes, mut quiet) = (Vec::new(), Vec::new(), 0);
        loop {
            let effects = self.wait(Duration::from_millis(20));
            out.extend(delivered(&effects));
            let (mut recorded, mut fetched) = (false, false);
            for effect in effects {
                match effect {
                    Effect::Settle(flush) => {
                        flushes.push(flush);
                        recorded = true;
                    }
                    Effect::Fetch { pid, position, .. } => {
                        self.desk.fetched(GROUP, position, &[event(position.0, pid.as_str())]);
                        fetched = true;
                    }
                    _ => {}
                }
            }
            if recorded {
                self.desk.flushed(GROUP, &mut Vec::new());
            }
            quiet = if recorded || fetched { 0 } else { quiet + 1 };
            if quiet == 2 {
                return (out, flushes);
            }
        }
    }

    /// Everything that can happen after `span`.
    fn later(&mut self, span: Duration) -> Vec<(u64, u64, u32)> {
        self.now = self.now.plus(span);
        self.settle().0
    }

    fn wish(&mut self, ticket: u64, events: &[(u64, &str)], act: Act) -> Result<(), Refusal> {
        let slot = |(position, of): &(u64, &str)| (Position(*position), event(*position, of).slot());
        let events = events.iter().map(slot).collect();
        self.desk.wish_unpark(GROUP, UnparkWish { ticket, events, act, agent: "ops/1".to_owned() })
    }

    /// Wishes to replay `events`; the tables are at it then.
    fn begin_replay(&mut self, events: &[(u64, &str)]) {
        self.wish(1, events, Act::Replay).unwrap();
        let begun = self.wait(Duration::from_millis(20));
        let is_begun = begun.iter().any(|effect| matches!(effect, Effect::Unpark { ticket: 1, .. }));
        assert!(is_begun, "{begun:?}");
    }

    /// Replays `events`, which the tables have parked; `pids` is what they say of the processes.
    fn replay(&mut self, events: &[(u64, &str)], pids: &[(&str, Option<u64>)]) {
        self.begin_replay(events);
        self.desk.unparked(GROUP, 1, Some(&replayed(events, pids)), self.now);
    }
}

/// What flushes say became of events, by position.
fn outcomes(flushes: &[Settlements]) -> Vec<(u64, Outcome)> {
    let runs = flushes.iter().flat_map(|flush| &flush.runs);
    let mut outcomes: Vec<_> = runs.map(|run| (run.first.0, run.outcome.clone())).collect();
    outcomes.sort_by_key(|(position, _)| *position);
    outcomes
}

fn parked(reason: &str) -> Outcome {
    Outcome::Parked { reason: reason.to_owned() }
}

#[test]
fn a_replayed_event_goes_before_what_its_process_was_not_given_yet_and_behind_what_it_has() {
    let mut scene = Scene::parking(ParkPolicy::Event);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a"), (4, "b")]);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1), (1, 4, 1)]);
    scene.answer(1, 1, 1, park());
    assert_eq!(scene.settle().0, [(1, 2, 1)]);
    scene.replay(&[(1, "a")], &[("a", None)]);
    assert_eq!(scene.settle().0, [], "2 is with a member");
    scene.answer(1, 2, 1, Verdict::Ack);
    assert_eq!(scene.settle().0, [(1, 1, 2)], "1 comes before 3, as another delivery than at first");
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Stale);
    assert_eq!(scene.answer(1, 1, 2, Verdict::Ack), Ended::Succeeded);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [(1, 3, 1)]);
    assert_eq!(flushes[0].aside.replayed, [Position(1)]);
    assert_eq!(outcomes(&flushes), [(1, Outcome::Success)]);
    let report = scene.desk.reports(None).remove(0).0;
    assert_eq!((report.succeeded, report.parked), (2, 0));
}

#[test]
fn a_replayed_event_goes_before_one_that_waits_for_its_note() {
    let mut scene = Scene::with(recovered(1, Order::ByPid), 1);
    scene.desk.beware();
    scene.join(1, 10);
    scene.wish(1, &[(1, "a")], Act::Replay).unwrap();
    scene.pump();
    scene.commit(&[(2, "a")]);
    assert_eq!(delivered(&scene.pump()), [], "2 waits for its note");
    scene.desk.unparked(GROUP, 1, Some(&replayed(&[(1, "a")], &[("a", None)])), scene.now);
    let mut effects = Vec::new();
    scene.desk.flushed(GROUP, &mut effects);
    assert_eq!(delivered(&effects), []);
    assert_eq!(scene.settle().0, [(1, 1, 2)]);
}

#[test]
fn replays_of_one_process_come_in_the_order_of_the_log_whatever_order_they_were_asked_in() {
    let mut scene = Scene::parking(ParkPolicy::Event);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a")]);
    for position in 1..=3 {
        scene.settle();
        scene.answer(1, position, 1, park());
    }
    scene.settle();
    scene.replay(&[(3, "a")], &[("a", None)]);
    scene.replay(&[(1, "a"), (2, "a")], &[("a", None)]);
    for position in 1..=3 {
        assert_eq!(scene.settle().0, [(1, position, 2)]);
        scene.answer(1, position, 2, Verdict::Ack);
    }
    assert_eq!(scene.settle().0, []);
}

#[test]
fn a_replayed_event_goes_before_one_that_was_out_when_it_was_asked_for_and_failed() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Event, &[(1, "a"), (2, "a"), (3, "a")]);
    scene.answer(1, 2, 1, park());
    scene.settle();
    scene.replay(&[(1, "a"), (2, "a")], &[("a", None)]);
    scene.settle();
    scene.answer(1, 3, 1, fail());
    assert_eq!(scene.later(Duration::from_secs(60)), [(1, 1, 2)]);
    scene.answer(1, 1, 2, Verdict::Release);
    assert_eq!(scene.settle().0, [(1, 1, 3)]);
    scene.answer(1, 1, 3, Verdict::Ack);
    assert_eq!(scene.settle().0, [(1, 2, 2)]);
    scene.answer(1, 2, 2, Verdict::Ack);
    assert_eq!(scene.settle().0, [(1, 3, 2)]);
}

#[test]
fn failures_of_a_replayed_event_are_counted_anew_and_it_may_be_parked_again() {
    let mut scene = Scene::parking(ParkPolicy::Event);
    scene.join(1, 10);
    scene.commit(&[(1, "a")]);
    scene.pump();
    scene.answer(1, 1, 1, fail());
    assert_eq!(scene.later(Duration::from_secs(1)), [(1, 1, 2)]);
    scene.answer(1, 1, 2, fail());
    scene.settle();
    scene.begin_replay(&[(1, "a")]);
    let taken = Replay { attempts: Attempt(2), ..replay(1, "a") };
    scene.desk.unparked(GROUP, 1, Some(&Unparked { taken: vec![taken], pids: Vec::new() }), scene.now);
    assert_eq!(scene.settle().0, [(1, 1, 3)]);
    assert_eq!(scene.answer(1, 1, 3, fail()), Ended::Failed, "the first failure of its new life");
    assert_eq!(scene.later(Duration::from_secs(1)), [(1, 1, 4)]);
    assert_eq!(scene.answer(1, 1, 4, fail()), Ended::Parked);
    let (_, flushes) = scene.settle();
    assert_eq!(outcomes(&flushes), [(1, parked("no stock"))]);
    assert_eq!(scene.desk.reports(None).remove(0).0.parked, 1);
}

#[test]
fn an_event_that_waits_for_its_next_try_waits_on_behind_a_replayed_one() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Event, &[(1, "a"), (2, "a")]);
    scene.answer(1, 2, 1, Verdict::Fail { reason: "later".to_owned(), after_ms: Some(60_000) });
    scene.settle();
    scene.replay(&[(1, "a")], &[("a", None)]);
    assert_eq!(scene.settle().0, [(1, 1, 2)]);
    assert!(matches!(scene.state(&event(2, "a")), DeliveryState::BlockedBy { .. }));
    scene.answer(1, 1, 2, Verdict::Ack);
    assert_eq!(scene.settle().0, [], "the wait that its handler asked for goes on");
    assert!(matches!(scene.state(&event(2, "a")), DeliveryState::RetryAt { .. }));
    assert_eq!(scene.later(Duration::from_secs(60)), [(1, 2, 2)]);
}

#[test]
fn after_a_restart_what_is_replayed_is_delivered_once_and_settled_once() {
    let mut before = recovered(0, Order::ByPid);
    before.replays = vec![replay(2, "a")];
    before.retries.push(Retry {
        position: Position(2),
        attempts: Attempt(1),
        retry_at: Timestamp::default(),
        reason: "no stock".to_owned(),
        consumer: Arc::from("m0"),
        losses: 0,
    });
    let mut scene = Scene::with(before, 3);
    scene.join(1, 10);
    let mut out = scene.settle().0;
    scene.loaded(0, &[(1, "b"), (2, "a"), (3, "a")]);
    out.extend(scene.settle().0);
    out.sort_unstable();
    assert_eq!(out, [(1, 1, 1), (1, 2, 3)], "3 waits for the replayed one before it");
    scene.answer(1, 2, 3, Verdict::Ack);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [(1, 3, 1)]);
    assert_eq!(outcomes(&flushes), [(2, Outcome::Success)]);
    assert_eq!(flushes[0].aside.replayed, [Position(2)]);
}

#[test]
fn an_event_that_is_read_after_a_restart_goes_before_a_later_one_of_its_process_that_is_replayed() {
    // As a group leaves it that was unordered when the later one was parked.
    let mut before = recovered(0, Order::ByPid);
    before.replays = vec![replay(2, "a")];
    before.retries.push(Retry {
        position: Position(2),
        attempts: Attempt(1),
        retry_at: Timestamp::default().plus(Duration::from_secs(9)),
        reason: "no stock".to_owned(),
        consumer: Arc::from("m0"),
        losses: 0,
    });
    let mut scene = Scene::with(before, 2);
    scene.join(1, 10);
    assert_eq!(scene.settle().0, []);
    scene.loaded(0, &[(1, "a"), (2, "a")]);
    assert_eq!(scene.settle().0, [(1, 1, 1)]);
    assert_eq!(scene.later(Duration::from_secs(10)), [], "2 waits for 1");
    scene.answer(1, 1, 1, Verdict::Ack);
    assert_eq!(scene.later(Duration::from_secs(10)), [(1, 2, 3)]);
}

#[test]
fn a_replayed_event_that_settles_before_the_log_is_read_again_is_not_taken_from_it() {
    let mut before = recovered(0, Order::ByPid);
    before.replays = vec![replay(2, "a")];
    let mut scene = Scene::with(before, 2);
    scene.join(1, 10);
    assert_eq!(scene.settle().0, [(1, 2, 2)]);
    scene.answer(1, 2, 2, Verdict::Ack);
    scene.settle();
    scene.loaded(0, &[(1, "b"), (2, "a")]);
    assert_eq!(scene.settle().0, [(1, 1, 1)]);
}

#[test]
fn a_deleted_event_is_not_replayed() {
    let mut scene = Scene::parking(ParkPolicy::Event);
    scene.join(1, 1);
    scene.commit(&[(1, "a"), (2, "b")]);
    scene.pump();
    scene.answer(1, 1, 1, park());
    assert_eq!(scene.settle().0, [(1, 2, 1)]);
    scene.replay(&[(1, "a")], &[("a", None)]);
    scene.desk.deleted(&[Position(1)]);
    scene.answer(1, 2, 1, Verdict::Ack);
    assert_eq!(scene.settle().0, []);
    assert_eq!(scene.desk.reports(None).remove(0).0.pending, 0);
}

#[test]
fn an_event_that_is_deleted_while_a_member_has_it_is_neither_tried_again_nor_parked() {
    let comes_back: [fn(&mut Scene); 5] = [
        |scene| assert_eq!(scene.answer(1, 1, 1, fail()), Ended::Failed),
        |scene| assert_eq!(scene.answer(1, 1, 1, park()), Ended::Failed),
        |scene| assert_eq!(scene.answer(1, 1, 1, Verdict::Release), Ended::Released),
        |scene| scene.desk.gone(ConnectionId(1)),
        |scene| scene.now = scene.now.plus(Rules::default().deadline),
    ];
    for (how, comes_back) in comes_back.into_iter().enumerate() {
        let mut scene = Scene::parking(ParkPolicy::Pid);
        scene.join(1, 1);
        scene.commit(&[(1, "a"), (2, "a")]);
        assert_eq!(delivered(&scene.pump()), [(1, 1, 1)]);
        scene.desk.deleted(&[Position(1)]);
        comes_back(&mut scene);
        scene.join(2, 10);
        let (out, flushes) = scene.settle();
        let out: Vec<_> = out.into_iter().map(|(_, position, attempt)| (position, attempt)).collect();
        assert_eq!(out, [(2, 1)], "way {how}: it is in nobody's way");
        assert!(flushes.iter().all(|flush| flush.retries.is_empty() && flush.runs.is_empty()), "way {how}");
    }
}

#[test]
fn a_discarded_event_is_counted_as_one_and_nothing_is_delivered() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Event, &[(1, "a")]);
    scene.wish(1, &[(1, "a")], Act::Discard { reason: "a test".to_owned() }).unwrap();
    let begun = scene.wait(Duration::from_millis(20));
    assert!(matches!(&begun[..], [Effect::Unpark { unpark, .. }] if unpark.moves.len() == 1));
    scene.desk.unparked(GROUP, 1, Some(&replayed(&[(1, "a")], &[])), scene.now);
    assert_eq!(scene.settle().0, []);
    let report = scene.desk.reports(None).remove(0).0;
    assert_eq!((report.parked, report.discarded), (0, 1));
}

#[test]
fn a_process_is_parked_with_its_event_and_others_go_on() {
    let mut scene = Scene::parking(ParkPolicy::Pid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "b"), (4, "a")]);
    scene.pump();
    assert_eq!(scene.answer(1, 1, 1, park()), Ended::Parked);
    scene.answer(1, 3, 1, Verdict::Ack);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [], "nothing of the process is delivered");
    let behind = || parked("behind parked event 1");
    let found = outcomes(&flushes);
    assert_eq!(found, [(1, parked("no stock")), (2, behind()), (3, Outcome::Success), (4, behind())]);
    assert!(flushes.iter().any(|flush| flush.aside.pids == [pid("a")]));
    let mut blocking: Vec<_> = flushes.iter().flat_map(|flush| flush.aside.blocking.clone()).collect();
    blocking.sort_unstable();
    assert_eq!(blocking, [Position(1), Position(2), Position(4)]);

    scene.commit(&[(5, "a"), (6, "b")]);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [(1, 6, 1)]);
    assert_eq!(outcomes(&flushes), [(5, behind())], "what comes later is parked as it is read");
}

#[test]
fn a_replayed_process_comes_in_order_and_what_is_new_queues_behind_it() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Pid, &[(1, "a"), (2, "a")]);
    scene.begin_replay(&[(1, "a"), (2, "a")]);
    // It comes while the tables are at it: it is neither parked nor delivered.
    scene.commit(&[(3, "a")]);
    let (out, flushes) = scene.settle();
    assert_eq!((out, outcomes(&flushes)), (vec![], vec![]));
    scene.desk.unparked(GROUP, 1, Some(&replayed(&[(1, "a"), (2, "a")], &[("a", None)])), scene.now);
    scene.commit(&[(4, "a")]);
    for (position, attempt) in [(1, 2), (2, 2), (3, 1), (4, 1)] {
        assert_eq!(scene.settle().0, [(1, position, attempt)]);
        assert_eq!(scene.answer(1, position, attempt, Verdict::Ack), Ended::Succeeded);
    }
}

#[test]
fn of_a_process_that_is_replayed_in_parts_only_that_part_is_delivered() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Pid, &[(1, "a"), (2, "a"), (3, "a")]);
    scene.replay(&[(1, "a"), (2, "a")], &[("a", Some(3))]);
    scene.commit(&[(4, "a")]);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [(1, 1, 2)]);
    assert_eq!(outcomes(&flushes), [(4, parked("behind parked event 3"))]);
    scene.answer(1, 1, 2, Verdict::Ack);
    assert_eq!(scene.settle().0, [(1, 2, 2)]);
    scene.answer(1, 2, 2, Verdict::Ack);
    assert_eq!(scene.settle().0, []);
    scene.replay(&[(3, "a"), (4, "a")], &[("a", None)]);
    assert_eq!(scene.settle().0, [(1, 3, 2)]);
}

#[test]
fn a_replayed_process_whose_event_fails_again_is_parked_from_there_on() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Pid, &[(1, "a"), (2, "a")]);
    scene.replay(&[(1, "a"), (2, "a")], &[("a", None)]);
    scene.commit(&[(3, "a")]);
    scene.settle();
    scene.answer(1, 1, 2, park());
    let (out, flushes) = scene.settle();
    assert_eq!(out, []);
    let behind = || parked("behind parked event 1");
    assert_eq!(outcomes(&flushes), [(1, parked("no stock")), (2, behind()), (3, behind())]);
    let mut replayed: Vec<_> = flushes.iter().flat_map(|flush| flush.aside.replayed.clone()).collect();
    replayed.sort_unstable();
    assert_eq!(replayed, [Position(1), Position(2)]);
}

#[test]
fn what_is_parked_again_while_another_replay_is_under_way_stays_parked() {
    let mut scene = Scene::with_first_parked(ParkPolicy::Pid, &[(1, "a"), (2, "a"), (3, "a")]);
    scene.replay(&[(1, "a"), (2, "a")], &[("a", Some(3))]);
    scene.settle();
    scene.begin_replay(&[(3, "a")]);
    scene.answer(1, 1, 2, park());
    // The tables did not know of it when they said that nothing of the process was parked any more.
    scene.desk.unparked(GROUP, 1, Some(&replayed(&[(3, "a")], &[("a", None)])), scene.now);
    let (out, flushes) = scene.settle();
    assert_eq!(out, []);
    let behind = || parked("behind parked event 1");
    assert_eq!(outcomes(&flushes), [(1, parked("no stock")), (2, behind()), (3, behind())]);
    assert!(flushes.iter().any(|flush| flush.aside.pids.contains(&pid("a"))));
}

#[test]
fn a_process_goes_on_when_the_event_that_parked_it_is_deleted_and_the_rest_replayed() {
    let mut scene = Scene::parking(ParkPolicy::Pid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a")]);
    scene.pump();
    scene.answer(1, 1, 1, park());
    let (_, flushes) = scene.settle();
    assert_eq!(outcomes(&flushes).len(), 2, "2 is parked behind 1");

    scene.desk.deleted(&[Position(1)]);
    scene.replay(&[(2, "a")], &[("a", None)]);
    assert_eq!(scene.settle().0, [(1, 2, 2)]);
}

#[test]
fn after_a_restart_a_parked_process_stays_parked() {
    let mut before = recovered(0, Order::ByPid);
    before.runs.push(SettledRun { slot: event(1, "a").slot(), first: Position(1), last: Position(1) });
    before.parked_pids = vec![(pid("a"), Position(1))];
    let mut scene = Scene::with(before, 3);
    scene.join(1, 10);
    scene.pump();
    scene.loaded(0, &[(1, "a"), (2, "a"), (3, "b")]);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [(1, 3, 1)]);
    assert_eq!(outcomes(&flushes), [(2, parked("behind parked event 1"))]);
}

#[test]
fn many_events_behind_a_parked_one_are_parked_in_flushes_of_bounded_size() {
    let mut scene = Scene::parking(ParkPolicy::Pid);
    scene.join(1, 10);
    scene.commit(&(1..=5_000).map(|position| (position, "a")).collect::<Vec<_>>());
    scene.pump();
    scene.answer(1, 1, 1, park());
    let (_, flushes) = scene.settle();
    assert_eq!(outcomes(&flushes).len(), 5_000);
    assert!(flushes.len() >= 3 && flushes.iter().all(|flush| flush.runs.len() <= 2_048));
    assert_eq!(scene.desk.reports(None).remove(0).0.parked, 5_000);
}

#[test]
fn an_act_on_parked_events_waits_until_the_tables_have_what_was_parked() {
    let mut scene = Scene::parking(ParkPolicy::Pid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a")]);
    scene.pump();
    scene.answer(1, 1, 1, park());
    scene.wish(1, &[(1, "a")], Act::Replay).unwrap();
    let effects = scene.pump();
    assert!(matches!(effects[..], [Effect::Settle(_)]), "at once, and before the act: {effects:?}");
    assert!(scene.wait(Duration::from_secs(1)).is_empty());
    scene.desk.flushed(GROUP, &mut Vec::new());
    assert!(scene.pump().iter().any(|effect| matches!(effect, Effect::Unpark { .. })));
}

#[test]
fn a_group_takes_no_more_replays_than_it_may_have() {
    let mut scene = Scene::parking(ParkPolicy::Event);
    let many: Vec<_> = (1..=8_000).map(|position| replay(position, "a")).collect();
    scene.wish(1, &[(1, "a")], Act::Replay).unwrap();
    scene.pump();
    scene.desk.unparked(GROUP, 1, Some(&Unparked { taken: many, pids: Vec::new() }), scene.now);
    let more: Vec<_> = (9_000..9_256).map(|position| (position, "a")).collect();
    let refused = scene.wish(2, &more, Act::Replay);
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
    scene.wish(3, &more, Act::Discard { reason: "a test".to_owned() }).unwrap();
}
