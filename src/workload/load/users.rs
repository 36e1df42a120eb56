//! Closed loop: users who wait for their answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MaxInFlight, Problem, Split};
use crate::units::HumanDuration;

/// Closed loop: each user sends the next request when the previous one ended and `think_time` has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Users at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub users: u32,
    /// Pause between the end of an answer and the next request of the same user.
    #[serde(default)]
    pub think_time: HumanDuration,
    /// Time over which the users start, evenly spaced; `0s`: all at once.
    #[serde(default)]
    pub ramp: HumanDuration,
    /// A bound on the requests in flight; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<MaxInFlight>,
    /// How an arrival finds its traffic class.
    #[serde(default)]
    pub split: Split,
}

impl Users {
    pub(super) fn check(&self) -> Vec<Problem> {
        if self.users == 0 { vec![Problem::new("users", "a closed loop has at least 1 user")] } else { Vec::new() }
    }
}
