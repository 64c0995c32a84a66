//! Acts on parked events, over restarts.

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
