//! What ends when, and when somebody is told before it does.

use std::time::Duration;

use proto::Timestamp;

const DAY: Duration = Duration::from_hours(24);

/// So long before its end an issuer is replaced by itself: long before any leaf would be cut short by it.
pub(crate) const ISSUERS_ROTATED_BEFORE: Duration = DAY.saturating_mul(30);

/// So long before its end people are told of a root, which only they replace.
const ROOT_WARNED_BEFORE: Duration = DAY.saturating_mul(365);

/// So long before its end people are told of an issuer: it should have been replaced by then.
const ISSUER_WARNED_BEFORE: Duration = DAY.saturating_mul(29);

/// So long before its end people are told of an issuer whose root's key is elsewhere: only they replace it.
const ISSUER_ELSEWHERE_WARNED_BEFORE: Duration = DAY.saturating_mul(90);

/// The part of its life at whose start people are told of a hub's leaf: it is renewed at half.
const LEAF_LAST_PART: u32 = 4;

/// How often they are told.
const TOLD_EVERY: Duration = DAY;

/// What a hub cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Essential {
    Root,
    HubIssuer,
    SpokeIssuer,
    HubLeaf,
}

impl Essential {
    pub(crate) const ALL: [Self; 4] = [Self::Root, Self::HubIssuer, Self::SpokeIssuer, Self::HubLeaf];
    /// Their names in the metrics, in the same order.
    pub(crate) const LABELS: [&str; 4] = ["root", "issuer_hub", "issuer_spoke", "hub_leaf"];

    fn advice(self) -> &'static str {
        match self {
            Self::Root => "replace it with `eventflow certs rotate root`",
            Self::HubIssuer | Self::SpokeIssuer => {
                "see `eventflow certs status` why it was not replaced, or run `eventflow certs rotate intermediate` \
                 (`eventflow certs export-csr` if the root's key is elsewhere)"
            }
            Self::HubLeaf => "see the hub's log why it was not renewed",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Root => "the root certificate",
            Self::HubIssuer => "the issuing certificate of hubs",
            Self::SpokeIssuer => "the issuing certificate of spokes",
            Self::HubLeaf => "this hub's own certificate",
        }
    }
}

/// When each of what a hub cannot do without ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) root: Timestamp,
    pub(crate) hub_issuer: Timestamp,
    pub(crate) spoke_issuer: Timestamp,
    pub(crate) hub_leaf: Timestamp,
    /// How long the leaf lives in all.
    pub(crate) leaf_lifetime: Duration,
    /// Whether nothing can be signed by the root here.
    pub(crate) root_key_is_elsewhere: bool,
}

impl Ends {
    pub(crate) fn of(&self, essential: Essential) -> Timestamp {
        match essential {
            Essential::Root => self.root,
            Essential::HubIssuer => self.hub_issuer,
            Essential::SpokeIssuer => self.spoke_issuer,
            Essential::HubLeaf => self.hub_leaf,
        }
    }

    /// Whether issuers are to be replaced without anybody's asking.
    pub(crate) fn issuers_due(&self, now: Timestamp) -> bool {
        self.hub_issuer.min(self.spoke_issuer).since(now) < ISSUERS_ROTATED_BEFORE
    }

    /// What people are to be told now.
    pub(crate) fn warnings(&self, now: Timestamp) -> Vec<(Essential, String)> {
        let warned_before = |essential| match essential {
            Essential::Root => ROOT_WARNED_BEFORE,
            Essential::HubIssuer | Essential::SpokeIssuer if self.root_key_is_elsewhere => {
                ISSUER_ELSEWHERE_WARNED_BEFORE
            }
            Essential::HubIssuer | Essential::SpokeIssuer => ISSUER_WARNED_BEFORE,
            Essential::HubLeaf => self.leaf_lifetime / LEAF_LAST_PART,
        };
        let near = Essential::ALL.into_iter().filter(|one| self.of(*one).since(now) < warned_before(*one));
        near.map(|one| (one, format!("{} ends at {}; {}", one.what(), self.of(one), one.advice()))).collect()
    }
}

/// Tells of each thing once a day.
#[derive(Debug, Default)]
pub(crate) struct Reminders {
    told: [Option<Timestamp>; Essential::ALL.len()],
}

impl Reminders {
    /// Whether people are to be told of this again, which they are then.
    pub(crate) fn remind(&mut self, of: Essential, now: Timestamp) -> bool {
        let Some(told) = self.told.get_mut(of as usize) else { return false };
        if told.is_some_and(|told| now < told.plus(TOLD_EVERY)) {
            return false;
        }
        *told = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> Timestamp {
        Timestamp::default().plus(DAY * u32::try_from(days).unwrap())
    }

    fn ends() -> Ends {
        Ends {
            root: at(3650),
            hub_issuer: at(365),
            spoke_issuer: at(360),
            hub_leaf: at(3650),
            leaf_lifetime: DAY,
            root_key_is_elsewhere: false,
        }
    }

    fn told(days: u64) -> Vec<Essential> {
        ends().warnings(at(days)).into_iter().map(|(essential, _)| essential).collect()
    }

    #[test]
    fn issuers_are_due_thirty_days_before_the_first_of_them_ends() {
        assert!(!ends().issuers_due(at(330)));
        assert!(ends().issuers_due(at(331)));
    }

    #[test]
    fn people_are_told_of_an_issuer_that_was_not_replaced_and_of_a_root_a_year_before_its_end() {
        assert_eq!(told(331), []);
        assert_eq!(told(332), [Essential::SpokeIssuer]);
        assert_eq!(told(337), [Essential::HubIssuer, Essential::SpokeIssuer]);
        assert!(told(3286).contains(&Essential::Root));
        assert!(!told(3285).contains(&Essential::Root));
    }

    #[test]
    fn people_are_told_in_time_of_issuers_that_only_they_replace() {
        let ends = Ends { root_key_is_elsewhere: true, ..ends() };
        assert_eq!(ends.warnings(at(270)), []);
        assert!(matches!(ends.warnings(at(271)).as_slice(), [(Essential::SpokeIssuer, _)]));
    }

    #[test]
    fn a_leaf_that_was_not_renewed_is_told_of_in_the_last_quarter_of_its_life() {
        let ends = Ends { hub_leaf: at(1), ..ends() };
        let hours = |hours| Timestamp::default().plus(Duration::from_hours(hours));
        assert_eq!(ends.warnings(hours(18)), []);
        assert!(matches!(ends.warnings(hours(19)).as_slice(), [(Essential::HubLeaf, _)]));
    }

    #[test]
    fn people_are_told_once_a_day() {
        let mut reminders = Reminders::default();
        assert!(reminders.remind(Essential::Root, at(1)));
        assert!(!reminders.remind(Essential::Root, at(1).plus(DAY / 2)));
        assert!(reminders.remind(Essential::HubIssuer, at(1)));
        assert!(reminders.remind(Essential::Root, at(2)));
    }
}
