//! Grants on the wire: a value for every variant.

use eventflow_proto::access::{
    Action, Grant, GrantReply, GrantRequest, InForce, NewGrant, RoleMember, Subject,
};
use eventflow_proto::{Domain, EventName, Pattern, RoleName, ServiceName, Timestamp};

use super::{Golden, golden};

pub(crate) fn values() -> Vec<Golden> {
    let mut values = vec![
        golden("GrantRequest/Add", GrantRequest::Add(new_grant())),
        golden("GrantRequest/Remove", GrantRequest::Remove(300)),
        golden(
            "GrantRequest/List",
            GrantRequest::List { subject: Some(role_subject()), after: 7, limit: 100 },
        ),
        golden("GrantRequest/Check", check()),
        golden("GrantRequest/Join", GrantRequest::Join { role: role(), service: service() }),
        golden("GrantRequest/Quit", GrantRequest::Quit { role: role(), service: service() }),
        golden("GrantRequest/Members", members()),
        golden("GrantReply/Added", GrantReply::Added { id: 300, access: InForce::GrantsFromNowOn }),
        golden("GrantReply/Changed", GrantReply::Changed { changed: true, access: InForce::Grants }),
        golden("GrantReply/Listed", GrantReply::Listed(vec![grant()])),
        golden(
            "GrantReply/Checked",
            GrantReply::Checked { missing: Some("a grant".into()), access: InForce::Open },
        ),
        golden("GrantReply/Members", GrantReply::Members(vec![member()])),
        golden("Subject/Service", Subject::Service(service())),
        golden("Subject/Role", role_subject()),
        golden("InForce/Grants", InForce::Grants),
        golden("InForce/GrantsFromNowOn", InForce::GrantsFromNowOn),
        golden("InForce/Open", InForce::Open),
    ];
    values.extend([
        golden("Action/Publish", Action::Publish),
        golden("Action/Consume", Action::Consume),
        golden("Action/Subscribe", Action::Subscribe),
        golden("Action/Schedule", Action::Schedule),
        golden("Action/Read", Action::Read),
        golden("Action/Delete", Action::Delete),
        golden("Action/Admin", Action::Admin),
    ]);
    values
}

pub(crate) fn request() -> GrantRequest {
    GrantRequest::Remove(300)
}

pub(crate) fn reply() -> GrantReply {
    GrantReply::Changed { changed: true, access: InForce::Grants }
}

fn service() -> ServiceName {
    ServiceName::parse("billing").unwrap()
}

fn role() -> RoleName {
    RoleName::parse("clerks").unwrap()
}

fn role_subject() -> Subject {
    Subject::Role(role())
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_760_000_000_000).unwrap()
}

fn new_grant() -> NewGrant {
    NewGrant {
        subject: Subject::Service(service()),
        action: Action::Publish,
        domain: Pattern::parse("order*").unwrap(),
        name: Some(Pattern::parse("placed").unwrap()),
        expires: Some(at()),
    }
}

fn grant() -> Grant {
    let NewGrant { subject, action, domain, name, expires } = new_grant();
    Grant { id: 300, subject, action, domain, name, expires, agent: "operator/1".into(), created: at() }
}

fn check() -> GrantRequest {
    GrantRequest::Check {
        service: service(),
        action: Action::Read,
        domain: Some(Domain::parse("order").unwrap()),
        name: Some(EventName::parse("placed").unwrap()),
    }
}

fn members() -> GrantRequest {
    GrantRequest::Members { role: Some(role()), after: Some((role(), service())), limit: 100 }
}

fn member() -> RoleMember {
    RoleMember { role: role(), service: service(), agent: "operator/1".into(), created: at() }
}
