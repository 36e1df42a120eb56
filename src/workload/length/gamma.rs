//! A gamma law of lengths.

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Gamma as GammaDraws};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::function::gamma::gamma_lr;

use super::{Lengths, Problem, check_bounds, check_mean, clamp, one};

/// A gamma law, rounded to whole tokens and moved to the nearest of `min` … `max`. Its spread is either `cv` or `sd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gamma {
    /// Mean of the law before the bounds apply, in tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub mean: f64,
    /// Coefficient of variation, the standard deviation over the mean: 1 is exponential, small is near to normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 100))]
    pub cv: Option<f64>,
    /// Standard deviation before the bounds apply, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 10_000_000))]
    pub sd: Option<f64>,
    /// Smallest number of tokens.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub min: u32,
    /// Largest number of tokens.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub max: u32,
}

impl Gamma {
    /// Coefficient of variation, however it was given.
    fn spread(&self) -> f64 {
        self.cv.or(self.sd.map(|sd| sd / self.mean)).unwrap_or(1.0)
    }

    /// The law of these settings, which are checked.
    pub(super) fn law(&self) -> GammaLengths {
        let cv = self.spread();
        let (shape, scale) = (1.0 / (cv * cv), self.mean * cv * cv);
        let law = GammaDraws::new(shape, scale).expect("mean and spread are checked: finite and above 0");
        GammaLengths { law, shape, scale, min: self.min, max: self.max }
    }

    /// What is wrong with the settings: keys relative to the length's own table.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = check_bounds(self.min, self.max);
        if problems.is_empty() {
            problems.extend(check_mean(self.mean, self.min, self.max));
        }
        match (self.cv, self.sd) {
            (Some(_), Some(_)) => {
                problems.push(Problem::new("sd", "`cv` and `sd` say the same twice: keep one of them"))
            }
            (None, None) => {
                problems.push(Problem::new("", "a gamma law needs its spread: `cv = 0.5`, or `sd` in tokens"));
            }
            _ if !(0.01..=100.0).contains(&self.spread()) => {
                let message = format!("`sd` over `mean` is {:.4}; it must be between 0.01 and 100", self.spread());
                problems.push(Problem::new("sd", message));
            }
            _ => {}
        }
        problems
    }
}

/// A gamma law, ready to be drawn from.
#[derive(Clone, Debug)]
pub(super) struct GammaLengths {
    law: GammaDraws<f64>,
    shape: f64,
    scale: f64,
    min: u32,
    max: u32,
}

impl Lengths for GammaLengths {
    fn sample(&self, rng: &mut ChaCha12Rng) -> u32 {
        clamp(self.law.sample(rng), self.min, self.max)
    }

    fn mean(&self) -> f64 {
        // The mass outside sits on the bounds; inside, ∫ x f_k(x) dx = k θ (F_{k+1}(b) - F_{k+1}(a)).
        let (low, high) = (f64::from(self.min), f64::from(self.max));
        let below = |shape: f64, tokens: f64| gamma_lr(shape, tokens / self.scale);
        let inside = self.shape * self.scale * (below(self.shape + 1.0, high) - below(self.shape + 1.0, low));
        let mean = low * below(self.shape, low) + inside + high * (1.0 - below(self.shape, high));
        mean.clamp(low, high)
    }

    fn bounds(&self) -> (u32, u32) {
        (self.min, self.max)
    }
}
