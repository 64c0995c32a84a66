//! Names from outside, parsed once and trusted afterwards.
//!
//! A name is 1 to 128 characters of UTF-8 without control characters and without white space at
//! either end (SQL engines differ in whether `'a' = 'a '`). It is compared byte by byte.

use std::fmt;
use std::sync::Arc;

use crate::limits::{CRON_CHARS_MAX, EVENT_ID_CHARS_MAX, NAME_CHARS_MAX, ZONE_CHARS_MAX};

/// Why a text cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no characters.
    #[error("{what} is empty; give it 1 to {max} characters")]
    Empty {
        /// Which name it was to be.
        what: &'static str,
        /// The most characters that it may have.
        max: usize,
    },
    /// The text has too many characters.
    #[error("{what} has {found} characters; at most {max} are allowed")]
    TooLong {
        /// Which name it was to be.
        what: &'static str,
        /// How many characters it has.
        found: usize,
        /// The most characters that it may have.
        max: usize,
    },
    /// The text holds a control character.
    #[error("{what} holds the control character U+{code:04X} at character {at}; take it out")]
    Control {
        /// Which name it was to be.
        what: &'static str,
        /// The character.
        code: u32,
        /// Which character it is, from 1.
        at: usize,
    },
    /// The text starts or ends with white space.
    #[error("{what} starts or ends with white space; trim it")]
    Untrimmed {
        /// Which name it was to be.
        what: &'static str,
    },
    /// The text holds a character that this kind of name does not allow.
    #[error("{what} holds {found:?} at character {at}; only {allowed} are allowed")]
    NotAllowed {
        /// Which name it was to be.
        what: &'static str,
        /// The character.
        found: char,
        /// Which character it is, from 1.
        at: usize,
        /// What is allowed.
        allowed: &'static str,
    },
}

pub(crate) fn check(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what, max });
    }
    // A text of at most `max` bytes needs no counting.
    if text.len() > max {
        let found = text.chars().count();
        if found > max {
            return Err(NameError::TooLong { what, found, max });
        }
    }
    for (index, c) in text.chars().enumerate() {
        if c.is_control() {
            return Err(NameError::Control { what, code: u32::from(c), at: index + 1 });
        }
    }
    if text.trim().len() != text.len() {
        return Err(NameError::Untrimmed { what });
    }
    Ok(())
}

/// Makes a text newtype that can only hold what its check allows, also when decoded from the wire.
macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` if it can be such a name.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong with the text.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                $check($what, text, $max)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }

        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(
                &self,
                encoder: &mut E,
            ) -> Result<(), bincode::error::EncodeError> {
                bincode::Encode::encode(&*self.0, encoder)
            }
        }

        impl<Context> bincode::Decode<Context> for $name {
            fn decode<D: bincode::de::Decoder<Context = Context>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                let text = <String as bincode::Decode<Context>>::decode(decoder)?;
                Self::parse(&text).map_err(|error| bincode::error::DecodeError::OtherString(error.to_string()))
            }
        }

        impl<'de, Context> bincode::BorrowDecode<'de, Context> for $name {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = Context>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                let text = <&'de str as bincode::BorrowDecode<'de, Context>>::borrow_decode(decoder)?;
                Self::parse(text).map_err(|error| bincode::error::DecodeError::OtherString(error.to_string()))
            }
        }
    };
}

fn check_service(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    check(what, text, max)?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    match text.chars().enumerate().find(|&(_, c)| !allowed(c)) {
        Some((index, found)) => {
            Err(NameError::NotAllowed { what, found, at: index + 1, allowed: "a-z, 0-9, '.', '-' and '_'" })
        }
        None => Ok(()),
    }
}

text_type! {
    /// A kind of process, for example `order`.
    Domain, "the domain", NAME_CHARS_MAX, check
}
text_type! {
    /// The id of one process within its domain; with it, the name of an eventlog.
    Pid, "the pid", NAME_CHARS_MAX, check
}
text_type! {
    /// What happened, for example `order placed`.
    EventName, "the event name", NAME_CHARS_MAX, check_event_name
}
text_type! {
    /// An entity that an event concerns, for example `customer/4711`.
    Eid, "the eid", NAME_CHARS_MAX, check
}
text_type! {
    /// A service: what a spoke calls itself. It goes into certificates and file names, so only
    /// `a-z`, `0-9`, `.`, `-` and `_` are allowed, at most 63 of them.
    ServiceName, "the service name", 63, check_service
}
text_type! {
    /// A consumer group: members that share the work on a stream of events.
    GroupName, "the group", NAME_CHARS_MAX, check
}
text_type! {
    /// The id of a hub: a generated id, a dot and the hub's name.
    HubId, "the hub id", NAME_CHARS_MAX, check
}
text_type! {
    /// The id of an event, unique for the life of the log: made by the spoke (UUIDv7) or given.
    EventId, "the event id", EVENT_ID_CHARS_MAX, check
}

text_type! {
    /// What a schedule is found again by: of all schedules with the same key one can be pending.
    ScheduleKey, "the schedule key", NAME_CHARS_MAX, check
}
text_type! {
    /// A projection: what its checkpoint is found again by. The hub never hears it.
    ProjectionName, "the projection", NAME_CHARS_MAX, check
}

text_type! {
    /// A role: services that have the same rights. It is called as a service is.
    RoleName, "the role", 63, check_service
}
text_type! {
    /// What a right is about: one name, every name with a prefix (`order*`), or every name (`*`).
    Pattern, "the pattern", NAME_CHARS_MAX, check_pattern
}

text_type! {
    /// The text of a cron expression. Whether it is one, the hub says.
    CronText, "the cron expression", CRON_CHARS_MAX, check
}
text_type! {
    /// The name of a time zone. Whether there is one, the hub says.
    ZoneName, "the time zone", ZONE_CHARS_MAX, check
}

/// `*` stands for every name in filters, so no event may bear it.
fn check_event_name(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    check(what, text, max)?;
    if text == "*" {
        return Err(NameError::NotAllowed {
            what,
            found: '*',
            at: 1,
            allowed: "names other than the wildcard itself",
        });
    }
    Ok(())
}

/// A `*` stands at the end or nowhere: a match takes one look, and patterns can be compared.
fn check_pattern(what: &'static str, text: &str, max: usize) -> Result<(), NameError> {
    if text == "*" {
        return Ok(());
    }
    let name = text.strip_suffix('*').unwrap_or(text);
    // A prefix may end in the middle of a name, also before or after a blank.
    let checked = if name.len() < text.len() { name.trim_end() } else { name };
    check(what, checked, max)?;
    let found = name.chars().count();
    if found > max {
        return Err(NameError::TooLong { what, found, max });
    }
    match name.chars().enumerate().find(|&(_, c)| c == '*' || c.is_control()) {
        Some((index, found)) => Err(NameError::NotAllowed {
            what,
            found,
            at: index + 1,
            allowed: "a name, a prefix with a '*' after it and a '*' alone",
        }),
        None => Ok(()),
    }
}

impl EventId {
    /// An id from UUID bytes, in the usual text form.
    #[must_use]
    pub fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(Arc::from(uuid.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()) as &str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_longest_length_is_taken_and_one_more_is_refused() {
        assert!(Domain::parse(&"ö".repeat(128)).is_ok());
        assert_eq!(
            Domain::parse(&"ö".repeat(129)),
            Err(NameError::TooLong { what: "the domain", found: 129, max: 128 })
        );
    }

    #[test]
    fn control_characters_and_outer_white_space_are_refused() {
        assert!(matches!(Pid::parse("a\nb"), Err(NameError::Control { code: 10, at: 2, .. })));
        assert!(matches!(Pid::parse("a\u{85}"), Err(NameError::Control { .. })));
        assert!(matches!(Pid::parse("a "), Err(NameError::Untrimmed { .. })));
        assert!(matches!(Pid::parse(""), Err(NameError::Empty { .. })));
    }

    #[test]
    fn an_event_cannot_bear_the_wildcard_as_its_name() {
        assert!(EventName::parse("*").is_err());
        assert!(EventName::parse("order *").is_ok());
    }

    #[test]
    fn a_service_name_is_fit_for_certificates_and_file_names() {
        assert!(ServiceName::parse("billing-2.eu").is_ok());
        for bad in ["Billing", "a/b", "å", "a b"] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }
}
