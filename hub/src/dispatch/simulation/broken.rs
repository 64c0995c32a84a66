//! What a simulation can find: a promise that was broken.

use std::fmt;

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The rule, as a sentence.
    pub rule: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken rule: {}; seen: {}", self.rule, self.seen)
    }
}

/// `rule` holds, or this is the end of the simulation.
pub(super) fn rule(holds: bool, rule: &'static str, seen: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { rule, seen: seen() }) }
}
