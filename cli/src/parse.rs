//! Option values that are more than one name: times, places in the log, pairs.

use std::time::Duration;

use proto::{Cpid, Domain, Expected, Pid, Position, Start, Timestamp, Version};

/// `beginning`, `now` or a position.
pub(crate) fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "now" => Ok(Start::Now),
        number => number
            .parse()
            .map(|position| Start::At(Position(position)))
            .map_err(|_| "it is neither beginning nor now nor a position".to_owned()),
    }
}

/// Seconds, also with a fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "it is not a number of seconds".to_owned())
}

/// A span of time: a whole number and its unit, `500ms`, `2s`, `5m`, `12h` or `30d`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "it is not a span of time; write 500ms, 2s, 5m, 12h or 30d".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// A moment, by itself or from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// This one.
    At(Timestamp),
    /// So long from now.
    In(Duration),
}

impl Moment {
    /// The moment, if it is `now`.
    pub(crate) fn after(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::In(span) => now.plus(span),
        }
    }
}

/// RFC 3339, or `+` and a [`span`].
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    match text.strip_prefix('+') {
        Some(rest) => span(rest).map(Moment::In),
        None => Timestamp::parse(text).map(Moment::At).map_err(|error| error.to_string()),
    }
}

/// `DOMAIN/PID`; the first slash divides.
pub(crate) fn cpid(text: &str) -> Result<Cpid, String> {
    let (domain, pid) = text.split_once('/').ok_or("write it as DOMAIN/PID")?;
    let domain = Domain::parse(domain).map_err(|error| error.to_string())?;
    let pid = Pid::parse(pid).map_err(|error| error.to_string())?;
    Ok(Cpid { domain, pid })
}

/// `KEY=VALUE`; the first equals sign divides.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// `any`, `none`, `exists` or a version.
pub(crate) fn expected(text: &str) -> Result<Expected, String> {
    match text {
        "any" => Ok(Expected::Any),
        "none" => Ok(Expected::None),
        "exists" => Ok(Expected::Exists),
        number => number
            .parse()
            .map(|version| Expected::Exactly(Version(version)))
            .map_err(|_| "it is neither any nor none nor exists nor a version".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_or_a_position() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("now"), Ok(Start::Now));
        assert_eq!(start("8577"), Ok(Start::At(Position(8577))));
        assert!(start("-1").is_err());
        assert!(start("Beginning").is_err());
    }

    #[test]
    fn seconds_may_have_a_fraction_and_are_not_negative() {
        assert_eq!(seconds("2"), Ok(Duration::from_secs(2)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["-1", "NaN", "inf", "", "2s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_span_has_a_unit_and_a_moment_may_be_one_from_now() {
        assert_eq!(span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(span("30d"), Ok(Duration::from_secs(30 * 86_400)));
        for bad in ["", "2", "s", "-1s", "1.5s", "2 s", "99999999999999999d", "1y"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        assert_eq!(moment("+2s"), Ok(Moment::In(Duration::from_secs(2))));
        assert!(moment("tomorrow").is_err());
    }

    #[test]
    fn a_process_is_divided_by_its_first_slash_and_a_pair_by_its_first_equals_sign() {
        let parsed = cpid("order/eu/4711").unwrap();
        assert_eq!((parsed.domain.as_str(), parsed.pid.as_str()), ("order", "eu/4711"));
        assert!(cpid("order").is_err());
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err());
    }

    #[test]
    fn an_expectation_is_a_word_or_a_version() {
        assert_eq!(expected("none"), Ok(Expected::None));
        assert_eq!(expected("exists"), Ok(Expected::Exists));
        assert_eq!(expected("3"), Ok(Expected::Exactly(Version(3))));
        assert!(expected("latest").is_err());
    }
}
