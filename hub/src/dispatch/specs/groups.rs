//! Groups that are set, paused and made ordered or unordered while they run.

use std::collections::BTreeSet;

use db::{ChangedGroup, GroupPause};
use proto::{ParkPolicy, Pid};

use super::super::group::KEPT_PER_PID_PAGE;
use super::*;

fn pause(pid: Option<&str>) -> GroupPause {
    let pid = pid.map(|pid| Pid::parse(pid).unwrap());
    GroupPause { pid, since: Timestamp::default(), by: "ops/1".to_owned() }
}

fn paused() -> DeliveryState {
    DeliveryState::Paused { since: Timestamp::default(), by: "ops/1".to_owned() }
}

fn chosen() -> SettingsChange {
    SettingsChange::default()
}

impl Scene {
    fn change(&mut self, order: Order, settings: SettingsChange, pauses: &[GroupPause]) {
        let mut group = recovered(0, order).group;
        group.settings = settings;
        group.slots.clear();
        self.desk.change(ChangedGroup { group, pauses: pauses.to_vec() });
    }

    fn reorder(&mut self, order: Order) {
        self.change(order, chosen(), &[]);
    }

    /// What goes out now, without looking at how often it did before.
    fn goes(&mut self) -> Vec<u64> {
        let effects = self.pump();
        assert_eq!(self.desk.stall(self.now), None);
        delivered(&effects).into_iter().map(|(_, position, _)| position).collect()
    }
}

#[test]
fn settings_are_in_force_at_once() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    let settings = SettingsChange {
        attempts_max: Some(1),
        credit_max: Some(2),
        deadline_ms: Some(5_000),
        park: Some(ParkPolicy::Pid),
        ..chosen()
    };
    scene.change(Order::ByPid, settings, &[]);
    scene.commit(&[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(scene.goes(), [1, 2], "its credit is cut to the group's");
    assert_eq!(scene.state(&event(3, "c")), DeliveryState::NoCredit { members: 1 });
    assert_eq!(scene.answer(1, 1, 1, fail()), Ended::Parked, "one try is all there is");
    scene.wait(Duration::from_secs(6));
    assert!(!matches!(scene.state(&event(2, "b")), DeliveryState::InFlight { .. }), "its deadline is over");
    let standing = scene.desk.standings([GROUP]).remove(0);
    let settings = &standing.status.settings;
    assert_eq!((settings.attempts_max, settings.park), (1, ParkPolicy::Pid));
    assert_eq!(settings.backoff_first_ms, 500, "what nobody has chosen is as it was");
    assert_eq!((standing.status.connected[0].credit, standing.status.report.members), (2, 1));
}

#[test]
fn what_waits_for_its_note_stays_when_it_is_paused_meanwhile() {
    let mut scene = Scene::new(Order::ByPid);
    scene.desk.beware();
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b")]);
    let effects = scene.pump();
    assert_eq!((delivered(&effects), settlements(effects).len()), (Vec::new(), 1));

    scene.change(Order::ByPid, chosen(), &[pause(Some("a"))]);
    let mut effects = Vec::new();
    scene.desk.flushed(GROUP, &mut effects);
    assert_eq!(delivered(&effects), [(1, 2, 1)]);
    assert!(scene.goes().is_empty());
    scene.change(Order::ByPid, chosen(), &[]);
    assert_eq!(scene.goes(), [1]);
}

#[test]
fn what_waits_for_its_note_stays_when_its_member_may_have_less_meanwhile() {
    let mut scene = Scene::new(Order::ByPid);
    scene.desk.beware();
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b"), (3, "c")]);
    assert!(delivered(&scene.pump()).is_empty(), "they wait for their note");
    scene.change(Order::ByPid, SettingsChange { credit_max: Some(1), ..chosen() }, &[]);
    let mut effects = Vec::new();
    scene.desk.flushed(GROUP, &mut effects);
    assert_eq!(delivered(&effects).len(), 1);
    let (_, first, _) = delivered(&effects)[0];
    assert!(scene.goes().is_empty());
    assert_eq!(scene.answer(1, first, 1, Verdict::Ack), Ended::Succeeded);
    assert_eq!(scene.goes().len(), 1, "one at a time");
}

#[test]
fn what_runs_out_of_time_before_it_leaves_costs_its_member_no_credit() {
    let mut scene = Scene::new(Order::ByPid);
    scene.desk.beware();
    scene.join(1, 1);
    scene.commit(&[(1, "a")]);
    assert!(delivered(&scene.pump()).is_empty(), "it waits for its note");
    assert!(delivered(&scene.wait(Duration::from_secs(3_600))).is_empty());
    scene.desk.flushed(GROUP, &mut Vec::new());
    let went = delivered(&scene.wait(Duration::from_secs(3_600)));
    assert_eq!(went, [(1, 1, 2)], "after all, as another delivery");
}

#[test]
fn what_waits_for_its_note_does_not_follow_a_member_that_has_enough() {
    let mut scene = Scene::new(Order::ByPid);
    scene.desk.beware();
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "b")]);
    assert!(delivered(&scene.pump()).is_empty(), "they wait for their note");
    scene.desk.enough(member(1), GROUP);
    let mut effects = Vec::new();
    scene.desk.flushed(GROUP, &mut effects);
    assert!(delivered(&effects).is_empty());
    scene.join(2, 10);
    let mut went = scene.goes();
    went.sort_unstable();
    assert_eq!(went, [1, 2]);
}

#[test]
fn a_paused_group_delivers_nothing_new_and_finishes_what_is_out() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 2);
    scene.commit(&[(1, "a"), (2, "b"), (3, "c")]);
    assert_eq!(scene.goes(), [1, 2]);
    scene.change(Order::ByPid, chosen(), &[pause(None)]);
    assert_eq!(scene.answer(1, 1, 1, Verdict::Ack), Ended::Succeeded);
    assert_eq!(scene.answer(1, 2, 1, fail()), Ended::Failed);
    scene.commit(&[(4, "a")]);
    for (position, pid) in [(2, "b"), (3, "c"), (4, "a")] {
        assert_eq!(scene.state(&event(position, pid)), paused());
    }
    assert!(delivered(&scene.wait(Duration::from_secs(60))).is_empty());
    assert_eq!(scene.goes(), [0; 0]);
    scene.change(Order::ByPid, chosen(), &[]);
    let mut went = scene.goes();
    went.sort_unstable();
    assert_eq!(went, [2, 3]);
}

#[test]
fn a_paused_process_is_in_nobodys_way_and_goes_on_in_order() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.change(Order::ByPid, chosen(), &[pause(Some("a"))]);
    scene.commit(&[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(scene.goes(), [3]);
    assert_eq!(scene.state(&event(1, "a")), paused());
    assert_eq!(scene.state(&event(2, "a")), paused());
    scene.change(Order::ByPid, chosen(), &[]);
    assert_eq!(scene.goes(), [1]);
    scene.answer(1, 1, 1, Verdict::Ack);
    assert_eq!(scene.goes(), [2]);
}

#[test]
fn a_pause_outlives_a_restart_and_a_deleted_event_is_not_held() {
    let mut before = recovered(0, Order::ByPid);
    before.pauses = vec![pause(Some("a"))];
    let mut scene = Scene::with(before, 0);
    scene.join(1, 10);
    scene.commit(&[(1, "a"), (2, "a")]);
    assert_eq!(scene.goes(), [0; 0]);
    scene.desk.deleted(&[Position(1)]);
    assert_eq!(scene.goes(), [0; 0]);
    scene.change(Order::ByPid, chosen(), &[]);
    assert_eq!(scene.goes(), [2]);
}

#[test]
fn a_flush_of_a_group_that_was_given_up_is_not_taken_for_one_of_the_group_that_came_back() {
    let mut scene = Scene::new(Order::ByPid);
    let answered = |scene: &mut Scene, position| {
        scene.join(1, 10);
        scene.commit(&[(position, "a")]);
        scene.pump();
        scene.answer(1, position, 1, Verdict::Ack);
        assert_eq!(settlements(scene.wait(Duration::from_millis(20))).len(), 1);
        scene.desk.generation(GROUP)
    };
    let before = answered(&mut scene, 1);
    scene.desk.drop_group(GROUP);
    scene.desk.add_group(recovered(1, Order::ByPid), scene.now);
    let now = answered(&mut scene, 2);
    let mut effects = Vec::new();
    scene.desk.leave(member(1), Some(GROUP), &mut effects);
    scene.desk.flushed_in(GROUP, before, &mut effects);
    assert!(effects.is_empty(), "what the member has answered is not recorded yet: {effects:?}");
    scene.desk.flushed_in(GROUP, now, &mut effects);
    assert!(matches!(effects[..], [Effect::Left { .. }]), "{effects:?}");
}

#[test]
fn a_long_paused_process_of_an_unordered_group_is_read_again_a_page_at_a_time() {
    let mut scene = Scene::new(Order::None);
    scene.join(1, 100);
    scene.change(Order::None, chosen(), &[pause(Some("a"))]);
    scene.commit(&(1..=40).map(|position| (position, "a")).collect::<Vec<_>>());
    assert_eq!(scene.goes(), [0; 0]);
    scene.change(Order::None, chosen(), &[]);
    assert_eq!(all_delivered(&mut scene, 40), (1..=40).collect());
}

#[test]
fn a_group_that_becomes_unordered_sends_what_waited_and_nothing_twice() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 100);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a"), (4, "b")]);
    assert_eq!(scene.goes(), [1, 4]);
    scene.reorder(Order::None);
    assert_eq!(scene.goes(), [2, 3]);
    for position in 1..=4 {
        assert_eq!(scene.answer(1, position, 1, Verdict::Ack), Ended::Succeeded);
    }
    assert_eq!(scene.goes(), [0; 0]);
}

#[test]
fn a_process_with_much_in_hand_becomes_unordered_a_page_at_a_time() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 100);
    scene.commit(&(1..=40).map(|position| (position, "a")).collect::<Vec<_>>());
    assert_eq!(scene.goes(), [1]);
    scene.reorder(Order::None);
    scene.commit(&[(41, "a")]);
    let mut seen = all_delivered(&mut scene, 41);
    seen.insert(1);
    assert_eq!(seen, (1..=41).collect());
}

#[test]
fn a_group_that_becomes_ordered_sends_nothing_of_a_process_until_all_that_is_out_is_back() {
    let mut scene = Scene::new(Order::None);
    scene.join(1, 3);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "a")]);
    assert_eq!(scene.goes(), [1, 2, 3]);
    scene.reorder(Order::ByPid);
    scene.answer(1, 2, 1, Verdict::Ack);
    assert_eq!(scene.goes(), [0; 0], "two are out still");
    assert_eq!(scene.answer(1, 1, 1, fail()), Ended::Failed);
    assert_eq!(scene.goes(), [0; 0], "one is out still");
    scene.answer(1, 3, 1, Verdict::Ack);
    assert_eq!(scene.goes(), [1], "the first of what is left");
    scene.answer(1, 1, 2, Verdict::Ack);
    assert_eq!(scene.goes(), [4]);
    scene.answer(1, 4, 1, Verdict::Ack);
    assert_eq!(scene.goes(), [5]);
}

#[test]
fn strays_of_a_lost_connection_come_again_in_order() {
    let mut scene = Scene::new(Order::None);
    scene.join(1, 3);
    scene.commit(&[(1, "a"), (2, "a"), (3, "a"), (4, "b")]);
    assert_eq!(scene.goes(), [1, 2, 3]);
    scene.reorder(Order::ByPid);
    scene.join(2, 10);
    assert_eq!(scene.goes(), [4]);
    scene.desk.gone(ConnectionId(1));
    for position in [1, 2, 3] {
        assert_eq!(scene.goes(), [position]);
        scene.answer(2, position, 2, Verdict::Ack);
    }
}

#[test]
fn an_event_that_one_member_failed_is_tried_by_another() {
    let mut scene = Scene::new(Order::ByPid);
    scene.join(1, 10);
    scene.join(2, 10);
    scene.commit(&[(1, "a")]);
    let first = delivered(&scene.pump())[0].0;
    // A member that never answers is one that fails.
    scene.wait(Duration::from_secs(61));
    let again = delivered(&scene.wait(Duration::from_secs(61)));
    assert_eq!(again, [(3 - first, 1, 2)]);
    assert_eq!(scene.answer(3 - first, 1, 2, fail()), Ended::Failed);
    let third = delivered(&scene.wait(Duration::from_secs(61)));
    assert_eq!(third, [(first, 1, 3)]);
}

/// Answers everything that goes out, and the reads that are asked for, until nothing more comes.
fn all_delivered(scene: &mut Scene, last: u64) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    for _ in 0..1_000 {
        let effects = scene.pump();
        assert_eq!(scene.desk.stall(scene.now), None);
        if effects.is_empty() {
            break;
        }
        let fetches = effects.iter().filter(|effect| matches!(effect, Effect::Fetch { .. })).count();
        assert!(fetches <= 1, "{fetches} pages of one process are read at once");
        for effect in &effects {
            match effect {
                Effect::Deliver { event, .. } => {
                    assert!(seen.insert(event.position.0), "{} came twice", event.position);
                    scene.answer(1, event.position.0, 1, Verdict::Ack);
                }
                Effect::Fetch { position, .. } => {
                    let end = (position.0 + u64::from(KEPT_PER_PID_PAGE)).min(last + 1);
                    let page: Vec<_> = (position.0..end).map(|position| event(position, "a")).collect();
                    scene.desk.fetched(GROUP, *position, &page);
                }
                _ => {}
            }
        }
    }
    seen
}

/// Orders, pauses, answers and lost members in any sequence lose nothing, deliver nothing that is out,
/// and hold nothing for ever.
#[test]
fn nothing_is_lost_or_doubled_however_often_a_group_changes() {
    for seed in 0..300 {
        Course::new(seed).run();
    }
}

/// So many tries that what is lost with its member again and again is never given up.
fn patient() -> SettingsChange {
    SettingsChange { attempts_max: Some(1_000), ..chosen() }
}

struct Course {
    scene: Scene,
    state: u64,
    order: Order,
    /// Position, attempt and holder of what is out.
    out: Vec<(u64, u32, u64)>,
    done: BTreeSet<u64>,
    next: u64,
    members: u64,
}

const PIDS: [&str; 3] = ["a", "b", "c"];

fn pid(position: u64) -> &'static str {
    PIDS[usize::try_from(position % 3).unwrap()]
}

impl Course {
    fn new(seed: u64) -> Self {
        let mut scene = Scene::new(Order::ByPid);
        scene.change(Order::ByPid, patient(), &[]);
        scene.join(1, 4);
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self {
            scene,
            state,
            order: Order::ByPid,
            out: Vec::new(),
            done: BTreeSet::new(),
            next: 1,
            members: 1,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % end
    }

    fn run(mut self) {
        for _ in 0..120 {
            self.step();
            self.turn();
        }
        self.scene.change(self.order, patient(), &[]);
        for _ in 0..1_000 {
            while let Some((position, attempt, member)) = self.out.pop() {
                let ended = self.scene.answer(member, position, attempt, Verdict::Ack);
                if ended == Ended::Succeeded {
                    self.done.insert(position);
                }
            }
            if self.done.len() as u64 == self.next - 1 {
                return;
            }
            self.scene.now = self.scene.now.plus(Duration::from_secs(61));
            self.turn();
        }
        panic!("{} of {} are done", self.done.len(), self.next - 1);
    }

    fn step(&mut self) {
        match self.below(10) {
            0..=2 => {
                let position = self.next;
                self.next += 1;
                self.scene.commit(&[(position, pid(position))]);
            }
            3..=6 if !self.out.is_empty() => self.answer(),
            7 => {
                self.order = if self.order == Order::ByPid { Order::None } else { Order::ByPid };
                self.scene.change(self.order, patient(), &[]);
            }
            8 => {
                let pauses = match self.below(4) {
                    0 => vec![pause(None)],
                    1 => vec![pause(Some("a")), pause(Some("b"))],
                    2 => vec![pause(Some("c"))],
                    _ => Vec::new(),
                };
                self.scene.change(self.order, patient(), &pauses);
            }
            9 => {
                self.scene.desk.gone(ConnectionId(self.members));
                self.members += 1;
                self.scene.join(self.members, 4);
                self.out.clear();
            }
            _ => {}
        }
    }

    fn answer(&mut self) {
        let which = self.below(self.out.len() as u64);
        let (position, attempt, member) = self.out.swap_remove(usize::try_from(which).unwrap());
        let verdict = match self.below(4) {
            0 => Verdict::Release,
            1 => Verdict::Fail { reason: "x".to_owned(), after_ms: Some(0) },
            _ => Verdict::Ack,
        };
        let ended = self.scene.answer(member, position, attempt, verdict);
        assert_ne!(ended, Ended::Stale, "{position}");
        if matches!(ended, Ended::Succeeded | Ended::Parked) {
            assert!(self.done.insert(position), "{position} was settled twice");
        }
    }

    fn turn(&mut self) {
        let effects = self.scene.pump();
        assert_eq!(self.scene.desk.stall(self.scene.now), None);
        for (member, position, attempt) in delivered(&effects) {
            assert!(!self.done.contains(&position), "{position} is settled");
            assert!(self.out.iter().all(|(out, ..)| *out != position), "{position} is out already");
            if self.order == Order::ByPid {
                let of_pid = self.out.iter().any(|(out, ..)| pid(*out) == pid(position));
                assert!(!of_pid, "another event of {} is out", pid(position));
            }
            self.out.push((position, attempt, member));
        }
        if !settlements(effects).is_empty() {
            self.scene.desk.flushed(GROUP, &mut Vec::new());
        }
    }
}
