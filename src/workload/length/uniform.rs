//! Every length of a range equally often.

use rand::RngExt;
use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lengths, Problem, check_bounds};

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

impl Lengths for Uniform {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        rng.random_range(self.min..=self.max)
    }

    fn mean(&self) -> f64 {
        f64::midpoint(f64::from(self.min), f64::from(self.max))
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }
}

impl Uniform {
    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        check_bounds(self.min, self.max)
    }
}
