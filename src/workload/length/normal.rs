//! A normal law of lengths.

use super::sums::{density, phi_between};
use super::{Lengths, Problem, check_bounds, clamp, one};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Draws outside the bounds before the last one is moved to the nearest bound. With the share that
/// [`Normal::check`] asks for, fewer than 1 length in 10 000 gets there.
const REDRAWS: u32 = 1000;
/// Smallest share of the law that must lie inside the bounds.
const SMALLEST_SHARE: f64 = 0.01;
/// Below this standard deviation rounding to whole tokens is felt, and the mean is summed token by token.
const COARSE_SD: f64 = 4.0;

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

impl Normal {
    /// The bounds in standard deviations from the mean; whole numbers reach half a token further.
    fn standard_bounds(&self) -> (f64, f64) {
        ((f64::from(self.min) - 0.5 - self.mean) / self.sd, (f64::from(self.max) + 0.5 - self.mean) / self.sd)
    }

    /// The mean of a narrow law, token by token over the ten standard deviations that hold it.
    fn summed_mean(&self, low: f64, high: f64) -> f64 {
        let &Self { mean, sd, .. } = self;
        let nearest = mean.round().clamp(low, high);
        if sd == 0.0 {
            return nearest;
        }
        let first = (mean - 10.0 * sd).round().clamp(low, high);
        let last = (mean + 10.0 * sd).round().clamp(low, high);
        let (mut mass, mut sum, mut tokens) = (0.0, 0.0, first);
        while tokens <= last {
            let weight = phi_between((tokens - 0.5 - mean) / sd, (tokens + 0.5 - mean) / sd);
            mass += weight;
            sum += weight * tokens;
            tokens += 1.0;
        }
        if mass > 0.0 { sum / mass } else { nearest }
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
        let (low, high) = (f64::from(self.min), f64::from(self.max));
        if self.sd < COARSE_SD {
            return self.summed_mean(low, high);
        }
        let (alpha, beta) = self.standard_bounds();
        let mass = phi_between(alpha, beta);
        if mass < 1e-12 {
            // The bounds lie in a tail so far out that every draw lands beside the nearer one.
            return self.mean.clamp(low, high);
        }
        (self.mean + self.sd * (density(alpha) - density(beta)) / mass).clamp(low, high)
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }
}

impl Normal {
    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
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
            phi_between(low, high)
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
