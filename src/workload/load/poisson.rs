//! Poisson arrivals.

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Exp1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stages::{AfterStages, StageConfig};
use super::{Arrivals, MaxInFlight, Split, after, mean_gap};
use crate::units::Nanos;

/// Open loop: exponential gaps with mean `1 / rate_per_s`; the rate is never capped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poisson {
    /// Arrivals per second, all classes together.
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub rate_per_s: f64,
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

/// Exponential gaps; the first arrival comes after the first gap.
#[derive(Clone, Debug)]
pub(crate) struct Exponential {
    mean: f64,
}

impl Exponential {
    pub(crate) fn new(config: &Poisson) -> Self {
        Self { mean: mean_gap(config.rate_per_s) }
    }
}

impl Arrivals for Exponential {
    fn next_at(&self, _: u64, previous: Nanos, rng: &mut ChaCha12Rng) -> Option<Nanos> {
        let standard: f64 = Exp1.sample(rng);
        after(previous, self.mean * standard)
    }
}
