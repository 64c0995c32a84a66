//! The state machine against a small world of hubs and spokes that die, sleep and come back.

use proptest::prelude::*;
use proto::HubId;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000).unwrap()
}

fn hub(id: &str, loaded: u64, kept: u64) -> HubTrust {
    HubTrust { hub: HubId::parse(id).unwrap(), loaded, kept }
}

pub(crate) fn rotation(step: RotationStep) -> Rotation {
    let reached = |needed: RotationStep| (step >= needed).then(|| at(100));
    Rotation {
        id: 1,
        kind: RotationKind::Root,
        pace: Pace::Orderly,
        step,
        agent: "operator/1".to_owned(),
        begun: at(100),
        prepared: reached(RotationStep::Prepared),
        activated: reached(RotationStep::Activated),
        retired: reached(RotationStep::Retired),
        archived: reached(RotationStep::Archived),
    }
}

fn facts() -> Facts {
    Facts {
        now: at(101),
        told: 5,
        hubs: vec![hub("1.hub", 5, 5)],
        no_longer: at(1_000),
        hanging: Hanging::default(),
        missing: None,
        renew_within: Duration::from_secs(60),
    }
}

fn hanging() -> Hanging {
    Hanging { leaves: 3, until: Some(at(500)) }
}

fn hasty(step: RotationStep) -> Rotation {
    Rotation { pace: Pace::Hasty, ..rotation(step) }
}

#[test]
fn with_nobody_behind_each_step_follows_the_one_before() {
    use RotationStep::{Activated, Archived, Begun, Prepared, Retired};
    for (from, to) in [(Begun, Prepared), (Prepared, Activated), (Activated, Retired), (Retired, Archived)] {
        assert_eq!(next(&rotation(from), &facts()), Next::Step(to));
    }
    assert_eq!(next(&rotation(Archived), &facts()), Next::Wait(Vec::new()));
}

#[test]
fn activation_waits_for_every_hub_and_for_the_spokes_of_each() {
    let facts = Facts { hubs: vec![hub("1.hub", 4, 4), hub("2.hub", 5, 4), hub("3.hub", 6, 6)], ..facts() };
    let spokes = WaitsFor::Spokes { hub: HubId::parse("2.hub").unwrap() };
    let waits = vec![WaitsFor::Hub(HubId::parse("1.hub").unwrap()), spokes];
    assert_eq!(next(&rotation(RotationStep::Prepared), &facts), Next::Wait(waits));
}

#[test]
fn activation_waits_no_longer_when_a_sixth_of_the_former_life_is_left_or_in_haste() {
    let behind = Facts { hubs: vec![hub("1.hub", 4, 4)], ..facts() };
    let late = Facts { now: at(1_000), ..behind.clone() };
    let activates = Next::Step(RotationStep::Activated);
    assert_eq!(next(&rotation(RotationStep::Prepared), &late), activates);
    assert_eq!(next(&hasty(RotationStep::Prepared), &behind), activates);
    assert_eq!(no_longer(at(0), at(600)), at(500));
}

#[test]
fn nothing_is_prepared_without_what_only_a_person_can_do() {
    let facts = Facts { missing: Some("bring the key".to_owned()), ..facts() };
    let waits = vec![WaitsFor::Operator { advice: "bring the key".to_owned() }];
    assert_eq!(next(&rotation(RotationStep::Begun), &facts), Next::Wait(waits));
}

#[test]
fn retirement_waits_for_the_last_leaf_and_in_haste_revokes_it_after_the_time_to_renew() {
    let facts = Facts { hanging: hanging(), ..facts() };
    let waits = Next::Wait(vec![WaitsFor::Leaves { leaves: 3, until: at(500) }]);
    assert_eq!(next(&rotation(RotationStep::Activated), &facts), waits);
    let waits = Next::Wait(vec![WaitsFor::Renewals { until: at(160) }]);
    assert_eq!(next(&hasty(RotationStep::Activated), &facts), waits);
    let later = Facts { now: at(160), ..facts };
    assert_eq!(next(&hasty(RotationStep::Activated), &later), Next::Revoke);
}

#[test]
fn keys_are_not_deleted_while_a_hub_may_still_issue_with_them() {
    let facts = Facts { hubs: vec![hub("1.hub", 4, 4)], ..facts() };
    let waits = Next::Wait(vec![WaitsFor::Hub(HubId::parse("1.hub").unwrap())]);
    assert_eq!(next(&rotation(RotationStep::Retired), &facts), waits);
}

mod world;
