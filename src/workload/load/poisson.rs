//! Poisson arrivals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxInFlight, Split};

/// Open loop: exponential gaps with mean `1 / rate_per_s`; the rate is never capped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poisson {
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
