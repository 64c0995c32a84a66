//! What the desk promises of acks with effects, while the writer has them and afterwards.

use super::*;
use crate::dispatch::group::Committed;

impl Scene {
    /// Answers a delivery with effects.
    fn chain(&mut self, connection: u64, position: u64, attempt: u32) -> Option<Settlements> {
        let (position, attempt) = (Position(position), Attempt(attempt));
        self.desk.chain(GROUP, member(connection), position, attempt, self.now)
    }

    /// The writer says what came of it.
    fn chained(&mut self, position: u64, committed: Committed) -> Ended {
        self.desk.chained(GROUP, Position(position), committed, self.now, &mut self.effects)
    }

    /// A group of one member that has the events at 1 (a) and 3 (b), and 2 (a) behind the first.
    fn with_deliveries() -> Self {
        let mut scene = Self::new(Order::ByPid);
        scene.join(1, 10);
        scene.commit(&[(1, "a"), (2, "a"), (3, "b")]);
        assert_eq!(delivered(&scene.pump()), [(1, 1, 1), (1, 3, 1)]);
        scene
    }
}

fn no() -> Committed {
    Committed::Refused("no such version".to_owned())
}

#[test]
fn an_ack_with_effects_holds_its_process_until_it_is_committed() {
    let mut scene = Scene::with_deliveries();
    let settlement = scene.chain(1, 1, 1).expect("it is out with this member");
    assert_eq!(settlement.runs.iter().map(|run| run.first.0).collect::<Vec<_>>(), [1]);
    assert_eq!(
        (settlement.runs[0].slot, settlement.moves[0].slot),
        (event(1, "a").slot(), event(1, "a").slot())
    );
    assert!(delivered(&scene.pump()).is_empty());
    assert!(matches!(scene.state(&event(1, "a")), DeliveryState::Committing { .. }));
    assert_eq!(scene.chained(1, Committed::Yes), Ended::Succeeded);
    assert_eq!(delivered(&scene.pump()), [(1, 2, 1)]);
    assert_eq!(scene.desk.reports(None)[0].0.succeeded, 1);
}

#[test]
fn what_was_committed_with_its_effects_is_not_recorded_again() {
    let mut scene = Scene::with_deliveries();
    scene.chain(1, 1, 1).unwrap();
    scene.answer(1, 3, 1, Verdict::Ack);
    let flushes = settlements(scene.wait(Duration::from_millis(20)));
    let runs: Vec<_> = flushes.iter().flat_map(|flush| &flush.runs).map(|run| run.first.0).collect();
    assert_eq!(runs, [3], "the one that the writer has is not in the flush");
    // No cursor passes what is not recorded.
    assert!(
        flushes
            .iter()
            .flat_map(|flush| &flush.moves)
            .all(|moved| moved.slot != event(1, "a").slot() || moved.cursor < Position(1))
    );
    scene.desk.flushed(GROUP, &mut Vec::new());
    scene.chained(1, Committed::Yes);
    scene.answer(1, 2, 1, Verdict::Ack);
    scene.pump();
    let rest = settlements(scene.wait(Duration::from_secs(10)));
    assert!(rest.iter().flat_map(|flush| &flush.runs).all(|run| run.first == Position(2)), "{rest:?}");
}

#[test]
fn a_chain_for_an_earlier_attempt_or_another_members_delivery_is_stale() {
    let mut scene = Scene::with_deliveries();
    scene.join(2, 10);
    assert!(
        scene.chain(2, 1, 1).is_none() && scene.chain(1, 1, 2).is_none() && scene.chain(1, 2, 1).is_none()
    );
    assert!(scene.chain(1, 1, 1).is_some());
    assert!(scene.chain(1, 1, 1).is_none(), "it is under way already");
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Stale);
    assert_eq!(scene.answer(1, 1, 1, fail()), Ended::Stale);
    assert_eq!(scene.chained(3, Committed::Yes), Ended::Stale, "nothing of it is under way");
}

#[test]
fn neither_the_deadline_nor_a_lost_connection_gives_out_what_is_being_committed() {
    let mut scene = Scene::with_deliveries();
    scene.chain(1, 1, 1).unwrap();
    scene.wait(Duration::from_secs(300));
    scene.desk.gone(ConnectionId(1));
    scene.join(2, 10);
    assert_eq!(
        delivered(&scene.wait(Duration::from_secs(300))),
        [(2, 3, 2)],
        "only what the member still had"
    );
    assert_eq!(scene.chained(1, Committed::Yes), Ended::Succeeded);
    assert_eq!(delivered(&scene.pump()), [(2, 2, 1)]);
    scene.answer(2, 2, 1, Verdict::Ack);
    scene.answer(2, 3, 2, Verdict::Ack);
    assert_eq!(scene.desk.out(), 0);
}

#[test]
fn a_chain_that_comes_after_its_deadline_changes_nothing_and_makes_room() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    scene.commit(&[(1, "a"), (2, "b")]);
    scene.pump();
    assert!(delivered(&scene.wait(Duration::from_secs(61))).is_empty());
    assert!(scene.chain(1, 1, 1).is_none());
    assert_eq!(delivered(&scene.pump()), [(1, 2, 1)]);
}

#[test]
fn a_refused_chain_is_a_failed_attempt_with_its_reason() {
    let mut scene = Scene::with_deliveries();
    scene.answer(1, 3, 1, Verdict::Ack);
    for attempt in 1..Rules::default().attempts_max {
        assert!(scene.chain(1, 1, attempt).is_some());
        assert_eq!(scene.chained(1, no()), Ended::Failed);
        assert!(matches!(scene.state(&event(1, "a")), DeliveryState::RetryAt { .. }));
        assert_eq!(delivered(&scene.wait(Duration::from_secs(61))), [(1, 1, attempt + 1)]);
        scene.desk.flushed(GROUP, &mut Vec::new());
    }
    assert!(scene.chain(1, 1, 5).is_some());
    assert_eq!(scene.chained(1, no()), Ended::Parked);
    let runs: Vec<_> =
        settlements(scene.wait(Duration::from_secs(1))).into_iter().flat_map(|flush| flush.runs).collect();
    assert_eq!(runs[0].outcome, Outcome::Parked { reason: "no such version".to_owned() });
}

#[test]
fn a_log_that_nobody_can_write_to_is_not_the_handlers_fault() {
    let mut scene = Scene::with_deliveries();
    scene.chain(1, 1, 1).unwrap();
    assert_eq!(scene.chained(1, Committed::PutOff("closed".to_owned())), Ended::Released);
    assert!(delivered(&scene.pump()).is_empty(), "it does not go round as fast as it can");
    assert_eq!(delivered(&scene.wait(Duration::from_secs(6))), [(1, 1, 2)]);
    // It still has all of its attempts.
    for attempt in 2..6 {
        assert_eq!(scene.answer(1, 1, attempt, fail()), Ended::Failed);
        scene.wait(Duration::from_secs(61));
    }
    assert_eq!(scene.answer(1, 1, 6, fail()), Ended::Parked);
}

#[test]
fn a_chain_takes_credit_until_it_is_committed() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    scene.commit(&[(1, "a"), (2, "b")]);
    scene.pump();
    scene.chain(1, 1, 1).unwrap();
    assert!(delivered(&scene.pump()).is_empty());
    scene.chained(1, Committed::Yes);
    assert_eq!(delivered(&scene.pump()), [(1, 2, 1)]);
}

#[test]
fn a_member_has_left_only_when_its_chains_are_over() {
    let mut scene = Scene::with_deliveries();
    scene.chain(1, 1, 1).unwrap();
    let mut effects = Vec::new();
    scene.desk.leave(member(1), Some(GROUP), &mut effects);
    assert!(effects.is_empty());
    scene.chained(1, Committed::Yes);
    let left = scene.pump();
    assert!(left.iter().any(|effect| matches!(effect, Effect::Left { .. })), "{left:?}");
}

#[test]
fn a_deleted_event_that_is_being_committed_is_settled_all_the_same() {
    let mut scene = Scene::with_deliveries();
    scene.chain(1, 1, 1).unwrap();
    scene.desk.deleted(&[Position(1)]);
    assert!(delivered(&scene.pump()).is_empty());
    assert_eq!(scene.chained(1, Committed::Yes), Ended::Succeeded);
    assert_eq!(delivered(&scene.pump()), [(1, 2, 1)]);
}

#[test]
fn a_failure_that_is_not_recorded_yet_is_not_recorded_after_the_success() {
    let mut scene = Scene::with_deliveries();
    scene.answer(1, 1, 1, Verdict::Fail { reason: "later".to_owned(), after_ms: Some(0) });
    assert_eq!(delivered(&scene.pump()), [(1, 1, 2)]);
    let settlement = scene.chain(1, 1, 2).unwrap();
    assert_eq!(settlement.runs[0].attempts, Attempt(2));
    let flushes = settlements(scene.wait(Duration::from_secs(1)));
    assert!(flushes.iter().all(|flush| flush.retries.is_empty()), "{flushes:?}");
}
