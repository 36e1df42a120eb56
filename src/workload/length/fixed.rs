//! The same length every time.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lengths, Problem};

/// The same number of tokens every time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fixed {
    /// Tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub value: u32,
}

impl Lengths for Fixed {
    fn sample(&self, _: &mut ChaCha12Rng) -> u32 {
        self.value
    }

    fn mean(&self) -> f64 {
        f64::from(self.value)
    }

    fn bounds(&self) -> (u32, u32) {
        (self.value, self.value)
    }
}

impl Fixed {
    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        if self.value == 0 { vec![Problem::new("value", "a request needs at least 1 token")] } else { Vec::new() }
    }
}
