//! Evenly spaced arrivals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxInFlight, Split};

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
