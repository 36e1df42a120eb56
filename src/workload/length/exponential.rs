//! An exponential law of lengths.

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lengths, Problem, check_bounds, check_mean, clamp, one};

/// An exponential law, rounded to whole tokens and moved to the nearest of `min` … `max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// Mean of the law before the bounds apply, in tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub mean: f64,
    /// Smallest number of tokens.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
}

impl Lengths for Exponential {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        let standard: f64 = Exp1.sample(rng);
        clamp(self.mean * standard, self.min, self.max)
    }

    fn mean(&self) -> f64 {
        // E[clamp(round(X))] = min + Σ P(X ≥ k - 1/2) over k from min + 1 to max: a geometric sum.
        let share = (-1.0 / self.mean).exp();
        let above = (-(f64::from(self.min) + 0.5) / self.mean).exp();
        let terms = f64::from(self.max - self.min);
        f64::from(self.min) + above * (1.0 - share.powf(terms)) / (1.0 - share)
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }
}

impl Exponential {
    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        let bounds = check_bounds(self.min, self.max);
        if bounds.is_empty() { check_mean(self.mean, self.min, self.max) } else { bounds }
    }
}
