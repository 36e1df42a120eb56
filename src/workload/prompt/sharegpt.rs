//! Prompts from a ShareGPT-format dataset.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dataset::{Bad, Dataset, Usable};
use super::order::RowOrder;
use super::{Drawn, PromptSource, Salt, Who, salt_pieces};
use crate::tokens::Tokenizer;
use crate::workload::error::Problem;

/// First human turn of each conversation of a ShareGPT-format file: a JSON array (or one object a
/// line) of `{ "conversations": [ { "from": "human", "value": "…" }, { "from": "gpt", … } ] }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sharegpt {
    /// The file, relative to the scenario.
    #[schemars(length(min = 1))]
    pub path: String,
    /// Its SHA-256; `bench validate --pin` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// Conversations whose prompt is shorter, in tokens, are left out.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min_input_tokens: u32,
    /// Conversations whose prompt is longer, in tokens, are left out.
    #[serde(default = "million")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max_input_tokens: u32,
    /// Whether each run opens its prompts with a mark of its own.
    #[serde(default)]
    pub salt: Salt,
}

fn one() -> u32 {
    1
}

fn million() -> u32 {
    1_000_000
}

impl Sharegpt {
    /// What is wrong with the settings, keys relative to `prompts`.
    pub(crate) fn check(&self) -> Vec<Problem> {
        let (min, max) = (self.min_input_tokens, self.max_input_tokens);
        if min > max {
            let message = format!("`min_input_tokens` {min} is greater than `max_input_tokens` {max}");
            return vec![Problem::new("min_input_tokens", message)];
        }
        Vec::new()
    }
}

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
pub(crate) fn read_row(json: &str) -> Result<Usable, Bad> {
    let row: Row<'_> = serde_json::from_str(json).map_err(|error| diagnose(json, &error))?;
    let mut turns = row.conversations.into_iter().skip_while(|turn| !HUMAN.contains(&&*turn.from));
    let prompt = turns.next().map(|turn| turn.value.into_owned()).filter(|text| !text.trim().is_empty());
    let answer = turns.next().filter(|turn| MODEL.contains(&&*turn.from)).map(|turn| turn.value.into_owned());
    Ok(Usable { prompt, answer: answer.filter(|text| !text.trim().is_empty()) })
}

/// Finds the field that made the row unreadable; only done for rows that are.
fn diagnose(json: &str, error: &serde_json::Error) -> Bad {
    let row: Value = match serde_json::from_str(json) {
        Ok(row) => row,
        Err(error) => return Bad::new("", json, format!("one JSON object ({error})")),
    };
    let Value::Object(fields) = &row else { return Bad::new("", json, "an object with `conversations`") };
    let Some(conversations) = fields.get("conversations") else {
        let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
        return Bad::new("conversations", format!("missing, the row has {keys:?}"), "a list of turns");
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

/// Sends the conversations of a dataset in shuffled order.
#[derive(Debug)]
pub(crate) struct SharegptSource {
    dataset: Arc<Dataset>,
    order: RowOrder,
    tokenizer: Arc<dyn Tokenizer>,
    /// Opens every prompt of a salted run.
    salt: Option<String>,
}

impl SharegptSource {
    pub(crate) fn new(
        dataset: Arc<Dataset>,
        order: RowOrder,
        tokenizer: Arc<dyn Tokenizer>,
        run_salt: Option<&str>,
    ) -> Self {
        let salt = run_salt.map(|salt| {
            let pieces = salt_pieces(salt, &*tokenizer);
            format!("{}\n\n", tokenizer.pieces().text(&pieces))
        });
        Self { dataset, order, tokenizer, salt }
    }
}

impl PromptSource for SharegptSource {
    fn draw(&self, who: &Who) -> Drawn {
        let row = self.dataset.row(self.order.row(who.phase, who.rank));
        let (text, counted) = match &self.salt {
            None => (row.prompt, row.prompt_tokens),
            Some(salt) => {
                let text = format!("{salt}{}", row.prompt);
                let counted = u32::try_from(self.tokenizer.count(&text)).unwrap_or(u32::MAX);
                (text, counted)
            }
        };
        // A dataset asks for what it holds: the recorded prompt, with the salt it was given.
        Drawn { text, asked: counted, counted, answer: row.answer_tokens }
    }
}
