//! Rows that are JSON objects.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::Bad;

/// The object of a line.
pub(super) fn object<'a, T: Deserialize<'a>>(line: &'a str, head: &str) -> Result<T, Bad> {
    if !line.trim_start().starts_with('{') {
        return Err(Bad::new("", line, format!("one JSON object: {head}")));
    }
    serde_json::from_str(line).map_err(|error| {
        // The line is given apart; its place in the text of one line is its column.
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default();
        Bad::new("", line, format!("one JSON object: {head} ({why}, column {})", error.column()))
    })
}

/// The text of a value that must be there.
pub(super) fn raw<'a>(field: &str, value: Option<&'a RawValue>, expected: &str) -> Result<&'a str, Bad> {
    value.map(RawValue::get).ok_or_else(|| Bad::missing(field, expected))
}

/// A list of block ids.
pub(super) fn ids(value: &RawValue) -> Result<Vec<u64>, Bad> {
    serde_json::from_str(value.get())
        .map_err(|_| Bad::new("hash_ids", value.get(), "a list of whole numbers of at least 0"))
}
