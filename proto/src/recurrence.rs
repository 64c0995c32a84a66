//! How a schedule recurs, as it is asked for: the rule, and what is to be done when it cannot be kept.
//!
//! What these words mean to the millisecond is decided by the hub (`hub::recurrence`) and laid down with
//! examples in `docs/schedules.md`. Texts are bounded here and understood there.

use crate::name::{CronText, ZoneName};
use crate::number::Timestamp;

/// A rule, with what happens to occurrences that cannot be at their time.
#[derive(
    Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Recurrence {
    /// When it occurs.
    pub rule: Rule,
    /// What becomes of occurrences that nobody could fire in time.
    #[serde(default)]
    pub misfire: Misfire,
    /// What becomes of local times that a change of the clocks skips.
    #[serde(default)]
    pub skipped: SkippedTime,
    /// What becomes of local times that a change of the clocks brings twice.
    #[serde(default)]
    pub doubled: DoubledTime,
    /// The last moment at which it may occur; `None` means that it does not end.
    #[serde(default)]
    pub end: Option<Timestamp>,
    /// Milliseconds by which an occurrence may be fired later, each by its own share of them, so that
    /// schedules of the same time do not come all at once. 0 means none.
    #[serde(default)]
    pub jitter_ms: u32,
}

impl Recurrence {
    /// A recurrence without end and jitter, with the default policies.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            rule,
            misfire: Misfire::default(),
            skipped: SkippedTime::default(),
            doubled: DoubledTime::default(),
            end: None,
            jitter_ms: 0,
        }
    }
}

/// When a schedule occurs.
#[derive(
    Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// At local times of a zone.
    Cron {
        /// Five fields (minute, hour, day of month, month, day of week) or six with seconds in front.
        expression: CronText,
        /// An IANA time zone, for example `Europe/Stockholm`.
        zone: ZoneName,
    },
    /// Each time that so much time has passed, counted from the start of the schedule: clocks on walls
    /// do not matter to it.
    Every {
        /// Milliseconds from one occurrence to the next.
        millis: u64,
    },
}

/// Makes an enum of policies that are written as one word, the same in JSON, in SQL and on the command line.
macro_rules! policy {
    (
        $(#[$doc:meta])*
        $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, Hash,
            bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, the default first.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = PolicyError;

            fn from_str(text: &str) -> Result<Self, PolicyError> {
                Self::ALL.iter().copied().find(|policy| policy.as_str() == text).ok_or_else(|| PolicyError {
                    what: $what,
                    found: text.chars().take(WORD_CHARS_SHOWN).collect(),
                    words: &[$($word),+],
                })
            }
        }
    };
}

/// Characters of a word that is not understood which an error repeats. The rest is cut.
const WORD_CHARS_SHOWN: usize = 64;

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no policy for {what}; choose one of {}", .words.join(", "))]
pub struct PolicyError {
    /// What the policy was to be for.
    pub what: &'static str,
    /// The text, cut.
    pub found: String,
    /// The words that there are.
    pub words: &'static [&'static str],
}

policy! {
    /// What becomes of occurrences that nobody could fire in time, because no hub ran or because the
    /// schedule was paused.
    ///
    /// One is missed when the next one is due as well, or when more time has passed than a hub allows.
    Misfire, "missed occurrences" {
        /// One of them is fired at once for all of them: the latest.
        #[default]
        FireOnceNow = "fire_once_now",
        /// None is fired; the schedule goes on with the next one.
        Skip = "skip",
        /// All are fired at once, the oldest first, up to a limit of the hub.
        FireEach = "fire_each",
    }
}

policy! {
    /// What becomes of local times that do not exist, because the clock is set forward over them.
    SkippedTime, "local times that are skipped" {
        /// `skip` for a rule whose hours are a wildcard (`*`, `*/2`), because it comes round again soon;
        /// `fire_after` for one that names its hours.
        #[default]
        ByRule = "by_rule",
        /// There is no occurrence.
        Skip = "skip",
        /// There is one at the first moment after the gap, however many local times the gap swallowed.
        FireAfter = "fire_after",
    }
}

policy! {
    /// What becomes of local times that exist twice, because the clock is set back to before them.
    DoubledTime, "local times that are doubled" {
        /// `twice` for a rule whose hours are a wildcard (`*`, `*/2`), so that it does not pause;
        /// `first` for one that names its hours.
        #[default]
        ByRule = "by_rule",
        /// Only the first time counts.
        First = "first",
        /// Only the second time counts.
        Second = "second",
        /// Both count.
        Twice = "twice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_one_word_in_json_and_in_text() {
        for policy in DoubledTime::ALL {
            let json = serde_json::to_string(policy).unwrap();
            assert_eq!(json, format!("\"{policy}\""));
            assert_eq!(policy.as_str().parse(), Ok(*policy));
        }
        for policy in Misfire::ALL {
            assert_eq!(serde_json::to_string(policy).unwrap(), format!("\"{policy}\""));
        }
        for policy in SkippedTime::ALL {
            assert_eq!(serde_json::to_string(policy).unwrap(), format!("\"{policy}\""));
        }
        let error = "never".parse::<Misfire>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"never\" is no policy for missed occurrences; choose one of fire_once_now, skip, fire_each"
        );
    }

    #[test]
    fn a_recurrence_in_json_needs_its_rule_only() {
        let short = r#"{"rule":{"cron":{"expression":"0 3 * * *","zone":"Europe/Stockholm"}}}"#;
        let recurrence: Recurrence = serde_json::from_str(short).unwrap();
        let expression = CronText::parse("0 3 * * *").unwrap();
        let zone = ZoneName::parse("Europe/Stockholm").unwrap();
        assert_eq!(recurrence, Recurrence::new(Rule::Cron { expression, zone }));
        let long = serde_json::to_string(&recurrence).unwrap();
        assert_eq!(serde_json::from_str::<Recurrence>(&long).unwrap(), recurrence);
        assert!(serde_json::from_str::<Recurrence>(r#"{"rule":{"every":{"seconds":5}}}"#).is_err());
    }

    #[test]
    fn an_expression_or_a_zone_of_any_length_does_not_come_in() {
        assert!(CronText::parse(&"1,".repeat(100)).is_err());
        assert!(ZoneName::parse(&"a".repeat(65)).is_err());
    }
}
