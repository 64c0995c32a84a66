//! The replacement of leaves and authorities on the wire: a value for every variant.

use eventflow_proto::certs::{CertsReply, CertsRequest};
use eventflow_proto::rotation::{
    AuthorityState, AuthorityStatus, Begun, CertsStatus, HubTrust, KeyPlace, Pace, Rotation, RotationKind,
    RotationStep, WaitsFor,
};
use eventflow_proto::{HubId, Timestamp};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    let mut values = vec![
        golden("CertsRequest/Rotate", CertsRequest::Rotate { kind: RotationKind::Root, pace: Pace::Hasty }),
        golden("CertsRequest/Status", CertsRequest::Status),
        golden("CertsRequest/Requests", CertsRequest::Requests { kind: RotationKind::Intermediate }),
        golden("CertsRequest/Import", CertsRequest::Import { certificates: vec![vec![0x30, 0]] }),
        golden("CertsRequest/Withdraw", CertsRequest::Withdraw),
        golden("CertsReply/Requests", requests()),
        golden("CertsReply/Imported", imported()),
        golden("CertsReply/Withdrawn", CertsReply::Withdrawn { rotation: 3 }),
        golden("CertsReply/Rotating", CertsReply::Rotating { begun: Begun::New, rotation: rotation() }),
        golden("CertsReply/Status", CertsReply::Status(Box::new(status()))),
        golden("RotationKind/Leaf", RotationKind::Leaf),
        golden("RotationKind/Intermediate", RotationKind::Intermediate),
        golden("RotationKind/Root", RotationKind::Root),
        golden("Pace/Orderly", Pace::Orderly),
        golden("Pace/Hasty", Pace::Hasty),
        golden("RotationStep/Begun", RotationStep::Begun),
        golden("RotationStep/Prepared", RotationStep::Prepared),
        golden("RotationStep/Activated", RotationStep::Activated),
        golden("RotationStep/Retired", RotationStep::Retired),
        golden("RotationStep/Archived", RotationStep::Archived),
        golden("Begun/New", Begun::New),
        golden("Begun/Hastened", Begun::Hastened),
        golden("Begun/UnderWay", Begun::UnderWay),
        golden("AuthorityState/Next", AuthorityState::Next),
        golden("AuthorityState/InUse", AuthorityState::InUse),
        golden("AuthorityState/Former", AuthorityState::Former),
        golden("KeyPlace/Here", KeyPlace::Here),
        golden("KeyPlace/Elsewhere", KeyPlace::Elsewhere),
    ];
    let names =
        ["WaitsFor/Hub", "WaitsFor/Spokes", "WaitsFor/Leaves", "WaitsFor/Renewals", "WaitsFor/Operator"];
    values.extend(names.into_iter().zip(waits()).map(|(name, wait)| golden(name, wait)));
    values
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000 + seconds * 1_000).unwrap()
}

fn hub() -> HubId {
    HubId::parse("1.hub").unwrap()
}

fn waits() -> [WaitsFor; 5] {
    [
        WaitsFor::Hub(hub()),
        WaitsFor::Spokes { hub: hub() },
        WaitsFor::Leaves { leaves: 3, until: at(9) },
        WaitsFor::Renewals { until: at(60) },
        WaitsFor::Operator { advice: "bring the key".into() },
    ]
}

fn rotation() -> Rotation {
    Rotation {
        id: 2,
        kind: RotationKind::Root,
        pace: Pace::Orderly,
        step: RotationStep::Activated,
        agent: "operator/1".into(),
        begun: at(0),
        prepared: Some(at(1)),
        activated: Some(at(2)),
        retired: None,
        archived: None,
    }
}

fn status() -> CertsStatus {
    let authority = AuthorityStatus {
        id: "root/3".into(),
        state: AuthorityState::InUse,
        key: KeyPlace::Here,
        ends: at(1_000),
        fingerprint: [7; 32],
    };
    CertsStatus {
        authorities: vec![authority],
        leaf_ends: at(500),
        rotation: Some(rotation()),
        waits_for: waits().to_vec(),
        trust: 7,
        hubs: vec![HubTrust { hub: hub(), loaded: 7, kept: 6 }],
        spokes_behind: vec!["billing/1".into()],
        spokes_behind_count: 1,
        warnings: vec!["the root certificate ends".into()],
    }
}

fn requests() -> CertsReply {
    CertsReply::Requests { rotation: rotation(), requests: vec![vec![0x30, 0], vec![0x30, 1]] }
}

fn imported() -> CertsReply {
    CertsReply::Imported {
        rotation: 3,
        stored: vec!["issuer/hub/4".into(), "issuer/spoke/4".into()],
        advice: vec!["spokes that are away enrol again".into()],
    }
}
