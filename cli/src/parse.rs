//! Option values that are more than one name: times, places in the log, pairs.

use std::time::Duration;

use hub::OutboxPoll;
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

/// Seconds, also with a fraction, or a [`duration`].
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let bad = |_| "it is neither a number of seconds nor a time like 500ms or 5m".to_owned();
    seconds.map_or_else(|| duration(text).map_err(bad), Ok)
}

/// The shortest and the longest time between two looks at the outbox.
const OUTBOX_POLL_MIN: Duration = Duration::from_millis(20);
const OUTBOX_POLL_MAX: Duration = Duration::from_secs(3_600);

/// `HOST:PORT`, or several with commas between them.
pub(crate) fn addresses(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|one| address(one.trim())).collect()
}

fn address(text: &str) -> Result<String, String> {
    let bad = || format!("{text:?} is not HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let host_is_one = match host.strip_prefix('[') {
        Some(address) => address.ends_with(']'),
        None => !host.contains(':'),
    };
    let fits = !host.is_empty() && host_is_one && !text.chars().any(char::is_whitespace) && text.len() <= 300;
    match port.parse::<u16>() {
        Ok(1..) if fits => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(bad()),
    }
}

/// `off`, or from 20 ms to an hour, as [`seconds`].
pub(crate) fn outbox_poll(text: &str) -> Result<OutboxPoll, String> {
    if text == "off" {
        return Ok(OutboxPoll::Off);
    }
    seconds(text)
        .ok()
        .filter(|pause| (OUTBOX_POLL_MIN..=OUTBOX_POLL_MAX).contains(pause))
        .map(OutboxPoll::Every)
        .ok_or_else(|| "it is neither off nor a time from 20ms to 1h, in seconds or with a unit".to_owned())
}

/// A number and its unit, `ms`, `s`, `m`, `h` or `d`: for example `500ms` or `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write a number and its unit, for example 500ms, 30s, 5m or 1h".to_owned()),
    };
    let number = text.strip_suffix(unit).and_then(|number| number.parse::<u64>().ok());
    let millis = number.and_then(|number| number.checked_mul(millis));
    millis.map(Duration::from_millis).ok_or_else(|| "it is no time, or too long a one".to_owned())
}

/// Two times, the shorter first: for example `500ms..60s`.
pub(crate) fn span(text: &str) -> Result<(Duration, Duration), String> {
    let (first, longest) =
        text.split_once("..").ok_or("write it as FIRST..LONGEST, for example 500ms..60s")?;
    let (first, longest) = (duration(first)?, duration(longest)?);
    if first <= longest {
        Ok((first, longest))
    } else {
        Err("the first is longer than the longest".to_owned())
    }
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

/// RFC 3339, or `+` and a [`duration`].
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    match text.strip_prefix('+') {
        Some(rest) => duration(rest).map(Moment::In),
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
    fn an_outbox_is_looked_at_within_bounds_or_not_at_all() {
        assert_eq!(outbox_poll("off"), Ok(OutboxPoll::Off));
        assert_eq!(outbox_poll("0.25"), Ok(OutboxPoll::Every(Duration::from_millis(250))));
        assert_eq!(outbox_poll("20ms"), Ok(OutboxPoll::Every(Duration::from_millis(20))));
        for bad in ["0", "0.01", "3601", "-1", "on", "NaN"] {
            assert!(outbox_poll(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_that_spokes_are_told_has_a_host_and_a_port() {
        let both = vec!["hub.example:50001".to_owned(), "[2001:db8::1]:1".to_owned()];
        assert_eq!(addresses("hub.example:50001, [2001:db8::1]:1"), Ok(both));
        for bad in ["", "hub.example", ":50001", "hub:0", "hub:70000", "a b:1", "::1:50001", "a:1,"] {
            assert!(addresses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_start_is_a_word_or_a_position() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("now"), Ok(Start::Now));
        assert_eq!(start("8577"), Ok(Start::At(Position(8577))));
        assert!(start("-1").is_err());
        assert!(start("Beginning").is_err());
    }

    #[test]
    fn seconds_may_have_a_fraction_or_a_unit_and_are_not_negative() {
        for (text, millis) in [("2", 2_000), ("0.25", 250), ("10s", 10_000), ("500ms", 500), ("2m", 120_000)]
        {
            assert_eq!(seconds(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["-1", "NaN", "inf", "", "ten", "10 s", "0.5s"] {
            assert!(seconds(bad).unwrap_err().contains("number of seconds"), "{bad}");
        }
    }

    #[test]
    fn a_time_has_a_unit_and_a_span_goes_up() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for bad in ["", "5", "ms", "-1s", "1.5s", "1 s", "99999999999999999999d", "18446744073709551615d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(span("1s..1s"), Ok((Duration::from_secs(1), Duration::from_secs(1))));
        assert!(span("2s..1s").is_err() && span("2s").is_err());
    }

    #[test]
    fn a_moment_may_be_one_from_now() {
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
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
