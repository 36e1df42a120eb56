//! Gamma arrivals: a chosen burstiness.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxInFlight, Split};

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
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}
