//! The compiled grants against a naive look at the rows, and how much a look costs.

use proptest::prelude::*;
use proto::{Pattern, RoleName};

use super::super::patterns::steps;
use super::*;

const NOW: i64 = 1_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn grant(subject: Subject, action: Action, domain: &str, name: Option<&str>) -> Grant {
    let (domain, name) = (pattern(domain), name.map(pattern));
    Grant { id: 1, subject, action, domain, name, expires: None, agent: "ann".into(), created: at(0) }
}

fn of(name: &str) -> Subject {
    Subject::Service(service(name))
}

fn member(role_name: &str, name: &str) -> RoleMember {
    RoleMember { role: role(role_name), service: service(name), agent: "ann".into(), created: at(0) }
}

fn compiled(grants: Vec<Grant>, members: Vec<RoleMember>) -> Grants {
    Grants::compile(2, Rule::Grants, grants, members)
}

/// What a reader of the rows would say.
fn naive(
    grants: &[Grant],
    members: &[RoleMember],
    who: &ServiceName,
    action: Action,
    domain: Option<&str>,
    name: Option<&str>,
) -> bool {
    let means = |pattern: &Pattern, wanted: Option<&str>| match wanted {
        Some(wanted) => pattern.matches(wanted),
        None => pattern.is_every(),
    };
    grants.iter().any(|grant| {
        let has = match &grant.subject {
            Subject::Service(service) => service == who,
            Subject::Role(role) => {
                members.iter().any(|member| member.role == *role && member.service == *who)
            }
        };
        has && grant.action == action
            && means(&grant.domain, domain)
            && grant.name.as_ref().is_none_or(|pattern| means(pattern, name))
            && grant.expires.is_none_or(|end| end > at(NOW))
    })
}

fn some_pattern() -> impl Strategy<Value = String> {
    "[ab]{1,3}\\*?|\\*"
}

fn some_grant() -> impl Strategy<Value = Grant> {
    let subject =
        prop_oneof!["[st]".prop_map(|name| of(&name)), "[qr]".prop_map(|name| Subject::Role(role(&name)))];
    let action = prop::sample::select(&[Action::Publish, Action::Read][..]);
    let name = prop::option::of(some_pattern());
    let ends = prop::option::of(prop::sample::select(&[NOW - 1, NOW, NOW + 1][..]));
    (subject, action, some_pattern(), name, ends).prop_map(|(subject, action, domain, name, ends)| Grant {
        expires: ends.map(at),
        ..grant(subject, action, &domain, name.as_deref())
    })
}

fn some_members() -> impl Strategy<Value = Vec<RoleMember>> {
    prop::collection::vec(("[qr]", "[st]").prop_map(|(role, name)| member(&role, &name)), 0..4)
}

/// Everything that can be asked in this small world.
fn questions() -> Vec<(ServiceName, Action, Option<&'static str>, Option<&'static str>)> {
    const NAMES: [Option<&str>; 9] = [
        None,
        Some("a"),
        Some("b"),
        Some("ab"),
        Some("ba"),
        Some("aab"),
        Some("abab"),
        Some("bbb"),
        Some("c"),
    ];
    let mut questions = Vec::new();
    for who in ["s", "t"] {
        for action in [Action::Publish, Action::Read, Action::Admin] {
            for domain in NAMES {
                questions.extend(NAMES.map(|name| (service(who), action, domain, name)));
            }
        }
    }
    questions
}

fn granted(grants: &Grants) -> Vec<bool> {
    let ask = |(who, action, domain, name): &(ServiceName, Action, Option<&str>, Option<&str>)| {
        grants.grant(who, *action, *domain, *name, at(NOW))
    };
    questions().iter().map(ask).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_compiled_grants_say_what_the_rows_say(
        grants in prop::collection::vec(some_grant(), 0..12), members in some_members()
    ) {
        let compiled = compiled(grants.clone(), members.clone());
        for (who, action, domain, name) in questions() {
            let found = compiled.grant(&who, action, domain, name, at(NOW));
            let expected = naive(&grants, &members, &who, action, domain, name);
            prop_assert_eq!(found, expected, "{} {} {:?} {:?}", who, action, domain, name);
        }
    }

    #[test]
    fn a_further_grant_takes_no_right_away_and_its_removal_gives_none(
        grants in prop::collection::vec(some_grant(), 0..12), more in some_grant(), members in some_members()
    ) {
        let fewer = granted(&compiled(grants.clone(), members.clone()));
        let with = granted(&compiled([grants, vec![more]].concat(), members));
        prop_assert!(fewer.iter().zip(&with).all(|(before, after)| before <= after));
    }

    #[test]
    fn the_order_of_grants_means_nothing(
        grants in prop::collection::vec(some_grant(), 0..12), members in some_members()
    ) {
        let reversed = grants.iter().rev().cloned().collect();
        prop_assert_eq!(
            granted(&compiled(grants, members.clone())),
            granted(&compiled(reversed, members))
        );
    }

    #[test]
    fn some_right_is_there_if_one_is_granted_for_any_name(
        grants in prop::collection::vec(some_grant(), 0..12), members in some_members(), domain in "[abc]{1,3}"
    ) {
        let compiled = compiled(grants.clone(), members);
        let who = service("s");
        let names = ["a", "b", "aa", "ab", "ba", "bb", "aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"];
        let any = names.iter().any(|name| {
            compiled.grant(&who, Action::Read, Some(&domain), Some(name), at(NOW))
        });
        prop_assert_eq!(compiled.grant_some(&who, Action::Read, Some(&domain), at(NOW)), any);
    }
}

#[test]
fn a_right_ends_when_its_grant_does_and_the_next_end_is_known() {
    let ends = |end| Grant { expires: Some(at(end)), ..grant(of("s"), Action::Read, "a", None) };
    let grants = compiled(vec![ends(2_000), ends(1_500)], Vec::new());
    let may = |now| grants.grant(&service("s"), Action::Read, Some("a"), Some("x"), at(now));
    assert!(may(1_999), "the later end counts");
    assert!(!may(2_000));
    assert_eq!(grants.next_end(at(0)), Some(at(1_500)));
    assert_eq!(grants.next_end(at(1_500)), Some(at(2_000)));
    assert_eq!(grants.next_end(at(2_000)), None);
}

#[test]
fn a_hub_that_is_open_at_first_never_opens_again_once_grants_were_changed() {
    let open = |version, rule| Grants::compile(version, rule, Vec::new(), Vec::new()).is_open();
    assert!(open(1, Rule::OpenAtFirst));
    assert!(!open(3, Rule::OpenAtFirst), "a grant was added and removed");
    assert!(open(3, Rule::Open));
    assert!(!open(1, Rule::Grants));
}

/// Comparisons that one look takes in a world with so many other services, each with rights of its own.
fn steps_among(others: usize) -> u64 {
    let mut grants: Vec<_> = (0..others)
        .map(|other| grant(of(&format!("other{other}")), Action::Publish, &format!("d{other}*"), None))
        .collect();
    grants.extend(
        ["order", "order*", "o*", "bill"].map(|domain| grant(of("s"), Action::Publish, domain, Some("x"))),
    );
    let grants = compiled(grants, Vec::new());
    let before = steps::taken();
    assert!(!grants.grant(&service("s"), Action::Publish, Some("orders"), Some("placed"), at(NOW)));
    assert!(grants.grant(&service("s"), Action::Publish, Some("orders"), Some("x"), at(NOW)));
    steps::taken() - before
}

#[test]
fn a_look_takes_as_many_steps_whatever_is_granted_to_others() {
    let alone = steps_among(0);
    assert!(alone > 0, "nothing was counted");
    assert_eq!(steps_among(10_000), alone);
}

#[test]
fn a_look_among_many_grants_of_one_service_takes_a_few_steps() {
    let many = |count: usize| {
        let domains = (0..count).map(|number| format!("domain{number:06}"));
        let grants: Vec<_> = domains
            .flat_map(|domain| [domain.clone(), format!("{domain}*")])
            .map(|domain| grant(of("s"), Action::Read, &domain, None))
            .collect();
        let grants = compiled(grants, Vec::new());
        let before = steps::taken();
        assert!(grants.grant(&service("s"), Action::Read, Some("domain000007x"), Some("e"), at(NOW)));
        steps::taken() - before
    };
    // Doubling what is searched adds a step to each of six searches: two of each kind among heads, one of texts.
    assert!(many(65_536) <= many(64) + 6 * 11, "{} after {}", many(65_536), many(64));
}
