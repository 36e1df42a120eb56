//! How many tokens an input or an output has: one file a kind.
//!
//! Draws use `rand_distr`, whose logarithms come from the platform's mathematical library when another
//! crate of the build asks for it. Lengths are whole numbers, so a last-bit difference between two
//! platforms moves a length only when it lies on a rounding edge; the promise "same seed, same lengths"
//! is therefore given per build target.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::Problem;

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

/// A law of lengths. Call [`Lengths::check`] before the rest.
pub trait Lengths {
    /// One length, inside [`Lengths::bounds`].
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32;
    /// Mean of the law with its bounds applied, in tokens; for estimates.
    fn mean(&self) -> f64;
    /// Smallest and largest length, both included.
    fn bounds(&self) -> (u32, u32);
    /// What is wrong with the settings: keys relative to the length's own table.
    fn check(&self) -> Vec<Problem>;
}

impl LengthConfig {
    fn law(&self) -> &dyn Lengths {
        match self {
            Self::Fixed(law) => law,
            Self::Uniform(law) => law,
            Self::Normal(law) => law,
            Self::Lognormal(law) => law,
        }
    }
}

impl Lengths for LengthConfig {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        self.law().sample(rng)
    }

    fn mean(&self) -> f64 {
        self.law().mean()
    }

    fn bounds(&self) -> (u32, u32) {
        self.law().bounds()
    }

    fn check(&self) -> Vec<Problem> {
        self.law().check()
    }
}

/// The problem of bounds that are the wrong way round or leave room for nothing.
fn check_bounds(min: u32, max: u32) -> Vec<Problem> {
    if min == 0 {
        return vec![Problem::new("min", "a request needs at least 1 token")];
    }
    if min > max {
        return vec![Problem::new("min", format!("`min` {min} is greater than `max` {max}"))];
    }
    Vec::new()
}

/// Rounds to the nearest whole number of tokens inside the bounds.
fn clamp(value: f64, min: u32, max: u32) -> u32 {
    // `as` saturates, and NaN cannot occur: laws are checked.
    (value.round().max(0.0) as u32).clamp(min, max)
}
