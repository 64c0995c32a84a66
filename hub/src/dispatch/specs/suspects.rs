//! What the desk promises of events that were with a consumer, or a hub, that was lost.

use super::*;

impl Scene {
    /// The consumer's process dies and another one comes.
    fn replace(&mut self, dead: u64, next: u64) {
        self.desk.gone(ConnectionId(dead));
        self.join(next, 10);
    }

    /// A scene that starts after a hub which died while members had `outs`.
    fn after_a_crash(outs: &[u64], retries: Vec<Retry>, head: u64) -> Self {
        let mut before = recovered(0, Order::ByPid);
        before.outs = outs.iter().copied().map(Position).collect();
        before.retries = retries;
        Self::with(before, head)
    }

    fn read(&mut self, events: &[(u64, &str)]) {
        self.pump();
        self.loaded(0, events);
    }
}

fn retries(flushes: &[Settlements]) -> Vec<(u64, u32, u32)> {
    let rows = flushes.iter().flat_map(|flush| &flush.retries);
    rows.map(|retry| (retry.position.0, retry.attempts.0, retry.losses)).collect()
}

#[test]
fn an_event_that_kills_its_consumer_each_time_is_parked_and_the_others_are_handled() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "good"), (2, "bad"), (3, "better")]);
    let (mut life, mut handled, mut parked) = (1, Vec::new(), None);
    for _ in 0..200 {
        let effects = scene.wait(Duration::from_millis(300));
        let out = delivered(&effects);
        for flush in settlements(effects) {
            for run in flush.runs {
                match run.outcome {
                    Outcome::Success => handled.push(run.first.0),
                    Outcome::Parked { reason } => parked = Some((run.first.0, reason)),
                    Outcome::Discarded { .. } => {}
                }
            }
            scene.desk.flushed(GROUP, &mut Vec::new());
        }
        // Whoever gets the bad one dies of it before it can answer anything.
        if out.iter().any(|(_, position, _)| *position == 2) {
            scene.replace(life, life + 1);
            life += 1;
            continue;
        }
        for (member, position, attempt) in out {
            scene.answer(member, position, attempt, Verdict::Ack);
        }
    }
    let (position, reason) = parked.expect("it is parked in the end");
    assert_eq!(position, 2);
    assert!(reason.starts_with("suspect: ") && reason.contains("6 times"), "{reason}");
    handled.sort_unstable();
    assert_eq!(handled, [1, 3], "what was out with it is cleared");
}

#[test]
fn the_first_loss_of_an_event_is_free_and_the_second_counts_as_a_try() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a")]);
    scene.pump();
    scene.replace(1, 2);
    let effects = scene.pump();
    assert_eq!(delivered(&effects), [(2, 1, 2)], "it comes to another one at once");
    scene.replace(2, 3);
    assert_eq!(delivered(&scene.pump()), []);
    let effects = scene.wait(Duration::from_millis(20));
    assert_eq!(delivered(&effects), []);
    assert_eq!(retries(&settlements(effects)), [(1, 1, 2)]);
    assert!(matches!(scene.state(&event(1, "a")), DeliveryState::RetryAt { .. }));
    let story = scene.desk.stories(&event(1, "a")).remove(0).1;
    assert!(story.reason.is_some_and(|reason| reason.starts_with("suspect")));
}

#[test]
fn one_suspect_of_a_group_is_out_at_a_time() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b"), (3, "c")]);
    scene.pump();
    scene.replace(1, 2);
    scene.pump();
    scene.replace(2, 3);
    scene.pump();
    scene.commit(&[(4, "d")]);
    let effects = scene.wait(Duration::from_secs(1));
    let out = delivered(&effects);
    assert!(out.iter().any(|(_, position, _)| *position == 4), "what is no suspect goes out beside it");
    let suspects: Vec<_> = out.into_iter().filter(|(_, position, _)| *position < 4).collect();
    assert_eq!(suspects.len(), 1);
    scene.answer(3, suspects[0].1, suspects[0].2, Verdict::Ack);
    assert_eq!(delivered(&scene.pump()).len(), 1);
}

#[test]
fn a_consumer_that_leaves_casts_no_suspicion() {
    let mut scene = Scene::new(Order::ByPid);
    scene.commit(&[(1, "a")]);
    for life in 1..10 {
        scene.join(life, 10);
        let effects = scene.pump();
        assert_eq!(delivered(&effects), [(life, 1, u32::try_from(life).unwrap())]);
        scene.desk.leave(member(life), Some(GROUP), &mut Vec::new());
    }
}

#[test]
fn what_members_have_is_noted_soon_and_rides_along_with_outcomes() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a")]);
    assert_eq!(settlements(scene.pump()).len(), 0);
    let noted = settlements(scene.wait(Duration::from_millis(250)));
    let slot = event(1, "a").slot();
    assert_eq!(noted[0].aside.outs, [(slot, vec![Position(1)])]);
    assert_eq!(noted[0].moves.len(), 1);
    scene.desk.flushed(GROUP, &mut Vec::new());
    scene.answer(1, 1, 1, Verdict::Ack);
    let effects = scene.wait(Duration::from_millis(20));
    assert_eq!(delivered(&effects), [(1, 2, 1)]);
    assert_eq!(settlements(effects)[0].aside.outs, [(slot, vec![Position(2)])]);
}

#[test]
fn after_a_hub_died_nothing_goes_out_before_it_is_noted_and_losses_are_recorded_first() {
    let mut scene = Scene::after_a_crash(&[1], Vec::new(), 2);
    scene.join(1, 10);
    scene.read(&[(1, "a"), (2, "b")]);
    let mut effects = scene.pump();
    assert_eq!(delivered(&effects), []);
    let flushes = settlements(effects);
    assert_eq!(retries(&flushes), [(1, 0, 1)]);
    let mut noted: Vec<_> = flushes[0].aside.outs.iter().flat_map(|(_, outs)| outs.clone()).collect();
    noted.sort_unstable();
    assert_eq!(noted, [Position(1), Position(2)]);
    effects = Vec::new();
    scene.desk.flushed(GROUP, &mut effects);
    let mut out = delivered(&effects);
    out.sort_unstable();
    assert_eq!(out, [(1, 1, 2), (1, 2, 1)]);
}

#[test]
fn an_event_that_kills_the_hub_each_time_is_parked() {
    let (mut rows, mut losses) = (Vec::new(), 0);
    let reason = loop {
        let mut scene = Scene::after_a_crash(&[1], rows, 1);
        losses += 1;
        scene.join(1, 10);
        scene.read(&[(1, "a")]);
        let mut effects = scene.wait(Duration::from_secs(61));
        effects.extend(scene.wait(Duration::from_secs(61)));
        let flushes = settlements(effects);
        let parked = flushes.iter().flat_map(|flush| &flush.runs).find_map(|run| match &run.outcome {
            Outcome::Parked { reason } => Some(reason.clone()),
            Outcome::Success | Outcome::Discarded { .. } => None,
        });
        if let Some(reason) = parked {
            break reason;
        }
        rows = flushes.into_iter().flat_map(|flush| flush.retries).collect();
        assert!(losses < 10, "it goes round for ever");
    };
    assert_eq!(losses, 6, "the first is free, then there are five tries");
    assert!(reason.starts_with("suspect"), "{reason}");
}

#[test]
fn a_hub_that_stops_in_order_leaves_no_suspects() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a")]);
    scene.pump();
    scene.wait(Duration::from_millis(250));
    scene.desk.flushed(GROUP, &mut Vec::new());
    scene.desk.close();
    let mut effects = Vec::new();
    scene.desk.sweep(&mut effects);
    assert_eq!(settlements(effects)[0].aside.outs, [(event(1, "a").slot(), vec![])]);
}

#[test]
fn an_event_that_was_out_waits_behind_a_replayed_one_that_comes_before_it() {
    let mut before = recovered(0, Order::ByPid);
    before.outs = vec![Position(2)];
    before.replays = vec![db::Replay {
        position: Position(1),
        pid: proto::Pid::parse("a").unwrap(),
        attempts: Attempt(1),
    }];
    let mut scene = Scene::with(before, 2);
    scene.join(1, 10);
    scene.read(&[(1, "a"), (2, "a")]);
    scene.desk.fetched(GROUP, Position(1), &[event(1, "a")]);
    let mut out = Vec::new();
    for _ in 0..4 {
        let mut effects = scene.wait(Duration::from_millis(20));
        if effects.iter().any(|effect| matches!(effect, Effect::Settle(_))) {
            scene.desk.flushed(GROUP, &mut effects);
        }
        out.extend(delivered(&effects));
    }
    assert_eq!(out, [(1, 1, 2)]);
}
