//! Plain prompts: a JSON array of strings, or a text file with one a line.

use super::row::{Bad, Usable, prompt};

/// Reads one JSON string.
///
/// # Errors
/// When it is something else.
pub(super) fn read_row(json: &str) -> Result<Usable, Bad> {
    let text: String = serde_json::from_str(json).map_err(|_| Bad::new("", json, "a string"))?;
    Ok(read_line(text))
}

/// The prompt of a line, without its end.
pub(super) fn read_line(text: String) -> Usable {
    Usable { prompt: prompt(text), answer: None }
}
