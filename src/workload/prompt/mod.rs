//! Where prompts come from: one file a kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod sharegpt;
pub mod synthetic;

/// Where prompts come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PromptsConfig {
    /// Text made by `bench` with an exact number of tokens.
    Synthetic(synthetic::Synthetic),
    /// Conversations from a ShareGPT-format file.
    Sharegpt(sharegpt::Sharegpt),
}

/// Whether each run opens its prompts with a mark of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Salt {
    /// The same prompts in every run: comparable, but a server's prefix cache may have seen them.
    #[default]
    None,
    /// A salt drawn for each run opens every prompt and is recorded in the report.
    Run,
}
