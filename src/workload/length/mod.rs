//! How many tokens an input or an output has: one file a kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod fixed;
pub mod lognormal;
pub mod normal;
pub mod uniform;

/// How many tokens a prompt or an answer has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LengthConfig {
    /// The same number of tokens every time.
    Fixed(fixed::Fixed),
    /// Every number of tokens from `min` to `max` equally often.
    Uniform(uniform::Uniform),
    /// A normal law, redrawn outside its bounds.
    Normal(normal::Normal),
    /// A log-normal law given by its median and 99th percentile.
    Lognormal(lognormal::Lognormal),
}
