//! Conversations in ShareGPT format: `{ "conversations": [ { "from", "value" }, … ] }`.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::row::{Bad, Usable, prompt, recorded, session};
use crate::protocol::Message;

/// Names under which the two sides of a conversation appear in published files.
const HUMAN: [&str; 2] = ["human", "user"];
const MODEL: [&str; 6] = ["gpt", "assistant", "chatgpt", "bard", "bing", "model"];

#[derive(Deserialize)]
struct Row<'a> {
    #[serde(borrow)]
    conversations: Vec<Turn<'a>>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

/// Reads one row: the first human turn and the model's turn right after it.
///
/// # Errors
/// The field that is missing or of the wrong type.
pub(super) fn read_row(json: &str) -> Result<Usable, Bad> {
    let row: Row<'_> = serde_json::from_str(json).map_err(|error| diagnose(json, &error))?;
    let mut turns = row.conversations.into_iter().skip_while(|turn| !HUMAN.contains(&&*turn.from));
    let prompt = turns.next().and_then(|turn| prompt(turn.value.into_owned()));
    let answer = turns.next().filter(|turn| MODEL.contains(&&*turn.from));
    Ok(Usable { prompt, answer: answer.and_then(|turn| recorded(turn.value.into_owned())) })
}

/// Reads one row for a session: all turns that say something.
///
/// # Errors
/// The field that is missing or of the wrong type, or a side that is not known.
pub(super) fn read_session(json: &str) -> Result<Usable, Bad> {
    let row: Row<'_> = serde_json::from_str(json).map_err(|error| diagnose(json, &error))?;
    let mut messages = Vec::with_capacity(row.conversations.len());
    for (number, turn) in row.conversations.into_iter().enumerate() {
        let role = match &*turn.from {
            side if HUMAN.contains(&side) => "user",
            side if MODEL.contains(&side) => "assistant",
            "system" => "system",
            side => return Err(Bad::new(format!("conversations[{number}].from"), side, "`human`, `gpt` or `system`")),
        };
        messages.push(Message { role, content: turn.value.into() });
    }
    Ok(session(messages))
}

/// Finds the field that made the row unreadable; only done for rows that are.
fn diagnose(json: &str, error: &serde_json::Error) -> Bad {
    let row: Value = match serde_json::from_str(json) {
        Ok(row) => row,
        Err(error) => return Bad::json(json, &error),
    };
    let Value::Object(fields) = &row else { return Bad::new("", json, "an object with `conversations`") };
    let Some(conversations) = fields.get("conversations") else {
        return Bad::missing("conversations", fields, "a list of turns");
    };
    let Value::Array(turns) = conversations else {
        return Bad::new("conversations", conversations.to_string(), "a list of turns");
    };
    for (number, turn) in turns.iter().enumerate() {
        if !turn.is_object() {
            let expected = "an object with `from` and `value`";
            return Bad::new(format!("conversations[{number}]"), turn.to_string(), expected);
        }
        for key in ["from", "value"] {
            let field = format!("conversations[{number}].{key}");
            match turn.get(key) {
                Some(Value::String(_)) => {}
                Some(other) => return Bad::new(field, other.to_string(), "a string"),
                None => return Bad::new(field, "missing", "a string"),
            }
        }
    }
    Bad::new("", json, error.to_string())
}
