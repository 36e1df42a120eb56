//! Values of linear and logarithmic ranges, rounded so that people can read them.

use serde_json::{Number, Value};

use crate::scenario::file::{RangeBounds, RangeConfig};

/// Significant digits of a logarithmic range: `3.16228`, not `3.1622776601683795`.
const LOG_DIGITS: usize = 6;

/// Significant digits of a linear range: enough to hide `0.30000000000000004`, too many to move a value.
const LINEAR_DIGITS: usize = 12;

/// How near to a whole number a value must be to be one, relative to its size above 1.
const WHOLE_TOLERANCE: f64 = 1e-9;

/// Largest whole number that every `f64` neighbour can tell apart.
const EXACT_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Why a range has no values.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RangeError {
    /// A logarithmic range with an end at or below zero.
    #[error("a log range needs two ends above 0, not {from} and {to}; use `kind = \"linear\"` or list the `values`")]
    NotPositive {
        /// First value.
        from: f64,
        /// Last value.
        to: f64,
    },
    /// An end is infinite or not a number.
    #[error("both ends of a range must be finite numbers")]
    NotFinite,
    /// Rounding leaves fewer values than asked for.
    #[error("{count} values from {from} to {to} hold {value} twice; use a smaller `count` or list the `values`")]
    Twice {
        /// First value.
        from: f64,
        /// Last value.
        to: f64,
        /// Values asked for.
        count: u32,
        /// A value that appears twice, as it is printed.
        value: String,
    },
}

/// The values of `range`, first to last.
///
/// They are whole numbers (JSON integers) when both ends are whole and either every value is whole
/// within 1e-9 or `whole_only` says that the setting takes nothing else.
///
/// # Errors
/// When an end is not usable, or when rounding makes two values equal.
pub fn range_values(range: &RangeConfig, whole_only: bool) -> Result<Vec<Value>, RangeError> {
    let (bounds, digits) = match range {
        RangeConfig::Linear(bounds) => (bounds, LINEAR_DIGITS),
        RangeConfig::Log(bounds) => (bounds, LOG_DIGITS),
    };
    let &RangeBounds { from, to, count } = bounds;
    if !from.is_finite() || !to.is_finite() {
        return Err(RangeError::NotFinite);
    }
    if matches!(range, RangeConfig::Log(_)) && (from <= 0.0 || to <= 0.0) {
        return Err(RangeError::NotPositive { from, to });
    }
    let raw: Vec<f64> = (0..count).map(|index| raw_value(range, index)).collect();
    let whole = is_whole(from) && is_whole(to) && (whole_only || raw.iter().all(|&value| is_whole(value)));
    let values: Vec<Value> = raw
        .iter()
        .map(|&value| if whole { whole_number(value) } else { float(round_significant(value, digits)) })
        .collect();
    match values.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(RangeError::Twice { from, to, count, value: pair[0].to_string() }),
        None => Ok(values),
    }
}

/// The exact value at `index`; the last one is `to` itself, free of rounding.
fn raw_value(range: &RangeConfig, index: u32) -> f64 {
    match range {
        RangeConfig::Linear(RangeBounds { from, to, count }) | RangeConfig::Log(RangeBounds { from, to, count })
            if index == 0 || index + 1 == *count =>
        {
            if index == 0 {
                *from
            } else {
                *to
            }
        }
        RangeConfig::Linear(RangeBounds { from, to, count }) => {
            from + (to - from) * f64::from(index) / f64::from(count - 1)
        }
        RangeConfig::Log(RangeBounds { from, to, count }) => {
            from * (to / from).powf(f64::from(index) / f64::from(count - 1))
        }
    }
}

fn is_whole(value: f64) -> bool {
    value.abs() <= EXACT_WHOLE && (value - value.round()).abs() <= WHOLE_TOLERANCE * value.abs().max(1.0)
}

#[expect(clippy::cast_possible_truncation, reason = "`is_whole` bounds both ends, and so every value, by 2^53")]
fn whole_number(value: f64) -> Value {
    Value::from(value.round() as i64)
}

fn float(value: f64) -> Value {
    Value::Number(Number::from_f64(value).expect("ranges between finite ends hold finite numbers"))
}

/// `value` with `digits` significant decimal digits.
fn round_significant(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().expect("the exponent form of a float parses")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn linear(from: f64, to: f64, count: u32) -> RangeConfig {
        RangeConfig::Linear(RangeBounds { from, to, count })
    }

    fn log(from: f64, to: f64, count: u32) -> RangeConfig {
        RangeConfig::Log(RangeBounds { from, to, count })
    }

    #[test]
    fn known_answers() {
        let cases = [
            // Step (5 - 1) / 4 = 1.
            (linear(1.0, 5.0, 5), false, json!([1, 2, 3, 4, 5])),
            // Step 0.4 / 4 = 0.1; plain f64 arithmetic gives 0.30000000000000004 in the middle.
            (linear(0.1, 0.5, 5), false, json!([0.1, 0.2, 0.3, 0.4, 0.5])),
            // Step 1.5: whole ends, but not whole inside.
            (linear(1.0, 4.0, 3), false, json!([1.0, 2.5, 4.0])),
            // The same for a setting that takes whole numbers: 2.5 rounds away from zero to 3.
            (linear(1.0, 4.0, 3), true, json!([1, 3, 4])),
            (linear(16.0, 0.0, 3), false, json!([16, 8, 0])),
            // Ratio 16^(1/4) = 2.
            (log(1.0, 16.0, 5), false, json!([1, 2, 4, 8, 16])),
            (log(1.0, 1e6, 7), false, json!([1, 10, 100, 1000, 10_000, 100_000, 1_000_000])),
            // Ratio sqrt(10) = 3.16227766…, six digits.
            (log(1.0, 10.0, 3), false, json!([1.0, 3.16228, 10.0])),
            (log(1.0, 10.0, 3), true, json!([1, 3, 10])),
            // Ends that are not whole are never rounded to whole numbers.
            (linear(0.5, 1.5, 2), true, json!([0.5, 1.5])),
        ];
        for (range, whole_only, expected) in cases {
            assert_eq!(Value::from(range_values(&range, whole_only).unwrap()), expected, "{range:?}");
        }
    }

    #[test]
    fn impossible_ranges_say_what_to_do() {
        assert!(matches!(range_values(&log(0.0, 1.0, 2), false), Err(RangeError::NotPositive { .. })));
        assert!(matches!(range_values(&log(1.0, -1.0, 2), false), Err(RangeError::NotPositive { .. })));
        assert!(matches!(range_values(&linear(f64::NAN, 1.0, 2), false), Err(RangeError::NotFinite)));
        // 1 * 8^(1/9) = 1.26 rounds to 1 as well.
        let error = range_values(&log(1.0, 8.0, 10), true).unwrap_err();
        assert_eq!(error.to_string(), "10 values from 1 to 8 hold 1 twice; use a smaller `count` or list the `values`");
        assert!(matches!(range_values(&linear(3.0, 3.0, 2), false), Err(RangeError::Twice { .. })));
    }
}
