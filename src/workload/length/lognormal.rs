//! A log-normal law of lengths, the usual shape of real prompts and answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A log-normal law given by two numbers people know of their traffic, clamped to `min` … `max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Half of the lengths are at most this many tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub median: f64,
    /// 99 of 100 lengths are at most this many tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub p99: f64,
    /// Smallest number of tokens.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
}

fn one() -> u32 {
    1
}
