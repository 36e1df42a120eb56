//! Every length of a range equally often.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every number of tokens from `min` to `max`, both included, equally often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uniform {
    /// Smallest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
}
