//! Many requests at one instant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxInFlight, Split};
use crate::units::HumanDuration;

/// Open loop: `size` requests at the same instant, once or every `every`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Requests of one burst.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub size: u32,
    /// Time from one burst to the next; absent: a single burst when the measure phase begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<HumanDuration>,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}
