//! A row of a dataset, before any tokenizer has seen it, and what is wrong with one.

use serde_json::Value;

use crate::protocol::{Message, Prompt};

/// What a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usable {
    pub(super) prompt: Option<Prompt>,
    pub(super) answer: Option<Recorded>,
}

/// What a row says about the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Its text.
    Text(String),
    /// Its tokens.
    Tokens(u32),
}

/// A row that is not what the format says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(super) field: String,
    pub(super) value: String,
    pub(super) expected: String,
}

impl Bad {
    pub(super) fn new(field: impl Into<String>, value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), value: excerpt(&value.into()), expected: expected.into() }
    }

    /// A row that is not even JSON.
    pub(super) fn json(json: &str, error: &serde_json::Error) -> Self {
        Self::new("", json, format!("one JSON object ({error})"))
    }

    /// A field that is missing from an object with these keys.
    pub(super) fn missing(field: &str, fields: &serde_json::Map<String, Value>, expected: &str) -> Self {
        let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
        Self::new(field, format!("missing, the row has {keys:?}"), expected)
    }
}

/// A value as an error shows it: one line of at most 60 characters.
fn excerpt(value: &str) -> String {
    let mut line: String = value.trim().chars().take(60).collect();
    if line.len() < value.trim().len() {
        line.push('…');
    }
    format!("`{}`", line.replace(['\n', '\r'], " "))
}

/// A prompt of `text`, unless it is blank.
pub(super) fn prompt(text: String) -> Option<Prompt> {
    (!text.trim().is_empty()).then(|| Prompt::Text(text.into_boxed_str()))
}

/// A whole conversation, without what is blank; unusable if the user says nothing. Its answer is the last one.
pub(super) fn session(mut messages: Vec<Message>) -> Usable {
    messages.retain(|message| !message.content.trim().is_empty());
    // An answer to nothing.
    let asked = messages.iter().position(|message| message.role != "assistant").unwrap_or(messages.len());
    messages.drain(..asked);
    let answer = messages.iter().rfind(|message| message.role == "assistant");
    let answer = answer.and_then(|message| recorded(message.content.to_string()));
    let asks = messages.iter().any(|message| message.role == "user");
    Usable { prompt: asks.then_some(Prompt::Messages(messages)), answer }
}

/// A recorded answer of `text`, unless it is blank.
pub(super) fn recorded(text: String) -> Option<Recorded> {
    (!text.trim().is_empty()).then_some(Recorded::Text(text))
}
