//! Rows of named values as JSON objects: `{ "prompt": "…", "output_len": 128 }`.

use serde_json::{Map, Value};

use super::config::Columns;
use super::row::{Bad, Recorded, Usable, prompt, recorded};

/// Names under which published files say how many tokens to ask for.
pub(super) const OUTPUT_COLUMNS: [&str; 2] = ["output_len", "output_tokens"];

/// What a number of tokens to ask for should be.
pub(super) const OUTPUT_EXPECTED: &str = "a whole number of tokens, at least 1";

/// Reads one row.
///
/// # Errors
/// The field that is missing or of the wrong type.
pub(super) fn read_row(json: &str, columns: &Columns) -> Result<Usable, Bad> {
    let row: Value = serde_json::from_str(json).map_err(|error| Bad::json(json, &error))?;
    let Value::Object(mut fields) = row else {
        return Err(Bad::new("", json, format!("an object with `{}`", columns.prompt)));
    };
    let answer = match output_tokens(&fields, columns)? {
        Some(tokens) => Some(Recorded::Tokens(tokens)),
        None => match &columns.answer {
            Some(name) => recorded(text(&mut fields, name)?),
            None => None,
        },
    };
    Ok(Usable { prompt: prompt(text(&mut fields, &columns.prompt)?), answer })
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<String, Bad> {
    match fields.get_mut(name) {
        Some(Value::String(text)) => Ok(std::mem::take(text)),
        Some(other) => Err(Bad::new(name, other.to_string(), "a string")),
        None => Err(Bad::missing(name, fields, "a string")),
    }
}

fn output_tokens(fields: &Map<String, Value>, columns: &Columns) -> Result<Option<u32>, Bad> {
    let (name, value) = match &columns.output_tokens {
        Some(name) => match fields.get(name) {
            Some(value) => (name.as_str(), value),
            None => return Err(Bad::missing(name, fields, OUTPUT_EXPECTED)),
        },
        None => match OUTPUT_COLUMNS.iter().find_map(|name| Some((*name, fields.get(*name)?))) {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let tokens = value.as_u64().and_then(|tokens| u32::try_from(tokens).ok()).filter(|tokens| *tokens > 0);
    tokens.map(Some).ok_or_else(|| Bad::new(name, value.to_string(), OUTPUT_EXPECTED))
}
