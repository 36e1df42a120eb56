//! Numbers as people read them in tables: grouped, short, with one unit.

use serde_json::Value;

/// A count with groups of three: `12,345`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A large count in three digits: `950`, `12.3k`, `4.56M`.
pub fn short(value: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
    let float = value as f64;
    // The edges are where three digits would round up to the next unit.
    match value {
        0..1_000 => value.to_string(),
        1_000..999_500 => three_digits(float / 1e3, "k"),
        999_500..999_500_000 => three_digits(float / 1e6, "M"),
        999_500_000..999_500_000_000 => three_digits(float / 1e9, "G"),
        _ => three_digits(float / 1e12, "T"),
    }
}

fn three_digits(value: f64, unit: &str) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}{unit}")
}

/// A quantity of any size: whole and grouped when it is whole or large, one decimal (two below 10) else.
pub fn amount(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturating; amounts are never negative"
    )]
    let whole = value.round() as u64;
    if value.fract() == 0.0 || value >= 1000.0 {
        count(whole)
    } else if value < 0.01 {
        format!("{value}")
    } else if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// A wall time in at most two units: `45s`, `3m 20s`, `5h 2m`, `2d 4h`.
pub fn time(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "unbounded".to_owned();
    }
    if seconds < 9.95 && seconds.fract() != 0.0 {
        return format!("{seconds:.1}s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, saturating, never negative")]
    let s = seconds.round() as u64;
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit} {small}{small_unit}") }
    };
    match s {
        0..60 => format!("{s}s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// A cost: cents below ten dollars, four decimals below a cent's reach.
pub fn usd(value: f64) -> String {
    if value == 0.0 {
        "$0".to_owned()
    } else if value < 0.1 {
        format!("${value:.4}")
    } else if value < 1000.0 {
        format!("${value:.2}")
    } else {
        format!("${}", amount(value))
    }
}

/// A setting on one line: strings bare, whole floats without their `.0`, the rest as JSON.
pub fn setting(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(_) => crate::plan::canonical::to_string(&crate::plan::canonical::normalised(value)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => crate::plan::canonical::to_string(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_short_and_exact_where_it_matters() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [short(999), short(1000), short(12_345), short(999_499), short(999_500), short(4_560_000_000)],
            ["999", "1.00k", "12.3k", "999k", "1.00M", "4.56G"]
        );
        assert_eq!(
            [time(0.0), time(0.26), time(45.0), time(200.4), time(3600.0), time(18_120.0), time(187_200.0)],
            ["0s", "0.3s", "45s", "3m 20s", "1h", "5h 2m", "2d 4h"]
        );
        assert_eq!(time(f64::INFINITY), "unbounded");
        assert_eq!([usd(0.0), usd(0.0123), usd(12.345), usd(12_345.6)], ["$0", "$0.0123", "$12.35", "$12,346"]);
        assert_eq!([amount(3.0), amount(2.5), amount(12.34), amount(1234.5)], ["3", "2.50", "12.3", "1,235"]);
        assert_eq!(
            [setting(&json!(4.0)), setting(&json!("x")), setting(&json!({ "b": 1, "a": [true] }))],
            ["4", "x", r#"{"a":[true],"b":1}"#]
        );
    }
}
