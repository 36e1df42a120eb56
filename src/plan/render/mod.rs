//! Plans and their differences as text: pure functions to `String`, no colour, no terminal.

mod diff_human;
mod diff_markdown;
mod distributions;
mod human;
pub mod number;
mod table;

pub use diff_human::diff_human;
pub use diff_markdown::diff_markdown;
pub use distributions::distributions;
pub use human::human;

use serde_json::Value;

use crate::plan::change::KeyChange;
use crate::plan::model::Coordinates;

/// `a = 1, b = 2`, or `the only point` of a plan without axes.
fn place(coordinates: &Coordinates) -> String {
    if coordinates.is_empty() {
        return "the only point".to_owned();
    }
    let pairs: Vec<String> =
        coordinates.iter().map(|(axis, value)| format!("{axis} = {}", number::setting(value))).collect();
    pairs.join(", ")
}

/// One side of a change, short enough for a line: digests lose their tail, tables theirs as well.
fn side(change: &KeyChange, value: Option<&Value>) -> String {
    let Some(value) = value else { return "not set".to_owned() };
    let text = number::setting(value);
    let short = if change.key_path.ends_with("sha256") { 12 } else { 60 };
    clip(&text, short)
}

/// `text` on one line of at most `width` characters.
fn clip(text: &str, width: usize) -> String {
    let line = text.replace(['\n', '\r', '\t'], " ");
    if line.chars().count() <= width {
        return line;
    }
    let mut clipped: String = line.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// `1 point`, `2 points`.
fn points(count: u64) -> String {
    if count == 1 { "1 point".to_owned() } else { format!("{} points", number::count(count)) }
}

/// First characters of a digest, as ids are written.
fn short_digest(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
