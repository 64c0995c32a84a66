//! The replacement of leaves and authorities as a state machine: facts in, the next step out.
//!
//! Begun → prepared → activated → retired → archived. Whoever looks at the same row and the same facts
//! comes to the same step, so any hub can go on where another has died. A step is done only when nobody is
//! left behind by it, or, if what is replaced may be in the wrong hands, as soon as possible.

use std::time::Duration;

use db::Hanging;
use proto::Timestamp;
use proto::rotation::{HubTrust, Pace, Rotation, RotationKind, RotationStep, WaitsFor};

/// The part of its life at whose start a replaced authority is not waited for any more.
const LAST_PART: u32 = 6;

/// What the next step depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The time of the database.
    pub(crate) now: Timestamp,
    /// The count of what is trusted by which the last step was told.
    pub(crate) told: u64,
    /// The hubs with a lease.
    pub(crate) hubs: Vec<HubTrust>,
    /// When too little is left of what is replaced to wait any longer.
    pub(crate) no_longer: Timestamp,
    /// What still hangs from what is replaced.
    pub(crate) hanging: Hanging,
    /// What only a person can do, before anything can be prepared.
    pub(crate) missing: Option<String>,
    /// The time that spokes get to renew before what is replaced is revoked.
    pub(crate) renew_within: Duration,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// This step.
    Step(RotationStep),
    /// What still hangs from what is replaced is to be revoked.
    Revoke,
    /// Nothing, until this has changed.
    Wait(Vec<WaitsFor>),
}

/// What is to be done about `rotation` now. An archived one is over and waits for nothing.
pub(crate) fn next(rotation: &Rotation, facts: &Facts) -> Next {
    let waits = match rotation.step {
        RotationStep::Begun => match &facts.missing {
            Some(advice) => vec![WaitsFor::Operator { advice: advice.clone() }],
            None => Vec::new(),
        },
        RotationStep::Prepared => before_activation(rotation, facts),
        RotationStep::Activated => match before_retirement(rotation, facts) {
            Retirement::Waits(waits) => waits,
            Retirement::Revokes => return Next::Revoke,
        },
        RotationStep::Retired => hubs_behind(rotation, facts),
        RotationStep::Archived => return Next::Wait(Vec::new()),
    };
    if waits.is_empty() { Next::Step(after(rotation.step)) } else { Next::Wait(waits) }
}

/// From when on an authority that is valid from `from` to `until` is not waited for any more.
pub(crate) fn no_longer(from: Timestamp, until: Timestamp) -> Timestamp {
    from.plus(until.since(from) / LAST_PART * (LAST_PART - 1))
}

fn after(step: RotationStep) -> RotationStep {
    match step {
        RotationStep::Begun => RotationStep::Prepared,
        RotationStep::Prepared => RotationStep::Activated,
        RotationStep::Activated => RotationStep::Retired,
        RotationStep::Retired | RotationStep::Archived => RotationStep::Archived,
    }
}

/// Hubs and spokes that do not believe the new authorities yet.
fn before_activation(rotation: &Rotation, facts: &Facts) -> Vec<WaitsFor> {
    let nothing_new = rotation.kind == RotationKind::Leaf;
    if nothing_new || rotation.pace == Pace::Hasty || facts.now >= facts.no_longer {
        return Vec::new();
    }
    let behind = |hub: &HubTrust| {
        if hub.loaded < facts.told {
            Some(WaitsFor::Hub(hub.hub.clone()))
        } else if hub.kept < facts.told {
            Some(WaitsFor::Spokes { hub: hub.hub.clone() })
        } else {
            None
        }
    };
    facts.hubs.iter().filter_map(behind).collect()
}

enum Retirement {
    Waits(Vec<WaitsFor>),
    Revokes,
}

/// Hubs that still show or issue what is replaced, and certificates that hang from it.
fn before_retirement(rotation: &Rotation, facts: &Facts) -> Retirement {
    let until = rotation.activated.unwrap_or(rotation.begun).plus(facts.renew_within);
    match (facts.hanging.until, rotation.pace) {
        (None, _) => Retirement::Waits(hubs_behind(rotation, facts)),
        (Some(_), Pace::Hasty) if facts.now >= until => Retirement::Revokes,
        (Some(_), Pace::Hasty) => Retirement::Waits(vec![WaitsFor::Renewals { until }]),
        (Some(last), Pace::Orderly) => {
            let leaves = WaitsFor::Leaves { leaves: facts.hanging.leaves, until: last };
            Retirement::Waits([vec![leaves], hubs_behind(rotation, facts)].concat())
        }
    }
}

/// Hubs that have not seen the last step.
fn hubs_behind(rotation: &Rotation, facts: &Facts) -> Vec<WaitsFor> {
    if rotation.pace == Pace::Hasty {
        return Vec::new();
    }
    let behind = facts.hubs.iter().filter(|hub| hub.loaded < facts.told);
    behind.map(|hub| WaitsFor::Hub(hub.hub.clone())).collect()
}

#[cfg(test)]
pub(crate) mod tests;
