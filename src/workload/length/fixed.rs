//! The same length every time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The same number of tokens every time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub value: u32,
}
