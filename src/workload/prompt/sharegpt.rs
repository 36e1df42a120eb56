//! Prompts from a ShareGPT-format dataset.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Salt;

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
