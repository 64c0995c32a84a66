//! Numbers that must not be mixed up: positions, versions, attempts, slots, times.

use std::fmt;
use std::time::Duration;

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord,
            bincode::Encode, bincode::Decode, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_type! {
    /// An event's place in the whole log: 1, 2, 3, … in commit order, over all hubs, without a gap.
    /// 0 stands for "before the first event".
    Position(u64)
}
number_type! {
    /// An event's place in its eventlog: 1, 2, 3, …. 0 stands for "no event yet".
    Version(u64)
}
number_type! {
    /// Which try of a delivery this is, from 1.
    Attempt(u32)
}
number_type! {
    /// A listener of one connection, numbered by its spoke.
    ListenerId(u32)
}
number_type! {
    /// A request of one connection, numbered by its spoke.
    RequestId(u64)
}

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; 0 stays 0.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// A moment in UTC, in milliseconds since 1970-01-01. From year 0 to 9999.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, bincode::Encode)]
pub struct Timestamp(i64);

/// Why a text or a number is not a timestamp.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// The text is not RFC 3339.
    #[error("{text:?} is not a time; write it as 2011-10-11T13:45:40.276+02:00, with a zone or Z")]
    NotATime {
        /// The text, cut to 64 characters.
        text: String,
    },
    /// The year is below 0 or above 9999.
    #[error("{millis} ms since 1970 is outside the years 0 to 9999")]
    OutOfRange {
        /// The number.
        millis: i64,
    },
}

const MILLIS_MIN: i64 = -62_167_219_200_000;
const MILLIS_MAX: i64 = 253_402_300_799_999;

impl Timestamp {
    /// Takes milliseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`TimestampError::OutOfRange`] outside the years 0 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self, TimestampError> {
        if (MILLIS_MIN..=MILLIS_MAX).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(TimestampError::OutOfRange { millis })
        }
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The moment `span` later, or the last one that there is.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis).min(MILLIS_MAX))
    }

    /// How long before this moment `earlier` was; zero if it was not before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses RFC 3339, with a space allowed in place of the `T` (RFC 3339, 5.6). A zone is
    /// required; digits below the millisecond are cut.
    ///
    /// # Errors
    /// [`TimestampError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let not_a_time = || TimestampError::NotATime { text: text.chars().take(64).collect() };
        let time = OffsetDateTime::parse(&text.replacen(' ', "T", 1), &Rfc3339).map_err(|_| not_a_time())?;
        let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
        Self::from_millis(i64::try_from(millis).map_err(|_| not_a_time())?)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, for example `2011-10-11T11:45:40.276Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
            .to_offset(UtcOffset::UTC);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl<Context> bincode::Decode<Context> for Timestamp {
    fn decode<D: bincode::de::Decoder<Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let millis = <i64 as bincode::Decode<Context>>::decode(decoder)?;
        Self::from_millis(millis).map_err(|error| bincode::error::DecodeError::OtherString(error.to_string()))
    }
}
bincode::impl_borrow_decode!(Timestamp);

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_with_a_zone_becomes_utc_with_milliseconds() {
        let time = Timestamp::parse("2011-10-11 13:45:40.276000+02:00").unwrap();
        assert_eq!(time.to_string(), "2011-10-11T11:45:40.276Z");
        assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
    }

    #[test]
    fn times_before_1970_are_cut_towards_the_past() {
        let time = Timestamp::parse("1969-12-31T23:59:59.9995Z").unwrap();
        assert_eq!(time.millis(), -1);
    }

    #[test]
    fn a_time_without_a_zone_is_refused() {
        assert!(Timestamp::parse("2011-10-11T13:45:40").is_err());
        assert!(Timestamp::parse("").is_err());
    }
}
