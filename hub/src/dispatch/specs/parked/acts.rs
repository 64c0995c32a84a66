//! Acts on parked events, over restarts.

use db::ChangedGroup;

use super::*;

#[test]
fn no_two_acts_have_the_same_time_though_the_clock_goes_back_over_a_restart() {
    let last = Timestamp::from_millis(9_000_000_000_000).unwrap();
    let mut scene = Scene::with(Recovered { last_act: last, ..recovered(1, Order::ByPid) }, 1);
    let mut times = vec![last];
    for ticket in 1..=2 {
        scene.wish(ticket, &[(1, "a")], Act::Replay).unwrap();
        for effect in scene.wait(Duration::from_millis(20)) {
            if let Effect::Unpark { unpark, .. } = effect {
                times.push(unpark.at);
            }
        }
        scene.desk.unparked(GROUP, ticket, Some(&replayed(&[], &[])), scene.now);
    }
    assert!(times.len() == 3 && times.is_sorted_by(|before, after| before < after), "{times:?}");
}

#[test]
fn a_replayed_event_goes_when_what_stood_before_it_is_parked_behind_another() {
    let mut scene = Scene::parking(ParkPolicy::Pid);
    let reorder = |scene: &mut Scene, order| {
        let mut group = recovered(0, order).group;
        group.settings.park = Some(ParkPolicy::Pid);
        group.slots.clear();
        scene.desk.change(ChangedGroup { group, pauses: Vec::new() });
    };
    reorder(&mut scene, Order::None);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a"), (4, "a")]);
    assert_eq!(scene.settle().0.len(), 4, "nothing waits for anything");
    scene.answer(1, 1, 1, park());
    scene.settle();
    reorder(&mut scene, Order::ByPid);
    assert_eq!(scene.answer(1, 2, 1, park()), Ended::Parked);
    scene.settle();
    // 3 and 4 are out still, from before, so 1 stands behind the one of them that is first.
    scene.replay(&[(1, "a")], &[("a", Some(2))]);
    assert_eq!(scene.settle().0, []);
    scene.answer(1, 3, 1, fail());
    scene.answer(1, 4, 1, Verdict::Ack);
    let (out, flushes) = scene.settle();
    assert_eq!(out, [(1, 1, 2)]);
    assert_eq!(outcomes(&flushes), [(3, parked("behind parked event 2")), (4, Outcome::Success)]);
    assert_eq!(scene.desk.stall(scene.now), None);
}
