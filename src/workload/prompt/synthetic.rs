//! Prompts made by `bench`: an exact number of tokens, no two alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Salt;

/// Text made by `bench` with the exact number of tokens that `input_tokens` asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Tokens that every prompt of the class begins with, for measuring a prefix cache. 0: no two
    /// prompts share their first 16 tokens.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub shared_prefix_tokens: u32,
    /// Whether each run opens its prompts with a mark of its own.
    #[serde(default)]
    pub salt: Salt,
}
