//! A member that takes nothing more: its spoke has a further connection and answers what is left.

use super::*;

fn enough(scene: &mut Scene, connection: u64) {
    scene.desk.enough(member(connection), GROUP);
}

#[test]
fn a_member_that_has_enough_answers_what_it_has_and_gets_nothing_more() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b")]);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1), (1, 2, 1)]);
    enough(&mut scene, 1);
    scene.commit(&[(3, "c")]);
    assert_eq!(delivered(&scene.pump()), []);
    assert_eq!(scene.state(&event(3, "c")), DeliveryState::NoCredit { members: 1 });
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Succeeded);
    assert_eq!(delivered(&scene.pump()), []);
}

#[test]
fn a_process_goes_on_with_the_next_member_only_when_the_one_before_has_answered() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(delivered(&scene.pump()), [(1, 1, 1), (1, 3, 1)]);
    enough(&mut scene, 1);
    scene.join(2, 10);
    assert_eq!(delivered(&scene.pump()), []);
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Succeeded);
    assert_eq!(delivered(&scene.pump()), [(2, 2, 1)]);
}
