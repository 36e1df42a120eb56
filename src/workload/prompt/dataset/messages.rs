//! Conversations in the form of OpenAI's chat completions: `{ "messages": [ { "role", "content" }, … ] }`.
//!
//! Sent is everything up to the last turn that is not the assistant's; what the assistant says after it is the recorded
//! answer.

use serde_json::Value;

use super::row::{Bad, Usable, recorded, session};
use crate::protocol::{Message, Prompt};

/// Roles that a message can have.
const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];

/// The role of this name.
pub(super) fn role(name: &str) -> Option<&'static str> {
    ROLES.into_iter().find(|role| *role == name)
}

/// Reads one row.
///
/// # Errors
/// The field that is missing or of the wrong type.
pub(super) fn read_row(json: &str) -> Result<Usable, Bad> {
    let mut messages = read_messages(json)?;
    let asked = messages.iter().rposition(|message| message.role != "assistant").map_or(0, |last| last + 1);
    let answer = messages.drain(asked..).next().and_then(|message| recorded(message.content.into_string()));
    let says_something = messages.iter().any(|message| message.role == "user" && !message.content.trim().is_empty());
    Ok(Usable { prompt: says_something.then_some(Prompt::Messages(messages)), answer })
}

/// Reads one row for a session: all messages that say something.
///
/// # Errors
/// The field that is missing or of the wrong type.
pub(super) fn read_session(json: &str) -> Result<Usable, Bad> {
    read_messages(json).map(session)
}

fn read_messages(json: &str) -> Result<Vec<Message>, Bad> {
    let row: Value = serde_json::from_str(json).map_err(|error| Bad::json(json, &error))?;
    let Value::Object(fields) = &row else { return Err(Bad::new("", json, "an object with `messages`")) };
    let turns = match fields.get("messages") {
        Some(Value::Array(turns)) => turns,
        Some(other) => return Err(Bad::new("messages", other.to_string(), "a list of messages")),
        None => return Err(Bad::missing("messages", fields, "a list of messages")),
    };
    turns.iter().enumerate().map(message).collect()
}

fn message((number, turn): (usize, &Value)) -> Result<Message, Bad> {
    let place = format!("messages[{number}]");
    let Value::Object(fields) = turn else {
        return Err(Bad::new(place, turn.to_string(), "an object with `role` and `content`"));
    };
    let expected = "`system`, `developer`, `user` or `assistant`";
    let role = match fields.get("role") {
        Some(Value::String(name)) => {
            role(name).ok_or_else(|| Bad::new(format!("{place}.role"), name.as_str(), expected))?
        }
        Some(other) => return Err(Bad::new(format!("{place}.role"), other.to_string(), expected)),
        None => return Err(Bad::missing(&format!("{place}.role"), fields, expected)),
    };
    let place = format!("{place}.content");
    let content = match fields.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(|part| text_part(part, &place)).collect::<Result<_, _>>()?,
        Some(other) => return Err(Bad::new(place, other.to_string(), "text")),
        None => return Err(Bad::missing(&place, fields, "text")),
    };
    Ok(Message { role, content: content.into_boxed_str() })
}

/// One of several parts of a content; only text can be sent.
fn text_part<'v>(part: &'v Value, place: &str) -> Result<&'v str, Bad> {
    let text = part.get("text").and_then(Value::as_str).filter(|_| part["type"] == "text");
    text.ok_or_else(|| Bad::new(place, part.to_string(), "parts of type `text`"))
}
