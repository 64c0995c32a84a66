//! Priorities: the lower number first, the order within a process as it is, nothing for ever last.

use proto::Priority;

use super::super::group::PICKS_PER_ROUND;
use super::*;

fn in_lane(position: u64, pid: &str, lane: u8) -> Arc<Event> {
    let mut event = (*event(position, pid)).clone();
    let priority = Priority::of(lane).unwrap().to_string();
    event.metadata.0.insert(proto::priority::KEY.to_owned(), priority);
    Arc::new(event)
}

fn positions(effects: &[Effect]) -> Vec<u64> {
    delivered(effects).into_iter().map(|(_, position, _)| position).collect()
}

#[test]
fn what_is_urgent_overtakes_other_processes_but_nothing_of_its_own() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 1);
    let events =
        vec![in_lane(1, "a", 5), in_lane(2, "b", 9), in_lane(3, "b", 0), in_lane(4, "c", 1), event(5, "d")];
    scene.desk.committed(events, scene.now);
    let mut went = positions(&scene.pump());
    while let Some(&last) = went.last() {
        scene.answer(1, last, 1, Verdict::Ack);
        let next = positions(&scene.pump());
        if next.is_empty() {
            break;
        }
        went.extend(next);
    }
    assert_eq!(went, [4, 1, 5, 2, 3], "the urgent event of b waits for the one before it");
}

#[test]
fn the_last_lane_is_delivered_under_a_steady_flood_of_the_first_within_a_bound() {
    let mut scene = Scene::new(Order::None);
    scene.join(1, 1);
    let before = 5;
    let mut next = 1;
    let mut flood = |scene: &mut Scene, count: u64| {
        let events = (0..count).map(|n| in_lane(next + n, "urgent", 0)).collect();
        next += count;
        scene.desk.committed(events, scene.now);
        next
    };
    let last = flood(&mut scene, before);
    scene.desk.committed(vec![in_lane(last, "patient", 9)], scene.now);
    let bound = u64::from(PICKS_PER_ROUND) * (before + 1);
    for delivery in 1..=bound {
        let went = positions(&scene.pump());
        assert_eq!(went.len(), 1, "the member takes one at a time");
        if went == [last] {
            return;
        }
        scene.desk.committed(vec![in_lane(last + delivery, "urgent", 0)], scene.now);
        scene.answer(1, went[0], 1, Verdict::Ack);
        assert!(delivery < bound, "it was not among the first {bound}");
    }
}
