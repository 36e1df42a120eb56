//! When requests arrive: one file a kind.
//!
//! Open loops (`constant`, `poisson`, `gamma`, `burst`) have a schedule of absolute times that no
//! answer can move. The closed loop (`users`) sends a user's next request after the previous answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod burst;
pub mod constant;
pub mod gamma;
pub mod poisson;
pub mod users;

/// When requests arrive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LoadConfig {
    /// Open loop: one arrival every `1 / rate_per_s`.
    Constant(constant::Constant),
    /// Open loop: a Poisson process, as many independent users make it.
    Poisson(poisson::Poisson),
    /// Open loop: gaps drawn from a gamma law, burstier or smoother than Poisson.
    Gamma(gamma::Gamma),
    /// Open loop: a number of requests at the same instant, once or repeatedly.
    Burst(burst::Burst),
    /// Closed loop: users who each wait for an answer before they ask again.
    Users(users::Users),
}

/// How an arrival finds its traffic class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Each arrival draws its class by weight: the classes of a Poisson load are Poisson themselves.
    #[default]
    Draw,
    /// Exact shares: largest remainder in shuffled blocks.
    Exact,
}

/// A bound on the requests in flight at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaxInFlight {
    /// Largest number of requests in flight over all classes.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub limit: u32,
    /// What happens to a request that is due while the bound is reached.
    #[serde(default)]
    pub when_full: WhenFull,
}

/// What happens to a request that is due while `max_in_flight` is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// It waits; the wait is part of its latency and reported as `slot_wait_ms`.
    #[default]
    Wait,
    /// It is not sent and counted as `not_sent`.
    Drop,
}
