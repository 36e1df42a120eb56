//! Gamma arrivals: a chosen burstiness.

use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, Gamma as GammaLaw};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stages::{AfterStages, StageConfig};
use super::{Arrivals, MaxInFlight, Split, after, mean_gap};
use crate::units::Nanos;

/// Open loop: gaps drawn from a gamma law with mean `1 / rate_per_s`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gamma {
    /// Arrivals per second, all classes together.
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub rate_per_s: f64,
    /// Coefficient of variation of the gaps: 1 is Poisson, above 1 burstier, below 1 smoother.
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

/// Gamma gaps of shape `1 / cv²`; the first arrival comes after the first gap.
#[derive(Clone, Debug)]
pub(crate) struct GammaGaps {
    law: GammaLaw<f64>,
}

/// The law with mean 1.
pub(super) fn unit_law(config: &Gamma) -> GammaLaw<f64> {
    let shape = 1.0 / (config.cv * config.cv);
    GammaLaw::new(shape, 1.0 / shape).expect("cv is checked: finite and above 0")
}

impl GammaGaps {
    pub(crate) fn new(config: &Gamma) -> Self {
        let shape = 1.0 / (config.cv * config.cv);
        let law = GammaLaw::new(shape, mean_gap(config.rate_per_s) / shape);
        Self { law: law.expect("rate and cv are checked: finite and above 0") }
    }
}

impl Arrivals for GammaGaps {
    fn next_at(&self, _: u64, previous: Nanos, rng: &mut ChaCha12Rng) -> Option<Nanos> {
        after(previous, self.law.sample(rng))
    }
}
