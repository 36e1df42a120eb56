//! Values of a row: times, token counts.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::error::Bad;
use crate::units::NANOS_PER_SEC;

/// Largest number of tokens of a prompt or an answer: as in scenarios.
pub(super) const MOST_TOKENS: u32 = 10_000_000;

/// Times beyond this many nanoseconds (a hundred years) are mistakes.
const LATEST_NS: i128 = 100 * 366 * 86_400 * NANOS_PER_SEC as i128;

/// When a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// Nanoseconds since the start of the trace.
    Offset(i128),
    /// Nanoseconds since 1970: the first one is the start of the trace.
    Instant(i128),
}

/// A decimal number of units of `unit_ns` nanoseconds, exact to the nanosecond.
pub(super) fn offset(field: &str, text: &str, unit_ns: u64, unit: &str) -> Result<Time, Bad> {
    let bad = || Bad::new(field, text, format!("a number of {unit} of at least 0"));
    let ns = decimal(text.trim(), unit_ns).ok_or_else(bad)?;
    if !(0..=LATEST_NS).contains(&ns) {
        return Err(bad());
    }
    Ok(Time::Offset(ns))
}

/// `text` times `unit`, rounded half up; `None` for anything but a finite decimal number.
fn decimal(text: &str, unit: u64) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        // Exponents are rare enough to go through binary floats.
        let value: f64 = text.parse().ok()?;
        let exponent = text.contains(['e', 'E']) && value.is_finite();
        return exponent.then(|| (value * unit as f64).round() as i128);
    }
    if whole.is_empty() && fraction.is_empty() || whole.len() > 20 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Digits beyond the twentieth are below a nanosecond of any unit.
    let fraction = &fraction[..fraction.len().min(20)];
    let scale = 10_i128.pow(fraction.len() as u32);
    let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let unit = i128::from(unit);
    let ns = whole.checked_mul(unit)? + (part * unit + scale / 2) / scale;
    Some(if negative { -ns } else { ns })
}

/// A date and time, with an offset from UTC or without one (then taken as UTC).
pub(super) fn instant(field: &str, text: &str) -> Result<Time, Bad> {
    let text = text.trim();
    let bad = || Bad::new(field, text, "a date and time such as `2023-11-16 18:17:03.979`");
    let clock = text.get(10..).unwrap_or("");
    let timestamp = if clock.contains(['Z', 'z', '+', '-']) {
        text.parse::<jiff::Timestamp>().map_err(|_| bad())?
    } else {
        let civil: DateTime = text.parse().map_err(|_| bad())?;
        TimeZone::UTC.to_timestamp(civil).map_err(|_| bad())?
    };
    Ok(Time::Instant(timestamp.as_nanosecond()))
}

/// A number of tokens. Whole numbers that a spreadsheet wrote as `12.0` are whole.
pub(super) fn tokens(field: &str, text: &str) -> Result<u32, Bad> {
    let text = text.trim();
    let whole = text.strip_suffix(".0").unwrap_or(text);
    let tokens = whole.parse::<u32>().ok().filter(|tokens| *tokens <= MOST_TOKENS);
    tokens.ok_or_else(|| Bad::new(field, text, format!("a whole number of tokens from 0 to {MOST_TOKENS}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_to_the_nanosecond() {
        let s = NANOS_PER_SEC;
        for (text, unit, ns) in [
            ("0", s, Some(0)),
            ("1.5", s, Some(1_500_000_000)),
            (".25", s, Some(250_000_000)),
            ("3.", s, Some(3_000_000_000)),
            // A double holds 16 digits; this needs 19.
            ("1700000000.123456789", s, Some(1_700_000_000_123_456_789)),
            ("0.0000000004", s, Some(0)),
            ("0.0000000005", s, Some(1)),
            ("27482", 1_000_000, Some(27_482_000_000)),
            ("1e3", 1_000_000, Some(1_000_000_000)),
            ("-1", s, Some(-1_000_000_000)),
            ("", s, None),
            (".", s, None),
            ("1,5", s, None),
            ("nan", s, None),
            ("inf", s, None),
            ("1e999", s, None),
            ("0x10", s, None),
            ("1 2", s, None),
        ] {
            assert_eq!(decimal(text, unit), ns, "{text}");
        }
        assert!(offset("t", "-0.1", s, "seconds").is_err());
        assert!(offset("t", "99999999999", s, "seconds").is_err(), "three thousand years");
    }

    #[test]
    fn dates_are_read_in_every_published_spelling() {
        let ns = |text: &str| match instant("t", text) {
            Ok(Time::Instant(ns)) => ns,
            other => panic!("{text}: {other:?}"),
        };
        // 2023-11-16 18:17:03 UTC is 1 700 158 623 s after 1970.
        assert_eq!(ns("2023-11-16 18:17:03.9799600"), 1_700_158_623_979_960_000);
        assert_eq!(ns("2023-11-16T18:17:03.97996Z"), 1_700_158_623_979_960_000);
        assert_eq!(ns("2023-11-16 18:17:03.979960+00:00"), 1_700_158_623_979_960_000);
        assert_eq!(ns("2023-11-16 19:17:03.979960+01:00"), 1_700_158_623_979_960_000);
        assert_eq!(ns("2023-11-16 18:17:03"), 1_700_158_623_000_000_000);
        for text in ["", "yesterday", "2023-13-01 00:00:00", "18:17:03", "1700158623"] {
            assert!(instant("t", text).is_err(), "{text}");
        }
    }

    #[test]
    fn tokens_are_whole_and_bounded() {
        assert_eq!(tokens("n", " 4808 "), Ok(4808));
        assert_eq!(tokens("n", "10.0"), Ok(10));
        assert_eq!(tokens("n", "0"), Ok(0));
        for text in ["", "-1", "1.5", "ten", "10000001", "4294967296"] {
            assert!(tokens("n", text).is_err(), "{text}");
        }
    }
}
