//! What is denied, and in which words.

use proto::EventName;
use proto::access::{Grant, Subject};

use super::super::grants::Rule;
use super::*;

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn grants(rule: Rule, granted: &[(Action, &str)]) -> Grants {
    let grant = |(action, domain): &(Action, &str)| Grant {
        id: 1,
        subject: Subject::Service(service("billing")),
        action: *action,
        domain: proto::Pattern::parse(domain).unwrap(),
        name: None,
        expires: None,
        agent: "ann".into(),
        created: Timestamp::default(),
    };
    Grants::compile(2, rule, granted.iter().map(grant).collect(), Vec::new())
}

fn denied(action: Action, target: Target<'_>) -> String {
    let billing = service("billing");
    let none = grants(Rule::Grants, &[]);
    authorize(&none, &billing, action, target, Timestamp::default()).unwrap_err().to_string()
}

#[test]
fn nothing_is_allowed_that_is_not_granted() {
    let (order, placed, billing) = (domain("order"), EventName::parse("placed").unwrap(), service("billing"));
    let now = Timestamp::default();
    let targets = [
        Target::Events(&order, &placed),
        Target::Domain(&order),
        Target::Name(&placed),
        Target::Everything,
        Target::Something,
    ];
    for action in Action::ALL {
        // All but this one, everywhere.
        let others: Vec<_> =
            Action::ALL.into_iter().filter(|other| *other != action).map(|other| (other, "*")).collect();
        let grants = grants(Rule::Grants, &others);
        for target in targets {
            assert!(authorize(&grants, &billing, action, target, now).is_err(), "{action} {target:?}");
        }
    }
}

#[test]
fn the_operator_may_everything_and_on_an_open_hub_so_may_all() {
    let now = Timestamp::default();
    let closed = grants(Rule::Grants, &[]);
    let open = grants(Rule::Open, &[]);
    for action in Action::ALL {
        assert!(authorize(&closed, &service("operator"), action, Target::Everything, now).is_ok());
        assert!(authorize(&open, &service("billing"), action, Target::Everything, now).is_ok());
    }
}

#[test]
fn a_right_in_one_domain_is_none_in_all() {
    let (order, now, billing) = (domain("order"), Timestamp::default(), service("billing"));
    let grants = grants(Rule::Grants, &[(Action::Read, "order*")]);
    let may = |target| authorize(&grants, &billing, Action::Read, target, now).is_ok();
    assert!(may(Target::Domain(&order)) && may(Target::Something));
    assert!(!may(Target::Everything) && !may(Target::Domain(&domain("orde"))));
}

#[test]
fn what_is_denied_is_told_with_the_grant_that_is_missing() {
    let (order, placed) = (domain("order"), EventName::parse("placed").unwrap());
    assert_eq!(
        denied(Action::Publish, Target::Events(&order, &placed)),
        "service billing may not publish placed in domain order; run `eventflow grant add --service billing --action publish --domain order`"
    );
    assert_eq!(
        denied(Action::Subscribe, Target::Everything),
        "service billing may not subscribe to everything; run `eventflow grant add --service billing --action subscribe --domain '*'`"
    );
    assert_eq!(
        denied(Action::Admin, Target::Everything),
        "service billing may not administer; run `eventflow grant add --service billing --action admin`"
    );
    let odd = domain("it's a domain");
    assert!(
        denied(Action::Read, Target::Domain(&odd)).ends_with(r"--action read --domain 'it'\''s a domain'`")
    );
}
