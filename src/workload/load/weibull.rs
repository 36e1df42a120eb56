//! Weibull arrivals: a chosen burstiness with another tail than gamma.

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stages::{AfterStages, StageConfig};
use super::{Arrivals, MaxInFlight, Split, after, mean_gap};
use crate::units::Nanos;

/// Open loop: gaps drawn from a Weibull law with mean `1 / rate_per_s`. Its shape follows from `cv`: 2.236 is shape
/// 0.5, 1 is shape 1 (Poisson), 0.523 is shape 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weibull {
    /// Arrivals per second, all classes together.
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub rate_per_s: f64,
    /// Coefficient of variation of the gaps: 1 is Poisson, above 1 burstier, below 1 smoother. At the same value the
    /// long gaps of a Weibull law are rarer than those of a gamma law below 1, and more common above.
    #[schemars(range(min = 0.01, max = 100))]
    pub cv: f64,
    /// How the rate changes from the beginning of the measured window on, one stage after the other; absent: not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageConfig>,
    /// What comes after the last stage.
    #[serde(default, skip_serializing_if = "AfterStages::is_hold")]
    #[schemars(extend("default" = "hold"))]
    pub after_stages: AfterStages,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}

/// A Weibull law with mean 1, by its coefficient of variation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnitWeibull {
    inverse_shape: f64,
    scale: f64,
}

impl UnitWeibull {
    pub(super) fn new(cv: f64) -> Self {
        let shape = shape_of(cv);
        Self { inverse_shape: 1.0 / shape, scale: 1.0 / libm::tgamma(1.0 + 1.0 / shape) }
    }

    pub(super) fn sample(&self, rng: &mut ChaCha12Rng) -> f64 {
        let standard: f64 = Exp1.sample(rng);
        self.scale * libm::pow(standard, self.inverse_shape)
    }
}

/// The shape k with Γ(1 + 2/k) / Γ(1 + 1/k)² = 1 + cv², by bisection: the left side falls as k grows.
fn shape_of(cv: f64) -> f64 {
    let wanted = libm::log1p(cv * cv);
    let excess = |shape: f64| libm::lgamma(1.0 + 2.0 / shape) - 2.0 * libm::lgamma(1.0 + 1.0 / shape) - wanted;
    let (mut low, mut high) = (0.05, 1000.0);
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return middle;
        }
        if excess(middle) > 0.0 { low = middle } else { high = middle }
    }
}

/// Weibull gaps; the first arrival comes after the first gap.
#[derive(Clone, Debug)]
pub(crate) struct WeibullGaps {
    mean: f64,
    law: UnitWeibull,
}

impl WeibullGaps {
    pub(crate) fn new(config: &Weibull) -> Self {
        Self { mean: mean_gap(config.rate_per_s), law: UnitWeibull::new(config.cv) }
    }
}

impl Arrivals for WeibullGaps {
    fn next_at(&self, _: u64, previous: Nanos, rng: &mut ChaCha12Rng) -> Option<Nanos> {
        after(previous, self.mean * self.law.sample(rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_follows_from_the_variation() {
        // cv² = Γ(1+2/k)/Γ(1+1/k)² - 1. k = 1: 2/1 - 1 = 1. k = 0.5: Γ(5)/Γ(3)² - 1 = 24/4 - 1 = 5.
        // k = 2: Γ(2)/Γ(1.5)² - 1 = 4/π - 1 = 0.273240.
        for (cv, shape) in [(1.0, 1.0), (5_f64.sqrt(), 0.5), ((4.0 / std::f64::consts::PI - 1.0).sqrt(), 2.0)] {
            assert!((shape_of(cv) - shape).abs() < 1e-9, "{cv}: {}", shape_of(cv));
        }
        for cv in [0.01, 100.0] {
            assert!(shape_of(cv) > 0.06 && shape_of(cv) < 999.0, "{cv}: the bracket is too narrow");
        }
    }
}
