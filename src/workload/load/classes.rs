//! No common load: every class has its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MaxInFlight;

/// Every traffic class has a `load` of its own, and they run side by side. The same as no `[load]` at all, but for the
/// bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// A bound on the requests in flight, all classes together; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
}
