//! Patterns against a naive look at names, and grants that there cannot be.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn grant(service: &str, action: Action, domain: &str, name: Option<&str>) -> NewGrant {
    NewGrant {
        subject: Subject::Service(ServiceName::parse(service).unwrap()),
        action,
        domain: pattern(domain),
        name: name.map(pattern),
        expires: None,
    }
}

/// Every name of up to three letters `a` and `b`.
fn names() -> Vec<String> {
    let mut names = vec![String::new()];
    for length in 0..3 {
        let longest: Vec<_> = names.iter().filter(|name| name.len() == length).cloned().collect();
        names.extend(longest.into_iter().flat_map(|name| [format!("{name}a"), format!("{name}b")]));
    }
    names.split_off(1)
}

fn some_pattern() -> impl Strategy<Value = Pattern> {
    "[ab]{1,2}\\*?|\\*".prop_map(|text| pattern(&text))
}

proptest! {
    #[test]
    fn a_pattern_covers_another_if_it_means_every_name_that_the_other_means(
        one in some_pattern(), other in some_pattern()
    ) {
        // Names of up to three letters tell patterns of up to two letters apart.
        let enumerated = names().iter().all(|name| !other.matches(name) || one.matches(name));
        prop_assert_eq!(one.covers(&other), enumerated);
    }

    #[test]
    fn a_pattern_means_what_a_naive_look_says(pattern in some_pattern(), name in "[ab]{1,3}") {
        let text = pattern.as_str();
        let naive = match text.split_once('*') {
            Some((prefix, _)) => name.len() >= prefix.len() && name.as_bytes()[..prefix.len()] == *prefix.as_bytes(),
            None => name == text,
        };
        prop_assert_eq!(pattern.matches(&name), naive);
    }
}

#[test]
fn a_star_stands_at_the_end_of_a_pattern_or_nowhere() {
    for good in ["*", "order", "order*", "order *", "ö*", "*"] {
        assert!(Pattern::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "**", "*order", "or*der", "a*b*", " *", " a", "a ", "a\n*", "a\n"] {
        assert!(Pattern::parse(bad).is_err(), "{bad:?}");
    }
    assert!(Pattern::parse(&format!("{}*", "ö".repeat(128))).is_ok());
    assert!(Pattern::parse(&format!("{}*", "ö".repeat(129))).is_err());
    let error = Pattern::parse("or*der").unwrap_err().to_string();
    assert_eq!(
        error,
        "the pattern holds '*' at character 3; only a name, a prefix with a '*' after it and a '*' alone are allowed"
    );
}

#[test]
fn every_action_is_found_by_its_name_and_there_is_none_for_all() {
    for action in Action::ALL {
        assert_eq!(action.as_str().parse(), Ok(action));
    }
    let error = "*".parse::<Action>().unwrap_err().to_string();
    assert!(error.contains("name one of publish, "), "{error}");
}

#[test]
fn the_operator_needs_no_grant_and_administering_is_about_no_domain() {
    let now = Timestamp::from_millis(1_000).unwrap();
    assert_eq!(grant("billing", Action::Publish, "order*", Some("a*")).check(now), Ok(()));
    assert_eq!(grant(OPERATOR, Action::Read, "*", None).check(now), Err(GrantError::Operator));
    assert_eq!(grant("billing", Action::Admin, "*", None).check(now), Ok(()));
    assert_eq!(grant("billing", Action::Admin, "order", None).check(now), Err(GrantError::AdminOfDomain));
    assert_eq!(grant("billing", Action::Admin, "*", Some("*")).check(now), Err(GrantError::AdminOfDomain));
}

#[test]
fn a_grant_that_has_ended_cannot_be_made() {
    let now = Timestamp::from_millis(1_000).unwrap();
    let ends = |expires| NewGrant { expires: Some(expires), ..grant("billing", Action::Read, "*", None) };
    assert_eq!(ends(now).check(now), Err(GrantError::Ended { expires: now }));
    assert_eq!(ends(Timestamp::from_millis(1_001).unwrap()).check(now), Ok(()));
}
