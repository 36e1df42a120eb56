//! A log-normal law of lengths, the usual shape of real prompts and answers.

use super::sums::{phi, phi_between};
use super::{Lengths, Problem, check_bounds, clamp, one};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The 99th percentile of the standard normal law.
const Z99: f64 = 2.326_347_874_040_840_8;

/// A log-normal law given by two numbers people know of their traffic, clamped to `min` … `max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Half of the lengths are at most this many tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub median: f64,
    /// 99 of 100 lengths are at most this many tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub p99: f64,
    /// Smallest number of tokens.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
}

impl Lognormal {
    /// Mean and standard deviation of the logarithm of the law.
    pub fn log_parameters(&self) -> (f64, f64) {
        (self.median.ln(), (self.p99 / self.median).ln() / Z99)
    }
}

impl Lengths for Lognormal {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        let (mu, sigma) = self.log_parameters();
        let standard: f64 = StandardNormal.sample(rng);
        clamp((mu + sigma * standard).exp(), self.min, self.max)
    }

    fn mean(&self) -> f64 {
        let (low, high) = (f64::from(self.min), f64::from(self.max));
        let (mu, sigma) = self.log_parameters();
        if sigma <= 0.0 {
            return f64::from(clamp(self.median, self.min, self.max));
        }
        // Mass moved to each bound, and the partial expectation in between.
        let (a, b) = ((low.ln() - mu) / sigma, (high.ln() - mu) / sigma);
        let inside = (mu + sigma * sigma / 2.0).exp() * phi_between(a - sigma, b - sigma);
        (low * phi(a) + inside + high * phi(-b)).clamp(low, high)
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }
}

impl Lognormal {
    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = check_bounds(self.min, self.max);
        if !(self.median.is_finite() && self.median >= 1.0) {
            problems.push(Problem::new("median", format!("`median` {} is not a number of at least 1", self.median)));
        } else if !(self.p99.is_finite() && self.p99 >= self.median) {
            let message = format!("`p99` {} is smaller than `median` {}", self.p99, self.median);
            problems.push(Problem::new("p99", message));
        }
        if problems.is_empty() && (self.median < f64::from(self.min) || self.median > f64::from(self.max)) {
            let message = format!(
                "`median` {} is outside `min` {} … `max` {}: more than half of the lengths would be moved to a bound",
                self.median, self.min, self.max
            );
            problems.push(Problem::new("median", message));
        }
        problems
    }
}
