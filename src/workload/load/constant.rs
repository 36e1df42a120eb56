//! Evenly spaced arrivals.

use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Arrivals, MaxInFlight, Split, mean_gap};
use crate::units::Nanos;

/// Open loop: the k-th request arrives at `k / rate_per_s`, the first at 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {
    /// Arrivals per second, all classes together.
    #[schemars(range(min = 0.000001, max = 1_000_000))]
    pub rate_per_s: f64,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}

/// Arrival k at k times the gap. Multiplied, not summed: the gap need not be whole nanoseconds, and no
/// rounding adds up.
#[derive(Clone, Debug)]
pub(crate) struct Evenly {
    gap: f64,
}

impl Evenly {
    pub(crate) fn new(config: &Constant) -> Self {
        Self { gap: mean_gap(config.rate_per_s) }
    }
}

impl Arrivals for Evenly {
    fn next_at(&self, index: u64, _: Nanos, _: &mut ChaCha12Rng) -> Option<Nanos> {
        let at = (index as f64 * self.gap).round();
        (at < Nanos::MAX as f64).then_some(at as Nanos)
    }
}
