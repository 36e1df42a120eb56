//! Reads the values of single keys.

use std::str::FromStr;

use super::{Answers, KeepAlive, SimConfigError, UsagePolicy};
use crate::units::HumanDuration;

pub(super) fn bad(key: &str, value: &str, expected: &'static str) -> SimConfigError {
    SimConfigError::BadValue { key: key.to_owned(), value: value.to_owned(), expected }
}

pub(super) fn parse<T: FromStr>(
    key: &str,
    value: &str,
    expected: &'static str,
    accept: impl Fn(&T) -> bool,
) -> Result<T, SimConfigError> {
    value.parse().ok().filter(accept).ok_or_else(|| bad(key, value, expected))
}

pub(super) fn at_least_one(key: &str, value: &str) -> Result<u32, SimConfigError> {
    parse(key, value, "a number from 1 on", |number: &u32| *number >= 1)
}

pub(super) fn share(key: &str, value: &str) -> Result<f64, SimConfigError> {
    parse(key, value, "a number from 0 to 1", |share: &f64| (0.0..=1.0).contains(share))
}

pub(super) fn on_off(key: &str, value: &str) -> Result<bool, SimConfigError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(bad(key, value, "`on` or `off`")),
    }
}

pub(super) fn speed(key: &str, value: &str) -> Result<u64, SimConfigError> {
    let range = 0.001..=1_000_000.0;
    let speed = parse(key, value, "a factor from 0.001 to 1000000", |speed: &f64| range.contains(speed))?;
    Ok((speed * 1000.0).round() as u64)
}

pub(super) fn duration(key: &str, value: &str) -> Result<HumanDuration, SimConfigError> {
    value.parse().map_err(|_| bad(key, value, "a duration such as `250ms` or `3s`"))
}

pub(super) fn keepalive(key: &str, value: &str) -> Result<KeepAlive, SimConfigError> {
    match value {
        "on" => Ok(KeepAlive::Open),
        "off" => Ok(KeepAlive::Off),
        _ => match value.parse::<HumanDuration>() {
            Ok(idle) => Ok(KeepAlive::Idle(idle.get())),
            Err(_) => Err(bad(key, value, "`on`, `off` or a duration such as `5s`")),
        },
    }
}

pub(super) fn answers(key: &str, value: &str) -> Result<Answers, SimConfigError> {
    match value {
        "words" => Ok(Answers::Words),
        "numbers" => Ok(Answers::Numbers),
        _ => Err(bad(key, value, "`words` or `numbers`")),
    }
}

pub(super) fn usage(key: &str, value: &str) -> Result<UsagePolicy, SimConfigError> {
    match value {
        "on_request" => Ok(UsagePolicy::OnRequest),
        "always" => Ok(UsagePolicy::Always),
        "never" => Ok(UsagePolicy::Never),
        _ => Err(bad(key, value, "`on_request`, `always` or `never`")),
    }
}
