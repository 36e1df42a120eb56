//! Evenly spaced arrivals.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stages::{AfterStages, StageConfig};
use super::{Arrivals, MaxInFlight, Problem, Split, check_rate, mean_gap};
use crate::units::{HumanDuration, Nanos};

/// Open loop: the k-th request arrives at `k / rate_per_s`, the first at 0. Exactly one of `rate_per_s` and `every`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// Arrivals per second, all classes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub rate_per_s: Option<f64>,
    /// Time from one arrival to the next: `every = "1m"` is one a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
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

impl Constant {
    /// Arrivals per second.
    pub fn rate(&self) -> f64 {
        self.rate_per_s.unwrap_or_else(|| 1.0 / self.gap_s())
    }

    /// Seconds from one arrival to the next.
    pub fn gap_s(&self) -> f64 {
        match (self.rate_per_s, self.every) {
            (Some(rate), _) => 1.0 / rate,
            (None, every) => every.unwrap_or_default().get().as_secs_f64(),
        }
    }

    pub(super) fn check(&self) -> Vec<Problem> {
        match (self.rate_per_s, self.every) {
            (Some(rate), None) => check_rate(rate),
            (None, Some(every)) if every.nanos() == 0 => vec![Problem::new("every", "`every` must be longer than 0s")],
            (None, Some(_)) => Vec::new(),
            (Some(_), Some(_)) => vec![Problem::new("every", "`rate_per_s` and `every` exclude each other")],
            (None, None) => vec![Problem::new("", "needs either `rate_per_s` or `every`")],
        }
    }
}

/// Arrival k at k times the gap. Multiplied, not summed: the gap need not be whole nanoseconds, and no
/// rounding adds up.
#[derive(Clone, Debug)]
pub(crate) struct Evenly {
    gap: f64,
}

impl Evenly {
    pub(crate) fn new(config: &Constant) -> Self {
        let gap = match config.rate_per_s {
            Some(rate) => mean_gap(rate),
            None => config.every.unwrap_or_default().nanos() as f64,
        };
        Self { gap }
    }
}

impl Arrivals for Evenly {
    fn next_at(&self, index: u64, _: Nanos, _: &mut ChaCha12Rng) -> Option<Nanos> {
        let at = (index as f64 * self.gap).round();
        (at < Nanos::MAX as f64).then_some(at as Nanos)
    }
}
