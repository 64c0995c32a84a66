//! How soon an event is delivered among those that wait: ten lanes, the lower number first.
//!
//! It is said in the event's metadata, under [`KEY`], so it is part of what was published and costs
//! nothing where it is not used. Within an ordered process it changes nothing: there the order of the
//! log counts, and the lane of a process is that of its next event.

use std::fmt;
use std::str::FromStr;

use crate::event::{EventError, Metadata, NewEvent};

/// The metadata key under which an event says its priority.
pub const KEY: &str = "priority";

/// Lanes that there are, from 0 to 9.
pub const LANES: u8 = 10;

/// A lane: 0 goes first, 9 last. An event that says nothing has 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// The lane number `lane`, if there is one.
    #[must_use]
    pub fn of(lane: u8) -> Option<Self> {
        (lane < LANES).then_some(Self(lane))
    }

    /// Its number, 0 to 9.
    #[must_use]
    pub fn lane(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Priority {
    type Err = EventError;

    /// Takes one digit and nothing else.
    fn from_str(text: &str) -> Result<Self, EventError> {
        let lane = match text.as_bytes() {
            [digit] => digit.checked_sub(b'0').and_then(Self::of),
            _ => None,
        };
        lane.ok_or_else(|| EventError::Priority { found: text.chars().take(16).collect() })
    }
}

impl Metadata {
    /// The priority that it says. One that was stored before priorities were checked and is none
    /// counts as not said.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.0.get(KEY).and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

impl NewEvent {
    /// The same event in the lane of `priority`.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.metadata.0.insert(KEY.to_owned(), priority.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Domain, EventId, EventName, Pid};

    fn event() -> NewEvent {
        let (id, domain) = (EventId::parse("e").unwrap(), Domain::parse("order").unwrap());
        NewEvent::new(id, domain, Pid::parse("1").unwrap(), EventName::parse("placed").unwrap())
    }

    #[test]
    fn a_priority_is_one_digit_and_nothing_else() {
        assert_eq!("0".parse::<Priority>().unwrap().lane(), 0);
        assert_eq!("9".parse::<Priority>().unwrap().lane(), 9);
        for bad in ["", "10", "-1", "high", " 1", "١"] {
            assert!(bad.parse::<Priority>().is_err(), "{bad}");
        }
        assert_eq!(Priority::of(10), None);
    }

    #[test]
    fn an_event_that_says_nothing_is_in_the_middle_and_has_the_digest_that_it_always_had() {
        assert_eq!(event().metadata.priority().lane(), 5);
        let urgent = event().with_priority(Priority(0));
        assert_eq!(urgent.metadata.priority().lane(), 0);
        assert_ne!(urgent.digest(), event().digest(), "a priority is part of what was asked for");
    }

    #[test]
    fn another_priority_is_refused_where_an_event_is_checked() {
        let mut event = event();
        event.metadata.0.insert(KEY.to_owned(), "high".to_owned());
        assert_eq!(event.check(), Err(EventError::Priority { found: "high".to_owned() }));
        assert_eq!(event.metadata.priority(), Priority::default());
    }
}
