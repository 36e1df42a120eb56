//! What a server says when it fails: the one line of it that a report shows.
//!
//! Servers agree on nothing here: OpenAI's object, a bare string, FastAPI's `detail`, plain text, HTML of a
//! proxy, an event inside an error body. Cold path, so everything goes through `serde_json::Value`.

use serde_json::Value;

/// Most characters of a server's message that are kept.
pub const MAX_CHARS: usize = 300;

/// An error that came inside an answer of status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InBandError {
    /// First line of its message; none when the server gave none.
    pub message: Option<String>,
    /// Whether it says overload or rate limit.
    pub overloaded: bool,
}

/// The message of an HTTP error body; none when the body is empty.
pub fn of_body(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    // Triton answers 400 with an event inside.
    let text = text.strip_prefix("data:").map_or(text, str::trim);
    if let Ok(value @ (Value::Object(_) | Value::String(_) | Value::Array(_))) = serde_json::from_str::<Value>(text)
        && let Some(message) = message_of(&value)
    {
        return first_line(&message);
    }
    if text.starts_with('<')
        && let Some(title) = html_title(text)
    {
        return first_line(title);
    }
    first_line(text)
}

/// The error of an event or a body of status 200; none when it reports none. `named_error` says that the
/// event itself is called `error`, whatever it holds.
pub fn in_band(event: &Value, named_error: bool) -> Option<InBandError> {
    let inner = event.get("error").filter(|error| !says_nothing(error));
    let is_error_object = event.get("object").is_some_and(|object| object == "error");
    if inner.is_none() && !is_error_object && !named_error {
        return None;
    }
    let message = message_of(event);
    let overloaded = says_overload(event)
        || inner.is_some_and(says_overload)
        || message.as_deref().is_some_and(|text| text.to_ascii_lowercase().contains("overloaded"));
    Some(InBandError { message: message.as_deref().and_then(first_line), overloaded })
}

/// Whether an `error` key means that there is none.
fn says_nothing(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The text of an error value in any of the shapes servers use.
fn message_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.first().and_then(message_of),
        Value::Object(map) => ["error", "message", "msg", "detail", "error_message"]
            .iter()
            .filter_map(|key| map.get(*key))
            .find_map(message_of)
            .or_else(|| map.get("type").and_then(Value::as_str).map(str::to_owned)),
        _ => None,
    }
}

/// Whether the codes and types of an error object mean rate limit or overload.
fn says_overload(error: &Value) -> bool {
    let is_429 = |value: &Value| value.as_u64() == Some(429) || value.as_str() == Some("429");
    let is_word = |value: &Value| {
        value.as_str().is_some_and(|word| {
            let word = word.to_ascii_lowercase();
            word.contains("overloaded") || word.contains("rate_limit") || word == "too_many_requests"
        })
    };
    ["code", "http_status_code", "status", "status_code", "type", "error_type"]
        .iter()
        .filter_map(|key| error.get(*key))
        .any(|value| is_429(value) || is_word(value))
}

fn html_title(text: &str) -> Option<&str> {
    let lower = text.to_ascii_lowercase();
    let start = lower.find("<title>")? + "<title>".len();
    let end = start + lower[start..].find("</title>")?;
    // ASCII lower-casing keeps byte offsets.
    text.get(start..end)
}

/// The first line that says something, without control characters and without what looks like a
/// credential, at most [`MAX_CHARS`] characters long. A line that only announces the next one (`… error:`)
/// takes that along.
pub fn first_line(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next()?.to_owned();
    if line.ends_with(':')
        && let Some(next) = lines.next()
    {
        line.push(' ');
        line.push_str(next);
    }
    let clean: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let masked = mask_credentials(&clean);
    if masked.chars().count() <= MAX_CHARS {
        return Some(masked);
    }
    let mut short: String = masked.chars().take(MAX_CHARS - 1).collect();
    short.push('…');
    Some(short)
}

/// Replaces API keys that a server echoes (`sk-…`, `hf_…`, the word after `Bearer` or `Basic`).
fn mask_credentials(line: &str) -> String {
    let mut after_scheme = false;
    let words = line.split(' ').map(|word| {
        let bare = word.trim_start_matches(['"', '\'', '`', '(', '[', '{']);
        let is_key = (bare.starts_with("sk-") || bare.starts_with("hf_")) && bare.len() > 8;
        let hide = is_key || (after_scheme && !bare.is_empty());
        let scheme = word.trim_start_matches(['"', '\'', '`', '(']);
        after_scheme = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic");
        if hide { "***" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_every_server_shape() {
        let table = [
            (r#"{"error":{"message":"no model","type":"NotFoundError","code":404}}"#, Some("no model")),
            (r#"{"error":"Model is overloaded","error_type":"overloaded"}"#, Some("Model is overloaded")),
            (r#"{"detail":"Not Found"}"#, Some("Not Found")),
            (r#"{"detail":[{"type":"json_invalid","msg":"JSON decode error"}]}"#, Some("JSON decode error")),
            (r#"{"object":"error","message":"too long","code":400}"#, Some("too long")),
            ("data: {\"error\":\"failed on the first response\"}\n\n", Some("failed on the first response")),
            ("Internal Server Error", Some("Internal Server Error")),
            ("\n\n  first\nsecond", Some("first")),
            ("1 validation error:\n  field required\nmore", Some("1 validation error: field required")),
            ("<html>\r\n<head><title>502 Bad Gateway</title></head>", Some("502 Bad Gateway")),
            ("<html>", Some("<html>")),
            ("", None),
            ("  \r\n ", None),
            ("{\"unknown\":1}", Some("{\"unknown\":1}")),
        ];
        for (body, want) in table {
            assert_eq!(of_body(body.as_bytes()).as_deref(), want, "{body}");
        }
    }

    #[test]
    fn in_band_errors_and_overload() {
        let table = [
            (r#"{"error":{"message":"boom","code":500}}"#, Some(("boom", false))),
            (
                r#"{"error":"simulated engine failure mid-stream"}"#,
                Some(("simulated engine failure mid-stream", false)),
            ),
            (
                r#"{"error":{"message":"Model is overloaded","http_status_code":422}}"#,
                Some(("Model is overloaded", true)),
            ),
            (r#"{"error":{"message":"inputs too long","http_status_code":422}}"#, Some(("inputs too long", false))),
            (r#"{"error":"wait","error_type":"overloaded"}"#, Some(("wait", true))),
            (r#"{"error":{"message":"slow down","code":429}}"#, Some(("slow down", true))),
            (r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, Some(("slow down", true))),
            (r#"{"object":"error","message":"bad","code":400}"#, Some(("bad", false))),
            (r#"{"error":null,"choices":[]}"#, None),
            (r#"{"error":"","choices":[]}"#, None),
            (r#"{"error":{},"choices":[]}"#, None),
            (r#"{"error":7}"#, Some(("", false))),
            (r#"{"choices":[]}"#, None),
        ];
        for (event, want) in table {
            let got = in_band(&serde_json::from_str(event).unwrap(), false);
            let got = got.as_ref().map(|error| (error.message.as_deref().unwrap_or_default(), error.overloaded));
            assert_eq!(got, want, "{event}");
        }
        let named = in_band(&serde_json::from_str(r#"{"code":500,"message":"m"}"#).unwrap(), true).unwrap();
        assert_eq!(named.message.as_deref(), Some("m"));
    }

    #[test]
    fn lines_are_short_plain_and_without_keys() {
        let long = "é".repeat(400);
        let line = first_line(&long).unwrap();
        assert_eq!(line.chars().count(), MAX_CHARS);
        assert!(line.ends_with('…'));
        assert_eq!(first_line("a\u{1b}[31mred").unwrap(), "a [31mred");
        assert_eq!(first_line("Incorrect key: sk-abcdefghijk. Bye").unwrap(), "Incorrect key: *** Bye");
        assert_eq!(first_line("got `Bearer abc123` here").unwrap(), "got `Bearer *** here");
    }
}
