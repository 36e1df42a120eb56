//! A normal law of lengths.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A normal law, rounded to whole tokens and drawn again outside `min` … `max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Normal {
    /// Mean of the law before the bounds apply, in tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub mean: f64,
    /// Standard deviation (not variance) before the bounds apply, in tokens.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub sd: f64,
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
