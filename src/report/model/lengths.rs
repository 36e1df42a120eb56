//! Lengths of the requests of a report: as they were drawn, beside the law they were drawn from and what was counted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lengths of measured requests, completed or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lengths {
    /// Tokens of prompts.
    pub input: LengthReport,
    /// Tokens of answers.
    pub output: LengthReport,
}

/// Lengths on one side of the requests, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LengthReport {
    /// Requests.
    pub count: u64,
    /// Mean of the law that the workload asks for, its bounds included; absent where nothing says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub law_mean: Option<f64>,
    /// Mean of the lengths that were drawn.
    pub mean: f64,
    /// Their standard deviation (n − 1); absent with fewer than two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
    /// The smallest.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// What the tokenizer of the workload counts in what was sent; inputs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<LengthComparison>,
    /// What the server counts (`usage`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<LengthComparison>,
}

/// Counted lengths against those that were drawn, over the requests that have both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LengthComparison {
    /// Requests with both.
    pub count: u64,
    /// Mean of the counted lengths.
    pub mean: f64,
    /// Mean of the drawn lengths of the same requests.
    pub drawn_mean: f64,
    /// Requests whose counted length is not the drawn one.
    pub differing: u64,
}
