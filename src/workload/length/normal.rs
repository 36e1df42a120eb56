//! A normal law of lengths.

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Continuous, ContinuousCDF, Normal as NormalLaw};

use super::{Lengths, Problem, check_bounds, clamp};

/// Draws outside the bounds before the last one is moved to the nearest bound. With the share that
/// [`Normal::check`] asks for, fewer than 1 length in 10 000 gets there.
const REDRAWS: u32 = 1000;
/// Smallest share of the law that must lie inside the bounds.
const SMALLEST_SHARE: f64 = 0.01;

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

impl Normal {
    /// The bounds in standard deviations from the mean; whole numbers reach half a token further.
    fn standard_bounds(&self) -> (f64, f64) {
        ((f64::from(self.min) - 0.5 - self.mean) / self.sd, (f64::from(self.max) + 0.5 - self.mean) / self.sd)
    }
}

impl Lengths for Normal {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        let mut value = self.mean;
        for _ in 0..REDRAWS {
            let standard: f64 = StandardNormal.sample(rng);
            value = (self.mean + self.sd * standard).round();
            if value >= f64::from(self.min) && value <= f64::from(self.max) {
                break;
            }
        }
        clamp(value, self.min, self.max)
    }

    fn mean(&self) -> f64 {
        let law = NormalLaw::standard();
        let (low, high) = self.standard_bounds();
        let share = law.cdf(high) - law.cdf(low);
        if self.sd == 0.0 || share <= 0.0 {
            return f64::from(clamp(self.mean, self.min, self.max));
        }
        self.mean + self.sd * (law.pdf(low) - law.pdf(high)) / share
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }

    fn check(&self) -> Vec<Problem> {
        let mut problems = check_bounds(self.min, self.max);
        if !(self.mean.is_finite() && self.mean >= 1.0) {
            problems.push(Problem::new("mean", format!("`mean` {} is not a number of at least 1", self.mean)));
        }
        if !(self.sd.is_finite() && self.sd >= 0.0) {
            problems.push(Problem::new("sd", format!("`sd` {} is not a number of at least 0", self.sd)));
        }
        if !problems.is_empty() {
            return problems;
        }
        let (low, high) = self.standard_bounds();
        let share = if self.sd == 0.0 {
            f64::from(u8::from(clamp(self.mean, self.min, self.max) == clamp(self.mean, 0, u32::MAX)))
        } else {
            NormalLaw::standard().cdf(high) - NormalLaw::standard().cdf(low)
        };
        if share < SMALLEST_SHARE {
            let message = format!(
                "only {:.2} % of a normal law with mean {} and sd {} lies between `min` {} and `max` {}; \
                 at least 1 % must",
                100.0 * share,
                self.mean,
                self.sd,
                self.min,
                self.max
            );
            problems.push(Problem::new("mean", message));
        }
        problems
    }
}
